//! The store.

use async_trait::async_trait;
use semel_core::store::{
    Atomicity, Change, Item, ItemKey, Listing, Page, QueueHome, StoreLimits, WriteOutcome,
};
use semel_core::{Store, StoreError};

use crate::session::{Ask, Kind};
use crate::tables::{Table, table};
use crate::write::{self, Batch, CHANGES_MAX};
use crate::{BYTES_MAX, Postgres, group, read, row};

#[async_trait]
impl Store for Postgres {
    fn limits(&self) -> StoreLimits {
        StoreLimits {
            atomicity: Atomicity::Everything,
            batch_changes_max: CHANGES_MAX,
            item_bytes_max: BYTES_MAX,
            listing: Listing::Supported,
            queue: QueueHome::Inside,
        }
    }

    async fn read(&self, key: &ItemKey) -> Result<Option<Item>, StoreError> {
        let mut items = self.read_all(std::slice::from_ref(key)).await?;
        Ok(items.pop().flatten())
    }

    async fn read_all(&self, keys: &[ItemKey]) -> Result<Vec<Option<Item>>, StoreError> {
        match self.reads.ask(keys.to_vec()).await {
            Some(answer) => answer,
            None => Err(self.gone("read")),
        }
    }

    async fn write(&self, changes: Vec<Change>) -> WriteOutcome {
        self.write_as("write", changes).await
    }

    async fn list(&self, page: &Page) -> Result<Vec<Item>, StoreError> {
        let Table { name, partition, key, value } = table(page.space);
        let sql = format!(
            "SELECT {partition}, {key}, {value}, version FROM {}.{name} \
             WHERE ({partition}, {key}) > ($1, $2) ORDER BY {partition}, {key} LIMIT $3",
            self.place.schema
        );
        let (partition, key) =
            page.after.as_ref().map_or(("", ""), |after| (&after.partition, &after.key));
        // Nothing lies before the empty key but itself, under which nobody keeps anything.
        let sql = if page.after.is_none() { sql.replace(") > (", ") >= (") } else { sql };
        let limit = i64::try_from(page.limit).unwrap_or(i64::MAX);
        let ask = Ask {
            sql,
            parameters: vec![
                Box::new(partition.replace('\0', "")),
                Box::new(key.replace('\0', "")),
                Box::new(limit),
            ],
        };
        let place = &self.place;
        let answers = place.server.transact("list", Kind::Look, "", &[ask]).await;
        let answers = answers.map_err(|fault| fault.into_error(&place.server.place, "list"))?;
        let item = |row| {
            let text = |column| row::text(row, column).unwrap_or_default();
            read::item(ItemKey::new(page.space, text(0), text(1)), row, 2)
        };
        Ok(answers.rows.iter().flatten().map(item).collect())
    }
}

impl Postgres {
    /// Writes a batch; `operation` is how errors name it.
    pub(crate) async fn write_as(
        &self,
        operation: &'static str,
        changes: Vec<Change>,
    ) -> WriteOutcome {
        if changes.is_empty() {
            return WriteOutcome::Applied(Vec::new());
        }
        if let Some(error) = write::refusal(&self.place, &changes) {
            return WriteOutcome::Refused(error);
        }
        let names = match group::names(&changes) {
            Ok(names) => names,
            Err(at) => return WriteOutcome::Conflict(vec![at]),
        };
        match self.writes.write(Batch { changes, operation, names }).await {
            Some(outcome) => outcome,
            None => WriteOutcome::Unknown(self.gone(operation)),
        }
    }

    /// The runtime that this place was opened in is gone, and our tasks with it.
    pub(crate) fn gone(&self, operation: &'static str) -> StoreError {
        self.place.defect(operation, "the task that talks to the server is gone")
    }
}
