//! `replay`: an entity is a stream of versions, and a duplicate runs on the one before its first run.

use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::case::{self, Case, Conclude, into_error};
use super::entity::{self, Data, Entity, unreadable};
use super::{Outcome, Parking, Places, Processed, Protocol, Step, WINDOW, Work, pending};
use crate::broker::{BrokerLimits, DeadReason, Outgoing, SettleOutcome, Settlement};
use crate::context::outgoing;
use crate::operator::DeadLetter;
use crate::store::{StoreLimits, Trouble};
use crate::{Envelope, Store, StoreError, Timestamp, ids};

const NAME: &str = "replay";

/// How long a message waits whose committed attempt cannot be repeated.
const UNREPEATABLE: Duration = Duration::from_secs(60);

/// The entity is a stream of versions: for each message the state before it and the time it saw.
///
/// 1. Read the entity. If it has a version for the message: run the handler again on the state
///    before that version, at its time, and go to 4.
/// 2. Run the handler on the newest state.
/// 3. Commit the new state as a version, with a hash of the effects.
/// 4. Send the effects, and settle.
///
/// Effects are never written down: a handler that is a function of state, message, time and the ids
/// of its [`Context`](crate::Context) decides the same again. One that does not is found out by the
/// hash: then nothing is sent, and the message is parked for a person.
///
/// Versions are dropped once they are older than the window, or once there are too many of them; a
/// duplicate that comes later than that is processed again. Committed effects wait at most until the
/// message is delivered again. Budget: 1 read, 1 write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replay {
    /// How long a version is kept.
    pub window: Duration,
    /// How many versions of an entity are kept at most. A duplicate is recognised until so many other
    /// messages have been processed for its entity.
    pub versions_max: usize,
}

impl Default for Replay {
    /// Keeps versions for seven days, and a hundred of them.
    fn default() -> Self {
        Self { window: WINDOW, versions_max: 100 }
    }
}

/// What the entity remembers, oldest first.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Books {
    stream: Vec<Version>,
}

/// What one message made of the entity.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Version {
    message: String,
    /// The time that the attempt saw, in milliseconds since 1970.
    at_ms: i64,
    /// The state before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    before: Option<Data>,
    /// A hash of its effects; none for a message that was discarded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    effects: Option<String>,
}

impl Replay {
    async fn attempt(&self, work: &Work<'_>) -> Result<Outcome, Outcome> {
        let case = work.case();
        let mut entity = Entity::<Books>::load(&case, NAME).await?;
        if let Some(version) = entity.books.version(&case.message()) {
            let messages = rerun(work, version).await?;
            case.dispatch(messages).await?;
            return Ok(work.ack(Outcome::Duplicate).await);
        }

        let now = work.places.clock.now();
        let decision = work.decide_at(entity.state.clone(), now).await?;
        let messages = outgoing(work.endpoint, work.envelope, decision.effects, now);
        work.places.check_sizes(&messages)?;

        work.begin(Step::CommitState);
        let before = entity.state.replace(decision.state);
        self.append(&mut entity.books, &case, before, now, Some(hash(&messages)?));
        entity.save(&case).await?;

        case.dispatch(messages).await?;
        Ok(work.ack(Outcome::Processed).await)
    }

    fn append(
        &self,
        books: &mut Books,
        case: &Case<'_>,
        before: Option<bytes::Bytes>,
        now: Timestamp,
        effects: Option<String>,
    ) {
        let before = before.as_ref().map(Data::from);
        let (message, at_ms) = (case.message(), now.unix_ms());
        books.stream.push(Version { message, at_ms, before, effects });
        let window_ms = i64::try_from(self.window.as_millis()).unwrap_or(i64::MAX);
        let is_old = |version: &Version| at_ms.saturating_sub(version.at_ms) > window_ms;
        let surplus = books.stream.len().saturating_sub(self.versions_max.max(1));
        let mut position = 0;
        books.stream.retain(|version| {
            position += 1;
            position > surplus && !is_old(version)
        });
    }
}

impl Books {
    fn version(&self, message: &str) -> Option<&Version> {
        self.stream.iter().find(|version| version.message == message)
    }
}

/// The effects of the committed attempt, decided once more.
async fn rerun(work: &Work<'_>, version: &Version) -> Result<Vec<Outgoing>, Outcome> {
    let Some(effects) = &version.effects else { return Ok(Vec::new()) };
    let key = work.entity_key();
    let before = match &version.before {
        Some(before) => Some(before.bytes().map_err(|reason| unreadable(&key, reason))?),
        None => None,
    };
    let at = Timestamp::from_unix_ms(version.at_ms);
    let decision = work.decide_at(before, at).await?;
    let messages = outgoing(work.endpoint, work.envelope, decision.effects, at);
    if hash(&messages)? != *effects {
        return Err(Outcome::Refused(StoreError {
            trouble: Trouble::Unsupported,
            store: format!("the handler of `{}`", work.envelope.kind),
            operation: "decide again",
            reason: "it decides otherwise than the attempt that was committed, so nothing is sent"
                .to_owned(),
            help: "Replay the message under the version of it that decided then, or make it a \
                   function of state, message and context."
                .to_owned(),
        }));
    }
    Ok(messages)
}

/// A name for what an attempt wants to be sent.
fn hash(messages: &[Outgoing]) -> Result<String, StoreError> {
    let text = String::from_utf8_lossy(&pending::encode(messages)?).into_owned();
    Ok(ids::derive(&["effects", &text]).simple().to_string())
}

#[async_trait]
impl Protocol for Replay {
    fn name(&self) -> &'static str {
        NAME
    }

    fn check(&self, _: &StoreLimits, _: &BrokerLimits) -> Result<(), String> {
        Ok(())
    }

    async fn process(&self, work: &Work<'_>) -> Outcome {
        self.attempt(work).await.unwrap_or_else(|outcome| outcome)
    }

    async fn processed(
        &self,
        endpoint: &str,
        envelope: &Envelope,
        entity: Option<&str>,
        store: &dyn Store,
    ) -> Result<Processed, StoreError> {
        let has = |books: &Books, message: &str| books.version(message).is_some();
        entity::processed(endpoint, envelope, entity, store, NAME, has).await
    }

    /// A committed attempt is not parked because its handler fails: only a handler can send its effects,
    /// so the message waits for one that can.
    async fn park(&self, parking: &Parking<'_>) -> SettleOutcome {
        let committed = match Case::of_parking(parking) {
            Some(case) => self.conclude(&case).await,
            None => Ok(false),
        };
        let settlement = match committed {
            Err(outcome) => return SettleOutcome::Unknown(into_error(outcome)),
            // One that decides otherwise does so again, and one that ends its workers as well: these are
            // for a person.
            Ok(true) if parking.reason == DeadReason::HandlerFailed => {
                let failure = parking.failure.clone();
                Settlement::Retry { after: UNREPEATABLE, failure }
            }
            Ok(_) => parking.dead_letter(),
        };
        parking.places.broker.settle(parking.receipt, settlement).await
    }

    async fn discard(&self, dead: &DeadLetter, places: Places<'_>) -> Outcome {
        case::discard(self, dead, places).await
    }
}

#[async_trait]
impl Conclude for Replay {
    /// Its effects go out with the copy of the message that was committed: that one is not parked.
    async fn conclude(&self, case: &Case<'_>) -> Result<bool, Outcome> {
        let mut entity = Entity::<Books>::load(case, NAME).await?;
        let is_done = entity.books.version(&case.message()).is_some();
        if !is_done {
            entity.save(case).await?;
        }
        Ok(is_done)
    }

    async fn renounce(&self, case: &Case<'_>) -> Result<(), Outcome> {
        let mut entity = Entity::<Books>::load(case, NAME).await?;
        if entity.books.version(&case.message()).is_some() {
            return Ok(());
        }
        let before = entity.state.clone();
        self.append(&mut entity.books, case, before, case.places.clock.now(), None);
        entity.save(case).await
    }
}
