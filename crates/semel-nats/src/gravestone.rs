//! Which messages were settled and removed a short while ago.

use semel_core::Timestamp;
use serde::{Deserialize, Serialize};

use crate::Nats;
use crate::error::Failed;
use crate::receipt::Arrival;
use crate::removal::{GRAVESTONE_KEPT, Settled};

/// Some messages that were removed together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Gravestone {
    /// The first and the last sequence of each run of them, and when its newest was stored, in
    /// nanoseconds: what is stored later is another message, in a stream that was made anew, though it
    /// has the number of one of these.
    gone: Vec<(u64, u64, i64)>,
}

impl Gravestone {
    pub(crate) fn of(settled: &[Settled]) -> Self {
        let mut all: Vec<_> = settled.iter().map(|it| (it.sequence, it.stored)).collect();
        all.sort_unstable();
        let mut gone: Vec<(u64, u64, i64)> = Vec::new();
        for (sequence, stored) in all {
            match gone.last_mut() {
                Some((_, last, newest)) if *last + 1 == sequence => {
                    (*last, *newest) = (sequence, stored.max(*newest));
                }
                _ => gone.push((sequence, sequence, stored)),
            }
        }
        Self { gone }
    }

    /// Reads one. One that cannot be read tells of nothing: a message may come again that was settled,
    /// and protocols are made for that.
    pub(crate) fn read(bytes: &[u8]) -> Self {
        serde_json::from_slice(bytes).unwrap_or_else(|error| {
            tracing::warn!(%error, "unreadable: what was removed a short while ago");
            Self::default()
        })
    }

    pub(crate) fn write(&self) -> Vec<u8> {
        // Numbers: it cannot fail.
        serde_json::to_vec(self).unwrap_or_default()
    }
}

/// Everything that stands on the gravestones of one endpoint.
#[derive(Debug, Default)]
pub(crate) struct Graveyard {
    /// First and last sequence of a run, and when its newest message was stored; by the first.
    runs: Vec<(u64, u64, i64)>,
    /// The highest last sequence of all runs up to each: they may overlap.
    reach: Vec<u64>,
}

impl Graveyard {
    pub(crate) fn of(stones: impl IntoIterator<Item = Gravestone>) -> Self {
        let mut runs: Vec<_> = stones.into_iter().flat_map(|stone| stone.gone).collect();
        runs.sort_unstable();
        let mut highest = 0;
        let reach = runs.iter().map(|(_, last, _)| {
            highest = highest.max(*last);
            highest
        });
        let reach = reach.collect();
        Self { runs, reach }
    }

    /// Whether the message that was stored then was settled.
    pub(crate) fn holds(&self, sequence: u64, stored: i64) -> bool {
        let from = self.runs.partition_point(|(first, ..)| *first <= sequence);
        let before = self.runs[..from].iter().zip(&self.reach).rev();
        before
            .take_while(|(_, reach)| **reach >= sequence)
            .any(|((_, last, newest), _)| *last >= sequence && stored <= *newest)
    }
}

impl Nats {
    /// What was settled and removed a short while ago.
    pub(crate) async fn graveyard(&self, token: &str) -> Result<Graveyard, Failed> {
        let found = self.messages(&self.names.gravestones(token), 0).await?;
        Ok(Graveyard::of(found.iter().map(|(message, _)| Gravestone::read(&message.payload))))
    }

    /// Has gravestones removed that handles left which are gone: the others remove their own. Later,
    /// for the server may just have come back, and others have not read them.
    pub(crate) async fn sweep_gravestones(&self, token: &str) -> Result<(), Failed> {
        let found = self.messages(&self.names.gravestones(token), 0).await?;
        let now = self.clock.now();
        let is_left = |place: &Arrival| {
            let laid = Timestamp::from_unix_ms(place.stored / 1_000_000);
            now.since(laid) > GRAVESTONE_KEPT * 2
        };
        let left = found.iter().map(|(_, place)| place).filter(|place| is_left(place));
        self.removals.adopt(left.map(|place| place.sequence).collect());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Gravestone, Graveyard};
    use crate::removal::{Left, Settled};

    fn stone(newest: i64, sequences: &[u64]) -> Gravestone {
        let settled = sequences.iter().map(|sequence| Settled {
            token: "a".to_owned(),
            sequence: *sequence,
            stored: newest,
            revision: None,
            left: Left::Message,
        });
        Gravestone::of(&settled.collect::<Vec<_>>())
    }

    #[test]
    fn a_gravestone_is_read_as_it_was_written() {
        let stone = stone(7, &[9, 3, 4, 5, 5, 1]);
        assert_eq!(stone.gone, [(1, 1, 7), (3, 5, 7), (5, 5, 7), (9, 9, 7)]);
        assert_eq!(Gravestone::read(&stone.write()), stone);
        assert_eq!(Gravestone::read(b"scribble"), Gravestone::default());
    }

    #[test]
    fn all_that_was_removed_is_known_and_nothing_else() {
        let yard = Graveyard::of([
            stone(100, &[1, 2, 3, 10, 11]),
            stone(200, &(2..=40).collect::<Vec<_>>()),
            stone(150, &[5, 6, 60]),
        ]);
        for sequence in 0..70 {
            let first = [1, 2, 3, 10, 11].contains(&sequence);
            let second = (2..=40).contains(&sequence);
            let third = [5, 6, 60].contains(&sequence);
            for stored in [50, 100, 101, 150, 151, 200, 201] {
                let expected =
                    first && stored <= 100 || second && stored <= 200 || third && stored <= 150;
                assert_eq!(yard.holds(sequence, stored), expected, "{sequence} {stored}");
            }
        }
        assert!(!Graveyard::default().holds(1, 1));
    }
}
