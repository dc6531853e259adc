//! JetStream's own requests: what goes over the connection, each with a limit of time.
//!
//! Its API is JSON on subjects. Speaking it directly keeps one rule for all of it: an answer that
//! does not come is an outcome that nobody knows, and nothing below us repeats a request.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_nats::client::Request;
use async_nats::connection::State;
use async_nats::{Client, HeaderMap, Message};
use bytes::Bytes;
use futures_util::StreamExt as _;
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::error::{ApiError, Failed};
use crate::stored::Stored;

/// How long a request to receive may wait on the server. A shorter one notices sooner that the
/// server it was sent to is gone.
pub(crate) const PULL_WAIT_MAX: Duration = Duration::from_secs(3);

/// Under what condition a record is put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expect {
    Anything,
    /// The last message of the subject has this sequence; 0 for none.
    Last(u64),
}

/// What is heard of the connection beside any answer.
#[derive(Debug, Default)]
pub(crate) struct News {
    complaint: Mutex<Option<(Instant, String)>>,
    /// How often the connection was cut.
    cuts: watch::Sender<u64>,
}

impl News {
    /// The server, or our client, complained.
    pub(crate) fn complaint(&self, text: String) {
        let mut last = self.complaint.lock().unwrap_or_else(PoisonError::into_inner);
        *last = Some((Instant::now(), text));
    }

    pub(crate) fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }

    fn complaint_since(&self, start: Instant) -> Option<String> {
        let last = self.complaint.lock().unwrap_or_else(PoisonError::into_inner);
        last.as_ref().filter(|(at, _)| *at >= start).map(|(_, text)| text.clone())
    }
}

/// What came of a pull.
#[derive(Debug)]
pub(crate) struct Pulled {
    pub(crate) messages: Vec<Message>,
    /// Whether the connection was cut meanwhile: some may have been on their way.
    pub(crate) was_cut: bool,
}

/// A connection, and how long its server may take to answer.
#[derive(Clone, Debug)]
pub(crate) struct Wire {
    pub(crate) client: Client,
    pub(crate) limit: Duration,
    pub(crate) news: Arc<News>,
}

#[derive(Deserialize)]
struct PubAck {
    seq: u64,
}

/// What stands in an answer that is a no.
#[derive(Deserialize)]
struct Refusal {
    error: Option<ApiError>,
}

#[derive(Deserialize)]
struct Found {
    message: Stored,
}

impl Wire {
    /// How often we connected: what changed since the last look happened before this changes. The
    /// news of a cut may come after the first answer over the next connection.
    pub(crate) fn connects(&self) -> u64 {
        self.client.statistics().connects.load(Ordering::SeqCst)
    }

    /// Whether the connection is up. What is sent while it is down would wait in memory and land
    /// long after its caller has gone.
    pub(crate) fn check_connected(&self) -> Result<(), Failed> {
        match self.client.connection_state() {
            State::Connected => Ok(()),
            State::Pending | State::Disconnected => {
                Err(Failed::Absent("the connection is down".to_owned()))
            }
        }
    }

    async fn ask(&self, subject: String, request: Request) -> Result<Message, Failed> {
        self.check_connected()?;
        let start = Instant::now();
        let request = request.timeout(Some(self.limit));
        // The client's own limit does not count the wait for room in its queue.
        let answer = tokio::time::timeout(self.limit, self.client.send_request(subject, request));
        match answer.await {
            Ok(Ok(message)) => Ok(message),
            Ok(Err(error)) => {
                let failed = Failed::of_request(error.kind(), error.to_string(), self.limit);
                Err(self.explain(failed, start))
            }
            Err(_) => Err(self.explain(Failed::silence(self.limit), start)),
        }
    }

    /// Adds what the server complained about meanwhile: it does not answer what it forbids.
    fn explain(&self, failed: Failed, start: Instant) -> Failed {
        match (failed, self.news.complaint_since(start)) {
            (Failed::Silent(reason), Some(complaint)) => {
                Failed::Silent(format!("{reason}; the server said: {complaint}"))
            }
            (failed, _) => failed,
        }
    }

    /// A request to JetStream's API.
    pub(crate) async fn api<T: DeserializeOwned>(
        &self,
        what: &str,
        body: &Value,
    ) -> Result<T, Failed> {
        let request = Request::new().payload(body.to_string().into());
        answer(&self.ask(format!("$JS.API.{what}"), request).await?.payload)
    }

    /// Publishes into a stream, and waits until it is kept. Returns its sequence.
    pub(crate) async fn publish(
        &self,
        stream: &str,
        subject: String,
        mut headers: HeaderMap,
        payload: Bytes,
        expect: Expect,
    ) -> Result<u64, Failed> {
        // Another stream that took the subject would swallow it.
        headers.insert("Nats-Expected-Stream", stream);
        if let Expect::Last(sequence) = expect {
            headers.insert("Nats-Expected-Last-Subject-Sequence", sequence.to_string());
        }
        let request = Request::new().headers(headers).payload(payload);
        let kept: PubAck = answer(&self.ask(subject, request).await?.payload)?;
        Ok(kept.seq)
    }

    /// The message at a sequence, from the leader.
    pub(crate) async fn get(&self, stream: &str, sequence: u64) -> Result<Option<Stored>, Failed> {
        self.find(stream, json!({ "seq": sequence })).await
    }

    /// The only message of a subject, from the leader. Asked for as the first, for a server of
    /// version 2.9.10 that was killed before may die over the question for the last.
    pub(crate) async fn only(&self, stream: &str, subject: &str) -> Result<Option<Stored>, Failed> {
        self.next(stream, subject, 1).await
    }

    /// The first message of a subject at a sequence or after it, from the leader.
    pub(crate) async fn next(
        &self,
        stream: &str,
        subject: &str,
        sequence: u64,
    ) -> Result<Option<Stored>, Failed> {
        self.find(stream, json!({ "seq": sequence, "next_by_subj": subject })).await
    }

    async fn find(&self, stream: &str, which: Value) -> Result<Option<Stored>, Failed> {
        match self.api::<Found>(&format!("STREAM.MSG.GET.{stream}"), &which).await {
            Ok(found) => Ok(Some(found.message)),
            // A stream that is not there, perhaps not yet, says nothing about its messages.
            Err(failed) if failed.is_missing() && !failed.is_stream_gone() => Ok(None),
            Err(failed) => Err(failed),
        }
    }

    /// Removes one message of a stream, if it is there. It may be there again after the server was
    /// killed: to overwrite it would have the server wait for its disk each time.
    pub(crate) async fn remove(&self, stream: &str, sequence: u64) -> Result<(), Failed> {
        let which = json!({ "seq": sequence, "no_erase": true });
        match self.api::<IgnoredAny>(&format!("STREAM.MSG.DELETE.{stream}"), &which).await {
            Err(failed) if failed.is_missing() && !failed.is_stream_gone() => Ok(()),
            removed => removed.map(drop),
        }
    }

    /// Tells the consumer something about a message that it handed out, and waits for its word.
    pub(crate) async fn tell(&self, ack: &str, what: String) -> Result<(), Failed> {
        if ack.is_empty() {
            return Ok(());
        }
        self.ask(ack.to_owned(), Request::new().payload(what.into())).await.map(drop)
    }

    /// Tells the consumer something that it need not hear.
    pub(crate) async fn mention(&self, ack: &str, what: String) -> Result<(), Failed> {
        if ack.is_empty() {
            return Ok(());
        }
        self.check_connected()?;
        let telling = self.client.publish(ack.to_owned(), what.into());
        match tokio::time::timeout(self.limit, telling).await {
            Ok(told) => told.map_err(|error| Failed::Silent(error.to_string())),
            Err(_) => Err(Failed::silence(self.limit)),
        }
    }

    /// Takes up to `max` messages from a pull consumer: those that are there, or, with a `wait`,
    /// the first ones that come.
    pub(crate) async fn pull(
        &self,
        stream: &str,
        consumer: &str,
        max: usize,
        wait: Option<Duration>,
    ) -> Result<Pulled, Failed> {
        self.check_connected()?;
        let start = Instant::now();
        let limit = self.limit.saturating_add(wait.unwrap_or_default());
        let mut cuts = self.news.cuts.subscribe();
        let before = *cuts.borrow_and_update();
        let mut messages = Vec::new();
        let pulled = self.pull_into(&mut messages, stream, consumer, max, wait);
        let ended = tokio::select! {
            ended = tokio::time::timeout(limit, pulled) => ended,
            // Whoever comes after the cut has not heard of this request.
            _ = cuts.changed() => Ok(Err(Failed::Silent("the connection was cut".to_owned()))),
        };
        let was_cut = *cuts.borrow() != before;
        match ended {
            // What came is ours, however the rest went.
            _ if !messages.is_empty() => Ok(Pulled { messages, was_cut }),
            Ok(Ok(())) => Ok(Pulled { messages, was_cut }),
            Ok(Err(failed)) => Err(self.explain(failed, start)),
            Err(_) => Err(self.explain(Failed::silence(limit), start)),
        }
    }

    async fn pull_into(
        &self,
        messages: &mut Vec<Message>,
        stream: &str,
        consumer: &str,
        max: usize,
        wait: Option<Duration>,
    ) -> Result<(), Failed> {
        let lost = |error: &dyn std::fmt::Display| Failed::Silent(error.to_string());
        let inbox = self.client.new_inbox();
        let subscribed = self.client.subscribe(inbox.clone()).await;
        let mut arrivals = subscribed.map_err(|error| lost(&error))?;
        let body = match wait {
            None => json!({ "batch": max, "no_wait": true }),
            Some(wait) => json!({ "batch": max, "expires": nanos(wait) }),
        };
        let subject = format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}");
        let body = body.to_string().into();
        let sent = self.client.publish_with_reply(subject, inbox, body).await;
        sent.map_err(|error| lost(&error))?;
        while messages.len() < max {
            let Some(message) = arrivals.next().await else {
                return Err(lost(&"the subscription ended"));
            };
            // A message of a stream may claim to be anything, but only those come with this.
            let is_stored = message.reply.as_ref().is_some_and(|ack| ack.starts_with("$JS.ACK."));
            match message.status.map(|status| status.as_u16()) {
                _ if is_stored => messages.push(message),
                None => {}
                Some(100) => {}
                // No messages; or the time is over.
                Some(404 | 408) => return Ok(()),
                Some(503) => return Err(Failed::Absent("nobody hands out messages".to_owned())),
                Some(code) => {
                    let description = message.description.unwrap_or_default();
                    return Err(Failed::Absent(format!("{description} ({code})")));
                }
            }
        }
        Ok(())
    }
}

/// A span as JetStream writes it.
pub(crate) fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX).min(i64::MAX as u64)
}

fn answer<T: DeserializeOwned>(payload: &[u8]) -> Result<T, Failed> {
    let garbled = |error: serde_json::Error| {
        let shown = String::from_utf8_lossy(&payload[..payload.len().min(200)]);
        Failed::Garbled(format!("{error}: {shown}"))
    };
    let refusal: Refusal = serde_json::from_slice(payload).map_err(garbled)?;
    match refusal.error {
        Some(error) => Err(Failed::Refused(error)),
        None => serde_json::from_slice(payload).map_err(garbled),
    }
}
