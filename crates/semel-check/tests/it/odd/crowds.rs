//! Many of all: four copies by three workers, chains of three protocols, answers to the sender, and
//! handlers that send to several entities, to subscribers, to themselves and later.

use std::time::Duration;

use semel_check::{Fault, World, relational, relational_apart};
use semel_core::store::QueueHome;
use semel_core::{Context, Endpoint, Keyed, Message};
use serde::{Deserialize, Serialize};

use super::cast::{Account, Deposit, Note, Setup, deposit, enter, holds, of, samples, whole};

#[test]
fn one_message_in_four_copies() {
    for setup in whole() {
        let accounts = setup.dress(Endpoint::new("accounts").handle(deposit));
        let mut world = setup.world("four copies").endpoint(accounts);
        for _ in 0..4 {
            world = world.send("d1", "accounts", of("alice", 5));
        }
        holds(world.clone().workers(2));
        samples(world.workers(3).faults(3), 150);
    }
}

/// Takes what comes, and passes the sum on.
fn pass_on(account: &mut Account, note: Note, ctx: &mut Context) {
    enter(account, note, ctx);
    ctx.send("bank", of("vault", account.pence));
}

fn keep(account: &mut Account, deposit: Deposit, _: &mut Context) {
    account.pence += deposit.pence;
    account.times += 1;
}

const RING: [&str; 6] =
    ["outbox", "transactional", "token", "detached-outbox", "replay", "outbox-inbox"];

/// Each protocol is once at each place, and each is once behind and before `transactional`.
#[test]
fn chains_of_three_protocols() {
    // With the queue elsewhere a finisher takes part: there, nothing but its turns is tried.
    for (store, faults) in [(relational(), 1), (relational_apart(), 0)] {
        for at in 0..RING.len() {
            for step in [1, 2, 5] {
                let nth = |n: usize| Setup::new(RING[(at + n * step) % RING.len()], store);
                let (first, second, third) = (nth(0), nth(1), nth(2));
                let world = first.world(&format!("to {} to {}", second.name, third.name));
                let world = world
                    .endpoint(first.dress(Endpoint::new("accounts").handle(deposit)))
                    .endpoint(second.dress(Endpoint::new("audit").handle(pass_on)))
                    .endpoint(third.dress(Endpoint::new("bank").handle(keep)))
                    .send("d1", "accounts", of("alice", 5))
                    .without(Fault::HandlerFailure);
                holds(world.faults(faults).finally("it is kept once", |view| {
                    let vault = view.entity::<Account>("bank", "vault");
                    vault.is_some_and(|vault| vault.pence == 5 && vault.times == 1)
                }));
            }
        }
    }
}

/// Answers while the sender's item may still be in change.
fn answer(account: &mut Account, note: Note, ctx: &mut Context) {
    enter(account, note, ctx);
    ctx.send("accounts", Note { book: "alice".to_owned(), pence: 100 });
}

fn answered(first: &Setup, second: &Setup) -> World {
    let accounts = Endpoint::new("accounts").handle(deposit).handle(enter);
    first
        .world(&format!("answered by {}", second.name))
        .endpoint(first.dress(accounts))
        .endpoint(second.dress(Endpoint::new("audit").handle(answer)))
        .send("d1", "accounts", of("alice", 5))
        .without(Fault::HandlerFailure)
        .finally("the answer is there", |view| {
            let alice = view.entity::<Account>("accounts", "alice");
            alice.is_some_and(|alice| alice.pence == 105 && alice.times == 2)
        })
}

#[test]
fn an_answer_may_meet_the_sender_at_work() {
    for store in [relational(), relational_apart()] {
        for (first, second) in RING.iter().flat_map(|one| RING.iter().map(move |two| (one, two))) {
            let (first, second) = (Setup::new(first, store), Setup::new(second, store));
            holds(answered(&first, &second).workers(2));
            if store.queue == QueueHome::Inside {
                holds(answered(&first, &second).faults(1));
            }
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Again {
    account: String,
}

impl Message for Again {
    const TYPE: &'static str = "odd.again";
}

impl Keyed for Again {
    fn key(&self) -> String {
        self.account.clone()
    }
}

fn again(account: &mut Account, _: Again, _: &mut Context) {
    account.pence += 100;
    account.times += 1;
}

/// Sends to itself, to another entity, to all who subscribe, and later.
fn much(account: &mut Account, deposit: Deposit, ctx: &mut Context) {
    let other = if deposit.account == "alice" { "bob" } else { "alice" };
    keep(account, deposit.clone(), ctx);
    ctx.send("accounts", Again { account: deposit.account });
    ctx.send("accounts", Again { account: other.to_owned() });
    ctx.publish(Note { book: "book".to_owned(), pence: account.pence });
    let later = Again { account: "carol".to_owned() };
    ctx.send_after(Duration::from_secs(60), "accounts", later);
}

#[test]
fn much_at_once_is_there_once() {
    for setup in whole() {
        let book = |name| setup.dress(Endpoint::new(name).subscribe(enter));
        let accounts = Endpoint::new("accounts").handle(much).handle(again);
        let world = setup
            .world("much at once")
            .endpoint(setup.dress(accounts))
            .endpoint(book("audit"))
            .endpoint(book("tax"))
            .send("d1", "accounts", of("alice", 5))
            .send("d2", "accounts", of("bob", 7))
            .send("d2", "accounts", of("bob", 7))
            .without(Fault::HandlerFailure)
            .finally("the sums are right", |view| {
                let sum = |key| view.entity::<Account>("accounts", key).map(|it| it.pence);
                let times = |name| view.entity::<Account>(name, "book").map(|it| it.times);
                [sum("alice"), sum("bob"), sum("carol")] == [Some(205), Some(207), Some(200)]
                    && [times("audit"), times("tax")] == [Some(2), Some(2)]
            });
        samples(world.workers(3).faults(4), 100);
    }
}
