//! Writers that race: through several handles, at the same time.

use std::collections::BTreeMap;

use semel_core::store::{Change, Expect, ItemKey};

use super::handle::{StoreHandle, as_read, delete, entity, put};
use crate::StoreRig;
use crate::concurrency::together;
use crate::verdict::{broken, require_eq};

const WRITERS: usize = 4;
const ROUNDS: usize = 10;

/// Of concurrent conditional updates none is lost: the item holds each that was applied, once.
pub async fn concurrent_updates_lose_nothing(rig: &dyn StoreRig) {
    let handles = handles(rig).await;
    together(handles.clone().into_iter().enumerate().map(|(writer, store)| async move {
        for round in 0..ROUNDS {
            append(&store, &[entity("7")], &format!("{writer}-{round}")).await;
        }
    }))
    .await;
    let sentence = "of concurrent updates under a version none is lost";
    shows_every_tag(&handles[0], sentence, &entity("7")).await;
}

/// Concurrent batches over the same items do not interleave: the items tell one story.
pub async fn concurrent_batches_do_not_interleave(rig: &dyn StoreRig) {
    let handles = handles(rig).await;
    let keys = [entity("a"), entity("b")];
    let trial: Vec<Change> = keys.iter().map(|key| put(key, "", Expect::Absent)).collect();
    if handles[0].refuses_batch(&trial).await {
        return handles[0].shows("a refused batch writes nothing", &keys[0], None).await;
    }
    together(handles.clone().into_iter().enumerate().map(|(writer, store)| async move {
        for round in 0..ROUNDS {
            let mut keys = [entity("a"), entity("b")];
            keys.rotate_left(writer % 2);
            append(&store, &keys, &format!("{writer}-{round}")).await;
        }
    }))
    .await;
    let sentence = "concurrent batches over the same items do not interleave";
    shows_every_tag(&handles[0], sentence, &keys[0]).await;
    let values = [handles[0].read(&keys[0]).await, handles[1].read(&keys[1]).await]
        .map(|item| item.map(|item| item.value));
    require_eq(sentence, &values[0], &values[1]);
}

/// Of concurrent puts that expect the same absent item, exactly one is applied.
pub async fn concurrent_creates_have_one_winner(rig: &dyn StoreRig) {
    let handles = handles(rig).await;
    for round in 0..ROUNDS {
        let key = entity(round.to_string());
        let changes = (0..WRITERS).map(|n| put(&key, format!("writer {n}"), Expect::Absent));
        let winner = one_winner(&handles, changes.collect()).await;
        let value = format!("writer {winner}");
        handles[0].shows("the item is the winner's", &key, Some(value.as_bytes())).await;
    }
}

/// Of concurrent deletes under the same version, exactly one is applied.
pub async fn concurrent_deletes_have_one_winner(rig: &dyn StoreRig) {
    let handles = handles(rig).await;
    for round in 0..ROUNDS {
        let key = entity(round.to_string());
        let version = handles[0].puts(&key, "once", Expect::Absent).await;
        let changes = vec![delete(&key, Expect::Version(version)); WRITERS];
        one_winner(&handles, changes).await;
        handles[0].shows("a deleted item is absent", &key, None).await;
    }
}

/// A handle for each writer; two of them share one.
async fn handles(rig: &dyn StoreRig) -> Vec<StoreHandle> {
    let (one, other) = (StoreHandle::open(rig).await, StoreHandle::open(rig).await);
    (0..WRITERS).map(|writer| if writer % 2 == 0 { one.clone() } else { other.clone() }).collect()
}

/// Adds a line to each item, under the versions they had, again and again until it is applied.
async fn append(store: &StoreHandle, keys: &[ItemKey], line: &str) {
    for _ in 0..10_000 {
        let mut changes = Vec::new();
        for key in keys {
            let item = store.read(key).await;
            let mut value = item.as_ref().map_or(Vec::new(), |item| item.value.to_vec());
            value.extend_from_slice(format!("{line}\n").as_bytes());
            changes.push(put(key, value, as_read(item.as_ref())));
        }
        if store.wins(changes).await {
            return;
        }
    }
    broken("of concurrent writers one always wins", &"10000 conflicts in a row");
}

/// Writes one change through each handle at once. Exactly one must be applied; tells which.
async fn one_winner(handles: &[StoreHandle], changes: Vec<Change>) -> usize {
    let tasks = handles.iter().cloned().zip(changes).enumerate();
    let won = together(tasks.map(|(writer, (store, change))| async move {
        store.wins(vec![change]).await.then_some(writer)
    }))
    .await;
    let winners: Vec<usize> = won.into_iter().flatten().collect();
    match winners.as_slice() {
        [winner] => *winner,
        others => broken("of changes that race for one item exactly one is applied", &others),
    }
}

async fn shows_every_tag(store: &StoreHandle, sentence: &str, key: &ItemKey) {
    let value = store.read(key).await.map(|item| item.value.to_vec()).unwrap_or_default();
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for line in String::from_utf8_lossy(&value).lines() {
        *seen.entry(line.to_owned()).or_default() += 1;
    }
    let expected = (0..WRITERS)
        .flat_map(|writer| (0..ROUNDS).map(move |round| (format!("{writer}-{round}"), 1)))
        .collect();
    require_eq(sentence, &seen, &expected);
}
