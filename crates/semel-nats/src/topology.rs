//! Streams and consumers: made where they are missing, checked where they are found.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use semel_core::StoreError;
use semel_core::store::Trouble;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::error::Failed;
use crate::gravestone::Graveyard;
use crate::names::{self, CONSUMER};
use crate::wire::nanos;
use crate::{Nats, error};

/// The consumer was not looked at yet.
const NEVER: u64 = u64::MAX;

/// One endpoint's stream and consumer, known to be there and fit.
#[derive(Debug)]
pub(crate) struct Queue {
    pub(crate) token: String,
    pub(crate) stream: String,
    pub(crate) subject: String,
    /// How long the consumer waits for a word about a message that it handed out.
    pub(crate) hand_over: Duration,
    /// Whether a message may lie there that our client cannot receive.
    pub(crate) is_suspect: AtomicBool,
    /// What was settled and removed shortly before the last look at the consumer.
    pub(crate) graveyard: RwLock<Graveyard>,
    /// How often we had connected when the consumer was last looked at.
    pub(crate) checked: tokio::sync::Mutex<u64>,
}

impl Queue {
    /// Whether a message was settled, though the server offers it again.
    pub(crate) fn was_settled(&self, sequence: u64, stored: i64) -> bool {
        let graveyard = self.graveyard.read().unwrap_or_else(PoisonError::into_inner);
        graveyard.holds(sequence, stored)
    }

    /// Has the consumer looked at before anything is taken from it.
    pub(crate) async fn look_again(&self) {
        *self.checked.lock().await = NEVER;
    }

    pub(crate) fn learn(&self, graveyard: Graveyard) {
        *self.graveyard.write().unwrap_or_else(PoisonError::into_inner) = graveyard;
    }
}

/// What JetStream tells of a stream.
#[derive(Debug, Deserialize)]
pub(crate) struct StreamInfo {
    config: StreamConfig,
    pub(crate) state: StreamState,
}

/// How many messages a stream holds, and from where on.
#[derive(Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct StreamState {
    pub(crate) messages: u64,
    pub(crate) first_seq: u64,
    pub(crate) last_seq: u64,
}

#[derive(Debug, Deserialize)]
#[serde(default)]
struct StreamConfig {
    subjects: Vec<String>,
    retention: String,
    storage: String,
    discard: String,
    max_age: i64,
    max_msgs: i64,
    max_bytes: i64,
    max_msgs_per_subject: i64,
    deny_delete: bool,
    sealed: bool,
    no_ack: bool,
    num_replicas: usize,
    mirror: Option<Value>,
    sources: Option<Vec<Value>>,
}

impl Default for StreamConfig {
    fn default() -> Self {
        Self {
            subjects: Vec::new(),
            retention: String::new(),
            storage: String::new(),
            discard: String::new(),
            max_age: 0,
            max_msgs: -1,
            max_bytes: -1,
            max_msgs_per_subject: -1,
            deny_delete: false,
            sealed: false,
            no_ack: false,
            num_replicas: 1,
            mirror: None,
            sources: None,
        }
    }
}

#[derive(Debug, Deserialize)]
struct ConsumerInfo {
    config: ConsumerConfig,
    delivered: Delivered,
    ack_floor: Delivered,
    num_pending: u64,
    num_ack_pending: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Delivered {
    consumer_seq: u64,
    stream_seq: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ConsumerConfig {
    ack_policy: String,
    ack_wait: i64,
    max_deliver: i64,
    max_ack_pending: i64,
    deliver_subject: String,
    deliver_policy: String,
    filter_subject: String,
    headers_only: bool,
    inactive_threshold: i64,
    backoff: Option<Vec<i64>>,
}

/// How far a consumer has come.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Progress {
    /// The last number that it gave to a hand-over.
    pub(crate) consumer_sequence: u64,
    /// The last message that it has handed out.
    pub(crate) delivered: u64,
    /// Up to here, all are settled.
    pub(crate) floor: u64,
    /// How many messages it knows of that are not settled.
    pub(crate) known: u64,
}

impl StreamConfig {
    /// What would lose messages, or break the rules of a queue or of the records.
    fn misfits(&self, subjects: &[String], retention: &str, per_subject: i64) -> Vec<String> {
        let mut misfits = Vec::new();
        let mut expect = |holds: bool, text: String| {
            if !holds {
                misfits.push(text);
            }
        };
        let ours = self.subjects == subjects;
        expect(ours, format!("subjects {:?} instead of {subjects:?}", self.subjects));
        let keeps = self.retention == retention;
        expect(keeps, format!("retention `{}` instead of `{retention}`", self.retention));
        expect(self.storage == "file", format!("storage `{}` instead of `file`", self.storage));
        expect(self.max_age == 0, "a `max_age`, after which messages are lost".to_owned());
        let limited = self.max_msgs > 0 || self.max_bytes > 0;
        let drops = limited && self.discard != "new";
        expect(!drops, "limits that drop old messages (`discard` must be `new`)".to_owned());
        let one = self.max_msgs_per_subject.max(-1) == per_subject;
        let kept = self.max_msgs_per_subject;
        expect(one, format!("`max_msgs_per_subject` {kept} instead of {per_subject}"));
        expect(!self.deny_delete, "`deny_delete`".to_owned());
        expect(!self.sealed, "`sealed`".to_owned());
        expect(!self.no_ack, "`no_ack`, so that nothing is confirmed".to_owned());
        let copies = self.mirror.is_some() || self.sources.as_ref().is_some_and(|s| !s.is_empty());
        expect(!copies, "a mirror or sources".to_owned());
        misfits
    }
}

impl ConsumerConfig {
    fn misfits(&self, subject: &str) -> Vec<String> {
        let checks = [
            (self.ack_policy == "explicit", "its `ack_policy` is not `explicit`"),
            (self.deliver_subject.is_empty(), "it pushes instead of being pulled from"),
            (self.deliver_policy == "all", "its `deliver_policy` is not `all`"),
            (self.max_deliver < 1, "it has a `max_deliver`"),
            // Delayed messages and dead letters count as well.
            (self.max_ack_pending < 0, "its `max_ack_pending` is not -1"),
            (!self.headers_only, "it is `headers_only`"),
            (self.inactive_threshold == 0, "it has an `inactive_threshold`"),
            (self.backoff.as_ref().is_none_or(Vec::is_empty), "it has a `backoff`"),
            (
                self.filter_subject.is_empty() || self.filter_subject == subject,
                "its `filter_subject` is another",
            ),
        ];
        let misfits = checks.into_iter().filter(|(holds, _)| !holds);
        misfits.map(|(_, text)| text.to_owned()).collect()
    }
}

impl Nats {
    /// The stream of the records, made if it is missing.
    pub(crate) async fn ensure_state(&self) -> Result<(), StoreError> {
        let stream = self.names.state_stream();
        let subjects = vec![self.names.records(None), self.names.registry_subject()];
        self.ensure_stream(&stream, &subjects, "limits", 1).await
    }

    /// The queue of an endpoint, made if it is missing.
    pub(crate) async fn queue(
        &self,
        operation: &'static str,
        endpoint: &str,
    ) -> Result<Arc<Queue>, StoreError> {
        if let Some(known) = self.queues().get(endpoint) {
            return Ok(known.clone());
        }
        let Some(token) = names::token(endpoint) else {
            let reason = format!("no stream can be named after the endpoint `{endpoint}`");
            let help = "Choose a name of at least one and at most 60 characters.";
            return Err(self.error(Trouble::Unsupported, operation, reason, help));
        };
        let stream = self.names.queue_stream(&token);
        let subject = self.names.queue_subject(&token);
        self.ensure_stream(&stream, std::slice::from_ref(&subject), "workqueue", -1).await?;
        let hand_over = self.ensure_consumer(&stream, &subject).await?;
        let queue = Arc::new(Queue {
            token,
            stream,
            subject,
            hand_over,
            is_suspect: AtomicBool::new(false),
            graveyard: RwLock::default(),
            checked: tokio::sync::Mutex::new(NEVER),
        });
        self.queues().insert(endpoint.to_owned(), queue.clone());
        Ok(queue)
    }

    /// Forgets what is known of a queue, if a failure says that it is gone: the next call looks
    /// again.
    pub(crate) fn forget_if_gone(&self, queue: &Queue, failed: &Failed) {
        if failed.is_stream_gone() && self.wire.check_connected().is_ok() {
            self.queues().retain(|_, known| known.stream != queue.stream);
            self.removals.forget_stream(&queue.stream);
        }
    }

    async fn ensure_stream(
        &self,
        stream: &str,
        subjects: &[String],
        retention: &str,
        per_subject: i64,
    ) -> Result<(), StoreError> {
        const MAKE: &str = "make a stream";
        let found = match self.stream_info(stream).await {
            Err(failed) if failed.is_missing() => {
                let config = json!({
                    "name": stream, "subjects": subjects, "retention": retention,
                    "storage": "file", "discard": "new", "num_replicas": self.options.replicas,
                    "max_msgs": -1, "max_bytes": -1, "max_consumers": -1, "max_msg_size": -1,
                    "max_msgs_per_subject": per_subject, "max_age": 0,
                });
                let made = self.wire.api(&format!("STREAM.CREATE.{stream}"), &config).await;
                if made.is_ok() {
                    tracing::info!(stream, "made a stream");
                }
                made
            }
            other => other,
        };
        let info: StreamInfo = found.map_err(|failed| self.failed(MAKE, failed))?;
        let (kept, asked) = (info.config.num_replicas, self.options.replicas);
        if kept < asked {
            tracing::warn!(stream, kept, asked, "the stream was made with fewer replicas");
        }
        let misfits = info.config.misfits(subjects, retention, per_subject);
        self.require_fit("the stream", stream, &misfits)
    }

    pub(crate) async fn ensure_consumer(
        &self,
        stream: &str,
        subject: &str,
    ) -> Result<Duration, StoreError> {
        let found = match self.consumer_info(stream).await {
            Err(failed) if failed.is_missing() => {
                let request = json!({ "stream_name": stream, "config": {
                    "durable_name": CONSUMER, "deliver_policy": "all", "ack_policy": "explicit",
                    "replay_policy": "instant", "ack_wait": nanos(self.options.hand_over),
                    "max_deliver": -1, "max_ack_pending": -1, "max_waiting": 4096,
                }});
                let what = format!("CONSUMER.DURABLE.CREATE.{stream}.{CONSUMER}");
                self.wire.api(&what, &request).await
            }
            other => other,
        };
        let info: ConsumerInfo = found.map_err(|failed| self.failed("make a consumer", failed))?;
        let misfits = info.config.misfits(subject);
        self.require_fit("the consumer", &format!("{stream} > {CONSUMER}"), &misfits)?;
        Ok(Duration::from_nanos(u64::try_from(info.config.ack_wait).unwrap_or(0)))
    }

    fn require_fit(&self, what: &str, name: &str, misfits: &[String]) -> Result<(), StoreError> {
        if misfits.is_empty() {
            return Ok(());
        }
        let reason = format!("{what} `{name}` is not one of Semel's: {}", misfits.join("; "));
        let help = "Remove it or change it, or choose another prefix.";
        Err(self.error(Trouble::Broken, "check the topology", reason, help))
    }

    pub(crate) async fn stream_info(&self, stream: &str) -> Result<StreamInfo, Failed> {
        self.wire.api(&format!("STREAM.INFO.{stream}"), &json!({})).await
    }

    async fn consumer_info(&self, stream: &str) -> Result<ConsumerInfo, Failed> {
        self.wire.api(&format!("CONSUMER.INFO.{stream}.{CONSUMER}"), &json!({})).await
    }

    /// How far the consumer of a queue has come.
    pub(crate) async fn progress(&self, stream: &str) -> Result<Progress, Failed> {
        let info = self.consumer_info(stream).await?;
        Ok(Progress {
            consumer_sequence: info.delivered.consumer_seq,
            delivered: info.delivered.stream_seq,
            floor: info.ack_floor.stream_seq,
            known: info.num_pending + info.num_ack_pending,
        })
    }

    /// A failed call as an error for the caller.
    pub(crate) fn failed(&self, operation: &'static str, failed: Failed) -> StoreError {
        failed.into_error(&self.place, operation)
    }

    pub(crate) fn error(
        &self,
        trouble: Trouble,
        operation: &'static str,
        reason: impl Into<String>,
        help: &str,
    ) -> StoreError {
        error::new(&self.place, trouble, operation, reason, help)
    }
}
