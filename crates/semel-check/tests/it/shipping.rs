//! The protocols that ship, in worlds larger than the built-in ones: two messages and two faults,
//! three workers, neighbours under other protocols, and effects too large for an item.

use std::sync::Arc;

use semel_check::{World, items_only};
use semel_core::protocols::{
    DetachedOutbox, Inbox, Outbox, OutboxInbox, Protocol, Replay, Token, by_name,
};
use semel_core::store::StoreLimits;
use semel_core::{Context, Endpoint, Keyed, Message, Property};
use serde::{Deserialize, Serialize};

use crate::mutants::account::{self, Deposit, Note};

#[track_caller]
fn holds(world: World) {
    let report = world.check();
    assert!(report.holds(), "{report}");
}

/// Two workers, two messages for one entity, two faults: every state.
fn two_and_two(name: &str, protocol: impl Protocol) {
    let promises = protocol.promises();
    holds(account::two_deposits(name, protocol).faults(2).states_max(6_000_000).judge(promises));
}

#[test]
fn two_messages_two_faults_inbox() {
    two_and_two("inbox", Inbox);
}

#[test]
fn two_messages_two_faults_outbox() {
    two_and_two("outbox", Outbox);
}

#[test]
fn two_messages_two_faults_outbox_inbox() {
    two_and_two("outbox-inbox", OutboxInbox::default());
}

#[test]
fn two_messages_two_faults_detached_outbox() {
    two_and_two("detached-outbox", DetachedOutbox::default());
}

#[test]
fn two_messages_two_faults_token() {
    two_and_two("token", Token::default());
}

#[test]
fn two_messages_two_faults_replay() {
    two_and_two("replay", Replay::default());
}

/// The protocols of items that promise everything.
fn whole() -> impl Iterator<Item = Arc<dyn Protocol>> {
    let names = ["outbox", "outbox-inbox", "detached-outbox", "token", "replay"];
    names.into_iter().map(|name| by_name(name).expect("it ships"))
}

#[test]
fn three_workers_and_one_fault() {
    for protocol in whole() {
        let name = format!("{} by three", protocol.name());
        let accounts = Endpoint::new("accounts").handle(account::deposit);
        let world = World::new(name)
            .store(items_only())
            .endpoint(accounts.shared_protocol(protocol))
            .send("d1", "accounts", Deposit::new("alice", 5))
            .send("d2", "accounts", Deposit::new("alice", 7));
        holds(world.workers(3).faults(1));
    }
}

/// One endpoint sends to another, each under a protocol of its own.
fn seam(from: &Arc<dyn Protocol>, to: &Arc<dyn Protocol>) -> World {
    let accounts = Endpoint::new("accounts").handle(account::deposit).shared_protocol(from.clone());
    let audit = Endpoint::new("audit").handle(account::enter).shared_protocol(to.clone());
    World::new(format!("from {} to {}", from.name(), to.name()))
        .store(items_only())
        .endpoint(accounts)
        .endpoint(audit)
        .send("d1", "accounts", Deposit::new("alice", 5))
        .faults(2)
}

#[test]
fn at_every_seam_all_that_both_promise_holds() {
    for from in whole() {
        for to in whole() {
            holds(seam(&from, &to));
        }
    }
}

/// What comes from an endpoint that gives less is deduplicated by what it is called; what goes there
/// is lost no more than it is by anybody else, and tokens end there.
#[test]
fn a_seam_with_a_weaker_protocol_is_as_good_as_the_weaker() {
    let token = by_name("token").expect("it ships");
    for name in ["inbox", "at-least-once"] {
        let weak = by_name(name).expect("it ships");
        let promises = weak.promises();
        holds(seam(&token, &weak).judge(promises));
        holds(seam(&weak, &token).judge(promises));
    }
}

/// Who does not share the store gets no token, and takes the message for one from outside.
#[test]
fn beyond_the_realm_there_are_no_tokens() {
    let beyond = Token { beyond: ["audit".to_owned()].into(), ..Token::default() };
    let elsewhere = Token { realm: "elsewhere".to_owned(), ..Token::default() };
    let to: Arc<dyn Protocol> = Arc::new(elsewhere);
    for (from, tokens) in [(beyond, false), (Token::default(), true)] {
        let from: Arc<dyn Protocol> = Arc::new(from);
        holds(seam(&from, &to).bookkeeping_max(if tokens { 200 } else { 60 }));
    }
    let left = seam(&by_name("token").expect("it ships"), &to).bookkeeping_max(60).check();
    let breach = left.counterexample().map(|found| found.violation.breach.to_string());
    assert_eq!(breach.as_deref(), Some("NoGarbage"), "{left}");
}

#[derive(Serialize, Deserialize)]
struct Remind {
    account: String,
}

impl Message for Remind {
    const TYPE: &'static str = "account.remind";
}

impl Keyed for Remind {
    fn key(&self) -> String {
        self.account.clone()
    }
}

fn deposit_with_reminder(account: &mut account::Account, deposit: Deposit, ctx: &mut Context) {
    let name = deposit.key();
    account::deposit(account, deposit, ctx);
    ctx.send("accounts", Remind { account: name });
}

fn remind(account: &mut account::Account, _: Remind, ctx: &mut Context) {
    account::deposit(account, Deposit::new("alice", 1), ctx);
}

#[test]
fn an_entity_may_send_to_itself() {
    for protocol in whole() {
        let accounts = Endpoint::new("accounts").handle(deposit_with_reminder).handle(remind);
        let world = World::new(format!("{} to itself", protocol.name()))
            .store(items_only())
            .endpoint(accounts.shared_protocol(protocol))
            .send("d1", "accounts", Deposit::new("alice", 5))
            .workers(2);
        holds(world.faults(1).finally("both are booked", |view| {
            view.entity::<account::Account>("accounts", "alice").is_some_and(|it| it.pence == 6)
        }));
    }
}

fn deposit_published(account: &mut account::Account, deposit: Deposit, ctx: &mut Context) {
    account.pence += deposit.pence;
    ctx.publish(Note::new(account.pence));
}

#[test]
fn each_subscriber_gets_a_copy_that_counts_once() {
    for protocol in whole() {
        let book = |name| Endpoint::new(name).subscribe(account::enter);
        let accounts = Endpoint::new("accounts").handle(deposit_published);
        let world = World::new(format!("{} to subscribers", protocol.name()))
            .store(items_only())
            .endpoint(accounts.shared_protocol(protocol.clone()))
            .endpoint(book("audit").shared_protocol(protocol.clone()))
            .endpoint(book("tax").shared_protocol(protocol))
            .send("d1", "accounts", Deposit::new("alice", 5));
        holds(world.faults(1).finally("both books have it", |view| {
            let has =
                |name| view.entity::<account::Book>(name, "book").is_some_and(|it| it.pence == [5]);
            has("audit") && has("tax")
        }));
    }
}

#[derive(Serialize, Deserialize)]
struct Statement {
    lines: String,
}

impl Message for Statement {
    const TYPE: &'static str = "account.statement";
}

fn deposit_with_statement(account: &mut account::Account, deposit: Deposit, ctx: &mut Context) {
    account.pence += deposit.pence;
    ctx.send("audit", Statement { lines: format!("{:>900}", account.pence) });
}

/// Items of 1,000 bytes, and an effect that does not fit into one beside anything.
fn large(name: &str) -> World {
    let small = StoreLimits { item_bytes_max: 1_000, ..items_only() };
    let accounts = Endpoint::new("accounts").handle(deposit_with_statement);
    World::new(name).store(small).endpoint(accounts.protocol(DetachedOutbox::default())).send(
        "d1",
        "accounts",
        Deposit::new("alice", 5),
    )
}

#[test]
fn effects_too_large_for_an_item_lie_beside_it() {
    holds(large("large effect").workers(1).faults(2));
    holds(large("large effect, two workers").workers(2).faults(1));
    let second = large("large effects").send("d2", "accounts", Deposit::new("alice", 7));
    holds(second.workers(2).faults(1));
}

/// In its document, it has no place: a clear refusal, and the message is kept.
#[test]
fn an_entity_too_large_for_its_item_is_refused() {
    let accounts = Endpoint::new("accounts").handle(deposit_with_statement).protocol(Outbox);
    let small = StoreLimits { item_bytes_max: 1_000, ..items_only() };
    let world = World::new("large effect in the document")
        .store(small)
        .endpoint(accounts)
        .send("d1", "accounts", Deposit::new("alice", 5))
        .judge(&[Property::AtMostOneStateChange, Property::NoGhostEffects])
        .finally("it is parked", |view| !view.dead_letters("accounts").is_empty());
    holds(world);
}
