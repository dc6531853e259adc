//! Finishers that look twice, or at the clock: a look that finds nothing now may find more later.

use std::collections::BTreeSet;
use std::time::Duration;

use semel_check::{Breach, Fault, Faults, Property, World, relational_apart};
use semel_core::StoreError;
use semel_core::protocols::{Outcome, Places, Step, Work, message_key};
use semel_core::store::{Change, Expect, Item, ItemKey, Keep, Page, Space};
use serde::{Deserialize, Serialize};

use super::{breaks, world};
use crate::bank::of;
use crate::mutants::kit::{self, Kept, Raw, protocol};

/// State, inbox and outbox in one batch; who dispatches is up to each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Finisher {
    /// Workers dispatch; the finisher deletes what the inbox knows nothing of.
    DeletesOrphans,
    /// The finisher dispatches what is older than an hour, under two ids.
    SendsTheOldTwice,
    /// The finisher dispatches what is older than five seconds. Correct: it costs time only.
    SkipsTheYoung,
}

protocol!(Finisher = "finisher" {
    async fn finish(&self, _: &str, places: Places<'_>) -> Result<usize, StoreError> {
        let known = match self {
            Self::DeletesOrphans => Some(list(places, Space::Inbox).await?),
            _ => None,
        };
        let records = list(places, Space::Outbox).await?;
        let names = known.map(|known| known.into_iter().map(|item| item.key.key).collect());
        for record in &records {
            let _ = self.finish_one(places, record, names.as_ref()).await;
        }
        Ok(records.len())
    }
});

#[derive(Serialize, Deserialize)]
struct Record {
    at_ms: i64,
    messages: Vec<Kept>,
}

impl Finisher {
    async fn attempt(&self, work: &Work<'_>) -> Result<Outcome, Outcome> {
        let (state, expect) = kit::load::<Option<Raw>>(work).await?;
        if work.places.store.read(&kit::inbox_key(work)).await?.is_some() {
            self.dispatch(work).await?;
            return Ok(work.ack(Outcome::Duplicate).await);
        }
        let (state, messages) = kit::decide(work, state.as_ref()).await?;
        let record = Record { at_ms: work.places.clock.now().unix_ms(), messages };
        work.begin(Step::CommitState);
        let changes = vec![
            kit::to_put(work.entity_key(), &state, expect, Keep::Always),
            kit::to_put(kit::inbox_key(work), &(), Expect::Absent, Keep::For(kit::WINDOW)),
            kit::to_put(outbox_key(work), &record, Expect::Absent, Keep::Always),
        ];
        kit::write_all(work.places, changes).await?;
        self.dispatch(work).await?;
        Ok(work.ack(Outcome::Processed).await)
    }

    /// Dispatches what is still to be dispatched, where workers do.
    async fn dispatch(&self, work: &Work<'_>) -> Result<(), Outcome> {
        if *self != Self::DeletesOrphans {
            return Ok(());
        }
        let Some(record) = work.places.store.read(&outbox_key(work)).await? else { return Ok(()) };
        kit::dispatch(work, &kit::read::<Record>(&record).messages).await?;
        kit::write(work.places, to_delete(&record)).await.map(drop)
    }

    async fn finish_one(
        self,
        places: Places<'_>,
        record: &Item,
        known: Option<&BTreeSet<String>>,
    ) -> Result<(), Outcome> {
        if let Some(known) = known {
            if known.contains(&record.key.key) {
                return Ok(());
            }
            return kit::write(places, to_delete(record)).await.map(drop);
        }
        let Record { at_ms, messages } = kit::read(record);
        let age = Duration::from_millis(places.clock.now().unix_ms().abs_diff(at_ms));
        let (old, suffixes): (Duration, &[&str]) = match self {
            Self::SendsTheOldTwice => (Duration::from_secs(3_600), &["/a", "/b"]),
            _ => (Duration::from_secs(5), &[""]),
        };
        if age < old {
            return Ok(());
        }
        for suffix in suffixes {
            let mut messages: Vec<_> = messages.iter().map(Kept::outgoing).collect();
            messages.iter_mut().for_each(|message| message.envelope.id.push_str(suffix));
            kit::send(places, messages).await?;
        }
        kit::write(places, to_delete(record)).await.map(drop)
    }
}

async fn list(places: Places<'_>, space: Space) -> Result<Vec<Item>, StoreError> {
    places.store.list(&Page { space, after: None, limit: 10 }).await
}

fn outbox_key(work: &Work<'_>) -> ItemKey {
    ItemKey::new(Space::Outbox, work.endpoint, message_key(work.envelope))
}

fn to_delete(record: &Item) -> Change {
    Change::Delete { key: record.key.clone(), expect: Expect::Version(record.version.clone()) }
}

fn finished_by(finisher: Finisher) -> World {
    world(finisher).store(relational_apart())
}

/// What is committed between the two lists is in the second alone.
#[test]
fn a_look_of_two_lists_sees_two_moments() {
    let two = finished_by(Finisher::DeletesOrphans).send("d2", "accounts", of("bob", 7));
    let crashes = two.kinds(Faults::only([Fault::Crash])).faults(1);
    breaks(crashes.judge(&[Property::NoLostEffects]), Property::NoLostEffects, 18);
}

#[test]
fn a_finisher_that_finds_nothing_may_find_something_once_time_has_passed() {
    let old = finished_by(Finisher::SendsTheOldTwice).judge(&[Property::AtMostOneEffect]);
    breaks(old.clone(), Property::AtMostOneEffect, 10);
    let late = old.kinds(Faults::only([Fault::LateDelivery])).faults(1);
    let random = late.check_random(1, 200);
    assert_eq!(random.breach(), Some(&Breach::Property(Property::AtMostOneEffect)), "{random}");
}

#[test]
fn a_finisher_that_leaves_the_young_to_others_loses_nothing() {
    finished_by(Finisher::SkipsTheYoung).check().assert_holds();
    finished_by(Finisher::SkipsTheYoung).faults(1).workers(2).check().assert_holds();
}

/// Its finisher litters once the inbox is empty, and that it is for a time only.
#[derive(Clone, Copy, Debug)]
struct LittersLater;

protocol!(LittersLater = "litters-later" {
    async fn finish(&self, endpoint: &str, places: Places<'_>) -> Result<usize, StoreError> {
        let once = ItemKey::new(Space::Outbox, endpoint, "once");
        if places.store.read(&once).await?.is_some() {
            return Ok(0);
        }
        let century = Keep::For(Duration::from_secs(100 * 365 * 86_400));
        let _ = kit::write(places, kit::to_put(once, &(), Expect::Absent, century)).await;
        if list(places, Space::Inbox).await?.is_empty() {
            let litter = ItemKey::new(Space::Reply, endpoint, "litter");
            let put = kit::to_put(litter, &(), Expect::Anything, Keep::Always);
            let _ = kit::write(places, put).await;
        }
        Ok(1)
    }
});

impl LittersLater {
    async fn attempt(&self, work: &Work<'_>) -> Result<Outcome, Outcome> {
        kit::write(work.places, kit::to_remember(work)).await?;
        Ok(work.ack(Outcome::Processed).await)
    }
}

/// Sleep sets must not take the passing of a window for independent of a list.
#[test]
fn a_record_that_vanishes_changes_its_list() {
    let passes = Faults::only([Fault::WindowPasses]);
    let world = world(LittersLater).store(relational_apart()).kinds(passes).faults(1);
    let judged = world.clone().judge(&[Property::NoGarbage]);
    breaks(judged.clone(), Property::NoGarbage, 10);
    let unmerged = judged.check_unmerged();
    assert_eq!(unmerged.breach(), Some(&Breach::Property(Property::NoGarbage)), "{unmerged}");
    let cross = world.judge(&[]).cross_check();
    assert!(cross.agree, "{}{}", cross.merged, cross.unmerged);
}
