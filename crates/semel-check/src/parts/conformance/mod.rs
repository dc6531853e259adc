//! The simulated places keep the contracts that every adapter keeps: the same suites run on them.
//!
//! The handles here only hold the lock, tell the time, and take what a receive asks for. All else is
//! done by the functions that the checker calls.

mod broker;
mod operator;
mod store;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use semel_conformance::{BrokerRig, OperatorRig, Rig, StoreRig};
use semel_core::broker::{
    BrokerLimits, DeadReason, Destination, FailureRecord, Ordering, Outgoing, QueueAge,
    Registration, SendOutcome, SettleOutcome, Settlement, Subscribers,
};
use semel_core::operator::Operator;
use semel_core::store::{Change, StoreLimits, WriteOutcome};
use semel_core::{Broker, Clock, Envelope, ManualClock, Store, Timestamp};

use super::{Parts, Routes};
use crate::world::relational;

/// What becomes of a record past its window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PastWindow {
    /// It stays, as in a world in which nothing has vanished yet.
    Stays,
    /// It vanishes at once.
    Vanishes,
}

/// Places of some character, behind a lock.
#[derive(Debug)]
struct Place {
    store: StoreLimits,
    broker: BrokerLimits,
    past_window: PastWindow,
    clock: ManualClock,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    parts: Parts,
    routes: Routes,
    registered: BTreeMap<String, (Registration, Timestamp)>,
}

/// One handle to the places: there is nothing in it.
#[derive(Clone, Debug)]
struct Simulated(Arc<Place>);

impl Simulated {
    fn new(store: StoreLimits, ordering: Ordering, past_window: PastWindow) -> Self {
        let broker = BrokerLimits {
            message_bytes_max: 1 << 20,
            receive_max: 10,
            ordering,
            subscribers: Subscribers::Listed,
            queue_age: QueueAge::Told,
        };
        let routes = Routes {
            message_bytes_max: broker.message_bytes_max,
            ordered: ordering == Ordering::PerPartitionKey,
            ..Routes::default()
        };
        let parts = Parts::new(&routes, false);
        let state = Mutex::new(State { parts, routes, registered: BTreeMap::new() });
        Self(Arc::new(Place { store, broker, past_window, clock: ManualClock::default(), state }))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now_ms(&self) -> i64 {
        self.0.clock.now().unix_ms()
    }

    fn sweep(&self) {
        let mut state = self.lock();
        for record in state.parts.items.clone().all() {
            if record.may_vanish(self.now_ms()) {
                state.parts.items.delete(&record.item.key);
            }
        }
    }
}

#[async_trait]
impl Rig for Simulated {
    async fn pass(&self, span: Duration) {
        self.0.clock.advance(span);
        if self.0.past_window == PastWindow::Vanishes {
            self.sweep();
        }
    }

    fn tick(&self) -> Duration {
        Duration::from_millis(100)
    }
}

#[async_trait]
impl StoreRig for Simulated {
    async fn store(&self) -> Arc<dyn Store> {
        Arc::new(self.clone())
    }
}

#[async_trait]
impl BrokerRig for Simulated {
    async fn broker(&self) -> Arc<dyn Broker> {
        Arc::new(self.clone())
    }
}

#[async_trait]
impl OperatorRig for Simulated {
    async fn operator(&self) -> Arc<dyn Operator> {
        Arc::new(self.clone())
    }
}

macro_rules! places {
    ($name:ident, $limits:expr, $ordering:ident, $past_window:ident) => {
        mod $name {
            use semel_core::broker::Ordering;

            use super::{PastWindow, Simulated};
            use crate::world;

            async fn fresh() -> Simulated {
                Simulated::new($limits, Ordering::$ordering, PastWindow::$past_window)
            }

            semel_conformance::suite!(store, fresh());
            semel_conformance::suite!(broker, fresh());
            semel_conformance::suite!(operator, fresh());
            semel_conformance::suite!(queue_in_store, fresh());
        }
    };
}

places!(relational, world::relational(), PerPartitionKey, Stays);
places!(relational_apart, world::relational_apart(), None, Vanishes);
places!(partitions, world::partitions(), PerPartitionKey, Vanishes);
places!(items_only, world::items_only(), None, Stays);

/// The suites say what a person may do to a dead letter; this is what nobody may.
#[tokio::test]
async fn a_dead_letter_can_only_be_replayed_or_removed() {
    let failure = || FailureRecord {
        at: Timestamp::default(),
        reason: "no".to_owned(),
        worker: "worker".to_owned(),
    };
    let place = Simulated::new(relational(), Ordering::None, PastWindow::Stays);
    let envelope = Envelope::new("1", "/shop", "order.placed", b"{}".as_slice());
    let to = Destination::Endpoint("orders".to_owned());
    let sent = place.send(vec![Outgoing { to, envelope, delay: Duration::ZERO }]).await;
    assert!(matches!(sent.as_slice(), [SendOutcome::Sent]));
    let parked =
        Settlement::DeadLetter { reason: DeadReason::Refused, failure: failure(), entity: None };
    let receipt = place.lock().parts.queue.deliver(0, i64::MAX).receipt();
    assert!(matches!(place.settle(&receipt, parked.clone()).await, SettleOutcome::Settled));

    let receipt = place.lock().parts.queue.all()[0].receipt();
    let retried = Settlement::Retry { after: Duration::ZERO, failure: failure() };
    for settlement in [parked, retried] {
        let outcome = place.settle(&receipt, settlement.clone()).await;
        assert!(matches!(outcome, SettleOutcome::Stale), "{outcome:?}");
        let batch = vec![Change::Settle { receipt: receipt.clone(), settlement }];
        assert!(matches!(place.write(batch).await, WriteOutcome::Conflict(_)));
    }
    assert!(matches!(place.settle(&receipt, Settlement::Ack).await, SettleOutcome::Settled));
}
