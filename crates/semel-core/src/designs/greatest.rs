use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// The greatest value so far: a mark that only rises.
///
/// Such as: how far a stream was read, or the furthest step of an order, as an enum whose
/// variants stand in their order. The least is `Greatest<Reverse<T>>` with [`std::cmp::Reverse`].
///
/// A count per source: each source sends its *running total* instead of what is added, and the
/// state is a `BTreeMap<String, Greatest<u64>>` by source, whose sum counts (RR-7506:
/// *G-Counter*). Amounts themselves are not idempotent.
///
/// The [laws](crate::designs#laws) hold: it is the greatest of all values that were given.
///
/// Space: one value. Stored as an array: `[]` before the first value, then `[7]`.
///
/// ```
/// use semel_core::designs::Greatest;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
/// enum Step { Placed, Paid, Shipped }
///
/// let mut step = Greatest::default();
/// step.raise(Step::Paid);
/// step.raise(Step::Placed);
/// assert_eq!(step.value(), Some(&Step::Paid));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent, bound(deserialize = "T: Ord + Deserialize<'de>"))]
pub struct Greatest<T> {
    /// One at most. A set, so that a value which is itself written as `null` is told from none.
    values: BTreeSet<T>,
}

impl<T> Default for Greatest<T> {
    fn default() -> Self {
        Self { values: BTreeSet::new() }
    }
}

impl<T: Ord> Greatest<T> {
    /// Raises it to this value, unless it is there or beyond.
    pub fn raise(&mut self, value: T) {
        self.values.insert(value);
        while self.values.len() > 1 {
            self.values.pop_first();
        }
    }

    /// The greatest value; `None` before the first.
    pub fn value(&self) -> Option<&T> {
        self.values.last()
    }
}
