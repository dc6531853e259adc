//! `outbox_inbox`: state and pending effects in the entity, processed ids beside it for a window.

use std::collections::BTreeMap;

use semel_core::protocols::{Outcome, Step, Work, message_key};
use semel_core::store::{Expect, Keep};
use serde::{Deserialize, Serialize};

use super::kit::{self, Kept, Raw};

/// What is wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mutant {
    /// Nothing.
    Correct,
    /// The inbox is read before the entity (trap 1).
    ReadsInboxFirst,
    /// The pending effects are cleared before the inbox knows the message (trap 5).
    ClearsFirst,
    /// The inbox remembers for good.
    RemembersForever,
}

/// Budget: 2 reads, 3 writes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OutboxInbox(pub(crate) Mutant);

kit::protocol!(OutboxInbox = "outbox-inbox");

#[derive(Default, Serialize, Deserialize)]
struct Document {
    state: Option<Raw>,
    pending: BTreeMap<String, Vec<Kept>>,
}

impl OutboxInbox {
    async fn attempt(&self, work: &Work<'_>) -> Result<Outcome, Outcome> {
        let message = message_key(work.envelope);
        let mut is_done = false;
        if self.0 == Mutant::ReadsInboxFirst {
            is_done = is_remembered(work).await?;
        }

        let (mut document, expect) = kit::load::<Document>(work).await?;
        if document.pending.contains_key(&message) {
            return self.publish(work, document, expect, Outcome::Duplicate).await;
        }
        // After the entity: what was committed before its version is pending there, or was cleared
        // once the inbox knew it.
        if self.0 != Mutant::ReadsInboxFirst {
            is_done = is_remembered(work).await?;
        }
        if is_done {
            return Ok(work.ack(Outcome::Duplicate).await);
        }

        let (state, messages) = kit::decide(work, document.state.as_ref()).await?;

        work.begin(Step::CommitState);
        document.state = Some(state);
        document.pending.insert(message, messages);
        let expect = kit::put_entity(work, &document, expect).await?;

        self.publish(work, document, expect, Outcome::Processed).await
    }

    /// Dispatches what a committed attempt left pending, and ends the delivery.
    async fn publish(
        &self,
        work: &Work<'_>,
        mut document: Document,
        expect: Expect,
        outcome: Outcome,
    ) -> Result<Outcome, Outcome> {
        let messages = document.pending.remove(&message_key(work.envelope)).unwrap_or_default();
        kit::dispatch(work, &messages).await?;

        work.begin(Step::ClearOutbox);
        let keep = match self.0 {
            Mutant::RemembersForever => Keep::Always,
            _ => Keep::For(kit::WINDOW),
        };
        let remember = kit::to_put(kit::inbox_key(work), &work.entity, Expect::Anything, keep);
        if self.0 == Mutant::ClearsFirst {
            kit::put_entity(work, &document, expect).await?;
            kit::write(work.places, remember).await?;
        } else {
            kit::write(work.places, remember).await?;
            kit::put_entity(work, &document, expect).await?;
        }
        Ok(work.ack(outcome).await)
    }
}

async fn is_remembered(work: &Work<'_>) -> Result<bool, Outcome> {
    work.begin(Step::CheckInbox);
    Ok(work.places.store.read(&kit::inbox_key(work)).await?.is_some())
}
