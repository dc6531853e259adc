use semel::check::World;
use semel::prelude::*;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, Message)]
#[message(type = "account.deposit", entity = account)]
struct Deposit {
    account: String,
    pence: i64,
}

#[derive(Serialize, Deserialize, Message)]
#[message(type = "account.booked")]
struct Booked {
    balance: i64,
}

#[derive(Default, Serialize, Deserialize)]
struct Account {
    pence: i64,
}

fn deposit(account: &mut Account, message: Deposit, ctx: &mut Context) {
    account.pence += message.pence;
    ctx.send("audit", Booked { balance: account.pence });
}

fn world(accounts: Endpoint) -> World {
    World::new("a deposit")
        .endpoint(accounts.handle(deposit))
        .send("d1", "accounts", Deposit { account: "alice".to_owned(), pence: 5 })
        .workers(2)
        .faults(1)
        .finally("the money is there once", |view| {
            view.entity::<Account>("accounts", "alice").is_some_and(|account| account.pence == 5)
        })
}

#[test]
fn a_deposit_is_booked_once() {
    let report = world(Endpoint::new("accounts")).check();
    println!("{report}");
    report.assert_holds();
}
