//! Listing a space, where the store offers it.

use semel_core::store::{Expect, Item, ItemKey, Listing, Page, Space, Trouble};

use super::handle::{StoreHandle, delete, entity, require_clear};
use crate::StoreRig;
use crate::verdict::{broken, require, require_eq};

/// A listing is in the order of (partition, key), byte by byte, in every space.
pub async fn a_listing_is_in_order(rig: &dyn StoreRig) {
    let Some(store) = listing_store(rig).await else { return };
    for space in Space::ALL {
        let keys = filled(&store, space).await;
        let seen: Vec<ItemKey> =
            pages(&store, space, 100).await.into_iter().map(|i| i.key).collect();
        require_eq("a listing is in the order of (partition, key)", &seen, &keys);
    }
}

/// A listing holds at most as many items as asked for, and goes on after any key, present or not, in
/// every space.
pub async fn a_listing_goes_on_after_a_key(rig: &dyn StoreRig) {
    let Some(store) = listing_store(rig).await else { return };
    for space in Space::ALL {
        goes_on_after_a_key(&store, space).await;
    }
}

async fn goes_on_after_a_key(store: &StoreHandle, space: Space) {
    let keys = filled(store, space).await;
    for limit in [1, 2, 3, keys.len()] {
        let items = pages(store, space, limit).await;
        let seen: Vec<ItemKey> = items.into_iter().map(|item| item.key).collect();
        require_eq("page after page, a listing shows each item once", &seen, &keys);
    }
    for after in [("", ""), ("a", "5"), ("a", "zz"), ("aa", "x"), ("🦀🦀", "")] {
        let after = ItemKey::new(space, after.0, after.1);
        let expected: Vec<&ItemKey> = keys.iter().filter(|key| **key > after).collect();
        let page = Page { space, after: Some(after.clone()), limit: 100 };
        let items = store.list(&page).await;
        let seen: Vec<&ItemKey> = items.iter().map(|item| &item.key).collect();
        require_eq("a listing goes on after a key that is not there", &seen, &expected);
    }
}

/// A listing shows the items of its space alone.
pub async fn a_listing_shows_one_space(rig: &dyn StoreRig) {
    let Some(store) = listing_store(rig).await else { return };
    for space in Space::ALL {
        store.puts(&ItemKey::new(space, space.name(), "7"), "x", Expect::Absent).await;
    }
    for space in Space::ALL {
        let seen: Vec<ItemKey> =
            pages(&store, space, 10).await.into_iter().map(|i| i.key).collect();
        let expected = vec![ItemKey::new(space, space.name(), "7")];
        require_eq("a listing shows the items of its space alone", &seen, &expected);
    }
}

/// A listing is strongly consistent: it shows each item as a read does, through any handle.
pub async fn a_listing_shows_what_a_read_shows(rig: &dyn StoreRig) {
    let Some(store) = listing_store(rig).await else { return };
    let other = StoreHandle::open(rig).await;
    let sentence = "a listing shows what a read shows";
    for round in 0..3 {
        store.puts(&entity("7"), format!("round {round}"), Expect::Anything).await;
        let read = other.read(&entity("7")).await;
        require_eq(sentence, &pages(&other, Space::Entity, 10).await.pop(), &read);
    }
    let gone = vec![delete(&entity("7"), Expect::Anything)];
    other.applies("a delete is applied", gone).await;
    require_eq("a deleted item is not listed", &pages(&store, Space::Entity, 10).await, &vec![]);
}

/// A handle to a store that lists; one that does not must refuse to, clearly.
async fn listing_store(rig: &dyn StoreRig) -> Option<StoreHandle> {
    let store = StoreHandle::open(rig).await;
    if store.limits().listing == Listing::Supported {
        return Some(store);
    }
    let sentence = "a store that does not offer listing refuses it";
    match store.try_list(&Page { space: Space::Entity, after: None, limit: 1 }).await {
        Err(error) => require_clear(sentence, &error, &[Trouble::Unsupported]),
        Ok(items) => broken(sentence, &items),
    }
    None
}

/// Puts items whose keys a wrong comparison misorders; gives their keys in order.
async fn filled(store: &StoreHandle, space: Space) -> Vec<ItemKey> {
    let pairs = [
        ("a", "z"),
        ("a", "Z"),
        ("a", "10"),
        ("a", "9"),
        ("a", "é"),
        ("a", "z "),
        ("a!", "a"),
        ("ab", "a"),
        ("B", "a"),
        ("ä", "a"),
        ("a/b", "a"),
        ("🦀", "a"),
        ("\u{ff5e}", "a"),
    ];
    let mut keys: Vec<ItemKey> =
        pairs.into_iter().map(|(p, k)| ItemKey::new(space, p, k)).collect();
    for key in &keys {
        store.puts(key, "x", Expect::Absent).await;
    }
    keys.sort();
    keys
}

/// All items of a space, page by page. A page may be short; an empty one is the end.
async fn pages(store: &StoreHandle, space: Space, limit: usize) -> Vec<Item> {
    let mut items: Vec<Item> = Vec::new();
    for _ in 0..100 {
        let after = items.last().map(|item| item.key.clone());
        let page = store.list(&Page { space, after, limit }).await;
        require("a page holds at most `limit` items", page.len() <= limit, &page);
        if page.is_empty() {
            return items;
        }
        items.extend(page);
    }
    broken("page after page, a listing comes to its end", &items.last())
}
