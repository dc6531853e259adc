//! The order of messages with one partition key, where their times cross.

use std::time::Duration;

use semel_core::broker::{Destination, FailureRecord, Outgoing, Receive, Settlement};
use semel_core::envelope::PARTITION_KEY;
use semel_core::{Broker as _, Clock as _, Envelope, ManualClock};
use semel_sqlite::{Options, Sqlite};

fn ordered(id: &str) -> Outgoing {
    let mut envelope = Envelope::new(id, "/test", "test.step", "{}");
    envelope.set_text(PARTITION_KEY, "k");
    let to = Destination::Endpoint("steps".to_owned());
    Outgoing { to, envelope, delay: Duration::ZERO }
}

/// The second waits for the first, which is due for its retry; the third was queued after that
/// retry fell due. Judged by the first alone, it could go.
#[tokio::test]
async fn a_message_that_waits_is_not_overtaken_by_a_later_one_in_the_same_receive() {
    let folder = tempfile::tempdir().unwrap();
    let clock = std::sync::Arc::new(ManualClock::default());
    let options = Options { clock: clock.clone(), ..Options::default() };
    let file = Sqlite::open_with(folder.path().join("place.db"), options).unwrap();
    let request = Receive {
        endpoint: "steps".to_owned(),
        max: 10,
        lease: Duration::from_secs(30),
        wait: Duration::ZERO,
    };
    drop(file.send(vec![ordered("1")]).await);
    let first = file.receive(&request).await.unwrap().remove(0);
    let failure =
        FailureRecord { at: clock.now(), reason: "not yet".into(), worker: "test".into() };
    let retry = Settlement::Retry { after: Duration::from_millis(1_000), failure };
    drop(file.settle(&first.receipt, retry).await);
    clock.advance(Duration::from_millis(10));
    drop(file.send(vec![ordered("2")]).await);
    clock.advance(Duration::from_millis(993));
    drop(file.send(vec![ordered("3")]).await);
    clock.advance(Duration::from_millis(10));
    let mut order = Vec::new();
    while order.len() < 3 {
        for delivery in file.receive(&request).await.unwrap() {
            order.push(delivery.envelope.unwrap().id);
            drop(file.settle(&delivery.receipt, Settlement::Ack).await);
        }
    }
    assert_eq!(order, ["1", "2", "3"]);
}
