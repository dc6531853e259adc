//! Protocols laid out unlike ours: what they do differently is no fault, or it is found.

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use semel_check::{Breach, Finding, Objects, Property, World, items_only};
use semel_core::broker::{BrokerLimits, Destination, Outgoing, SendOutcome};
use semel_core::context::outgoing;
use semel_core::operator::DeadLetter;
use semel_core::protocols::{Outcome, Places, Processed, Protocol, Work};
use semel_core::store::{Change, Expect, ItemKey, Keep, Space, StoreLimits, Version, WriteOutcome};
use semel_core::{Context, Endpoint, Envelope, Failure, Keyed, Message, Store, StoreError};
use serde::{Deserialize, Serialize};

use crate::bank::{Account, Deposit, Note, accounts, of};

/// Read, run, commit, send, settle: correct in a world without faults and duplicates.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Plain {
    /// All effects of a message go out under one id.
    OneIdForAll,
    /// What is published is sent to each subscriber under an id of its own.
    OnePerSubscriber,
    /// Two reads at once, each woken by its own waker.
    ReadsAtOnce,
    /// Data is read as JSON and written anew, with its fields sorted.
    WritesJsonAnew,
    /// The state is kept as text, in the other alphabet of base64 and without padding.
    Base64Url,
    /// The state before is kept beside the state, in front of it.
    KeepsBefore,
    /// Each state is an item of its own, as in a stream of events.
    Stream,
    /// The state is kept as text in hex.
    Hex,
    /// A document as text, as the one string of another document.
    TextInText,
    /// A whole document in base64.
    Base64Document,
    /// The state is kept such that nobody can recognise it.
    Masked,
    /// Messages are sent such that nobody can recognise them.
    MasksEffects,
    /// A lock that goes with time, around everything.
    Locks,
}

#[derive(Default, Serialize, Deserialize)]
struct Document {
    #[serde(default)]
    a_before: String,
    state: String,
}

/// The same bytes, such that nobody recognises them; and back again.
fn masked(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().map(|byte| byte ^ 0x55).collect()
}

impl Plain {
    fn encode(self, before: Option<&[u8]>, state: &[u8]) -> Vec<u8> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        match self {
            Self::Base64Url => {
                let state = URL_SAFE_NO_PAD.encode(state);
                serde_json::to_vec(&Document { a_before: String::new(), state }).unwrap()
            }
            Self::KeepsBefore => {
                let a_before = before.map(text).unwrap_or_default();
                serde_json::to_vec(&Document { a_before, state: text(state) }).unwrap()
            }
            Self::Hex => {
                let state = state.iter().map(|byte| format!("{byte:02x}")).collect();
                serde_json::to_vec(&Document { a_before: String::new(), state }).unwrap()
            }
            Self::TextInText => {
                let document = Document { a_before: String::new(), state: text(state) };
                serde_json::to_vec(&serde_json::to_string(&document).unwrap()).unwrap()
            }
            Self::Base64Document => {
                let document = Document { a_before: String::new(), state: text(state) };
                STANDARD.encode(serde_json::to_vec(&document).unwrap()).into_bytes()
            }
            Self::Masked => masked(state),
            _ => state.to_vec(),
        }
    }

    fn decode(self, value: &[u8]) -> Vec<u8> {
        let document = || serde_json::from_slice::<Document>(value).unwrap();
        match self {
            Self::Base64Url => URL_SAFE_NO_PAD.decode(document().state).unwrap(),
            Self::KeepsBefore => document().state.into_bytes(),
            Self::Hex => {
                let state = document().state;
                let digits = (0..state.len()).step_by(2).map(|at| &state[at..at + 2]);
                digits.map(|digits| u8::from_str_radix(digits, 16).unwrap()).collect()
            }
            Self::TextInText => {
                let text: String = serde_json::from_slice(value).unwrap();
                serde_json::from_str::<Document>(&text).unwrap().state.into_bytes()
            }
            Self::Base64Document => {
                let document = STANDARD.decode(value).unwrap();
                serde_json::from_slice::<Document>(&document).unwrap().state.into_bytes()
            }
            Self::Masked => masked(value),
            _ => value.to_vec(),
        }
    }

    /// Where the state is, and where the next one goes.
    async fn load(
        self,
        work: &Work<'_>,
    ) -> Result<(Option<(Vec<u8>, Version)>, ItemKey), StoreError> {
        let store = work.places.store;
        let entity = work.entity_key();
        if self == Self::ReadsAtOnce {
            let inbox = ItemKey::new(Space::Inbox, work.endpoint, "none");
            let keys = [entity.clone(), inbox];
            let mut reads: FuturesUnordered<_> = keys.iter().map(|key| store.read(key)).collect();
            let mut item = None;
            while let Some(read) = reads.next().await {
                item = read?.or(item);
            }
            return Ok((item.map(|item| (self.decode(&item.value), item.version)), entity));
        }
        if self != Self::Stream {
            let item = store.read(&entity).await?;
            return Ok((item.map(|item| (self.decode(&item.value), item.version)), entity));
        }
        let (mut last, mut number) = (None, 0);
        loop {
            let name = format!("{}/{number:08}", work.entity);
            let key = ItemKey::new(Space::Entity, work.endpoint, name);
            match store.read(&key).await? {
                Some(item) => last = Some((item.value.to_vec(), item.version)),
                None => return Ok((last, key)),
            }
            number += 1;
        }
    }

    fn address(self, work: &Work<'_>, messages: Vec<Outgoing>) -> Vec<Outgoing> {
        let mut addressed = Vec::new();
        for mut message in messages {
            if self == Self::WritesJsonAnew {
                let value: serde_json::Value =
                    serde_json::from_slice(&message.envelope.data).unwrap();
                message.envelope.data = serde_json::to_vec(&value).unwrap().into();
            }
            if self == Self::MasksEffects {
                message.envelope.data = masked(&message.envelope.data).into();
            }
            if self == Self::OneIdForAll {
                message.envelope.id = format!("of-{}", work.envelope.id);
            }
            if self == Self::OnePerSubscriber && message.to == Destination::Subscribers {
                for name in ["ledger", "mailer"] {
                    let mut copy = message.clone();
                    copy.envelope.id = format!("{}-{name}", copy.envelope.id);
                    copy.to = Destination::Endpoint(name.to_owned());
                    addressed.push(copy);
                }
            } else {
                addressed.push(message);
            }
        }
        addressed
    }

    async fn lock(self, work: &Work<'_>) -> Option<ItemKey> {
        let key = ItemKey::new(Space::Inbox, work.endpoint, format!("lock {}", work.entity));
        let put = Change::Put {
            key: key.clone(),
            value: "held".into(),
            expect: Expect::Absent,
            keep: Keep::For(std::time::Duration::from_secs(60)),
        };
        match work.places.store.write(vec![put]).await {
            WriteOutcome::Applied(_) => Some(key),
            _ => None,
        }
    }
}

#[async_trait]
impl Protocol for Plain {
    fn name(&self) -> &'static str {
        "plain"
    }

    fn check(&self, _: &StoreLimits, _: &BrokerLimits) -> Result<(), String> {
        Ok(())
    }

    async fn process(&self, work: &Work<'_>) -> Outcome {
        let Places { store, broker, clock, .. } = work.places;
        let lock = match self {
            Self::Locks => match self.lock(work).await {
                Some(key) => Some(key),
                None => return Outcome::Conflict,
            },
            _ => None,
        };
        let (loaded, key) = match self.load(work).await {
            Ok(loaded) => loaded,
            Err(error) => return error.into(),
        };
        let before = loaded.as_ref().map(|(state, _)| state.clone());
        let decision = match work.handler.run(before.clone().map(Into::into), work.context()).await
        {
            Ok(decision) => decision,
            Err(failure) => return Outcome::HandlerFailed(failure),
        };
        let expect = match loaded {
            Some((_, version)) if *self != Self::Stream => Expect::Version(version),
            _ => Expect::Absent,
        };
        let value = self.encode(before.as_deref(), &decision.state).into();
        let put = Change::Put { key, value, expect, keep: Keep::Always };
        match store.write(vec![put]).await {
            WriteOutcome::Applied(_) => {}
            WriteOutcome::Conflict(_) => return Outcome::Conflict,
            WriteOutcome::Refused(error) | WriteOutcome::Unknown(error) => return error.into(),
        }
        let messages = outgoing(work.endpoint, work.envelope, decision.effects, clock.now());
        for sent in broker.send(self.address(work, messages)).await {
            if let SendOutcome::Refused(error) | SendOutcome::Unknown(error) = sent {
                return error.into();
            }
        }
        if let Some(key) = lock {
            let _ = store.write(vec![Change::Delete { key, expect: Expect::Anything }]).await;
        }
        work.ack(Outcome::Processed).await
    }

    async fn processed(
        &self,
        _: &str,
        _: &Envelope,
        _: Option<&str>,
        _: &dyn Store,
    ) -> Result<Processed, StoreError> {
        Ok(Processed::Unknown)
    }

    async fn discard(&self, _: &DeadLetter, _: Places<'_>) -> Outcome {
        Outcome::LeaseLost
    }
}

/// What is published about a deposit.
#[derive(Serialize, Deserialize)]
struct Booked {
    sum: i64,
    account: String,
}

impl Message for Booked {
    const TYPE: &'static str = "account.booked";
}

impl Keyed for Booked {
    fn key(&self) -> String {
        self.account.clone()
    }
}

fn book(account: &mut Account, message: Deposit, ctx: &mut Context) {
    account.pence += message.pence;
    ctx.send("audit", Note { sum: account.pence });
    ctx.send("audit", Note { sum: -1 });
    ctx.publish(Booked { sum: account.pence, account: message.account });
}

fn note(count: &mut i64, _: Booked, _: &mut Context) {
    *count += 1;
}

fn world(protocol: Plain) -> World {
    let subscriber = |name: &str| Endpoint::new(name).subscribe(note).protocol(protocol);
    World::new("a port")
        .endpoint(Endpoint::new("accounts").handle(book).protocol(protocol))
        .endpoint(subscriber("ledger"))
        .endpoint(subscriber("mailer"))
        .send("d1", "accounts", of("alice", 5))
        .send("d2", "accounts", of("alice", 7))
        .store(items_only())
}

#[track_caller]
fn breaks(world: World, property: Property, detail: &str) {
    let report = world.check();
    let found = report.assert_violated();
    assert_eq!(found.violation.breach, Breach::Property(property), "{report}");
    assert!(found.violation.detail.contains(detail), "{report}");
}

#[test]
fn two_effects_under_one_identity_are_found() {
    let detail = "are visible under one identity";
    breaks(world(Plain::OneIdForAll), Property::AtMostOneEffect, detail);
}

#[test]
fn other_layouts_are_no_fault() {
    for protocol in [
        Plain::OnePerSubscriber,
        Plain::ReadsAtOnce,
        Plain::WritesJsonAnew,
        Plain::Base64Url,
        Plain::KeepsBefore,
        Plain::Stream,
        Plain::Hex,
        Plain::TextInText,
        Plain::Base64Document,
    ] {
        let report = world(protocol).check();
        assert!(report.holds(), "{protocol:?}: {report}");
    }
}

#[test]
fn a_state_that_nobody_can_recognise_is_told_from_a_ghost() {
    let report = world(Plain::Masked).check();
    let Finding::Unusable(error) = &report.finding else { panic!("{report}") };
    assert!(error.reason.contains("recognises no state in any entity's item"), "{report}");
}

#[test]
fn effects_that_nobody_can_recognise_are_told_from_lost_ones() {
    let world = crate::bank::one(accounts().protocol(Plain::MasksEffects)).workers(1);
    let report = world.store(items_only()).check();
    let Finding::Unusable(error) = &report.finding else { panic!("{report}") };
    let wanted = "recognises no effect in any message that is sent";
    assert!(error.reason.contains(wanted), "{report}");
}

#[test]
fn whoever_waits_for_a_lock_that_goes_with_time_waits_not_forever() {
    let world = world(Plain::Locks).faults(1).judge(&[Property::NoLostMessages]);
    world.check().assert_holds();
}

#[test]
fn what_a_failed_attempt_wrote_outside_is_garbage() {
    async fn fails(_: &mut Account, message: Deposit, _: &mut Context) -> Result<(), Failure> {
        Objects.put("invoice", message.pence.to_string()).await?;
        Err(Failure::dead_letter("no such customer"))
    }
    let endpoint = Endpoint::new("accounts").handle(fails);
    breaks(crate::bank::one(endpoint), Property::NoGarbage, "the object invoice remains outside");
}

#[test]
fn a_message_that_no_run_processes_is_named() {
    fn fails(_: &mut Account, _: Deposit, _: &mut Context) -> Result<(), Failure> {
        Err(Failure::dead_letter("it never works"))
    }
    let report = crate::bank::one(Endpoint::new("accounts").handle(fails)).check();
    report.assert_holds();
    assert_eq!(report.coverage.never_processed[0].name, "d1 at accounts");
    let told = "its handler never succeeded, and failed last with: it never works";
    assert!(report.to_string().contains(told), "{report}");
}

/// Limits are about what protocols and users write, not about what the checker adds.
#[test]
fn the_trail_takes_no_room() {
    let limits = StoreLimits { item_bytes_max: 60, ..items_only() };
    world(Plain::Stream).store(limits).check().assert_holds();
}
