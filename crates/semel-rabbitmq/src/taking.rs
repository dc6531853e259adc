//! Receiving.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::join_all;
use lapin::options::{BasicCancelOptions, BasicConsumeOptions, BasicGetOptions, BasicQosOptions};
use lapin::types::{FieldTable, ShortString};
use lapin::{BasicProperties, Consumer};
use semel_core::StoreError;
use semel_core::broker::{Delivery, Receipt, Receive};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

use crate::history::{self, History};
use crate::lane::{Held, Lane};
use crate::message::{self, Raw};
use crate::place::Place;
use crate::publish::Published;

/// The most messages of one receive.
pub(crate) const RECEIVE_MAX: usize = 100;
/// How long what a cancelled consumer still had may take to come out of the client.
const DRAIN_MAX: Duration = Duration::from_secs(1);

/// From how many messages on a consumer is faster than one question for each.
const CONSUME_FROM: usize = 4;
/// How long a consumer waits for the next message of those that are ready. Others may have taken it.
const GAP_MAX: Duration = Duration::from_millis(50);

/// A consumer that lasts for one receive.
struct Consuming {
    tag: ShortString,
    stream: Consumer,
}

/// A message that the server gave to this handle.
struct Taken {
    tag: u64,
    raw: Raw,
}

impl Taken {
    fn new(tag: u64, properties: BasicProperties, data: Vec<u8>) -> Self {
        Self { tag, raw: Raw { properties, data: data.into() } }
    }
}

impl Place {
    /// Receives, and gives back what nobody waits for any more.
    pub(crate) async fn receive(
        self: &Arc<Self>,
        request: &Receive,
    ) -> Result<Vec<Delivery>, StoreError> {
        let (answer, answered) = oneshot::channel();
        let (place, request) = (self.clone(), request.clone());
        let work = self.finish("receive", async move {
            let mut answer = answer;
            let received = place.receive_for(&request, &mut answer).await;
            if let Err(Ok(unwanted)) = answer.send(received) {
                place.give_back(&unwanted).await;
            }
            Ok(())
        });
        // The work runs by itself; its handle only tells of a panic.
        tokio::select! {
            biased;
            received = answered => match received {
                Ok(received) => received,
                Err(_) => Ok(Vec::new()),
            },
            Err(error) = work => Err(error),
        }
    }

    async fn receive_for(
        self: &Arc<Self>,
        request: &Receive,
        answer: &mut oneshot::Sender<Result<Vec<Delivery>, StoreError>>,
    ) -> Result<Vec<Delivery>, StoreError> {
        let until = Instant::now() + request.wait;
        let max = request.max.min(RECEIVE_MAX);
        if max == 0 {
            return Ok(Vec::new());
        }
        loop {
            let lane = self.lane(&request.endpoint).await?;
            let mut taken =
                self.take(&lane, max).await.inspect_err(|error| self.lost(&lane, error))?;
            if taken.is_empty() && Instant::now() < until {
                let waited = self.wait_for_one(&lane, until, answer).await;
                taken = waited.inspect_err(|error| self.lost(&lane, error))?;
                if !taken.is_empty() && taken.len() < max {
                    let more = self.take(&lane, max - taken.len()).await;
                    taken.extend(more.inspect_err(|error| self.lost(&lane, error))?);
                }
            }
            let none_came = taken.is_empty();
            let deliveries = self.hold(&lane, taken, request.lease).await;
            if !deliveries.is_empty() || none_came && Instant::now() >= until || answer.is_closed()
            {
                return Ok(deliveries);
            }
        }
    }

    /// A channel that failed holds nothing more; a queue that is gone is made again.
    fn lost(&self, lane: &Lane, error: &StoreError) {
        lane.abandon(error);
        self.known().remove(lane.queue.as_str());
    }

    /// Takes what is ready, oldest first, at most `max`.
    async fn take(&self, lane: &Lane, max: usize) -> Result<Vec<Taken>, StoreError> {
        let Some((first, left)) = self.get(lane).await? else { return Ok(Vec::new()) };
        let mut taken = vec![first];
        let want = left.min(max - 1);
        if want >= CONSUME_FROM {
            let mut consumer = self.start(lane, want).await?;
            while taken.len() <= want {
                let Ok(Some(delivery)) = timeout(GAP_MAX, consumer.stream.next()).await else {
                    break;
                };
                taken.push(self.taken(delivery)?);
            }
            taken.extend(self.stop(lane, consumer).await?);
        } else {
            for got in join_all((0..want).map(|_| self.get(lane))).await {
                taken.extend(got?.map(|(message, _)| message));
            }
        }
        taken.sort_by_key(|message| message.tag);
        Ok(taken)
    }

    /// One message, and how many were left.
    async fn get(&self, lane: &Lane) -> Result<Option<(Taken, usize)>, StoreError> {
        let getting = lane.channel.basic_get(lane.queue.clone(), BasicGetOptions::default());
        let got = self.server.within("receive", getting).await?;
        Ok(got.map(|message| {
            let left = usize::try_from(message.message_count).unwrap_or(usize::MAX);
            let delivery = message.delivery;
            (Taken::new(delivery.delivery_tag, delivery.properties, delivery.data), left)
        }))
    }

    /// Waits for a message as a consumer does, and then consumes no more.
    async fn wait_for_one(
        &self,
        lane: &Lane,
        until: Instant,
        answer: &mut oneshot::Sender<Result<Vec<Delivery>, StoreError>>,
    ) -> Result<Vec<Taken>, StoreError> {
        let mut consumer = self.start(lane, 1).await?;
        let first = tokio::select! {
            biased;
            next = consumer.stream.next() => next,
            () = tokio::time::sleep_until(until) => None,
            () = answer.closed() => None,
        };
        let mut taken = Vec::new();
        if let Some(delivery) = first {
            taken.push(self.taken(delivery)?);
        }
        taken.extend(self.stop(lane, consumer).await?);
        Ok(taken)
    }

    /// A consumer to which the server gives this many messages, and no more until one is settled.
    async fn start(&self, lane: &Lane, messages: usize) -> Result<Consuming, StoreError> {
        let tag = ShortString::try_new(history::new_id()).unwrap_or_default();
        let prefetch = u16::try_from(messages).unwrap_or(u16::MAX);
        // The limit holds for the consumers that come after it on the channel.
        let _limit = self.turn("receive", lane.limiting.lock()).await?;
        let limiting = lane.channel.basic_qos(prefetch, BasicQosOptions::default());
        self.server.within("receive", limiting).await?;
        let options = BasicConsumeOptions::default();
        let queue = lane.queue.clone();
        let consuming =
            lane.channel.basic_consume(queue, tag.clone(), options, FieldTable::default());
        let stream = self.server.within("receive", consuming).await?;
        Ok(Consuming { tag, stream })
    }

    /// Ends a consumer, and takes what the server gave it before it heard of that.
    async fn stop(&self, lane: &Lane, consumer: Consuming) -> Result<Vec<Taken>, StoreError> {
        let Consuming { tag, mut stream } = consumer;
        let cancelling = lane.channel.basic_cancel(tag, BasicCancelOptions::default());
        self.server.within("receive", cancelling).await?;
        let mut taken = Vec::new();
        while let Ok(Some(delivery)) = timeout(DRAIN_MAX, stream.next()).await {
            taken.push(self.taken(delivery)?);
        }
        Ok(taken)
    }

    fn taken(
        &self,
        delivery: lapin::Result<lapin::message::Delivery>,
    ) -> Result<Taken, StoreError> {
        let delivery = delivery.map_err(|error| self.translate("receive", &error))?;
        Ok(Taken::new(delivery.delivery_tag, delivery.properties, delivery.data))
    }

    pub(crate) fn translate(&self, operation: &'static str, error: &lapin::Error) -> StoreError {
        crate::error::translate(&self.server.place, operation, error)
    }

    /// Takes messages under a lease; those whose time has not come are sent on to wait for it.
    async fn hold(
        self: &Arc<Self>,
        lane: &Arc<Lane>,
        taken: Vec<Taken>,
        lease: Duration,
    ) -> Vec<Delivery> {
        let (early, ready): (Vec<Taken>, Vec<Taken>) =
            taken.into_iter().partition(|it| history::left(&it.raw).is_some());
        let until = Instant::now() + lease;
        let deliveries = ready.into_iter().map(|Taken { tag, raw }| {
            let serial = self.new_serial();
            let delivery = self.delivery(serial, &raw);
            self.held().insert(serial, Held { lane: lane.clone(), tag, raw, until });
            delivery
        });
        let deliveries = deliveries.collect();
        self.held_changed.notify_one();
        self.send_all_on(lane, early).await;
        deliveries
    }

    /// Sends messages on whose time has not come. While an alarm is on, which they have to wait for,
    /// nobody waits for them, unless there are many.
    async fn send_all_on(self: &Arc<Self>, lane: &Arc<Lane>, early: Vec<Taken>) {
        if early.is_empty() {
            return;
        }
        // There is room for what one receive takes, and it is never closed.
        let count = u32::try_from(early.len().min(RECEIVE_MAX)).unwrap_or_default();
        let Ok(room) = self.early.clone().acquire_many_owned(count).await else { return };
        let (place, lane) = (self.clone(), lane.clone());
        let sending = tokio::spawn(async move {
            join_all(early.into_iter().map(|it| place.send_on(&lane, it))).await;
            drop(room);
        });
        tokio::select! {
            biased;
            // What could not be sent on was given back.
            _ = sending => {}
            () = self.sends.alarmed() => {}
        }
    }

    fn delivery(&self, serial: u64, raw: &Raw) -> Delivery {
        let history = History::of_delivery(raw);
        Delivery {
            receipt: Receipt::new(format!("{}.{serial}", self.handle)),
            envelope: message::decode(raw),
            deliveries: history.deliveries,
            failures: history.failures,
            failure_count: history.failure_count,
        }
    }

    /// Lets a message wait for the rest of its time. This is no delivery.
    async fn send_on(self: &Arc<Self>, lane: &Arc<Lane>, taken: Taken) {
        let mut history = History::of_delivery(&taken.raw);
        history.deliveries = history.deliveries.saturating_sub(1);
        let left = history::left(&taken.raw).unwrap_or_default();
        let (shelf, copy) = self.later(&taken.raw, &history, left);
        match self.queue(&lane.endpoint, shelf, &copy).await {
            Published::Confirmed => {
                if let Err(error) = lane.acknowledge(self, taken.tag).await {
                    lane.abandon(&error);
                }
            }
            other => {
                tracing::warn!(?other, "a message that waits was not sent on; it comes again");
                lane.give_back(taken.tag).await;
            }
        }
    }

    /// Gives back what was received and not wanted.
    async fn give_back(&self, deliveries: &[Delivery]) {
        for delivery in deliveries.iter().rev() {
            let serial = self.own_serial(&delivery.receipt);
            if let Some(held) = serial.and_then(|serial| self.take_held(serial)) {
                held.lane.give_back(held.tag).await;
            }
        }
    }

    /// The number under which this handle holds the message, if it is this handle's.
    pub(crate) fn own_serial(&self, receipt: &Receipt) -> Option<u64> {
        let (handle, serial) = receipt.as_str().split_once('.')?;
        (handle == self.handle).then(|| serial.parse().ok()).flatten()
    }
}
