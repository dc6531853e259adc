//! Making queues that outlive the server's death.
//!
//! RabbitMQ writes the name of a new quorum queue to its disk some moments after it told that the
//! queue is made: half a second later where it makes no other, three seconds otherwise. Killed
//! before that, it comes back with a queue under this name that has forgotten every message, though
//! they were confirmed, and never gets a leader. It writes down all names of before when it makes
//! one more. So whoever makes a queue here makes another one after it, which goes at once, and then
//! notes in the book that the queue may be used. Before that it is noted that it is being made: what
//! is left of such a queue when the server was killed is removed.

use std::sync::Arc;
use std::time::Duration;

use lapin::options::{BasicGetOptions, QueueDeclareOptions, QueueDeleteOptions};
use lapin::protocol::{AMQPErrorKind, AMQPHardError};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Connection, ErrorKind};
use semel_core::StoreError;
use semel_core::store::Trouble;

use crate::book::Page;
use crate::message::long_text;
use crate::names::refuse_endpoint;
use crate::place::Place;
use crate::topology::{quorum, short};
use crate::{error, history};

/// How long the removal of a queue without a leader may take: the server looks for one for 5 s.
const REMOVAL_MAX: Duration = Duration::from_secs(20);
/// When a queue goes that was made after another one, should nobody remove it.
const EXPIRY_MS: i32 = 60_000;

/// A queue of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// What can be received.
    Ready,
    /// What waits for one step of this many milliseconds.
    Wait(u64),
    /// What waits for a person.
    Dead,
}

/// What the book says of a queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    /// Nothing.
    #[default]
    Unknown,
    /// Somebody began to make it, and has put nothing into it.
    Begun,
    /// It is there to stay.
    Made,
}

impl Kind {
    fn stage(self, page: &Page, queue: &str) -> Stage {
        let is_made = match self {
            Self::Ready => page.has_ready,
            Self::Wait(step_ms) => page.waits.contains(&step_ms),
            Self::Dead => page.has_dead,
        };
        if is_made {
            Stage::Made
        } else if page.begun.contains(queue) {
            Stage::Begun
        } else {
            Stage::Unknown
        }
    }

    fn note(self, page: &mut Page, queue: &str, is_made: bool) {
        match self {
            Self::Ready => page.has_ready = is_made,
            Self::Dead => page.has_dead = is_made,
            Self::Wait(step_ms) if is_made => drop(page.waits.insert(step_ms)),
            Self::Wait(step_ms) => drop(page.waits.remove(&step_ms)),
        }
        if is_made {
            page.begun.remove(queue);
        } else {
            page.begun.insert(queue.to_owned());
        }
    }

    fn arguments(self, place: &Place, endpoint: &str) -> FieldTable {
        let Self::Wait(step_ms) = self else { return quorum(Vec::new()) };
        let ttl_ms = i64::try_from(step_ms).unwrap_or(i64::MAX);
        // What expires goes to the endpoint's queue *at least once*: RabbitMQ forgets it here only
        // when it is written down there.
        quorum(vec![
            ("x-message-ttl", AMQPValue::LongLongInt(ttl_ms)),
            ("x-dead-letter-exchange", long_text("")),
            ("x-dead-letter-routing-key", long_text(&place.names.ready(endpoint))),
            ("x-dead-letter-strategy", long_text("at-least-once")),
            // The server keeps that promise only for queues that refuse what they cannot hold.
            ("x-overflow", long_text("reject-publish")),
        ])
    }
}

impl Place {
    pub(crate) fn queue_name(&self, endpoint: &str, kind: Kind) -> String {
        match kind {
            Kind::Ready => self.names.ready(endpoint),
            Kind::Wait(step_ms) => self.names.wait(endpoint, step_ms),
            Kind::Dead => self.names.dead(endpoint),
        }
    }

    /// The name of a queue, which is there to stay when this returns.
    pub(crate) async fn ensure(
        self: &Arc<Self>,
        endpoint: &str,
        kind: Kind,
    ) -> Result<String, StoreError> {
        let queue = self.queue_name(endpoint, kind);
        if self.known().contains(&queue) {
            return Ok(queue);
        }
        if let Some(reason) = refuse_endpoint(endpoint) {
            let help = "Choose a shorter, plain name.";
            return Err(self.server.error(Trouble::Unsupported, "declare a queue", reason, help));
        }
        let (place, endpoint, name) = (self.clone(), endpoint.to_owned(), queue.clone());
        self.locked("book", async move { place.make(&endpoint, kind, &name).await }).await?;
        self.known().insert(queue.clone());
        Ok(queue)
    }

    /// Makes a queue where it is missing, or was not made to the end. Only under the book's lock.
    async fn make(
        self: &Arc<Self>,
        endpoint: &str,
        kind: Kind,
        queue: &str,
    ) -> Result<(), StoreError> {
        let connection = self.station().await?.connection.clone();
        let is_there = self.is_there(&connection, queue).await?;
        let mut page = Page::default();
        self.change_book(|book| {
            let own = book.endpoints.entry(endpoint.to_owned()).or_default();
            page = own.clone();
            if !is_there {
                kind.note(own, queue, false);
            }
        })
        .await?;
        let stage = kind.stage(&page, queue);
        let arguments = kind.arguments(self, endpoint);
        if stage == Stage::Begun {
            self.clear(&connection, queue, &arguments, is_there).await?;
        }
        // A refusal closes the channel: it is used for nothing else.
        let channel = self.open(&connection).await?;
        self.declare(&channel, queue, arguments).await?;
        if !(is_there && stage == Stage::Made) {
            self.settle_in(&channel).await?;
            self.change_book(|book| {
                let own = book.endpoints.entry(endpoint.to_owned()).or_default();
                kind.note(own, queue, true);
            })
            .await?;
        }
        if kind == Kind::Ready {
            // The queue may be new in the place of one that was deleted, and its bindings with it.
            for subscribed in &page.subscriptions {
                self.bind(&channel, endpoint, subscribed, true).await?;
            }
        }
        self.close(&channel).await;
        Ok(())
    }

    /// Makes the queue of the book, where it is missing or was not made to the end.
    pub(crate) async fn make_book(&self, connection: &Connection) -> Result<(), StoreError> {
        let queue = self.names.book();
        let is_there = self.is_there(connection, &queue).await?;
        self.clear(connection, &queue, &quorum(Vec::new()), is_there).await?;
        let channel = self.open(connection).await?;
        self.declare_book(&channel).await?;
        self.settle_in(&channel).await?;
        self.close(&channel).await;
        Ok(())
    }

    /// Makes sure that all queues made before outlive the server's death: makes one more, under a
    /// name that there never was, and removes it.
    pub(crate) async fn settle_in(&self, channel: &Channel) -> Result<(), StoreError> {
        let name = self.names.last(&history::new_id());
        let expiry = ("x-expires", AMQPValue::LongInt(EXPIRY_MS));
        self.declare(channel, &name, quorum(vec![expiry])).await?;
        let removing = channel.queue_delete(short(self, &name)?, QueueDeleteOptions::default());
        self.server.within("declare a queue", removing).await.map(drop)
    }

    /// Removes what a server that was killed left of a queue that was being made; keeps one that
    /// works, for others may have put messages into it.
    ///
    /// The server removes a queue without a leader by force, and then takes the next one of this
    /// name for it when it starts again. Only a queue that is removed while it works is forgotten.
    async fn clear(
        &self,
        connection: &Connection,
        queue: &str,
        arguments: &FieldTable,
        is_there: bool,
    ) -> Result<(), StoreError> {
        if is_there {
            let channel = self.open(connection).await?;
            let messages = self.ready_count(&channel, queue).await?;
            self.close(&channel).await;
            // One that forgot its messages has none.
            if messages > 0 || self.answers(queue).await? {
                return Ok(());
            }
            tracing::warn!(queue, "a queue that was not made to the end is made again");
            self.remove(connection, queue).await?;
        }
        let channel = self.open(connection).await?;
        let messages = self.declare(&channel, queue, arguments.clone()).await?;
        self.close(&channel).await;
        // Somebody else may have been quicker, and have used it.
        if messages > 0 { Ok(()) } else { self.remove(connection, queue).await }
    }

    async fn remove(&self, connection: &Connection, queue: &str) -> Result<(), StoreError> {
        let channel = self.open(connection).await?;
        let removing = channel.queue_delete(short(self, queue)?, QueueDeleteOptions::default());
        match tokio::time::timeout(REMOVAL_MAX, removing).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => return Err(self.translate("declare a queue", &error)),
            Err(_) => return Err(error::no_answer(&self.server.place, "declare a queue")),
        }
        self.close(&channel).await;
        Ok(())
    }

    /// Whether there is a queue of this name.
    async fn is_there(&self, connection: &Connection, queue: &str) -> Result<bool, StoreError> {
        let channel = self.open(connection).await?;
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let asking = channel.queue_declare(short(self, queue)?, options, FieldTable::default());
        match tokio::time::timeout(self.server.patience, asking).await {
            Ok(Ok(_)) => self.close(&channel).await,
            // The answer has closed the channel.
            Ok(Err(error)) if error::is_missing(&error) => return Ok(false),
            Ok(Err(error)) => return Err(self.translate("declare a queue", &error)),
            Err(_) => return Err(error::no_answer(&self.server.place, "declare a queue")),
        }
        Ok(true)
    }

    /// Whether a queue has a leader.
    async fn answers(&self, queue: &str) -> Result<bool, StoreError> {
        // One that does not answer takes its connection with it, a minute later.
        let connection = self.server.connect("looks").await?;
        let channel = self.open(&connection).await?;
        let asking = channel.basic_get(short(self, queue)?, BasicGetOptions::default());
        let answers = match tokio::time::timeout(self.server.patience, asking).await {
            // The next one who looks must find what was taken.
            Ok(Ok(Some(_))) => {
                self.lay_back(&channel, queue, 1).await?;
                true
            }
            Ok(Ok(None)) => true,
            Err(_) => false,
            Ok(Err(error)) if is_internal(&error) => false,
            Ok(Err(error)) => return Err(self.translate("declare a queue", &error)),
        };
        let server = self.server.clone();
        tokio::spawn(async move {
            let closing = connection.close(200, lapin::types::ShortString::default());
            // The server ends it in the end.
            let _ = server.within("hang up", closing).await;
        });
        Ok(answers)
    }

    async fn open(&self, connection: &Connection) -> Result<Channel, StoreError> {
        self.server.within("declare a queue", connection.create_channel()).await
    }
}

/// Whether the server failed, as it does for a queue whose process is not there.
fn is_internal(error: &lapin::Error) -> bool {
    match error.kind() {
        ErrorKind::ProtocolError(error) => {
            matches!(error.kind(), AMQPErrorKind::Hard(AMQPHardError::INTERNALERROR))
        }
        _ => false,
    }
}
