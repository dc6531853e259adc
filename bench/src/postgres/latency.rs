//! How long a message takes at a steady rate.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use hdrhistogram::Histogram;
use semel::core::broker::BrokerLimits;
use semel::core::operator::DeadLetter;
use semel::core::protocols::{Outcome, Places, Processed, Protocol, Work};
use semel::core::store::StoreLimits;
use semel::core::{Store, StoreError};
use semel::{Backend, Context, Endpoint, Envelope, Host, Transactional};
use semel_servers::Postgres;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::work::place;
use crate::Result;
use crate::latency::{Ping, send};
use crate::report::Latency;

/// The entity.
#[derive(Default, Serialize, Deserialize)]
struct Count {
    pings: u64,
}

/// The protocol that ships, and when its commits returned.
#[derive(Debug)]
struct Timed {
    inner: Transactional,
    times: Arc<Mutex<Histogram<u64>>>,
    started: Instant,
}

impl Timed {
    fn note(&self, envelope: &Envelope) {
        let Ok(ping) = serde_json::from_slice::<Ping>(&envelope.data) else { return };
        let now_us = self.started.elapsed().as_micros() as u64;
        let mut times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
        times
            .record(now_us.saturating_sub(ping.due_us))
            .unwrap_or_else(|_| unreachable!("the histogram resizes itself"));
    }
}

#[async_trait]
impl Protocol for Timed {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn check(&self, store: &StoreLimits, broker: &BrokerLimits) -> std::result::Result<(), String> {
        self.inner.check(store, broker)
    }

    async fn process(&self, work: &Work<'_>) -> Outcome {
        let outcome = self.inner.process(work).await;
        if matches!(outcome, Outcome::Processed) {
            self.note(work.envelope);
        }
        outcome
    }

    async fn processed(
        &self,
        endpoint: &str,
        envelope: &Envelope,
        entity: Option<&str>,
        store: &dyn Store,
    ) -> std::result::Result<Processed, StoreError> {
        self.inner.processed(endpoint, envelope, entity, store).await
    }

    async fn discard(&self, dead: &DeadLetter, places: Places<'_>) -> Outcome {
        self.inner.discard(dead, places).await
    }
}

/// Sends `rate` messages a second for `seconds`, and measures the time from when each was due until
/// its commit returned.
pub(super) async fn measure(server: &Postgres, rate: u32, seconds: u32) -> Result<Latency> {
    eprintln!("latency: {rate}/s for {seconds} s");
    let (_, place) = place(server).await?;
    let backend = Backend::in_one(place);
    let times = Arc::new(Mutex::new(Histogram::<u64>::new(3)?));
    let started = Instant::now();
    let timed = Timed { inner: Transactional::default(), times: times.clone(), started };
    let ping = |count: &mut Count, _: Ping, _: &mut Context| count.pings += 1;
    let endpoint = Endpoint::new("pings").handle(ping).protocol(timed);
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let host = Host::new(backend.clone()).endpoint(endpoint);
    let host = tokio::spawn(host.run(async {
        // A dropped sender stops it as well.
        let _ = stopped.await;
    }));
    let total = u64::from(rate) * u64::from(seconds);
    send(backend, rate, total, started).await?;
    while times.lock().unwrap_or_else(PoisonError::into_inner).len() < total {
        tokio::time::sleep(Duration::from_millis(10)).await;
        if host.is_finished() {
            break;
        }
    }
    drop(stop);
    host.await??;
    let times = times.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(Latency::new(rate, &times))
}
