//! How long a message takes at a steady rate.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hdrhistogram::Histogram;
use semel::sqlite::Sqlite;
use semel::{Backend, Context, Endpoint, Host, Keyed, Message};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::Result;
use crate::report::Latency;
use crate::work::fresh_file;

/// Carries when it was due, in microseconds since the start.
#[derive(Serialize, Deserialize)]
pub(crate) struct Ping {
    number: u64,
    pub(crate) due_us: u64,
}

impl Message for Ping {
    const TYPE: &'static str = "bench.ping";
}

impl Keyed for Ping {
    fn key(&self) -> String {
        (self.number % 1_000).to_string()
    }
}

/// What the first endpoint sends on: it exists only once that one's state is durable.
#[derive(Serialize, Deserialize)]
struct Pong {
    ping: Ping,
}

impl Message for Pong {
    const TYPE: &'static str = "bench.pong";
}

impl Keyed for Pong {
    fn key(&self) -> String {
        self.ping.key()
    }
}

/// Sends `rate` messages a second for `seconds` and measures the time from when a message was due
/// until the message that it caused is in its handler's hands.
pub(crate) async fn measure(folder: &Path, rate: u32, seconds: u32) -> Result<Latency> {
    let (_folder, path) = fresh_file(folder)?;
    measure_on(Backend::in_one(Arc::new(Sqlite::open(&path)?)), rate, seconds).await
}

/// The same on any backend.
pub(crate) async fn measure_on(backend: Backend, rate: u32, seconds: u32) -> Result<Latency> {
    let times = Arc::new(Mutex::new(Histogram::<u64>::new(3)?));
    let started = Instant::now();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let host = tokio::spawn(host(backend.clone(), times.clone(), started).run(async {
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

fn host(backend: Backend, times: Arc<Mutex<Histogram<u64>>>, started: Instant) -> Host {
    let ping = |_: &mut (), ping: Ping, ctx: &mut Context| ctx.send("pongs", Pong { ping });
    let pong = move |_: &mut (), pong: Pong, _: &mut Context| {
        let now_us = started.elapsed().as_micros() as u64;
        let mut times = times.lock().unwrap_or_else(PoisonError::into_inner);
        times
            .record(now_us.saturating_sub(pong.ping.due_us))
            .unwrap_or_else(|_| unreachable!("the histogram resizes itself"));
    };
    Host::new(backend)
        .endpoint(Endpoint::new("pings").handle(ping))
        .endpoint(Endpoint::new("pongs").handle(pong))
}

/// Sends on schedule, whether or not earlier sends have ended: a slow store gets no mercy.
pub(crate) async fn send(backend: Backend, rate: u32, total: u64, started: Instant) -> Result<()> {
    let mut sends = tokio::task::JoinSet::new();
    for number in 0..total {
        let due = Duration::from_secs_f64(number as f64 / f64::from(rate));
        tokio::time::sleep_until(started + due).await;
        let backend = backend.clone();
        let ping = Ping { number, due_us: due.as_micros() as u64 };
        sends.spawn(async move { backend.send("pings", ping).await });
    }
    while let Some(sent) = sends.join_next().await {
        sent??;
    }
    Ok(())
}
