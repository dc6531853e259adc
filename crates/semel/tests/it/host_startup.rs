//! What keeps a host from starting, and what it says.

use std::time::Duration;

use semel::core::broker::{BrokerLimits, Ordering, Subscribers};
use semel::core::protocols::Token;
use semel::core::store::{Atomicity, Listing, StoreLimits};
use semel::prelude::*;
use semel::{AtLeastOnce, HostError, Settings};
use serde::{Deserialize, Serialize};

use crate::bank::{Account, Deposit, accounts, audit, deposit, to};
use crate::fault::{Call, Fault, Tap};
use crate::rig::{Home, Rig, host};

#[derive(Serialize, Deserialize, Message)]
#[message(type = "log.line", entity = log, ordered)]
struct Line {
    log: String,
}

fn ordered() -> Endpoint {
    Endpoint::new("logs").handle(|_: &mut u32, _: Line, _: &mut Context| {})
}

async fn refusal<const N: usize>(backend: &Backend, endpoints: [Endpoint; N]) -> String {
    let ended = host(backend, endpoints).run(std::future::pending()).await;
    ended.expect_err("it must not start").to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_makes_no_sense_does_not_start_and_says_what_to_do() {
    let rig = Rig::new();
    let backend = rig.backend();
    let nothing = Endpoint::new("accounts");
    let twice = accounts().handle(deposit);
    let twice_by_subscription = accounts().subscribe(deposit);
    let cases = [
        (refusal(&backend, []).await, "the host has no endpoint: add one with `Host::endpoint`"),
        (
            refusal(&backend, [nothing]).await,
            "endpoint `accounts` has no handler: add one with `Endpoint::handle`",
        ),
        (
            refusal(&backend, [accounts(), audit(), accounts()]).await,
            "two endpoints are called `accounts`: put all handlers of a name into one",
        ),
        (
            refusal(&backend, [twice]).await,
            "endpoint `accounts` has two handlers for `account.deposit`: keep one",
        ),
        (
            refusal(&backend, [twice_by_subscription]).await,
            "endpoint `accounts` has two handlers for `account.deposit`: keep one",
        ),
    ];
    for (found, expected) in cases {
        assert_eq!(found, expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_setting_of_zero_with_which_nothing_would_happen_is_refused() {
    let rig = Rig::new();
    let backend = rig.backend();
    let normal = Settings::default();
    let cases = [
        ("concurrency", Settings { concurrency: 0, ..normal }),
        ("held_max", Settings { held_max: 0, ..normal }),
        ("lease", Settings { lease: Duration::ZERO, ..normal }),
        ("handler_deadline", Settings { handler_deadline: Duration::ZERO, ..normal }),
        ("abandoned_max", Settings { abandoned_max: 0, ..normal }),
    ];
    for (setting, settings) in cases {
        let expected =
            format!("endpoint `accounts`: the setting `{setting}` must be more than zero");
        assert_eq!(refusal(&backend, [accounts().settings(settings)]).await, expected);
    }
    let least = Settings { concurrency: 1, held_max: 1, abandoned_max: 1, ..normal };
    for n in 0..3 {
        backend.send("accounts", to("alice", n)).await.unwrap();
    }
    host(&backend, [accounts().settings(least)]).run_until_idle().await.unwrap();
    assert_eq!(rig.state("accounts", "alice"), Some(Account::of(3, 3)));
}

#[tokio::test(flavor = "multi_thread")]
async fn names_of_endpoints_stay_simple() {
    let rig = Rig::new();
    let backend = rig.backend();
    let named = |name: &str| Endpoint::new(name).handle(deposit);
    let long = "x".repeat(101);
    for name in ["", "a b", "a/b", "a\nb", "straße", "a'b", &long] {
        let expected = format!(
            "`{name}` cannot name an endpoint: use up to 100 letters, digits, `-`, `_` and `.`"
        );
        assert_eq!(refusal(&backend, [named(name)]).await, expected);
    }
    for name in ["a", "A-b_c.9", &long[1..]] {
        host(&backend, [named(name)]).run_until_idle().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_protocol_that_cannot_work_on_the_store_is_refused() {
    type Limits = fn(StoreLimits) -> StoreLimits;
    let one_item: Limits = |limits| StoreLimits { atomicity: Atomicity::OneItem, ..limits };
    let one_partition: Limits =
        |limits| StoreLimits { atomicity: Atomicity::OnePartition, ..limits };
    let no_listing: Limits = |limits| StoreLimits { listing: Listing::Unsupported, ..limits };
    let atomic = "endpoint `accounts`: the protocol `transactional` needs a store whose batches \
                  are atomic across everything in it; choose another one";
    let listing = "endpoint `accounts`: the protocol `transactional` needs a store that can list \
                   items, for its finisher; choose another one";
    let cases = [
        (Home::Inside, one_item, Some(atomic)),
        (Home::Inside, one_partition, Some(atomic)),
        // No finisher is needed where the queue is part of the commit.
        (Home::Inside, no_listing, None),
        // The store could hold the queue as well, but here it does not.
        (Home::Apart, no_listing, Some(listing)),
    ];
    for (home, limits, expected) in cases {
        let tap = Tap::counting().with_store_limits(limits);
        let rig = Rig::at(home);
        let backend = tap.on(rig.backend());
        let ended = host(&backend, [accounts()]).run_until_idle().await;
        assert_eq!(ended.err().map(|error| error.to_string()).as_deref(), expected);
        let at_least_once = accounts().protocol(AtLeastOnce);
        host(&backend, [at_least_once]).run_until_idle().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn order_is_refused_where_the_broker_cannot_keep_it() {
    let tap = Tap::counting()
        .with_broker_limits(|limits| BrokerLimits { ordering: Ordering::None, ..limits });
    let rig = Rig::new();
    let backend = tap.on(rig.backend());
    assert_eq!(
        refusal(&backend, [accounts(), ordered()]).await,
        "endpoint `logs`: messages `log.line` are `ordered`, but this broker cannot keep order; \
         remove `ordered`, or choose another broker"
    );
    host(&backend, [accounts()]).run_until_idle().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_refused_where_nobody_tells_who_subscribes() {
    let tap = Tap::counting()
        .with_broker_limits(|limits| BrokerLimits { subscribers: Subscribers::Unlisted, ..limits });
    let rig = Rig::new();
    let backend = tap.on(rig.backend());
    let token = accounts().protocol(Token::default());
    assert_eq!(
        refusal(&backend, [token]).await,
        "endpoint `accounts`: the protocol `token` needs a broker that tells who subscribes, as each \
         needs a token; choose another one"
    );
    host(&backend, [accounts()]).run_until_idle().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_needs_a_person_keeps_the_host_from_starting() {
    let tap = Tap::new(|call, _| if call == Call::Register { Fault::Broken } else { Fault::None });
    let rig = Rig::new();
    let backend = tap.on(rig.backend());
    let expected = "tap: call failed: Broken by order of the test. Mend the test.";
    assert_eq!(refusal(&backend, [accounts()]).await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_defect_in_an_adapter_ends_the_host_with_a_text_that_says_so() {
    let rig = Rig::new();
    let tap = Tap::new(|call, nth| match (call, nth) {
        (Call::Receive, 2..) => Fault::Panic,
        _ => Fault::None,
    });
    let ended = host(&tap.on(rig.backend()), [accounts()]).run(std::future::pending()).await;
    let Err(error @ HostError::Bug { .. }) = ended else { panic!("{ended:?}") };
    let text = error.to_string();
    assert!(text.starts_with("a defect in Semel: "), "{text}");
    assert!(text.ends_with("Nothing is lost: restart the worker"), "{text}");
}

/// The pump contains a defect in one job: the message comes again, and the others go on.
#[tokio::test(flavor = "multi_thread")]
async fn a_defect_in_one_job_harms_no_other() {
    let rig = Rig::new();
    let tap = Tap::new(|call, nth| match (call, nth) {
        (Call::Read, 1) => Fault::Panic,
        _ => Fault::None,
    });
    let backend = tap.on(rig.backend());
    for n in 0..10 {
        backend.send("accounts", to("alice", n)).await.unwrap();
    }
    host(&backend, [accounts()]).run_until_idle().await.unwrap();
    assert_eq!(rig.state("accounts", "alice"), Some(Account::of(45, 9)));
    rig.advance(Settings::default().lease);
    host(&backend, [accounts()]).run_until_idle().await.unwrap();
    assert_eq!(rig.state("accounts", "alice"), Some(Account::of(45, 10)));
}

/// A host without work starts, registers what it serves, and ends.
#[tokio::test(flavor = "multi_thread")]
async fn a_host_registers_its_endpoints_and_what_they_subscribe_to() {
    let rig = Rig::new();
    let backend = rig.backend();
    let subscriber = Endpoint::new("savings").subscribe(deposit).protocol(AtLeastOnce);
    host(&backend, [accounts(), subscriber]).run_until_idle().await.unwrap();
    let report = backend.operator().inspect().await.unwrap();
    let found: Vec<_> = report
        .endpoints
        .iter()
        .map(|(name, at)| (name.as_str(), at.protocol.as_deref(), at.subscriptions.as_slice()))
        .collect();
    let subscriptions = [Deposit::TYPE.to_owned()];
    let expected: [(&str, _, &[String]); 2] = [
        ("accounts", Some("transactional"), &[]),
        ("savings", Some("at-least-once"), &subscriptions),
    ];
    assert_eq!(found, expected);
}
