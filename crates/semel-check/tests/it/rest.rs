//! Worlds that do not come to rest: each says what it is that goes on.

use async_trait::async_trait;
use semel_check::{Breach, Finding, Report, World, items_only};
use semel_core::broker::BrokerLimits;
use semel_core::operator::DeadLetter;
use semel_core::protocols::{Outcome, Places, Processed, Protocol, Work};
use semel_core::store::{StoreLimits, Trouble};
use semel_core::{Context, Endpoint, Envelope, Store, StoreError};

use crate::bank::{Account, Deposit, accounts, one};

/// A protocol that gets nowhere, in its own way.
#[derive(Clone, Copy, Debug)]
enum Nowhere {
    /// It always says that another was faster.
    AlwaysConflicts,
    /// It reads on and on.
    ReadsForever,
    /// It takes the message and does nothing with it.
    NeverSettles,
    /// It draws an identity and begins anew.
    DrawsForever,
    Panics,
    GivesUp,
}

#[async_trait]
impl Protocol for Nowhere {
    fn name(&self) -> &'static str {
        "nowhere"
    }

    fn check(&self, _: &StoreLimits, _: &BrokerLimits) -> Result<(), String> {
        Ok(())
    }

    async fn process(&self, work: &Work<'_>) -> Outcome {
        let key = work.entity_key();
        let read = work.places.store.read(&key);
        match self {
            Self::AlwaysConflicts => match read.await {
                Ok(_) => Outcome::Conflict,
                Err(error) => error.into(),
            },
            Self::ReadsForever => loop {
                let _ = work.places.store.read(&key).await;
            },
            Self::NeverSettles => {
                let _ = read.await;
                Outcome::LeaseLost
            }
            Self::DrawsForever => {
                let _ = (read.await, work.places.entropy.bits());
                Outcome::Conflict
            }
            Self::Panics => panic!("no idea"),
            Self::GivesUp => Outcome::Broken(StoreError {
                trouble: Trouble::Broken,
                store: "here".to_owned(),
                operation: "process",
                reason: "it is broken".to_owned(),
                help: "Mend it.".to_owned(),
            }),
        }
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

    async fn finish(&self, _: &str, _: Places<'_>) -> Result<usize, StoreError> {
        Ok(0)
    }

    async fn discard(&self, _: &DeadLetter, _: Places<'_>) -> Outcome {
        Outcome::LeaseLost
    }
}

fn world(protocol: Nowhere) -> World {
    let endpoint: Endpoint = accounts().protocol(protocol);
    one(endpoint).workers(1).store(items_only()).deliveries_max(3)
}

#[track_caller]
fn cut(report: &Report, wanted: &str) {
    assert!(matches!(report.finding, Finding::NotExhausted), "{report}");
    assert!(report.coverage.cut.iter().any(|cut| cut.contains(wanted)), "{report}");
}

#[test]
fn a_round_that_always_begins_anew_is_a_livelock() {
    let report = world(Nowhere::AlwaysConflicts).check();
    assert_eq!(report.breach(), Some(&Breach::Livelock), "{report}");
    let found = report.assert_violated();
    assert!(found.trace.steps.len() <= 4, "{report}");
    let again = world(Nowhere::AlwaysConflicts).replay(&found.replay);
    assert_eq!(again.breach(), Some(&Breach::Livelock), "{again}");
}

#[test]
fn what_hits_a_bound_says_so_and_neither_passes_nor_fails() {
    cut(&world(Nowhere::ReadsForever).check(), "made 200 calls without coming to an end");
    cut(&world(Nowhere::NeverSettles).check(), "delivered 3 times to accounts");
    cut(&world(Nowhere::DrawsForever).check(), "began anew 12 times");
    cut(&one(accounts()).faults(2).states_max(100).check(), "100 states were explored");
}

#[test]
fn a_worker_that_cannot_go_on_is_reported_with_its_reason() {
    for (protocol, wanted) in [
        (Nowhere::Panics, "the protocol panicked: no idea"),
        (Nowhere::GivesUp, "the protocol gave up for good: here: process failed: it is broken"),
    ] {
        let report = world(protocol).check();
        let found = report.assert_violated();
        assert_eq!(found.violation.breach, Breach::Halted);
        assert!(found.violation.detail.contains(wanted), "{report}");
    }
}

/// Whoever answers himself is never done, and no two states are the same.
#[test]
fn a_message_that_begets_another_is_told_to_multiply() {
    fn again(account: &mut Account, message: Deposit, ctx: &mut Context) {
        account.pence += 1;
        let next = Deposit { account: format!("{}+", message.account), ..message };
        ctx.send("accounts", next);
    }
    let endpoint = Endpoint::new("accounts").handle(again);
    let report = one(endpoint).workers(1).states_max(50).check();
    assert!(matches!(report.finding, Finding::NotExhausted), "{report}");
    assert!(report.to_string().contains("does something multiply?"), "{report}");
}
