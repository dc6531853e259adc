//! The store of a place.

use async_trait::async_trait;
use semel_core::store::{Change, Item, ItemKey, Listing, Page, StoreLimits, Trouble, WriteOutcome};
use semel_core::{Store, StoreError};

use super::{Simulated, State};
use crate::parts::refusal;

#[async_trait]
impl Store for Simulated {
    fn limits(&self) -> StoreLimits {
        self.0.store
    }

    async fn read(&self, key: &ItemKey) -> Result<Option<Item>, StoreError> {
        Ok(self.lock().parts.items.read(key).map(|record| record.item.clone()))
    }

    async fn write(&self, changes: Vec<Change>) -> WriteOutcome {
        let State { parts, routes, .. } = &mut *self.lock();
        parts.write(&changes, &self.0.store, routes, self.now_ms()).into()
    }

    async fn list(&self, page: &Page) -> Result<Vec<Item>, StoreError> {
        if self.0.store.listing == Listing::Unsupported {
            let reason = "listing is not offered".to_owned();
            return Err(refusal("list", Trouble::Unsupported, reason));
        }
        let records = self.lock().parts.items.list(page);
        Ok(records.iter().map(|record| record.item.clone()).collect())
    }
}
