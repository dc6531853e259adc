//! The queues and exchanges, made where they are missing and checked where they are not.

use std::sync::Arc;

use lapin::options::{ExchangeDeclareOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{Channel, ExchangeKind};
use semel_core::StoreError;
use semel_core::store::Trouble;

use crate::book::Page;
use crate::message::{arguments, long_text};
use crate::names::refuse_endpoint;
use crate::place::Place;

/// RabbitMQ drops a message that came back this often; Semel's own limit comes long before.
///
/// With a limit, a message that comes back goes to the head of its queue; without one, to its end.
const DELIVERY_LIMIT: i32 = i32::MAX;

/// The queue's name, if AMQP can carry it.
pub(crate) fn short(place: &Place, name: &str) -> Result<ShortString, StoreError> {
    ShortString::try_new(name).map_err(|_| {
        let reason = format!("the name is longer than AMQP's 255 bytes: {name}");
        let help = "Choose a shorter name.";
        place.server.error(Trouble::TooLarge, "declare", reason, help)
    })
}

fn quorum(more: Vec<(&str, AMQPValue)>) -> FieldTable {
    let always = [
        ("x-queue-type", long_text("quorum")),
        ("x-delivery-limit", AMQPValue::LongInt(DELIVERY_LIMIT)),
    ];
    arguments(always.into_iter().chain(more))
}

impl Place {
    /// Makes what is there before any endpoint is.
    pub(crate) async fn declare_base(&self, channel: &Channel) -> Result<(), StoreError> {
        let options = ExchangeDeclareOptions { durable: true, ..Default::default() };
        let exchanges = [
            (self.names.events(), ExchangeKind::Direct),
            (self.names.everyone(), ExchangeKind::Fanout),
        ];
        for (name, kind) in exchanges {
            let name = short(self, &name)?;
            let declaring = channel.exchange_declare(name, kind, options, FieldTable::default());
            self.server.within("declare an exchange", declaring).await?;
        }
        self.declare(channel, &self.names.handles(), FieldTable::default()).await?;
        self.declare_book(channel).await.map(drop)
    }

    /// Makes the queue of the book; tells how many messages are in it.
    pub(crate) async fn declare_book(&self, channel: &Channel) -> Result<u32, StoreError> {
        self.declare(channel, &self.names.book(), quorum(Vec::new())).await
    }

    async fn declare(
        &self,
        channel: &Channel,
        name: &str,
        arguments: FieldTable,
    ) -> Result<u32, StoreError> {
        let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        let declaring = channel.queue_declare(short(self, name)?, options, arguments);
        let queue = self.server.within("declare a queue", declaring).await?;
        Ok(queue.message_count())
    }

    async fn declare_alone(&self, name: &str, arguments: FieldTable) -> Result<(), StoreError> {
        // A refusal closes the channel: it is used for nothing else.
        let channel = self.sends.channel("declare a queue").await?;
        self.declare(&channel, name, arguments).await?;
        self.close(&channel).await;
        Ok(())
    }

    /// Makes an endpoint's queue, and notes the endpoint in the book.
    pub(crate) async fn ensure_ready(self: &Arc<Self>, endpoint: &str) -> Result<(), StoreError> {
        let queue = self.names.ready(endpoint);
        if self.known().contains(&queue) {
            return Ok(());
        }
        if let Some(reason) = refuse_endpoint(endpoint) {
            let help = "Choose a shorter, plain name.";
            return Err(self.server.error(Trouble::Unsupported, "declare a queue", reason, help));
        }
        self.declare_alone(&queue, quorum(Vec::new())).await?;
        let (place, endpoint) = (self.clone(), endpoint.to_owned());
        self.locked("book", async move { place.enter(endpoint).await }).await?;
        self.known().insert(queue);
        Ok(())
    }

    /// Notes an endpoint in the book. Its queue may be new in the place of one that was deleted,
    /// and its bindings with it: they are made again.
    async fn enter(self: &Arc<Self>, endpoint: String) -> Result<(), StoreError> {
        let mut page = Page::default();
        self.change_book(|book| {
            page = book.endpoints.entry(endpoint.clone()).or_default().clone();
        })
        .await?;
        if page.subscriptions.is_empty() {
            return Ok(());
        }
        let channel = self.take_channel("bind").await?;
        for kind in &page.subscriptions {
            self.bind(&channel, &endpoint, kind, true).await?;
        }
        self.close(&channel).await;
        Ok(())
    }

    /// Makes the queue in which an endpoint's messages wait for one step of their time.
    ///
    /// What expires there goes to the endpoint's queue *at least once*: RabbitMQ forgets it here
    /// only when it is written down there.
    pub(crate) async fn ensure_wait(
        self: &Arc<Self>,
        endpoint: &str,
        step_ms: u64,
    ) -> Result<String, StoreError> {
        let queue = self.names.wait(endpoint, step_ms);
        if self.known().contains(&queue) {
            return Ok(queue);
        }
        let ttl_ms = i64::try_from(step_ms).unwrap_or(i64::MAX);
        let more = vec![
            ("x-message-ttl", AMQPValue::LongLongInt(ttl_ms)),
            ("x-dead-letter-exchange", long_text("")),
            ("x-dead-letter-routing-key", long_text(&self.names.ready(endpoint))),
            ("x-dead-letter-strategy", long_text("at-least-once")),
            // The server keeps that promise only for queues that refuse what they cannot hold.
            ("x-overflow", long_text("reject-publish")),
        ];
        self.declare_alone(&queue, quorum(more)).await?;
        self.note(endpoint, move |page| {
            page.waits.insert(step_ms);
        })
        .await?;
        self.known().insert(queue.clone());
        Ok(queue)
    }

    /// Makes the queue of an endpoint's dead letters.
    pub(crate) async fn ensure_dead(
        self: &Arc<Self>,
        endpoint: &str,
    ) -> Result<String, StoreError> {
        let queue = self.names.dead(endpoint);
        if self.known().contains(&queue) {
            return Ok(queue);
        }
        self.declare_alone(&queue, quorum(Vec::new())).await?;
        self.note(endpoint, |page| page.has_dead = true).await?;
        self.known().insert(queue.clone());
        Ok(queue)
    }

    /// Closes a channel that is no longer needed. Failing that, the server closes it with its
    /// connection.
    pub(crate) async fn close(&self, channel: &Channel) {
        let closing = channel.close(200, ShortString::default());
        if let Err(error) = self.server.within("close a channel", closing).await {
            tracing::debug!(%error, "a channel was not closed");
        }
    }
}
