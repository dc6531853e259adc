//! What stores tell, or do not tell: versions of one item each, and conflicts without a name.

use semel_check::{Property, relational, relational_apart};
use semel_core::protocols::{Outcome, Step, Transactional, Work, message_key};
use semel_core::store::{Change, Expect, ItemKey, Keep, Space, Version, WriteOutcome};

use super::{breaks, world};
use crate::bank::{accounts, one, two};
use crate::mutants::kit::{self, Kept, Raw, protocol};

/// Commits state, inbox and outbox in one batch, dispatches, and clears the outbox.
#[derive(Clone, Copy, Debug)]
struct Clears {
    /// By which version of the batch: the outbox is its last one.
    by: usize,
}

protocol!(Clears = "clears");

impl Clears {
    async fn attempt(&self, work: &Work<'_>) -> Result<Outcome, Outcome> {
        let (state, expect) = kit::load::<Option<Raw>>(work).await?;
        if work.places.store.read(&kit::inbox_key(work)).await?.is_some() {
            if let Some(left) = work.places.store.read(&outbox_key(work)).await? {
                let version = left.version.clone();
                self.publish(work, &kit::read::<Vec<Kept>>(&left), version).await?;
            }
            return Ok(work.ack(Outcome::Duplicate).await);
        }
        let (state, messages) = kit::decide(work, state.as_ref()).await?;
        work.begin(Step::CommitState);
        let changes = vec![
            kit::to_put(kit::inbox_key(work), &(), Expect::Absent, Keep::For(kit::WINDOW)),
            kit::to_put(work.entity_key(), &state, expect, Keep::Always),
            kit::to_put(outbox_key(work), &messages, Expect::Absent, Keep::Always),
        ];
        let versions = kit::write_all(work.places, changes).await?;
        let version = versions[self.by].clone().expect("a put has a version");
        self.publish(work, &messages, version).await?;
        Ok(work.ack(Outcome::Processed).await)
    }

    async fn publish(
        self,
        work: &Work<'_>,
        messages: &[Kept],
        version: Version,
    ) -> Result<(), Outcome> {
        kit::dispatch(work, messages).await?;
        let expect = Expect::Version(version);
        match kit::write(work.places, Change::Delete { key: outbox_key(work), expect }).await {
            // Another has cleared it, or so it believes.
            Ok(_) | Err(Outcome::Conflict) => Ok(()),
            Err(outcome) => Err(outcome),
        }
    }
}

fn outbox_key(work: &Work<'_>) -> ItemKey {
    ItemKey::new(Space::Outbox, work.endpoint, message_key(work.envelope))
}

#[test]
fn the_version_of_one_item_is_none_of_another() {
    let apart = |by| world(Clears { by }).store(relational_apart());
    apart(2).workers(2).faults(1).check().assert_holds();
    breaks(apart(0), Property::NoGarbage, 7);
    breaks(apart(1), Property::NoGarbage, 7);
}

/// All in one batch; where it meets a conflict that does not name the entity, the message must be
/// known already.
#[derive(Clone, Copy, Debug)]
struct TrustsNames;

protocol!(TrustsNames = "trusts-names");

/// Where in the batch the entity is.
const ENTITY: usize = 1;

impl TrustsNames {
    async fn attempt(&self, work: &Work<'_>) -> Result<Outcome, Outcome> {
        let (state, expect) = kit::load::<Option<Raw>>(work).await?;
        let (state, messages) = kit::decide(work, state.as_ref()).await?;
        work.begin(Step::CommitState);
        let mut changes = vec![
            kit::to_put(kit::inbox_key(work), &(), Expect::Absent, Keep::For(kit::WINDOW)),
            kit::to_put(work.entity_key(), &state, expect, Keep::Always),
        ];
        changes.extend(messages.iter().map(|message| Change::Enqueue(message.outgoing())));
        match work.places.store.write(changes).await {
            WriteOutcome::Applied(_) => Ok(work.ack(Outcome::Processed).await),
            WriteOutcome::Conflict(named) if named.contains(&ENTITY) => Err(Outcome::Conflict),
            WriteOutcome::Conflict(_) => Ok(work.ack(Outcome::Duplicate).await),
            WriteOutcome::Refused(error) | WriteOutcome::Unknown(error) => Err(error.into()),
        }
    }
}

#[test]
fn a_conflict_may_name_nothing() {
    let world = || two(accounts().protocol(TrustsNames)).store(relational()).faults(1);
    world().check().assert_holds();
    breaks(world().conflicts_unnamed(), Property::NoLostMessages, 8);
}

#[test]
fn transactional_needs_no_names() {
    for store in [relational(), relational_apart()] {
        let world = one(accounts().protocol(Transactional::default())).store(store);
        world.conflicts_unnamed().faults(2).check().assert_holds();
    }
}
