//! Plans that the server kept from a time when a queue was empty.

use std::time::Duration;

use semel_core::broker::{Destination, Outgoing, Receive, SendOutcome, SettleOutcome, Settlement};
use semel_core::{Broker, Envelope};
use semel_postgres::Postgres;
use semel_postgres::tokio_postgres::{self, Client, NoTls};

use crate::rig::{address, fresh};

const MESSAGES: usize = 20_000;
/// Transactions after which every connection has made its plans anew.
const TURNS: usize = 150;

/// While a queue is empty, the server counts its rows and makes its plans. Then it fills: settling a
/// few messages must not go through all of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_planned_for_an_empty_queue_is_planned_anew() {
    let rig = fresh().await;
    let place = rig.open().await;
    let (bare, connection) = tokio_postgres::connect(&address(), NoTls).await.unwrap();
    tokio::spawn(connection);
    send(&place, 0..1).await;
    settle_some(&place).await;
    bare.batch_execute(&format!("VACUUM ANALYZE {}.queue", rig.schema)).await.unwrap();
    // Enough for plans that are kept, on each connection.
    for number in 1..60 {
        send(&place, number * 10..number * 10 + 10).await;
        assert!(settle_some(&place).await > 0);
    }
    bare.batch_execute(&format!("VACUUM ANALYZE {}.queue", rig.schema)).await.unwrap();
    for start in (0..MESSAGES).step_by(1_000) {
        send(&place, start + 1_000..start + 2_000).await;
    }
    for _ in 0..TURNS {
        settle_some(&place).await;
    }
    let before = looked_at(&bare, &rig.schema).await;
    for _ in 0..TURNS {
        assert!(settle_some(&place).await > 0);
    }
    let looks = looked_at(&bare, &rig.schema).await - before;
    assert!(
        looks < 200 * TURNS as i64,
        "{looks} entries of indexes for {TURNS} times ten messages"
    );
}

async fn send(place: &Postgres, numbers: std::ops::Range<usize>) {
    let messages = numbers.map(|number| Outgoing {
        to: Destination::Endpoint("orders".to_owned()),
        envelope: Envelope::new(format!("{number}"), "/shop", "order.placed", b"{}".as_slice()),
        delay: Duration::ZERO,
    });
    for outcome in place.send(messages.collect()).await {
        assert!(matches!(outcome, SendOutcome::Sent), "{outcome:?}");
    }
}

/// Receives and settles up to ten messages; tells how many.
async fn settle_some(place: &Postgres) -> usize {
    let (endpoint, lease) = ("orders".to_owned(), Duration::from_secs(60));
    let request = Receive { endpoint, max: 10, lease, wait: Duration::ZERO };
    let received = place.receive(&request).await.unwrap();
    for delivery in &received {
        let outcome = place.settle(&delivery.receipt, Settlement::Ack).await;
        assert!(matches!(outcome, SettleOutcome::Settled), "{outcome:?}");
    }
    received.len()
}

/// How many entries of the queue's indexes were looked at so far.
async fn looked_at(bare: &Client, schema: &str) -> i64 {
    // The server tells a second later, at the most.
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    let sql = "SELECT coalesce(sum(idx_tup_read), 0)::bigint FROM pg_stat_user_indexes \
               WHERE schemaname = $1 AND relname = 'queue'";
    bare.query_one(sql, &[&schema]).await.unwrap().get(0)
}
