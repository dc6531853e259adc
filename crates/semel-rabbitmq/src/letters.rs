//! What handles ask each other.
//!
//! A delivery is in the hands of the connection that received it, and no other can settle it or
//! count it. Each handle therefore has a letter box: a queue that ends with its connection, and so
//! with its leases. A letter box that is not there tells that nothing is held any more.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use lapin::options::{BasicConsumeOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Connection, Consumer};
use semel_core::StoreError;
use semel_core::broker::{DeadReason, FailureRecord, Lease, SettleOutcome, Settlement};
use semel_core::store::Trouble;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout_at};

use crate::history::{self, Failure, History};
use crate::message::Raw;
use crate::place::Place;
use crate::publish::{Published, Target};
use crate::topology::short;

/// How long a count waits for handles that do not answer.
const CENSUS_MAX: Duration = Duration::from_secs(2);

/// The connection that receives, and this handle's letter box on it.
pub(crate) struct Station {
    pub(crate) connection: Arc<Connection>,
    /// Open for as long as the connection is.
    _channel: Channel,
    /// Reads the letters. What it reads from keeps the connection open.
    reading: AbortHandle,
    /// What makes this handle count as living. Dropped, it would be cancelled.
    _alive: Consumer,
}

impl Drop for Station {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

#[derive(Debug, Deserialize, Serialize)]
struct Letter {
    /// The letter box for the answer.
    from: String,
    /// What the answer refers to.
    about: String,
    content: Content,
}

#[derive(Debug, Deserialize, Serialize)]
enum Content {
    Question(Question),
    Answer(Answer),
}

#[derive(Debug, Deserialize, Serialize)]
pub(crate) enum Question {
    /// How many messages do you hold, by endpoint?
    Census,
    Settle(u64, Fate),
    Extend(u64, u64),
}

#[derive(Debug, Deserialize, Serialize)]
pub(crate) enum Answer {
    Census(BTreeMap<String, u64>),
    Settled,
    Stale,
    Unknown(String),
    Held,
    Lost,
}

/// A settlement in a letter.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) enum Fate {
    Ack,
    Release(u64),
    Retry(u64, Failure),
    DeadLetter(String, Failure, Option<String>),
}

fn ms(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

impl From<Settlement> for Fate {
    fn from(settlement: Settlement) -> Self {
        match settlement {
            Settlement::Ack => Self::Ack,
            Settlement::Release { after } => Self::Release(ms(after)),
            Settlement::Retry { after, failure } => Self::Retry(ms(after), failure.into()),
            Settlement::DeadLetter { reason, failure, entity } => {
                Self::DeadLetter(reason.name().to_owned(), failure.into(), entity)
            }
        }
    }
}

impl From<Fate> for Settlement {
    fn from(fate: Fate) -> Self {
        let span = Duration::from_millis;
        match fate {
            Fate::Ack => Self::Ack,
            Fate::Release(after) => Self::Release { after: span(after) },
            Fate::Retry(after, failure) => {
                Self::Retry { after: span(after), failure: failure.into() }
            }
            Fate::DeadLetter(reason, failure, entity) => {
                let known = DeadReason::ALL.into_iter().find(|it| it.name() == reason);
                let reason = known.unwrap_or(DeadReason::HandlerFailed);
                Self::DeadLetter { reason, failure: FailureRecord::from(failure), entity }
            }
        }
    }
}

impl Place {
    /// The connection that receives; a new one, with a letter box, if it was lost.
    pub(crate) async fn station(self: &Arc<Self>) -> Result<Arc<Station>, StoreError> {
        let since = Instant::now();
        let mut station = self.station.lock().await;
        if let Some(answer) = station.get(since, |it| it.connection.status().connected()) {
            return answer;
        }
        let opened = self.open_station().await;
        station.set(opened)
    }

    async fn open_station(self: &Arc<Self>) -> Result<Arc<Station>, StoreError> {
        let connection = self.takes.connection().await?;
        let channel = self.server.within("open a letter box", connection.create_channel()).await?;
        self.declare_base(&connection, &channel).await?;
        let (consumer, alive) = self.open_letter_box(&channel).await?;
        let reading = tokio::spawn(read_letters(Arc::downgrade(self), consumer));
        let reading = reading.abort_handle();
        let station = Station { connection, reading, _channel: channel, _alive: alive };
        Ok(Arc::new(station))
    }

    async fn open_letter_box(&self, channel: &Channel) -> Result<(Consumer, Consumer), StoreError> {
        let box_name = short(self, &self.names.letters(&self.handle))?;
        let options = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
        let declaring = channel.queue_declare(box_name.clone(), options, FieldTable::default());
        self.server.within("open a letter box", declaring).await?;
        let everyone = short(self, &self.names.everyone())?;
        let binding = channel.queue_bind(
            box_name.clone(),
            everyone,
            ShortString::default(),
            QueueBindOptions::default(),
            FieldTable::default(),
        );
        self.server.within("open a letter box", binding).await?;
        let consumer = self.consume(channel, box_name).await?;
        // Nobody sends to this queue: its consumers are counted.
        let alive = self.consume(channel, short(self, &self.names.handles())?).await?;
        Ok((consumer, alive))
    }

    async fn consume(&self, channel: &Channel, queue: ShortString) -> Result<Consumer, StoreError> {
        let options = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
        let consuming =
            channel.basic_consume(queue, ShortString::default(), options, FieldTable::default());
        self.server.within("open a letter box", consuming).await
    }

    /// A channel of its own on the connection that receives.
    pub(crate) async fn take_channel(
        self: &Arc<Self>,
        operation: &'static str,
    ) -> Result<Channel, StoreError> {
        let station = self.station().await?;
        self.server.within(operation, station.connection.create_channel()).await
    }

    /// Ends the connection that receives, its leases and its locks.
    pub(crate) async fn hang_up(&self) {
        if let Some(station) = self.station.lock().await.take() {
            self.end(&station.connection).await;
        }
    }

    /// Ends a connection. Failing that, it ends when the server notices.
    pub(crate) async fn end(&self, connection: &Connection) {
        let closing = connection.close(200, ShortString::default());
        if let Err(error) = self.server.within("hang up", closing).await {
            tracing::debug!(%error, "a connection was not closed");
        }
    }

    /// How many messages all living handles hold, by endpoint.
    pub(crate) async fn census(self: &Arc<Self>) -> Result<BTreeMap<String, u64>, StoreError> {
        let channel = self.take_channel("count").await?;
        let handles = self.consumer_count(&channel).await?;
        self.close(&channel).await;
        let target = Target::Exchange(self.names.everyone(), String::new());
        let (about, mut answers) = self.ask(target, Question::Census).await?;
        let until = Instant::now() + CENSUS_MAX.min(self.server.patience);
        let mut sum = BTreeMap::new();
        let mut heard = 0;
        while heard < handles {
            let Ok(Some(answer)) = timeout_at(until, answers.recv()).await else {
                tracing::warn!(heard, handles, "not every handle tells what it holds");
                break;
            };
            heard += 1;
            if let Answer::Census(held) = answer {
                for (endpoint, count) in held {
                    *sum.entry(endpoint).or_default() += count;
                }
            }
        }
        self.asked().remove(&about);
        Ok(sum)
    }

    async fn consumer_count(&self, channel: &Channel) -> Result<u32, StoreError> {
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let name = short(self, &self.names.handles())?;
        let asking = channel.queue_declare(name, options, FieldTable::default());
        Ok(self.server.within("count", asking).await?.consumer_count())
    }

    /// Asks one handle. Nothing where it lives no more.
    pub(crate) async fn ask_handle(
        self: &Arc<Self>,
        handle: &str,
        question: Question,
    ) -> Result<Option<Answer>, StoreError> {
        let target = Target::Queue(self.names.letters(handle));
        let (about, mut answers) = match self.ask(target, question).await {
            Ok(asked) => asked,
            Err(error) if error.trouble == Trouble::Unsupported => return Ok(None),
            Err(error) => return Err(error),
        };
        let answer = timeout_at(Instant::now() + self.server.patience, answers.recv()).await;
        self.asked().remove(&about);
        match answer {
            Ok(Some(answer)) => Ok(Some(answer)),
            _ => {
                let help = "Look whether the worker that holds the message still runs.";
                let reason = "the handle that holds the message gave no answer in time";
                Err(self.server.error(Trouble::Unavailable, "settle", reason, help))
            }
        }
    }

    async fn ask(
        self: &Arc<Self>,
        target: Target,
        question: Question,
    ) -> Result<(String, mpsc::UnboundedReceiver<Answer>), StoreError> {
        // The answer comes to this handle's letter box.
        self.station().await?;
        let about = history::new_id();
        let (sender, answers) = mpsc::unbounded_channel();
        self.asked().insert(about.clone(), sender);
        let content = Content::Question(question);
        let published = self.write(target, about.clone(), content).await;
        let failed = match published {
            Published::Confirmed => return Ok((about, answers)),
            Published::Returned => {
                let reason = "the handle that held the message is gone";
                self.server.error(Trouble::Unsupported, "ask", reason, "Nothing is to do.")
            }
            other => match self.not_queued(other) {
                Some(error) => error,
                None => return Ok((about, answers)),
            },
        };
        self.asked().remove(&about);
        Err(failed)
    }

    async fn write(&self, target: Target, about: String, content: Content) -> Published {
        let letter = Letter { from: self.names.letters(&self.handle), about, content };
        let data = serde_json::to_vec(&letter).unwrap_or_default().into();
        let raw = Raw { properties: BasicProperties::default(), data };
        let raw = history::copy(&raw, &History::default(), Duration::ZERO, None);
        self.sends.publish(target, raw).await
    }

    /// Boxed, for whoever answers may have to connect, and so to read letters.
    fn read_letter(self: Arc<Self>, letter: Letter) -> BoxFuture<'static, ()> {
        Box::pin(self.answer_letter(letter))
    }

    async fn answer_letter(self: Arc<Self>, letter: Letter) {
        let question = match letter.content {
            Content::Question(question) => question,
            Content::Answer(answer) => {
                if let Some(asker) = self.asked().get(&letter.about) {
                    // Whoever asked may have gone.
                    let _ = asker.send(answer);
                }
                return;
            }
        };
        let answer = match question {
            Question::Census => Answer::Census(self.count_held()),
            Question::Settle(serial, fate) => match self.settle_held(serial, fate.into()).await {
                SettleOutcome::Settled => Answer::Settled,
                SettleOutcome::Stale => Answer::Stale,
                SettleOutcome::Unknown(error) => Answer::Unknown(error.to_string()),
            },
            Question::Extend(serial, ms) => {
                match self.extend_held(serial, Duration::from_millis(ms)) {
                    Lease::Held => Answer::Held,
                    Lease::Lost => Answer::Lost,
                }
            }
        };
        let answer = Content::Answer(answer);
        match self.write(Target::Queue(letter.from), letter.about, answer).await {
            Published::Confirmed | Published::Returned => {}
            other => tracing::warn!(?other, "an answer to another handle may be lost"),
        }
    }
}

/// Reads letters until the letter box ends with its connection, or the handle is dropped.
async fn read_letters(place: Weak<Place>, mut consumer: Consumer) {
    while let Some(Ok(delivery)) = consumer.next().await {
        let Some(place) = place.upgrade() else { return };
        match serde_json::from_slice(&delivery.data) {
            Ok(letter) => {
                tokio::spawn(place.read_letter(letter));
            }
            Err(error) => tracing::warn!(%error, "what came to a letter box is no letter"),
        }
    }
}
