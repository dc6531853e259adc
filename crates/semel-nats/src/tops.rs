//! The highest message of each stream stays where it is.
//!
//! A server of version 2.9 that is killed while it removes the highest message of a stream may count
//! on from a lower number. It then takes new messages, which it confirmed, for the removed ones that
//! had their numbers before: they are gone at once. And its consumers, who are further than that,
//! never offer what has a number below. So nobody here removes a message, or a record, before it
//! knows of a higher one in the same stream. As all go by that, the highest of all stays.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::Nats;
use crate::error::Failed;

/// The highest sequence that is known of each stream.
#[derive(Debug, Default)]
pub(crate) struct Tops(Mutex<HashMap<String, u64>>);

impl Tops {
    fn all(&self) -> MutexGuard<'_, HashMap<String, u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a message that is there, or was a moment ago.
    pub(crate) fn saw(&self, stream: &str, sequence: u64) {
        let mut all = self.all();
        match all.get_mut(stream) {
            Some(top) => *top = sequence.max(*top),
            None => drop(all.insert(stream.to_owned(), sequence)),
        }
    }

    /// Whether a message may be removed, because there is a higher one.
    pub(crate) fn is_below(&self, stream: &str, sequence: u64) -> bool {
        self.all().get(stream).is_some_and(|top| sequence < *top)
    }

    /// Forgets a stream: it may have been made anew.
    pub(crate) fn forget(&self, stream: &str) {
        self.all().remove(stream);
    }
}

impl Nats {
    /// Whether a message may be removed; asks the server where nothing higher is known.
    pub(crate) async fn is_below_top(&self, stream: &str, sequence: u64) -> Result<bool, Failed> {
        if !self.tops.is_below(stream, sequence) {
            let last = self.stream_info(stream).await?.state.last_seq;
            self.tops.saw(stream, last);
        }
        Ok(self.tops.is_below(stream, sequence))
    }
}

#[cfg(test)]
mod tests {
    use super::Tops;

    #[test]
    fn what_is_below_a_known_one_may_go() {
        let tops = Tops::default();
        assert!(!tops.is_below("a", 1), "nothing is known yet");
        tops.saw("a", 5);
        tops.saw("a", 3);
        assert!(tops.is_below("a", 4) && !tops.is_below("a", 5) && !tops.is_below("b", 4));
        tops.forget("a");
        assert!(!tops.is_below("a", 4));
    }
}
