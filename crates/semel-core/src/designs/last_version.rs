use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use super::{CreateOnce, Held};

/// The content with the greatest version number: a value, or that it was deleted.
///
/// The sender gives the version number, and there is one sender who counts: a row's owner, say,
/// that adds one with each change. (It is not the [`Version`](crate::store::Version) of the
/// store, which says when something was written here.) A clock is a poor counter: two changes in
/// one millisecond, or a clock that goes back, and the wrong one wins.
///
/// A change with a lesser number than what is held comes too late, and does nothing. A deletion
/// is a change like any other: it keeps its number, as a *tombstone*, so that an older value does
/// not bring the deleted back. A later value does: delete under the greatest number there is
/// (`u64::MAX`) if none may.
///
/// Equal numbers with the same content are one change. With different contents they are a mistake
/// of the sender: a conflict, in which neither wins, until a greater number comes.
///
/// RR-7506 has it as a *last-writer-wins register*, without its assumption that no two writers
/// ever choose the same time stamp. The [laws](crate::designs#laws) hold: it holds the greatest
/// number, and what a [`CreateOnce`] holds of the contents under it.
///
/// Space: at most two values, and the number, also once it is deleted. Stored as
/// `{"version":2,"contents":[{"value":"a"}]}`, as `{"version":3,"contents":["deleted"]}`, before
/// any change with `[]`, and in conflict with both contents, sorted.
///
/// ```
/// use semel_core::designs::{Content, Held, LastVersion};
///
/// let mut price_pence = LastVersion::default();
/// price_pence.put(2, 450);
/// price_pence.put(1, 500);
/// assert_eq!(price_pence.value(), Some(&450));
///
/// price_pence.delete(3);
/// price_pence.put(2, 450);
/// assert_eq!(price_pence.value(), None);
/// assert_eq!(price_pence.version(), Some(3));
/// assert_eq!(price_pence.held(), Held::One(&Content::Deleted));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(bound(deserialize = "T: Ord + Deserialize<'de>"))]
pub struct LastVersion<T> {
    version: u64,
    contents: CreateOnce<Content<T>>,
}

/// What a version number stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Content<T> {
    /// It was deleted. Less than every value.
    Deleted,
    /// The value.
    Value(T),
}

impl<T> Default for LastVersion<T> {
    fn default() -> Self {
        Self { version: 0, contents: CreateOnce::default() }
    }
}

impl<T: Ord> LastVersion<T> {
    /// Sets the value, unless a greater version number is known.
    pub fn put(&mut self, version: u64, value: T) {
        self.change(version, Content::Value(value));
    }

    /// Deletes it, unless a greater version number is known.
    pub fn delete(&mut self, version: u64) {
        self.change(version, Content::Deleted);
    }

    fn change(&mut self, version: u64, content: Content<T>) {
        match version.cmp(&self.version) {
            Ordering::Less => return,
            Ordering::Equal => {}
            Ordering::Greater => *self = Self { version, contents: CreateOnce::default() },
        }
        self.contents.create(content);
    }
}

impl<T> LastVersion<T> {
    /// What it holds: nothing before the first change, one content, or two in conflict.
    pub fn held(&self) -> Held<'_, Content<T>> {
        self.contents.held()
    }

    /// The value; `None` before the first change, after a deletion, and in conflict.
    pub fn value(&self) -> Option<&T> {
        match self.held() {
            Held::One(Content::Value(value)) => Some(value),
            Held::One(Content::Deleted) | Held::Nothing | Held::Conflict { .. } => None,
        }
    }

    /// The version number of what it holds; `None` before the first change.
    pub fn version(&self) -> Option<u64> {
        match self.held() {
            Held::Nothing => None,
            Held::One(_) | Held::Conflict { .. } => Some(self.version),
        }
    }
}
