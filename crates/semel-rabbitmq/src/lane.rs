//! The channel on which an endpoint's messages are received, and what is held on it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::future::join_all;
use lapin::Channel;
use lapin::options::{BasicAckOptions, BasicNackOptions};
use lapin::types::ShortString;
use semel_core::StoreError;
use semel_core::broker::Lease;
use tokio::sync::{Mutex, Notify};
use tokio::time::{Instant, sleep_until};

use crate::link::Server;
use crate::making::Kind;
use crate::message::Raw;
use crate::place::Place;

/// How long the one who ends leases sleeps where there are none.
const IDLE: Duration = Duration::from_secs(3600);

/// A channel that receives one endpoint's messages. What it holds is given back when it closes.
pub(crate) struct Lane {
    pub(crate) channel: Channel,
    pub(crate) endpoint: String,
    pub(crate) queue: ShortString,
    server: Server,
    /// It is to be closed, whether the server has heard of it or not.
    abandoned: AtomicBool,
    /// Held while a consumer is started: its limit is set on the channel first.
    pub(crate) limiting: Mutex<()>,
    /// How many settlements were written to the channel.
    written: AtomicU64,
    /// Up to which of them the server has answered.
    answered: Mutex<u64>,
}

/// A message under a lease.
#[derive(Clone)]
pub(crate) struct Held {
    pub(crate) lane: Arc<Lane>,
    pub(crate) tag: u64,
    pub(crate) raw: Raw,
    pub(crate) until: Instant,
}

impl Lane {
    pub(crate) fn is_open(&self) -> bool {
        self.channel.status().connected() && !self.abandoned.load(Ordering::SeqCst)
    }

    /// Removes a message for good. It is gone when the server has answered a question that came
    /// after: RabbitMQ confirms no acknowledgement by itself.
    pub(crate) async fn acknowledge(&self, place: &Place, tag: u64) -> Result<(), StoreError> {
        let acknowledging = self.channel.basic_ack(tag, BasicAckOptions::default());
        self.server.within("settle", acknowledging).await?;
        let mine = self.written.fetch_add(1, Ordering::SeqCst) + 1;
        let mut answered = place.turn("settle", self.answered.lock()).await?;
        if *answered >= mine {
            // Another's question came after this acknowledgement too.
            return Ok(());
        }
        if !self.is_open() {
            // Another's question was not answered.
            return Err(crate::error::no_answer(&self.server.place, "settle"));
        }
        let all = self.written.load(Ordering::SeqCst);
        let asked = place.ready_count(&self.channel, self.queue.as_str()).await;
        asked.inspect_err(|error| self.abandon(error))?;
        *answered = all;
        Ok(())
    }

    /// Gives a message back, to the head of its queue.
    pub(crate) async fn give_back(&self, tag: u64) {
        let options = BasicNackOptions { requeue: true, ..BasicNackOptions::default() };
        let giving = self.channel.basic_nack(tag, options);
        if let Err(error) = self.server.within("give back", giving).await {
            self.abandon(&error);
        }
    }

    /// Closes the channel, so that the server gives back what it holds. Nobody waits for it: a
    /// server that does not answer notices by the missing heartbeats.
    pub(crate) fn abandon(&self, error: &StoreError) {
        if self.abandoned.swap(true, Ordering::SeqCst) {
            return;
        }
        tracing::warn!(endpoint = self.endpoint, %error, "a channel is closed; its leases are lost");
        let (channel, server) = (self.channel.clone(), self.server.clone());
        tokio::spawn(async move {
            let closing = channel.close(200, ShortString::default());
            // It may be closed already.
            let _ = server.within("close a channel", closing).await;
        });
    }
}

impl Place {
    /// The channel of an endpoint; a new one if it was lost.
    pub(crate) async fn lane(self: &Arc<Self>, endpoint: &str) -> Result<Arc<Lane>, StoreError> {
        let queue = self.ensure(endpoint, Kind::Ready).await?;
        let mut lanes = self.turn("receive", self.lanes.lock()).await?;
        if let Some(lane) = lanes.get(endpoint).filter(|lane| lane.is_open()) {
            return Ok(lane.clone());
        }
        let channel = self.take_channel("receive").await?;
        let lane = Arc::new(Lane {
            channel,
            endpoint: endpoint.to_owned(),
            queue: crate::topology::short(self, &queue)?,
            server: self.server.clone(),
            abandoned: AtomicBool::new(false),
            limiting: Mutex::default(),
            written: AtomicU64::new(0),
            answered: Mutex::new(0),
        });
        lanes.insert(endpoint.to_owned(), lane.clone());
        Ok(lane)
    }

    /// Takes a message out of what is held, so that nobody else decides its fate meanwhile.
    pub(crate) fn take_held(&self, serial: u64) -> Option<Held> {
        let held = self.held().remove(&serial)?;
        held.lane.is_open().then_some(held)
    }

    /// Holds a message again whose fate was not decided.
    pub(crate) fn hold_again(&self, serial: u64, held: Held) {
        self.held().insert(serial, held);
        self.held_changed.notify_one();
    }

    pub(crate) fn extend_held(&self, serial: u64, lease: Duration) -> Lease {
        let now = Instant::now();
        let mut all = self.held();
        let held = all.get_mut(&serial).filter(|held| held.lane.is_open() && held.until > now);
        let Some(held) = held else { return Lease::Lost };
        held.until = now + lease;
        drop(all);
        self.held_changed.notify_one();
        Lease::Held
    }

    /// How many messages are held, by endpoint.
    pub(crate) fn count_held(&self) -> BTreeMap<String, u64> {
        let mut counts = BTreeMap::new();
        for held in self.held().values().filter(|held| held.lane.is_open()) {
            *counts.entry(held.lane.endpoint.clone()).or_default() += 1;
        }
        counts
    }

    /// Takes out what is held no longer than now, or on a channel that is closed.
    fn take_ended(&self) -> Vec<Held> {
        let now = Instant::now();
        let mut all = self.held();
        let ended = |held: &Held| held.until <= now || !held.lane.is_open();
        let serials: Vec<u64> =
            all.iter().filter(|(_, held)| ended(held)).map(|(serial, _)| *serial).collect();
        serials.iter().filter_map(|serial| all.remove(serial)).collect()
    }

    fn next_end(&self) -> Instant {
        let first = self.held().values().map(|held| held.until).min();
        first.unwrap_or_else(|| Instant::now() + IDLE)
    }
}

/// Gives back each message whose lease ends, until the handle is dropped.
pub(crate) async fn end_leases(place: Weak<Place>, changed: Arc<Notify>) {
    loop {
        // Nothing here keeps the handle alive while it waits.
        let Some(next) = place.upgrade().map(|place| place.next_end()) else { return };
        tokio::select! {
            () = sleep_until(next) => {}
            () = changed.notified() => {}
        }
        let ended = place.upgrade().map(|place| place.take_ended()).unwrap_or_default();
        join_all(ended.iter().filter(|held| held.lane.is_open()).map(|held| {
            tracing::debug!(endpoint = held.lane.endpoint, "a lease has ended");
            held.lane.give_back(held.tag)
        }))
        .await;
    }
}
