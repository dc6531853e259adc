//! One handle to the store under test, with calls that say what they expect.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use semel_core::Store;
use semel_core::store::{
    Atomicity, Change, Expect, Item, ItemKey, Keep, Page, Space, StoreError, StoreLimits, Trouble,
    Version, WriteOutcome,
};

use crate::StoreRig;
use crate::verdict::{broken, require, require_eq};

/// A batch that Semel's contract lets a store refuse because it is too wide.
pub(crate) const TOO_WIDE: [Trouble; 2] = [Trouble::Unsupported, Trouble::TooLarge];

/// One handle to the store under test.
#[derive(Clone, Debug)]
pub(crate) struct StoreHandle(Arc<dyn Store>);

impl StoreHandle {
    pub(crate) async fn open(rig: &dyn StoreRig) -> Self {
        Self(rig.store().await)
    }

    pub(crate) fn limits(&self) -> StoreLimits {
        self.0.limits()
    }

    /// Reads an item; a store that works answers.
    pub(crate) async fn read(&self, key: &ItemKey) -> Option<Item> {
        let item = match self.0.read(key).await {
            Ok(item) => item,
            Err(error) => broken("a read of a store that works succeeds", &error),
        };
        if let Some(item) = &item {
            require_eq("a read shows the item that was asked for", &item.key, key);
        }
        item
    }

    pub(crate) async fn write(&self, changes: Vec<Change>) -> WriteOutcome {
        self.0.write(changes).await
    }

    /// Lists a page; a store that offers listing answers.
    pub(crate) async fn list(&self, page: &Page) -> Vec<Item> {
        match self.0.list(page).await {
            Ok(items) => items,
            Err(error) => broken("a store that offers listing lists", &error),
        }
    }

    pub(crate) async fn try_list(&self, page: &Page) -> Result<Vec<Item>, StoreError> {
        self.0.list(page).await
    }

    /// Writes `changes`, which must be applied.
    pub(crate) async fn applies(
        &self,
        sentence: &str,
        changes: Vec<Change>,
    ) -> Vec<Option<Version>> {
        let leaves_item: Vec<bool> =
            changes.iter().map(|change| matches!(change, Change::Put { .. })).collect();
        match self.write(changes).await {
            WriteOutcome::Applied(versions) => {
                let told: Vec<bool> = versions.iter().map(Option::is_some).collect();
                let each = "`Applied` tells for each change, in order, the version it left behind";
                require_eq(each, &told, &leaves_item);
                versions
            }
            other => broken(sentence, &other),
        }
    }

    /// Puts one item without window, which must be applied.
    pub(crate) async fn puts(
        &self,
        key: &ItemKey,
        value: impl Into<Bytes>,
        expect: Expect,
    ) -> Version {
        let sentence = "a put whose condition holds is applied";
        let versions = self.applies(sentence, vec![put(key, value, expect)]).await;
        match versions.as_slice() {
            [Some(version)] => version.clone(),
            other => broken("`Applied` tells the version of the item that was put", &other),
        }
    }

    /// Writes `changes`, which must conflict; the failing ones are at the positions `failing`.
    pub(crate) async fn conflicts(&self, sentence: &str, changes: Vec<Change>, failing: &[usize]) {
        match self.write(changes).await {
            WriteOutcome::Conflict(named) => require(
                "a conflict names only positions whose condition failed",
                named.iter().all(|position| failing.contains(position)),
                &format_args!("{named:?} named, {failing:?} failed"),
            ),
            other => broken(sentence, &other),
        }
    }

    /// Writes `changes`, which must be refused for one of these `troubles`.
    pub(crate) async fn refuses(&self, sentence: &str, changes: Vec<Change>, troubles: &[Trouble]) {
        match self.write(changes).await {
            WriteOutcome::Refused(error) => require_clear(sentence, &error, troubles),
            other => broken(sentence, &other),
        }
    }

    /// Writes `changes`, which may race with others; where the store was busy, again. Whether they
    /// were applied.
    pub(crate) async fn wins(&self, changes: Vec<Change>) -> bool {
        for _ in 0..1000 {
            match self.write(changes.clone()).await {
                WriteOutcome::Applied(_) => return true,
                WriteOutcome::Conflict(_) => return false,
                WriteOutcome::Refused(error) if error.is_passing() => {
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
                other => broken("a store that works tells what became of a write", &other),
            }
        }
        broken("a busy store is busy for a while only", &"refused 1000 times")
    }

    /// Asserts that the item has this value, or is absent.
    pub(crate) async fn shows(&self, sentence: &str, key: &ItemKey, value: Option<&[u8]>) {
        let item = self.read(key).await;
        let seen = item.as_ref().map(|item| item.value.as_ref());
        let told = format!("{key}: {}, expected {}", tell(seen), tell(value));
        require(sentence, seen == value, &format_args!("{told}"));
    }

    /// Whether `changes` of one partition are too many for the store; then it must refuse them.
    pub(crate) async fn refuses_batch(&self, changes: &[Change]) -> bool {
        let limits = self.limits();
        let too_wide = changes.len() > limits.batch_changes_max
            || (changes.len() > 1 && limits.atomicity == Atomicity::OneItem);
        if too_wide {
            let sentence = "a batch that the store's limits do not allow is refused";
            self.refuses(sentence, changes.to_vec(), &TOO_WIDE).await;
        }
        too_wide
    }
}

/// Asserts that an error has one of these troubles, and says what failed and what to do.
pub(crate) fn require_clear(sentence: &str, error: &StoreError, troubles: &[Trouble]) {
    require(sentence, troubles.contains(&error.trouble), error);
    let told = [error.store.as_str(), error.operation, &error.reason, &error.help];
    let clear = "an error names store, operation and reason, and says what a person can do";
    require(clear, told.iter().all(|part| !part.is_empty()), error);
}

fn tell(value: Option<&[u8]>) -> String {
    match value {
        None => "absent".to_owned(),
        Some(bytes) if bytes.len() > 100 => format!("{} bytes", bytes.len()),
        Some(bytes) => format!("{:?}", bytes.escape_ascii().to_string()),
    }
}

/// An entity `key` in one partition that all such keys share.
pub(crate) fn entity(key: impl Into<String>) -> ItemKey {
    ItemKey::new(Space::Entity, "orders", key)
}

/// The same partition and key in each space.
pub(crate) fn in_every_space() -> [ItemKey; Space::ALL.len()] {
    Space::ALL.map(|space| ItemKey::new(space, "orders", "7"))
}

/// A put without window.
pub(crate) fn put(key: &ItemKey, value: impl Into<Bytes>, expect: Expect) -> Change {
    put_for(key, value, expect, Keep::Always)
}

/// A put.
pub(crate) fn put_for(
    key: &ItemKey,
    value: impl Into<Bytes>,
    expect: Expect,
    keep: Keep,
) -> Change {
    Change::Put { key: key.clone(), value: value.into(), expect, keep }
}

/// A delete.
pub(crate) fn delete(key: &ItemKey, expect: Expect) -> Change {
    Change::Delete { key: key.clone(), expect }
}

/// The condition that an item is as it was read.
pub(crate) fn as_read(item: Option<&Item>) -> Expect {
    item.map_or(Expect::Absent, |item| Expect::Version(item.version.clone()))
}
