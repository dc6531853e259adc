//! Dropping the future of a call leaves its outcome unknown, and nothing else.

use std::time::Duration;

use semel_core::store::{Atomicity, Expect};

use super::handle::{StoreHandle, entity, put};
use crate::StoreRig;

/// A write whose future was dropped is applied whole, later, or never, and harms no other call: no
/// transaction stays open behind it.
pub async fn a_dropped_write_is_whole_or_nothing(rig: &dyn StoreRig) {
    let store = StoreHandle::open(rig).await;
    for round in 0..20_u64 {
        let keys = [entity(format!("a{round}")), entity(format!("b{round}"))];
        let width = if store.limits().atomicity == Atomicity::OneItem { 1 } else { 2 };
        let batch = |value: &'static str| {
            keys[..width].iter().map(|key| put(key, value, Expect::Absent)).collect::<Vec<_>>()
        };
        let patience = Duration::from_micros(round * 50);
        let _dropped = tokio::time::timeout(patience, store.write(batch("dropped"))).await;
        let value = if store.wins(batch("second")).await { "second" } else { "dropped" };
        for key in &keys[..width] {
            let sentence = "a dropped write is applied whole or not at all";
            store.shows(sentence, key, Some(value.as_bytes())).await;
        }
    }
    let other = StoreHandle::open(rig).await;
    other.puts(&entity("after"), "x", Expect::Absent).await;
}
