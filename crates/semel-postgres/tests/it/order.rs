//! Many who write the same rows.

use std::sync::Arc;

use bytes::Bytes;
use semel_core::Store as _;
use semel_core::store::{Change, Expect, ItemKey, Keep, Space, WriteOutcome};
use semel_postgres::{Options, Postgres, Wake};
use semel_servers::{Durability, Postgres as Server};

fn put(key: String) -> Change {
    let key = ItemKey::new(Space::Entity, "account", key);
    Change::Put {
        key,
        value: Bytes::from_static(b"1"),
        expect: Expect::Anything,
        keep: Keep::Always,
    }
}

/// The keys from 0 to 39, in an order that each number has for itself.
fn shuffled(number: usize) -> Vec<Change> {
    let step = [1, 3, 7, 9, 11, 13, 17, 19][number % 8];
    (0..40).map(|at| put(format!("key-{}", (at * step + number) % 40))).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batches_in_any_order_never_lock_each_other_out() {
    let folder = semel_servers::folder().join("tests/postgres-order");
    let server = Server::start(&folder, Durability::Kill).unwrap();
    let mut writers = Vec::new();
    for writer in 0..4 {
        let options = Options { wake: Wake::Look, ..Options::default() };
        let place = Postgres::connect_with(&server.address(), options).await.unwrap();
        let place = Arc::new(place);
        writers.push(tokio::spawn(async move {
            for round in 0..60 {
                let outcome = place.write(shuffled(writer * 60 + round)).await;
                assert!(matches!(outcome, WriteOutcome::Applied(_)), "{outcome:?}");
            }
        }));
    }
    for writer in writers {
        writer.await.unwrap();
    }
    let sql = "SELECT deadlocks FROM pg_stat_database WHERE datname = 'postgres'";
    assert_eq!(server.run(sql).unwrap(), "0");
}
