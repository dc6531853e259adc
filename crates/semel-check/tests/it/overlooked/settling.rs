//! What is settled although it must not be, or counted for another: parking, and two entities.

use std::collections::BTreeSet;

use semel_check::{Property, World, relational_apart};
use semel_core::broker::{DeadReason, FailureRecord, SettleOutcome, Settlement};
use semel_core::protocols::{AtLeastOnce, Outcome, Parking, Step, Work};
use semel_core::store::{ItemKey, Keep, Space};
use semel_core::{Context, Endpoint, Settings};

use super::{breaks, world};
use crate::bank::{Deposit, accounts, of, one};
use crate::mutants::kit::{self, Raw, protocol};

/// The same by whichever name: what a message adds to one entity, another one of it lacks.
fn see(seen: &mut BTreeSet<i64>, message: Deposit, _: &mut Context) {
    seen.insert(message.pence);
}

fn keyed_by(key: &'static str) -> Endpoint {
    let by = move |_: &Deposit| key.to_owned();
    Endpoint::new("accounts").handle_by(by, see).protocol(AtLeastOnce)
}

#[test]
fn a_message_that_changes_two_entities_changes_its_state_twice() {
    let world = World::new("another key").endpoint(keyed_by("one")).deploy(keyed_by("other"));
    let world = world.send("d1", "accounts", of("alice", 5)).faults(2);
    let judged = [Property::AtMostOneStateChange];
    breaks(world.judge(&judged), Property::AtMostOneStateChange, 9);
}

/// Parks what it could read as if it could not.
#[derive(Clone, Copy, Debug)]
struct ReadsNothing;

protocol!(ReadsNothing = "reads-nothing");

impl ReadsNothing {
    async fn attempt(&self, work: &Work<'_>) -> Result<Outcome, Outcome> {
        let (at, reason) = (work.places.clock.now(), "it is late".to_owned());
        let failure = FailureRecord { at, reason, worker: "w1".to_owned() };
        let park =
            Settlement::DeadLetter { reason: DeadReason::Undecodable, failure, entity: None };
        match work.places.broker.settle(work.receipt, park).await {
            SettleOutcome::Unknown(error) => Err(error.into()),
            SettleOutcome::Settled | SettleOutcome::Stale => Ok(Outcome::Processed),
        }
    }
}

#[test]
fn undecodable_is_no_excuse_for_what_a_handler_can_read() {
    breaks(world(ReadsNothing), Property::NoLostMessages, 2);
}

/// State, inbox and outbox-less effects in one batch; parks a message that was abandoned.
#[derive(Clone, Copy, Debug)]
struct Parks {
    asks: bool,
}

protocol!(Parks = "parks" {
    async fn park(&self, parking: &Parking<'_>) -> SettleOutcome {
        let key = parking.envelope.map(semel_core::protocols::message_key).unwrap_or_default();
        let key = ItemKey::new(Space::Inbox, parking.endpoint, key);
        let settlement = match self.asks {
            true => match parking.places.store.read(&key).await {
                Ok(Some(_)) => Settlement::Ack,
                Ok(None) => parking.dead_letter(),
                Err(error) => return SettleOutcome::Unknown(error),
            },
            false => parking.dead_letter(),
        };
        parking.places.broker.settle(parking.receipt, settlement).await
    }
});

impl Parks {
    async fn attempt(&self, work: &Work<'_>) -> Result<Outcome, Outcome> {
        let (state, expect) = kit::load::<Option<Raw>>(work).await?;
        if work.places.store.read(&kit::inbox_key(work)).await?.is_some() {
            return Ok(work.ack(Outcome::Duplicate).await);
        }
        let (state, _) = kit::decide(work, state.as_ref()).await?;
        work.begin(Step::CommitState);
        let put = kit::to_put(work.entity_key(), &state, expect, Keep::Always);
        kit::write_all(work.places, vec![put, kit::to_remember(work)]).await?;
        Ok(work.ack(Outcome::Processed).await)
    }
}

fn given_up_at_once(protocol: Parks) -> World {
    let settings = Settings { abandoned_max: 1, ..Settings::default() };
    let world = one(accounts().protocol(protocol).settings(settings)).store(relational_apart());
    world.judge(&[Property::NoLostMessages]).faults(1)
}

/// Its attempt was committed, and nobody heard of it.
#[test]
fn whoever_parks_without_asking_parks_what_was_processed() {
    given_up_at_once(Parks { asks: true }).check().assert_holds();
    breaks(given_up_at_once(Parks { asks: false }), Property::NoLostMessages, 7);
}
