//! A version is the tag of one write, and of no other.

use std::collections::BTreeSet;

use semel_core::store::{Expect, ItemKey, Version};

use super::handle::{StoreHandle, delete, entity, put};
use crate::StoreRig;
use crate::verdict::{require, require_eq};

const NEVER_REPEATS: &str = "a version never repeats for a key";

/// `Applied` tells the version that a read then shows, and reading does not change it.
pub async fn applied_tells_the_version_that_a_read_shows(rig: &dyn StoreRig) {
    let store = StoreHandle::open(rig).await;
    let other = StoreHandle::open(rig).await;
    let mut expect = Expect::Absent;
    for round in 0..3 {
        let version = store.puts(&entity("7"), format!("round {round}"), expect).await;
        for reader in [&store, &other, &store] {
            let seen = reader.read(&entity("7")).await.map(|item| item.version);
            let sentence = "`Applied` tells the version that a read shows";
            require_eq(sentence, &seen.as_ref(), &Some(&version));
        }
        expect = Expect::Version(version);
    }
}

/// A version never repeats for a key, not even after the item was deleted and created again,
/// whichever handle wrote it.
pub async fn a_version_never_repeats(rig: &dyn StoreRig) {
    let handles = [StoreHandle::open(rig).await, StoreHandle::open(rig).await];
    let mut seen = BTreeSet::new();
    for round in 0..8_usize {
        let (creator, changer) = (&handles[round % 2], &handles[round / 2 % 2]);
        let created = creator.puts(&entity("7"), "created", Expect::Absent).await;
        let changed = changer.puts(&entity("7"), "changed", Expect::Version(created.clone())).await;
        let gone = vec![delete(&entity("7"), Expect::Version(changed.clone()))];
        creator.applies("a delete under the current version is applied", gone).await;
        is_new(&mut seen, &created);
        is_new(&mut seen, &changed);
    }
}

/// Putting the same value again is another write, with another version.
pub async fn the_same_value_again_is_a_new_version(rig: &dyn StoreRig) {
    let store = StoreHandle::open(rig).await;
    let mut seen = BTreeSet::new();
    for _ in 0..5 {
        is_new(&mut seen, &store.puts(&entity("7"), "the same", Expect::Anything).await);
    }
}

/// A change that expects an old version loses after the item was deleted and created again, even
/// with the value it had.
pub async fn an_old_version_loses_after_delete_and_create(rig: &dyn StoreRig) {
    let store = StoreHandle::open(rig).await;
    let key = entity("7");
    let old = store.puts(&key, "value", Expect::Absent).await;
    store.applies("a delete is applied", vec![delete(&key, Expect::Anything)]).await;
    store.puts(&key, "value", Expect::Absent).await;
    loses(&store, &key, &old).await;
    store.shows("a conflict leaves the item as it was", &key, Some(b"value")).await;
}

async fn loses(store: &StoreHandle, key: &ItemKey, old: &Version) {
    let sentence = "an old version loses after delete and create";
    let expect = Expect::Version(old.clone());
    store.conflicts(sentence, vec![put(key, "late", expect.clone())], &[0]).await;
    store.conflicts(sentence, vec![delete(key, expect)], &[0]).await;
}

fn is_new(seen: &mut BTreeSet<String>, version: &Version) {
    require(NEVER_REPEATS, seen.insert(version.as_str().to_owned()), version);
}
