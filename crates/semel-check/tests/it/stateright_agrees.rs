//! Another checker, on models written by hand, sees what ours sees on the code that ships.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use semel_check::{Fault, Faults, View, World, relational, relational_apart};
use semel_core::protocols::{AtLeastOnce, Transactional};
use semel_core::{Context, Endpoint, Keyed, Message};
use serde::{Deserialize, Serialize};

use crate::stateright_model::{Mistake, Modelled, Seen, locked};
use crate::stateright_steps::{PENCE, Style};

#[derive(Serialize, Deserialize)]
struct Deposit {
    number: u8,
    pence: u8,
}

impl Message for Deposit {
    const TYPE: &'static str = "account.deposit";
}

impl Keyed for Deposit {
    fn key(&self) -> String {
        "alice".to_owned()
    }
}

#[derive(Serialize, Deserialize)]
struct Note {
    of: u8,
    pence: u8,
}

impl Message for Note {
    const TYPE: &'static str = "account.note";
}

#[derive(Default, Serialize, Deserialize)]
struct Account {
    pence: u8,
}

fn deposit(account: &mut Account, message: Deposit, context: &mut Context) {
    account.pence += message.pence;
    context.send("audit", Note { of: message.number, pence: account.pence });
}

/// The faults that both sides know.
const KNOWN: [Fault; 8] = [
    Fault::Crash,
    Fault::LostReply,
    Fault::Duplicate,
    Fault::EarlyRedelivery,
    Fault::LateWrite,
    Fault::LostRequest,
    Fault::RepeatedWrite,
    Fault::FailedRead,
];

/// A small world, for either side.
#[derive(Clone, Copy, Debug)]
struct Small {
    style: Style,
    messages: u8,
    workers: usize,
    faults: Faults,
    faults_max: u32,
}

const AT_LEAST_ONCE: Small = Small {
    style: Style::AtLeastOnce,
    messages: 1,
    workers: 2,
    faults: Faults::NONE,
    faults_max: 1,
};

const TRANSACTIONAL: Small =
    Small { style: Style::TransactionalInside, messages: 2, ..AT_LEAST_ONCE };

/// What can be seen along the way, and at the ends.
type Sights = (BTreeSet<Seen>, BTreeSet<Seen>);

impl Small {
    fn with(self, faults: impl IntoIterator<Item = Fault>, faults_max: u32) -> Self {
        Self { faults: Faults::only(faults), faults_max, ..self }
    }

    fn by_stateright(self, mistake: Mistake) -> Sights {
        let Self { style, messages, workers, faults, faults_max } = self;
        let (along, ends) = Default::default();
        Modelled { style, messages, workers, faults, faults_max, mistake, along, ends }.explore()
    }

    fn world(self) -> World {
        let endpoint = Endpoint::new("accounts").handle(deposit);
        let mut world = World::new("deposits, seen by two checkers")
            .workers(self.workers)
            .kinds(self.faults)
            .faults(self.faults_max)
            .judge(&[]);
        for number in 0..self.messages {
            let pence = PENCE[usize::from(number)];
            world = world.send(&format!("d{number}"), "accounts", Deposit { number, pence });
        }
        match self.style {
            Style::AtLeastOnce => {
                world.store(relational_apart()).endpoint(endpoint.protocol(AtLeastOnce))
            }
            Style::TransactionalInside => {
                world.store(relational()).endpoint(endpoint.protocol(Transactional::default()))
            }
        }
    }

    fn by_semel(self) -> Sights {
        let (along, ends): (Arc<Mutex<BTreeSet<Seen>>>, Arc<Mutex<_>>) = Default::default();
        let (into_along, into_ends) = (along.clone(), ends.clone());
        let report = self
            .world()
            .always("seen along the way", move |view| note(&into_along, view))
            .finally("seen at the end", move |view| note(&into_ends, view))
            .check();
        report.assert_holds();
        (locked(&along).clone(), locked(&ends).clone())
    }

    /// Compares both; tells how many different sights there are along the way and at the ends.
    #[track_caller]
    fn agrees(self) -> (usize, usize) {
        let (ours, theirs) = (self.by_semel(), self.by_stateright(Mistake::None));
        assert_eq!(ours, theirs, "{self:?}");
        (ours.0.len(), ours.1.len())
    }
}

fn note(set: &Mutex<BTreeSet<Seen>>, view: &View<'_>) -> bool {
    let pence = view.entity::<Account>("accounts", "alice").map(|account| account.pence);
    let mut notes: Vec<_> =
        view.sent::<Note>().into_iter().map(|note| (note.of, note.pence)).collect();
    notes.sort_unstable();
    locked(set).insert((pence, notes));
    true
}

#[test]
fn at_least_once_looks_the_same_under_every_set_of_faults() {
    for chosen in 0..1_u32 << KNOWN.len() {
        let faults = (0..KNOWN.len()).filter(|at| chosen & 1 << at != 0).map(|at| KNOWN[at]);
        AT_LEAST_ONCE.with(faults, 1).agrees();
    }
}

/// How many sights there are, along the way and at the ends, with 0, 1, … faults of any kind.
#[track_caller]
fn sights<const N: usize>(world: Small) -> [(usize, usize); N] {
    std::array::from_fn(|faults_max| world.with(KNOWN, faults_max as u32).agrees())
}

#[test]
fn at_least_once_looks_the_same_whoever_works() {
    for workers in 1..=2 {
        let world = Small { workers, ..AT_LEAST_ONCE };
        assert_eq!(sights(world), [(3, 1), (7, 3), (15, 8)], "{workers} workers");
    }
}

#[test]
fn at_least_once_looks_the_same_with_two_messages() {
    let world = Small { messages: 2, ..AT_LEAST_ONCE };
    assert_eq!(sights(world), [(12, 2), (60, 14)]);
    assert_eq!(sights(Small { workers: 1, ..world }), [(9, 2), (44, 14), (184, 72)]);
}

#[test]
fn transactional_looks_the_same_whoever_works() {
    for workers in 1..=2 {
        let world = Small { workers, ..TRANSACTIONAL };
        assert_eq!(sights(world), [(5, 2); 3], "{workers} workers");
        let world = Small { messages: 1, ..world };
        assert_eq!(sights(world), [(2, 1); 3], "{workers} workers");
    }
}

#[test]
fn a_model_without_a_fault_looks_different() {
    let matters = KNOWN.iter().filter(|fault| {
        let real = AT_LEAST_ONCE.with([**fault], 1).by_semel();
        real != AT_LEAST_ONCE.with([], 1).by_stateright(Mistake::None)
    });
    // A read that fails is made again.
    assert_eq!(matters.collect::<Vec<_>>(), KNOWN[..7].iter().collect::<Vec<_>>());
}

#[test]
fn a_model_with_blind_writes_looks_different() {
    let world = Small { messages: 2, ..AT_LEAST_ONCE };
    assert_ne!(world.by_semel(), world.by_stateright(Mistake::BlindWrites));
}

#[test]
fn a_model_that_forgets_what_was_processed_looks_different() {
    let world = TRANSACTIONAL.with([Fault::Duplicate], 1);
    assert_ne!(world.by_semel(), world.by_stateright(Mistake::NoInbox));
}
