//! Messages that our client cannot receive.
//!
//! The server checks no headers; our client gives up the connection over ones that break the rules
//! of the protocol, or that claim to be a status of the server. Such a message would cut it each
//! time it is offered, so that it is looked for, after a cut, by a way that carries any bytes.

use semel_core::StoreError;
use semel_core::broker::FailureRecord;

use crate::Nats;
use crate::error::Failed;
use crate::names::CONSUMER;
use crate::receive::PUT_OFF_MAX;
use crate::record::Record;
use crate::topology::Queue;
use crate::wire::Expect;

/// How many messages are looked at.
const LOOKS_MAX: usize = 1_000;

impl Nats {
    /// Looks, once over each connection, whether a server that was killed offers again what was
    /// settled, and whether it left a consumer that forgot messages, and has that made anew.
    pub(crate) async fn check_consumer(&self, queue: &Queue) -> Result<(), StoreError> {
        // Whoever comes meanwhile waits for what is found.
        let mut checked = queue.checked.lock().await;
        let connects = self.wire.connects();
        if *checked == connects {
            return Ok(());
        }
        let look = async {
            queue.learn(self.graveyard(&queue.token).await?);
            self.renew_if_forgetful(queue).await
        };
        let renewed = look.await.map_err(|failed| {
            self.forget_if_gone(queue, &failed);
            self.failed("receive", failed)
        })?;
        if renewed {
            self.ensure_consumer(&queue.stream, &queue.subject).await?;
        }
        *checked = connects;
        Ok(())
    }

    async fn renew_if_forgetful(&self, queue: &Queue) -> Result<bool, Failed> {
        // Whatever was known may be of a life of the server that it has forgotten.
        self.tops.forget(&queue.stream);
        self.tops.forget(&self.names.state_stream());
        let is_forgetful = self.is_forgetful(queue).await?;
        if is_forgetful {
            self.removals.forget_stream(&queue.stream);
            tracing::warn!(stream = queue.stream, "the consumer forgot messages; it begins anew");
            let end = format!("CONSUMER.DELETE.{}.{CONSUMER}", queue.stream);
            self.wire.api::<serde_json::Value>(&end, &serde_json::json!({})).await?;
        }
        Ok(is_forgetful)
    }

    /// Parks what cannot be received among the messages that were offered and not settled.
    pub(crate) async fn quarantine(&self, queue: &Queue) -> Result<(), Failed> {
        let progress = self.progress(&queue.stream).await?;
        let mut from = progress.floor + 1;
        for _ in 0..LOOKS_MAX {
            if from > progress.delivered {
                break;
            }
            let next = self.wire.next(&queue.stream, &queue.subject, from).await?;
            let Some(message) = next.filter(|message| message.seq <= progress.delivered) else {
                break;
            };
            from = message.seq + 1;
            if message.is_receivable() {
                continue;
            }
            let (stream, sequence, stored) = (&queue.stream, message.seq, message.stored());
            let number = progress.consumer_sequence;
            let ack = format!("$JS.ACK.{stream}.{CONSUMER}.1.{sequence}.{number}.{stored}.0");
            self.park(queue, sequence, stored, &ack).await?;
            self.put_off(&ack, PUT_OFF_MAX).await;
        }
        Ok(())
    }

    /// Whether the consumer is ahead of its stream, or knows of fewer messages than that holds,
    /// twice: a server that was killed was seen to keep one that never offers some of them.
    async fn is_forgetful(&self, queue: &Queue) -> Result<bool, Failed> {
        for _ in 0..2 {
            // Asked in this order, so that a message that comes between is in the second answer.
            let progress = self.progress(&queue.stream).await?;
            let stream = self.stream_info(&queue.stream).await?.state;
            if progress.delivered > stream.last_seq {
                return Ok(true);
            }
            let held = stream.messages;
            if self.progress(&queue.stream).await?.known >= held {
                return Ok(false);
            }
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        }
        Ok(true)
    }

    async fn park(
        &self,
        queue: &Queue,
        sequence: u64,
        stored: i64,
        ack: &str,
    ) -> Result<(), Failed> {
        let found = self.record(&queue.token, sequence).await?;
        let (revision, record) = found.unwrap_or((0, Record::waiting(0, stored, ack)));
        if record.death.is_some() {
            return Ok(());
        }
        let failure = FailureRecord {
            at: self.clock.now(),
            reason: "its headers break the rules of NATS; the sender must be mended".to_owned(),
            worker: String::new(),
        };
        let next = record.taken(0, stored, ack).quarantined(&failure);
        tracing::warn!(stream = queue.stream, sequence, "parked a message that cannot be received");
        let put = self.put_record(&queue.token, sequence, &next, Expect::Last(revision)).await;
        match put {
            Ok(_) => Ok(()),
            // Another worker has seen it too.
            Err(failed) if failed.is_conflict() => Ok(()),
            Err(failed) => Err(failed),
        }
    }
}
