//! What is known of a message's earlier deliveries, in headers of its newest copy.

use std::collections::BTreeMap;
use std::time::Duration;

use lapin::types::{AMQPValue, ShortString};
use semel_core::Timestamp;
use semel_core::broker::{DeadReason, FailureRecord};
use serde::{Deserialize, Serialize};

use crate::message::{self, Raw};

/// The deliveries before this copy was queued.
const DELIVERIES: &str = "x-semel-deliveries";
const FAILURE_COUNT: &str = "x-semel-failure-count";
const FAILURES: &str = "x-semel-failures";
/// How long it still has to wait once it comes to its endpoint's queue, in milliseconds. A time to
/// wait, and no time to wait for: the handles' clocks need not agree.
const LEFT: &str = "x-semel-left";
/// The identity of this copy.
pub(crate) const COPY: &str = "x-semel-copy";
const DEAD_NUMBER: &str = "x-semel-dead-number";
const DEAD_REASON: &str = "x-semel-dead-reason";
const DEAD_SINCE: &str = "x-semel-dead-since";
const DEAD_ENTITY: &str = "x-semel-dead-entity";
/// What RabbitMQ counts itself: deliveries of this copy that came back.
const RETURNED: &str = "x-delivery-count";

const FAILURES_KEPT: usize = 20;
/// The most bytes of the failures in a header.
const FAILURES_MAX: usize = 32 * 1024;
/// What a frame holds, less what is not headers.
const FRAME_MAX: usize = 128 * 1024 - 1024;

/// A failure as it is written down.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Failure {
    pub(crate) at: i64,
    pub(crate) reason: String,
    pub(crate) worker: String,
}

impl From<FailureRecord> for Failure {
    fn from(record: FailureRecord) -> Self {
        Self { at: record.at.unix_ms(), reason: record.reason, worker: record.worker }
    }
}

impl From<Failure> for FailureRecord {
    fn from(failure: Failure) -> Self {
        let at = Timestamp::from_unix_ms(failure.at);
        Self { at, reason: failure.reason, worker: failure.worker }
    }
}

/// The history of a message.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    /// Deliveries, also the one at hand.
    pub(crate) deliveries: u32,
    pub(crate) failure_count: u32,
    pub(crate) failures: Vec<FailureRecord>,
}

impl History {
    /// What the headers of a delivery tell. A header that another wrote badly counts as absent.
    pub(crate) fn of_delivery(raw: &Raw) -> Self {
        let count = |name| raw.number(name).and_then(|it| u32::try_from(it).ok()).unwrap_or(0);
        let history = Self::of_copy(raw);
        let deliveries = history.deliveries.saturating_add(count(RETURNED)).saturating_add(1);
        Self { deliveries, ..history }
    }

    /// What was written when the copy was queued.
    pub(crate) fn of_copy(raw: &Raw) -> Self {
        let count = |name| raw.number(name).and_then(|it| u32::try_from(it).ok()).unwrap_or(0);
        let failures: Vec<Failure> = raw
            .text(FAILURES)
            .and_then(|text| serde_json::from_str(&text).ok())
            .unwrap_or_default();
        Self {
            deliveries: count(DELIVERIES),
            failure_count: count(FAILURE_COUNT),
            failures: failures.into_iter().map(FailureRecord::from).collect(),
        }
    }

    pub(crate) fn add(&mut self, failure: FailureRecord) {
        self.failures.push(failure);
        let surplus = self.failures.len().saturating_sub(FAILURES_KEPT);
        self.failures.drain(..surplus);
        self.failure_count = self.failure_count.saturating_add(1);
    }
}

/// Why and since when a message is dead.
#[derive(Clone, Debug)]
pub(crate) struct Death {
    pub(crate) number: i64,
    pub(crate) reason: DeadReason,
    pub(crate) since: Timestamp,
    pub(crate) entity: Option<String>,
}

impl Death {
    /// What a dead letter tells; nothing where Semel did not park it.
    pub(crate) fn of(raw: &Raw) -> Option<Self> {
        let reason = raw.text(DEAD_REASON);
        // A reason that a newer version wrote is a failure to this one.
        let known = DeadReason::ALL.into_iter().find(|it| reason.as_deref() == Some(it.name()));
        Some(Self {
            number: raw.number(DEAD_NUMBER)?,
            reason: known.unwrap_or(DeadReason::HandlerFailed),
            since: Timestamp::from_unix_ms(raw.number(DEAD_SINCE).unwrap_or_default()),
            entity: raw.text(DEAD_ENTITY),
        })
    }
}

/// How long a message still has to wait; none if it may be delivered.
pub(crate) fn left(raw: &Raw) -> Option<Duration> {
    let left_ms = u64::try_from(raw.number(LEFT)?).ok()?;
    (left_ms > 0).then(|| Duration::from_millis(left_ms))
}

/// A fresh copy of a message, with its history, and with how long it still has to wait where it is
/// taken next.
pub(crate) fn copy(raw: &Raw, history: &History, left: Duration, death: Option<&Death>) -> Raw {
    let mut headers = raw.headers();
    headers.retain(|name, _| !is_ours(name.as_str()));
    let mut set = |name: &str, value| message::set(&mut headers, name, value);
    set(COPY, message::long_text(&new_id()));
    if history.deliveries > 0 {
        set(DELIVERIES, AMQPValue::LongLongInt(i64::from(history.deliveries)));
    }
    if history.failure_count > 0 {
        set(FAILURE_COUNT, AMQPValue::LongLongInt(i64::from(history.failure_count)));
    }
    if !left.is_zero() {
        let left_ms = i64::try_from(left.as_millis()).unwrap_or(i64::MAX);
        set(LEFT, AMQPValue::LongLongInt(left_ms));
    }
    if let Some(death) = death {
        set(DEAD_NUMBER, AMQPValue::LongLongInt(death.number));
        set(DEAD_REASON, message::long_text(death.reason.name()));
        set(DEAD_SINCE, AMQPValue::LongLongInt(death.since.unix_ms()));
        if let Some(entity) = &death.entity {
            set(DEAD_ENTITY, message::long_text(entity));
        }
    }
    add_failures(&mut headers, &history.failures);
    raw.with_headers(headers)
}

/// A new identity.
pub(crate) fn new_id() -> String {
    uuid::Uuid::now_v7().simple().to_string()
}

/// Headers that belong to one copy, and to none made of it. The server would take what it wrote
/// about an expired copy for a message that goes in circles.
fn is_ours(name: &str) -> bool {
    name.starts_with("x-semel-")
        || name == RETURNED
        || name.starts_with("x-death")
        || name.starts_with("x-first-death-")
        || name.starts_with("x-last-death-")
}

/// Adds as much of the failures as fits; of long texts, their beginnings.
fn add_failures(headers: &mut BTreeMap<ShortString, AMQPValue>, failures: &[FailureRecord]) {
    if failures.is_empty() {
        return;
    }
    let room = FRAME_MAX.saturating_sub(message::size(headers)).min(FAILURES_MAX);
    let mut text_max = usize::MAX;
    loop {
        let written: Vec<Failure> = failures.iter().map(|it| shortened(it, text_max)).collect();
        let text = serde_json::to_string(&written).unwrap_or_default();
        if text.len() <= room {
            return message::set(headers, FAILURES, message::long_text(&text));
        }
        text_max = match text_max {
            0 => return,
            usize::MAX => 4096,
            longer => longer / 2,
        };
    }
}

fn shortened(failure: &FailureRecord, text_max: usize) -> Failure {
    let short = |text: &str| {
        if text.len() <= text_max {
            return text.to_owned();
        }
        let mut end = text_max;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        format!("{}…", &text[..end])
    };
    let at = failure.at.unix_ms();
    Failure { at, reason: short(&failure.reason), worker: short(&failure.worker) }
}
