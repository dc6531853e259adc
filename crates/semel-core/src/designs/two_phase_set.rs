use std::borrow::Borrow;
use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// A set whose elements are removed for good.
///
/// A removed element never comes back: not by a late addition, not by a repeated one, not by a
/// new one. So its elements are identities that are used once, such as the id of an order line.
/// An article's number is none: it may be ordered again.
///
/// A removal that comes before its addition is remembered, and the addition then does nothing. A
/// removal without any addition is remembered too: nobody can know that none will come.
///
/// RR-7506 calls it *2P-Set*, and with unique elements *U-Set*. The [laws](crate::designs#laws)
/// hold: present are the elements that were inserted and not removed.
///
/// Space: each different element, for good; a removal leaves its element behind as a *tombstone*.
/// Stored as two sorted arrays: `{"present":["a"],"removed":["b"]}`.
///
/// ```
/// use semel_core::designs::TwoPhaseSet;
///
/// let mut lines = TwoPhaseSet::default();
/// lines.insert("line-1".to_owned());
/// lines.remove("line-2".to_owned());
/// lines.insert("line-2".to_owned());
/// assert_eq!(lines.iter().collect::<Vec<_>>(), ["line-1"]);
/// assert!(lines.is_removed("line-2"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(bound(deserialize = "T: Ord + Deserialize<'de>"))]
pub struct TwoPhaseSet<T> {
    present: BTreeSet<T>,
    removed: BTreeSet<T>,
}

impl<T> Default for TwoPhaseSet<T> {
    fn default() -> Self {
        Self { present: BTreeSet::new(), removed: BTreeSet::new() }
    }
}

impl<T: Ord> TwoPhaseSet<T> {
    /// Adds an element, unless it is there or was removed.
    pub fn insert(&mut self, element: T) {
        if !self.removed.contains(&element) {
            self.present.insert(element);
        }
    }

    /// Removes an element for good, whether or not it was added yet.
    pub fn remove(&mut self, element: T) {
        self.present.remove(&element);
        self.removed.insert(element);
    }

    /// Whether it was added, and not removed.
    pub fn contains<Q: Ord + ?Sized>(&self, element: &Q) -> bool
    where
        T: Borrow<Q>,
    {
        self.present.contains(element)
    }

    /// Whether it was removed, possibly before it was added.
    pub fn is_removed<Q: Ord + ?Sized>(&self, element: &Q) -> bool
    where
        T: Borrow<Q>,
    {
        self.removed.contains(element)
    }

    /// The elements that are present, sorted.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.present.iter()
    }

    /// How many are present.
    pub fn len(&self) -> usize {
        self.present.len()
    }

    /// Whether none is present.
    pub fn is_empty(&self) -> bool {
        self.present.is_empty()
    }

    /// How many were removed: what the set keeps beside its elements.
    pub fn removed_count(&self) -> usize {
        self.removed.len()
    }
}
