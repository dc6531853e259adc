//! Keys are text of any kind, and different keys are different items.

use std::collections::BTreeSet;

use semel_core::store::{Expect, ItemKey, Space, Trouble, WriteOutcome};

use super::handle::{StoreHandle, in_every_space, put};
use crate::StoreRig;
use crate::verdict::{broken, require_eq};

/// How long a partition or a key may be everywhere, in bytes.
const KEY_BYTES: usize = 512;

/// Items of different spaces do not meet, not even under one partition and key.
pub async fn spaces_do_not_meet(rig: &dyn StoreRig) {
    let store = StoreHandle::open(rig).await;
    are_kept_apart(&store, "items of different spaces do not meet", &in_every_space()).await;
}

/// Partitions and keys may hold any text, and are compared exactly: no case folding, trimming,
/// normalisation or joining.
pub async fn odd_keys_are_kept_apart(rig: &dyn StoreRig) {
    let store = StoreHandle::open(rig).await;
    let keys: BTreeSet<ItemKey> = odd_pairs()
        .into_iter()
        .map(|(partition, key)| ItemKey::new(Space::Entity, partition, key))
        .collect();
    let keys: Vec<ItemKey> = keys.into_iter().collect();
    are_kept_apart(&store, "items under different partitions and keys do not meet", &keys).await;
}

fn odd_pairs() -> Vec<(&'static str, &'static str)> {
    let joined = [("a", "bc"), ("ab", "c"), ("a/b", "c"), ("a", "b/c"), ("a:b", "c"), ("a", "b:c")];
    let odd = [
        "", " ", "a", "A", "a ", " a", "a.b", "../a", "a\\b", "a?b#c", "%41", "a%2Fb", "a'b",
        "\"a\"", "a\nb", "a\tb", "a_c", "a%c", "*", "\u{e9}", "e\u{301}", "ß", "ss", "世界", "🦀",
        "007", "7", "7.0", "true", "null",
    ];
    let as_key = odd.into_iter().map(|text| ("orders", text));
    let as_partition = odd.into_iter().map(|text| (text, "7"));
    joined.into_iter().chain(as_key).chain(as_partition).collect()
}

/// Partitions and keys of 512 bytes each are kept, and compared to their last byte.
pub async fn long_keys_are_kept_apart(rig: &dyn StoreRig) {
    let store = StoreHandle::open(rig).await;
    let long = |last: &str| format!("{}{last}", "k".repeat(KEY_BYTES - last.len()));
    let keys = [("a", "a"), ("a", "b"), ("b", "a"), ("b", "b")]
        .map(|(partition, key)| ItemKey::new(Space::Inbox, long(partition), long(key)));
    are_kept_apart(&store, "items under long keys do not meet", &keys).await;
}

/// A key that holds a NUL character is kept whole or refused, never cut.
pub async fn a_key_with_nul_is_whole_or_refused(rig: &dyn StoreRig) {
    let store = StoreHandle::open(rig).await;
    let sentence = "a key that holds a NUL character is kept whole or refused";
    let key = |text: &str| ItemKey::new(Space::Entity, "orders", text);
    store.puts(&key("a"), "before it", Expect::Absent).await;
    let held = match store.write(vec![put(&key("a\0b"), "around it", Expect::Absent)]).await {
        WriteOutcome::Applied(_) => true,
        WriteOutcome::Refused(error)
            if [Trouble::Unsupported, Trouble::TooLarge].contains(&error.trouble) =>
        {
            false
        }
        other => broken(sentence, &other),
    };
    if held {
        store.shows(sentence, &key("a\0b"), Some(b"around it")).await;
        store.shows(sentence, &key("a\0c"), None).await;
    }
    store.shows(sentence, &key("a"), Some(b"before it")).await;
}

/// Puts an item under each key, each with a value of its own, and reads them all.
async fn are_kept_apart(store: &StoreHandle, sentence: &str, keys: &[ItemKey]) {
    let value = |number: usize| format!("item {number}");
    for (number, key) in keys.iter().enumerate() {
        match store.write(vec![put(key, value(number), Expect::Absent)]).await {
            WriteOutcome::Applied(versions) => require_eq(sentence, &versions.len(), &1),
            other => broken(sentence, &format_args!("{key:?}: {other:?}")),
        }
    }
    for (number, key) in keys.iter().enumerate() {
        store.shows(sentence, key, Some(value(number).as_bytes())).await;
    }
}
