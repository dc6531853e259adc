//! A model of idempotency keys with a time limit. Not for use.

use std::time::Duration;

use semel_core::protocols::{Kept, Outcome, Step, Work};
use semel_core::store::{Change, Expect, Keep, Version};
use serde::{Deserialize, Serialize};

use super::kit;

/// A model of idempotency keys, not for use: the key is stored as *in progress* before the work and
/// with the response after it. Whoever comes with a key in progress is sent away, whoever comes with
/// one that is complete gets the stored response. After its time a key is forgotten.
///
/// Simplified: the response is the messages that the handler sent, and replaying it is sending them
/// again under the same ids. Attempts that surely changed nothing give the key back.
#[derive(Clone, Copy, Debug)]
pub struct IdempotencyKey {
    /// How long a key is kept, in progress or complete.
    pub keep: Duration,
}

kit::model!(IdempotencyKey = "idempotency-key", needs Items);

#[derive(Serialize, Deserialize)]
enum Record {
    InProgress,
    Complete(Vec<Kept>),
}

impl IdempotencyKey {
    async fn attempt(&self, work: &Work<'_>) -> Result<Outcome, Outcome> {
        work.begin(Step::CheckInbox);
        match work.places.store.read(&kit::inbox_key(work)).await? {
            None => {}
            Some(item) => match kit::read(&item)? {
                Record::InProgress => return Err(kit::busy("the key is in progress")),
                Record::Complete(messages) => {
                    dispatch(work, &messages).await?;
                    return Ok(work.ack(Outcome::Duplicate).await);
                }
            },
        }
        let key = self.put(work, &Record::InProgress, Expect::Absent).await?;

        let messages = match self.change_state(work).await {
            Ok(messages) => messages,
            Err(outcome @ (Outcome::Conflict | Outcome::HandlerFailed(_))) => {
                let (key, expect) = (kit::inbox_key(work), Expect::Version(key));
                work.places.write(vec![Change::Delete { key, expect }]).await?;
                return Err(outcome);
            }
            Err(outcome) => return Err(outcome),
        };

        work.begin(Step::CheckInbox);
        self.put(work, &Record::Complete(messages.clone()), Expect::Version(key)).await?;
        dispatch(work, &messages).await?;
        Ok(work.ack(Outcome::Processed).await)
    }

    async fn change_state(&self, work: &Work<'_>) -> Result<Vec<Kept>, Outcome> {
        let (state, expect) = kit::load(work).await?;
        let (state, messages) = kit::decide(work, state).await?;
        work.begin(Step::CommitState);
        work.places.write(vec![kit::to_put_entity(work, state, expect)]).await?;
        Ok(Kept::all(&messages)?)
    }

    async fn put(
        &self,
        work: &Work<'_>,
        record: &Record,
        expect: Expect,
    ) -> Result<Version, Outcome> {
        let (key, value) = (kit::inbox_key(work), kit::bytes(record)?);
        let put = Change::Put { key, value, expect, keep: Keep::For(self.keep) };
        let versions = work.places.write(vec![put]).await?;
        versions.into_iter().flatten().next().ok_or(Outcome::Conflict)
    }
}

async fn dispatch(work: &Work<'_>, messages: &[Kept]) -> Result<(), Outcome> {
    work.begin(Step::Dispatch);
    work.places.dispatch(Kept::outgoing(messages)?).await
}
