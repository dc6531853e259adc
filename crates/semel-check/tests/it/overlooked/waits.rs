//! Whoever waits for time to pass, and what comes then: the clock moves by no move of its own.

use std::time::Duration;

use semel_check::{Fault, Faults, Property, World, items_only, relational};
use semel_core::broker::Settlement;
use semel_core::protocols::{Outcome, Work, message_key};
use semel_core::store::{Change, Expect, Item, ItemKey, Keep, Space};
use serde::{Deserialize, Serialize};

use super::{breaks, commit, livelocks, world};
use crate::mutants::kit::{self, Raw, protocol};

/// How long the locks here are held at most.
const LOCK: Keep = Keep::For(Duration::from_secs(30));

/// For how long someone who has begun is left alone.
const PATIENCE: Duration = Duration::from_secs(300);

/// Waits for a lock, and for the next one.
#[derive(Clone, Copy, Debug)]
struct WaitsForever;

protocol!(WaitsForever = "waits-forever");

impl WaitsForever {
    async fn attempt(&self, work: &Work<'_>) -> Result<Outcome, Outcome> {
        kit::write(work.places, to_lock(work)).await?;
        Err(Outcome::Conflict)
    }
}

fn lock_key(work: &Work<'_>) -> ItemKey {
    ItemKey::new(Space::Reply, work.endpoint, message_key(work.envelope))
}

fn to_lock(work: &Work<'_>) -> Change {
    kit::to_put(lock_key(work), &(), Expect::Absent, LOCK)
}

fn to_delete(key: ItemKey) -> Change {
    Change::Delete { key, expect: Expect::Anything }
}

#[test]
fn whoever_waits_for_one_lock_after_the_other_never_ends() {
    livelocks(world(WaitsForever).store(items_only()), 3);
}

/// Locks while it is at it; where another has begun, waits until the lock is gone.
#[derive(Clone, Copy, Debug)]
struct TakesBegunForDone;

protocol!(TakesBegunForDone = "takes-begun-for-done");

impl TakesBegunForDone {
    async fn attempt(&self, work: &Work<'_>) -> Result<Outcome, Outcome> {
        let begun = kit::inbox_key(work);
        let is_first = work.places.store.read(&begun).await?.is_none();
        kit::write(work.places, to_lock(work)).await?;
        if is_first {
            let begin = kit::to_put(begun.clone(), &(), Expect::Absent, Keep::Always);
            kit::write(work.places, begin).await?;
            commit(work).await?;
        }
        // If it is not: the other has ended, or so it believes.
        kit::write(work.places, to_delete(lock_key(work))).await?;
        kit::write(work.places, to_delete(begun)).await?;
        Ok(work.ack(Outcome::Processed).await)
    }
}

/// Nothing but time leads there.
#[test]
fn what_comes_once_a_lock_has_gone_is_judged() {
    let world = world(TakesBegunForDone).store(items_only()).judge(&[Property::NoLostMessages]);
    world.clone().check().assert_holds();
    let crashes = world.kinds(Faults::only([Fault::Crash])).faults(1);
    breaks(crashes, Property::NoLostMessages, 15);
}

/// Records that it has begun; who finds that later on takes over, unless the entity was changed.
#[derive(Clone, Copy, Debug)]
struct TakesOver {
    /// Whether it gives the message back while another is at it, or stays.
    gives_back: bool,
}

protocol!(TakesOver = "takes-over");

#[derive(Serialize, Deserialize)]
enum Phase {
    BegunAt(i64),
    Done,
}

impl TakesOver {
    async fn attempt(&self, work: &Work<'_>) -> Result<Outcome, Outcome> {
        let (state, version) = kit::load::<Option<Raw>>(work).await?;
        let now = work.places.clock.now();
        let record = work.places.store.read(&kit::inbox_key(work)).await?;
        let expect = match record.as_ref().map(|item: &Item| (kit::read(item), &item.version)) {
            None => Expect::Absent,
            Some((Phase::Done, _)) => return Ok(work.ack(Outcome::Duplicate).await),
            Some((Phase::BegunAt(ms), _)) if is_young(ms, now.unix_ms()) => {
                return Ok(if self.gives_back { give_back(work).await } else { Outcome::Conflict });
            }
            Some((Phase::BegunAt(_), version)) => Expect::Version(version.clone()),
        };
        let begin = to_record(work, &Phase::BegunAt(now.unix_ms()), expect);
        kit::write(work.places, begin).await?;
        let (state, messages) = kit::decide(work, state.as_ref()).await?;
        let mut changes = vec![
            kit::to_put(work.entity_key(), &state, version, Keep::Always),
            to_record(work, &Phase::Done, Expect::Anything),
        ];
        changes.extend(messages.iter().map(|message| Change::Enqueue(message.outgoing())));
        kit::write_all(work.places, changes).await?;
        Ok(work.ack(Outcome::Processed).await)
    }
}

fn is_young(since_ms: i64, now_ms: i64) -> bool {
    Duration::from_millis(now_ms.abs_diff(since_ms)) < PATIENCE
}

async fn give_back(work: &Work<'_>) -> Outcome {
    let release = Settlement::Release { after: PATIENCE };
    let _ = work.places.broker.settle(work.receipt, release).await;
    Outcome::LeaseLost
}

fn to_record(work: &Work<'_>, phase: &Phase, expect: Expect) -> Change {
    kit::to_put(kit::inbox_key(work), phase, expect, Keep::Always)
}

fn taken_over(gives_back: bool) -> World {
    let world = world(TakesOver { gives_back }).store(relational()).keeps(Space::Inbox);
    world.workers(2).faults(1)
}

#[test]
fn whoever_takes_over_after_a_while_ends() {
    taken_over(false).check().assert_holds();
}

/// What is given back for a while does not come before that has passed, so there is an end to it.
#[test]
fn whoever_gives_back_what_is_not_his_yet_ends() {
    let report = taken_over(true).deliveries_max(4).check();
    assert!(report.holds(), "{report}");
}
