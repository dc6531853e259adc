//! What a person sees.

use std::collections::{BTreeMap, BTreeSet};

use async_nats::Message;
use async_trait::async_trait;
use futures_util::future::join_all;
use semel_core::broker::{DeadReason, Receipt};
use semel_core::operator::{DeadLetter, DeadLetterFilter, EndpointReport, Operator, Report};
use semel_core::{StoreError, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::error::Failed;
use crate::receipt::{Arrival, Held};
use crate::record::{Death, Record, State};
use crate::registry::Registry;
use crate::stored::Stored;
use crate::topology::StreamState;
use crate::wire::nanos;
use crate::{Nats, message, names};

/// How many records are read in one go.
const PAGE: usize = 500;
/// How many settled messages are looked for that may still be there.
const SETTLED_MAX: usize = 10_000;
/// How many of them are looked for at the same time.
const LOOKS_IN_FLIGHT: usize = 64;
/// How often a stream is looked at that changes meanwhile.
const LOOKS_MAX: usize = 5;
/// How long the server keeps our cursor should we vanish.
const CURSOR_IDLE: std::time::Duration = std::time::Duration::from_secs(30);

/// A record as it lies there.
pub(crate) struct Lying {
    pub(crate) token: String,
    /// Of its message.
    pub(crate) sequence: u64,
    pub(crate) revision: u64,
    pub(crate) record: Record,
}

#[derive(Deserialize)]
pub(crate) struct Cursor {
    name: String,
    /// The server's time when it was made.
    pub(crate) created: String,
}

#[derive(Deserialize)]
struct StreamNames {
    total: usize,
    streams: Option<Vec<String>>,
}

#[async_trait]
impl Operator for Nats {
    async fn inspect(&self) -> Result<Report, StoreError> {
        const INSPECT: &str = "inspect";
        let (_, registry) = self.registry(INSPECT).await?;
        let mut records: BTreeMap<String, Vec<Lying>> = BTreeMap::new();
        for lying in self.records(INSPECT, None, 0).await? {
            records.entry(lying.token.clone()).or_default().push(lying);
        }
        let mut report = Report::default();
        for token in self.queue_tokens(INSPECT).await? {
            let records = records.remove(&token).unwrap_or_default();
            let seen = self.endpoint_report(&token, &records).await;
            let seen = seen.map_err(|failed| self.failed(INSPECT, failed))?;
            report.endpoints.insert(names::endpoint(&token), seen);
        }
        for (endpoint, registered) in registry.endpoints {
            let entry = report.endpoints.entry(endpoint).or_default();
            entry.registered_at = Some(registered.at());
            entry.protocol = Some(registered.protocol);
            entry.subscriptions = registered.subscriptions;
        }
        Ok(report)
    }

    async fn dead_letters(&self, filter: &DeadLetterFilter) -> Result<Vec<DeadLetter>, StoreError> {
        const LIST: &str = "list dead letters";
        let token = match filter.endpoint.as_deref().map(names::token) {
            // No queue can have this name.
            Some(None) => return Ok(Vec::new()),
            other => other.flatten(),
        };
        let after = u64::try_from(filter.after).unwrap_or(0);
        let records = self.records(LIST, token.as_deref(), after.saturating_add(1)).await?;
        let (_, registry) = self.registry(LIST).await?;
        let mut letters = Vec::new();
        for lying in records.into_iter().filter(|lying| lying.record.state == State::Dead) {
            if letters.len() >= filter.limit {
                break;
            }
            let letter = self.letter(&registry, &lying).await;
            letters.push(letter.map_err(|failed| self.failed(LIST, failed))?);
        }
        Ok(letters)
    }

    async fn dead_letter(&self, number: i64) -> Result<Option<DeadLetter>, StoreError> {
        const SHOW: &str = "show a dead letter";
        let revision = u64::try_from(number).unwrap_or(0);
        if revision == 0 {
            return Ok(None);
        }
        let failed = |failed| self.failed(SHOW, failed);
        let found = self.wire.get(&self.names.state_stream(), revision).await.map_err(failed)?;
        let Some(found) = found else { return Ok(None) };
        let Some((token, sequence)) = self.names.parse_record(&found.subject) else {
            return Ok(None);
        };
        let (token, record) = (token.to_owned(), Record::read(&found.data()));
        if record.state != State::Dead {
            return Ok(None);
        }
        let (_, registry) = self.registry(SHOW).await?;
        let lying = Lying { token, sequence, revision, record };
        self.letter(&registry, &lying).await.map(Some).map_err(failed)
    }
}

impl Nats {
    /// The records of one endpoint or of all, from a revision on, in its order.
    pub(crate) async fn records(
        &self,
        operation: &'static str,
        token: Option<&str>,
        from: u64,
    ) -> Result<Vec<Lying>, StoreError> {
        let found = self.messages(&self.names.records(token), from).await;
        let found = found.map_err(|failed| self.failed(operation, failed))?;
        // A record that changes meanwhile comes twice: the later one counts.
        let mut records: BTreeMap<(String, u64), Lying> = BTreeMap::new();
        for (message, place) in found {
            let subject = message.subject.as_str();
            let Some((token, sequence)) = self.names.parse_record(subject) else { continue };
            let token = token.to_owned();
            let record = Record::read(&message.payload);
            let lying = Lying { token: token.clone(), sequence, revision: place.sequence, record };
            records.insert((token, sequence), lying);
        }
        let mut records: Vec<Lying> = records.into_values().collect();
        records.sort_by_key(|lying| lying.revision);
        Ok(records)
    }

    /// Everything of the stream of records under some subjects, from a revision on, in its order.
    pub(crate) async fn messages(
        &self,
        filter: &str,
        from: u64,
    ) -> Result<Vec<(Message, Arrival)>, Failed> {
        let cursor = self.open_cursor(filter, from).await?;
        let read = self.read_all(&self.names.state_stream(), &cursor.name).await;
        self.close_cursor(&cursor).await;
        read
    }

    /// A consumer of our own that walks over records.
    pub(crate) async fn open_cursor(&self, filter: &str, from: u64) -> Result<Cursor, Failed> {
        let stream = self.names.state_stream();
        let request = json!({ "stream_name": stream, "config": {
            "ack_policy": "none", "replay_policy": "instant", "mem_storage": true,
            "num_replicas": 1, "inactive_threshold": nanos(CURSOR_IDLE),
            "deliver_policy": "by_start_sequence", "opt_start_seq": from.max(1),
            "filter_subject": filter,
        }});
        self.wire.api(&format!("CONSUMER.CREATE.{stream}"), &request).await
    }

    pub(crate) async fn close_cursor(&self, cursor: &Cursor) {
        let end = format!("CONSUMER.DELETE.{}.{}", self.names.state_stream(), cursor.name);
        // The server forgets it by itself as well.
        let _ = self.wire.api::<Value>(&end, &json!({})).await;
    }

    async fn read_all(
        &self,
        stream: &str,
        cursor: &str,
    ) -> Result<Vec<(Message, Arrival)>, Failed> {
        let mut messages = Vec::new();
        loop {
            let page = self.wire.pull(stream, cursor, PAGE, None).await?;
            if page.was_cut {
                return Err(Failed::Silent("the connection was cut".to_owned()));
            }
            if page.messages.is_empty() {
                return Ok(messages);
            }
            messages.extend(page.messages.into_iter().filter_map(|message| {
                let place = Arrival::parse(message.reply.as_deref().unwrap_or_default())?;
                Some((message, place))
            }));
        }
    }

    /// The endpoints that have a stream.
    async fn queue_tokens(&self, operation: &'static str) -> Result<Vec<String>, StoreError> {
        let mut tokens: Vec<String> = Vec::new();
        let mut offset = 0;
        loop {
            let question = json!({ "offset": offset, "subject": self.names.queue_subject("*") });
            let page = self.wire.api::<StreamNames>("STREAM.NAMES", &question).await;
            let page = page.map_err(|failed| self.failed(operation, failed))?;
            let streams = page.streams.unwrap_or_default();
            offset += streams.len();
            let ours = streams.iter().filter_map(|stream| self.names.parse_queue(stream));
            tokens.extend(ours.map(str::to_owned));
            if streams.is_empty() || offset >= page.total {
                return Ok(tokens);
            }
        }
    }

    async fn endpoint_report(
        &self,
        token: &str,
        records: &[Lying],
    ) -> Result<EndpointReport, Failed> {
        let stream = self.names.queue_stream(token);
        let (state, settled) = self.state_and_settled(&stream, records).await?;
        let now = self.clock.now().unix_ms();
        let mut report = EndpointReport::default();
        for lying in records {
            match lying.record.state {
                State::Leased if lying.record.until > now => report.in_flight += 1,
                State::Waiting if lying.record.until > now => report.delayed += 1,
                State::Dead => report.dead_letters += 1,
                State::Leased | State::Waiting | State::Done => {}
            }
        }
        let away = report.in_flight + report.delayed + report.dead_letters + settled;
        report.ready = state.messages.saturating_sub(away);
        if report.ready + report.in_flight + report.delayed > 0 {
            report.oldest = self.oldest_alive(token, state.first_seq, records).await?;
        }
        Ok(report)
    }

    /// What a stream holds, and how many of its messages are settled, and not removed yet.
    async fn state_and_settled(
        &self,
        stream: &str,
        records: &[Lying],
    ) -> Result<(StreamState, u64), Failed> {
        let mut state = self.stream_info(stream).await?.state;
        for _ in 1..LOOKS_MAX {
            let settled = self.settled_ones(stream, records).await?;
            let after = self.stream_info(stream).await?.state;
            // Otherwise some of them were removed meanwhile.
            if after == state {
                return Ok((state, settled));
            }
            state = after;
        }
        Ok((state, self.settled_ones(stream, records).await?))
    }

    async fn settled_ones(&self, stream: &str, records: &[Lying]) -> Result<u64, Failed> {
        let mut done: Vec<&Lying> = records.iter().collect();
        done.retain(|lying| lying.record.state == State::Done);
        done.truncate(SETTLED_MAX);
        let mut count = 0;
        for some in done.chunks(LOOKS_IN_FLIGHT) {
            let looks = some.iter().map(|lying| self.wire.get(stream, lying.sequence));
            for (found, lying) in join_all(looks).await.into_iter().zip(some) {
                count += u64::from(found?.is_some_and(|it| lying.record.is_of(it.stored())));
            }
        }
        Ok(count)
    }

    /// When the oldest message that is neither dead nor settled was queued.
    async fn oldest_alive(
        &self,
        token: &str,
        first: u64,
        records: &[Lying],
    ) -> Result<Option<Timestamp>, Failed> {
        let (stream, subject) = (self.names.queue_stream(token), self.names.queue_subject(token));
        let is_past = |lying: &&Lying| matches!(lying.record.state, State::Dead | State::Done);
        let past: BTreeSet<u64> =
            records.iter().filter(is_past).map(|lying| lying.sequence).collect();
        let mut from = first;
        while let Some(message) = self.wire.next(&stream, &subject, from).await? {
            if !past.contains(&message.seq) {
                return Ok(Some(message.time()));
            }
            from = message.seq + 1;
        }
        Ok(None)
    }

    /// A dead record with its message. One whose message was removed by hand is shown without it,
    /// so that a person can remove the rest.
    async fn letter(&self, registry: &Registry, lying: &Lying) -> Result<DeadLetter, Failed> {
        let Lying { token, sequence, revision, record } = lying;
        let found = match self.wire.get(&self.names.queue_stream(token), *sequence).await {
            Err(failed) if failed.is_missing() => None,
            found => found?,
        };
        if found.is_none() {
            tracing::warn!(token, sequence, "a dead letter's message was removed from its stream");
        }
        let endpoint = names::endpoint(token);
        let raw = found.as_ref().map(Stored::data).unwrap_or_default();
        let headers = found.as_ref().map(Stored::headers).unwrap_or_default();
        let held = Held {
            token: token.clone(),
            sequence: *sequence,
            delivery: *revision,
            is_dead: true,
            ack: record.ack.clone(),
        };
        let death = record.death.as_ref();
        Ok(DeadLetter {
            number: i64::try_from(*revision).unwrap_or(i64::MAX),
            protocol: registry.endpoints.get(&endpoint).map(|known| known.protocol.clone()),
            endpoint,
            envelope: message::decode(&headers, raw.clone()),
            entity: death.and_then(|death| death.entity.clone()),
            raw,
            reason: death.map_or(DeadReason::HandlerFailed, Death::reason),
            dead_since: Timestamp::from_unix_ms(death.map_or(0, |death| death.since)),
            deliveries: record.deliveries,
            failures: record.failures(),
            receipt: Receipt::new(held.to_string()),
        })
    }
}
