//! How an attempt becomes durable, also where the store's answer is lost.

use std::time::Duration;

use semel_core::store::{Change, ItemKey, Version, WriteOutcome};
use semel_core::{Store, StoreError};
use uuid::Uuid;

use crate::document::written_by;

/// The longest pause between two looks at the store.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// One batch that changes a data set.
pub(crate) struct Attempt {
    /// The data set.
    pub(crate) place: ItemKey,
    /// The version that the batch expects; none where it creates the data set.
    pub(crate) base: Option<Version>,
    /// The identity that the batch leaves in the data set.
    pub(crate) id: Uuid,
    pub(crate) changes: Vec<Change>,
}

/// What became of an attempt.
#[must_use]
pub(crate) enum Fate {
    /// It is durable.
    Committed,
    /// It surely was not, nor will be: another one came first.
    Lost,
    /// Others came, and perhaps this one before them.
    Overtaken,
    /// It may be durable, now or later.
    Unknown,
}

/// How often a request may still turn to the store.
pub(crate) struct Tries {
    left: u32,
    pause: Duration,
}

impl Tries {
    pub(crate) fn new(count: u32, pause: Duration) -> Self {
        Self { left: count.max(1), pause }
    }

    /// Whether there is one more.
    pub(crate) fn take(&mut self) -> bool {
        let is_left = self.left > 0;
        self.left = self.left.saturating_sub(1);
        is_left
    }

    async fn pause(&mut self) {
        tokio::time::sleep(self.pause).await;
        self.pause = self.pause.saturating_mul(2).min(PAUSE_MAX);
    }
}

impl Attempt {
    /// Writes the batch. After an unknown outcome it looks, and writes the very same batch again
    /// only where the version it expects is still there: so at most one of the two can be applied,
    /// whenever the first one lands.
    pub(crate) async fn commit(
        self,
        store: &dyn Store,
        tries: &mut Tries,
    ) -> Result<Fate, StoreError> {
        let mut in_doubt = false;
        loop {
            match store.write(self.changes.clone()).await {
                WriteOutcome::Applied(_) => return Ok(Fate::Committed),
                WriteOutcome::Conflict(_) if !in_doubt => return Ok(Fate::Lost),
                WriteOutcome::Refused(error) if !in_doubt => return Err(error),
                // Perhaps with our own earlier write.
                WriteOutcome::Conflict(_) => {}
                WriteOutcome::Refused(error) | WriteOutcome::Unknown(error) => {
                    tracing::warn!(%error, "the outcome of a write is not known");
                    in_doubt = true;
                    tries.pause().await;
                }
            }
            match store.read(&self.place).await {
                Ok(Some(item)) if written_by(&item) == Some(self.id) => return Ok(Fate::Committed),
                Ok(item) if item.as_ref().map(|item| &item.version) == self.base.as_ref() => {}
                Ok(_) => return Ok(Fate::Overtaken),
                Err(error) => {
                    tracing::warn!(%error, "the outcome of a write cannot be looked up");
                    tries.pause().await;
                }
            }
            if !tries.take() {
                return Ok(Fate::Unknown);
            }
        }
    }
}
