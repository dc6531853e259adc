//! What happens in the worlds.

use semel_core::protocols::Replay;
use semel_core::retry::RetryPolicy;
use semel_core::{Property, Settings};

use super::account::{self, ACCOUNTS, ALICE, Account, Deposit, FEE_PENCE, OrderedDeposit};
use super::setup::Setup;
use super::{BuiltIn, Expected};
use crate::fault::{Fault, Faults};
use crate::view::View;
use crate::world::World;

/// A way to fill a world.
struct Scene {
    name: &'static str,
    about: &'static str,
    /// How much of it is explored in a setup; `None` where the scene means nothing there.
    size: fn(Setup) -> Option<Size>,
    fill: fn(World, Setup) -> World,
}

/// How much of a world is explored, and what is found there.
struct Size {
    workers: usize,
    faults: u32,
    expected: Expected,
}

const SCENES: &[Scene] = &[
    Scene {
        name: "one-message",
        about: "one message, its state change and its effect",
        size: |setup| match setup {
            Setup::Apart => holds(2, 2),
            setup if setup.is_of_items() => holds(2, 2),
            _ => holds(2, 3),
        },
        fill: one_message,
    },
    Scene {
        name: "two-messages",
        about: "two messages for one entity, by two workers at once",
        size: |setup| match setup {
            Setup::Inside | Setup::Careless => holds(2, 2),
            _ => holds(2, 1),
        },
        fill: two_messages,
    },
    Scene {
        name: "three-workers",
        about: "one message, delivered to three workers at once",
        size: |setup| if setup.is_of_items() { holds(3, 1) } else { None },
        fill: one_message,
    },
    Scene {
        name: "duplicates",
        about: "a sender and a broker that repeat themselves",
        size: |setup| holds(2, if setup.is_inside() { 2 } else { 1 }),
        fill: duplicates,
    },
    Scene {
        name: "deployment",
        about: "attempts on one message run different versions of the handler",
        size: |setup| match setup {
            Setup::Careless => None,
            // Its effects are decided once more, and the new version decides otherwise.
            Setup::Replay => violated(Property::NoLostMessages, 1, 2),
            setup if setup.is_of_items() => holds(2, 1),
            _ => holds(2, 2),
        },
        fill: deployment,
    },
    Scene {
        name: "ordered",
        about: "two messages that keep their order, whatever is retried",
        size: |setup| match setup {
            Setup::Apart => holds(2, 1),
            setup if setup.is_of_items() => None,
            _ => holds(2, 3),
        },
        fill: ordered,
    },
    Scene {
        name: "dead-letter",
        about: "a message whose handler fails is parked; a person replays or discards it",
        size: |setup| match setup {
            Setup::Inside => holds(2, 3),
            // It does not remember what it committed, and parks it with the effects unsent.
            Setup::Careless => violated(Property::NoLostEffects, 1, 2),
            _ => holds(1, 3),
        },
        fill: dead_letter,
    },
    Scene {
        name: "window",
        about: "a duplicate comes after the memory for processed messages has ended",
        size: |setup| match setup {
            // Nothing of theirs ends.
            Setup::Inbox | Setup::Outbox => holds(1, 1),
            Setup::Careless => None,
            // Here it is a number of versions.
            Setup::Replay => violated(Property::AtMostOneStateChange, 1, 0),
            _ => violated(Property::AtMostOneStateChange, 1, 1),
        },
        fill: window,
    },
    Scene {
        name: "state-dependent-effects",
        about: "a handler whose effects depend on its state, which needs exactly-once processing",
        size: |setup| match setup {
            Setup::Careless => violated(Property::NoLostEffects, 1, 1),
            Setup::Inbox => violated(Property::ConsistentStateAndEffects, 1, 1),
            _ => None,
        },
        fill: state_dependent_effects,
    },
    Scene {
        name: "all-properties",
        about: "judged by what only exactly-once processing promises",
        size: |setup| match setup {
            Setup::Careless => violated(Property::AtMostOneStateChange, 1, 1),
            _ => None,
        },
        fill: all_properties,
    },
];

/// Every scene in every setup in which it means something.
pub(super) fn all() -> Vec<BuiltIn> {
    let of_setup = |setup: Setup| SCENES.iter().filter_map(move |scene| scene.under(setup));
    Setup::ALL.into_iter().flat_map(of_setup).collect()
}

fn holds(workers: usize, faults: u32) -> Option<Size> {
    Some(Size { workers, faults, expected: Expected::Holds })
}

fn violated(property: Property, workers: usize, faults: u32) -> Option<Size> {
    Some(Size { workers, faults, expected: Expected::Violated(property) })
}

impl Scene {
    fn under(&self, setup: Setup) -> Option<BuiltIn> {
        let Size { workers, faults, expected } = (self.size)(setup)?;
        let fill = self.fill;
        let name = format!("{}-{}", setup.prefix(), self.name);
        let built_in = BuiltIn::new(name, self.about, move |name| fill(setup.world(name), setup));
        Some(built_in.workers(workers).faults(faults).expect(expected))
    }
}

fn one_message(world: World, setup: Setup) -> World {
    world
        .endpoint(setup.account())
        .send("d1", ACCOUNTS, Deposit::new("first", 5))
        .sometimes("the deposit is booked", |view| slips(view) == ["first"])
        .sometimes("the auditor is told", |view| !view.visible().is_empty())
        .always("the money is there once at most", |view| balance(view) <= 5)
        .finally("the money is there", |view| balance(view) == 5)
}

fn two_messages(world: World, setup: Setup) -> World {
    world
        .endpoint(setup.account())
        .send("d1", ACCOUNTS, Deposit::new("first", 5))
        .send("d2", ACCOUNTS, Deposit::new("second", 7))
        .sometimes("the first is booked first", |view| slips(view) == ["first", "second"])
        .sometimes("the second is booked first", |view| slips(view) == ["second", "first"])
        .finally("all the money is there once", |view| balance(view) == 12)
}

fn duplicates(world: World, setup: Setup) -> World {
    let world = world.endpoint(setup.account()).send("d1", ACCOUNTS, Deposit::new("first", 5));
    if setup.is_exact() && setup != Setup::Replay {
        // The copies differ, which no sender may do: so one sees which of them counted.
        world
            .send("d1", ACCOUNTS, Deposit::new("first again", 5))
            .sometimes("the first copy counts", |view| slips(view) == ["first"])
            .sometimes("the second copy counts", |view| slips(view) == ["first again"])
            .finally("the money is there once", |view| balance(view) == 5)
    } else {
        world
            .send("d1", ACCOUNTS, Deposit::new("first", 5))
            .sometimes("the deposit is booked", |view| slips(view) == ["first"])
            .finally("the money is there once", |view| balance(view) == 5)
    }
}

fn deployment(world: World, setup: Setup) -> World {
    let with_fee = 5 - FEE_PENCE;
    world
        .endpoint(setup.dress(account::naive()))
        .deploy(setup.dress(account::next_version()))
        .send("d1", ACCOUNTS, Deposit::new("first", 5))
        .sometimes("the old version counts", |view| slips(view) == ["first"])
        .sometimes("the new version counts", |view| slips(view) == ["fee", "first"])
        .finally("one version counts", move |view| [5, with_fee].contains(&balance(view)))
}

fn ordered(world: World, setup: Setup) -> World {
    world
        .ordered()
        .endpoint(setup.account())
        .send("d1", ACCOUNTS, OrderedDeposit(Deposit::new("first", 5)))
        .send("d2", ACCOUNTS, OrderedDeposit(Deposit::new("second", 7)))
        .sometimes("both are booked", |view| slips(view) == ["first", "second"])
        .always("the second is never booked before the first", |view| {
            slips(view).first().is_none_or(|slip| slip == "first")
        })
}

/// A message that is parked as soon as its handler fails.
fn dead_letter(world: World, setup: Setup) -> World {
    let settings = Settings { retry: RetryPolicy::NONE, ..Settings::default() };
    world
        .endpoint(setup.account().settings(settings))
        .send("d1", ACCOUNTS, Deposit::new("first", 5))
        .sometimes("it is parked", |view| is_parked(view) && balance(view) == 0)
        .sometimes("it is booked", |view| !is_parked(view) && balance(view) == 5)
        .sometimes("one copy is parked and another booked", |view| {
            is_parked(view) && balance(view) == 5
        })
        .always("it is booked once at most", |view| balance(view) <= 5)
}

fn window(world: World, setup: Setup) -> World {
    let account = match setup {
        Setup::Replay => account::naive().protocol(Replay { versions_max: 1, ..Replay::default() }),
        _ => setup.account(),
    };
    // The copies differ, so that one sees both of them count; one protocol wants them alike.
    let copy = if setup == Setup::Replay { "first" } else { "first again" };
    // The entity itself names the last message for good.
    let world = match setup {
        Setup::Replay | Setup::Detached => world.send("d2", ACCOUNTS, Deposit::new("second", 7)),
        _ => world,
    };
    world
        .endpoint(account)
        .send("d1", ACCOUNTS, Deposit::new("first", 5))
        .send("d1", ACCOUNTS, Deposit::new(copy, 5))
        .kinds(Faults::only([Fault::WindowPasses]))
        .sometimes("a copy is booked", |view| balance(view) >= 5)
}

fn naive_handler(world: World, setup: Setup) -> World {
    world
        .endpoint(setup.dress(account::naive()))
        .send("d1", ACCOUNTS, Deposit::new("first", 5))
        .sometimes("the deposit is booked", |view| slips(view) == ["first"])
}

fn state_dependent_effects(world: World, setup: Setup) -> World {
    let broken = match setup {
        Setup::Inbox => Property::ConsistentStateAndEffects,
        _ => Property::NoLostEffects,
    };
    naive_handler(world, setup).judge(&[broken])
}

fn all_properties(world: World, setup: Setup) -> World {
    naive_handler(world, setup).judge(&Property::ALL)
}

fn is_parked(view: &View<'_>) -> bool {
    !view.dead_letters(ACCOUNTS).is_empty()
}

/// What is on the account.
fn balance(view: &View<'_>) -> i64 {
    account(view).balance_pence
}

/// What was booked, in order.
fn slips(view: &View<'_>) -> Vec<String> {
    account(view).slips
}

fn account(view: &View<'_>) -> Account {
    view.entity(ACCOUNTS, ALICE).unwrap_or_default()
}
