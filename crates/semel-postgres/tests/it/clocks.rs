//! Workers whose clocks are an hour apart, on one queue.

use std::sync::Arc;
use std::time::Duration;

use semel_core::broker::{Destination, Outgoing, Receive, SendOutcome};
use semel_core::protocols::Transactional;
use semel_core::{Backend, Broker, Clock, Endpoint, Envelope, Message as _, Timestamp};
use semel_core::{Host, SystemClock};
use semel_postgres::{Options, Postgres};

use crate::rig::{address, fresh_schema};
use crate::work::{Deposit, account, deposit, deposit_handler, note_handler};

const HOUR: Duration = Duration::from_secs(60 * 60);
/// Far longer than anything here takes; only a test that fails waits for it.
const LONG: Duration = Duration::from_secs(60);

/// Each worker drops what is past its window every ten seconds.
const PURGED_AFTER: Duration = Duration::from_secs(11);

/// How a worker's clock goes.
#[derive(Clone, Copy, Debug)]
enum Wrong {
    Ahead,
    Behind,
}

impl Clock for Wrong {
    fn now(&self) -> Timestamp {
        match self {
            Self::Ahead => SystemClock.now().after(HOUR),
            Self::Behind => SystemClock.now().before(HOUR),
        }
    }
}

/// A process of its own, with a wrong clock.
async fn worker(schema: &str, clock: Wrong) -> (Arc<Postgres>, Backend) {
    let options = Options { schema: schema.to_owned(), ..Options::default() };
    let place = Arc::new(Postgres::connect_with(&address(), options).await.unwrap());
    (place.clone(), Backend::in_one(place).with_clock(Arc::new(clock)))
}

fn look() -> Receive {
    Receive { endpoint: "account".to_owned(), max: 10, lease: LONG, wait: Duration::ZERO }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_ends_for_all_when_the_server_says_so() {
    let schema = fresh_schema();
    let (ahead, backend) = worker(&schema, Wrong::Ahead).await;
    let (behind, _) = worker(&schema, Wrong::Behind).await;
    deposit(&backend, "a").await.unwrap();
    for (holder, other) in [(&behind, &ahead), (&ahead, &behind)] {
        let held = holder.receive(&look()).await.unwrap();
        assert_eq!(held.len(), 1);
        assert_eq!(other.receive(&look()).await.unwrap().len(), 0, "the lease has not ended");
        // Now it ends soon.
        holder.extend(&[held[0].receipt.clone()], Duration::from_millis(10)).await.unwrap();
        let again = Receive { wait: LONG, lease: Duration::from_millis(10), ..look() };
        assert_eq!(other.receive(&again).await.unwrap().len(), 1, "the lease has ended");
        // So does that of the one who took it.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delay_ends_when_the_server_says_so() {
    let schema = fresh_schema();
    let (ahead, _) = worker(&schema, Wrong::Ahead).await;
    let (behind, _) = worker(&schema, Wrong::Behind).await;
    for (sender, receiver) in [(&ahead, &behind), (&behind, &ahead)] {
        for (delay, name) in [(Duration::from_millis(300), "soon"), (HOUR / 2, "later")] {
            let data = serde_json::to_vec(&Deposit { account: name.to_owned(), pence: 5 }).unwrap();
            let envelope = Envelope::new(name, "/test", Deposit::TYPE, data);
            let to = Destination::Endpoint("account".to_owned());
            let sent = sender.send(vec![Outgoing { to, envelope, delay }]).await;
            assert!(matches!(sent[..], [SendOutcome::Sent]), "{sent:?}");
        }
        assert_eq!(receiver.receive(&look()).await.unwrap().len(), 0, "both wait");
        let came = receiver.receive(&Receive { wait: LONG, ..look() }).await.unwrap();
        let ids: Vec<_> = came.iter().map(|it| it.envelope.as_ref().unwrap().id.clone()).collect();
        assert_eq!(ids, ["soon"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_an_hour_apart_process_each_message_once() {
    let schema = fresh_schema();
    let (_, ahead) = worker(&schema, Wrong::Ahead).await;
    let (_, behind) = worker(&schema, Wrong::Behind).await;
    // What the slow one remembered, the fast one meets after both have dropped what is past its window,
    // which is shorter than the clocks are apart.
    for (worker, wait) in [(&behind, Duration::ZERO), (&ahead, PURGED_AFTER)] {
        tokio::time::sleep(wait).await;
        for number in 0..40 {
            let sender = if number % 2 == 0 { &ahead } else { &behind };
            deposit(sender, &format!("deposit-{number}")).await.unwrap();
        }
        host(worker.clone()).run_until_idle().await.unwrap();
        assert_eq!(account(&ahead, "account").await.count, 40);
        assert_eq!(account(&behind, "notes").await.count, 40);
    }
    // And both at once.
    deposit(&ahead, "one more").await.unwrap();
    let hosts = [&ahead, &behind].map(|backend| host(backend.clone()).run_until_idle());
    for ended in futures_util::future::join_all(hosts).await {
        ended.unwrap();
    }
    assert_eq!(account(&ahead, "account").await.count, 41);
}

fn host(backend: Backend) -> Host {
    let protocol = Transactional { window: HOUR / 2 };
    Host::new(backend)
        .endpoint(Endpoint::new("account").handle(deposit_handler).protocol(protocol))
        .endpoint(Endpoint::new("notes").handle(note_handler).protocol(protocol))
}
