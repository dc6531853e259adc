//! What replaying and discarding do to one dead letter.

use std::sync::Arc;
use std::time::Duration;

use semel::Backend;
use semel::core::StoreError;
use semel::core::broker::{SettleOutcome, Settlement};
use semel::core::operator::DeadLetter;
use semel::core::protocols::{self, Outcome, Processed, Protocol, Transactional};

use crate::failure::{Exit, Failure};

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
    Refused(StoreError),
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
    /// The default: this program does not know the endpoint's.
    Unknown,
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

/// Removes the letter as its endpoint's protocol does, so that no copy of it is processed later.
pub(super) async fn discard(dead: &DeadLetter, backend: &Backend) -> Result<Fate, Failure> {
    let (protocol, whose) = protocol_of(dead);
    match protocol.discard(dead, backend.places()).await {
        Outcome::Processed | Outcome::Duplicate => {
            let record = record(dead, &*protocol, backend).await;
            Ok(Fate::Discarded(Discarded { protocol: protocol.name(), whose, record }))
        }
        Outcome::LeaseLost | Outcome::Conflict => Ok(Fate::Gone),
        Outcome::Refused(error) => Ok(Fate::Refused(error)),
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

fn protocol_of(dead: &DeadLetter) -> (Arc<dyn Protocol>, Whose) {
    let default = || Arc::new(Transactional::default());
    match &dead.protocol {
        None => (default(), Whose::Default),
        Some(name) => match protocols::by_name(name) {
            Some(protocol) => (protocol, Whose::Endpoint),
            None => (default(), Whose::Unknown),
        },
    }
}

/// Asks the protocol itself what it remembers.
async fn record(dead: &DeadLetter, protocol: &dyn Protocol, backend: &Backend) -> Record {
    let Ok(envelope) = &dead.envelope else { return Record::Unreadable };
    match protocol.processed(&dead.endpoint, envelope, None, &**backend.store()).await {
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
