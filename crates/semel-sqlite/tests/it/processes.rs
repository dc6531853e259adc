//! Several processes on one file.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use semel_core::Broker;
use semel_core::broker::{Receive, SendOutcome, SettleOutcome, Settlement};
use semel_sqlite::Sqlite;
use tokio::task::JoinSet;

use crate::child;
use crate::rig::{Rig, message, queued, receive};

const MESSAGES: usize = 2_000;

/// In a child: receives and settles until nothing is left, and tells what it settled.
pub(crate) fn settle(path: &Path, _: &str) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let file = Arc::new(Sqlite::open(path).unwrap());
    runtime.block_on(async {
        let patient = Receive { wait: Duration::from_millis(50), ..receive(40) };
        // Each has its first share before any goes on, however quick one of them is.
        let mut deliveries = file.receive(&patient).await.unwrap();
        child::await_go();
        while !deliveries.is_empty() {
            let mut settling = JoinSet::new();
            for delivery in deliveries {
                let file = file.clone();
                settling.spawn(async move {
                    match file.settle(&delivery.receipt, Settlement::Ack).await {
                        SettleOutcome::Settled => child::tell(&delivery.envelope.unwrap().id),
                        other => panic!("{other:?}"),
                    }
                });
            }
            settling.join_all().await;
            deliveries = file.receive(&patient).await.unwrap();
        }
    });
}

#[tokio::test]
async fn processes_that_compete_settle_each_message_once() {
    let rig = Rig::new();
    // The children have the clock of the machine.
    let file = Sqlite::open(rig.path()).unwrap();
    let messages = (0..MESSAGES).map(|n| queued(message(n.to_string()))).collect();
    let outcomes = file.send(messages).await;
    assert!(outcomes.iter().all(|outcome| matches!(outcome, SendOutcome::Sent)));
    let mut children =
        [(); 2].map(|()| child::spawn(&mut child::command("settle", &rig.path(), "")));
    child::let_go(&mut children);
    let settled = children.map(child::finish);
    assert!(settled.iter().all(|ids| !ids.is_empty()), "both had a share");
    let count: usize = settled.iter().map(Vec::len).sum();
    let distinct: BTreeSet<&String> = settled.iter().flatten().collect();
    assert_eq!((count, distinct.len()), (MESSAGES, MESSAGES));
    assert_eq!(rig.ask::<i64>("SELECT count(*) FROM queue"), 0);
}
