//! From the consumer's hand to a lease of ours.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use async_nats::{HeaderMap, Message};
use futures_util::future::join_all;
use semel_core::StoreError;
use semel_core::broker::{Delivery, Receipt, Receive};

use crate::error::Failed;
use crate::message;
use crate::names::CONSUMER;
use crate::receipt::{Arrival, Held};
use crate::record::{Record, State};
use crate::removal::{Left, RECORD_KEPT, Settled};
use crate::topology::Queue;
use crate::wire::{Expect, PULL_WAIT_MAX, nanos};
use crate::{Nats, RECEIVE_MAX};

/// How long the consumer keeps a dead letter to itself before it offers it again, to be put off
/// once more: it is woken by whoever replays it.
pub(crate) const DEAD_ALARM: Duration = Duration::from_secs(3600);
/// How long the consumer can be told to wait: its own sum of times must not overflow.
pub(crate) const PUT_OFF_MAX: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
/// How often a record is looked at again that changed under our hands.
const LOOKS_MAX: usize = 8;

/// What a look at a record says about a message that was handed out.
enum Step {
    /// It is ours, under this record.
    Take(Record),
    /// It is not its time yet; perhaps a record must say so first.
    Hold(Duration, Option<Record>),
    /// It was settled, and is only to be removed.
    Remove,
}

/// What came of one pull.
#[derive(Default)]
struct Taken {
    /// How many messages were handed out to us.
    pulled: usize,
    /// Those that are ours.
    deliveries: Vec<Delivery>,
}

fn decide(
    seen: Option<&Record>,
    due: Option<i64>,
    arrival: &Arrival,
    now: i64,
    until: i64,
) -> Step {
    let span = |until: i64| Duration::from_millis(u64::try_from(until - now).unwrap_or(0));
    let (stored, ack) = (arrival.stored, arrival.ack.as_str());
    // The record of a message that lay there before the stream was deleted and made again.
    let seen = seen.filter(|record| record.is_of(stored));
    match seen {
        None => match due.filter(|due| *due > now) {
            Some(due) => Step::Hold(span(due), Some(Record::waiting(due, stored, ack))),
            None => Step::Take(Record::waiting(now, stored, ack).taken(until, stored, ack)),
        },
        Some(record) => match record.state {
            State::Leased | State::Waiting if record.until > now => {
                Step::Hold(span(record.until), None)
            }
            State::Leased | State::Waiting => Step::Take(record.taken(until, stored, ack)),
            State::Dead => Step::Hold(DEAD_ALARM, None),
            State::Done => Step::Remove,
        },
    }
}

/// The word that puts a message off.
fn later(span: Duration) -> String {
    match nanos(span.min(PUT_OFF_MAX)) {
        0 => "-NAK".to_owned(),
        span => format!("-NAK {{\"delay\": {span}}}"),
    }
}

impl Nats {
    pub(crate) async fn receive_from(
        &self,
        queue: &Queue,
        request: &Receive,
    ) -> Result<Vec<Delivery>, StoreError> {
        let max = request.max.min(RECEIVE_MAX);
        let start = Instant::now();
        self.set_clock().await;
        if queue.is_suspect.swap(false, Ordering::Relaxed) {
            self.quarantine(queue).await.map_err(|failed| {
                queue.is_suspect.store(true, Ordering::Relaxed);
                self.forget_if_gone(queue, &failed);
                self.failed("receive", failed)
            })?;
        }
        loop {
            let found = self.take(queue, max, None, request.lease).await?;
            if !found.deliveries.is_empty() {
                return Ok(found.deliveries);
            }
            // What is not to be had yet was put off: behind it there may be more.
            if found.pulled > 0 {
                continue;
            }
            let left = request.wait.saturating_sub(start.elapsed());
            if left.is_zero() {
                return Ok(Vec::new());
            }
            let wait = left.min(PULL_WAIT_MAX);
            let mut first = self.take(queue, 1, Some(wait), request.lease).await?.deliveries;
            if !first.is_empty() {
                if max > 1 {
                    // Nothing more is no error, and what came is ours already.
                    let more = self.take(queue, max - 1, None, request.lease).await;
                    first.extend(more.unwrap_or_default().deliveries);
                }
                return Ok(first);
            }
        }
    }

    /// Pulls, and leases what was pulled.
    async fn take(
        &self,
        queue: &Queue,
        max: usize,
        wait: Option<Duration>,
        lease: Duration,
    ) -> Result<Taken, StoreError> {
        let asked = Instant::now();
        let pulled = match self.wire.pull(&queue.stream, CONSUMER, max, wait).await {
            Ok(pulled) => {
                if pulled.was_cut {
                    queue.is_suspect.store(true, Ordering::Relaxed);
                }
                pulled.messages
            }
            Err(failed) => {
                queue.is_suspect.store(true, Ordering::Relaxed);
                // Its server may have died where ours did not.
                queue.look_again().await;
                self.forget_if_gone(queue, &failed);
                return Err(self.failed("receive", failed));
            }
        };
        // They may have come over another connection than the one of the last look.
        self.check_consumer(queue).await?;
        let claims = pulled.iter().map(|message| self.claim(queue, message, lease, asked));
        let mut deliveries = Vec::new();
        let mut failed = None;
        for claimed in join_all(claims).await {
            match claimed {
                Ok(delivery) => deliveries.extend(delivery),
                Err(error) => failed = Some(error),
            }
        }
        match failed {
            Some(error) if deliveries.is_empty() => Err(self.failed("receive", error)),
            failed => {
                if let Some(error) = failed {
                    let error = self.failed("receive", error);
                    tracing::warn!(%error, "a message could not be leased; it comes again");
                }
                deliveries.sort_by_key(|(sequence, _)| *sequence);
                let deliveries = deliveries.into_iter().map(|(_, delivery)| delivery).collect();
                Ok(Taken { pulled: pulled.len(), deliveries })
            }
        }
    }

    /// Notes a lease for a message that was handed out to us; nothing if it is not to be had.
    async fn claim(
        &self,
        queue: &Queue,
        message: &Message,
        lease: Duration,
        asked: Instant,
    ) -> Result<Option<(u64, Delivery)>, Failed> {
        let ack = message.reply.as_ref().map(ToString::to_string).unwrap_or_default();
        let Some(arrival) = Arrival::parse(&ack) else {
            return Err(Failed::Garbled(format!("`{ack}` is no subject of a consumer")));
        };
        self.tops.saw(&queue.stream, arrival.sequence);
        if queue.was_settled(arrival.sequence, arrival.stored) {
            self.remove_offered(queue, &arrival, None).await?;
            return Ok(None);
        }
        let headers = message::pairs(message.headers.as_ref());
        let due = message::due(&headers);
        let mut seen = match arrival.handed_out {
            // Most have no record yet: creating one finds out.
            1 if due.is_none() => None,
            _ => self.record(&queue.token, arrival.sequence).await?,
        };
        for _ in 0..LOOKS_MAX {
            let now = self.clock.now();
            let until = now.after(lease).unix_ms();
            let record = seen.as_ref().map(|(_, record)| record);
            let expect = Expect::Last(seen.as_ref().map_or(0, |(revision, _)| *revision));
            let (next, hold) = match decide(record, due, &arrival, now.unix_ms(), until) {
                Step::Remove => {
                    if let Some((revision, _)) = seen {
                        self.remove_offered(queue, &arrival, Some(revision)).await?;
                    }
                    return Ok(None);
                }
                Step::Hold(span, None) => {
                    self.put_off(&ack, span).await;
                    return Ok(None);
                }
                Step::Hold(span, Some(next)) => (next, Some(span)),
                Step::Take(next) => (next, None),
            };
            // The two touch different things: the record is the truth, the other its alarm.
            self.set_alarm(&ack, hold.unwrap_or(lease)).await;
            match self.put_record(&queue.token, arrival.sequence, &next, expect).await {
                Ok(_) if hold.is_some() => return Ok(None),
                Ok(revision) => {
                    let first = expect == Expect::Last(0);
                    let late = asked.elapsed() > RECORD_KEPT.min(queue.hand_over) / 2;
                    if first && (arrival.handed_out > 1 || late) {
                        // It may have been settled, record and all, while we held it.
                        if self.wire.get(&queue.stream, arrival.sequence).await?.is_none() {
                            self.remove_later(queue, &arrival, Some(revision), Left::Unknown).await;
                            return Ok(None);
                        }
                    }
                    let delivery =
                        self.delivery(queue, message, &headers, &next, revision, &arrival);
                    return Ok(Some((arrival.sequence, delivery)));
                }
                Err(failed) if failed.is_conflict() => {
                    seen = self.record(&queue.token, arrival.sequence).await?;
                }
                Err(failed) => return Err(failed),
            }
        }
        Ok(None)
    }

    /// A settled message was offered again, because nobody has removed it yet.
    async fn remove_offered(
        &self,
        queue: &Queue,
        arrival: &Arrival,
        revision: Option<u64>,
    ) -> Result<(), Failed> {
        if !self.is_below_top(&queue.stream, arrival.sequence).await? {
            self.put_off(&arrival.ack, DEAD_ALARM).await;
        }
        self.remove_later(queue, arrival, revision, Left::Message).await;
        Ok(())
    }

    async fn remove_later(
        &self,
        queue: &Queue,
        arrival: &Arrival,
        revision: Option<u64>,
        left: Left,
    ) {
        let Arrival { sequence, stored, .. } = *arrival;
        let token = queue.token.clone();
        self.removals.add(Settled { token, sequence, stored, revision, left }).await;
    }

    fn delivery(
        &self,
        queue: &Queue,
        message: &Message,
        headers: &[(String, String)],
        record: &Record,
        revision: u64,
        arrival: &Arrival,
    ) -> Delivery {
        let held = Held {
            token: queue.token.clone(),
            sequence: arrival.sequence,
            delivery: revision,
            is_dead: false,
            ack: arrival.ack.clone(),
        };
        Delivery {
            receipt: Receipt::new(held.to_string()),
            envelope: message::decode(headers, message.payload.clone()),
            deliveries: record.deliveries,
            failures: record.failures(),
            failure_count: record.failure_count,
        }
    }

    /// Tells the consumer when to offer a message again. A word that is lost costs time alone: the
    /// record says whose the message is.
    pub(crate) async fn put_off(&self, ack: &str, span: Duration) {
        self.note_told(self.wire.tell(ack, later(span)).await);
    }

    /// The same, without waiting for the consumer's word.
    async fn set_alarm(&self, ack: &str, span: Duration) {
        self.note_told(self.wire.mention(ack, later(span)).await);
    }

    fn note_told(&self, told: Result<(), Failed>) {
        if let Err(failed) = told {
            let error = self.failed("put off a message", failed);
            tracing::debug!(%error, "the server may offer a message early or late");
        }
    }

    pub(crate) async fn record(
        &self,
        token: &str,
        sequence: u64,
    ) -> Result<Option<(u64, Record)>, Failed> {
        let subject = self.names.record_subject(token, sequence);
        let found = self.wire.only(&self.names.state_stream(), &subject).await?;
        Ok(found.map(|found| (found.seq, Record::read(&found.data()))))
    }

    pub(crate) async fn put_record(
        &self,
        token: &str,
        sequence: u64,
        record: &Record,
        expect: Expect,
    ) -> Result<u64, Failed> {
        let subject = self.names.record_subject(token, sequence);
        let stream = self.names.state_stream();
        let body = record.write().into();
        let put = self.wire.publish(&stream, subject, HeaderMap::new(), body, expect).await?;
        self.tops.saw(&stream, put);
        Ok(put)
    }
}
