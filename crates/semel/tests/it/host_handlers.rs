//! The shapes of handlers, and the state they keep.

use semel::core::envelope::PARTITION_KEY;
use semel::prelude::*;
use semel::{Envelope, Order};
use serde::{Deserialize, Serialize};

use crate::bank::{Account, Deposit, to};
use crate::by_hand::take_one;
use crate::rig::{Books, Home, Rig, put, work_off};

fn plain(account: &mut Account, message: Deposit, _: &mut Context) {
    account.pence += message.pence;
    account.deposits += 1;
}

fn plain_with_result(
    account: &mut Account,
    message: Deposit,
    ctx: &mut Context,
) -> Result<(), Failure> {
    plain(account, message, ctx);
    Ok(())
}

fn plain_with_an_error_of_its_own(
    account: &mut Account,
    message: Deposit,
    ctx: &mut Context,
) -> Result<(), std::num::ParseIntError> {
    let _: u8 = "7".parse()?;
    plain(account, message, ctx);
    Ok(())
}

async fn patient(account: &mut Account, message: Deposit, ctx: &mut Context) {
    tokio::task::yield_now().await;
    plain(account, message, ctx);
}

async fn patient_with_result(
    account: &mut Account,
    message: Deposit,
    ctx: &mut Context,
) -> Result<(), Failure> {
    patient(account, message, ctx).await;
    Ok(())
}

fn shapes() -> [(&'static str, Endpoint); 8] {
    let empty = || Endpoint::new("accounts");
    let by_account = |message: &Deposit| message.account.clone();
    [
        ("plain", empty().handle(plain)),
        ("plain with a result", empty().handle(plain_with_result)),
        ("plain with an error of its own", empty().handle(plain_with_an_error_of_its_own)),
        (
            "a closure",
            empty().handle(|a: &mut Account, m: Deposit, c: &mut Context| plain(a, m, c)),
        ),
        ("async", empty().handle(patient)),
        ("async with a result", empty().handle(patient_with_result)),
        ("plain with a key", empty().handle_by(by_account, plain)),
        ("async with a key", empty().handle_by(by_account, patient)),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn every_shape_of_handler_changes_the_state_of_the_entity_it_is_for() {
    for home in Home::BOTH {
        for (shape, endpoint) in shapes() {
            let rig = Rig::at(home);
            let backend = rig.backend();
            for (account, pence) in [("alice", 1), ("bob", 10), ("alice", 100)] {
                backend.send("accounts", to(account, pence)).await.unwrap();
            }
            work_off(&backend, [endpoint]).await;

            let at = format!("{shape}, {home:?}");
            assert_eq!(rig.state("accounts", "alice"), Some(Account::of(101, 2)), "{at}");
            assert_eq!(rig.state("accounts", "bob"), Some(Account::of(10, 1)), "{at}");
            assert_eq!(rig.books(), Books { inbox: 3, ..Books::default() }, "{at}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn state_outlives_the_host_and_the_file_handle() {
    let rig = Rig::new();
    for pence in [1, 10, 100] {
        let backend = rig.backend();
        backend.send("accounts", to("alice", pence)).await.unwrap();
        work_off(&backend, [Endpoint::new("accounts").handle(plain)]).await;
    }
    assert_eq!(rig.state("accounts", "alice"), Some(Account::of(111, 3)));
}

#[derive(Serialize, Deserialize)]
struct Overdraft {
    limit: i64,
}

impl Default for Overdraft {
    fn default() -> Self {
        Self { limit: 500 }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_entity_starts_from_default_and_only_a_new_one() {
    let rig = Rig::new();
    let backend = rig.backend();
    backend.send("accounts", to("alice", 1)).await.unwrap();
    backend.send("accounts", to("alice", 2)).await.unwrap();
    let endpoint = Endpoint::new("accounts").handle(
        |overdraft: &mut Overdraft, message: Deposit, _: &mut Context| {
            overdraft.limit += message.pence;
        },
    );
    work_off(&backend, [endpoint]).await;
    assert_eq!(rig.state::<Overdraft>("accounts", "alice").unwrap().limit, 503);
}

#[tokio::test(flavor = "multi_thread")]
async fn endpoints_do_not_share_entities() {
    let rig = Rig::new();
    let backend = rig.backend();
    backend.send_as("m", "accounts", to("alice", 1)).await.unwrap();
    backend.send_as("m", "savings", to("alice", 5)).await.unwrap();
    let endpoints = [Endpoint::new("accounts"), Endpoint::new("savings")];
    work_off(&backend, endpoints.map(|endpoint| endpoint.handle(plain))).await;
    assert_eq!(rig.state("accounts", "alice"), Some(Account::of(1, 1)));
    assert_eq!(rig.state("savings", "alice"), Some(Account::of(5, 1)));
}

/// Closes an account for a number.
#[derive(Clone, Serialize, Deserialize, Message)]
#[message(type = "account.close", entity = holder.number, ordered)]
struct Close {
    holder: Holder,
}

#[derive(Clone, Serialize, Deserialize)]
struct Holder {
    number: u32,
}

/// Says nothing about an entity.
#[derive(Serialize, Deserialize, Message)]
#[message(type = "bank.opened")]
struct Opened;

#[tokio::test(flavor = "multi_thread")]
async fn the_derive_writes_type_entity_and_order_on_the_wire() {
    let rig = Rig::new();
    let backend = rig.backend();
    assert_eq!((Close::TYPE, Close::ORDER), ("account.close", Order::PerSubject));
    assert_eq!((Opened::TYPE, Opened::ORDER), ("bank.opened", Order::Free));

    backend.send("accounts", Close { holder: Holder { number: 7 } }).await.unwrap();
    let envelope = take_one(&backend, "accounts").await.envelope.unwrap();
    assert_eq!(envelope.kind, "account.close");
    assert_eq!(envelope.subject.as_deref(), Some("7"));
    assert_eq!(envelope.text(PARTITION_KEY), Some("7"));
    assert_eq!(&envelope.data[..], br#"{"holder":{"number":7}}"#);

    backend.send("bank", Opened).await.unwrap();
    let envelope = take_one(&backend, "bank").await.envelope.unwrap();
    assert_eq!((envelope.subject.as_deref(), envelope.text(PARTITION_KEY)), (None, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn derived_messages_reach_their_entity() {
    let rig = Rig::new();
    let backend = rig.backend();
    backend.send("accounts", Close { holder: Holder { number: 7 } }).await.unwrap();
    backend.send("accounts", Opened).await.unwrap();
    let count = |count: &mut u64, _: Close, _: &mut Context| *count += 1;
    let note = |count: &mut u64, _: Opened, _: &mut Context| *count += 10;
    let endpoint = Endpoint::new("accounts").handle(count).handle_by(|_| "bank".to_owned(), note);
    work_off(&backend, [endpoint]).await;
    assert_eq!(rig.state("accounts", "7"), Some(1_u64));
    assert_eq!(rig.state("accounts", "bank"), Some(10_u64));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_cloud_event_is_handled_like_one_of_ours() {
    let rig = Rig::new();
    let backend = rig.backend();
    let data = br#"{ "pence": 7, "account": "alice", "new": true }"#.as_slice();
    put(&backend, "accounts", Envelope::new("1", "https://other", "account.deposit", data)).await;
    work_off(&backend, [Endpoint::new("accounts").handle(plain)]).await;
    assert_eq!(rig.state("accounts", "alice"), Some(Account::of(7, 1)));
}
