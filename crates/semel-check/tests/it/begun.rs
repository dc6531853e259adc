//! Worlds that begin with something: a state, or an item of a protocol's own.

use semel_check::{Breach, Property, View, World, items_only};
use semel_core::Envelope;
use semel_core::store::{ItemKey, Space};

use crate::bank::{Account, Note, accounts, of, one};
use crate::mutants::token::{Mutant, Token};

#[test]
fn a_world_may_begin_with_a_balance() {
    let rich = one(accounts()).entity("accounts", "alice", &Account { pence: 100 }).faults(1);
    let holds = |view: &View<'_>| {
        let account = view.entity::<Account>("accounts", "alice");
        account == Some(Account { pence: 105 }) && view.sent::<Note>() == [Note { sum: 105 }]
    };
    rich.finally("it is added to what was there", holds).check().assert_holds();
}

/// A deposit that may be processed as long as this token exists.
fn of_token(token: &str) -> World {
    let data = serde_json::to_vec(&of("alice", 5)).unwrap();
    let mut envelope = Envelope::new("d1", "/outside", "account.deposit", data);
    envelope.set_text("token", token);
    let endpoint = accounts().protocol(Token(Mutant::Correct));
    let world = World::new("a token").endpoint(endpoint).send_envelope("accounts", envelope);
    world.item(ItemKey::new(Space::Outbox, "accounts", "t1"), "\"there\"").store(items_only())
}

#[test]
fn a_world_may_begin_with_a_token() {
    // The token of its note is left to Audit, which is another system.
    let judged = Property::ALL.into_iter().filter(|property| *property != Property::NoGarbage);
    let judged: Vec<Property> = judged.collect();
    of_token("t1").workers(2).faults(1).judge(&judged).check().assert_holds();

    let other = of_token("t2").check();
    let found = other.assert_violated();
    let lost = &Breach::Property(Property::NoLostMessages);
    assert_eq!((other.breach(), found.trace.steps.len()), (Some(lost), 4), "{other}");
}

/// What was there before, and what nobody touched, is nobody's garbage.
#[test]
fn what_was_there_is_no_garbage() {
    let key = ItemKey::new(Space::Outbox, "accounts", "old");
    one(accounts()).item(key, "old").check().assert_holds();
}
