//! A model of a broker that drops what is sent again within a window of time. Not for use.

use std::time::Duration;

use bytes::Bytes;
use semel_core::broker::Outgoing;
use semel_core::protocols::{Outcome, Step, Work, message_key};
use semel_core::store::{Change, Expect, ItemKey, Keep, Space};

use super::{BROKER, kit};

/// A model of deduplication by the broker, not for use: Amazon SQS FIFO drops messages with a
/// `MessageDeduplicationId` that was sent within the last 5 minutes, NATS JetStream those with a
/// `Nats-Msg-Id` within its duplicate window, 2 minutes by default.
///
/// The consumer has no memory: it writes its state, sends its messages, and acknowledges, each on
/// its own.
///
/// Simplified: what the broker remembers lies in items of the store, each in one batch with the
/// message that it is of, as the broker does it inside. The copy of a message that came from outside
/// is dropped when it is received, not when it is sent. The order of FIFO queues is left out.
#[derive(Clone, Copy, Debug)]
pub struct BrokerWindow {
    /// How long the broker remembers an id.
    pub window: Duration,
}

kit::model!(BrokerWindow = "broker-window", needs Queue);

impl BrokerWindow {
    async fn attempt(&self, work: &Work<'_>) -> Result<Outcome, Outcome> {
        if !self.admits(work).await? {
            return Ok(work.ack(Outcome::Duplicate).await);
        }
        let (state, expect) = kit::load(work).await?;
        let (state, messages) = kit::decide(work, state).await?;

        work.begin(Step::CommitState);
        work.places.write(vec![kit::to_put_entity(work, state, expect)]).await?;

        work.begin(Step::Dispatch);
        for message in messages {
            self.send(work, message).await?;
        }
        Ok(work.ack(Outcome::Processed).await)
    }

    /// Whether the broker would have delivered this copy: not if it knows another one.
    async fn admits(&self, work: &Work<'_>) -> Result<bool, Outcome> {
        let message = format!("{} received", message_key(work.envelope));
        let copy = kit::copy_of(work).to_owned();
        match work.places.write(vec![self.to_remember(work, &message, &copy)]).await {
            Ok(_) => Ok(true),
            Err(Outcome::Conflict) => {
                let known = work.places.store.read(&memory_key(work, &message)).await?;
                Ok(known.is_none_or(|known| known.value == copy))
            }
            Err(outcome) => Err(outcome),
        }
    }

    /// Sends a message, unless the broker has seen its id: then it says that it has it.
    async fn send(&self, work: &Work<'_>, message: Outgoing) -> Result<(), Outcome> {
        let id = message_key(&message.envelope);
        let changes = vec![self.to_remember(work, &id, "sent"), Change::Enqueue(message)];
        match work.places.write(changes).await {
            Ok(_) | Err(Outcome::Conflict) => Ok(()),
            Err(outcome) => Err(outcome),
        }
    }

    fn to_remember(self, work: &Work<'_>, id: &str, what: &str) -> Change {
        Change::Put {
            key: memory_key(work, id),
            value: Bytes::copy_from_slice(what.as_bytes()),
            expect: Expect::Absent,
            keep: Keep::For(self.window),
        }
    }
}

fn memory_key(work: &Work<'_>, id: &str) -> ItemKey {
    ItemKey::new(Space::Inbox, format!("{BROKER}{}", work.endpoint), id)
}
