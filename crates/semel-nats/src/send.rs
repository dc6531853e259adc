//! Sending: one copy for each receiving endpoint, each confirmed by its stream.

use std::sync::Arc;
use std::time::Duration;

use async_nats::HeaderMap;
use futures_util::future::join_all;
use semel_core::broker::{Destination, Outgoing, SendOutcome};
use semel_core::store::Trouble;
use semel_core::{Envelope, StoreError, Timestamp};

use crate::Nats;
use crate::error::Failed;
use crate::message::{self, HEADER_BYTES_MAX};
use crate::record::Record;
use crate::topology::Queue;
use crate::wire::Expect;

const SEND: &str = "send";
/// How many messages are on their way at the same time.
const IN_FLIGHT_MAX: usize = 256;
/// Room in a message for what is added on the way.
const ADDED_BYTES_MAX: usize = 512;

/// A message that is ready to go, or why it is not.
type Prepared<'m> =
    Result<(Vec<Arc<Queue>>, HeaderMap, Option<Timestamp>, &'m Envelope), SendOutcome>;

impl Nats {
    pub(crate) async fn send_all(&self, messages: &[Outgoing]) -> Vec<SendOutcome> {
        let mut outcomes = Vec::with_capacity(messages.len());
        for batch in messages.chunks(IN_FLIGHT_MAX) {
            let mut prepared = Vec::with_capacity(batch.len());
            for message in batch {
                prepared.push(self.prepare(message).await);
            }
            // Polled in order, so that they go out in order.
            let sends = prepared.into_iter().map(|prepared| async move {
                match prepared {
                    Ok((queues, headers, due, envelope)) => {
                        self.publish_copies(&queues, &headers, due, envelope).await
                    }
                    Err(outcome) => outcome,
                }
            });
            outcomes.extend(join_all(sends).await);
        }
        outcomes
    }

    async fn prepare<'m>(&self, outgoing: &'m Outgoing) -> Prepared<'m> {
        let Outgoing { to, envelope, delay } = outgoing;
        if *delay > Duration::ZERO {
            self.set_clock().await;
        }
        let due = (*delay > Duration::ZERO).then(|| self.clock.now().after(*delay));
        let headers = self.encode(envelope, due).map_err(SendOutcome::Refused)?;
        let endpoints = match to {
            Destination::Endpoint(endpoint) => vec![endpoint.clone()],
            Destination::Subscribers => {
                self.subscribers_of(&envelope.kind).await.map_err(SendOutcome::Unknown)?
            }
        };
        let mut queues = Vec::with_capacity(endpoints.len());
        for endpoint in endpoints {
            let queue = self.queue(SEND, &endpoint).await;
            queues.push(queue.map_err(|error| match error.trouble {
                Trouble::Unsupported => SendOutcome::Refused(error),
                _ => SendOutcome::Unknown(error),
            })?);
        }
        Ok((queues, headers, due, envelope))
    }

    /// The headers of an envelope that can be sent.
    fn encode(&self, envelope: &Envelope, due: Option<Timestamp>) -> Result<HeaderMap, StoreError> {
        let refuse = |trouble, reason: String, help| Err(self.error(trouble, SEND, reason, help));
        if let Err(error) = envelope.validate() {
            let help = "Mend the envelope: it breaks the rules of CloudEvents.";
            return refuse(Trouble::Unsupported, error.to_string(), help);
        }
        let (size, limit) = (envelope.size(), self.message_bytes_max());
        if size > limit {
            let reason =
                format!("a `{}` has {size} bytes, and {limit} is the limit", envelope.kind);
            let help = "Send less in one piece, or raise the server's `max_payload`.";
            return refuse(Trouble::TooLarge, reason, help);
        }
        let headers = match message::encode(envelope, due) {
            Ok(headers) => headers,
            Err(reason) => {
                let help = "Mend the envelope: NATS has no header for this.";
                return refuse(Trouble::Unsupported, reason, help);
            }
        };
        let bytes = message::header_bytes(&headers);
        if bytes > HEADER_BYTES_MAX
            || bytes + envelope.data.len() + ADDED_BYTES_MAX > self.payload_max()
        {
            let reason = format!(
                "the attributes of a `{}` take {bytes} bytes as headers, and {HEADER_BYTES_MAX} \
                 is the limit of JetStream",
                envelope.kind
            );
            let help = "Move what is large from the attributes into the data.";
            return refuse(Trouble::TooLarge, reason, help);
        }
        Ok(headers)
    }

    /// Sends one copy to each queue. It is `Sent` when all are kept; where some may be, nobody
    /// knows, and whoever sends it again sends all of them again.
    async fn publish_copies(
        &self,
        queues: &[Arc<Queue>],
        headers: &HeaderMap,
        due: Option<Timestamp>,
        envelope: &Envelope,
    ) -> SendOutcome {
        let copies = queues.iter().map(|queue| self.publish_one(queue, headers, due, envelope));
        let mut refused = None;
        let mut sent = 0;
        for outcome in join_all(copies).await {
            match outcome {
                SendOutcome::Sent => sent += 1,
                SendOutcome::Refused(error) => refused = Some(error),
                SendOutcome::Unknown(error) => return SendOutcome::Unknown(error),
            }
        }
        match refused {
            None => SendOutcome::Sent,
            Some(error) if sent == 0 => SendOutcome::Refused(error),
            Some(error) => SendOutcome::Unknown(error),
        }
    }

    async fn publish_one(
        &self,
        queue: &Queue,
        headers: &HeaderMap,
        due: Option<Timestamp>,
        envelope: &Envelope,
    ) -> SendOutcome {
        let (stream, subject) = (&queue.stream, queue.subject.clone());
        let (headers, data) = (headers.clone(), envelope.data.clone());
        match self.wire.publish(stream, subject, headers, data, Expect::Anything).await {
            Ok(sequence) => {
                self.tops.saw(stream, sequence);
                if let Some(due) = due {
                    self.note_delay(queue, sequence, due).await;
                }
                SendOutcome::Sent
            }
            Err(failed) => {
                self.forget_if_gone(queue, &failed);
                let is_no = matches!(failed, Failed::Refused(_) | Failed::TooLarge(_));
                let error = self.failed(SEND, failed);
                if is_no && !error.is_passing() {
                    SendOutcome::Refused(error)
                } else {
                    SendOutcome::Unknown(error)
                }
            }
        }
    }

    /// Notes that a message waits, so that a person sees it. The header alone makes it wait.
    async fn note_delay(&self, queue: &Queue, sequence: u64, due: Timestamp) {
        let record = Record::waiting(due.unix_ms(), 0, "");
        let put = self.put_record(&queue.token, sequence, &record, Expect::Last(0)).await;
        if let Err(failed) =
            put.or_else(|failed| if failed.is_conflict() { Ok(0) } else { Err(failed) })
        {
            let error = self.failed("note a delay", failed);
            tracing::debug!(%error, "a delayed message is shown as ready until it is offered");
        }
    }
}
