use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// As many different values prove a conflict.
const KEPT_MAX: usize = 2;

/// A value that is given once and never changes.
///
/// The same creation again is no change. A different one is a conflict, and stays one: neither
/// value wins. What else could be done when two creations differ:
/// - Keeping the first, and refusing the other, is not free of order: which one that is, the
///   queue decides. This type does not offer it.
/// - Letting the least or the greatest win is free of order, but then the value is not immutable:
///   it may change until the last creation has come. For that take
///   [`Greatest`](crate::designs::Greatest); or the `least` of a [`Held::Conflict`].
/// - Having no conflict at all is best: name the entity by an id that the creator mints together
///   with the value, or by a hash of the value. Then different values are different entities.
///   (Helland 2015.)
///
/// A handler must not fail because of a conflict. What a failed handler changed is not kept, so
/// which of the two is stored would depend on order again. Store it, and let whoever reads the
/// entity see.
///
/// Akin to the *multi-value register* of RR-7506, cut to two values. The
/// [laws](crate::designs#laws) hold: it holds the two least of the values that were given, and so
/// all if there are no more than two.
///
/// Space: at most two values. Stored as a sorted array: `[]`, `["a"]`, or in conflict
/// `["a","b"]`.
///
/// ```
/// use semel_core::designs::{CreateOnce, Held};
///
/// let mut address = CreateOnce::default();
/// address.create("12 High Street");
/// address.create("12 High Street");
/// assert_eq!(address.value(), Some(&"12 High Street"));
///
/// address.create("1 Low Street");
/// assert_eq!(address.value(), None);
/// let (least, next) = (&"1 Low Street", &"12 High Street");
/// assert_eq!(address.held(), Held::Conflict { least, next });
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent, bound(deserialize = "T: Ord + Deserialize<'de>"))]
pub struct CreateOnce<T> {
    values: BTreeSet<T>,
}

/// What a [`CreateOnce`] holds.
#[derive(Debug, PartialEq, Eq)]
pub enum Held<'a, T> {
    /// No value was given yet.
    Nothing,
    /// The value.
    One(&'a T),
    /// Different values were given, and these two are the least of them: every order of the same
    /// creations shows the same two.
    Conflict {
        /// The least.
        least: &'a T,
        /// The one after it.
        next: &'a T,
    },
}

impl<T> Default for CreateOnce<T> {
    fn default() -> Self {
        Self { values: BTreeSet::new() }
    }
}

impl<T: Ord> CreateOnce<T> {
    /// Gives the value.
    pub fn create(&mut self, value: T) {
        self.values.insert(value);
        while self.values.len() > KEPT_MAX {
            self.values.pop_last();
        }
    }
}

impl<T> CreateOnce<T> {
    /// What it holds.
    pub fn held(&self) -> Held<'_, T> {
        let mut values = self.values.iter();
        match (values.next(), values.next()) {
            (None, _) => Held::Nothing,
            (Some(value), None) => Held::One(value),
            (Some(least), Some(next)) => Held::Conflict { least, next },
        }
    }

    /// The value; `None` before it was given, and in conflict.
    pub fn value(&self) -> Option<&T> {
        match self.held() {
            Held::One(value) => Some(value),
            Held::Nothing | Held::Conflict { .. } => None,
        }
    }
}
