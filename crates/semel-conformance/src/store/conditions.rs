//! Each condition of each change, where it holds and where it does not.

use semel_core::store::{Expect, ItemKey, Version};

use super::handle::{StoreHandle, delete, entity, in_every_space, put};
use crate::StoreRig;

/// `Put` expecting *absent* creates the item, and conflicts where there is one.
pub async fn put_expecting_absent_only_creates(rig: &dyn StoreRig) {
    let store = StoreHandle::open(rig).await;
    let key = entity("7");
    store.puts(&key, "first", Expect::Absent).await;
    store.shows("a put that was applied is read", &key, Some(b"first")).await;
    let again = vec![put(&key, "second", Expect::Absent)];
    store.conflicts("a put expecting absent conflicts with an item", again, &[0]).await;
    store.shows("a conflict leaves the item as it was", &key, Some(b"first")).await;
}

/// `Put` expecting a version replaces the item as that write left it, and conflicts with an item
/// that was written since, or that is gone.
pub async fn put_expecting_a_version_replaces_only_it(rig: &dyn StoreRig) {
    let store = StoreHandle::open(rig).await;
    let (key, first, second) = item_written_twice(&store).await;
    let late = vec![put(&key, "late", Expect::Version(first.clone()))];
    store.conflicts("a put expecting an old version conflicts", late.clone(), &[0]).await;
    store.shows("a conflict leaves the item as it was", &key, Some(b"second")).await;
    store.applies("a delete is applied", vec![delete(&key, Expect::Version(second))]).await;
    store.conflicts("a put expecting a version conflicts with no item", late, &[0]).await;
    store.shows("a conflict creates nothing", &key, None).await;
}

/// `Put` expecting *anything* creates or replaces.
pub async fn put_expecting_anything_creates_or_replaces(rig: &dyn StoreRig) {
    let store = StoreHandle::open(rig).await;
    for value in ["first", "second"] {
        store.puts(&entity("7"), value, Expect::Anything).await;
        let sentence = "a put expecting anything is applied";
        store.shows(sentence, &entity("7"), Some(value.as_bytes())).await;
    }
}

/// `Delete` expecting *absent* changes nothing: it conflicts where there is an item.
pub async fn delete_expecting_absent_only_checks(rig: &dyn StoreRig) {
    let store = StoreHandle::open(rig).await;
    let key = entity("7");
    let check = vec![delete(&key, Expect::Absent)];
    store.applies("a delete expecting absent is applied to no item", check.clone()).await;
    store.puts(&key, "there", Expect::Absent).await;
    store.conflicts("a delete expecting absent conflicts with an item", check, &[0]).await;
    store.shows("a conflict leaves the item as it was", &key, Some(b"there")).await;
}

/// `Delete` expecting a version deletes the item as that write left it, and conflicts with an item
/// that was written since, or that is gone.
pub async fn delete_expecting_a_version_deletes_only_it(rig: &dyn StoreRig) {
    let store = StoreHandle::open(rig).await;
    let (key, first, second) = item_written_twice(&store).await;
    let late = vec![delete(&key, Expect::Version(first))];
    store.conflicts("a delete expecting an old version conflicts", late, &[0]).await;
    store.shows("a conflict leaves the item as it was", &key, Some(b"second")).await;
    let current = vec![delete(&key, Expect::Version(second))];
    store.applies("a delete expecting the current version is applied", current.clone()).await;
    store.shows("a deleted item is absent", &key, None).await;
    store.conflicts("a delete expecting a version conflicts with no item", current, &[0]).await;
}

/// Deleting under *anything* deletes the item; an absent one is no conflict.
pub async fn delete_expecting_anything_never_conflicts(rig: &dyn StoreRig) {
    let store = StoreHandle::open(rig).await;
    let sentence = "a delete expecting anything is applied";
    store.puts(&entity("7"), "there", Expect::Absent).await;
    for _ in 0..2 {
        store.applies(sentence, vec![delete(&entity("7"), Expect::Anything)]).await;
        store.shows(sentence, &entity("7"), None).await;
    }
}

/// The conditions hold in every space: each may be a table of its own, with statements of its own.
pub async fn every_space_keeps_the_conditions(rig: &dyn StoreRig) {
    let store = StoreHandle::open(rig).await;
    let sentence = "the conditions hold in every space";
    for key in in_every_space() {
        let first = store.puts(&key, "first", Expect::Absent).await;
        let create = vec![put(&key, "another", Expect::Absent)];
        store.conflicts(sentence, create, &[0]).await;
        store.conflicts(sentence, vec![delete(&key, Expect::Absent)], &[0]).await;
        let second = store.puts(&key, "second", Expect::Version(first.clone())).await;
        let old = Expect::Version(first);
        store.conflicts(sentence, vec![put(&key, "late", old.clone())], &[0]).await;
        store.conflicts(sentence, vec![delete(&key, old)], &[0]).await;
        store.shows(sentence, &key, Some(b"second")).await;
        store.applies(sentence, vec![delete(&key, Expect::Version(second.clone()))]).await;
        store.shows(sentence, &key, None).await;
        store.conflicts(sentence, vec![delete(&key, Expect::Version(second))], &[0]).await;
        store.puts(&key, "third", Expect::Anything).await;
        store.shows(sentence, &key, Some(b"third")).await;
        store.applies(sentence, vec![delete(&key, Expect::Anything)]).await;
        store.shows(sentence, &key, None).await;
    }
}

async fn item_written_twice(store: &StoreHandle) -> (ItemKey, Version, Version) {
    let key = entity("7");
    let first = store.puts(&key, "first", Expect::Absent).await;
    let second = store.puts(&key, "second", Expect::Version(first.clone())).await;
    store.shows("a put under the current version is read", &key, Some(b"second")).await;
    (key, first, second)
}
