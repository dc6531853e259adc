//! Dead letters as JSON.

use semel::core::broker::FailureRecord;
use semel::core::operator::DeadLetter;
use serde::Serialize;

/// One dead letter of a list.
#[derive(Debug, Serialize)]
pub(super) struct LetterView {
    pub(super) number: i64,
    pub(super) endpoint: String,
    pub(super) protocol: Option<String>,
    pub(super) source: Option<String>,
    pub(super) id: Option<String>,
    #[serde(rename = "type")]
    pub(super) kind: Option<String>,
    pub(super) subject: Option<String>,
    pub(super) entity: Option<String>,
    pub(super) reason: &'static str,
    pub(super) dead_since: String,
    pub(super) deliveries: u32,
    pub(super) last_failure: Option<FailureView>,
    pub(super) unreadable: Option<String>,
}

/// One failed attempt.
#[derive(Debug, Serialize)]
pub(super) struct FailureView {
    pub(super) at: String,
    pub(super) worker: String,
    pub(super) reason: String,
}

impl LetterView {
    /// What a list shows of `dead`: not its data.
    pub(super) fn new(dead: &DeadLetter) -> Self {
        let envelope = dead.envelope.as_ref().ok();
        Self {
            number: dead.number,
            endpoint: dead.endpoint.clone(),
            protocol: dead.protocol.clone(),
            source: envelope.map(|envelope| envelope.source.clone()),
            id: envelope.map(|envelope| envelope.id.clone()),
            kind: envelope.map(|envelope| envelope.kind.clone()),
            subject: envelope.and_then(|envelope| envelope.subject.clone()),
            entity: dead.entity.clone(),
            reason: dead.reason.name(),
            dead_since: dead.dead_since.to_string(),
            deliveries: dead.deliveries,
            last_failure: dead.failures.last().map(FailureView::new),
            unreadable: dead.envelope.as_ref().err().map(ToString::to_string),
        }
    }
}

impl FailureView {
    /// The failure with its time as text.
    pub(super) fn new(failure: &FailureRecord) -> Self {
        Self {
            at: failure.at.to_string(),
            worker: failure.worker.clone(),
            reason: failure.reason.clone(),
        }
    }
}
