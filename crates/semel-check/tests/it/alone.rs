//! One handler alone: the questions every team has.

use std::collections::HashMap;
use std::future::poll_fn;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use semel_check::{Answer, HandlerReport, Objects, handler};
use semel_core::{Context, Failure, Message};
use serde::{Deserialize, Serialize};

use crate::bank::{Account, Deposit, Note, deposit, of};

#[track_caller]
fn story(answer: &Answer) -> &[String] {
    match answer {
        Answer::No(story) => story,
        other => panic!("expected a story, but {other}"),
    }
}

fn answers(report: &HandlerReport) -> [&Answer; 4] {
    let HandlerReport { is_deterministic, is_timeless, is_idempotent, is_free_of_order, .. } =
        report;
    [is_deterministic, is_timeless, is_idempotent, is_free_of_order]
}

#[track_caller]
fn knows_nothing(report: &HandlerReport, wanted: &str) {
    for answer in answers(report) {
        assert!(matches!(answer, Answer::Unknown(reason) if reason.contains(wanted)), "{report}");
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

/// Together they are told the same, each of them is not.
#[test]
fn messages_that_draw_tickets_depend_on_order() {
    fn draws(account: &mut Account, _: Deposit, ctx: &mut Context) {
        account.pence += 1;
        ctx.send("tickets", Note { sum: account.pence });
    }
    let report = handler(draws).message(of("alice", 5)).message(of("alice", 7)).check();
    let story = story(&report.is_free_of_order);
    assert_eq!(story.len(), 5, "{report}");
    assert!(story[0].contains(r#""pence":5"#) && story[0].contains(r#"{"sum":1}"#), "{report}");
    assert!(story[4].contains(r#""pence":5"#) && story[4].contains(r#"{"sum":2}"#), "{report}");
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
    knows_nothing(&report, "it failed each time it was tried, first with: the handler panicked");
}

#[test]
fn without_messages_there_is_no_answer() {
    let report = handler(deposit).check();
    assert!(matches!(report.is_idempotent, Answer::Unknown(_)), "{report}");
    assert!(report.to_string().contains("add some with `message`"), "{report}");
}

#[test]
fn a_handler_that_never_succeeds_is_not_known() {
    fn fails(_: &mut Account, _: Deposit, _: &mut Context) -> Result<(), Failure> {
        Err(Failure::dead_letter("the bank is closed"))
    }
    let report = handler(fails).message(of("alice", 5)).message(of("alice", 7)).check();
    knows_nothing(&report, "first with: the bank is closed");

    async fn sleeps(_: &mut Account, _: Deposit, _: &mut Context) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let report = handler(sleeps).message(of("alice", 5)).message(of("alice", 7)).check();
    knows_nothing(&report, "no reactor running");

    async fn waits(_: &mut Account, _: Deposit, _: &mut Context) {
        std::future::pending::<()>().await;
    }
    let report = handler(waits).message(of("alice", 5)).message(of("alice", 7)).check();
    knows_nothing(&report, "a timer, a channel, or real I/O");
}

#[test]
fn a_handler_that_fails_for_some_is_reported_to() {
    fn refuses(account: &mut Account, message: Deposit, _: &mut Context) -> Result<(), Failure> {
        if message.pence > 6 {
            return Err(Failure::dead_letter("too much"));
        }
        account.pence = message.pence;
        Ok(())
    }
    let report = handler(refuses).message(of("alice", 5)).message(of("alice", 7)).check();
    assert!(answers(&report).iter().all(|answer| answer.is_yes()), "{report}");
    assert!(report.failures > 0 && report.failures < report.runs, "{report}");
    let (failures, runs) = (report.failures, report.runs);
    let line = format!("\nIt failed {failures} of {runs} times, first with: too much\n");
    assert!(report.to_string().ends_with(&line), "{report}");
}

#[test]
fn a_handler_may_wake_itself() {
    async fn yields(account: &mut Account, message: Deposit, _: &mut Context) {
        let mut has_yielded = false;
        poll_fn(|poller| {
            if std::mem::replace(&mut has_yielded, true) {
                return Poll::Ready(());
            }
            poller.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
        account.pence += message.pence;
    }
    let report = handler(yields).message(of("alice", 5)).message(of("alice", 7)).check();
    assert_eq!(report.failures, 0, "{report}");
    assert!(report.is_deterministic.is_yes() && report.is_free_of_order.is_yes(), "{report}");
    assert_eq!(story(&report.is_idempotent).len(), 2, "{report}");

    async fn spins(_: &mut Account, _: Deposit, _: &mut Context) {
        poll_fn::<(), _>(|poller| {
            poller.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }
    let report = handler(spins).message(of("alice", 5)).check();
    knows_nothing(&report, "it woke itself 10000 times");
}

#[test]
fn whichever_comes_first_wins_is_no_freedom_of_order() {
    fn once(account: &mut Account, message: Deposit, _: &mut Context) -> Result<(), Failure> {
        if account.pence != 0 {
            return Err(Failure::dead_letter("only once"));
        }
        account.pence = message.pence;
        Ok(())
    }
    let report = handler(once).message(of("alice", 5)).message(of("alice", 7)).check();
    let story = story(&report.is_free_of_order);
    assert_eq!(story.len(), 5, "{report}");
    assert!(story[1].contains("fails: only once") && story[4].contains("fails: only once"));
}

#[test]
fn who_fails_is_part_of_what_an_order_leads_to() {
    fn alternates(account: &mut Account, _: Deposit, _: &mut Context) -> Result<(), Failure> {
        if account.pence == 1 {
            return Err(Failure::dead_letter("one is enough"));
        }
        account.pence = 1;
        Ok(())
    }
    let report = handler(alternates).message(of("alice", 5)).message(of("alice", 7)).check();
    assert_eq!(story(&report.is_free_of_order).len(), 5, "{report}");
}

#[test]
fn what_was_not_tried_is_not_known() {
    let report = handler(deposit).message(of("alice", 5)).check();
    assert!(report.is_deterministic.is_yes(), "{report}");
    let needs = |answer: &Answer| matches!(answer, Answer::Unknown(reason) if reason.contains("needs two messages"));
    assert!(needs(&report.is_free_of_order), "{report}");

    let report = handler(deposit).message(of("alice", 5)).depth(0).check();
    assert_eq!(story(&report.is_idempotent).len(), 2, "it is sent twice all the same: {report}");
    let report = handler(deposit).message(of("alice", 5)).depth(usize::MAX).check();
    assert_eq!(story(&report.is_idempotent).len(), 2, "{report}");
}

#[test]
fn a_duplicate_may_come_later() {
    fn stamps(account: &mut Account, _: Deposit, ctx: &mut Context) {
        account.pence = ctx.now().unix_ms();
    }
    let report = handler(stamps).message(of("alice", 5)).check();
    let story = story(&report.is_idempotent);
    assert!(story.len() == 2 && story[1].starts_with("a duplicate a day later: "), "{report}");
}

/// Reads a number outside, and writes what becomes of it.
async fn change(name: &str, change: impl FnOnce(i64) -> i64) -> Result<(), Failure> {
    let before = Objects.get(name).await?;
    let before = before.map_or(Ok(0), |bytes| String::from_utf8_lossy(&bytes).parse())?;
    Objects.put(name, change(before).to_string()).await?;
    Ok(())
}

#[test]
fn objects_are_carried_on_and_compared() {
    async fn counts(_: &mut Account, _: Deposit, _: &mut Context) -> Result<(), Failure> {
        change("count", |count| count + 1).await
    }
    let report = handler(counts).message(of("alice", 5)).message(of("alice", 7)).check();
    let duplicate = &story(&report.is_idempotent)[1];
    assert!(duplicate.ends_with("; puts object count = 2"), "{report}");
    assert!(report.is_deterministic.is_yes() && report.is_timeless.is_yes(), "{report}");
    assert!(report.is_free_of_order.is_yes(), "a count is free of order: {report}");

    async fn last(_: &mut Account, message: Deposit, _: &mut Context) -> Result<(), Failure> {
        change("last", |_| message.pence).await
    }
    let report = handler(last).message(of("alice", 5)).message(of("alice", 7)).check();
    assert_eq!(story(&report.is_free_of_order).len(), 5, "{report}");

    async fn stamps(_: &mut Account, _: Deposit, ctx: &mut Context) -> Result<(), Failure> {
        let now = ctx.now().unix_ms();
        change("stamp", |_| now).await
    }
    let report = handler(stamps).message(of("alice", 5)).check();
    assert_eq!(story(&report.is_timeless).len(), 2, "{report}");

    static CALLS: AtomicU64 = AtomicU64::new(0);
    async fn draws(_: &mut Account, _: Deposit, _: &mut Context) -> Result<(), Failure> {
        change("drawn", |_| CALLS.fetch_add(1, Ordering::Relaxed) as i64).await
    }
    let report = handler(draws).message(of("alice", 5)).check();
    assert_eq!(story(&report.is_deterministic).len(), 2, "{report}");
}

#[test]
fn what_a_failed_attempt_wrote_outside_stays_there() {
    async fn leaves(_: &mut Account, message: Deposit, _: &mut Context) -> Result<(), Failure> {
        change("last", |_| message.pence).await?;
        if message.pence > 6 { Err(Failure::retry("too much")) } else { Ok(()) }
    }
    let report = handler(leaves).message(of("alice", 5)).message(of("alice", 7)).check();
    let story = story(&report.is_free_of_order);
    assert!(story[1].ends_with("fails: too much; puts object last = 7"), "{report}");
}

/// Long enough to be cut short where it is told.
#[derive(Default, Serialize, Deserialize)]
struct Order {
    customer: String,
    log: Vec<String>,
    pence: i64,
}

#[derive(Serialize, Deserialize)]
struct Entry {
    text: String,
}

impl Message for Entry {
    const TYPE: &'static str = "order.entry";
}

fn long(text: &str) -> Entry {
    Entry {
        text: format!(
            "{} {text}",
            "an entry that goes on for longer than a line is wide".repeat(2)
        ),
    }
}

#[test]
fn where_values_are_cut_short_the_difference_is_told() {
    static CALLS: AtomicU64 = AtomicU64::new(0);
    fn draws(order: &mut Order, entry: Entry, _: &mut Context) {
        order.log.push(entry.text);
        order.log.push(format!("id {}", CALLS.fetch_add(1, Ordering::Relaxed)));
    }
    let report = handler(draws).message(long("one")).message(long("two")).check();
    let drawn = story(&report.is_deterministic);
    assert_eq!(drawn.len(), 3, "{report}");
    assert_eq!(drawn[2], r#"the difference: log[1]: "id 0" against "id 1""#, "{report}");

    fn last(order: &mut Order, entry: Entry, ctx: &mut Context) {
        order.log = vec![entry.text.clone()];
        order.pence += 1;
        ctx.send("audit", entry);
    }
    let report = handler(last).message(long("one")).message(long("two")).check();
    let swapped = story(&report.is_free_of_order);
    assert!(swapped[0].contains("+ order.entry m1 {"), "{report}");
    assert!(swapped[5].ends_with(r#"two" against …than a line is wide one""#), "{report}");
    let twice = story(&report.is_idempotent);
    assert!(twice[1].contains(" changes pence: 1 → 2; sends order.entry "), "{report}");
    assert_eq!(twice[2], "the difference: pence: 1 against 2", "{report}");
}

#[test]
fn what_is_not_deterministic_is_asked_nothing_more() {
    static CALLS: AtomicU64 = AtomicU64::new(0);
    fn counts(account: &mut Account, _: Deposit, _: &mut Context) {
        account.pence = CALLS.fetch_add(1, Ordering::Relaxed) as i64;
    }
    let report = handler(counts).message(of("alice", 5)).message(of("alice", 7)).check();
    assert_eq!(story(&report.is_deterministic).len(), 2, "{report}");
    for answer in &answers(&report)[1..] {
        assert_eq!(**answer, Answer::Unknown("it is not deterministic".to_owned()), "{report}");
    }
}

#[test]
fn a_handler_that_loops_is_named_and_what_was_found_before_is_kept() {
    fn loops(account: &mut Account, message: Deposit, _: &mut Context) {
        account.pence += message.pence;
        if account.pence > 15 {
            loop {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }
    let check = || handler(loops).patience(Duration::from_millis(200));
    let report = check().message(of("alice", 16)).check();
    knows_nothing(&report, "the handler, on no state + account.deposit {");
    knows_nothing(&report, ", has not returned for 200ms: it loops, or blocks its thread");
    let report = check().state(&Account { pence: 4 });
    let report = report.message(of("alice", 5)).message(of("alice", 4)).message(of("alice", 3));
    let report = report.check();
    assert!(report.to_string().contains("has not returned for 200ms"), "{report}");
    assert_eq!(story(&report.is_idempotent).len(), 2, "{report}");

    async fn reads(_: &mut Account, _: Deposit, _: &mut Context) -> Result<(), Failure> {
        while Objects.get("nothing").await?.is_none() {}
        Ok(())
    }
    knows_nothing(&handler(reads).message(of("alice", 5)).check(), "it made 10000 calls");
}
