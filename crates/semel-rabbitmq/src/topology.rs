//! The queues and exchanges, made where they are missing and checked where they are not.

use lapin::options::{ExchangeDeclareOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{Channel, Connection, ExchangeKind};
use semel_core::StoreError;
use semel_core::store::Trouble;

use crate::error;
use crate::message::{arguments, long_text};
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

pub(crate) fn quorum(more: Vec<(&str, AMQPValue)>) -> FieldTable {
    let always = [
        ("x-queue-type", long_text("quorum")),
        ("x-delivery-limit", AMQPValue::LongInt(DELIVERY_LIMIT)),
    ];
    arguments(always.into_iter().chain(more))
}

impl Place {
    /// Makes what is there before any endpoint is.
    pub(crate) async fn declare_base(
        &self,
        connection: &Connection,
        channel: &Channel,
    ) -> Result<(), StoreError> {
        self.declare_exchange(channel, &self.names.everyone(), ExchangeKind::Fanout).await?;
        self.declare(channel, &self.names.handles(), FieldTable::default()).await?;
        if !self.has_events(connection).await? {
            let name = self.names.lock("book");
            let lock = self.take_lock(connection, &name).await?;
            let begun = self.begin(connection, channel).await;
            let left = self.leave_lock(&lock, &name).await;
            if let Err(error) = begun.and(left) {
                // Others would wait for as long as the connection has the lock.
                self.end(connection).await;
                return Err(error);
            }
        }
        self.declare_exchange(channel, &self.names.events(), ExchangeKind::Direct).await?;
        self.declare_book(channel).await.map(drop)
    }

    /// Makes the book. The exchange of events comes after it: where it is, the book is there to
    /// stay. Only under the book's lock.
    async fn begin(&self, connection: &Connection, channel: &Channel) -> Result<(), StoreError> {
        if !self.has_events(connection).await? {
            self.make_book(connection).await?;
        }
        self.declare_exchange(channel, &self.names.events(), ExchangeKind::Direct).await
    }

    async fn has_events(&self, connection: &Connection) -> Result<bool, StoreError> {
        let opening = connection.create_channel();
        let channel = self.server.within("declare an exchange", opening).await?;
        let options = ExchangeDeclareOptions { passive: true, ..Default::default() };
        let (name, kind) = (short(self, &self.names.events())?, ExchangeKind::Direct);
        let asking = channel.exchange_declare(name, kind, options, FieldTable::default());
        match tokio::time::timeout(self.server.patience, asking).await {
            Ok(Ok(())) => self.close(&channel).await,
            // The answer has closed the channel.
            Ok(Err(error)) if error::is_missing(&error) => return Ok(false),
            Ok(Err(error)) => return Err(self.translate("declare an exchange", &error)),
            Err(_) => return Err(error::no_answer(&self.server.place, "declare an exchange")),
        }
        Ok(true)
    }

    async fn declare_exchange(
        &self,
        channel: &Channel,
        name: &str,
        kind: ExchangeKind,
    ) -> Result<(), StoreError> {
        let options = ExchangeDeclareOptions { durable: true, ..Default::default() };
        let name = short(self, name)?;
        let declaring = channel.exchange_declare(name, kind, options, FieldTable::default());
        self.server.within("declare an exchange", declaring).await
    }

    /// Makes the queue of the book; tells how many messages are in it.
    pub(crate) async fn declare_book(&self, channel: &Channel) -> Result<u32, StoreError> {
        self.declare(channel, &self.names.book(), quorum(Vec::new())).await
    }

    pub(crate) async fn declare(
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

    /// Closes a channel that is no longer needed. Failing that, the server closes it with its
    /// connection.
    pub(crate) async fn close(&self, channel: &Channel) {
        let closing = channel.close(200, ShortString::default());
        if let Err(error) = self.server.within("close a channel", closing).await {
            tracing::debug!(%error, "a channel was not closed");
        }
    }
}
