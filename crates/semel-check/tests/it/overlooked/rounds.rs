//! Rounds that never end, though no two of their states are the same.

use semel_check::{Breach, Property, World, items_only};
use semel_core::broker::{SettleOutcome, Settlement};
use semel_core::protocols::{Outcome, Work, message_key};
use semel_core::store::{Expect, ItemKey, Keep, Space};

use super::{breaks, commit, livelocks, world};
use crate::mutants::kit::{self, protocol};

#[derive(Clone, Copy, Debug)]
enum Rounds {
    /// Reads, and says that another was faster.
    AlwaysConflicts,
    /// Notes down each of its rounds, and begins the next.
    NotesEach,
    /// Gives each message back once it is processed.
    Releases,
    /// Processes each message, and does not say so.
    NeverAcks,
}

protocol!(Rounds = "rounds");

impl Rounds {
    async fn attempt(&self, work: &Work<'_>) -> Result<Outcome, Outcome> {
        match self {
            Self::AlwaysConflicts => {
                work.places.store.read(&work.entity_key()).await?;
                Err(Outcome::Conflict)
            }
            Self::NotesEach => {
                let key = ItemKey::new(Space::Reply, work.endpoint, message_key(work.envelope));
                let keep = Keep::For(kit::WINDOW);
                kit::write(work.places, kit::to_put(key, &(), Expect::Anything, keep)).await?;
                Err(Outcome::Conflict)
            }
            Self::Releases => {
                self.once(work).await?;
                let release = Settlement::Release { after: std::time::Duration::ZERO };
                match work.places.broker.settle(work.receipt, release).await {
                    SettleOutcome::Unknown(error) => Err(error.into()),
                    SettleOutcome::Settled | SettleOutcome::Stale => Ok(Outcome::Processed),
                }
            }
            Self::NeverAcks => {
                self.once(work).await?;
                Ok(Outcome::Processed)
            }
        }
    }

    /// Processes a message unless it is processed.
    async fn once(self, work: &Work<'_>) -> Result<(), Outcome> {
        if work.places.store.read(&kit::inbox_key(work)).await?.is_none() {
            commit(work).await?;
            kit::write(work.places, kit::to_remember(work)).await?;
        }
        Ok(())
    }
}

fn goes_on(rounds: Rounds) -> World {
    world(rounds).store(items_only()).judge(&[])
}

#[test]
fn a_livelock_that_a_random_run_finds_can_be_replayed() {
    let report = goes_on(Rounds::AlwaysConflicts).check_random(1, 1);
    assert_eq!(report.breach(), Some(&Breach::Livelock), "{report}");
    let again = goes_on(Rounds::AlwaysConflicts).replay(&report.assert_violated().replay);
    assert_eq!(again.breach(), Some(&Breach::Livelock), "{again}");
}

/// Each round leaves a version that never was.
#[test]
fn rounds_that_differ_by_versions_alone_are_a_livelock() {
    livelocks(goes_on(Rounds::NotesEach), 3);
}

/// Each delivery counts one up.
#[test]
fn deliveries_that_differ_by_their_count_alone_are_a_livelock() {
    livelocks(goes_on(Rounds::Releases), 9);
}

/// Not one that goes on forever: it is given up after 20 deliveries, as if it were not processed.
#[test]
fn what_is_never_acked_is_given_up() {
    let world = goes_on(Rounds::NeverAcks).deliveries_max(30);
    world.clone().check().assert_holds();
    let judged = [Property::NoLostMessages, Property::AtMostOneStateChange];
    breaks(world.judge(&judged), Property::NoLostMessages, 65);
}
