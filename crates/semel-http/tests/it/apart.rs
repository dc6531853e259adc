//! An edge whose queue lives outside its store.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use axum::http::StatusCode;
use semel_core::broker::{
    BrokerLimits, Delivery, Destination, Lease, Outgoing, Receipt, Receive, Registration,
    SendOutcome, SettleOutcome, Settlement,
};
use semel_core::protocols::Kept;
use semel_core::store::{
    Change, Expect, ItemKey, Keep, Listing, Page, Space, Trouble, WriteOutcome,
};
use semel_core::{Backend, Broker, Envelope, Store, StoreError};
use semel_http::{Edge, EdgeError, Settings};
use semel_sqlite::Sqlite;
use tempfile::TempDir;

use crate::faults::{Faulty, Looks, Op, Script, trouble};
use crate::rig::{ORDERS, order_under, patient, sledge};

/// How long to wait for what must come.
const PATIENCE: Duration = Duration::from_secs(20);

/// A store and a queue, each in a file of its own.
struct Apart(TempDir);

impl Apart {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self, name: &str) -> Arc<Sqlite> {
        Arc::new(Sqlite::open(self.0.path().join(name)).unwrap())
    }

    fn backend(&self) -> Backend {
        Backend::apart(self.file("store.db"), self.file("queue.db"))
    }

    /// An edge in a process of its own, whose broker is in this mood.
    fn edge(&self, mood: &Arc<Mood>) -> Edge {
        let mood = mood.clone();
        let moody = move |inner| Arc::new(Moody { inner, mood }) as Arc<dyn Broker>;
        Edge::with(self.backend().wrapped(|store| store, moody), quick()).unwrap()
    }

    /// Every message that was queued, copies included, for good.
    async fn messages(&self) -> Vec<Envelope> {
        let receive = Receive {
            endpoint: ORDERS.to_owned(),
            max: 100,
            lease: Duration::from_secs(600),
            wait: Duration::ZERO,
        };
        let deliveries = self.file("queue.db").receive(&receive).await.unwrap();
        deliveries.into_iter().map(|delivery| delivery.envelope.unwrap()).collect()
    }

    /// How many records wait to be sent.
    async fn waiting(&self) -> usize {
        let page = Page { space: Space::Outbox, after: None, limit: 100 };
        self.file("store.db").list(&page).await.unwrap().len()
    }

    async fn until_nothing_waits(&self) {
        let done = async {
            while self.waiting().await > 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, done).await.unwrap();
    }
}

fn quick() -> Settings {
    Settings { finish_every: Duration::from_millis(20), ..patient() }
}

/// What sends come to.
#[derive(Debug, Default)]
struct Mood {
    /// So many are lost before they reach the queue.
    lost: AtomicU32,
    /// So many are queued, and reported as unknown.
    unknown: AtomicU32,
    sends: AtomicU32,
    /// How many are under way, and how many were at most.
    at_once: AtomicU32,
    at_once_max: AtomicU32,
    /// At which look and page of the finisher each came.
    looks: Arc<Looks>,
    came_at: Mutex<Vec<(usize, usize)>>,
}

impl Mood {
    fn takes(counter: &AtomicU32) -> bool {
        let less = |left: u32| left.checked_sub(1);
        counter.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less).is_ok()
    }
}

#[derive(Debug)]
struct Moody {
    inner: Arc<dyn Broker>,
    mood: Arc<Mood>,
}

#[async_trait]
impl Broker for Moody {
    fn limits(&self) -> BrokerLimits {
        BrokerLimits { message_bytes_max: 4 * 1024, ..self.inner.limits() }
    }

    async fn register(&self, registration: &Registration) -> Result<(), StoreError> {
        self.inner.register(registration).await
    }

    async fn receive(&self, request: &Receive) -> Result<Vec<Delivery>, StoreError> {
        self.inner.receive(request).await
    }

    async fn extend(&self, receipts: &[Receipt], time: Duration) -> Result<Vec<Lease>, StoreError> {
        self.inner.extend(receipts, time).await
    }

    async fn settle(&self, receipt: &Receipt, settlement: Settlement) -> SettleOutcome {
        self.inner.settle(receipt, settlement).await
    }

    async fn subscribers(&self, kind: &str) -> Result<Vec<String>, StoreError> {
        self.inner.subscribers(kind).await
    }

    async fn send(&self, messages: Vec<Outgoing>) -> Vec<SendOutcome> {
        self.mood.sends.fetch_add(1, Ordering::SeqCst);
        self.mood.came_at.lock().unwrap().push(self.mood.looks.now());
        let at_once = self.mood.at_once.fetch_add(1, Ordering::SeqCst) + 1;
        self.mood.at_once_max.fetch_max(at_once, Ordering::SeqCst);
        let outcomes = self.send_moodily(messages).await;
        self.mood.at_once.fetch_sub(1, Ordering::SeqCst);
        outcomes
    }
}

impl Moody {
    async fn send_moodily(&self, messages: Vec<Outgoing>) -> Vec<SendOutcome> {
        let unknown = || SendOutcome::Unknown(trouble(Trouble::Unavailable));
        if Mood::takes(&self.mood.lost) {
            return messages.iter().map(|_| unknown()).collect();
        }
        let outcomes = self.inner.send(messages).await;
        match Mood::takes(&self.mood.unknown) {
            true => outcomes.iter().map(|_| unknown()).collect(),
            false => outcomes,
        }
    }
}

#[tokio::test]
async fn an_action_queues_its_message_after_its_commit() {
    let apart = Apart::new();
    let edge = apart.edge(&Arc::default());
    let cart = edge.create(sledge()).await.unwrap();
    let first = order_under(&edge, &cart, "k").await.unwrap();
    assert_eq!(order_under(&edge, &cart, "k").await.unwrap(), first);
    assert_eq!(order_under(&edge, &cart, "another").await.unwrap(), first);
    apart.until_nothing_waits().await;
    let messages = apart.messages().await;
    assert_eq!(messages.len(), 1, "{messages:?}");
    assert_eq!(messages[0].source, "/edge/cart");
}

#[tokio::test]
async fn a_broker_that_is_away_holds_up_no_answer_and_loses_no_message() {
    let apart = Apart::new();
    let mood = Arc::new(Mood { lost: AtomicU32::new(4), ..Mood::default() });
    let edge = apart.edge(&mood);
    let cart = edge.create(sledge()).await.unwrap();
    assert_eq!(order_under(&edge, &cart, "k").await.unwrap().status(), StatusCode::CREATED);
    apart.until_nothing_waits().await;
    assert_eq!(apart.messages().await.len(), 1);
    assert_eq!(mood.sends.load(Ordering::SeqCst), 5);
}

#[tokio::test]
async fn a_send_without_an_answer_is_repeated_under_the_same_identity() {
    let apart = Apart::new();
    let mood = Arc::new(Mood { unknown: AtomicU32::new(1), ..Mood::default() });
    let edge = apart.edge(&mood);
    let cart = edge.create(sledge()).await.unwrap();
    order_under(&edge, &cart, "k").await.unwrap();
    apart.until_nothing_waits().await;
    let messages = apart.messages().await;
    assert_eq!(messages.len(), 2);
    assert_eq!(messages[0], messages[1]);
}

#[tokio::test]
async fn what_an_edge_that_died_left_is_sent_by_the_next_one_without_any_request() {
    let apart = Apart::new();
    let never = Arc::new(Mood { lost: AtomicU32::new(u32::MAX), ..Mood::default() });
    let edge = apart.edge(&never);
    let cart = edge.create(sledge()).await.unwrap();
    let reply = order_under(&edge, &cart, "k").await.unwrap();
    drop(edge);
    assert_eq!((apart.waiting().await, apart.messages().await.len()), (1, 0));
    let next = apart.edge(&Arc::default());
    apart.until_nothing_waits().await;
    assert_eq!(apart.messages().await.len(), 1);
    assert_eq!(order_under(&next, &cart, "k").await.unwrap(), reply);
}

#[tokio::test]
async fn the_finisher_ends_with_the_last_edge() {
    let apart = Apart::new();
    let mood = Arc::new(Mood { lost: AtomicU32::new(u32::MAX), ..Mood::default() });
    let edge = apart.edge(&mood);
    let cart = edge.create(sledge()).await.unwrap();
    order_under(&edge, &cart, "k").await.unwrap();
    let clone = edge.clone();
    drop(edge);
    let before = mood.sends.load(Ordering::SeqCst);
    let goes_on = async {
        while mood.sends.load(Ordering::SeqCst) < before + 3 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, goes_on).await.unwrap();
    drop(clone);
    // The look that is under way, and no more.
    tokio::time::sleep(Duration::from_millis(100)).await;
    let ended = mood.sends.load(Ordering::SeqCst);
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(mood.sends.load(Ordering::SeqCst), ended);
}

/// Writes down a message of an action, as an edge that then died would.
fn written_down(number: usize) -> Change {
    let envelope = Envelope::new(number.to_string(), "/edge/cart", "t", b"1".as_slice());
    let to = Destination::Endpoint(ORDERS.to_owned());
    let kept = Kept::all(&[Outgoing { to, envelope, delay: Duration::ZERO }]).unwrap();
    Change::Put {
        key: ItemKey::new(Space::Outbox, "edge/cart", format!("{number:06}")),
        value: serde_json::to_vec(&kept).unwrap().into(),
        expect: Expect::Absent,
        keep: Keep::Always,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_backlog_is_sent_page_by_page_and_one_that_cannot_be_sent_holds_up_no_other() {
    const RECORDS: usize = 10_000;
    let apart = Apart::new();
    let store = apart.file("store.db");
    let mut changes: Vec<Change> = (0..RECORDS).map(written_down).collect();
    if let Change::Put { value, .. } = &mut changes[42] {
        *value = "neither list nor message".into();
    }
    for batch in changes.chunks(500) {
        let written = store.write(batch.to_vec()).await;
        assert!(matches!(written, WriteOutcome::Applied(_)), "{written:?}");
    }
    let mood = Arc::new(Mood::default());
    let watched = |store| {
        let mut store = Faulty::new(store, Script::first(&[]));
        store.looks = mood.looks.clone();
        Arc::new(store) as Arc<dyn Store>
    };
    let moody = |inner| Arc::new(Moody { inner, mood: mood.clone() }) as Arc<dyn Broker>;
    let edge = Edge::with(apart.backend().wrapped(watched, moody), quick()).unwrap();
    let is_done = async {
        while apart.waiting().await > 1 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(2 * PATIENCE, is_done).await.unwrap();
    drop(edge);

    let mut pages = BTreeMap::new();
    for at in mood.came_at.lock().unwrap().iter() {
        *pages.entry(*at).or_insert(0) += 1;
    }
    // The first look leaves all of them to their writers; the second sends each page before it looks
    // at the next.
    assert_eq!(pages.values().sum::<usize>(), RECORDS - 1);
    assert!(pages.keys().all(|(look, _)| *look == 2), "{pages:?}");
    assert!(pages.values().all(|sends| *sends <= 100), "{pages:?}");
    let at_once = mood.at_once_max.load(Ordering::SeqCst);
    assert!((2..=32).contains(&at_once), "{at_once} at a time");
}

#[test]
fn the_finisher_begins_anew_where_the_runtime_it_ran_in_has_ended() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let apart = Apart::new();
    let mood = Arc::new(Mood { lost: AtomicU32::new(1), ..Mood::default() });
    let first = runtime();
    let (edge, cart) = first.block_on(async {
        let edge = apart.edge(&mood);
        let cart = edge.create(sledge()).await.unwrap();
        (edge, cart)
    });
    drop(first);
    runtime().block_on(async {
        order_under(&edge, &cart, "k").await.unwrap();
        // The first send is lost, so that it is for the finisher.
        apart.until_nothing_waits().await;
        assert_eq!(apart.messages().await.len(), 1);
    });
}

#[tokio::test]
async fn a_message_that_the_broker_would_refuse_is_refused_before_anything_is_durable() {
    let apart = Apart::new();
    let edge = apart.edge(&Arc::default());
    let mut cart = sledge();
    cart.gifts.push("x".repeat(8 * 1024));
    let cart = edge.create(cart).await.unwrap();
    let problem = order_under(&edge, &cart, "k").await.unwrap_err();
    assert_eq!(problem.status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!((apart.waiting().await, apart.messages().await.len()), (0, 0));
    assert!(edge.read::<crate::rig::Cart>(&cart).await.unwrap().order.is_none());
}

#[tokio::test]
async fn an_action_whose_outcome_is_unknown_sends_its_message_if_it_was_done() {
    let apart = Apart::new();
    let calm = apart.edge(&Arc::default());
    let cart = calm.create(sledge()).await.unwrap();
    let script = Script::first(&[&[Op::Apply, Op::SayUnknown]]);
    let faulty = |store| Arc::new(Faulty::new(store, script)) as Arc<dyn Store>;
    let backend = apart.backend().wrapped(faulty, |broker| broker);
    let edge = Edge::with(backend, Settings { tries_max: 1, ..quick() }).unwrap();
    // One try: the write whose outcome is not known, and no look after it.
    let answer = order_under(&edge, &cart, "k").await;
    apart.until_nothing_waits().await;
    assert!(answer.is_ok() || answer.unwrap_err().status().is_server_error());
    assert_eq!(apart.messages().await.len(), 1);
}

#[tokio::test]
async fn an_edge_refuses_a_store_that_cannot_list_what_waits() {
    let apart = Apart::new();
    let deaf = |store| {
        let mut faulty = Faulty::new(store, Script::first(&[]));
        faulty.listing = Listing::Unsupported;
        Arc::new(faulty) as Arc<dyn Store>
    };
    let error = Edge::new(apart.backend().wrapped(deaf, |broker| broker)).unwrap_err();
    assert!(matches!(error, EdgeError::CannotList { .. }));
    assert!(error.to_string().contains("use a store that can"), "{error}");
}
