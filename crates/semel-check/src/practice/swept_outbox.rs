//! A model of an outbox table that is cleaned by age. Not for use.

use std::time::Duration;

use semel_core::StoreError;
use semel_core::protocols::{Kept, Outcome, Places, Step, Work, message_key};
use semel_core::store::{Change, Expect, Item, ItemKey, Keep, Page, Space};
use serde::{Deserialize, Serialize};

use super::kit;

/// How many rows the relay reads in one go.
const PAGE: usize = 100;

/// A model of the classic outbox, not for use: one transaction writes state and outbox row, a relay
/// polls for rows, sends them and marks them as sent, and a clean-up deletes rows older than a limit,
/// sent or not. The consumer has no inbox.
///
/// Simplified: the relay looks through all rows, so it misses none. Rows that are too old vanish by
/// themselves.
#[derive(Clone, Copy, Debug)]
pub struct SweptOutbox {
    /// How old a row gets before it is deleted.
    pub keep: Duration,
}

kit::model!(SweptOutbox = "swept-outbox", needs Transactions {
    async fn finish(&self, endpoint: &str, places: Places<'_>) -> Result<usize, StoreError> {
        let after = Some(ItemKey::new(Space::Outbox, endpoint, ""));
        let page = Page { space: Space::Outbox, after, limit: PAGE };
        let rows = places.store.list(&page).await?;
        let mut sent = 0;
        for row in rows.iter().filter(|row| row.key.partition == endpoint) {
            match self.relay(places, row).await {
                Ok(messages) => sent += messages,
                Err(Outcome::Unavailable(error) | Outcome::Broken(error)) => return Err(error),
                Err(_) => {}
            }
        }
        Ok(sent)
    }
});

#[derive(Serialize, Deserialize)]
enum Row {
    Unsent(Vec<Kept>),
    Sent,
}

impl SweptOutbox {
    async fn attempt(&self, work: &Work<'_>) -> Result<Outcome, Outcome> {
        let (state, expect) = kit::load(work).await?;
        let (state, messages) = kit::decide(work, state).await?;

        work.begin(Step::CommitState);
        // A row of its own for each run that counts, as a table with a serial number has it: no two
        // replace the same version.
        let replaced = match &expect {
            Expect::Version(version) => version.as_str().to_owned(),
            Expect::Absent | Expect::Anything => "first".to_owned(),
        };
        let mut changes = vec![kit::to_put_entity(work, state, expect)];
        if !messages.is_empty() {
            let name = format!("{} {replaced}", message_key(work.envelope));
            let key = ItemKey::new(Space::Outbox, work.endpoint, name);
            changes.push(self.to_put(key, &Row::Unsent(Kept::all(&messages)?), Expect::Absent)?);
        }
        work.places.write(changes).await?;
        Ok(work.ack(Outcome::Processed).await)
    }

    /// Sends the messages of a row, and marks it.
    async fn relay(&self, places: Places<'_>, row: &Item) -> Result<usize, Outcome> {
        let Row::Unsent(messages) = kit::read(row)? else { return Ok(0) };
        places.dispatch(Kept::outgoing(&messages)?).await?;
        let expect = Expect::Version(row.version.clone());
        let mark = self.to_put(row.key.clone(), &Row::Sent, expect)?;
        places.write(vec![mark]).await?;
        Ok(messages.len())
    }

    fn to_put(self, key: ItemKey, row: &Row, expect: Expect) -> Result<Change, Outcome> {
        Ok(Change::Put { key, value: kit::bytes(row)?, expect, keep: Keep::For(self.keep) })
    }
}
