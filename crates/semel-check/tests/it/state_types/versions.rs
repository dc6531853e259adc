//! Version numbers: changes that come late, deletions, and two contents under one number.

use std::collections::BTreeMap;

use semel_core::Context;
use semel_core::designs::LastVersion;
use serde::{Deserialize, Serialize};

use super::{Refusal, lawful, message, refused, sound};

#[derive(Clone, Serialize, Deserialize)]
struct Price {
    version: u64,
    /// None deletes it.
    pence: Option<u64>,
}

message!(Price = "article.price");

fn put(version: u64, pence: u64) -> Price {
    Price { version, pence: Some(pence) }
}

fn delete(version: u64) -> Price {
    Price { version, pence: None }
}

fn change(price: &mut LastVersion<u64>, message: Price, _: &mut Context) {
    match message.pence {
        Some(pence) => price.put(message.version, pence),
        None => price.delete(message.version),
    }
}

#[test]
fn the_last_version_wins_in_every_order() {
    lawful(change, &[put(1, 500), put(2, 450), put(3, 400), put(0, 600)]);
    sound("the last version", change, &[put(1, 500), put(2, 450)]);
}

#[test]
fn a_tombstone_keeps_its_version() {
    sound("a deletion with a version", change, &[put(1, 500), delete(2)]);
    lawful(change, &[put(1, 500), delete(2), put(3, 400)]);
}

#[test]
fn contents_under_one_version_are_a_conflict_in_every_order() {
    lawful(change, &[put(1, 500), put(1, 450), delete(1), put(0, 600)]);
    sound("two values with one version", change, &[put(1, 500), put(1, 450)]);
}

#[test]
fn the_last_to_arrive_is_refused() {
    fn overwrite(price: &mut Option<u64>, message: Price, _: &mut Context) {
        *price = message.pence;
    }
    refused(
        "the last to arrive wins",
        overwrite,
        &[put(1, 500), put(2, 450)],
        &Refusal {
            idempotent: r#"NO
            no state + article.price {"version":1,"pence":500} → 500
            500 + article.price {"version":2,"pence":450} → 450
            a duplicate: 450 + article.price {"version":1,"pence":500} → 500"#,
            free_of_order: r#"NO
            no state + article.price {"version":1,"pence":500} → 500
            500 + article.price {"version":2,"pence":450} → 450
            but in the other order:
            no state + article.price {"version":2,"pence":450} → 450
            450 + article.price {"version":1,"pence":500} → 500"#,
            ends_with: r#"500"#,
            steps: 8,
            faults: 0,
        },
    );
}

/// A version is compared, but a deletion forgets it.
#[test]
fn a_deletion_without_a_tombstone_is_refused() {
    fn forget(price: &mut Option<(u64, u64)>, message: Price, _: &mut Context) {
        if price.is_none_or(|(version, _)| version < message.version) {
            *price = message.pence.map(|pence| (message.version, pence));
        }
    }
    refused(
        "a deletion that forgets",
        forget,
        &[put(1, 500), delete(2)],
        &Refusal {
            idempotent: r#"NO
            no state + article.price {"version":2,"pence":null} → null
            null + article.price {"version":1,"pence":500} → [1,500]
            a duplicate: [1,500] + article.price {"version":2,"pence":null} → null"#,
            free_of_order: r#"NO
            no state + article.price {"version":1,"pence":500} → [1,500]
            [1,500] + article.price {"version":2,"pence":null} → null
            but in the other order:
            no state + article.price {"version":2,"pence":null} → null
            null + article.price {"version":1,"pence":500} → [1,500]"#,
            ends_with: r#"[1,500]"#,
            steps: 8,
            faults: 0,
        },
    );
}

/// Greater numbers win, and equal ones overwrite.
#[test]
fn equal_versions_that_overwrite_are_refused() {
    fn overwrite(price: &mut (u64, Option<u64>), message: Price, _: &mut Context) {
        if price.0 <= message.version {
            *price = (message.version, message.pence);
        }
    }
    refused(
        "equal versions overwrite",
        overwrite,
        &[put(1, 500), put(1, 450)],
        &Refusal {
            idempotent: r#"NO
            no state + article.price {"version":1,"pence":500} → [1,500]
            [1,500] + article.price {"version":1,"pence":450} → [1,450]
            a duplicate: [1,450] + article.price {"version":1,"pence":500} → [1,500]"#,
            free_of_order: r#"NO
            no state + article.price {"version":1,"pence":500} → [1,500]
            [1,500] + article.price {"version":1,"pence":450} → [1,450]
            but in the other order:
            no state + article.price {"version":1,"pence":450} → [1,450]
            [1,450] + article.price {"version":1,"pence":500} → [1,500]"#,
            ends_with: r#"[1,500]"#,
            steps: 8,
            faults: 0,
        },
    );
}

#[derive(Clone, Serialize, Deserialize)]
struct Listed {
    article: String,
    price: Price,
}

message!(Listed = "catalogue.price");

#[test]
fn a_map_of_them_is_as_sound_as_they_are() {
    fn list(prices: &mut BTreeMap<String, LastVersion<u64>>, message: Listed, ctx: &mut Context) {
        change(prices.entry(message.article).or_default(), message.price, ctx);
    }
    let listed = |article: &str, price| Listed { article: article.to_owned(), price };
    let messages =
        [listed("pen", put(1, 500)), listed("cup", put(1, 900)), listed("pen", delete(2))];
    lawful(list, &messages);
    sound("a map of versions", list, &messages[1..]);
}
