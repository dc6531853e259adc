//! The book of endpoints: one message in a queue of its own.
//!
//! AMQP tells nobody which queues and bindings there are, so Semel writes them down. Whoever reads
//! or changes the book holds a lock and takes the message; a writer queues the new one before he
//! removes the old. Should he die between the two, the next one finds both, and joins them.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use lapin::options::{
    BasicAckOptions, BasicGetOptions, BasicNackOptions, QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection};
use semel_core::StoreError;
use semel_core::store::Trouble;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::error;
use crate::history::{self, History};
use crate::message::Raw;
use crate::place::Place;
use crate::publish::Target;
use crate::topology::short;

/// How often a lock is tried that another has.
const LOCK_EVERY: Duration = Duration::from_millis(8);
/// How often the server is asked whether what was given back is there again.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// What is known of one endpoint.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
pub(crate) struct Page {
    pub(crate) protocol: Option<String>,
    #[serde(default)]
    pub(crate) subscriptions: BTreeSet<String>,
    /// Types whose binding may be there: those it subscribes to, and those being undone.
    #[serde(default)]
    pub(crate) bound: BTreeSet<String>,
    pub(crate) registered_at: Option<i64>,
    /// Its queue is there to stay.
    #[serde(default)]
    pub(crate) has_ready: bool,
    /// The times for which it has waiting queues that are there to stay, in milliseconds.
    #[serde(default)]
    pub(crate) waits: BTreeSet<u64>,
    /// The queue of its dead letters is there to stay.
    #[serde(default)]
    pub(crate) has_dead: bool,
    /// Queues that somebody began to make.
    #[serde(default)]
    pub(crate) begun: BTreeSet<String>,
}

/// What is known of all.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
pub(crate) struct Book {
    pub(crate) endpoints: BTreeMap<String, Page>,
}

impl Book {
    /// What two books tell together; of registrations the newest counts.
    fn join(&mut self, other: Self) {
        for (endpoint, page) in other.endpoints {
            let own = self.endpoints.entry(endpoint).or_default();
            let mut new =
                if page.registered_at > own.registered_at { page.clone() } else { own.clone() };
            for old in [&page, own] {
                new.bound.extend(old.bound.iter().cloned());
                new.waits.extend(&old.waits);
                new.begun.extend(old.begun.iter().cloned());
                new.has_ready |= old.has_ready;
                new.has_dead |= old.has_dead;
            }
            *own = new;
        }
    }
}

/// The book as somebody has it in hand, under its lock.
struct Opened {
    channel: Channel,
    book: Book,
    messages: u32,
}

impl Place {
    /// What the book says.
    pub(crate) async fn read_book(self: &Arc<Self>) -> Result<Book, StoreError> {
        let place = self.clone();
        self.locked("book", async move {
            let opened = place.open_book().await?;
            let book = opened.book.clone();
            place.lay_back(&opened.channel, &place.names.book(), opened.messages).await?;
            Ok(book)
        })
        .await
    }

    /// Changes the book. Only under its lock.
    pub(crate) async fn change_book(
        self: &Arc<Self>,
        change: impl FnOnce(&mut Book) + Send,
    ) -> Result<(), StoreError> {
        let opened = self.open_book().await?;
        let mut book = opened.book.clone();
        change(&mut book);
        if book == opened.book && opened.messages == 1 {
            return self.lay_back(&opened.channel, &self.names.book(), opened.messages).await;
        }
        let written = self.write_new_book(&opened, &book).await;
        if let Err(error) = written {
            // The channel gives the old one back when it closes.
            self.close(&opened.channel).await;
            return Err(error);
        }
        if opened.messages > 0 {
            let options = BasicAckOptions { multiple: true };
            self.server.within("write the book", opened.channel.basic_ack(0, options)).await?;
        }
        self.close(&opened.channel).await;
        Ok(())
    }

    async fn write_new_book(&self, opened: &Opened, book: &Book) -> Result<(), StoreError> {
        if opened.messages == 0 {
            // Somebody may have deleted its queue, so that it has just been made again.
            self.settle_in(&opened.channel).await?;
        }
        self.write_book(book).await
    }

    async fn write_book(&self, book: &Book) -> Result<(), StoreError> {
        let text = serde_json::to_vec(book).map_err(|error| {
            let help = "This is a defect in Semel; please report it.";
            self.server.error(Trouble::Broken, "write the book", error.to_string(), help)
        })?;
        let properties = BasicProperties::default().with_content_type("application/json".into());
        let raw = Raw { properties, data: text.into() };
        let raw = history::copy(&raw, &History::default(), Duration::ZERO, None);
        let published = self.sends.publish(Target::Queue(self.names.book()), raw).await;
        self.not_queued(published).map_or(Ok(()), Err)
    }

    async fn open_book(self: &Arc<Self>) -> Result<Opened, StoreError> {
        let channel = self.take_channel("read the book").await?;
        self.declare_book(&channel).await?;
        let mut opened = Opened { channel, book: Book::default(), messages: 0 };
        let name = short(self, &self.names.book())?;
        loop {
            let getting = opened.channel.basic_get(name.clone(), BasicGetOptions::default());
            let Some(message) = self.server.within("read the book", getting).await? else {
                return Ok(opened);
            };
            opened.messages += 1;
            match serde_json::from_slice(&message.delivery.data) {
                Ok(book) => opened.book.join(book),
                Err(error) => {
                    self.close(&opened.channel).await;
                    let help =
                        "Something else is in this queue: remove it, or choose another prefix.";
                    let reason = format!("{} holds what is no book: {error}", name.as_str());
                    return Err(self.server.error(Trouble::Broken, "read the book", reason, help));
                }
            }
        }
    }

    /// Gives back all that a channel took from a queue, and closes it when they are there again:
    /// the next owner of the lock must find them.
    pub(crate) async fn lay_back(
        &self,
        channel: &Channel,
        queue: &str,
        messages: u32,
    ) -> Result<(), StoreError> {
        if messages > 0 {
            let options = BasicNackOptions { multiple: true, requeue: true };
            self.server.within("give back", channel.basic_nack(0, options)).await?;
            let until = Instant::now() + self.server.patience;
            while self.ready_count(channel, queue).await? < messages && Instant::now() < until {
                tokio::time::sleep(LOOK_EVERY).await;
            }
        }
        self.close(channel).await;
        Ok(())
    }

    /// How many messages are ready in a queue that exists.
    pub(crate) async fn ready_count(
        &self,
        channel: &Channel,
        queue: &str,
    ) -> Result<u32, StoreError> {
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let asking = channel.queue_declare(short(self, queue)?, options, FieldTable::default());
        Ok(self.server.within("count", asking).await?.message_count())
    }

    /// Does `work` while no other handle does work under the same lock.
    ///
    /// The lock is a queue that belongs to this connection alone: should it end, so does the lock,
    /// and what was taken from queues is given back in the same moment.
    pub(crate) async fn locked<T: Send + 'static>(
        self: &Arc<Self>,
        what: &str,
        work: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (place, name) = (self.clone(), self.names.lock(what));
        self.finish("take a lock", async move {
            let _alone = place.turn("take a lock", place.locks.lock()).await?;
            let station = place.station().await?;
            let channel = place.take_lock(&station.connection, &name).await?;
            let answer = work.await;
            if let Err(error) = place.leave_lock(&channel, &name).await {
                // Others would wait for as long as this connection lives.
                tracing::warn!(%error, "a lock was not left; its connection is closed");
                place.hang_up().await;
            }
            answer
        })
        .await
    }

    /// Takes a lock for this connection, which must not have it already.
    pub(crate) async fn take_lock(
        &self,
        connection: &Connection,
        name: &str,
    ) -> Result<Channel, StoreError> {
        let until = Instant::now() + self.server.patience;
        let options = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
        loop {
            let opening = connection.create_channel();
            let channel = self.server.within("take a lock", opening).await?;
            let declaring =
                channel.queue_declare(short(self, name)?, options, FieldTable::default());
            match tokio::time::timeout(self.server.patience, declaring).await {
                Ok(Ok(_)) => return Ok(channel),
                Ok(Err(error)) if error::is_locked(&error) && Instant::now() < until => {
                    tokio::time::sleep(LOCK_EVERY).await;
                }
                Ok(Err(error)) => {
                    return Err(error::translate(&self.server.place, "take a lock", &error));
                }
                Err(_) => return Err(error::no_answer(&self.server.place, "take a lock")),
            }
        }
    }

    /// Leaves a lock; it is left as well where its connection is lost.
    pub(crate) async fn leave_lock(&self, channel: &Channel, name: &str) -> Result<(), StoreError> {
        let leaving = channel.queue_delete(short(self, name)?, QueueDeleteOptions::default());
        if let Err(error) = self.server.within("leave a lock", leaving).await {
            return if channel.status().connected() { Err(error) } else { Ok(()) };
        }
        self.close(channel).await;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Book, Page};

    fn book(registered_at: i64, kind: &str, wait: u64) -> Book {
        let kinds = [kind.to_owned()].into();
        let page = Page {
            subscriptions: kinds,
            bound: [kind.to_owned()].into(),
            registered_at: Some(registered_at),
            waits: [wait].into(),
            has_ready: kind == "old",
            begun: [kind.to_owned()].into(),
            ..Page::default()
        };
        Book { endpoints: [("orders".to_owned(), page)].into() }
    }

    #[test]
    fn of_two_books_the_newest_registration_counts_and_no_queue_is_forgotten() {
        for (first, second) in
            [(book(1, "old", 16), book(2, "new", 32)), (book(2, "new", 32), book(1, "old", 16))]
        {
            let mut joined = first;
            joined.join(second);
            let page = &joined.endpoints["orders"];
            assert_eq!(page.subscriptions, ["new".to_owned()].into());
            assert_eq!(page.bound, ["new".to_owned(), "old".to_owned()].into());
            assert_eq!(page.waits, [16, 32].into());
            assert!(page.has_ready && page.begun.contains("new"), "{page:?}");
        }
    }
}
