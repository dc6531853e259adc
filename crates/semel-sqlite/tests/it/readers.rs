//! Whoever reads sees what was acknowledged before, and waits for nobody.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use semel_core::broker::Receive;
use semel_core::store::{Expect, ItemKey, Page, Space};
use semel_core::{Broker, Store};
use semel_sqlite::Sqlite;

use crate::rig::{Rig, applied, entity, message, put, put_if, queued, receive, send, take, value};

async fn number(file: &Sqlite, name: &str) -> u64 {
    let value = value(file, entity(name)).await.unwrap();
    std::str::from_utf8(&value).unwrap().parse().unwrap()
}

#[test]
fn readers_of_every_handle_see_what_was_acknowledged() {
    let rig = Rig::new();
    let writer = rig.open();
    let runtime = || tokio::runtime::Builder::new_current_thread().build().unwrap();
    let first = vec![put(entity("count"), "0"), put(entity("twin"), "0")];
    applied(runtime().block_on(writer.write(first)));
    let (acknowledged, is_done) = (AtomicU64::new(0), AtomicBool::new(false));
    let other = rig.open();
    let looks = std::thread::scope(|scope| {
        let readers: Vec<_> = [&writer, &writer, &other, &other]
            .map(|file| {
                let (acknowledged, is_done) = (&acknowledged, &is_done);
                scope.spawn(move || {
                    let runtime = runtime();
                    let mut looks = 0;
                    while !is_done.load(Ordering::SeqCst) || looks == 0 {
                        let before = acknowledged.load(Ordering::SeqCst);
                        let (first, second) = runtime.block_on(async {
                            (number(file, "twin").await, number(file, "count").await)
                        });
                        assert!(before <= first && first <= second, "{before} {first} {second}");
                        looks += 1;
                    }
                    looks
                })
            })
            .into_iter()
            .collect();
        runtime().block_on(async {
            for n in 1..=150_u64 {
                let text = n.to_string();
                let changes = vec![put(entity("count"), text.clone()), put(entity("twin"), text)];
                applied(writer.write(changes).await);
                acknowledged.store(n, Ordering::SeqCst);
            }
        });
        is_done.store(true, Ordering::SeqCst);
        readers.into_iter().map(|reader| reader.join().unwrap()).sum::<u64>()
    });
    assert!(looks > 150, "{looks}");
}

#[tokio::test]
async fn several_items_read_together_are_never_older_than_the_ones_before() {
    let rig = Rig::new();
    let file = rig.open();
    applied(file.write(vec![put(entity("b"), "1")]).await);
    let found = file.read_all(&[entity("a"), entity("b"), entity("b")]).await.unwrap();
    assert_eq!(found.len(), 3);
    assert_eq!(found[0], None);
    assert_eq!(found[1], found[2]);
}

#[tokio::test]
async fn pages_list_each_item_of_a_space_once_in_order() {
    let rig = Rig::new();
    let file = rig.open();
    let mut keys = Vec::new();
    for partition in ["", "a", "a ", "b", "Z", "é", "🦀"] {
        for key in ["", "1", "10", "2", "'", "é"] {
            keys.push(ItemKey::new(Space::Outbox, partition, key));
        }
    }
    let changes = keys.iter().map(|key| put_if(key.clone(), "1", Expect::Absent)).collect();
    applied(file.write(changes).await);
    applied(file.write(vec![put(entity("of another space"), "1")]).await);
    // The page that begins at the beginning cannot name what lies before the empty names.
    keys.retain(|key| !(key.partition.is_empty() && key.key.is_empty()));
    keys.sort();
    for limit in [1, 5, 1_000] {
        let mut page = Page { space: Space::Outbox, after: None, limit };
        let mut listed = Vec::new();
        loop {
            let items = file.list(&page).await.unwrap();
            assert!(items.len() <= limit);
            let Some(last) = items.last() else { break };
            page.after = Some(last.key.clone());
            listed.extend(items.into_iter().map(|item| item.key));
        }
        assert_eq!(listed, keys, "{limit}");
    }
}

/// A message behind one that waits is not worth a commit, however often somebody asks.
#[tokio::test]
async fn waiting_for_a_message_writes_nothing() {
    let rig = Rig::new();
    let file = rig.open();
    for id in ["first", "second"] {
        let mut envelope = message(id);
        envelope.set_text(semel_core::envelope::PARTITION_KEY, "alice");
        file.send(vec![queued(envelope)]).await;
    }
    assert_eq!(take(&file, 1).await.len(), 1);
    let before = file.commits();
    let waiting = Receive { wait: Duration::from_millis(100), ..receive(9) };
    for _ in 0..3 {
        assert!(file.receive(&waiting).await.unwrap().is_empty());
    }
    assert_eq!(file.commits(), before);
}

#[tokio::test]
async fn a_receiver_hears_of_a_message_from_another_handle() {
    let rig = Rig::new();
    let (here, there) = (Arc::new(rig.open()), rig.open());
    let receiving = tokio::spawn(async move {
        here.receive(&Receive { wait: Duration::from_secs(600), ..receive(1) }).await.unwrap()
    });
    tokio::task::yield_now().await;
    send(&there, "m-1").await;
    assert_eq!(receiving.await.unwrap().len(), 1);
}
