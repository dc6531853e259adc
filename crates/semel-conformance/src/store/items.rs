//! What is put is read, whole, by everyone.

use bytes::Bytes;
use semel_core::broker::Receipt;
use semel_core::store::{Change, Expect, QueueHome, Trouble};

use super::handle::{StoreHandle, entity, in_every_space, put};
use crate::StoreRig;
use crate::sample::{BYTES_TRIED_MAX, RELEASE, message, to};

/// An item that was never put is absent.
pub async fn an_item_never_put_is_absent(rig: &dyn StoreRig) {
    let store = StoreHandle::open(rig).await;
    for key in in_every_space() {
        store.shows("an item that was never put is absent", &key, None).await;
    }
}

/// A value comes back byte for byte: empty, not UTF-8, with zeros, looking like something else.
pub async fn a_value_comes_back_as_it_was_put(rig: &dyn StoreRig) {
    let store = StoreHandle::open(rig).await;
    let every_byte: Vec<u8> = (0..=u8::MAX).collect();
    let values: [&[u8]; 6] =
        [b"", b"\0", b"\xff\xfe\xc3(", b" {\"a\" : 1.0} ", b"NULL", &every_byte];
    for (number, value) in values.into_iter().enumerate() {
        let key = entity(number.to_string());
        store.puts(&key, Bytes::copy_from_slice(value), Expect::Absent).await;
        store.shows("a value comes back as it was put", &key, Some(value)).await;
    }
}

/// A value may be as large as the store's limit says; a limit above 16 MiB is tried up to there.
pub async fn the_largest_value_is_kept(rig: &dyn StoreRig) {
    let store = StoreHandle::open(rig).await;
    let bytes = store.limits().item_bytes_max.min(BYTES_TRIED_MAX);
    let value = patterned(bytes);
    store.puts(&entity("large"), value.clone(), Expect::Absent).await;
    store.shows("a value of `item_bytes_max` is kept", &entity("large"), Some(&value)).await;
}

/// A value above the limit is refused as [`Trouble::TooLarge`], and nothing is written; a limit
/// above 16 MiB is not tried.
pub async fn a_value_above_the_limit_is_refused(rig: &dyn StoreRig) {
    let store = StoreHandle::open(rig).await;
    let bytes = store.limits().item_bytes_max;
    if bytes > BYTES_TRIED_MAX {
        return the_largest_value_is_kept(rig).await;
    }
    let sentence = "a value above `item_bytes_max` is refused as too large";
    let key = entity("large");
    for expect in [Expect::Absent, Expect::Anything] {
        let change = put(&key, patterned(bytes + 1), expect);
        store.refuses(sentence, vec![change], &[Trouble::TooLarge]).await;
        store.shows("a refused put writes nothing", &key, None).await;
    }
    let version = store.puts(&key, "small", Expect::Absent).await;
    let change = put(&key, patterned(bytes + 1), Expect::Version(version));
    store.refuses(sentence, vec![change], &[Trouble::TooLarge]).await;
    store.shows("a refused put leaves the item as it was", &key, Some(b"small")).await;
}

fn patterned(bytes: usize) -> Bytes {
    (0..=u8::MAX).cycle().take(bytes).collect()
}

/// A read sees every batch whose `Applied` was returned before the read began, to anyone.
pub async fn a_write_is_seen_by_every_handle(rig: &dyn StoreRig) {
    let handles = [StoreHandle::open(rig).await, StoreHandle::open(rig).await];
    let sentence = "a read sees every batch that was applied before, through any handle";
    for round in 0..6_usize {
        let (writer, reader) = (&handles[round % 2], &handles[(round + 1) % 2]);
        let value = format!("round {round}");
        writer.puts(&entity("7"), value.clone(), Expect::Anything).await;
        reader.shows(sentence, &entity("7"), Some(value.as_bytes())).await;
        let delete = Change::Delete { key: entity("7"), expect: Expect::Anything };
        reader.applies("a delete of anything is applied", vec![delete]).await;
        writer.shows(sentence, &entity("7"), None).await;
    }
}

/// What was `Applied` is durable: it outlives the handle that wrote it.
pub async fn an_item_outlives_its_handle(rig: &dyn StoreRig) {
    let first = StoreHandle::open(rig).await;
    let version = first.puts(&entity("7"), "kept", Expect::Absent).await;
    drop(first);
    let second = StoreHandle::open(rig).await;
    second.shows("an item outlives its handle", &entity("7"), Some(b"kept")).await;
    second.puts(&entity("7"), "changed", Expect::Version(version)).await;
}

/// A store that holds the queue takes an `Enqueue`; any other refuses `Enqueue` and `Settle` as
/// [`Trouble::Unsupported`], and writes nothing of their batch.
pub async fn a_queue_is_inside_or_refused(rig: &dyn StoreRig) {
    let store = StoreHandle::open(rig).await;
    let enqueue = Change::Enqueue(to("orders", message("1")));
    match store.limits().queue {
        QueueHome::Inside => {
            store.applies("a store that holds the queue takes an `Enqueue`", vec![enqueue]).await;
        }
        QueueHome::Elsewhere => refuses_a_queue(&store).await,
    }
}

/// Asserts that a store without a queue says so and writes nothing.
pub(crate) async fn refuses_a_queue(store: &StoreHandle) {
    let enqueue = Change::Enqueue(to("orders", message("1")));
    let settle = Change::Settle { receipt: Receipt::new("1"), settlement: RELEASE };
    for change in [enqueue, settle] {
        let sentence = "a store whose queue is elsewhere refuses `Enqueue` and `Settle`";
        store.refuses(sentence, vec![change.clone()], &[Trouble::Unsupported]).await;
        let mut batch = vec![put(&entity("beside"), "x", Expect::Absent), change];
        batch.truncate(store.limits().batch_changes_max);
        if batch.len() == 2 {
            store.refuses(sentence, batch, &[Trouble::Unsupported]).await;
        }
        store.shows("a refused batch writes nothing", &entity("beside"), None).await;
    }
}
