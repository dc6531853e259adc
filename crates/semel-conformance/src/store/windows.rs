//! How long an item is kept.

use semel_core::store::{Change, Expect, ItemKey, Keep, Space, Version, WriteOutcome};

use super::handle::{StoreHandle, delete, entity, in_every_space, put, put_for};
use crate::StoreRig;
use crate::verdict::{broken, require};

const WINDOW_TICKS: u32 = 10;

fn window(rig: &dyn StoreRig) -> Keep {
    Keep::For(rig.tick() * WINDOW_TICKS)
}

async fn put_with(store: &StoreHandle, key: &ItemKey, expect: Expect, keep: Keep) -> Version {
    let changes = vec![put_for(key, "value", expect, keep)];
    let versions = store.applies("a put with a window is applied", changes).await;
    match versions.as_slice() {
        [Some(version)] => version.clone(),
        other => broken("`Applied` tells the version of the item that was put", &other),
    }
}

/// An item is kept at least for its window, in every space.
pub async fn an_item_is_kept_for_its_window(rig: &dyn StoreRig) {
    let store = StoreHandle::open(rig).await;
    let mut kept = Vec::new();
    for key in in_every_space() {
        let version = put_with(&store, &key, Expect::Absent, window(rig)).await;
        kept.push((key, version));
    }
    rig.pass(rig.tick() * (WINDOW_TICKS - 2)).await;
    let sentence = "an item is kept for its window";
    for (key, version) in kept {
        store.shows(sentence, &key, Some(b"value")).await;
        let create = vec![put(&key, "another", Expect::Absent)];
        store.conflicts(sentence, create, &[0]).await;
        store.puts(&key, "changed", Expect::Version(version)).await;
    }
}

/// Past its window an item is there whole or gone, and every condition sees what a read sees, in
/// every space.
pub async fn an_item_past_its_window_is_whole_or_gone(rig: &dyn StoreRig) {
    let store = StoreHandle::open(rig).await;
    let mut past = Vec::new();
    for space in Space::ALL {
        for (name, change) in conditional_changes() {
            let key = ItemKey::new(space, "orders", name);
            let version = put_with(&store, &key, Expect::Absent, window(rig)).await;
            past.push((key, version, change));
        }
    }
    rig.pass(rig.tick() * (WINDOW_TICKS + 2)).await;
    for (key, version, change) in past {
        match store.read(&key).await {
            None => is_gone(&store, change(&key, version)).await,
            Some(item) => require(
                "an item past its window is whole or gone",
                item.value == "value" && item.version == version,
                &item,
            ),
        }
    }
}

type ConditionalChange = fn(&ItemKey, Version) -> (Change, bool);

/// Changes, and whether each is applied where the item is gone.
fn conditional_changes() -> [(&'static str, ConditionalChange); 4] {
    [
        ("put absent", |key, _| (put(key, "new", Expect::Absent), true)),
        ("delete absent", |key, _| (delete(key, Expect::Absent), true)),
        ("put version", |key, version| (put(key, "new", Expect::Version(version)), false)),
        ("delete version", |key, version| (delete(key, Expect::Version(version)), false)),
    ]
}

async fn is_gone(store: &StoreHandle, (change, applied): (Change, bool)) {
    let sentence = "what a read shows as gone, a condition finds absent";
    match store.write(vec![change]).await {
        WriteOutcome::Applied(_) if applied => {}
        WriteOutcome::Conflict(_) if !applied => {}
        other => broken(sentence, &other),
    }
}

/// A version does not come back after an item's window either.
pub async fn a_version_does_not_repeat_past_a_window(rig: &dyn StoreRig) {
    let store = StoreHandle::open(rig).await;
    let mut seen = Vec::new();
    for _ in 0..3 {
        let version = put_with(&store, &entity("7"), Expect::Anything, window(rig)).await;
        require("a version never repeats for a key", !seen.contains(&version), &version);
        seen.push(version);
        rig.pass(rig.tick() * (WINDOW_TICKS + 2)).await;
        store.read(&entity("7")).await;
    }
}

/// Each put decides anew how long the item is kept.
pub async fn a_put_replaces_the_window(rig: &dyn StoreRig) {
    let store = StoreHandle::open(rig).await;
    let (always, renewed) = (entity("always"), entity("renewed"));
    for key in [&always, &renewed] {
        put_with(&store, key, Expect::Absent, window(rig)).await;
    }
    rig.pass(rig.tick() * (WINDOW_TICKS - 2)).await;
    put_with(&store, &always, Expect::Anything, Keep::Always).await;
    put_with(&store, &renewed, Expect::Anything, window(rig)).await;
    rig.pass(rig.tick() * (WINDOW_TICKS - 2)).await;
    let sentence = "a put under a window counts from that put";
    store.shows(sentence, &renewed, Some(b"value")).await;
    rig.pass(rig.tick() * WINDOW_TICKS).await;
    let sentence = "an item put without a window is kept until it is deleted";
    store.shows(sentence, &always, Some(b"value")).await;
}
