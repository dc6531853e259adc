//! A short run of each protocol, judged by what lies in the file and never by the time it took.

use super::course::{Course, PORTIONS_IN_WINDOW};
use super::look::{Look, MEASURES, Phase, Record};
use super::report::Trend;

const COURSE: Course = Course { messages: 3_000, entities: 50, portions: 12, versions_max: 10 };
const PORTION: f64 = 250.0;
/// Each message sends one to the second endpoint, which has as many entities.
const ENTITIES: f64 = 100.0;

async fn short_run(protocol: &str) -> Record {
    let folder = tempfile::tempdir().unwrap();
    let record = COURSE.run(folder.path(), protocol).await.unwrap();
    for look in record.looks(Phase::InFlight) {
        assert_eq!(look.queued, PORTION);
    }
    for look in record.looks(Phase::AtRest) {
        assert_eq!((look.queued, look.outbox_items, look.token_items), (0.0, 0.0, 0.0));
    }
    record
}

fn values(record: &Record, phase: Phase, of: fn(&Look) -> f64) -> Vec<f64> {
    record.looks(phase).map(of).collect()
}

/// So many messages for each portion, once and for all and for as long as the window lasts.
fn assert_inbox(record: &Record, messages_a_portion: f64) {
    let found = values(record, Phase::AtRest, |look| look.inbox_items);
    let remembered = |portions: usize| portions.min(PORTIONS_IN_WINDOW) as f64;
    let expected: Vec<f64> =
        (1..=COURSE.portions).map(|n| remembered(n) * messages_a_portion).collect();
    assert_eq!(found, expected);
    assert!(matches!(trend(record, "inbox, bytes"), Trend::Flat(_)));
}

/// What becomes of a measure at rest.
fn trend(record: &Record, name: &str) -> Trend {
    let named =
        |measure: &&super::look::Measure| measure.name == name && measure.phase == Phase::AtRest;
    Trend::of(&record.line(MEASURES.iter().find(named).unwrap()))
}

fn assert_flat_entities(record: &Record) {
    for name in ["largest entity, bytes", "mean entity, bytes", "entity books, bytes"] {
        assert!(matches!(trend(record, name), Trend::Flat(_)), "{name}: {:?}", trend(record, name));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn at_least_once_remembers_nothing() {
    let record = short_run("at-least-once").await;
    assert_inbox(&record, 0.0);
    assert_eq!(values(&record, Phase::AtRest, |look| look.books_entries), [0.0; 12]);
    assert_flat_entities(&record);
}

#[tokio::test(flavor = "multi_thread")]
async fn transactional_remembers_the_messages_of_a_window() {
    let record = short_run("transactional").await;
    assert_inbox(&record, 2.0 * PORTION);
    assert_eq!(values(&record, Phase::AtRest, |look| look.books_bytes), [0.0; 12]);
    assert_flat_entities(&record);
}

#[tokio::test(flavor = "multi_thread")]
async fn outbox_inbox_remembers_the_messages_of_a_window_and_its_entities_do_not_grow() {
    let record = short_run("outbox-inbox").await;
    assert_inbox(&record, 2.0 * PORTION);
    for phase in [Phase::InFlight, Phase::AtRest] {
        assert_eq!(values(&record, phase, |look| look.books_entries), [0.0; 12]);
    }
    assert_flat_entities(&record);
}

#[tokio::test(flavor = "multi_thread")]
async fn detached_outbox_remembers_the_messages_of_a_window_and_one_in_each_entity() {
    let record = short_run("detached-outbox").await;
    assert_inbox(&record, 2.0 * PORTION);
    assert_eq!(values(&record, Phase::AtRest, |look| look.books_entries), [ENTITIES; 12]);
    assert_eq!(values(&record, Phase::AtRest, |look| look.books_entries_max), [1.0; 12]);
    assert_flat_entities(&record);
}

#[tokio::test(flavor = "multi_thread")]
async fn token_keeps_one_for_each_message_in_flight_and_none_at_rest() {
    let record = short_run("token").await;
    // Messages from outside alone.
    assert_inbox(&record, PORTION);
    assert_eq!(values(&record, Phase::InFlight, |look| look.books_entries), [PORTION; 12]);
    assert_eq!(values(&record, Phase::AtRest, |look| look.books_entries), [0.0; 12]);
    assert_flat_entities(&record);

    let fewer = Course { messages: 200, portions: 4, ..COURSE };
    let folder = tempfile::tempdir().unwrap();
    let record = fewer.run(folder.path(), "token").await.unwrap();
    assert_eq!(values(&record, Phase::InFlight, |look| look.books_entries), [50.0; 4]);
}

#[tokio::test(flavor = "multi_thread")]
async fn replay_keeps_no_more_versions_than_it_may() {
    let record = short_run("replay").await;
    assert_inbox(&record, 0.0);
    let most = values(&record, Phase::AtRest, |look| look.books_entries_max);
    let expected: Vec<f64> = (1..=12).map(|n| f64::from(5 * n).min(10.0)).collect();
    assert_eq!(most, expected, "five messages a portion for each entity");
    assert_flat_entities(&record);
}

/// For entities of few messages: what was seen is kept for good.
async fn assert_growth(protocol: &str) {
    let record = short_run(protocol).await;
    assert_inbox(&record, 0.0);
    let found = values(&record, Phase::AtRest, |look| look.books_entries);
    let expected: Vec<f64> = (1..=12).map(|n| 2.0 * PORTION * f64::from(n)).collect();
    assert_eq!(found, expected);
    let Trend::Changes(_, growth) = trend(&record, "largest entity, bytes") else {
        panic!("the largest entity does not grow");
    };
    assert!(growth > 1.5, "{growth}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_entities_of_inbox_grow_with_each_message() {
    assert_growth("inbox").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_entities_of_outbox_grow_with_each_message() {
    assert_growth("outbox").await;
}
