//! What the checker found in Semel itself. Each was mended; its world is kept.

use async_trait::async_trait;
use semel_check::{Breach, Fault, Property, World, relational, relational_apart};
use semel_core::broker::{BrokerLimits, SettleOutcome};
use semel_core::operator::DeadLetter;
use semel_core::protocols::{Outcome, Parking, Places, Processed, Protocol, Transactional, Work};
use semel_core::retry::RetryPolicy;
use semel_core::store::StoreLimits;
use semel_core::{
    Context, Endpoint, Envelope, Failure, Keyed, Message, Settings, Store, StoreError,
};
use serde::{Deserialize, Serialize};

use crate::bank::{Account, deposit, of};

#[derive(Serialize, Deserialize)]
struct Withdraw {
    account: String,
    pence: i64,
}

impl Message for Withdraw {
    const TYPE: &'static str = "account.withdraw";
}

impl Keyed for Withdraw {
    fn key(&self) -> String {
        self.account.clone()
    }
}

/// Fails for good, unless the deposit came first.
fn withdraw(account: &mut Account, message: Withdraw, _: &mut Context) -> Result<(), Failure> {
    if account.pence < message.pence {
        return Err(Failure::dead_letter("insufficient funds"));
    }
    account.pence -= message.pence;
    Ok(())
}

fn two_copies(protocol: impl Protocol) -> World {
    let settings = Settings { retry: RetryPolicy::NONE, ..Settings::default() };
    let endpoint = Endpoint::new("accounts").handle(deposit).handle(withdraw);
    World::new("a withdrawal that comes twice")
        .endpoint(endpoint.protocol(protocol).settings(settings))
        .send("d1", "accounts", of("alice", 5))
        .send("w1", "accounts", Withdraw { account: "alice".to_owned(), pence: 5 })
        .workers(2)
        .sometimes("it is parked", |view| view.dead_letters("accounts") == ["w1"])
}

/// Parks in two steps, as the host once did for every protocol.
#[derive(Debug)]
struct ParksInTwoSteps(Transactional);

#[async_trait]
impl Protocol for ParksInTwoSteps {
    fn name(&self) -> &'static str {
        "parks-in-two-steps"
    }

    fn check(&self, store: &StoreLimits, broker: &BrokerLimits) -> Result<(), String> {
        self.0.check(store, broker)
    }

    async fn process(&self, work: &Work<'_>) -> Outcome {
        self.0.process(work).await
    }

    async fn processed(
        &self,
        endpoint: &str,
        envelope: &Envelope,
        entity: Option<&str>,
        store: &dyn Store,
    ) -> Result<Processed, StoreError> {
        self.0.processed(endpoint, envelope, entity, store).await
    }

    async fn park(&self, parking: &Parking<'_>) -> SettleOutcome {
        parking.unless_processed(self).await
    }

    async fn finish(&self, endpoint: &str, places: Places<'_>) -> Result<usize, StoreError> {
        self.0.finish(endpoint, places).await
    }

    async fn discard(&self, dead: &DeadLetter, places: Places<'_>) -> Outcome {
        self.0.discard(dead, places).await
    }
}

/// One copy finds the money missing; before it is parked, the deposit comes, and the other copy is
/// committed. Asking and parking must be one.
#[test]
fn a_message_is_not_parked_at_the_moment_its_copy_is_committed() {
    let mended = two_copies(Transactional::default()).store(relational()).faults(2);
    mended.check().assert_holds();

    let broken = two_copies(ParksInTwoSteps(Transactional::default())).store(relational());
    let report = broken.faults(1).check();
    let found = report.assert_violated();
    assert_eq!(found.violation.breach, Breach::Property(Property::NoLostMessages), "{report}");
    assert!(found.violation.detail.contains("dead-lettered at accounts"), "{report}");
    assert_eq!(found.trace.steps.len(), 15, "{report}");
}

/// Elsewhere it cannot be one; whoever has seen the commit does not park.
#[test]
fn whoever_has_seen_a_commit_does_not_park_where_the_queue_is_elsewhere() {
    let world = two_copies(Transactional::default()).store(relational_apart()).faults(1);
    world.without(Fault::Person).check().assert_holds();
}

/// A person's discard whose reply is lost, or that lands late, is a discard.
#[test]
fn a_discard_in_doubt_loses_no_message() {
    let world = two_copies(Transactional::default()).without(Fault::Duplicate).faults(2);
    world.check().assert_holds();
}
