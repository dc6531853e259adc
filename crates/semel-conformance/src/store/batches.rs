//! A batch is applied whole or not at all.

use semel_core::store::{Atomicity, Change, Expect, ItemKey, Space, Trouble, Version};

use super::handle::{StoreHandle, TOO_WIDE, delete, entity, put};
use crate::StoreRig;
use crate::sample::BYTES_TRIED_MAX;
use crate::verdict::require_eq;

/// The most changes that a function puts in one batch. A limit above counts as none.
const CHANGES_TRIED_MAX: usize = 500;

/// A batch without changes is applied.
pub async fn an_empty_batch_is_applied(rig: &dyn StoreRig) {
    let store = StoreHandle::open(rig).await;
    store.applies("a batch without changes is applied", Vec::new()).await;
}

/// All changes of a batch are applied, and `Applied` tells for each, in order, the version it left
/// behind. A store that writes one item at a time refuses such a batch.
pub async fn a_batch_applies_all_its_changes(rig: &dyn StoreRig) {
    let store = StoreHandle::open(rig).await;
    let replaced = store.puts(&entity("replaced"), "old", Expect::Absent).await;
    let deleted = store.puts(&entity("deleted"), "old", Expect::Absent).await;
    let batch = vec![
        put(&entity("created"), "new", Expect::Absent),
        delete(&entity("deleted"), Expect::Version(deleted)),
        put(&entity("replaced"), "newer", Expect::Version(replaced)),
        delete(&entity("absent"), Expect::Anything),
    ];
    if store.refuses_batch(&batch).await {
        return store.shows("a refused batch writes nothing", &entity("created"), None).await;
    }
    let sentence = "a batch whose conditions hold applies all its changes";
    let versions = store.applies(sentence, batch).await;
    shows_version(&store, "created", versions.first()).await;
    shows_version(&store, "replaced", versions.get(2)).await;
    store.shows(sentence, &entity("created"), Some(b"new")).await;
    store.shows(sentence, &entity("replaced"), Some(b"newer")).await;
    store.shows(sentence, &entity("deleted"), None).await;
}

async fn shows_version(store: &StoreHandle, key: &str, told: Option<&Option<Version>>) {
    let seen = store.read(&entity(key)).await.map(|item| item.version);
    require_eq("`Applied` tells the versions in the order of the changes", &Some(&seen), &told);
}

/// A batch with one failing condition writes nothing, wherever in the batch it is, and whatever it
/// expects.
pub async fn a_conflict_writes_nothing_of_its_batch(rig: &dyn StoreRig) {
    let store = StoreHandle::open(rig).await;
    let old = store.puts(&entity("there"), "old", Expect::Absent).await;
    store.puts(&entity("there"), "new", Expect::Version(old.clone())).await;
    for failing in failing_changes(old) {
        for position in 0..3 {
            let mut batch = vec![
                put(&entity("created"), "x", Expect::Absent),
                put(&entity("anything"), "x", Expect::Anything),
            ];
            batch.insert(position, failing.clone());
            if store.refuses_batch(&batch).await {
                return store
                    .shows("a refused batch writes nothing", &entity("created"), None)
                    .await;
            }
            let sentence = "a batch with one failing condition conflicts";
            store.conflicts(sentence, batch, &[position]).await;
            shows_only_there(&store).await;
        }
    }
}

fn failing_changes(old: Version) -> [Change; 6] {
    let there = entity("there");
    [
        put(&there, "x", Expect::Absent),
        put(&there, "x", Expect::Version(old.clone())),
        put(&entity("gone"), "x", Expect::Version(old.clone())),
        delete(&there, Expect::Absent),
        delete(&there, Expect::Version(old.clone())),
        delete(&entity("gone"), Expect::Version(old)),
    ]
}

async fn shows_only_there(store: &StoreHandle) {
    let sentence = "a conflict writes nothing of its batch";
    store.shows(sentence, &entity("there"), Some(b"new")).await;
    for key in ["created", "anything", "gone"] {
        store.shows(sentence, &entity(key), None).await;
    }
}

/// A conflict names the positions whose condition failed, as far as the store tells; never others.
pub async fn a_conflict_names_only_failed_conditions(rig: &dyn StoreRig) {
    let store = StoreHandle::open(rig).await;
    store.puts(&entity("there"), "x", Expect::Absent).await;
    store.puts(&entity("there too"), "x", Expect::Absent).await;
    let batch = vec![
        put(&entity("created"), "x", Expect::Absent),
        put(&entity("there"), "y", Expect::Absent),
        delete(&entity("anything"), Expect::Anything),
        delete(&entity("there too"), Expect::Absent),
    ];
    if store.refuses_batch(&batch).await {
        return store.shows("a refused batch writes nothing", &entity("created"), None).await;
    }
    store.conflicts("a batch with failing conditions conflicts", batch, &[1, 3]).await;
}

/// A batch may hold as many changes as the limit says, and one more is refused with nothing
/// written; a limit above 500 is tried up to there.
pub async fn a_batch_is_as_wide_as_its_limit(rig: &dyn StoreRig) {
    let store = StoreHandle::open(rig).await;
    let limit = store.limits().batch_changes_max;
    let wide = |changes: usize| -> Vec<Change> {
        (0..changes).map(|n| put(&entity(n.to_string()), "x", Expect::Absent)).collect()
    };
    if limit < CHANGES_TRIED_MAX {
        let sentence = "a batch of more than `batch_changes_max` changes is refused";
        store.refuses(sentence, wide(limit + 1), &TOO_WIDE).await;
        for number in 0..=limit {
            let key = entity(number.to_string());
            store.shows("a refused batch writes nothing", &key, None).await;
        }
    }
    let batch = wide(limit.min(CHANGES_TRIED_MAX));
    if !store.refuses_batch(&batch).await {
        store.applies("a batch of `batch_changes_max` changes is applied", batch).await;
    }
}

/// Within a batch no two changes name the same item: such a batch is refused as
/// [`Trouble::Unsupported`], whatever the changes.
pub async fn a_batch_names_an_item_once(rig: &dyn StoreRig) {
    let store = StoreHandle::open(rig).await;
    let twice = [
        [put(&entity("7"), "x", Expect::Absent), put(&entity("7"), "y", Expect::Anything)],
        [put(&entity("7"), "x", Expect::Absent), delete(&entity("7"), Expect::Anything)],
        [delete(&entity("7"), Expect::Anything), put(&entity("7"), "y", Expect::Absent)],
        [delete(&entity("7"), Expect::Anything), delete(&entity("7"), Expect::Anything)],
    ];
    for batch in twice {
        let sentence = "a batch that names an item twice is refused";
        let troubles: &[Trouble] =
            if store.limits().atomicity == Atomicity::OneItem { &TOO_WIDE } else { &TOO_WIDE[..1] };
        store.refuses(sentence, batch.to_vec(), troubles).await;
        store.shows("a refused batch writes nothing", &entity("7"), None).await;
    }
}

/// A batch across spaces and partitions is atomic where the store says so; otherwise it is refused
/// as [`Trouble::Unsupported`], with nothing written.
pub async fn a_batch_across_partitions_is_atomic_or_refused(rig: &dyn StoreRig) {
    let store = StoreHandle::open(rig).await;
    let near = ItemKey::new(Space::Entity, "orders", "7");
    let far = ItemKey::new(Space::Inbox, "billing", "7");
    let batch = vec![put(&near, "x", Expect::Absent), put(&far, "x", Expect::Absent)];
    if store.limits().atomicity != Atomicity::Everything {
        let sentence = "a batch wider than the store's atomicity is refused";
        store.refuses(sentence, batch, &TOO_WIDE).await;
        store.shows("a refused batch writes nothing", &near, None).await;
        return store.shows("a refused batch writes nothing", &far, None).await;
    }
    let there = store.puts(&far, "there", Expect::Absent).await;
    store.conflicts("a conflict in another partition is one", batch, &[1]).await;
    store.shows("a conflict writes nothing in any partition", &near, None).await;
    let batch = vec![put(&near, "x", Expect::Absent), delete(&far, Expect::Version(there))];
    store.applies("a batch across partitions is applied", batch).await;
    store.shows("a batch across partitions is applied whole", &near, Some(b"x")).await;
    store.shows("a batch across partitions is applied whole", &far, None).await;
}

/// A batch with a value above the limit is refused whole.
pub async fn a_batch_with_a_value_above_the_limit_is_refused(rig: &dyn StoreRig) {
    let store = StoreHandle::open(rig).await;
    let bytes = store.limits().item_bytes_max.saturating_add(1).min(BYTES_TRIED_MAX);
    let large = put(&entity("large"), vec![0; bytes], Expect::Absent);
    let batch = vec![put(&entity("small"), "x", Expect::Absent), large];
    if store.refuses_batch(&batch).await {
        return store.shows("a refused batch writes nothing", &entity("small"), None).await;
    }
    let sentence = "a batch with a value above `item_bytes_max` is refused as too large";
    if bytes > store.limits().item_bytes_max {
        store.refuses(sentence, batch, &[Trouble::TooLarge]).await;
        store.shows("a refused batch writes nothing", &entity("small"), None).await;
    } else {
        store.applies("a batch with a large value is applied", batch).await;
    }
}
