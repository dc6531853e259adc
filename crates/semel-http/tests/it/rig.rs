//! A shop's edge on a file of its own.

use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use semel_core::broker::Receive;
use semel_core::{Backend, Context, Envelope, Message, Order};
use semel_http::{
    DataSet, DataSetId, Edge, Fingerprint, IdempotencyKey, Problem, Reply, Settings, Submission,
};
use semel_sqlite::Sqlite;
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use crate::faults::{Faulty, Script};

/// The endpoint that gets the orders.
pub(crate) const ORDERS: &str = "orders";

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Cart {
    pub(crate) gifts: Vec<String>,
    pub(crate) order: Option<String>,
    pub(crate) is_cancelled: bool,
}

impl DataSet for Cart {
    const KIND: &'static str = "cart";
}

/// A cart with one gift.
pub(crate) fn sledge() -> Cart {
    Cart { gifts: vec!["sledge".to_owned()], ..Cart::default() }
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PlaceOrder {
    pub(crate) order: String,
    pub(crate) gifts: Vec<String>,
}

impl Message for PlaceOrder {
    const TYPE: &'static str = "order.place";
    const ORDER: Order = Order::PerSubject;

    fn subject(&self) -> Option<String> {
        Some(self.order.clone())
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct CancelOrder {
    pub(crate) order: String,
}

impl Message for CancelOrder {
    const TYPE: &'static str = "order.cancel";
}

#[derive(Serialize)]
struct Ordered<'a> {
    order: &'a str,
}

pub(crate) fn conflict(detail: &'static str) -> Problem {
    Problem::new(StatusCode::CONFLICT, detail)
}

/// The action `order`.
pub(crate) fn order(cart: &mut Cart, ctx: &mut Context) -> Result<Reply, Problem> {
    if cart.gifts.is_empty() {
        return Err(conflict("The cart is empty."));
    }
    let order = ctx.new_id().to_string();
    ctx.send(ORDERS, PlaceOrder { order: order.clone(), gifts: cart.gifts.clone() });
    let reply = Reply::json(StatusCode::CREATED, &Ordered { order: &order })?;
    cart.order = Some(order.clone());
    Ok(reply.at(format!("/orders/{order}")))
}

/// The action `cancel`.
pub(crate) fn cancel(cart: &mut Cart, ctx: &mut Context) -> Result<Reply, Problem> {
    let order = cart.order.clone().ok_or_else(|| conflict("There is nothing to cancel."))?;
    ctx.send(ORDERS, CancelOrder { order: order.clone() });
    cart.is_cancelled = true;
    Reply::json(StatusCode::OK, &Ordered { order: &order })
}

/// Puts a gift into a cart that was not ordered yet.
pub(crate) fn add(cart: &mut Cart, gift: &str) -> Result<usize, Problem> {
    if cart.order.is_some() {
        return Err(conflict("This cart was ordered already."));
    }
    cart.gifts.push(gift.to_owned());
    Ok(cart.gifts.len())
}

pub(crate) fn key(text: &str) -> IdempotencyKey {
    IdempotencyKey::parse(text.as_bytes()).unwrap()
}

/// A submission of `body` under the key `text`.
pub(crate) fn submission(text: &str, body: &str) -> Submission {
    Submission::new(key(text), fingerprint(body))
}

pub(crate) fn fingerprint(body: &str) -> Fingerprint {
    Fingerprint::of("POST", "/carts/1/order", body.as_bytes())
}

/// Bounds that no test reaches by accident, and pauses that cost no time.
pub(crate) fn patient() -> Settings {
    Settings { wait_max: Duration::from_secs(600), pause: Duration::ZERO, ..Settings::default() }
}

/// A SQLite file that goes away with the test.
pub(crate) struct File {
    folder: TempDir,
}

impl File {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    /// The file as one more process sees it.
    pub(crate) fn backend(&self) -> Backend {
        Backend::in_one(Arc::new(Sqlite::open(self.folder.path().join("shop.db")).unwrap()))
    }

    /// An edge in a process of its own.
    pub(crate) fn edge(&self) -> Edge {
        Edge::with(self.backend(), patient()).unwrap()
    }

    /// An edge whose writes follow `script`, as long as it goes.
    pub(crate) fn faulty(&self, script: Script) -> (Edge, Arc<Faulty>) {
        self.faulty_with(patient(), script)
    }

    pub(crate) fn faulty_with(&self, settings: Settings, script: Script) -> (Edge, Arc<Faulty>) {
        let mut faulty = None;
        let backend = self.backend().wrapped(
            |store| faulty.insert(Arc::new(Faulty::new(store, script))).clone(),
            |broker| broker,
        );
        (Edge::with(backend, settings).unwrap(), faulty.unwrap())
    }

    /// Takes all messages out of the queue of [`ORDERS`], for good as far as the test goes.
    pub(crate) async fn messages(&self) -> Vec<Envelope> {
        let receive = Receive {
            endpoint: ORDERS.to_owned(),
            max: 100,
            lease: Duration::from_secs(600),
            wait: Duration::ZERO,
        };
        let deliveries = self.backend().broker().receive(&receive).await.unwrap();
        deliveries.into_iter().map(|delivery| delivery.envelope.unwrap()).collect()
    }

    /// How many items and messages the file holds: (data sets, replies under keys, messages).
    pub(crate) async fn counts(&self) -> (usize, usize, u64) {
        use semel_core::store::{Page, Space};
        let backend = self.backend();
        let list = async |space| {
            let page = Page { space, after: None, limit: 1_000 };
            backend.store().list(&page).await.unwrap().len()
        };
        let report = backend.operator().inspect().await.unwrap();
        let messages = report.endpoints.get(ORDERS).map_or(0, |orders| {
            orders.ready + orders.delayed + orders.in_flight + orders.dead_letters
        });
        (list(Space::Entity).await, list(Space::Reply).await, messages)
    }
}

/// Orders the cart `id` under the key `text`, with an empty body.
pub(crate) async fn order_under(edge: &Edge, id: &DataSetId, text: &str) -> Result<Reply, Problem> {
    edge.act(id, "order", submission(text, ""), order).await
}
