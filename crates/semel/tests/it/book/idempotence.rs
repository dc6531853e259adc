use semel::check::handler;
use semel::designs::TwoPhaseSet;
use semel::prelude::*;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

#[derive(Clone, Serialize, Deserialize, Message)]
#[message(type = "cart.change", entity = cart)]
struct Change {
    cart: String,
    adds: bool,
    line: String,
}

fn add() -> Change {
    Change { cart: "c1".to_owned(), adds: true, line: "l1".to_owned() }
}

fn remove() -> Change {
    Change { adds: false, ..add() }
}

fn naive(lines: &mut BTreeSet<String>, change: Change, _: &mut Context) {
    if change.adds {
        lines.insert(change.line);
    } else {
        lines.remove(&change.line);
    }
}

#[test]
fn a_set_without_tombstones_is_refused() {
    let report = handler(naive).message(add()).message(remove()).check();
    println!("{report}");
    assert!(!report.is_idempotent.is_yes() && !report.is_free_of_order.is_yes());
}

fn with_tombstones(lines: &mut TwoPhaseSet<String>, change: Change, _: &mut Context) {
    if change.adds {
        lines.insert(change.line);
    } else {
        lines.remove(change.line);
    }
}

#[test]
fn a_set_with_tombstones_is_not() {
    let report = handler(with_tombstones).message(add()).message(remove()).check();
    println!("{report}");
    assert!(report.is_idempotent.is_yes() && report.is_free_of_order.is_yes());
}

use semel::AtLeastOnce;
use semel::check::{Property, World, items_only};

#[test]
fn at_least_once_is_enough_for_it() {
    World::new("a cart")
        .store(items_only())
        .endpoint(Endpoint::new("carts").handle(with_tombstones).protocol(AtLeastOnce))
        .judge(&[Property::NoLostMessages, Property::NoGarbage])
        .send("m1", "carts", add())
        .send("m2", "carts", remove())
        .workers(2)
        .faults(2)
        .sometimes("the removal comes first", |view| {
            let lines = view.entity::<TwoPhaseSet<String>>("carts", "c1");
            lines.is_some_and(|lines| lines.is_removed("l1"))
        })
        .finally("the line is gone", |view| {
            let lines = view.entity::<TwoPhaseSet<String>>("carts", "c1");
            lines.is_some_and(|lines| lines.is_empty() && lines.is_removed("l1"))
        })
        .check()
        .assert_holds();
}

use semel::designs::GrowOnlySet;

#[derive(Serialize, Deserialize, Message)]
#[message(type = "line.add")]
struct Add {
    line: String,
}

#[derive(Serialize, Deserialize, Message)]
#[message(type = "line.added")]
struct Added {
    line: String,
}

fn tells_once(lines: &mut GrowOnlySet<String>, Add { line }: Add, ctx: &mut Context) {
    if !lines.contains(&line) {
        ctx.send("stock", Added { line: line.clone() });
    }
    lines.insert(line);
}

#[test]
fn an_effect_only_where_something_was_new_is_refused() {
    let report = handler(tells_once).message(Add { line: "l1".to_owned() }).check();
    println!("{report}");
    assert!(!report.is_idempotent.is_yes());
}

fn tells_each_time(lines: &mut GrowOnlySet<String>, Add { line }: Add, ctx: &mut Context) {
    ctx.send("stock", Added { line: line.clone() });
    lines.insert(line);
}

#[test]
fn an_effect_of_the_message_alone_is_not() {
    let report = handler(tells_each_time).message(Add { line: "l1".to_owned() }).check();
    assert!(report.is_idempotent.is_yes(), "{report}");
}
