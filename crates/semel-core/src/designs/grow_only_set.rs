use std::borrow::Borrow;
use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// A set that only grows.
///
/// RR-7506 calls it *G-Set*. The [laws](crate::designs#laws) hold: it is the set of all elements
/// that were ever inserted.
///
/// Space: each different element, for good. Stored as a sorted array: `["a","b"]`.
///
/// ```
/// use semel_core::designs::GrowOnlySet;
///
/// let mut seen_by = GrowOnlySet::default();
/// seen_by.insert("bob".to_owned());
/// seen_by.insert("ann".to_owned());
/// seen_by.insert("bob".to_owned());
/// assert!(seen_by.contains("ann"));
/// assert_eq!(seen_by.iter().collect::<Vec<_>>(), ["ann", "bob"]);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent, bound(deserialize = "T: Ord + Deserialize<'de>"))]
pub struct GrowOnlySet<T> {
    elements: BTreeSet<T>,
}

impl<T> Default for GrowOnlySet<T> {
    fn default() -> Self {
        Self { elements: BTreeSet::new() }
    }
}

impl<T: Ord> GrowOnlySet<T> {
    /// Adds an element, if it is not there yet.
    pub fn insert(&mut self, element: T) {
        self.elements.insert(element);
    }

    /// Whether it was inserted.
    pub fn contains<Q: Ord + ?Sized>(&self, element: &Q) -> bool
    where
        T: Borrow<Q>,
    {
        self.elements.contains(element)
    }

    /// The elements, sorted.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.elements.iter()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.elements.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.elements.is_empty()
    }
}
