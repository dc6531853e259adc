//! Which task writes what.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use semel_core::store::{Change, WriteOutcome};

use crate::lane::Lane;
use crate::place::Place;
use crate::write::{self, Batch};

/// How many tasks write. While the commit of one waits for the disk, the other works.
const WRITERS: usize = 2;
/// How many endpoints are spread over them; those after that go to the first.
const SPREAD_MAX: usize = 64;

/// The tasks that write. Each endpoint has one of them, so that its batches share transactions, and
/// those of two endpoints do not wait for each other.
#[derive(Debug)]
pub(crate) struct Writers {
    lanes: [Lane<Batch, WriteOutcome>; WRITERS],
    /// Whose batches go where, in the order in which they were first heard of.
    spread: Mutex<BTreeMap<String, usize>>,
}

impl Writers {
    /// Starts them. They end when nobody can ask any more: what was asked is answered first.
    pub(crate) fn start(place: &Arc<Place>) -> Self {
        let lanes = std::array::from_fn(|_| {
            let (lane, requests) = Lane::new();
            tokio::spawn(write::serve(place.clone(), requests));
            lane
        });
        Self { lanes, spread: Mutex::default() }
    }

    /// Asks for a batch to be written; `None` if nobody answers any more.
    pub(crate) async fn write(&self, batch: Batch) -> Option<WriteOutcome> {
        let writer = self.writer(&batch.changes);
        self.lanes[writer].ask(batch).await
    }

    fn writer(&self, changes: &[Change]) -> usize {
        let partition = changes.iter().find_map(|change| match change {
            Change::Put { key, .. } | Change::Delete { key, .. } => Some(&key.partition),
            Change::Enqueue(_) | Change::Settle { .. } => None,
        });
        let Some(partition) = partition else { return 0 };
        // What a poisoned lock guards is still whole: nothing here panics half-way.
        let mut spread = self.spread.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(writer) = spread.get(partition) {
            return *writer;
        }
        let known = spread.len();
        if known >= SPREAD_MAX {
            return 0;
        }
        spread.insert(partition.clone(), known % WRITERS);
        known % WRITERS
    }
}

#[cfg(test)]
mod tests {
    use semel_core::store::{Change, Expect, ItemKey, Space};

    use super::{SPREAD_MAX, WRITERS, Writers};
    use crate::lane::Lane;

    #[tokio::test]
    async fn an_endpoint_keeps_its_writer_and_two_have_one_each() {
        let lanes = std::array::from_fn(|_| Lane::new().0);
        let writers = Writers { lanes, spread: std::sync::Mutex::default() };
        let writer = |endpoint: &str| {
            let key = ItemKey::new(Space::Entity, endpoint, "anna");
            writers.writer(&[Change::Delete { key, expect: Expect::Anything }])
        };
        let first: Vec<usize> = ["a", "b", "c"].map(writer).into();
        assert_eq!(first, [0, 1, 2 % WRITERS]);
        assert_eq!(["a", "b", "c"].map(writer).to_vec(), first);
        for number in 0..2 * SPREAD_MAX {
            assert!(writer(&format!("endpoint-{number}")) < WRITERS);
        }
        assert_eq!(writer("one too many"), 0);
    }
}
