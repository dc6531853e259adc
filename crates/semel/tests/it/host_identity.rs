//! The names of effects, and what they inherit.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use semel::core::envelope::{CAUSATION, CONVERSATION, TRACE_PARENT};
use semel::core::ids::derive_effect_id;
use semel::core::store::Change;
use semel::prelude::*;
use semel::{Clock as _, Envelope};

use crate::bank::{Account, Attempts, Deposit, Deposited, accounts_with, to};
use crate::by_hand::take;
use crate::fault::{Call, Fault, Tap};
use crate::rig::{Home, Rig, put, work_off};

const DATA: &[u8] = br#"{"account":"alice","pence":7}"#;

fn note(message: &Deposit, balance: i64) -> Deposited {
    Deposited { account: message.account.clone(), pence: message.pence, balance }
}

fn twice(_: &mut Account, message: Deposit, ctx: &mut Context) {
    ctx.send("journal", note(&message, 1));
    ctx.send("journal", note(&message, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn effects_are_named_after_their_cause_and_their_position() {
    for home in Home::BOTH {
        let rig = Rig::at(home);
        let backend = rig.backend();
        let cause = Envelope::new("17", "/till", "account.deposit", DATA);
        put(&backend, "accounts", cause.clone()).await;
        work_off(&backend, [accounts_with(twice)]).await;

        let effects = take(&backend, "journal", 10).await;
        assert_eq!(effects.len(), 2);
        for (position, effect) in effects.into_iter().enumerate() {
            let effect = effect.envelope.unwrap();
            let id = derive_effect_id("accounts", &cause, position).to_string();
            assert_eq!((effect.id, effect.source.as_str()), (id, "/accounts"), "{home:?}");
            assert_eq!(effect.kind, "account.deposited");
            assert_eq!(effect.subject.as_deref(), Some("alice"));
            assert_eq!(effect.time, Some(rig.clock.now()));
        }
    }
}

/// The ids of the effects in each batch that was to be written.
fn staged_ids(tap: &Tap) -> Vec<Vec<String>> {
    let sends = |changes: Vec<Change>| {
        let sent = changes.into_iter().filter_map(|change| match change {
            Change::Enqueue(message) => Some(message.envelope.id),
            _ => None,
        });
        sent.collect()
    };
    tap.written().into_iter().map(sends).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_attempt_names_effects_and_minted_ids_alike() {
    let rig = Rig::new();
    let tap = Tap::new(|call, nth| match (call, nth) {
        (Call::Write, 1..=3) => Fault::NotApplied,
        _ => Fault::None,
    });
    let backend = tap.on(rig.backend());
    backend.send("accounts", to("alice", 7)).await.unwrap();
    let minted = Arc::new(Mutex::new(Vec::new()));
    let ids = minted.clone();
    let endpoint = accounts_with(move |_: &mut Account, message: Deposit, ctx: &mut Context| {
        ids.lock().unwrap().push([ctx.new_id(), ctx.new_id()]);
        twice(&mut Account::default(), message, ctx);
    });
    work_off(&backend, [endpoint]).await;

    let staged = staged_ids(&tap);
    assert_eq!((staged.len(), staged[0].len()), (4, 2));
    assert!(staged.iter().all(|ids| ids == &staged[0]), "{staged:?}");
    let minted = minted.lock().unwrap().clone();
    assert_eq!(minted.len(), 4);
    assert!(minted.iter().all(|ids| ids == &minted[0]), "{minted:?}");
    let distinct: BTreeSet<String> =
        minted[0].iter().map(ToString::to_string).chain(staged[0].iter().cloned()).collect();
    assert_eq!(distinct.len(), 4, "no two of them share a name");
}

#[tokio::test(flavor = "multi_thread")]
async fn minted_ids_differ_between_messages_sources_and_endpoints() {
    let rig = Rig::new();
    let backend = rig.backend();
    for (source, id) in [("/till/1", "1"), ("/till/1", "2"), ("/till/2", "1")] {
        for endpoint in ["accounts", "savings"] {
            put(&backend, endpoint, Envelope::new(id, source, "account.deposit", DATA)).await;
        }
    }
    let minted = Arc::new(Mutex::new(BTreeSet::new()));
    let endpoints = ["accounts", "savings"].map(|name| {
        let minted = minted.clone();
        Endpoint::new(name).handle(move |_: &mut Account, _: Deposit, ctx: &mut Context| {
            minted.lock().unwrap().insert(ctx.new_id());
        })
    });
    work_off(&backend, endpoints).await;
    assert_eq!(minted.lock().unwrap().len(), 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_effect_inherits_conversation_causation_and_trace() {
    const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let told = |conversation: Option<&'static str>, trace: Option<&'static str>| {
        let mut cause = Envelope::new("17", "/till", "account.deposit", DATA);
        conversation.inspect(|text| cause.set_text(CONVERSATION, *text));
        trace.inspect(|text| cause.set_text(TRACE_PARENT, *text));
        cause
    };
    let cases = [
        ("a message begins a conversation", told(None, None), "17", None),
        ("a message goes on with one", told(Some("c-1"), None), "c-1", None),
        ("a traced message", told(Some("c-1"), Some(TRACE)), "c-1", Some(TRACE)),
    ];
    for home in Home::BOTH {
        for (case, cause, conversation, trace) in cases.clone() {
            let rig = Rig::at(home);
            let backend = rig.backend();
            put(&backend, "accounts", cause).await;
            work_off(&backend, [accounts_with(twice)]).await;
            for effect in take(&backend, "journal", 10).await {
                let effect = effect.envelope.unwrap();
                assert_eq!(effect.text(CAUSATION), Some("17"), "{case}");
                assert_eq!(effect.text(CONVERSATION), Some(conversation), "{case}");
                assert_eq!(effect.text(TRACE_PARENT), trace, "{case}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_goes_on_from_message_to_message() {
    let rig = Rig::new();
    let backend = rig.backend();
    backend.send_as("first", "accounts", to("alice", 2)).await.unwrap();
    let pass_on = |_: &mut Account, message: Deposit, ctx: &mut Context| {
        let next = if message.pence == 0 { "journal" } else { "accounts" };
        ctx.send(next, to(&message.account, message.pence - 1));
    };
    work_off(&backend, [accounts_with(pass_on)]).await;
    let last = take(&backend, "journal", 1).await.remove(0).envelope.unwrap();
    assert_eq!(last.text(CONVERSATION), Some("first"));
    assert_ne!(last.text(CAUSATION), Some("first"));
}

#[tokio::test(flavor = "multi_thread")]
async fn handlers_see_the_time_of_their_attempt() {
    let rig = Rig::new();
    let backend = rig.backend();
    backend.send("accounts", to("alice", 1)).await.unwrap();
    let attempts = Attempts::default();
    let counted = attempts.clone();
    let seen = Arc::new(Mutex::new(None));
    let noted = seen.clone();
    let endpoint = accounts_with(move |_: &mut Account, _: Deposit, ctx: &mut Context| {
        counted.next();
        *noted.lock().unwrap() = Some(ctx.now());
    });
    work_off(&backend, [endpoint]).await;
    assert_eq!(attempts.count(), 1);
    assert_eq!(*seen.lock().unwrap(), Some(rig.clock.now()));
}
