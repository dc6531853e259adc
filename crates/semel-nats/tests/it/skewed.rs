//! Processes whose clocks are an hour off.

use std::process::Command;
use std::time::Duration;

use semel_core::Broker as _;
use semel_core::broker::{Outgoing, Receive, SendOutcome, Settlement};
use semel_nats::{Nats, Options};

use crate::rig::{address, fresh_options, id, message, settled, to};

/// Set for the process under another clock: the prefix of its queues.
const PREFIX: &str = "SEMEL_TEST_PREFIX";
const NAME: &str = "skewed::a_message_that_waits_comes_whatever_the_clocks_say";

async fn open(prefix: &str) -> Nats {
    let options = Options { prefix: prefix.to_owned(), ..fresh_options() };
    Nats::connect(&address(), options).await.unwrap()
}

async fn later(nats: &Nats, endpoint: &str, id: &str) {
    let outgoing = Outgoing { delay: Duration::from_millis(300), ..to(endpoint, message(id)) };
    assert!(matches!(nats.send(vec![outgoing]).await.as_slice(), [SendOutcome::Sent]));
}

/// The next message, which must come within some seconds; what becomes of it.
async fn take(nats: &Nats, endpoint: &str, settlement: Settlement) -> String {
    let wait = Duration::from_secs(20);
    let (endpoint, lease) = (endpoint.to_owned(), Duration::from_secs(2));
    let received = nats.receive(&Receive { endpoint, max: 1, lease, wait }).await;
    let delivery = received.unwrap().pop().unwrap_or_else(|| panic!("nothing came"));
    settled(nats, &delivery, settlement).await;
    id(&delivery).to_owned()
}

/// The process under another clock: what it was sent comes, is given back, and comes again; it
/// answers, and leaves a lease behind.
async fn child(prefix: &str) {
    let nats = open(prefix).await;
    let after = Duration::from_millis(300);
    take(&nats, "to-child", Settlement::Release { after }).await;
    take(&nats, "to-child", Settlement::Ack).await;
    later(&nats, "to-parent", "answer").await;
    let (endpoint, lease) = ("leased".to_owned(), Duration::from_millis(500));
    let request = Receive { endpoint, max: 1, lease, wait: Duration::from_secs(20) };
    assert_eq!(nats.receive(&request).await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_waits_comes_whatever_the_clocks_say() {
    if let Ok(prefix) = std::env::var(PREFIX) {
        return child(&prefix).await;
    }
    for ahead_s in [3_600, -3_600] {
        let prefix = fresh_options().prefix;
        let nats = open(&prefix).await;
        later(&nats, "to-child", "question").await;
        nats.send(vec![to("leased", message("left"))]).await;
        let mut child = Command::new(std::env::current_exe().unwrap());
        child.args(["--exact", NAME]).env(PREFIX, &prefix);
        semel_servers::set_clock(&mut child, ahead_s).unwrap();
        let output = tokio::task::spawn_blocking(move || child.output().unwrap()).await.unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        assert_eq!(take(&nats, "to-parent", Settlement::Ack).await, "answer", "{ahead_s} s");
        // The lease of a worker that is gone ends as for everyone.
        assert_eq!(take(&nats, "leased", Settlement::Ack).await, "left", "{ahead_s} s");
    }
}
