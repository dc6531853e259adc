//! Calls that nobody waits for, and handlers that fail after any of them.

use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use futures_util::future::{Either, poll_fn, select};
use semel_check::{Fault, Faults, Property, items_only};
use semel_core::protocols::{Outcome, Work, message_key};
use semel_core::store::{Expect, ItemKey, Keep, Space, WriteOutcome};

use super::{breaks, commit, world};
use crate::mutants::kit::{self, Raw, protocol};

/// Claims a message before its handler runs.
#[derive(Clone, Copy, Debug)]
struct ClaimsFirst;

protocol!(ClaimsFirst = "claims-first");

impl ClaimsFirst {
    async fn attempt(&self, work: &Work<'_>) -> Result<Outcome, Outcome> {
        let (state, expect) = kit::load::<Option<Raw>>(work).await?;
        let keep = Keep::For(Duration::from_secs(30));
        let claim = kit::to_put(kit::inbox_key(work), &(), Expect::Absent, keep);
        match work.places.store.write(vec![claim]).await {
            WriteOutcome::Conflict(_) => return Ok(work.ack(Outcome::Duplicate).await),
            WriteOutcome::Refused(error) | WriteOutcome::Unknown(error) => return Err(error.into()),
            WriteOutcome::Applied(_) => {}
        }
        let (state, _) = kit::decide(work, state.as_ref()).await?;
        kit::put_entity(work, &state, expect).await?;
        Ok(work.ack(Outcome::Processed).await)
    }
}

/// Not only after a read.
#[test]
fn a_handler_may_fail_after_a_write() {
    let failures = Faults::only([Fault::HandlerFailure]);
    let world = world(ClaimsFirst).store(items_only()).workers(2).kinds(failures).faults(2);
    breaks(world.judge(&[Property::NoLostMessages]), Property::NoLostMessages, 6);
}

/// Commits and acks at once, and lets go of the commit where the ack comes first.
#[derive(Clone, Copy, Debug)]
struct LetsGo;

protocol!(LetsGo = "lets-go");

impl LetsGo {
    async fn attempt(&self, work: &Work<'_>) -> Result<Outcome, Outcome> {
        let (state, expect) = kit::load::<Option<Raw>>(work).await?;
        let (state, _) = kit::decide(work, state.as_ref()).await?;
        let committing = pin!(kit::put_entity(work, &state, expect));
        let acking = pin!(work.ack(Outcome::Processed));
        match select(committing, acking).await {
            Either::Right((acked, _)) => Ok(acked),
            Either::Left((committed, acking)) => committed.map(|_| ()).and(Ok(acking.await)),
        }
    }
}

#[test]
fn a_commit_that_is_let_go_may_come_to_nothing() {
    let world = world(LetsGo).store(items_only()).judge(&[Property::NoLostMessages]);
    breaks(world, Property::NoLostMessages, 4);
}

/// Makes a write that it never waits for.
#[derive(Clone, Copy, Debug)]
struct Litters;

protocol!(Litters = "litters");

impl Litters {
    async fn attempt(&self, work: &Work<'_>) -> Result<Outcome, Outcome> {
        commit(work).await?;
        let key = ItemKey::new(Space::Reply, work.endpoint, message_key(work.envelope));
        let litter = kit::to_put(key, &(), Expect::Anything, Keep::Always);
        {
            let mut writing = pin!(kit::write(work.places, litter));
            poll_fn(|poller| {
                assert!(writing.as_mut().poll(poller).is_pending());
                Poll::Ready(())
            })
            .await;
        }
        Ok(work.ack(Outcome::Processed).await)
    }
}

#[test]
fn a_write_that_nobody_waits_for_may_land() {
    let world = world(Litters).store(items_only()).judge(&[Property::NoGarbage]);
    breaks(world, Property::NoGarbage, 6);
}
