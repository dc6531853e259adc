//! Worlds that cannot be checked, code that hangs, lines that cannot be replayed: each says what is
//! wrong.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use semel_check::{
    Breach, Fault, Finding, Property, Report, World, items_only, relational, relational_apart,
};
use semel_core::{Context, Endpoint, Envelope, Failure, Settings};

use crate::bank::{Account, Deposit, Note, accounts, deposit, of, one};

#[track_caller]
fn reason(report: &Report) -> String {
    match &report.finding {
        Finding::Unusable(error) => error.to_string(),
        other => panic!("expected an unusable world, but {other:?}"),
    }
}

#[track_caller]
fn says(world: World, wanted: &str) {
    let reason = reason(&world.check());
    assert!(reason.contains(wanted), "{reason}");
}

#[test]
fn a_world_that_cannot_be_says_why() {
    says(World::new("empty"), "it has no endpoint");
    says(World::new("silent").endpoint(accounts()), "it has no messages");
    says(one(accounts()).workers(0), "it has no workers");
    says(one(accounts()).endpoint(accounts()), "there are two endpoints `accounts`");
    says(one(accounts()).deploy(Endpoint::new("other")), "no endpoint `other` to deploy over");
    says(
        one(accounts()).send("d2", "elsewhere", of("bob", 1)),
        "`elsewhere`, which is no endpoint",
    );
    says(one(accounts()).send("n1", "accounts", Note { sum: 1 }), "no handler for message n1");
    let nameless = Envelope::new("", "/outside", "account.deposit", "{}");
    says(one(accounts()).send_envelope("accounts", nameless), "cannot be sent");
    says(
        one(accounts()).store(items_only()),
        "the protocol `transactional` of endpoint `accounts`",
    );
}

#[test]
fn what_no_host_would_take_on_says_what_to_do() {
    fn hear(_: &mut i64, _: Note, _: &mut Context) {}
    let hears = accounts().subscribe_by(|_: &Note| "book".to_owned(), hear);
    says(one(accounts()).deploy(hears), "so give all versions the same");
    says(one(accounts().handle(deposit)), "has two handlers for `account.deposit`: keep one");
    let settings = Settings { abandoned_max: 0, ..Settings::default() };
    says(one(accounts().settings(settings)), "the setting `abandoned_max` must be more than zero");
    let nameless = Endpoint::new("").handle(deposit);
    says(one(nameless), "cannot name an endpoint: use up to 100 letters, digits");
    says(one(accounts()).publish("n1", Note { sum: 1 }), "with `Endpoint::subscribe`");
    says(one(accounts()).patience(Duration::ZERO), "see `patience`");
}

#[test]
fn undecodable_data_becomes_a_dead_letter_and_is_no_lost_message() {
    let broken = Envelope::new("x1", "/outside", "account.deposit", "{\"pence\":true}");
    let world = one(accounts()).send_envelope("accounts", broken).faults(1);
    let world = world.sometimes("it is parked", |view| view.dead_letters("accounts") == ["x1"]);
    world.check().assert_holds();
}

#[test]
fn a_handler_that_loops_forever_is_named() {
    fn spins(_: &mut Account, _: Deposit, _: &mut Context) {
        loop {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    says(
        one(Endpoint::new("accounts").handle(spins)).patience(Duration::from_millis(300)),
        "processing account.deposit d1 at accounts has not returned",
    );
}

#[test]
fn a_handler_that_waits_for_a_timer_is_named() {
    async fn sleeps(_: &mut Account, _: Deposit, _: &mut Context) {
        std::future::pending::<()>().await;
    }
    let report = one(Endpoint::new("accounts").handle(sleeps)).check();
    let found = report.assert_violated();
    assert_eq!(found.violation.breach, Breach::Halted);
    assert!(found.violation.detail.contains("a timer, a channel, or real I/O"), "{report}");
}

#[test]
fn an_invariant_that_panics_is_told_from_one_that_does_not_hold() {
    let panics = one(accounts()).always("it is calm", |_| panic!("who knows"));
    let report = panics.check();
    assert_eq!(report.breach(), Some(&Breach::InvariantPanicked("it is calm".to_owned())));
    assert!(report.to_string().contains("who knows"), "{report}");

    let wrong = |view: &semel_check::View<'_>| view.entity::<Note>("accounts", "alice").is_none();
    let report = one(accounts()).always("it asks for the wrong type", wrong).check();
    assert!(report.to_string().contains("an entity's state is no"), "{report}");

    let fails = one(accounts()).finally("it is rich", |view| {
        view.entity::<Account>("accounts", "alice").is_some_and(|account| account.pence > 5)
    });
    let report = fails.check();
    assert_eq!(report.breach(), Some(&Breach::Invariant("it is rich".to_owned())));
    assert!(report.to_string().contains(r#"accounts/alice = {"pence":5}"#), "{report}");
}

#[test]
fn what_never_happens_is_reported() {
    let report =
        one(accounts()).sometimes("it is parked", |view| !view.dead_letters("accounts").is_empty());
    let report = report.check();
    assert_eq!(report.breach(), Some(&Breach::NeverHappened("it is parked".to_owned())));
    let text = report.to_string();
    assert!(!text.contains("Replay it") && !text.contains("\n\n\n"), "there is no run: {text}");
}

#[test]
fn the_order_of_a_map_is_hidden_nondeterminism() {
    fn iterates(_: &mut Account, _: Deposit, ctx: &mut Context) {
        let many: HashMap<i64, ()> = (0..100).map(|number| (number, ())).collect();
        for number in many.keys().take(3) {
            ctx.send("audit", Note { sum: *number });
        }
    }
    let report = one(Endpoint::new("accounts").handle(iterates)).check();
    let found = report.assert_violated();
    assert_eq!(found.violation.breach, Breach::Nondeterminism);
    let told = r#"After 2 calls, the first time it sends account.note to audit with {"sum":"#;
    assert!(found.violation.detail.contains(told), "{report}");
    assert!(found.violation.detail.contains(r#", the second time with {"sum":"#), "{report}");
}

/// A handler that numbers its notes by a variable of the process.
fn counts(account: &mut Account, message: Deposit, ctx: &mut Context) {
    static CALLS: AtomicI64 = AtomicI64::new(0);
    account.pence += message.pence;
    ctx.send("audit", Note { sum: CALLS.fetch_add(1, Ordering::Relaxed) });
}

#[test]
fn a_run_that_went_another_way_shows_what_differs_and_where() {
    for store in [relational(), relational_apart()] {
        let report = one(Endpoint::new("accounts").handle(counts)).store(store).check();
        let found = report.assert_violated();
        assert!(found.violation.detail.len() < 500, "nothing but what differs: {report}");
        let (_, told) = found.violation.detail.split_once("the first time it ").unwrap();
        assert!(told.contains(r#"account.note to audit with {"sum":"#), "{report}");
        assert!(told.contains(r#", the second time with {"sum":"#), "{report}");

        let [.., read, last] = &found.trace.steps[..] else { panic!("{report}") };
        assert_eq!((last.to, last.outcome.as_deref()), (None, None), "{report}");
        assert!(last.what.contains("does not do the same: see step 3"), "{report}");
        assert!(read.notes.last().unwrap().starts_with("run again on the same"), "{report}");
        assert!(found.trace.to_string().contains("the second time with"), "{report}");
    }
}

#[test]
fn of_a_long_state_the_part_that_differs_is_shown() {
    fn labels(labels: &mut Vec<BTreeMap<String, String>>, _: Deposit, _: &mut Context) {
        static CALLS: AtomicI64 = AtomicI64::new(0);
        let call = CALLS.fetch_add(1, Ordering::Relaxed).to_string();
        labels.push([("long".to_owned(), "x".repeat(300)), ("call".to_owned(), call)].into());
    }
    let report = one(Endpoint::new("accounts").handle(labels)).check();
    let detail = &report.assert_violated().violation.detail;
    assert!(detail.contains(r#"writes entity accounts/alice as [{"call":""#), "{report}");
    assert!(detail.len() < 600, "{report}");
}

#[test]
fn a_replay_line_makes_the_same_run_again() {
    let world = || one(accounts().protocol(semel_core::protocols::AtLeastOnce)).faults(1);
    let report = world().check();
    let found = report.assert_violated();
    assert_eq!(found.violation.breach, Breach::Property(Property::AtMostOneStateChange));
    let again = world().replay(&found.replay);
    assert_eq!(again.assert_violated().trace, found.trace);
    assert_eq!(again.assert_violated().violation, found.violation);
}

#[test]
fn a_replay_that_violates_nothing_says_whether_it_came_to_an_end() {
    // Invariants are not part of what a line knows its world by.
    let found = one(accounts()).finally("never", |_| false).check();
    let line = &found.assert_violated().replay;
    let told = |line: &str| one(accounts()).replay(line).coverage.cut;
    assert_eq!(told(line), ["one run was replayed to its end, and violated nothing"]);
    let (shorter, _) = line.rsplit_once('.').unwrap();
    let [cut] = &told(shorter)[..] else { panic!("one reason alone") };
    assert!(cut.contains("which is not its end: is the line whole?"), "{cut}");
}

#[test]
fn a_replay_line_that_fits_nothing_says_so() {
    let replay = |line: &str| reason(&one(accounts()).replay(line));
    assert!(replay("nonsense").contains("is no replay line"));
    assert!(replay("9-0123abcd-0").contains("of version 9, and this program replays version 1"));
    assert!(replay("1-0123abcd-0").contains("of another world"));
    let line = one(accounts()).faults(1).without(Fault::Crash);
    let line = line.sometimes("x", |_| true).check_random(1, 0);
    assert!(!line.holds(), "no runs are no proof");
    let report = one(accounts()).finally("never", |_| false).check();
    let of_world = &report.assert_violated().replay;
    let wrong = format!("{}.ff", of_world.trim_end_matches("-fair"));
    assert!(replay(&wrong).contains("cannot be made"), "{}", replay(&wrong));
}

#[test]
fn a_failing_handler_ends_as_a_dead_letter_and_is_excused() {
    fn fails(_: &mut Account, _: Deposit, _: &mut Context) -> Result<(), Failure> {
        Err(Failure::dead_letter("it never works"))
    }
    let world = one(Endpoint::new("accounts").handle(fails)).faults(1);
    world
        .sometimes("parked", |view| view.dead_letters("accounts").len() == 1)
        .check()
        .assert_holds();
}
