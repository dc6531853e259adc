//! The state types of `semel_core::designs`: what they promise holds, and what their naive twins do
//! instead.
//!
//! Each is asked about alone, and then put into a world with the protocol `at-least-once`, over a
//! store of single items: two workers, two faults. `SEMEL_STATE_TYPES=print cargo test -p semel-check
//! state_types -- --nocapture` prints the reports and the actual numbers.

mod creations;
mod effects;
mod marks;
mod sets;
mod versions;

use semel_check::trace::Weight;
use semel_check::{Answer, Breach, HandlerReport, Property, World, handler, items_only};
use semel_core::handler::State;
use semel_core::protocols::AtLeastOnce;
use semel_core::{Context, Endpoint, Message, Timestamp};
use serde_json::Value;

/// The endpoint of the worlds here, and its one entity.
const THINGS: &str = "things";
const ONE: &str = "one";

/// What all of them must keep under `at-least-once`.
const AS_IF_ONCE: &str = "as if each message was processed once, as sent";

/// What a report says where nothing was found.
const YES: &str = "yes, as far as was tried";

/// A handler of these tests.
type Plain<S, M> = fn(&mut S, M, &mut Context);

fn alone<S: State, M: Message + Clone>(function: Plain<S, M>, messages: &[M]) -> HandlerReport {
    let nothing = handler(function).depth(messages.len());
    messages.iter().cloned().fold(nothing, semel_check::HandlerCheck::message).check()
}

/// The state after these messages, each processed once.
fn after<S: State, M: Message + Clone>(function: Plain<S, M>, messages: &[M]) -> Option<Value> {
    let mut state = S::default();
    for message in messages {
        let mut context = Context::new(String::new(), Timestamp::from_unix_ms(0));
        function(&mut state, message.clone(), &mut context);
    }
    (!messages.is_empty()).then(|| serde_json::to_value(&state).expect("states are JSON"))
}

/// The messages in a world whose protocol remembers nothing.
fn world<S: State, M: Message + Clone>(name: &str, function: Plain<S, M>, messages: &[M]) -> World {
    let things = Endpoint::new(THINGS).handle_by(|_: &M| ONE.to_owned(), function);
    let empty = World::new(name)
        .store(items_only())
        .endpoint(things.protocol(AtLeastOnce))
        .judge(&[Property::NoLostMessages, Property::NoGarbage])
        .workers(2)
        .faults(2);
    let numbered = (1..).zip(messages.iter().cloned());
    let filled = numbered
        .fold(empty, |world, (number, message)| world.send(&format!("m{number}"), THINGS, message));
    let as_sent = after(function, messages);
    let last_alone = after(function, &messages[messages.len() - 1..]);
    filled
        .sometimes("the last comes first", move |view| view.entity(THINGS, ONE) == last_alone)
        .finally(AS_IF_ONCE, move |view| view.entity(THINGS, ONE) == as_sent)
}

/// Deterministic, idempotent and free of order.
#[track_caller]
fn lawful<S: State, M: Message + Clone>(function: Plain<S, M>, messages: &[M]) {
    let report = alone(function, messages);
    print(&report);
    assert!(report.is_deterministic.is_yes() && report.is_timeless.is_yes(), "{report}");
    assert!(report.is_idempotent.is_yes(), "{report}");
    assert!(report.is_free_of_order.is_yes(), "{report}");
    assert_eq!(report.failures, 0, "{report}");
}

/// The design is lawful, and so `at-least-once` is enough for it.
#[track_caller]
fn sound<S: State, M: Message + Clone>(name: &str, function: Plain<S, M>, messages: &[M]) {
    lawful(function, messages);
    let report = world(name, function, messages).check();
    print(&report);
    report.assert_holds();
    // How many states there are does not depend on the type: every attempt counts as a change.
    let states = [0, 0, 39_288, 374_074][messages.len()];
    assert_eq!(report.coverage.states, states, "{report}");
}

/// What is said of a naive twin.
struct Refusal {
    idempotent: &'static str,
    free_of_order: &'static str,
    /// How the shortest run of its world ends, and how many steps and faults it takes.
    ends_with: &'static str,
    steps: usize,
    faults: usize,
}

/// The naive twin is refused, alone and in a world.
#[track_caller]
fn refused<S: State, M: Message + Clone>(
    name: &str,
    function: Plain<S, M>,
    messages: &[M],
    wanted: &Refusal,
) {
    let report = alone(function, messages);
    print(&report);
    answers(&report.is_idempotent, wanted.idempotent);
    answers(&report.is_free_of_order, wanted.free_of_order);
    let breach = Breach::Invariant(AS_IF_ONCE.to_owned());
    let detail = broken(world(name, function, messages), &breach, [wanted.steps, wanted.faults]);
    let wanted = format!("things/one = {}.", wanted.ends_with);
    assert!(is_printing() || detail.ends_with(&wanted), "{detail}");
}

/// Violated, in a shortest run of so many steps, of which so many are faults; tells how.
#[track_caller]
fn broken(world: World, breach: &Breach, shortest: [usize; 2]) -> String {
    let report = world.check();
    print(&report);
    let found = report.assert_violated();
    assert_eq!(found.violation.breach, *breach, "{report}");
    let steps = &found.trace.steps;
    let faults = steps.iter().filter(|step| step.weight == Weight::Fault).count();
    assert!(is_printing() || [steps.len(), faults] == shortest, "{report}");
    found.violation.detail.clone()
}

/// The answer has these words.
#[track_caller]
fn answers(answer: &Answer, wanted: &str) {
    if !is_printing() {
        assert_eq!(told(&answer.to_string()), told(wanted));
    }
}

/// A text without the white space that only places its lines.
fn told(text: &str) -> Vec<&str> {
    text.lines().map(str::trim).collect()
}

fn is_printing() -> bool {
    std::env::var_os("SEMEL_STATE_TYPES").is_some()
}

fn print(report: &impl std::fmt::Display) {
    if is_printing() {
        println!("{report}");
    }
}

/// A message of these tests, by its type and name.
macro_rules! message {
    ($name:ident = $text:literal) => {
        impl semel_core::Message for $name {
            const TYPE: &'static str = $text;
        }
    };
}
use message;
