//! `inbox`: ids in the entity, derived ids, and effects that are decided again for a duplicate.
//!
//! Identity-based deduplication as it is usually built.

use std::collections::BTreeSet;

use semel_core::protocols::{Outcome, Step, Work, message_key};
use serde::{Deserialize, Serialize};

use super::kit::{self, Raw};

/// Budget: 1 read, 1 write.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Inbox;

kit::protocol!(Inbox = "inbox");

#[derive(Default, Serialize, Deserialize)]
struct Document {
    state: Option<Raw>,
    done: BTreeSet<String>,
}

impl Inbox {
    async fn attempt(&self, work: &Work<'_>) -> Result<Outcome, Outcome> {
        let message = message_key(work.envelope);
        let (mut document, expect) = kit::load::<Document>(work).await?;
        let (state, messages) = kit::decide(work, document.state.as_ref()).await?;

        if !document.done.contains(&message) {
            work.begin(Step::CommitState);
            document.state = Some(state);
            document.done.insert(message);
            kit::put_entity(work, &document, expect).await?;
        }

        kit::dispatch(work, &messages).await?;
        Ok(work.ack(Outcome::Processed).await)
    }
}
