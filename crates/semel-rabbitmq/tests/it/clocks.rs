//! Processes whose clocks are an hour off.

use std::process::Command;
use std::time::Duration;

use semel_core::Broker as _;
use semel_core::broker::{Destination, Outgoing, SendOutcome, Settlement};

use crate::rig::{fresh_prefix, shared};
use crate::worker::{Worker, failure, id_of, message};

/// Set for the process under another clock: the prefix of its queues.
const PREFIX: &str = "SEMEL_TEST_PREFIX";
const NAME: &str = "clocks::a_message_that_waits_comes_whatever_the_clocks_say";

async fn later(worker: &Worker, endpoint: &str, id: &str) {
    let (to, envelope) = (Destination::Endpoint(endpoint.to_owned()), message(id));
    let outgoing = Outgoing { to, envelope, delay: Duration::from_millis(300) };
    assert!(matches!(worker.0.send(vec![outgoing]).await.as_slice(), [SendOutcome::Sent]));
}

/// The process under another clock: what it was sent comes, fails, and comes again; it answers.
async fn child(prefix: &str) {
    let worker = Worker::connect(&shared(), prefix).await;
    let delivery = worker.next("to-child").await;
    let (after, failure) = (Duration::from_millis(300), failure("not yet"));
    worker.settle(&delivery, Settlement::Retry { after, failure }).await;
    let delivery = worker.next("to-child").await;
    later(&worker, "to-parent", "answer").await;
    worker.settle(&delivery, Settlement::Ack).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_waits_comes_whatever_the_clocks_say() {
    if let Ok(prefix) = std::env::var(PREFIX) {
        return child(&prefix).await;
    }
    for ahead_s in [3_600, -3_600] {
        let prefix = fresh_prefix();
        let worker = Worker::connect(&shared(), &prefix).await;
        later(&worker, "to-child", "question").await;
        let mut child = Command::new(std::env::current_exe().unwrap());
        child.args(["--exact", NAME]).env(PREFIX, &prefix);
        semel_servers::set_clock(&mut child, ahead_s).unwrap();
        let child = tokio::task::spawn_blocking(move || child.output().unwrap());
        assert_eq!(id_of(&worker.next("to-parent").await), "answer", "{ahead_s} s");
        let output = child.await.unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }
}
