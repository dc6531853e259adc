//! The record of a message in work: its lease, its history, its fate.
//!
//! The message itself never moves. Its record is changed by compare-and-set alone, so that of two
//! who decide, one does; the consumer's timers are but the alarm clock that brings it back.

use semel_core::Timestamp;
use semel_core::broker::{DeadReason, FailureRecord, Settlement};
use serde::{Deserialize, Serialize};

/// How many failures are kept with a message.
const FAILURES_MAX: usize = 20;
/// How long the reason of a failure may be: all kept ones together must fit into one message.
const REASON_BYTES_MAX: usize = 8 * 1024;

/// What is to become of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum State {
    /// A worker has it, until a time.
    Leased,
    /// It waits for a time.
    Waiting,
    /// It is parked for a person.
    Dead,
    /// It is to be removed.
    Done,
}

/// One record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) state: State,
    /// When its lease or its wait ends, in milliseconds since the Unix epoch.
    pub(crate) until: i64,
    /// When its message was stored, in nanoseconds: tells it from that of a stream which was
    /// deleted and made again; 0 where its writer could not tell.
    #[serde(default)]
    pub(crate) stored: i64,
    /// The revision that began this delivery, if this is not that one: a lease was extended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) delivery: Option<u64>,
    #[serde(default)]
    pub(crate) deliveries: u32,
    #[serde(default)]
    pub(crate) failure_count: u32,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) failures: Vec<KeptFailure>,
    /// The subject under which the consumer is told about its message.
    #[serde(default)]
    pub(crate) ack: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) death: Option<Death>,
}

/// A failure as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KeptFailure {
    at: i64,
    reason: String,
    worker: String,
}

/// Why and since when a message is dead.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Death {
    pub(crate) reason: String,
    pub(crate) since: i64,
    #[serde(default)]
    pub(crate) entity: Option<String>,
}

impl Death {
    /// A reason that a newer version wrote is a failure to this one.
    pub(crate) fn reason(&self) -> DeadReason {
        let known = DeadReason::ALL.into_iter().find(|known| known.name() == self.reason);
        known.unwrap_or(DeadReason::HandlerFailed)
    }
}

impl KeptFailure {
    fn of(failure: &FailureRecord) -> Self {
        Self {
            at: failure.at.unix_ms(),
            reason: cut(&failure.reason),
            worker: cut(&failure.worker),
        }
    }

    fn read(&self) -> FailureRecord {
        FailureRecord {
            at: Timestamp::from_unix_ms(self.at),
            reason: self.reason.clone(),
            worker: self.worker.clone(),
        }
    }
}

/// `text` up to a length that surely fits.
fn cut(text: &str) -> String {
    if text.len() <= REASON_BYTES_MAX {
        return text.to_owned();
    }
    let end = (0..=REASON_BYTES_MAX).rev().find(|end| text.is_char_boundary(*end));
    format!("{} … ({} bytes in all)", &text[..end.unwrap_or(0)], text.len())
}

impl Record {
    /// The record of a message that waits for its first delivery.
    pub(crate) fn waiting(until: i64, stored: i64, ack: &str) -> Self {
        Self {
            state: State::Waiting,
            until,
            stored,
            delivery: None,
            deliveries: 0,
            failure_count: 0,
            failures: Vec::new(),
            ack: ack.to_owned(),
            death: None,
        }
    }

    /// Reads a record. One that cannot be read is no reason to lose a message: it is one without
    /// a history, and says why.
    pub(crate) fn read(bytes: &[u8]) -> Self {
        serde_json::from_slice(bytes).unwrap_or_else(|error| {
            let mut record = Self::waiting(0, 0, "");
            record.failures.push(KeptFailure {
                at: 0,
                reason: format!("unreadable history: {error}"),
                worker: String::new(),
            });
            record
        })
    }

    pub(crate) fn write(&self) -> Vec<u8> {
        // Numbers and strings: it cannot fail.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// The delivery that this record, at `revision`, speaks of.
    pub(crate) fn delivery(&self, revision: u64) -> u64 {
        self.delivery.unwrap_or(revision)
    }

    /// Whether it speaks of the message that was stored then.
    pub(crate) fn is_of(&self, stored: i64) -> bool {
        // A sender that notes a delay does not know when its message was stored.
        self.stored == stored || (self.stored == 0 && self.state == State::Waiting)
    }

    pub(crate) fn failures(&self) -> Vec<FailureRecord> {
        self.failures.iter().map(KeptFailure::read).collect()
    }

    /// The record of its next delivery.
    pub(crate) fn taken(&self, until: i64, stored: i64, ack: &str) -> Self {
        Self {
            state: State::Leased,
            until,
            stored,
            delivery: None,
            deliveries: self.deliveries.saturating_add(1),
            ack: ack.to_owned(),
            death: None,
            ..self.clone()
        }
    }

    /// The same delivery with another end.
    pub(crate) fn extended(&self, delivery: u64, until: i64) -> Self {
        Self { until, delivery: Some(delivery), ..self.clone() }
    }

    /// What a settlement makes of it; none if it has nothing to say here.
    pub(crate) fn settled(&self, settlement: &Settlement, now: Timestamp) -> Option<Self> {
        let mut next = Self { delivery: None, death: None, ..self.clone() };
        match (self.state, settlement) {
            (State::Leased | State::Dead, Settlement::Ack) => {
                next.state = State::Done;
                next.failures.clear();
            }
            (State::Leased, Settlement::Release { after }) => {
                next.state = State::Waiting;
                next.until = now.after(*after).unix_ms();
                // Given back without blame: the delivery does not count.
                next.deliveries = self.deliveries.saturating_sub(1);
            }
            (State::Leased, Settlement::Retry { after, failure }) => {
                next.state = State::Waiting;
                next.until = now.after(*after).unix_ms();
                next.failed(failure);
            }
            (State::Leased, Settlement::DeadLetter { reason, failure, entity }) => {
                next.state = State::Dead;
                next.failed(failure);
                let reason = reason.name().to_owned();
                let since = now.unix_ms();
                next.death = Some(Death { reason, since, entity: entity.clone() });
            }
            // A dead letter is replayed: with its history, and with all its tries.
            (State::Dead, Settlement::Release { after }) => {
                next.state = State::Waiting;
                next.until = now.after(*after).unix_ms();
                (next.deliveries, next.failure_count) = (0, 0);
            }
            _ => return None,
        }
        Some(next)
    }

    /// The record of a message that our client cannot even receive.
    pub(crate) fn quarantined(&self, failure: &FailureRecord) -> Self {
        let mut next = Self { state: State::Dead, delivery: None, ..self.clone() };
        next.failed(failure);
        next.death = Some(Death {
            reason: DeadReason::Undecodable.name().to_owned(),
            since: failure.at.unix_ms(),
            entity: None,
        });
        next
    }

    fn failed(&mut self, failure: &FailureRecord) {
        self.failure_count = self.failure_count.saturating_add(1);
        self.failures.push(KeptFailure::of(failure));
        let newest = self.failures.len().saturating_sub(FAILURES_MAX);
        self.failures.drain(..newest);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use semel_core::Timestamp;
    use semel_core::broker::{FailureRecord, Settlement};

    use super::{Record, State};

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let failure = FailureRecord {
            at: Timestamp::from_unix_ms(7),
            reason: "ä\n'x'".repeat(9_000),
            worker: "w".to_owned(),
        };
        let retry = Settlement::Retry { after: Duration::ZERO, failure };
        let mut record = Record::waiting(5, 6, "$JS.ACK");
        for _ in 0..25 {
            record = record.taken(9, 6, "$JS.ACK").settled(&retry, Timestamp::default()).unwrap();
        }
        assert_eq!(Record::read(&record.write()), record);
        assert_eq!((record.deliveries, record.failure_count, record.failures.len()), (25, 25, 20));
        assert!(record.write().len() < 500_000, "it fits into one message");
    }

    #[test]
    fn an_unreadable_record_is_a_message_that_waits_no_longer() {
        for bytes in [&b"not json"[..], b"", b"{\"state\":\"newer\",\"until\":1}"] {
            let record = Record::read(bytes);
            assert_eq!((record.state, record.until), (State::Waiting, 0));
            assert_eq!(record.failures().len(), 1);
        }
    }
}
