//! A store and a broker that count, and fail as the test says.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use async_trait::async_trait;
use semel::core::broker::{
    BrokerLimits, Delivery, Lease, Outgoing, Receipt, Receive, Registration, SendOutcome,
    SettleOutcome, Settlement,
};
use semel::core::handler::BoxFuture;
use semel::core::store::{Change, Item, ItemKey, Page, StoreLimits, Trouble, WriteOutcome};
use semel::core::{Broker, Store};
use semel::{Backend, StoreError};
use tokio::sync::watch;

/// The calls that can be counted and hurt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Call {
    Read,
    Write,
    List,
    Register,
    Receive,
    Extend,
    Settle,
    Subscribers,
    Send,
}

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing out of the ordinary.
    None,
    /// It is not done, and the caller hears that nobody knows.
    NotApplied,
    /// It is done, and the caller hears that nobody knows.
    ReplyLost,
    /// It is done, but a conflict does not name its positions.
    Terse,
    /// It is not done, and a person must act.
    Broken,
    /// It is done, and its answer waits until the test lets it go.
    AnswersLate,
    /// It is not done and never answers: the caller dies here.
    DiesBefore,
    /// It is done and never answers: the caller dies here.
    DiesAfter,
    /// The adapter fails by panic.
    Panic,
}

/// Answers that the test holds back.
#[derive(Default)]
struct Late {
    waiting: usize,
    may_go: bool,
}

/// How many calls of each kind.
type Counts = BTreeMap<Call, u64>;

type Plan = dyn Fn(Call, u64) -> BoxFuture<'static, Fault> + Send + Sync;

/// Stands between a host and its store and broker. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Tap {
    plan: Arc<Plan>,
    begun: Arc<Mutex<Counts>>,
    /// Calls that are on their way to the place.
    asked: Arc<watch::Sender<Counts>>,
    /// Calls whose caller has the answer.
    answered: Arc<watch::Sender<Counts>>,
    written: Arc<Mutex<Vec<Vec<Change>>>>,
    sent: Arc<Mutex<Vec<Outgoing>>>,
    lost: Arc<watch::Sender<usize>>,
    dead: Arc<watch::Sender<bool>>,
    late: Arc<watch::Sender<Late>>,
    store_limits: Arc<dyn Fn(StoreLimits) -> StoreLimits + Send + Sync>,
    broker_limits: Arc<dyn Fn(BrokerLimits) -> BrokerLimits + Send + Sync>,
}

impl fmt::Debug for Tap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tap with {:?}", *self.asked.borrow())
    }
}

impl Tap {
    /// Only counts.
    pub(crate) fn counting() -> Self {
        Self::new(|_, _| Fault::None)
    }

    /// Does what `plan` says for the n-th call (from 1) of its kind.
    pub(crate) fn new(plan: impl Fn(Call, u64) -> Fault + Send + Sync + 'static) -> Self {
        Self::acting(move |call, nth| Box::pin(std::future::ready(plan(call, nth))))
    }

    /// Does what `plan` says, which may do something else first.
    pub(crate) fn acting(
        plan: impl Fn(Call, u64) -> BoxFuture<'static, Fault> + Send + Sync + 'static,
    ) -> Self {
        Self {
            plan: Arc::new(plan),
            begun: Arc::default(),
            asked: Arc::new(watch::Sender::new(Counts::new())),
            answered: Arc::new(watch::Sender::new(Counts::new())),
            written: Arc::default(),
            sent: Arc::default(),
            lost: Arc::new(watch::Sender::new(0)),
            dead: Arc::new(watch::Sender::new(false)),
            late: Arc::new(watch::Sender::new(Late::default())),
            store_limits: Arc::new(|limits| limits),
            broker_limits: Arc::new(|limits| limits),
        }
    }

    pub(crate) fn with_store_limits(
        mut self,
        limits: impl Fn(StoreLimits) -> StoreLimits + Send + Sync + 'static,
    ) -> Self {
        self.store_limits = Arc::new(limits);
        self
    }

    pub(crate) fn with_broker_limits(
        mut self,
        limits: impl Fn(BrokerLimits) -> BrokerLimits + Send + Sync + 'static,
    ) -> Self {
        self.broker_limits = Arc::new(limits);
        self
    }

    /// `backend` with this in between.
    pub(crate) fn on(&self, backend: Backend) -> Backend {
        backend.wrapped(
            |inner| Arc::new(Tapped { inner, tap: self.clone() }),
            |inner| Arc::new(Tapped { inner, tap: self.clone() }),
        )
    }

    pub(crate) fn count(&self, call: Call) -> u64 {
        self.asked.borrow().get(&call).copied().unwrap_or_default()
    }

    /// Until `count` calls of this kind have reached the place, in all.
    pub(crate) async fn reached(&self, call: Call, count: u64) {
        let is_reached = |asked: &Counts| asked.get(&call) >= Some(&count);
        self.asked.subscribe().wait_for(is_reached).await.unwrap();
    }

    /// Until `count` calls of this kind have been answered, in all.
    pub(crate) async fn answered(&self, call: Call, count: u64) {
        let is_reached = |answered: &Counts| answered.get(&call) >= Some(&count);
        self.answered.subscribe().wait_for(is_reached).await.unwrap();
    }

    /// Until two more calls of this kind have been answered: the second began later than this.
    pub(crate) async fn answered_anew(&self, call: Call) {
        let before = self.answered.borrow().get(&call).copied().unwrap_or_default();
        self.answered(call, before + 2).await;
    }

    /// Until `count` leases were found lost, in all.
    pub(crate) async fn lost(&self, count: usize) {
        self.lost.subscribe().wait_for(|lost| *lost >= count).await.unwrap();
    }

    /// Until a caller has died.
    pub(crate) async fn dead(&self) {
        self.dead.subscribe().wait_for(|dead| *dead).await.unwrap();
    }

    /// Until an answer waits for the test.
    pub(crate) async fn late(&self) {
        self.late.subscribe().wait_for(|late| late.waiting > 0).await.unwrap();
    }

    /// Lets go all answers that wait, and those to come.
    pub(crate) fn let_go(&self) {
        self.late.send_modify(|late| late.may_go = true);
    }

    /// Every batch that was to be written, refused ones included.
    pub(crate) fn written(&self) -> Vec<Vec<Change>> {
        self.written.lock().unwrap().clone()
    }

    /// Every message that was to be sent, outside of batches.
    pub(crate) fn sent(&self) -> Vec<Outgoing> {
        self.sent.lock().unwrap().clone()
    }

    async fn call<T>(
        &self,
        call: Call,
        work: BoxFuture<'_, T>,
        unknown: impl Fn(StoreError) -> T,
        terse: impl Fn(T) -> T,
    ) -> T {
        let nth = {
            let mut begun = self.begun.lock().unwrap();
            let count = begun.entry(call).or_default();
            *count += 1;
            *count
        };
        let answer = match (self.plan)(call, nth).await {
            Fault::None => self.pass(call, work).await,
            Fault::Terse => terse(self.pass(call, work).await),
            Fault::NotApplied => {
                self.note(call);
                unknown(trouble(Trouble::Unavailable))
            }
            Fault::ReplyLost => {
                self.pass(call, work).await;
                unknown(trouble(Trouble::Unavailable))
            }
            Fault::Broken => {
                self.note(call);
                unknown(trouble(Trouble::Broken))
            }
            Fault::AnswersLate => {
                let answer = self.pass(call, work).await;
                self.late.send_modify(|late| late.waiting += 1);
                self.late.subscribe().wait_for(|late| late.may_go).await.unwrap();
                answer
            }
            Fault::DiesBefore => {
                self.note(call);
                self.die().await
            }
            Fault::DiesAfter => {
                self.pass(call, work).await;
                self.die().await
            }
            Fault::Panic => panic!("the adapter panicked"),
        };
        self.answered.send_modify(|answered| *answered.entry(call).or_default() += 1);
        answer
    }

    /// Lets the call through. It is counted once its request is on its way.
    async fn pass<T>(&self, call: Call, mut work: BoxFuture<'_, T>) -> T {
        let begun = std::future::poll_fn(|context| Poll::Ready(Pin::new(&mut work).poll(context)));
        let begun = begun.await;
        self.note(call);
        match begun {
            Poll::Ready(answer) => answer,
            Poll::Pending => work.await,
        }
    }

    async fn die<T>(&self) -> T {
        self.dead.send_replace(true);
        std::future::pending().await
    }

    fn note(&self, call: Call) {
        self.asked.send_modify(|asked| *asked.entry(call).or_default() += 1);
    }
}

fn trouble(trouble: Trouble) -> StoreError {
    StoreError {
        trouble,
        store: "tap".to_owned(),
        operation: "call",
        reason: format!("{trouble:?} by order of the test"),
        help: "Mend the test.".to_owned(),
    }
}

/// A store or a broker with a tap in front.
struct Tapped<T: ?Sized> {
    inner: Arc<T>,
    tap: Tap,
}

impl<T: fmt::Debug + ?Sized> fmt::Debug for Tapped<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tapped {:?}", &self.inner)
    }
}

#[async_trait]
impl Store for Tapped<dyn Store> {
    fn limits(&self) -> StoreLimits {
        (self.tap.store_limits)(self.inner.limits())
    }

    async fn read(&self, key: &ItemKey) -> Result<Option<Item>, StoreError> {
        self.tap.call(Call::Read, self.inner.read(key), Err, |same| same).await
    }

    async fn read_all(&self, keys: &[ItemKey]) -> Result<Vec<Option<Item>>, StoreError> {
        self.tap.call(Call::Read, self.inner.read_all(keys), Err, |same| same).await
    }

    async fn write(&self, changes: Vec<Change>) -> WriteOutcome {
        self.tap.written.lock().unwrap().push(changes.clone());
        let terse = |outcome| match outcome {
            WriteOutcome::Conflict(_) => WriteOutcome::Conflict(Vec::new()),
            other => other,
        };
        let write = self.inner.write(changes);
        self.tap.call(Call::Write, write, WriteOutcome::Unknown, terse).await
    }

    async fn list(&self, page: &Page) -> Result<Vec<Item>, StoreError> {
        self.tap.call(Call::List, self.inner.list(page), Err, |same| same).await
    }
}

#[async_trait]
impl Broker for Tapped<dyn Broker> {
    fn limits(&self) -> BrokerLimits {
        (self.tap.broker_limits)(self.inner.limits())
    }

    async fn register(&self, registration: &Registration) -> Result<(), StoreError> {
        let register = self.inner.register(registration);
        self.tap.call(Call::Register, register, Err, |same| same).await
    }

    async fn receive(&self, request: &Receive) -> Result<Vec<Delivery>, StoreError> {
        self.tap.call(Call::Receive, self.inner.receive(request), Err, |same| same).await
    }

    async fn extend(
        &self,
        receipts: &[Receipt],
        lease: Duration,
    ) -> Result<Vec<Lease>, StoreError> {
        let extend = self.inner.extend(receipts, lease);
        let leases = self.tap.call(Call::Extend, extend, Err, |same| same).await?;
        let lost = leases.iter().filter(|lease| **lease == Lease::Lost).count();
        self.tap.lost.send_modify(|sum| *sum += lost);
        Ok(leases)
    }

    async fn settle(&self, receipt: &Receipt, settlement: Settlement) -> SettleOutcome {
        let settle = self.inner.settle(receipt, settlement);
        self.tap.call(Call::Settle, settle, SettleOutcome::Unknown, |same| same).await
    }

    async fn subscribers(&self, kind: &str) -> Result<Vec<String>, StoreError> {
        let subscribers = self.inner.subscribers(kind);
        self.tap.call(Call::Subscribers, subscribers, Err, |same| same).await
    }

    async fn send(&self, messages: Vec<Outgoing>) -> Vec<SendOutcome> {
        let count = messages.len();
        self.tap.sent.lock().unwrap().extend(messages.iter().cloned());
        let unknown = move |error: StoreError| {
            (0..count).map(|_| SendOutcome::Unknown(error.clone())).collect()
        };
        self.tap.call(Call::Send, self.inner.send(messages), unknown, |same| same).await
    }
}
