//! The whole: a store elsewhere, a broker that dies, and messages sent twice.

use std::sync::Arc;
use std::time::{Duration, Instant};

use semel_core::operator::Operator as _;
use semel_core::protocols::{DetachedOutbox, OutboxInbox, Protocol, Token, state_in};
use semel_core::retry::RetryPolicy;
use semel_core::store::{ItemKey, Space};
use semel_core::{Backend, Context, Endpoint, Host, Keyed, Message, Settings};
use semel_nats::{Nats, Options};
use semel_sqlite::Sqlite;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::rig::{fresh_options, private, until};

const DEPOSITS: u32 = 120;

#[derive(Serialize, Deserialize)]
struct Deposit {
    account: String,
}

impl Message for Deposit {
    const TYPE: &'static str = "account.deposit";
}

impl Keyed for Deposit {
    fn key(&self) -> String {
        self.account.clone()
    }
}

/// What each deposit leads to, published to whoever subscribes.
#[derive(Serialize, Deserialize)]
struct Deposited {
    account: String,
}

impl Message for Deposited {
    const TYPE: &'static str = "account.deposited";
}

impl Keyed for Deposited {
    fn key(&self) -> String {
        self.account.clone()
    }
}

fn deposit(count: &mut u32, message: Deposit, context: &mut Context) {
    *count += 1;
    context.publish(Deposited { account: message.account });
}

fn note(count: &mut u32, _: Deposited, _: &mut Context) {
    *count += 1;
}

/// Two workers, each with a connection of its own, until they are told to stop.
fn workers(
    path: &std::path::Path,
    address: &str,
    options: &Options,
    protocol: &Arc<dyn Protocol>,
    stop: &watch::Sender<bool>,
) -> Vec<tokio::task::JoinHandle<()>> {
    let start = |n: usize| {
        let (path, address, options) = (path.to_owned(), address.to_owned(), options.clone());
        let (protocol, stop) = (protocol.clone(), stop.subscribe());
        tokio::spawn(async move {
            let store = Arc::new(Sqlite::open(path).unwrap());
            while !*stop.borrow() {
                let Ok(nats) = Nats::connect(&address, options.clone()).await else { continue };
                let backend = Backend::apart(store.clone(), Arc::new(nats));
                let retry = RetryPolicy {
                    first_delay: Duration::from_millis(100),
                    ..RetryPolicy::default()
                };
                let settings =
                    Settings { lease: Duration::from_secs(3), retry, ..Settings::default() };
                let endpoint = |name: &str| {
                    Endpoint::new(name).shared_protocol(protocol.clone()).settings(settings)
                };
                let mut stopping = stop.clone();
                // A worker that ends because its broker was away is started again.
                let _ = Host::new(backend)
                    .worker(format!("worker-{n}"))
                    .endpoint(endpoint("accounts").handle(deposit))
                    .endpoint(endpoint("audit").subscribe(note))
                    .run(async move { drop(stopping.wait_for(|stop| *stop).await) })
                    .await;
            }
        })
    };
    (0..2).map(start).collect()
}

/// Every deposit is sent twice, and the server is killed while they are processed: each counts
/// once, and so does what each publishes.
async fn each_deposit_counts_once(name: &str, protocol: impl Protocol) {
    let mut server = private(name);
    let (address, options) = (server.address(), fresh_options());
    let options = Options { call_timeout: Duration::from_secs(2), ..options };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let store = Arc::new(Sqlite::open(&path).unwrap());
    let (stop, protocol) = (watch::Sender::new(false), Arc::new(protocol) as Arc<dyn Protocol>);
    let workers = workers(&path, &address, &options, &protocol, &stop);
    let limit = Duration::from_secs(30);
    let sender = until(limit, || Nats::connect(&address, options.clone())).await;
    let sender = Backend::apart(store.clone(), Arc::new(sender));
    // Who is not registered yet gets no copy.
    let registered =
        || async { sender.operator().inspect().await.map(|report| report.endpoints.len()) };
    while until(limit, registered).await < 2 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    for number in 0..DEPOSITS {
        for _ in 0..2 {
            let id = format!("deposit-{number}");
            let account = format!("account-{}", number % 3);
            until(limit, || {
                let account = account.clone();
                sender.send_as(&id, "accounts", Deposit { account })
            })
            .await;
        }
        if number % 50 == 25 {
            server.kill();
            server.resume().unwrap();
        }
    }
    let start = Instant::now();
    let totals = || async { (total(&store, "accounts").await, total(&store, "audit").await) };
    while totals().await != (DEPOSITS, DEPOSITS) && start.elapsed() < Duration::from_secs(60) {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // A while for what would count twice.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let report = until(limit, || sender.operator().inspect()).await;
    assert_eq!(totals().await, (DEPOSITS, DEPOSITS), "{report:?}");
    stop.send_replace(true);
    for worker in workers {
        worker.await.unwrap();
    }
    let nats = until(limit, || Nats::connect(&address, options.clone())).await;
    let report = nats.inspect().await.unwrap();
    for (endpoint, report) in report.endpoints {
        assert_eq!(report.dead_letters, 0, "{endpoint}");
    }
}

/// The sum over all accounts of an endpoint.
async fn total(store: &Sqlite, endpoint: &str) -> u32 {
    use semel_core::Store as _;
    let mut total = 0;
    for account in 0..3 {
        let key = ItemKey::new(Space::Entity, endpoint, format!("account-{account}"));
        if let Some(item) = store.read(&key).await.unwrap() {
            let state = state_in(&item.value).unwrap().unwrap_or_default();
            total += serde_json::from_slice::<u32>(&state).unwrap();
        }
    }
    total
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_deposit_counts_once_by_outbox_and_inbox() {
    each_deposit_counts_once("outbox-inbox", OutboxInbox::default()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_deposit_counts_once_by_a_detached_outbox() {
    each_deposit_counts_once("detached", DetachedOutbox::default()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_deposit_counts_once_by_tokens() {
    each_deposit_counts_once("token", Token::default()).await;
}
