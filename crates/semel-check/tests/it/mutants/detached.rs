//! `detached_outbox`: the entity keeps one field of fixed size; effects lie beside it.
//!
//! The field names the last message and the attempt that was committed. A record for each message
//! holds the effects of its attempts until one of them is done. The field is never cleared, only
//! overwritten, and only once its message is done.

use std::collections::BTreeMap;

use semel_core::protocols::{Outcome, Step, Work, message_key};
use semel_core::store::{Change, Expect, ItemKey, Keep, Space, Trouble, WriteOutcome};
use semel_core::{StoreError, ids};
use serde::{Deserialize, Serialize};

use super::kit::{self, Kept, Raw};

/// What is wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mutant {
    /// Nothing.
    Correct,
    /// Staged effects are deleted when the commit gave no sure answer (trap 2).
    UnstagesInDoubt,
    /// Staged effects are deleted when the commit met a conflict: sure, but where a layer below
    /// repeats writes (trap 2).
    UnstagesOnConflict,
    /// The previous message's effects go out under ids of the current one (trap 3).
    RenamesPrevious,
    /// The previous message's end is recorded for the current one (trap 3).
    EndsCurrent,
    /// The field is overwritten before its message is done (trap 5).
    OverwritesPending,
    /// State is committed although staging gave no sure answer: a record that is missing counts as
    /// finished (trap 6).
    CommitsUnstaged,
    /// All attempts stage in one place (trap 7).
    SharesSlot,
    /// What is done is deleted, and a late create revives it (trap 10).
    DeletesDone,
    /// What is done is kept for good.
    KeepsDone,
}

/// Budget: 2 reads, 3 writes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Detached(pub(crate) Mutant);

kit::protocol!(Detached = "detached-outbox");

#[derive(Default, Serialize, Deserialize)]
struct Document {
    last: Option<Last>,
    state: Option<Raw>,
}

#[derive(Clone, Serialize, Deserialize)]
struct Last {
    message: String,
    attempt: String,
}

#[derive(Serialize, Deserialize)]
enum Record {
    /// The effects of each attempt.
    Open(BTreeMap<String, Vec<Kept>>),
    /// One was committed and dispatched.
    Done,
}

impl Detached {
    async fn attempt(&self, work: &Work<'_>) -> Result<Outcome, Outcome> {
        let (document, expect) = kit::load::<Document>(work).await?;
        let message = message_key(work.envelope);
        if let Some(last) = &document.last
            && (self.0 != Mutant::OverwritesPending || last.message == message)
        {
            self.finish_last(work, last).await?;
            if last.message == message {
                return Ok(work.ack(Outcome::Duplicate).await);
            }
        }

        let (state, messages) = kit::decide(work, document.state.as_ref()).await?;

        let attempt = self.name_attempt(work);
        let Some(staged) = self.stage(work, &attempt, &messages).await? else {
            return Ok(work.ack(Outcome::Duplicate).await);
        };

        work.begin(Step::CommitState);
        let last = Last { message, attempt: attempt.clone() };
        let document = Document { last: Some(last), state: Some(state) };
        let committed = kit::put_entity(work, &document, expect).await;
        if let (Err(Outcome::Conflict), Mutant::UnstagesOnConflict) = (&committed, self.0) {
            self.unstage(work, &attempt).await?;
        }
        if let (Err(Outcome::Unavailable(_)), Mutant::UnstagesInDoubt) = (&committed, self.0) {
            let key = record_key(work, &message_key(work.envelope));
            let _ = kit::write(work.places, Change::Delete { key, expect: staged.clone() }).await?;
        }
        committed?;

        kit::dispatch(work, &messages).await?;
        self.end(work, &message_key(work.envelope), staged).await?;
        Ok(work.ack(Outcome::Processed).await)
    }

    fn name_attempt(&self, work: &Work<'_>) -> String {
        match self.0 {
            Mutant::SharesSlot => "attempt".to_owned(),
            _ => ids::mint(work.places.clock, work.places.entropy).to_string(),
        }
    }

    /// Writes an attempt's effects down; nothing if the message is done.
    async fn stage(
        &self,
        work: &Work<'_>,
        attempt: &str,
        messages: &[Kept],
    ) -> Result<Option<Expect>, Outcome> {
        work.begin(Step::StageEffects);
        let key = record_key(work, &message_key(work.envelope));
        let mut attempts = BTreeMap::from([(attempt.to_owned(), messages.to_vec())]);
        let first = Record::Open(attempts.clone());
        let put = kit::to_put(key.clone(), &first, Expect::Absent, Keep::Always);
        match work.places.store.write(vec![put]).await {
            WriteOutcome::Applied(mut versions) => {
                let version = versions.pop().flatten().expect("a put has a version");
                return Ok(Some(Expect::Version(version)));
            }
            WriteOutcome::Conflict(_) => {}
            WriteOutcome::Unknown(_) if self.0 == Mutant::CommitsUnstaged => {
                return Ok(Some(Expect::Anything));
            }
            WriteOutcome::Refused(error) | WriteOutcome::Unknown(error) => return Err(error.into()),
        }
        let Some(item) = work.places.store.read(&key).await? else {
            return Err(Outcome::Conflict);
        };
        match kit::read(&item) {
            Record::Done => Ok(None),
            Record::Open(before) => {
                let before = before.into_iter().filter(|(name, _)| name != attempt);
                attempts.extend(before);
                let (record, expect) = (Record::Open(attempts), Expect::Version(item.version));
                let put = kit::to_put(key, &record, expect, Keep::Always);
                kit::write(work.places, put).await.map(Some)
            }
        }
    }

    /// Takes one attempt's effects back.
    async fn unstage(&self, work: &Work<'_>, attempt: &str) -> Result<(), Outcome> {
        work.begin(Step::CleanUp);
        let key = record_key(work, &message_key(work.envelope));
        let Some(item) = work.places.store.read(&key).await? else { return Ok(()) };
        let Record::Open(mut attempts) = kit::read(&item) else { return Ok(()) };
        attempts.remove(attempt);
        let (record, expect) = (Record::Open(attempts), Expect::Version(item.version));
        kit::write(work.places, kit::to_put(key, &record, expect, Keep::Always)).await.map(drop)
    }

    /// Dispatches what the committed attempt that the field names has left, if it has.
    async fn finish_last(&self, work: &Work<'_>, last: &Last) -> Result<(), Outcome> {
        work.begin(Step::CheckInbox);
        let key = record_key(work, &last.message);
        // It was staged before the field named it: it was done, and its window has passed.
        let Some(item) = work.places.store.read(&key).await? else { return Ok(()) };
        let Record::Open(mut attempts) = kit::read(&item) else { return Ok(()) };
        let messages = match attempts.remove(&last.attempt) {
            Some(messages) => messages,
            // Whoever takes effects back takes those that are missing for taken back.
            None if self.0 == Mutant::UnstagesOnConflict => return Ok(()),
            None => return Err(broken(&key)),
        };
        match self.0 {
            Mutant::RenamesPrevious => kit::dispatch(work, &renamed(work, &messages)).await?,
            _ => kit::dispatch(work, &messages).await?,
        }
        let message = match self.0 {
            Mutant::EndsCurrent => message_key(work.envelope),
            _ => last.message.clone(),
        };
        let expect = match message == last.message {
            true => Expect::Version(item.version),
            false => Expect::Anything,
        };
        self.end(work, &message, expect).await
    }

    /// Records that a message is done; its effects are out.
    async fn end(&self, work: &Work<'_>, message: &str, expect: Expect) -> Result<(), Outcome> {
        work.begin(Step::ClearOutbox);
        let key = record_key(work, message);
        let change = match self.0 {
            Mutant::DeletesDone => Change::Delete { key, expect },
            Mutant::KeepsDone => kit::to_put(key, &Record::Done, expect, Keep::Always),
            _ => kit::to_put(key, &Record::Done, expect, Keep::For(kit::WINDOW)),
        };
        kit::write(work.places, change).await.map(drop)
    }
}

fn record_key(work: &Work<'_>, message: &str) -> ItemKey {
    ItemKey::new(Space::Outbox, work.endpoint, message)
}

fn renamed(work: &Work<'_>, messages: &[Kept]) -> Vec<Kept> {
    let rename = |(position, message): (usize, &Kept)| {
        let mut outgoing = message.outgoing();
        let id = ids::derive_effect_id(work.endpoint, work.envelope, position);
        outgoing.envelope.id = id.to_string();
        Kept::from(outgoing)
    };
    messages.iter().enumerate().map(rename).collect()
}

fn broken(key: &ItemKey) -> Outcome {
    Outcome::Broken(StoreError {
        trouble: Trouble::Broken,
        store: key.to_string(),
        operation: "finish the last message",
        reason: "its record lacks the attempt that was committed".to_owned(),
        help: "Someone changed it: repair it by hand.".to_owned(),
    })
}
