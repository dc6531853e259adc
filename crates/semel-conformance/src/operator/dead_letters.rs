//! What a person sees of dead letters.

use semel_core::broker::{DeadReason, FailureRecord};
use semel_core::operator::DeadLetter;

use super::handle::OperatorHandle;
use crate::OperatorRig;
use crate::broker::is_unharmed;
use crate::sample::{
    RELEASE, dead_letter, dead_letter_for, delicate_entities, delicate_messages, failure, message,
    retry,
};
use crate::verdict::{broken, require, require_eq};

/// A dead letter shows its endpoint and protocol, its reason, how often it was delivered, and the
/// attempts that failed, the one that parked it last.
pub async fn a_dead_letter_shows_its_history(rig: &dyn OperatorRig) {
    let place = OperatorHandle::open(rig).await;
    place.queue.register("orders", &[]).await;
    place.park_after_retries("orders", message("1")).await;
    let dead = place.only("orders").await;
    let seen = (dead.endpoint.as_str(), dead.protocol.as_deref(), dead.reason, dead.deliveries);
    let expected = ("orders", Some("outbox"), DeadReason::HandlerFailed, 3);
    require_eq("a dead letter tells where, why, and after how many deliveries", &seen, &expected);
    let expected: Vec<FailureRecord> = (1..4).map(failure).collect();
    require_eq("a dead letter shows the attempts that failed", &dead.failures, &expected);
}

/// A dead letter shows why it was parked, whichever the reason; also where nobody registered the
/// endpoint.
pub async fn a_dead_letter_shows_its_reason(rig: &dyn OperatorRig) {
    let place = OperatorHandle::open(rig).await;
    for reason in DeadReason::ALL {
        place.park(reason.name(), "1", reason).await;
        let dead = place.only(reason.name()).await;
        require_eq("a dead letter shows why it was parked", &dead.reason, &reason);
        require_eq("an unknown protocol is not told", &dead.protocol, &None);
    }
}

/// A dead letter shows its message, and its data as it came.
pub async fn a_dead_letter_shows_what_came(rig: &dyn OperatorRig) {
    let place = OperatorHandle::open(rig).await;
    for (n, sent) in delicate_messages().into_iter().enumerate() {
        let endpoint = format!("orders-{n}");
        let delivery = place.delivery(&endpoint, sent.clone()).await;
        place.queue.settle(&delivery, dead_letter(DeadReason::Undecodable, 1)).await;
        let dead = place.only(&endpoint).await;
        match &dead.envelope {
            Ok(seen) => is_unharmed(seen, &sent),
            Err(error) => broken("an envelope that was sent is shown as one", error),
        }
        let data = |bytes: &[u8]| bytes.escape_ascii().to_string();
        let sentence = "a dead letter shows its data as it came";
        require_eq(sentence, &data(&dead.raw), &data(&sent.data));
    }
}

/// A dead letter shows the entity that it was parked with, unharmed, in a list and by its number,
/// to any handle; none where none was told.
pub async fn a_dead_letter_shows_its_entity(rig: &dyn OperatorRig) {
    let place = OperatorHandle::open(rig).await;
    for (n, entity) in delicate_entities().into_iter().enumerate() {
        let delivery = place.delivery(&format!("orders-{n}"), message("1")).await;
        place.queue.settle(&delivery, dead_letter_for(entity.as_deref())).await;
    }
    let other = OperatorHandle::open(rig).await;
    for (n, entity) in delicate_entities().into_iter().enumerate() {
        let listed = other.only(&format!("orders-{n}")).await;
        let sentence = "a dead letter shows the entity that it was parked with";
        require_eq(sentence, &listed.entity, &entity);
        let found = other.find(listed.number).await;
        require_eq(sentence, &found.and_then(|found| found.entity), &entity);
    }
}

/// A message that dies again shows the entity of its last death alone: an endpoint that knows better
/// has the last word, and one that knows nothing is not answered for by another.
pub async fn a_dead_letter_shows_the_entity_of_its_last_death(rig: &dyn OperatorRig) {
    let place = OperatorHandle::open(rig).await;
    let mut delivery = place.delivery("orders", message("1")).await;
    for entity in [Some("7"), None, Some("8"), Some("7"), None] {
        place.queue.settle(&delivery, dead_letter_for(entity)).await;
        let dead = place.only("orders").await;
        let sentence = "a dead letter shows the entity of its last death alone";
        require_eq(sentence, &dead.entity.as_deref(), &entity);
        place.queue.settles("`Release` replays a dead letter", &dead.receipt, RELEASE).await;
        delivery = place.queue.takes("a replayed message comes again", "orders", "1").await;
    }
}

/// A dead letter keeps the newest 20 failures, the one that parked it among them.
pub async fn a_dead_letter_keeps_the_newest_failures(rig: &dyn OperatorRig) {
    let place = OperatorHandle::open(rig).await;
    let mut delivery = place.delivery("orders", message("1")).await;
    for number in 0..24 {
        place.queue.settle(&delivery, retry(number)).await;
        delivery = place.queue.takes("a retried message comes again", "orders", "1").await;
    }
    place.queue.settle(&delivery, dead_letter(DeadReason::HandlerFailed, 24)).await;
    let expected: Vec<FailureRecord> = (5..25).map(failure).collect();
    let seen = place.only("orders").await.failures;
    require_eq("a dead letter keeps the newest 20 failures, oldest first", &seen, &expected);
}

/// A dead letter tells since when it is one.
pub async fn a_dead_letter_shows_since_when(rig: &dyn OperatorRig) {
    let place = OperatorHandle::open(rig).await;
    place.park("early", "1", DeadReason::Refused).await;
    place.queue.pass(2).await;
    place.park("late", "1", DeadReason::Refused).await;
    place.queue.pass(2).await;
    let (early, late) = (place.only("early").await, place.only("late").await);
    let apart = late.dead_since.since(early.dead_since);
    let sentence = "a dead letter tells since when it is one";
    require(sentence, apart >= place.queue.ticks(1), &(early.dead_since, late.dead_since));
    require_eq(sentence, &place.only("early").await.dead_since, &early.dead_since);
}

/// Dead letters are listed by their numbers, page by page, of one endpoint or of all. Each is listed
/// once, and its number finds it.
pub async fn dead_letters_are_listed_by_number(rig: &dyn OperatorRig) {
    let place = OperatorHandle::open(rig).await;
    for n in 0..3 {
        place.park("orders", &format!("orders-{n}"), DeadReason::Refused).await;
        place.park("billing", &format!("billing-{n}"), DeadReason::Refused).await;
    }
    for (endpoint, count) in [(None, 6), (Some("orders"), 3), (Some("nobody"), 0)] {
        for limit in [1, 2, 10] {
            let letters = pages(&place, endpoint, limit).await;
            require_eq("each dead letter is listed once", &letters.len(), &count);
            let others = letters.iter().filter(|dead| endpoint.is_some_and(|e| e != dead.endpoint));
            require_eq("the dead letters of one endpoint are listed", &others.count(), &0);
        }
    }
    for dead in pages(&place, None, 10).await {
        let found = place.find(dead.number).await;
        let seen = found.map(|found| (found.number, found.receipt));
        require_eq("its number finds a dead letter", &seen, &Some((dead.number, dead.receipt)));
    }
}

async fn pages(
    place: &OperatorHandle<'_>,
    endpoint: Option<&str>,
    limit: usize,
) -> Vec<DeadLetter> {
    let mut letters: Vec<DeadLetter> = Vec::new();
    loop {
        let after = letters.last().map_or(0, |dead| dead.number);
        let page = place.list(endpoint, after, limit).await;
        require("a page holds at most `limit` dead letters", page.len() <= limit, &page.len());
        if page.is_empty() {
            return letters;
        }
        for dead in page {
            let last = letters.last().map_or(0, |dead| dead.number);
            let sentence = "dead letters are listed by number, each after the last";
            require(sentence, dead.number > last, &(last, dead.number));
            letters.push(dead);
        }
    }
}

/// A number that stands for no dead letter finds none.
pub async fn an_unknown_number_finds_nothing(rig: &dyn OperatorRig) {
    let place = OperatorHandle::open(rig).await;
    place.park("orders", "1", DeadReason::Refused).await;
    let dead = place.only("orders").await;
    for number in [i64::MIN, -1, 0, dead.number + 1000, i64::MAX] {
        let found = place.find(number).await;
        require("a number that stands for no dead letter finds none", found.is_none(), &found);
    }
    place.queue.send("orders", message("2")).await;
    let letters = pages(&place, None, 10).await;
    require_eq("a message that is alive is no dead letter", &letters.len(), &1);
}

/// Looking changes nothing: leases hold, receipts keep their power, counts stand still.
pub async fn looking_changes_nothing(rig: &dyn OperatorRig) {
    let place = OperatorHandle::open(rig).await;
    let delivery = place.delivery("orders", message("1")).await;
    place.park("billing", "2", DeadReason::Refused).await;
    let first = (place.inspect().await, place.only("billing").await);
    let second = (place.inspect().await, place.only("billing").await);
    let sentence = "looking changes nothing";
    require_eq(sentence, &second.0, &first.0);
    require_eq(sentence, &second.1.receipt, &first.1.receipt);
    require_eq(sentence, &second.1.deliveries, &first.1.deliveries);
    place.queue.nothing(sentence, "orders").await;
    place.queue.settles(sentence, &delivery.receipt, RELEASE).await;
    place.queue.settles(sentence, &first.1.receipt, RELEASE).await;
}
