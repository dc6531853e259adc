//! Messages that nobody can handle, and results that nobody can keep.

use std::time::Duration;

use semel::prelude::*;
use semel::{DeadReason, Envelope, Order, RetryPolicy};
use serde::{Deserialize, Serialize};

use crate::bank::{
    Account, Attempts, Deposit, accounts, accounts_with, assert_ledger, audit, deposit, to,
};
use crate::by_hand::take_one;
use crate::fault::Tap;
use crate::rig::{Books, Home, Rig, dead_letters, put, retrying, work_off};

/// More than the store takes in one piece.
const TOO_MUCH: usize = (16 << 20) + 1;

async fn send_healthy(backend: &Backend) {
    for n in 0..10 {
        backend.send("accounts", to("alice", n)).await.unwrap();
    }
}

const HEALTHY: i64 = 45;

#[tokio::test(flavor = "multi_thread")]
async fn what_no_handler_can_read_is_dead_lettered_as_it_came() {
    let cases: [(&str, &str, &[u8], DeadReason, &str); 5] = [
        (
            "a type without a handler",
            "account.freeze",
            b"{}",
            DeadReason::UnknownType,
            "this endpoint has no handler for `account.freeze`",
        ),
        (
            "data of another shape",
            "account.deposit",
            br#" {"account": 7}"#,
            DeadReason::Undecodable,
            "the data is not a `account.deposit`",
        ),
        (
            "data that is no JSON",
            "account.deposit",
            br#"{"account":"#,
            DeadReason::Undecodable,
            "the data is not a `account.deposit`",
        ),
        (
            "data that is no text",
            "account.deposit",
            b"\xff\x00\xfe",
            DeadReason::Undecodable,
            "the data is not a `account.deposit`",
        ),
        (
            "no data",
            "account.deposit",
            b"",
            DeadReason::Undecodable,
            "the data is not a `account.deposit`",
        ),
    ];
    for home in Home::BOTH {
        let rig = Rig::at(home);
        let backend = rig.backend();
        for (id, kind, data, ..) in cases {
            put(&backend, "accounts", Envelope::new(id, "/till", kind, data)).await;
        }
        send_healthy(&backend).await;
        work_off(&backend, [accounts(), audit()]).await;

        assert_ledger(&rig, "alice", &Account::of(HEALTHY, 10));
        let dead = dead_letters(&backend).await;
        assert_eq!(dead.len(), cases.len(), "{home:?}");
        for (id, kind, data, reason, detail) in cases {
            let dead = dead
                .iter()
                .find(|dead| dead.envelope.as_ref().unwrap().id == id)
                .unwrap_or_else(|| panic!("{id} is dead"));
            assert_eq!((&dead.raw[..], dead.reason), (data, reason), "{id}");
            assert_eq!(dead.envelope.as_ref().unwrap().kind, kind, "{id}");
            assert!(dead.failures[0].reason.starts_with(detail), "{id}: {dead:?}");
            assert_eq!((dead.failures.len(), dead.deliveries), (1, 1), "{id}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_row_is_dead_lettered_as_it_is() {
    let damages = [
        "UPDATE queue SET extensions = '{broken'",
        "UPDATE queue SET extensions = '{\"a\": [1]}'",
        "UPDATE queue SET message_id = ''",
        "UPDATE queue SET source = X'00ff'",
        "UPDATE queue SET type = '', sent_at = 'yesterday'",
        "UPDATE queue SET data = X'ff00fe'",
        "UPDATE queue SET data = 17",
    ];
    for damage in damages {
        let rig = Rig::new();
        let backend = rig.backend();
        backend.send_as("damaged", "accounts", to("bob", 7)).await.unwrap();
        rig.damage_queue(damage);
        let data: Vec<u8> = rig.ask_queue("SELECT CAST(data AS BLOB) FROM queue").unwrap();
        send_healthy(&backend).await;
        work_off(&backend, [accounts(), audit()]).await;

        assert_ledger(&rig, "alice", &Account::of(HEALTHY, 10));
        let dead = dead_letters(&backend).await.remove(0);
        assert_eq!(dead.reason, DeadReason::Undecodable, "{damage}");
        assert_eq!(dead.raw, data, "{damage}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_cannot_be_told_harms_its_message_alone() {
    let rig = Rig::new();
    let backend = rig.backend();
    backend.send("accounts", to("Zoë", 7)).await.unwrap();
    send_healthy(&backend).await;
    let plain_name = |message: &Deposit| {
        assert!(message.account.is_ascii(), "an account with a strange name");
        message.account.clone()
    };
    let endpoint = Endpoint::new("accounts").handle_by(plain_name, deposit);
    work_off(&backend, [endpoint, audit()]).await;

    assert_ledger(&rig, "alice", &Account::of(HEALTHY, 10));
    let dead = dead_letters(&backend).await.remove(0);
    assert_eq!(dead.reason, DeadReason::HandlerFailed);
    assert!(dead.failures[0].reason.ends_with("an account with a strange name"), "{dead:?}");
}

#[derive(Default, Serialize, Deserialize)]
struct Text(String);

#[tokio::test(flavor = "multi_thread")]
async fn a_result_beyond_the_limits_is_dead_lettered_as_refused_and_nothing_is_written() {
    let large_state = || {
        Endpoint::new("accounts").handle(|state: &mut Text, _: Deposit, ctx: &mut Context| {
            state.0 = "x".repeat(TOO_MUCH);
            ctx.send("audit", to("alice", 1));
        })
    };
    let large_message = || {
        accounts_with(|account: &mut Account, message: Deposit, ctx: &mut Context| {
            deposit(account, message, ctx);
            ctx.send("audit", to(&"x".repeat(TOO_MUCH), 1));
        })
    };
    for home in Home::BOTH {
        for (case, endpoint) in [("state", large_state()), ("message", large_message())] {
            let rig = Rig::at(home);
            let backend = rig.backend();
            backend.send("accounts", to("alice", 1)).await.unwrap();
            work_off(&backend, [endpoint, audit()]).await;

            let dead = dead_letters(&backend).await;
            assert_eq!(dead.len(), 1, "{case}, {home:?}");
            assert_eq!(dead[0].reason, DeadReason::Refused, "{case}, {home:?}");
            let text = &dead[0].failures[0].reason;
            assert!(text.contains("the limit is 16777216"), "{case}, {home:?}: {text}");
            assert_eq!(rig.books(), Books { dead: 1, ..Books::default() }, "{case}, {home:?}");
            assert_eq!(rig.ask_store("SELECT count(*) FROM entity"), Some(0_u32));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_broker_would_refuse_is_found_before_the_commit() {
    let rig = Rig::at(Home::Apart);
    let tap = Tap::counting().with_broker_limits(|limits| semel::core::broker::BrokerLimits {
        message_bytes_max: 500,
        ..limits
    });
    let backend = tap.on(rig.backend());
    backend.send("accounts", to("alice", 1)).await.unwrap();
    backend.send("accounts", to("bob", 2)).await.unwrap();
    let endpoint = accounts_with(|account: &mut Account, message: Deposit, ctx: &mut Context| {
        let long = "x".repeat(if message.account == "bob" { 500 } else { 5 });
        deposit(account, message, ctx);
        ctx.send("archive", to(&long, 1));
    });
    work_off(&backend, [endpoint, audit()]).await;

    assert_ledger(&rig, "alice", &Account::of(1, 1));
    assert_ledger(&rig, "bob", &Account::default());
    let dead = dead_letters(&backend).await.remove(0);
    assert_eq!(dead.reason, DeadReason::Refused);
    assert!(dead.failures[0].reason.contains("the limit is 500"), "{dead:?}");
    assert_eq!(rig.books(), Books { queued: 1, dead: 1, inbox: 2, outbox: 0 });
}

/// A new version may lack the handler, read other data, or decide more than can be kept; what the
/// old one committed stays processed.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_with_a_committed_attempt_is_never_dead_lettered() {
    /// The same message in the next version, which asks for more.
    #[derive(Serialize, Deserialize, Message)]
    #[message(type = "account.deposit", entity = account)]
    struct Stricter {
        account: String,
        currency: String,
    }
    #[derive(Serialize, Deserialize, Message)]
    #[message(type = "account.freeze", entity = account)]
    struct Freeze {
        account: String,
    }
    type Next = (&'static str, fn() -> Endpoint);
    let versions: [Next; 6] = [
        ("without the handler", || {
            Endpoint::new("accounts").handle(|_: &mut Account, _: Freeze, _: &mut Context| {})
        }),
        ("with other data", || {
            Endpoint::new("accounts").handle(|_: &mut Account, _: Stricter, _: &mut Context| {})
        }),
        ("that fails for good", || {
            accounts_with(|_: &mut Account, _: Deposit, _: &mut Context| {
                Err::<(), _>(Failure::dead_letter("no more"))
            })
        }),
        ("that panics", || {
            accounts_with::<(), _>(|_: &mut Account, _: Deposit, _: &mut Context| panic!("no"))
        }),
        ("that sends too much", || {
            accounts_with(|_: &mut Account, _: Deposit, ctx: &mut Context| {
                ctx.send("audit", to(&"x".repeat(TOO_MUCH), 1));
            })
        }),
        ("that sends too many", || {
            accounts_with(|_: &mut Account, _: Deposit, ctx: &mut Context| {
                (0..10_001).for_each(|n| ctx.send("audit", to("alice", n)));
            })
        }),
    ];
    for home in Home::BOTH {
        for (version, next) in versions {
            let rig = Rig::at(home);
            let backend = rig.backend();
            backend.send_as("m-1", "accounts", to("alice", 7)).await.unwrap();
            work_off(&backend, [accounts(), audit()]).await;
            backend.send_as("m-1", "accounts", to("alice", 7)).await.unwrap();
            work_off(&backend, [next().settings(retrying(RetryPolicy::NONE))]).await;

            assert_ledger(&rig, "alice", &Account::of(7, 1));
            assert_eq!(rig.books(), Books { inbox: 2, ..Books::default() }, "{version}, {home:?}");
        }
    }
}

/// A message whose subject is what its name says.
#[derive(Serialize, Deserialize)]
struct Odd<const ORDERED: bool>(Option<String>);

impl<const ORDERED: bool> Message for Odd<ORDERED> {
    const TYPE: &'static str = "account.odd";
    const ORDER: Order = if ORDERED { Order::PerSubject } else { Order::Free };

    fn subject(&self) -> Option<String> {
        self.0.clone()
    }
}

/// What would be undecodable at the receiver, or could not keep its order there.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_cannot_be_carried_fails_where_it_is_sent() {
    type Send = fn(&mut Context);
    let cases: [(Send, &str); 3] = [
        (
            |ctx| ctx.send("audit", Odd::<false>(Some("a\u{7}b".to_owned()))),
            "a `account.odd` cannot be sent: the CloudEvents attribute `subject` is not free of \
             control characters",
        ),
        (
            |ctx| ctx.publish(Odd::<false>(Some(String::new()))),
            "a `account.odd` cannot be sent: the CloudEvents attribute `subject` is not a string \
             of at least one character",
        ),
        (
            |ctx| ctx.send_after(Duration::ZERO, "audit", Odd::<true>(None)),
            "a `account.odd` is ordered by its subject, but has none",
        ),
    ];
    for (send, reason) in cases {
        let rig = Rig::new();
        let backend = rig.backend();
        backend.send("accounts", to("alice", 7)).await.unwrap();
        let attempts = Attempts::default();
        let counted = attempts.clone();
        let handler = move |account: &mut Account, message: Deposit, ctx: &mut Context| {
            counted.next();
            send(ctx);
            deposit(account, message, ctx);
        };
        work_off(&backend, [accounts_with(handler)]).await;
        assert_eq!(attempts.count(), 1, "trying again is no use");
        assert_eq!(rig.books(), Books { dead: 1, ..Books::default() });
        assert_eq!(dead_letters(&backend).await[0].failures[0].reason, reason);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_identity_that_cannot_be_carried_is_refused_where_it_is_given() {
    let rig = Rig::new();
    let backend = rig.backend();
    for id in ["", "a\nb"] {
        backend.send_as(id, "accounts", to("alice", 7)).await.unwrap_err();
    }
    assert_eq!(rig.books(), Books::default());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bytes_of_a_message_arrive_as_they_were_sent() {
    let rig = Rig::at(Home::Apart);
    let backend = rig.backend();
    backend.send("accounts", to("Zoë «7» 🦀\u{2028}", 7)).await.unwrap();
    work_off(&backend, [accounts()]).await;
    let effect = take_one(&backend, "audit").await.envelope.unwrap();
    let expected = r#"{"account":"Zoë «7» 🦀"#;
    assert!(std::str::from_utf8(&effect.data).unwrap().starts_with(expected));
    assert_eq!(effect.subject.as_deref(), Some("Zoë «7» 🦀\u{2028}"));
}
