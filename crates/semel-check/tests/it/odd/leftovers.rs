//! What may be left behind when a message is not processed, but parked, discarded or settled: tokens
//! of whoever sent it, and parts that attempts write late.

use semel_check::{Fault, Faults, World, items_only, relational};
use semel_core::protocols::DetachedOutbox;
use semel_core::store::StoreLimits;
use semel_core::{Context, Endpoint, Message, Settings};
use serde::{Deserialize, Serialize};

use super::cast::{Account, Deposit, EVERY, Edge, Setup, deposit, enter, holds, of, once};

/// An edge that gives its message a token, and a receiver under any protocol.
fn edge(receiver: &Setup, settings: Settings) -> World {
    let edge = Endpoint::new("edge").handle(deposit).protocol(Edge).settings(once());
    let audit = receiver.dress(Endpoint::new("audit").handle(enter)).settings(settings);
    let world = receiver.world("from an edge").endpoint(edge).endpoint(audit);
    world.send("d1", "edge", of("alice", 5)).judge(receiver.protocol.promises())
}

/// Whatever becomes of the message: it is processed, parked and replayed, or discarded.
#[test]
fn a_token_of_the_edge_ends_with_its_message() {
    let people = [Fault::HandlerFailure, Fault::Person, Fault::Crash];
    for name in EVERY {
        let receiver = Setup::new(name, relational());
        holds(edge(&receiver, once()).faults(2));
        let kinds = Faults::only(people).with(Fault::LostReply);
        holds(edge(&receiver, once()).kinds(kinds).faults(3));
    }
}

/// Nobody processes it any more, and its last copy is settled because it was committed.
#[test]
fn a_token_ends_where_what_was_abandoned_turns_out_to_be_committed() {
    let settings = Settings { abandoned_max: 1, ..once() };
    for name in EVERY.iter().filter(|name| **name != "replay") {
        holds(edge(&Setup::new(name, relational()), settings).faults(2));
    }
}

#[derive(Serialize, Deserialize)]
struct Statement {
    lines: String,
}

impl Message for Statement {
    const TYPE: &'static str = "odd.statement";
}

fn with_statement(account: &mut Account, deposit: Deposit, ctx: &mut Context) {
    account.pence += deposit.pence;
    ctx.send("bank", Statement { lines: format!("{:>900}", account.pence) });
}

/// Its effects do not fit into one item, and it fails once and for all.
fn large() -> World {
    let small = StoreLimits { item_bytes_max: 1_000, ..items_only() };
    let accounts = Endpoint::new("accounts").handle(with_statement).settings(once());
    let world = World::new("parts of what is parked").store(small);
    let world = world.endpoint(accounts.protocol(DetachedOutbox::default()));
    world.send("d1", "accounts", of("alice", 5))
}

/// An attempt has named its parts, and writes them when the record that named them is gone.
#[test]
fn parts_written_after_their_message_was_parked_do_not_stay() {
    let late = Faults::only([Fault::HandlerFailure, Fault::LateWrite]);
    holds(large().kinds(late).faults(2));
}

/// Where the committed attempt is found by whoever parks, the message is settled there and then: nobody
/// comes again to sweep.
#[test]
fn a_record_of_parts_is_closed_by_whoever_settles_instead_of_parking() {
    let late = Faults::only([Fault::HandlerFailure, Fault::LateWrite]);
    holds(large().kinds(late.with(Fault::Person)).faults(3));
}

/// In the judge: a token is no garbage as long as a person may replay its message.
#[test]
fn the_token_of_a_dead_letter_is_in_flight() {
    let receiver = Setup::new("token", relational());
    let kinds = Faults::only([Fault::HandlerFailure]);
    let world = edge(&receiver, once()).kinds(kinds).faults(1);
    holds(world.sometimes("it is parked", |view| !view.dead_letters("audit").is_empty()));
}
