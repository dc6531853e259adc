//! One request at a time for each data set within this process.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use semel_core::store::ItemKey;
use tokio::sync::OwnedMutexGuard;

/// Whose turn it is, by data set. An optimisation against conflicts, and what lets a repeated
/// request wait for the first; that they exclude each other is the store's doing.
///
/// It holds those data sets alone that someone works on or waits for.
#[derive(Clone, Default)]
pub(crate) struct Turns(Arc<Mutex<HashMap<ItemKey, Line>>>);

/// Those who work on, or wait for, one data set.
#[derive(Default)]
struct Line {
    present: usize,
    lock: Arc<tokio::sync::Mutex<()>>,
}

impl Turns {
    /// Waits for the turn, at most this long. It ends when the guard is dropped.
    pub(crate) async fn take(&self, place: &ItemKey, wait_max: Duration) -> Option<Turn> {
        let (present, lock) = self.join(place);
        let held = tokio::time::timeout(wait_max, lock.lock_owned()).await.ok()?;
        Some(Turn { _held: held, _present: present })
    }

    fn join(&self, place: &ItemKey) -> (Present, Arc<tokio::sync::Mutex<()>>) {
        let mut lines = self.lines();
        let line = lines.entry(place.clone()).or_default();
        line.present += 1;
        (Present { turns: self.clone(), place: place.clone() }, line.lock.clone())
    }

    fn leave(&self, place: &ItemKey) {
        let mut lines = self.lines();
        if let Some(line) = lines.get_mut(place) {
            line.present -= 1;
            if line.present == 0 {
                lines.remove(place);
            }
        }
    }

    fn lines(&self) -> MutexGuard<'_, HashMap<ItemKey, Line>> {
        // No panic can happen while the map is locked, and the map is whole between any two lines.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Shows how many data sets someone works on, not which.
impl fmt::Debug for Turns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in progress", self.lines().len())
    }
}

/// The right to work on a data set. Dropping it, also with the future that holds it, passes it on.
pub(crate) struct Turn {
    // Dropped in this order: passed on before the line may be removed.
    _held: OwnedMutexGuard<()>,
    _present: Present,
}

/// A place in the line of a data set.
struct Present {
    turns: Turns,
    place: ItemKey,
}

impl Drop for Present {
    fn drop(&mut self) {
        self.turns.leave(&self.place);
    }
}
