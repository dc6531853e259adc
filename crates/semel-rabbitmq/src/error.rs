//! What RabbitMQ's errors mean, and what to do about them.

use lapin::ErrorKind;
use lapin::protocol::{AMQPErrorKind, AMQPHardError, AMQPSoftError};
use semel_core::StoreError;
use semel_core::store::Trouble;

/// Translates an error of the client or the server. `place` holds no secrets.
pub(crate) fn translate(place: &str, operation: &'static str, error: &lapin::Error) -> StoreError {
    let (trouble, help) = judge(error);
    new(place, trouble, operation, error.to_string(), help)
}

/// An error about the server at `place`.
pub(crate) fn new(
    place: &str,
    trouble: Trouble,
    operation: &'static str,
    reason: impl Into<String>,
    help: &str,
) -> StoreError {
    let store = format!("rabbitmq:{place}");
    StoreError { trouble, store, operation, reason: reason.into(), help: help.to_owned() }
}

/// A call that the server did not answer in time.
pub(crate) fn no_answer(place: &str, operation: &'static str) -> StoreError {
    let help = "Look whether the server runs, has memory and disk left, and can be reached; \
                work goes on by itself.";
    new(place, Trouble::Unavailable, operation, "the server gave no answer in time", help)
}

/// A server that is short of something, and takes no messages until it is not.
pub(crate) fn alarm(place: &str, operation: &'static str, reason: &str) -> StoreError {
    let reason = format!("the server takes no messages, for it raised an alarm: {reason}");
    let help = "Give the server memory or disk space, or raise `vm_memory_high_watermark` or lower \
                `disk_free_limit`; work goes on by itself.";
    new(place, Trouble::Unavailable, operation, reason, help)
}

/// Whether the server says that another connection has what was asked for.
pub(crate) fn is_locked(error: &lapin::Error) -> bool {
    is_soft(error, &AMQPSoftError::RESOURCELOCKED)
}

/// Whether the server says that there is no such queue or exchange.
pub(crate) fn is_missing(error: &lapin::Error) -> bool {
    is_soft(error, &AMQPSoftError::NOTFOUND)
}

fn is_soft(error: &lapin::Error, wanted: &AMQPSoftError) -> bool {
    match error.kind() {
        ErrorKind::ProtocolError(error) => {
            matches!(error.kind(), AMQPErrorKind::Soft(soft) if soft == wanted)
        }
        _ => false,
    }
}

/// The largest message that the server takes, if it refused one for its size.
pub(crate) fn size_limit(error: &StoreError) -> Option<usize> {
    let (_, limit) = error.reason.split_once("is larger than configured max size ")?;
    let digits: String = limit.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

fn is_about_certificates(error: &lapin::Error) -> bool {
    error.to_string().contains("certificate")
}

fn judge(error: &lapin::Error) -> (Trouble, &'static str) {
    let passing = "Look whether the server runs and can be reached; work goes on by itself.";
    let ErrorKind::ProtocolError(error) = error.kind() else {
        return match error.kind() {
            ErrorKind::ChannelsLimitReached => {
                (Trouble::Unavailable, "Raise `channel_max` of the server, or do less at once.")
            }
            ErrorKind::InvalidProtocolVersion(_) | ErrorKind::ParsingError(_) => {
                (Trouble::Broken, "Something else answers at this address: mend the address.")
            }
            _ if is_about_certificates(error) => (
                Trouble::Broken,
                "Name the authority's certificate in `Options::root_certificates`, and the host as \
                 it stands in the server's certificate.",
            ),
            _ if error.to_string().contains("TLS")
                || error.to_string().contains("corrupt message") =>
            {
                (
                    Trouble::Broken,
                    "The server speaks no TLS on this port: mend the port, or write amqp://.",
                )
            }
            _ => (Trouble::Unavailable, passing),
        };
    };
    match error.kind() {
        AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED) => (
            Trouble::Broken,
            "Mend the user name or the password, or give this user the permissions to configure, \
             write and read everything under the prefix.",
        ),
        AMQPErrorKind::Soft(AMQPSoftError::NOTFOUND) => (
            Trouble::Broken,
            "Somebody deleted it. Queues are made again when they are needed, exchanges when a worker connects.",
        ),
        AMQPErrorKind::Soft(AMQPSoftError::PRECONDITIONFAILED) => (
            Trouble::Broken,
            "A queue or exchange of another kind has Semel's name: choose another prefix, or \
             empty it and delete it.",
        ),
        AMQPErrorKind::Hard(AMQPHardError::NOTALLOWED | AMQPHardError::INVALIDPATH) => (
            Trouble::Broken,
            "Make the virtual host, or give this user access to it, or mend the address.",
        ),
        _ => (Trouble::Unavailable, passing),
    }
}
