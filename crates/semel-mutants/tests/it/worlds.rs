//! The worlds in which mutants die.

use std::sync::Arc;
use std::time::Duration;

use semel_check::{Fault, Faults, Property, World, items_only, relational, relational_apart};
use semel_core::envelope::TOKEN;
use semel_core::protocols::Protocol;
use semel_core::retry::RetryPolicy;
use semel_core::store::{ItemKey, Space, StoreLimits};
use semel_core::{Endpoint, Envelope, Settings};

use super::account::{
    Account, Deposit, deposit, deposit_by_message, deposit_for_a_fee, deposit_in_duplicate,
    deposit_with_reminder, enter, remind,
};

type Shared = Arc<dyn Protocol>;

/// Makes the world of a protocol.
pub(crate) type Setting = fn(Shared) -> World;

/// More than any protocol here needs beside a state, and less than an effect takes.
const BOOKS_BYTES_MAX: usize = 250;

/// What is left of the books of `token` once no token is.
const BOOKS_WITHOUT_TOKENS_BYTES: usize = 80;

fn money(pence: i64) -> Deposit {
    Deposit { account: "alice".to_owned(), pence }
}

fn accounts() -> Endpoint {
    Endpoint::new("accounts").handle(deposit)
}

fn first_deposit(name: &str, accounts: Endpoint, protocol: Shared) -> World {
    World::new(name)
        .store(items_only())
        .judge(protocol.promises())
        .endpoint(accounts.shared_protocol(protocol))
        .send("d1", "accounts", money(5))
        .workers(2)
        .faults(1)
}

/// One deposit over a store of single items. The audit is another system.
pub(crate) fn one(protocol: Shared) -> World {
    first_deposit("one deposit", accounts(), protocol).bookkeeping_max(BOOKS_BYTES_MAX)
}

pub(crate) fn one_and_two_faults(protocol: Shared) -> World {
    first_deposit("one deposit, two faults", accounts(), protocol).faults(2)
}

/// What is sent depends on the message alone.
pub(crate) fn by_message(protocol: Shared) -> World {
    let accounts = Endpoint::new("accounts").handle(deposit_by_message);
    first_deposit("one deposit, told by the message", accounts, protocol)
}

/// Two deposits into one account.
pub(crate) fn two(protocol: Shared) -> World {
    first_deposit("two deposits", accounts(), protocol).send("d2", "accounts", money(7))
}

/// Two notes of one deposit.
pub(crate) fn two_notes(protocol: Shared) -> World {
    let accounts = Endpoint::new("accounts").handle(deposit_in_duplicate);
    first_deposit("two notes", accounts, protocol)
}

/// A message is parked after one failure.
fn impatient(accounts: Endpoint) -> Endpoint {
    accounts.settings(Settings { retry: RetryPolicy::NONE, ..Settings::default() })
}

/// A message is parked once it has ended one worker.
fn suspicious(accounts: Endpoint) -> Endpoint {
    accounts.settings(Settings { abandoned_max: 1, ..Settings::default() })
}

/// The handler fails once, also in a duplicate that has to be decided again.
pub(crate) fn failing(protocol: Shared) -> World {
    first_deposit("failing", impatient(accounts()), protocol)
        .kinds(Faults::only([Fault::LostReply, Fault::EarlyRedelivery, Fault::HandlerFailure]))
        .workers(1)
        .faults(2)
}

/// The same, and a commit may land after its message was parked.
pub(crate) fn failing_late(protocol: Shared) -> World {
    first_deposit("failing, with late commits", impatient(accounts()), protocol)
        .workers(1)
        .faults(2)
}

/// A message is parked whose worker died. If its commit lands after that, its effects wait with the
/// dead letter (see `holes`): so they are asked for where there is none.
pub(crate) fn parked(protocol: Shared) -> World {
    parked_as("parked", protocol)
}

fn parked_as(world: &str, protocol: Shared) -> World {
    let mut judged = protocol.promises().to_vec();
    let promises_effects = judged.contains(&Property::NoLostEffects);
    judged.retain(|property| *property != Property::NoLostEffects);
    let name = "what is booked and not parked is told";
    abandoned(world, protocol).without(Fault::Person).judge(&judged).finally(name, move |view| {
        let is_booked = !view.entities::<Account>("accounts").is_empty();
        let is_parked = !view.dead_letters("accounts").is_empty();
        !promises_effects || !is_booked || is_parked || !view.visible().is_empty()
    })
}

/// The same by all that the protocol promises.
pub(crate) fn parked_for_good(protocol: Shared) -> World {
    abandoned("parked for good", protocol)
}

fn abandoned(name: &str, protocol: Shared) -> World {
    let world = first_deposit(name, suspicious(accounts()), protocol).workers(1).faults(2);
    // What was staged for a message stays beside its dead letter.
    world.keeps(Space::Inbox)
}

/// The entity has gone on to another message when one is parked.
pub(crate) fn parked_behind(protocol: Shared) -> World {
    abandoned("parked behind another", protocol)
        .kinds(Faults::only([Fault::EarlyRedelivery]))
        .send("d2", "accounts", money(7))
        .faults(1)
}

/// Another attempt is about while one parks the message.
pub(crate) fn parked_at_once(protocol: Shared) -> World {
    parked_as("parked by one of two", protocol).workers(2)
}

/// A sender that repeats itself; what is parked may be discarded.
pub(crate) fn copies(protocol: Shared) -> World {
    let world = first_deposit("two copies", impatient(accounts()), protocol);
    world.send("d1", "accounts", money(5)).workers(1).faults(2)
}

/// A slow attempt is about while a person discards its message. Parking and staging can meet again and
/// again, until the host leaves the parking to the next delivery.
pub(crate) fn discarded_meanwhile(protocol: Shared) -> World {
    first_deposit("discarded meanwhile", impatient(accounts()), protocol)
        .rounds_max(60)
        .kinds(Faults::only([Fault::EarlyRedelivery, Fault::HandlerFailure, Fault::Person]))
        .faults(3)
}

/// A commit lands while a person discards its message.
pub(crate) fn committed_meanwhile(protocol: Shared) -> World {
    let name = "what is booked and discarded is told";
    abandoned("committed meanwhile", protocol)
        .judge(&[])
        .kinds(Faults::only([Fault::Crash, Fault::Person]))
        .finally(name, |view| {
            let is_booked = !view.entities::<Account>("accounts").is_empty();
            let is_parked = !view.dead_letters("accounts").is_empty();
            !is_booked || is_parked || !view.visible().is_empty()
        })
}

/// A layer below may repeat writes.
pub(crate) fn repeating(protocol: Shared) -> World {
    first_deposit("repeated writes", accounts(), protocol).with(Fault::RepeatedWrite)
}

/// Deliveries may come past the window, but for those of a message whose entity still tells.
pub(crate) fn past_window(protocol: Shared) -> World {
    let world = first_deposit("past the window", accounts(), protocol).workers(1).faults(2);
    world.later_by(Duration::from_secs(8 * 86_400))
}

/// The audit is an endpoint too.
pub(crate) fn audited(protocol: Shared) -> World {
    let audit = Endpoint::new("audit").handle(enter).shared_protocol(protocol.clone());
    let world = first_deposit("audited", accounts(), protocol).endpoint(audit).workers(1);
    world.bookkeeping_max(BOOKS_WITHOUT_TOKENS_BYTES)
}

/// The account sends a message to itself.
pub(crate) fn reminded(protocol: Shared) -> World {
    let accounts = Endpoint::new("accounts").handle(deposit_with_reminder).handle(remind);
    first_deposit("reminded", accounts, protocol).workers(1).bookkeeping_max(BOOKS_BYTES_MAX)
}

/// The edge has sent the deposit with a token.
pub(crate) fn from_edge(protocol: Shared) -> World {
    let data = br#"{"account":"alice","pence":5}"#.as_slice();
    let mut envelope = Envelope::new("e1", "/edge", "account.deposit", data);
    envelope.set_text(TOKEN, "semel t1");
    World::new("from the edge")
        .store(items_only())
        .item(ItemKey::new(Space::Token, "accounts", "t1"), "e1")
        .endpoint(accounts().shared_protocol(protocol))
        .send_envelope("accounts", envelope)
        .workers(1)
        .faults(1)
}

/// Two notes do not fit into one item.
fn small_items() -> StoreLimits {
    StoreLimits { item_bytes_max: 600, ..items_only() }
}

pub(crate) fn parts(protocol: Shared) -> World {
    let accounts = Endpoint::new("accounts").handle(deposit_in_duplicate);
    first_deposit("parts", accounts, protocol).store(small_items())
}

/// Two deposits whose notes lie in parts.
pub(crate) fn parts_of_two(protocol: Shared) -> World {
    let accounts = Endpoint::new("accounts").handle(deposit_in_duplicate);
    let world = first_deposit("parts of two deposits", accounts, protocol).store(small_items());
    world.send("d2", "accounts", money(7))
}

/// A message with parts is parked while a slow attempt is about.
pub(crate) fn parts_parked(protocol: Shared) -> World {
    let accounts = Endpoint::new("accounts").handle(deposit_in_duplicate);
    let accounts = accounts.settings(Settings { abandoned_max: 2, ..Settings::default() });
    first_deposit("parts of a parked deposit", accounts, protocol)
        .store(small_items())
        .kinds(Faults::only([Fault::EarlyRedelivery]))
        .faults(2)
}

/// A message with parts is discarded while a slow attempt is about.
pub(crate) fn parts_discarded(protocol: Shared) -> World {
    let accounts = impatient(Endpoint::new("accounts").handle(deposit_in_duplicate));
    first_deposit("parts of a discarded deposit", accounts, protocol)
        .store(small_items())
        .kinds(Faults::only([Fault::EarlyRedelivery, Fault::HandlerFailure, Fault::Person]))
        .faults(3)
}

/// The entity has a version that is long past the window.
pub(crate) fn old_version(protocol: Shared) -> World {
    let padding = "x".repeat(BOOKS_BYTES_MAX);
    let item = format!(
        r#"{{"semel":"replay","state":{{"json":{{"pence":1}}}},"books":{{"stream":[{{"message":"/outside d0","at_ms":0,"before":{{"json":"{padding}"}},"effects":"e"}}]}}}}"#
    );
    let key = ItemKey::new(Space::Entity, "accounts", "alice");
    let world = first_deposit("an old version", accounts(), protocol).item(key, item);
    world.bookkeeping_max(BOOKS_BYTES_MAX)
}

/// A later version decides otherwise. What it cannot repeat waits for the old one.
pub(crate) fn deployed(protocol: Shared) -> World {
    let later = Endpoint::new("accounts").handle(deposit_for_a_fee);
    let later = later.shared_protocol(protocol.clone());
    first_deposit("deployed", accounts(), protocol)
        .deploy(later)
        .judge(&[Property::AtMostOneEffect, Property::ConsistentStateAndEffects])
        .kinds(Faults::only([Fault::Crash, Fault::Deployment]))
        .workers(1)
        .faults(2)
}

/// The queue lives in the store.
pub(crate) fn inside(protocol: Shared) -> World {
    let world = first_deposit("inside a database", accounts(), protocol).store(relational());
    world.send("d2", "accounts", money(7))
}

pub(crate) fn copies_inside(protocol: Shared) -> World {
    let accounts = impatient(accounts());
    let world = first_deposit("two copies, inside a database", accounts, protocol);
    world.store(relational()).send("d1", "accounts", money(5)).faults(2)
}

/// The queue lives elsewhere.
pub(crate) fn apart(protocol: Shared) -> World {
    first_deposit("apart from a database", accounts(), protocol).store(relational_apart())
}

pub(crate) fn two_apart(protocol: Shared) -> World {
    let world = first_deposit("two deposits, apart from a database", accounts(), protocol);
    world.store(relational_apart()).send("d2", "accounts", money(7))
}

pub(crate) fn copies_apart(protocol: Shared) -> World {
    let accounts = impatient(accounts());
    let world = first_deposit("two copies, apart from a database", accounts, protocol);
    let world = world.store(relational_apart()).send("d1", "accounts", money(5));
    world.workers(1).faults(2)
}

pub(crate) fn parked_apart(protocol: Shared) -> World {
    let accounts = suspicious(accounts());
    let world = first_deposit("parked, apart from a database", accounts, protocol);
    world.store(relational_apart()).workers(1).faults(2)
}
