//! A model of a table of processed ids that is asked before the work. Not for use.

use std::time::Duration;

use bytes::Bytes;
use semel_core::protocols::{Outcome, Step, Work};
use semel_core::store::{Change, Expect, Keep};

use super::kit;

/// A model of an inbox table beside the state, not for use: look the id up, do the work, write the
/// id down. Three calls that are not one transaction.
///
/// Simplified: the state change is one conditional write. Old ids are forgotten after a window.
#[derive(Clone, Copy, Debug)]
pub struct InboxTable {
    /// How long an id is kept.
    pub window: Duration,
}

kit::model!(InboxTable = "inbox-table", needs Items);

impl InboxTable {
    async fn attempt(&self, work: &Work<'_>) -> Result<Outcome, Outcome> {
        work.begin(Step::CheckInbox);
        if work.places.store.read(&kit::inbox_key(work)).await?.is_some() {
            return Ok(work.ack(Outcome::Duplicate).await);
        }
        let (state, expect) = kit::load(work).await?;
        let (state, messages) = kit::decide(work, state).await?;

        work.begin(Step::CommitState);
        work.places.write(vec![kit::to_put_entity(work, state, expect)]).await?;

        work.begin(Step::Dispatch);
        work.places.dispatch(messages).await?;

        work.begin(Step::CheckInbox);
        let remember = Change::Put {
            key: kit::inbox_key(work),
            value: Bytes::from_static(b"processed"),
            expect: Expect::Anything,
            keep: Keep::For(self.window),
        };
        work.places.write(vec![remember]).await?;
        Ok(work.ack(Outcome::Processed).await)
    }
}
