//! Who takes part: the protocols with what they run on, an account, an audit, and an edge.

use std::sync::Arc;

use semel_check::{World, items_only, relational, relational_apart};
use semel_core::broker::{Destination, Settlement};
use semel_core::context::outgoing;
use semel_core::handler::Decision;
use semel_core::protocols::{Outcome, Protocol, Work, by_name, grant};
use semel_core::retry::RetryPolicy;
use semel_core::store::{Change, Expect, Keep, StoreLimits, WriteOutcome};
use semel_core::{Context, Endpoint, Keyed, Message, Settings};
use serde::{Deserialize, Serialize};

use crate::mutants::kit::{self, protocol};

/// A protocol, on what it runs on.
#[derive(Clone, Debug)]
pub(super) struct Setup {
    pub(super) name: &'static str,
    pub(super) protocol: Arc<dyn Protocol>,
    pub(super) store: StoreLimits,
}

impl Setup {
    pub(super) fn new(name: &'static str, store: StoreLimits) -> Self {
        Self { name, protocol: by_name(name).expect("it ships"), store }
    }

    pub(super) fn world(&self, name: &str) -> World {
        World::new(format!("{}: {name}", self.name)).store(self.store)
    }

    /// Gives an endpoint the protocol, and its messages one try.
    pub(super) fn dress(&self, endpoint: Endpoint) -> Endpoint {
        endpoint.shared_protocol(self.protocol.clone()).settings(once())
    }
}

/// A message whose handler fails is parked at once.
pub(super) fn once() -> Settings {
    Settings { retry: RetryPolicy::NONE, ..Settings::default() }
}

/// Every protocol, by name.
pub(super) const EVERY: [&str; 8] = [
    "at-least-once",
    "inbox",
    "outbox",
    "outbox-inbox",
    "detached-outbox",
    "token",
    "replay",
    "transactional",
];

/// Those of items that promise everything.
pub(super) fn of_items() -> Vec<Setup> {
    let names = ["outbox", "outbox-inbox", "detached-outbox", "token", "replay"];
    names.into_iter().map(|name| Setup::new(name, items_only())).collect()
}

/// All that promise everything.
pub(super) fn whole() -> Vec<Setup> {
    let mut all = of_items();
    all.push(Setup { name: "transactional-inside", ..Setup::new("transactional", relational()) });
    all.push(Setup {
        name: "transactional-apart",
        ..Setup::new("transactional", relational_apart())
    });
    all
}

#[track_caller]
pub(super) fn holds(world: World) {
    let report = world.check();
    assert!(report.holds(), "{report}");
}

/// For what is too large to be exhausted: nothing is found in so many runs.
#[track_caller]
pub(super) fn samples(world: World, runs: u64) {
    let report = world.forgetful().check_random(7, runs);
    assert!(report.counterexample().is_none() && report.coverage.executions >= runs, "{report}");
}

#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Deposit {
    pub(super) account: String,
    pub(super) pence: i64,
}

impl Message for Deposit {
    const TYPE: &'static str = "odd.deposit";
}

impl Keyed for Deposit {
    fn key(&self) -> String {
        self.account.clone()
    }
}

pub(super) fn of(account: &str, pence: i64) -> Deposit {
    Deposit { account: account.to_owned(), pence }
}

#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Note {
    pub(super) book: String,
    pub(super) pence: i64,
}

impl Message for Note {
    const TYPE: &'static str = "odd.note";
}

impl Keyed for Note {
    fn key(&self) -> String {
        self.book.clone()
    }
}

#[derive(Default, Serialize, Deserialize)]
pub(super) struct Account {
    pub(super) pence: i64,
    pub(super) times: u32,
}

/// Adds up, and tells the audit the sum.
pub(super) fn deposit(account: &mut Account, deposit: Deposit, ctx: &mut Context) {
    account.pence += deposit.pence;
    account.times += 1;
    ctx.send("audit", Note { book: "book".to_owned(), pence: account.pence });
}

/// Adds up what comes.
pub(super) fn enter(account: &mut Account, note: Note, _: &mut Context) {
    account.pence += note.pence;
    account.times += 1;
}

/// What an edge does: one batch holds its state, the messages, and their first tokens.
#[derive(Clone, Copy, Debug)]
pub(super) struct Edge;

protocol!(Edge = "edge");

impl Edge {
    async fn attempt(&self, work: &Work<'_>) -> Result<Outcome, Outcome> {
        let entity = work.places.store.read(&work.entity_key()).await?;
        let (state, expect) = match entity {
            Some(item) => (Some(item.value), Expect::Version(item.version)),
            None => (None, Expect::Absent),
        };
        if work.places.store.read(&kit::inbox_key(work)).await?.is_some() {
            return Ok(work.ack(Outcome::Duplicate).await);
        }
        let decided = work.handler.run(state, work.context()).await;
        let Decision { state, effects } = decided.map_err(Outcome::HandlerFailed)?;
        let now = work.places.clock.now();
        let mut changes = vec![
            Change::Settle { receipt: work.receipt.clone(), settlement: Settlement::Ack },
            kit::to_put(kit::inbox_key(work), &(), Expect::Absent, Keep::For(kit::WINDOW)),
            Change::Put { key: work.entity_key(), value: state, expect, keep: Keep::Always },
        ];
        for message in outgoing(work.endpoint, work.envelope, effects, now) {
            assert!(matches!(message.to, Destination::Endpoint(_)), "this edge does not publish");
            let (message, token) = grant(message, "semel", work.places.clock, work.places.entropy);
            changes.push(Change::Enqueue(message));
            changes.extend(token);
        }
        match work.places.store.write(changes).await {
            WriteOutcome::Applied(_) => Ok(Outcome::Processed),
            // The lease is another's by now.
            WriteOutcome::Conflict(at) if at.contains(&0) => Ok(Outcome::LeaseLost),
            WriteOutcome::Conflict(_) => Ok(Outcome::Conflict),
            WriteOutcome::Refused(error) | WriteOutcome::Unknown(error) => Err(error.into()),
        }
    }
}
