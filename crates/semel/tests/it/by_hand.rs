//! Runs a protocol on one delivery by hand, without a host.

use std::future::Future;
use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use semel::core::broker::{Delivery, Receive};
use semel::core::handler::{BoxFuture, Decision};
use semel::core::protocols::{Business, Outcome, Protocol, Work};
use semel::{Backend, Context, Failure};

use crate::bank::{Account, Deposited};

/// How long a delivery by hand is ours.
pub(crate) const LEASE: Duration = Duration::from_secs(60);

/// Takes up to `max` messages under a lease, now.
pub(crate) async fn take(backend: &Backend, endpoint: &str, max: usize) -> Vec<Delivery> {
    let request =
        Receive { endpoint: endpoint.to_owned(), max, lease: LEASE, wait: Duration::ZERO };
    backend.broker().receive(&request).await.unwrap()
}

/// Takes the one message that there must be.
pub(crate) async fn take_one(backend: &Backend, endpoint: &str) -> Delivery {
    let mut taken = take(backend, endpoint, 10).await;
    assert_eq!(taken.len(), 1, "exactly one message waits at {endpoint}");
    taken.remove(0)
}

/// Runs one attempt of `protocol` on `delivery`, for the account `alice` at `accounts`.
pub(crate) async fn attempt(
    backend: &Backend,
    protocol: &dyn Protocol,
    delivery: &Delivery,
    handler: &dyn Business,
) -> Outcome {
    attempt_for(["accounts", "alice"], backend, protocol, delivery, handler).await
}

/// The same for any endpoint and entity.
pub(crate) async fn attempt_for(
    [endpoint, entity]: [&str; 2],
    backend: &Backend,
    protocol: &dyn Protocol,
    delivery: &Delivery,
    handler: &dyn Business,
) -> Outcome {
    let envelope = delivery.envelope.as_ref().unwrap();
    let (receipt, places) = (&delivery.receipt, backend.places());
    let work = Work { endpoint, envelope, receipt, entity, handler, places };
    protocol.process(&work).await
}

/// Polls `future` until `stop` completes, then drops it: the process dies there.
pub(crate) async fn dies_at<T>(future: impl Future<Output = T>, stop: impl Future<Output = ()>) {
    tokio::select! {
        _ = future => panic!("it ended before it could die"),
        () = stop => {}
    }
}

/// A handler whose every attempt pays in `pence`, and one more each time, so that the effects of
/// attempts differ.
#[derive(Debug)]
pub(crate) struct Varying {
    pence: Mutex<i64>,
}

impl Varying {
    pub(crate) fn from(pence: i64) -> Self {
        Self { pence: Mutex::new(pence) }
    }
}

impl Business for Varying {
    fn run(
        &self,
        state: Option<Bytes>,
        mut context: Context,
    ) -> BoxFuture<'_, Result<Decision, Failure>> {
        let pence = {
            let mut next = self.pence.lock().unwrap();
            *next += 1;
            *next - 1
        };
        Box::pin(async move {
            let mut account: Account = match state {
                Some(state) => serde_json::from_slice(&state)?,
                None => Account::default(),
            };
            account.pence += pence;
            account.deposits += 1;
            let balance = account.pence;
            context.send("audit", Deposited { account: "alice".to_owned(), pence, balance });
            let state = serde_json::to_vec(&account)?.into();
            Ok(Decision { state, effects: context.into_effects()? })
        })
    }
}

/// A handler that always fails.
#[derive(Debug)]
pub(crate) struct Failing;

impl Business for Failing {
    fn run(&self, _: Option<Bytes>, _: Context) -> BoxFuture<'_, Result<Decision, Failure>> {
        Box::pin(std::future::ready(Err(Failure::retry("no"))))
    }
}
