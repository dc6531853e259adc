//! One handler alone: the questions every team has.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

use semel_check::{Answer, Objects, handler};
use semel_core::{Context, Failure};

use crate::bank::{Account, Deposit, Note, deposit, of};

#[track_caller]
fn story(answer: &Answer) -> &[String] {
    match answer {
        Answer::No(story) => story,
        other => panic!("expected a story, but {other}"),
    }
}

#[test]
fn a_handler_that_adds_up_is_not_idempotent() {
    let report = handler(deposit).message(of("alice", 5)).check();
    assert!(report.is_deterministic.is_yes() && report.is_timeless.is_yes(), "{report}");
    let story = story(&report.is_idempotent);
    assert_eq!(story.len(), 2, "the deposit, and its duplicate: {report}");
    assert!(
        story[1].contains(r#"{"pence":5}"#) && story[1].contains(r#"{"pence":10}"#),
        "{report}"
    );
}

#[test]
fn notes_of_the_sum_depend_on_order_though_the_sum_does_not() {
    let report = handler(deposit).message(of("alice", 5)).message(of("alice", 7)).check();
    assert_eq!(story(&report.is_free_of_order).len(), 5, "{report}");
    fn silent(account: &mut Account, message: Deposit, _: &mut Context) {
        account.pence += message.pence;
    }
    let report = handler(silent).message(of("alice", 5)).message(of("alice", 7)).check();
    assert!(report.is_free_of_order.is_yes(), "{report}");
}

#[test]
fn a_handler_that_sets_is_idempotent_until_another_message_comes_between() {
    fn set(account: &mut Account, message: Deposit, _: &mut Context) {
        account.pence = message.pence;
    }
    let once = handler(set).message(of("alice", 5)).check();
    assert!(once.is_idempotent.is_yes(), "{once}");
    let twice = handler(set).message(of("alice", 5)).message(of("alice", 7)).check();
    assert_eq!(story(&twice.is_idempotent).len(), 3, "one, the other, one again: {twice}");
}

#[test]
fn the_clock_a_counter_and_the_order_of_a_map_are_found() {
    fn stamps(account: &mut Account, _: Deposit, ctx: &mut Context) {
        account.pence = ctx.now().unix_ms();
    }
    let report = handler(stamps).message(of("alice", 5)).check();
    assert!(report.is_deterministic.is_yes(), "{report}");
    assert_eq!(story(&report.is_timeless).len(), 2, "{report}");

    static CALLS: AtomicU64 = AtomicU64::new(0);
    fn counts(_: &mut Account, _: Deposit, ctx: &mut Context) {
        ctx.send("audit", Note { sum: CALLS.fetch_add(1, Ordering::Relaxed) as i64 });
    }
    let report = handler(counts).message(of("alice", 5)).check();
    assert_eq!(story(&report.is_deterministic).len(), 2, "{report}");

    fn iterates(_: &mut Account, _: Deposit, ctx: &mut Context) {
        let many: HashMap<i64, ()> = (0..100).map(|number| (number, ())).collect();
        for number in many.keys() {
            ctx.send("audit", Note { sum: *number });
        }
    }
    let report = handler(iterates).message(of("alice", 5)).check();
    assert!(!report.is_deterministic.is_yes(), "{report}");
}

#[test]
fn an_async_handler_writes_objects_and_a_panic_is_a_failure() {
    async fn writes(
        account: &mut Account,
        message: Deposit,
        _: &mut Context,
    ) -> Result<(), Failure> {
        Objects.put("invoice", message.pence.to_string()).await?;
        account.pence = message.pence;
        Ok(())
    }
    let report = handler(writes).message(of("alice", 5)).check();
    assert!(report.is_idempotent.is_yes(), "{report}");

    fn panics(_: &mut Account, message: Deposit, _: &mut Context) {
        assert!(message.pence < 0, "no deposit is negative");
    }
    let report = handler(panics).message(of("alice", 5)).check();
    assert!(report.is_deterministic.is_yes(), "it panics each time: {report}");
}

#[test]
fn without_messages_there_is_no_answer() {
    let report = handler(deposit).check();
    assert!(matches!(report.is_idempotent, Answer::Unknown(_)), "{report}");
    assert!(report.to_string().contains("add some with `message`"), "{report}");
}
