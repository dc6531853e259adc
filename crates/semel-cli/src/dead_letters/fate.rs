//! What replaying and discarding do to one dead letter.

use std::sync::Arc;
use std::time::Duration;

use semel::Backend;
use semel::core::StoreError;
use semel::core::broker::{SettleOutcome, Settlement};
use semel::core::operator::DeadLetter;
use semel::core::protocols::{self, Outcome, Processed, Protocol, Transactional};

use crate::failure::{Exit, Failure};

/// The protocol of handlers with SQL of their own, which needs a database to be made. It keeps the
/// books of `transactional`, and discards as that does.
const IN_TRANSACTION: &str = "in_transaction";

/// What to do with a dead letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Deed {
    /// Give it back to its endpoint.
    Replay,
    /// Remove it for good.
    Discard,
}

/// Whether to do it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// Do it.
    Act,
    /// Say what would be done.
    Rehearse,
}

/// What became of a dead letter.
#[derive(Debug)]
pub(super) enum Fate {
    /// Its endpoint has it again.
    Replayed,
    /// It is removed.
    Discarded(Discarded),
    /// It would have been replayed or discarded.
    Rehearsed,
    /// There is none with that number.
    NotFound,
    /// Someone else replayed or discarded it meanwhile.
    Gone,
    /// It cannot be done with this one.
    Refused(Refusal),
}

/// Why it cannot be done.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) reason: String,
    /// What a person can do about it: whole sentences.
    pub(super) help: String,
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        Self { reason: error.reason, help: error.help }
    }
}

/// How a dead letter was removed.
#[derive(Debug)]
pub(super) struct Discarded {
    /// The protocol whose discard step was taken.
    pub(super) protocol: &'static str,
    /// Whether that is the endpoint's own.
    pub(super) whose: Whose,
    /// Whether copies are recognised.
    pub(super) record: Record,
}

/// Whose protocol it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whose {
    /// The endpoint's.
    Endpoint,
    /// The default: no worker has registered the endpoint.
    Default,
}

/// Whether copies of a discarded message are recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Record {
    /// The message is recorded as processed.
    Written,
    /// The protocol remembers nothing.
    None,
    /// The message has no identity that could be recorded.
    Unreadable,
    /// The store did not say.
    Unclear,
}

/// Gives the letter back to its endpoint, at once and with all its tries.
pub(super) async fn replay(dead: &DeadLetter, backend: &Backend) -> Result<Fate, Failure> {
    let release = Settlement::Release { after: Duration::ZERO };
    match backend.broker().settle(&dead.receipt, release).await {
        SettleOutcome::Settled => Ok(Fate::Replayed),
        SettleOutcome::Stale => Ok(Fate::Gone),
        SettleOutcome::Unknown(error) => Err(unsure(dead, "replayed", error)),
    }
}

/// What would become of the letter, as far as can be told without doing it.
pub(super) fn rehearse(dead: &DeadLetter, deed: Deed) -> Fate {
    match (deed, protocol_of(dead)) {
        (Deed::Discard, Err(refusal)) => Fate::Refused(refusal),
        (Deed::Discard | Deed::Replay, _) => Fate::Rehearsed,
    }
}

/// Removes the letter as its endpoint's protocol does, so that no copy of it is processed later.
pub(super) async fn discard(dead: &DeadLetter, backend: &Backend) -> Result<Fate, Failure> {
    match protocol_of(dead) {
        Ok((protocol, whose)) => discard_as(&*protocol, whose, dead, backend).await,
        Err(refusal) => Ok(Fate::Refused(refusal)),
    }
}

async fn discard_as(
    protocol: &dyn Protocol,
    whose: Whose,
    dead: &DeadLetter,
    backend: &Backend,
) -> Result<Fate, Failure> {
    match protocol.discard(dead, backend.places()).await {
        Outcome::Processed | Outcome::Duplicate | Outcome::Deferred => {
            let record = record(dead, protocol, backend).await;
            Ok(Fate::Discarded(Discarded { protocol: protocol.name(), whose, record }))
        }
        Outcome::LeaseLost | Outcome::Conflict => Ok(Fate::Gone),
        Outcome::Refused(error) => Ok(Fate::Refused(error.into())),
        Outcome::Unavailable(error) | Outcome::Broken(error) => {
            Err(unsure(dead, "discarded", error))
        }
        Outcome::HandlerFailed(failure) => Err(Failure::new(
            Exit::Store,
            format!("dead letter {}: {}", dead.number, failure.reason()),
            "A protocol ran a handler to discard a message: report this as a defect.",
        )),
    }
}

/// The protocol whose books say what was processed. Under another's, a copy of the message that
/// still comes would be processed, and nobody would know why: an unknown one is refused.
fn protocol_of(dead: &DeadLetter) -> Result<(Arc<dyn Protocol>, Whose), Refusal> {
    let Some(name) = &dead.protocol else {
        return Ok((Arc::new(Transactional::default()), Whose::Default));
    };
    if name == IN_TRANSACTION {
        return Ok((Arc::new(Transactional::default()), Whose::Endpoint));
    }
    let known = protocols::by_name(name).map(|protocol| (protocol, Whose::Endpoint));
    known.ok_or_else(|| Refusal {
        reason: format!("this program does not know `{name}`, the protocol of `{}`", dead.endpoint),
        help: "Run a `semel` that is as new as the endpoint's workers. A letter of a protocol of \
               your own is discarded by your own program: `Protocol::discard`."
            .to_owned(),
    })
}

/// Whether the letter's message, or a copy of it, has a committed attempt, as far as its endpoint's
/// protocol remembers; `None` where that cannot be told.
pub(super) async fn is_processed(dead: &DeadLetter, backend: &Backend) -> Option<bool> {
    // Without a registration, nobody knows in which books to look.
    let (protocol, Whose::Endpoint) = protocol_of(dead).ok()? else { return None };
    match record(dead, &*protocol, backend).await {
        Record::Written => Some(true),
        Record::None => Some(false),
        Record::Unreadable | Record::Unclear => None,
    }
}

/// Asks the protocol itself what it remembers.
async fn record(dead: &DeadLetter, protocol: &dyn Protocol, backend: &Backend) -> Record {
    let Ok(envelope) = &dead.envelope else { return Record::Unreadable };
    let entity = dead.entity.as_deref();
    match protocol.processed(&dead.endpoint, envelope, entity, &**backend.store()).await {
        Ok(Processed::Yes) => Record::Written,
        Ok(Processed::Unknown) => Record::None,
        Err(_) => Record::Unclear,
    }
}

fn unsure(dead: &DeadLetter, done: &str, error: StoreError) -> Failure {
    let StoreError { store, operation, reason, help, .. } = error;
    Failure::new(
        Exit::Store,
        format!(
            "dead letter {} may or may not have been {done}: {store}: {operation} failed: {reason}",
            dead.number
        ),
        format!(
            "{help} Then run the same command again: what was {done} already is not {done} twice."
        ),
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::sync::Mutex;

    use async_trait::async_trait;
    use semel::core::Store;
    use semel::core::broker::{BrokerLimits, DeadReason, Receipt};
    use semel::core::protocols::{Places, Work};
    use semel::core::store::StoreLimits;
    use semel::{Envelope, Timestamp};

    use super::*;

    /// Notes which entities it is told, and does nothing.
    #[derive(Debug, Default)]
    struct Clerk(Mutex<Vec<Option<String>>>);

    #[async_trait]
    impl Protocol for Clerk {
        fn name(&self) -> &'static str {
            "clerk"
        }

        fn check(&self, _: &StoreLimits, _: &BrokerLimits) -> Result<(), String> {
            Ok(())
        }

        async fn process(&self, _: &Work<'_>) -> Outcome {
            Outcome::Duplicate
        }

        async fn processed(
            &self,
            _: &str,
            _: &Envelope,
            entity: Option<&str>,
            _: &dyn Store,
        ) -> Result<Processed, StoreError> {
            self.0.lock().unwrap().push(entity.map(str::to_owned));
            Ok(Processed::Yes)
        }

        async fn discard(&self, dead: &DeadLetter, _: Places<'_>) -> Outcome {
            self.0.lock().unwrap().push(dead.entity.clone());
            Outcome::Processed
        }
    }

    fn dead(entity: Option<&str>, protocol: &str) -> DeadLetter {
        DeadLetter {
            number: 7,
            endpoint: "payments".to_owned(),
            protocol: Some(protocol.to_owned()),
            envelope: Ok(Envelope::new("1", "/tills", "payment.charge", b"{}".as_slice())),
            entity: entity.map(str::to_owned),
            raw: b"{}".as_slice().into(),
            reason: DeadReason::HandlerFailed,
            dead_since: Timestamp::default(),
            deliveries: 1,
            failures: Vec::new(),
            receipt: Receipt::new("7"),
        }
    }

    #[tokio::test]
    async fn the_protocol_is_told_the_entity_of_what_it_discards() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("shop.db").display());
        let backend = semel::open(&url).await.unwrap();
        for entity in [Some("order-7"), None] {
            let (clerk, dead) = (Clerk::default(), dead(entity, "clerk"));
            let fate = discard_as(&clerk, Whose::Endpoint, &dead, &backend).await;
            assert!(matches!(fate, Ok(Fate::Discarded(Discarded { record: Record::Written, .. }))));
            let entity = entity.map(str::to_owned);
            assert_eq!(clerk.0.into_inner().unwrap(), [entity.clone(), entity]);
        }
    }

    #[test]
    fn a_rehearsal_tells_what_would_be_refused() {
        let refused =
            |protocol, deed| matches!(rehearse(&dead(None, protocol), deed), Fate::Refused(_));
        assert!(refused("clerk", Deed::Discard));
        assert!(!refused("clerk", Deed::Replay), "any worker of it may take it again");
        assert!(!refused("transactional", Deed::Discard));
    }
}
