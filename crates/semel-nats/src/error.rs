//! What may go wrong with the server, and what to do about it.

use std::time::Duration;

use async_nats::client::RequestErrorKind;
use semel_core::StoreError;
use semel_core::store::Trouble;
use serde::Deserialize;

/// What JetStream says when it refuses.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ApiError {
    pub(crate) code: u16,
    pub(crate) err_code: u16,
    pub(crate) description: String,
}

/// A failed call on the server.
#[derive(Clone, Debug)]
pub(crate) enum Failed {
    /// No answer: it may have been done, or may be done later.
    Silent(String),
    /// Nobody was there to hear it: it was not done.
    Absent(String),
    /// The server said no: it was not done.
    Refused(ApiError),
    /// It was too large to be sent at all.
    TooLarge(String),
    /// The answer makes no sense: it may have been done.
    Garbled(String),
}

const NO_MESSAGE: u16 = 10037;
const SEQUENCE_NOT_FOUND: u16 = 10043;
const DELETE_FAILED: u16 = 10057;
const STREAM_NOT_FOUND: u16 = 10059;
const CONSUMER_NOT_FOUND: u16 = 10014;
const WRONG_LAST_SEQUENCE: u16 = 10071;
const OVERLAP: u16 = 10065;
const OTHER_STREAM: u16 = 10060;

impl Failed {
    /// Whether a condition did not hold.
    pub(crate) fn is_conflict(&self) -> bool {
        self.code() == WRONG_LAST_SEQUENCE
    }

    /// Whether there is no such message, stream or consumer.
    pub(crate) fn is_missing(&self) -> bool {
        match self.code() {
            NO_MESSAGE | SEQUENCE_NOT_FOUND | STREAM_NOT_FOUND | CONSUMER_NOT_FOUND => true,
            // An error of the file behind the stream has the same number.
            DELETE_FAILED => matches!(self, Self::Refused(error)
                if error.description.contains("not found")
                    || error.description.contains("no message")
                    || error.description.contains("deleted")),
            _ => false,
        }
    }

    /// Whether a stream of ours, found before, is gone.
    pub(crate) fn is_stream_gone(&self) -> bool {
        matches!(self, Self::Absent(_))
            || matches!(self.code(), STREAM_NOT_FOUND | CONSUMER_NOT_FOUND | OTHER_STREAM)
    }

    fn code(&self) -> u16 {
        match self {
            Self::Refused(error) => error.err_code,
            _ => 0,
        }
    }

    pub(crate) fn of_request(kind: RequestErrorKind, reason: String, limit: Duration) -> Self {
        match kind {
            RequestErrorKind::TimedOut => Self::silence(limit),
            RequestErrorKind::NoResponders => Self::Absent("nobody listens there".to_owned()),
            RequestErrorKind::MaxPayloadExceeded => Self::TooLarge(reason),
            RequestErrorKind::InvalidSubject => Self::Refused(ApiError {
                description: format!("invalid subject: {reason}"),
                ..ApiError::default()
            }),
            RequestErrorKind::Other => Self::Silent(reason),
        }
    }

    pub(crate) fn silence(limit: Duration) -> Self {
        Self::Silent(format!("no answer within {} ms", limit.as_millis()))
    }

    /// As an error for the caller.
    pub(crate) fn into_error(self, place: &str, operation: &'static str) -> StoreError {
        let (trouble, reason, help) = match self {
            Self::Silent(reason) => (
                Trouble::Unavailable,
                reason,
                "Look whether the server runs and can be reached, and whether its user may do \
                 this; the connection comes back by itself.",
            ),
            Self::Absent(reason) => (
                Trouble::Unavailable,
                reason,
                "Look whether JetStream is on (`nats-server -js`), the cluster has a leader, and \
                 nobody deleted the stream.",
            ),
            Self::TooLarge(reason) => {
                (Trouble::TooLarge, reason, "Send less in one piece, or raise `max_payload`.")
            }
            Self::Garbled(reason) => (
                Trouble::Broken,
                reason,
                "Look whether something other than JetStream answers on these subjects.",
            ),
            Self::Refused(error) => judge(error),
        };
        new(place, trouble, operation, reason, help)
    }
}

fn judge(error: ApiError) -> (Trouble, String, &'static str) {
    let reason = format!("{} ({})", error.description, error.err_code);
    match error.err_code {
        // No room in the account, on the server, or in the stream by its own limits.
        10002 | 10023 | 10028 | 10047 | 10077 | 10110 => (
            Trouble::Full,
            reason,
            "Make room: raise the limits of JetStream's storage, or of this stream.",
        ),
        10054 | 10097 => (Trouble::TooLarge, reason, "Send less in one piece."),
        STREAM_NOT_FOUND | CONSUMER_NOT_FOUND => {
            (Trouble::Unavailable, reason, "Somebody deleted it: the next call makes it again.")
        }
        OVERLAP => (
            Trouble::Broken,
            reason,
            "Another stream takes these subjects: choose another prefix, or remove that stream.",
        ),
        10039 | 10076 => (
            Trouble::Broken,
            reason,
            "Turn JetStream on for this server and account (`nats-server -js`).",
        ),
        _ if error.code == 503 || error.code == 500 => (
            Trouble::Unavailable,
            reason,
            "The server cannot do this now; it may later. Look into its log if it stays so.",
        ),
        _ => (
            Trouble::Broken,
            reason,
            "The server refuses what Semel needs: compare the crate's table of names and \
             permissions with the server's.",
        ),
    }
}

/// An error about the place `place`.
pub(crate) fn new(
    place: &str,
    trouble: Trouble,
    operation: &'static str,
    reason: impl Into<String>,
    help: &str,
) -> StoreError {
    StoreError {
        trouble,
        store: place.to_owned(),
        operation,
        reason: reason.into(),
        help: help.to_owned(),
    }
}
