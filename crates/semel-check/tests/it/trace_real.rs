//! Counterexamples as a person sees them.

use semel_check::{Fault, Faults, Objects, World};
use semel_core::protocols::{AtLeastOnce, Protocol, Transactional};
use semel_core::{Context, Endpoint, Failure, Keyed, Message};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Deposit {
    account: String,
    pence: i64,
}

impl Message for Deposit {
    const TYPE: &'static str = "account.deposit";
}

impl Keyed for Deposit {
    fn key(&self) -> String {
        self.account.clone()
    }
}

#[derive(Serialize, Deserialize)]
struct Note {
    pence: i64,
}

impl Message for Note {
    const TYPE: &'static str = "account.note";
}

#[derive(Default, Serialize, Deserialize)]
struct Account {
    pence: i64,
}

fn deposit(account: &mut Account, message: Deposit, ctx: &mut Context) {
    account.pence += message.pence;
    ctx.send("audit", Note { pence: account.pence });
}

/// The shortest run in which a deposit is booked twice: its first commit is applied, and nobody
/// tells the worker so.
const BOOKED_TWICE: &str = "\
a deposit: 5 steps, 1 fault
  ◄━━ delivery   ──► call   ◄╌╌ answer   ✗╌ answer lost   ◆ change (+ new, ~ other, - gone)   ┃ at work

                          queue in
      worker 1    store     store
          ┊         │         │
  1       ┃◄━━━━━━━━┿━━━━━━━━━┥     delivery 1 of d1 to accounts: account.deposit
          ┃         │         │         {\"account\":\"alice\",\"pence\":5}
          ┃         │         │
  2       ┠────────►│         │     LoadEntity: read entity accounts/alice
          ┃◄╌╌╌╌╌╌╌╌┤         │       → nothing there
          ┃         │         │       » handler: nothing yet → {\"pence\":5}
          ┃         │         │       » handler: wants to send account.note {\"pence\":5} to audit
          ┃         │         │
  3!      ┠────────►│         │     CommitState: write entity accounts/alice if absent
          ┃         ◆         │       + entity accounts/alice, v1: {\"pence\":5}
          ┃  ✗╌╌╌╌╌╌┤         │       ✗ FAULT: applied, but worker 1 never hears of it
          ┃         │         │       » worker 1 begins again with d1
          ┃         │         │
  4       ┠────────►│         │     LoadEntity: read entity accounts/alice
          ┃◄╌╌╌╌╌╌╌╌┤         │       → found v1: {\"pence\":5}
          ┃         │         │       » handler: {\"pence\":5} → {\"pence\":10}
          ┃         │         │       » handler: wants to send account.note {\"pence\":10} to audit
          ┃         │         │
► 5       ┠────────►│         │     CommitState: write entity accounts/alice if still v1
          ┃         ◆         │       ~ entity accounts/alice, v1 → v2: {\"pence\":5} → {\"pence\":10}
          ┃◄╌╌╌╌╌╌╌╌┤         │       → applied

══► VIOLATED after step 5 ══════════════════════════════════════════════════════════════════════════════════
    AtMostOneStateChange promises: a message changes its entity's state at most once. But here: message d1
    changed its state at accounts 2 times.
";

fn deposited() -> World {
    let message = Deposit { account: "alice".to_owned(), pence: 5 };
    World::new("a deposit").send("d1", "accounts", message).workers(2).faults(1)
}

fn accounts(protocol: impl Protocol) -> Endpoint {
    Endpoint::new("accounts").handle(deposit).protocol(protocol)
}

#[test]
fn a_lost_reply_is_told_step_by_step() {
    let world = deposited().kinds(Faults::only([Fault::LostReply])).endpoint(accounts(AtLeastOnce));
    let report = world.check();
    assert_eq!(report.assert_violated().trace.to_string(), BOOKED_TWICE);
}

fn told(fault: Fault) -> String {
    let world = deposited().kinds(Faults::only([fault])).endpoint(accounts(AtLeastOnce));
    world.check().assert_violated().trace.to_string()
}

#[track_caller]
fn check_told(text: &str, expected: &[&str]) {
    // Long texts continue below, behind the lanes.
    let words: Vec<&str> =
        text.split_whitespace().filter(|word| !matches!(*word, "│" | "┃" | "┊")).collect();
    let text = words.join(" ");
    for part in expected {
        assert!(text.contains(part), "`{part}` is not in\n{text}");
    }
}

#[test]
fn a_worker_that_outlives_its_lease_is_told_so() {
    let expected = [
        "✗ FAULT: the lease of d1 ends though worker 1 is still at work",
        "delivery 2 of d1: the queue sends it again",
    ];
    check_told(&told(Fault::EarlyRedelivery), &expected);
}

#[test]
fn a_crash_is_told_with_the_step_it_comes_at() {
    let expected = [
        "✗ FAULT: worker 1 crashes at Dispatch, at work on d1",
        "the lease of d1 ends, nobody works on it",
        "{\"pence\":5} → {\"pence\":10}",
    ];
    check_told(&told(Fault::Crash), &expected);
}

async fn invoice(account: &mut Account, message: Deposit, _: &mut Context) -> Result<(), Failure> {
    account.pence += message.pence;
    Objects.put("invoice", format!("over {}", account.pence)).await?;
    Ok(())
}

#[test]
fn an_object_that_is_overwritten_shows_both_contents_and_why() {
    let endpoint = Endpoint::new("accounts").handle(invoice).protocol(Transactional::default());
    let second = Deposit { account: "alice".to_owned(), pence: 7 };
    let world = deposited().faults(0).send("d2", "accounts", second).endpoint(endpoint);
    let report = world.check();
    let expected = [
        "CONFLICT, nothing is written: entity accounts/alice exists already",
        "begins again with d",
        "~ object invoice is overwritten: over",
    ];
    check_told(&report.assert_violated().trace.to_string(), &expected);
}

async fn draft_and_final(
    account: &mut Account,
    message: Deposit,
    _: &mut Context,
) -> Result<(), Failure> {
    account.pence += message.pence;
    // Whether the draft arrives does not matter to this handler; that it arrives last should.
    let _ = Objects.put("invoice", "draft").await;
    Objects.put("invoice", "final").await?;
    Ok(())
}

#[test]
fn a_request_that_arrives_late_names_the_step_that_made_it() {
    let endpoint =
        Endpoint::new("accounts").handle(draft_and_final).protocol(Transactional::default());
    let world = deposited()
        .kinds(Faults::only([Fault::LateWrite]))
        .endpoint(endpoint)
        .judge(&[])
        .finally("the final one stays", |view| {
            view.object("invoice").is_some_and(|invoice| *invoice == *b"final")
        });
    let report = world.check();
    let expected = [
        "✗ FAULT: the request is delayed: it has not arrived yet, worker 1 gets no answer",
        "the request that worker 1 made in step 4 arrives: put object invoice = draft",
        "~ object invoice is overwritten: final → draft",
    ];
    check_told(&report.assert_violated().trace.to_string(), &expected);
}

async fn refuses(_: &mut Account, _: Deposit, _: &mut Context) -> Result<(), Failure> {
    Err(Failure::dead_letter("no such account"))
}

#[test]
fn parking_is_a_step_of_the_host_and_its_condition_reads_as_one() {
    let endpoint = Endpoint::new("accounts").handle(refuses).protocol(Transactional::default());
    let report = deposited().faults(0).endpoint(endpoint).finally("never", |_| false).check();
    let expected = "Park: park the message as a dead letter (handler-failed), and only if there is no \
                    inbox entry accounts/d1";
    check_told(&report.assert_violated().trace.to_string(), &[expected]);
}

#[test]
fn a_batch_is_told_by_its_changes_if_it_is_applied_and_in_full_if_not() {
    let endpoint = accounts(Transactional::default());
    let report = deposited().faults(0).endpoint(endpoint).finally("never", |_| false).check();
    let found = report.assert_violated();
    let commit = found.trace.steps.last().unwrap();
    let expected = "all or nothing, 4 changes, if there is no inbox entry accounts/d1 and there is no \
                    entity accounts/alice";
    assert_eq!(commit.what, expected, "{report}");
    let name = |lane: usize| found.trace.lanes[lane].name.as_str();
    let lanes: Vec<&str> = commit.changes.iter().map(|change| name(change.lane)).collect();
    assert_eq!(lanes, ["store", "store", "queue in store", "queue in store"], "{report}");

    let second = Deposit { account: "alice".to_owned(), pence: 7 };
    let endpoint = Endpoint::new("accounts").handle(invoice).protocol(Transactional::default());
    let world = deposited().faults(0).send("d2", "accounts", second).endpoint(endpoint);
    let expected = "all or nothing: ack the message + write inbox entry accounts/d";
    check_told(&world.check().assert_violated().trace.to_string(), &[expected]);
}
