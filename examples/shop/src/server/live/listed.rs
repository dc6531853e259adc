//! What the services wrote since the last look, listed from any store.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use semel::StoreError;
use semel::core::Store;
use semel::core::store::{ItemKey, Page, Space, Version};

use super::ledgers::Told;
use crate::books::SERVICES;

/// How many entities are read at once.
const PAGE: usize = 500;

/// Lists the entities of a store, and remembers their versions.
///
/// It walks over all of them at each look. A store has no order in which a reader could be sure to
/// have seen everything up to a mark: what has the lower number may be committed later.
#[derive(Debug)]
pub(super) struct Listed {
    store: Arc<dyn Store>,
    seen: BTreeMap<ItemKey, Version>,
    /// The entities whose state is not as their service writes it.
    unreadable: BTreeSet<ItemKey>,
}

impl Listed {
    /// Will list what is in `store`.
    pub(super) fn new(store: Arc<dyn Store>) -> Self {
        Self { store, seen: BTreeMap::new(), unreadable: BTreeSet::new() }
    }

    /// How many entities cannot be read. They are passed over: the others can.
    pub(super) fn unreadable(&self) -> usize {
        self.unreadable.len()
    }

    /// What was written since the last look that succeeded.
    pub(super) async fn look(&mut self) -> Result<Vec<Told>, StoreError> {
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let page = Page { space: Space::Entity, after, limit: PAGE };
            let items = self.store.list(&page).await?;
            after = items.last().map(|item| item.key.clone());
            let is_last = items.len() < PAGE;
            found.extend(items.into_iter().filter(|item| {
                SERVICES.contains(&&*item.key.partition)
                    && self.seen.get(&item.key) != Some(&item.version)
            }));
            if is_last {
                break;
            }
        }
        let mut told = Vec::new();
        for item in found {
            match Told::of(&item.key.partition, &item.key.key, &item.value) {
                Ok(news) => {
                    self.unreadable.remove(&item.key);
                    told.extend(news);
                }
                Err(error) => {
                    let entity = &item.key;
                    tracing::error!(?entity, %error, "a state is not as its service writes it");
                    self.unreadable.insert(item.key.clone());
                }
            }
            self.seen.insert(item.key, item.version);
        }
        Ok(told)
    }
}
