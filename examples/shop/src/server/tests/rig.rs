//! A shop of its own for each test.

use std::future::Future;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use reqwest::{Method, RequestBuilder, Response};
use semel::core::protocols::{self, Protocol};
use semel::sqlite::Sqlite;
use semel::{Backend, Host};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::protocol::{DEFAULT, edge_settings};
use crate::server::{Options, serve};

/// How often a test asks before it gives up, and how long it rests in between: a minute in all.
const ASKS_MAX: usize = 600;
const REST: Duration = Duration::from_millis(100);

/// A server, and perhaps its services, until the end of the test.
pub(super) struct Shop {
    folder: TempDir,
    url: String,
    client: reqwest::Client,
    protocol: Arc<dyn Protocol>,
    /// Everything stops when it goes away.
    open: watch::Sender<()>,
    running: JoinSet<()>,
}

/// An answer: its status, its body as it came, and what that says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) text: String,
    pub(super) body: Value,
}

impl Shop {
    /// A shop whose services are away.
    pub(super) async fn deserted() -> Self {
        Self::deserted_under(protocols::by_name(DEFAULT).unwrap()).await
    }

    /// A shop whose services run under `protocol`, but are away.
    pub(super) async fn deserted_under(protocol: Arc<dyn Protocol>) -> Self {
        Self::deserted_with(protocol, true).await
    }

    /// A shop whose live stream is told of the file, or lists the entities in its store.
    pub(super) async fn deserted_with(protocol: Arc<dyn Protocol>, is_file: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let client = reqwest::Client::new();
        let (open, _) = watch::channel(());
        let mut shop = Self { folder, url, client, protocol, open, running: JoinSet::new() };
        let options = Options {
            backend: shop.backend(),
            file: is_file.then(|| shop.file("shop.db")),
            faults: Some(shop.file("faults.txt")),
            edge: edge_settings(&*shop.protocol),
            listener,
            shutdown: shop.closing(),
        };
        shop.running.spawn(async { serve(options).await.unwrap() });
        shop
    }

    /// A shop with its services at work.
    pub(super) async fn staffed() -> Self {
        Self::staffed_under(protocols::by_name(DEFAULT).unwrap()).await
    }

    /// A shop with its services at work, under `protocol`.
    pub(super) async fn staffed_under(protocol: Arc<dyn Protocol>) -> Self {
        Self::staffed_with(protocol, true).await
    }

    /// The same, whose live stream is told of the file, or lists the entities in its store.
    pub(super) async fn staffed_with(protocol: Arc<dyn Protocol>, is_file: bool) -> Self {
        let mut shop = Self::deserted_with(protocol, is_file).await;
        let (host, closing) = (shop.host(), shop.closing());
        shop.running.spawn(async { host.run(closing).await.unwrap() });
        shop
    }

    /// Lets the services do what there is to do, once.
    pub(super) async fn work(&self) {
        self.host().run_until_idle().await.unwrap();
    }

    /// Closes the shop, and waits until all has ended.
    pub(super) async fn close(self) {
        drop(self.open);
        self.running.join_all().await;
    }

    /// Writes down faults, as chaos does.
    pub(super) fn note_faults(&self, lines: &str) {
        let file = std::fs::File::options().create(true).append(true).open(self.file("faults.txt"));
        file.unwrap().write_all(lines.as_bytes()).unwrap();
    }

    pub(super) fn backend(&self) -> Backend {
        Backend::in_one(Arc::new(Sqlite::open(self.file("shop.db")).unwrap()))
    }

    fn host(&self) -> Host {
        let services = shop_services::all().into_iter();
        services
            .map(|endpoint| endpoint.shared_protocol(self.protocol.clone()))
            .fold(Host::new(self.backend()), Host::endpoint)
    }

    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn closing(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut open = self.open.subscribe();
        async move { while open.changed().await.is_ok() {} }
    }

    pub(super) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.url))
    }

    pub(super) async fn get(&self, path: &str) -> Answer {
        read(self.request(Method::GET, path).send().await.unwrap()).await
    }

    pub(super) async fn post(&self, path: &str, body: Value) -> Answer {
        read(self.request(Method::POST, path).json(&body).send().await.unwrap()).await
    }

    pub(super) async fn put(&self, path: &str, body: Value) -> Answer {
        read(self.request(Method::PUT, path).json(&body).send().await.unwrap()).await
    }

    /// An action under a key.
    pub(super) async fn act(&self, path: &str, key: &str) -> Answer {
        let request = self.request(Method::POST, path).header("Idempotency-Key", key);
        read(request.json(&json!({})).send().await.unwrap()).await
    }

    /// Begins a cart of `customer` and puts `lines` in.
    pub(super) async fn cart(&self, customer: &str, lines: Value) -> String {
        let heading = json!({ "customer": customer });
        let created = self.post("/api/carts", heading).await;
        assert_eq!(created.status, 201, "{created:?}");
        let cart = created.body["cart"].as_str().unwrap().to_owned();
        let set = self.put(&format!("/api/carts/{cart}/lines"), lines).await;
        assert_eq!(set.status, 200, "{set:?}");
        cart
    }

    /// Begins a cart, and submits it.
    pub(super) async fn order(&self, customer: &str, lines: Value) -> String {
        let cart = self.cart(customer, lines).await;
        let submitted = self.act(&format!("/api/carts/{cart}/submit"), "key").await;
        assert_eq!(submitted.status, 202, "{submitted:?}");
        cart
    }

    /// The order, once it has this status.
    pub(super) async fn order_once(&self, order: &str, status: &str) -> Value {
        self.order_when(order, |order| order["status"] == status).await
    }

    /// The order, once `is_there` holds for it.
    pub(super) async fn order_when(&self, order: &str, is_there: impl Fn(&Value) -> bool) -> Value {
        let mut answer = self.get(&format!("/api/orders/{order}")).await;
        for _ in 0..ASKS_MAX {
            assert_eq!(answer.status, 200, "{answer:?}");
            if is_there(&answer.body) {
                return answer.body;
            }
            tokio::time::sleep(REST).await;
            answer = self.get(&format!("/api/orders/{order}")).await;
        }
        panic!("the order never came that far: {answer:?}");
    }
}

/// So many of one sledge: £59 each.
pub(super) fn sledges(quantity: u32) -> Value {
    json!([{
        "sku": "PLAY-01", "description": "Wooden sledge", "quantity": quantity,
        "unit_price_pence": 5_900,
    }])
}

/// Reads an answer; every error must be a problem with a detail.
pub(super) async fn read(response: Response) -> Answer {
    let status = response.status();
    let kind = response.headers().get("content-type").map(|kind| kind.to_str().unwrap().to_owned());
    let text = response.text().await.unwrap();
    let body: Value = serde_json::from_str(&text).unwrap_or_default();
    if status.is_client_error() || status.is_server_error() {
        assert_eq!(kind.as_deref(), Some("application/problem+json"), "{status} {text}");
        assert_eq!(body["status"], status.as_u16(), "{text}");
        assert!(body["detail"].as_str().is_some_and(|detail| detail.len() > 10), "{text}");
    }
    Answer { status: status.as_u16(), text, body }
}
