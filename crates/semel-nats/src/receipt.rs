//! What a receipt says, and what the subject says under which a message was handed out.

use std::fmt;

use semel_core::broker::Receipt;

/// What a receipt of ours holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) token: String,
    /// Of the message in its stream.
    pub(crate) sequence: u64,
    /// The revision of the record that began the delivery, or the death.
    pub(crate) delivery: u64,
    /// Whether it is a dead letter's.
    pub(crate) is_dead: bool,
    /// The consumer's subject for it.
    pub(crate) ack: String,
}

/// What stands before the delivery in the receipt of a dead letter.
const DEAD: &str = "dead:";

impl Held {
    /// Reads a receipt; none if it is not one of ours.
    pub(crate) fn parse(receipt: &Receipt) -> Option<Self> {
        let mut parts = receipt.as_str().splitn(4, ' ');
        let (token, sequence) = (parts.next()?.to_owned(), parts.next()?.parse().ok()?);
        let delivery = parts.next()?;
        let dead = delivery.strip_prefix(DEAD);
        Some(Self {
            token,
            sequence,
            delivery: dead.unwrap_or(delivery).parse().ok()?,
            is_dead: dead.is_some(),
            ack: parts.next()?.to_owned(),
        })
    }
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { token, sequence, delivery, is_dead, ack } = self;
        let dead = if *is_dead { DEAD } else { "" };
        write!(f, "{token} {sequence} {dead}{delivery} {ack}")
    }
}

/// What the subject tells under which the consumer handed out a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Arrival {
    pub(crate) ack: String,
    /// How often the consumer has handed it out, whether or not anybody got it.
    pub(crate) handed_out: u64,
    /// Of the message in its stream.
    pub(crate) sequence: u64,
    /// When it was stored, in nanoseconds since the Unix epoch.
    pub(crate) stored: i64,
}

impl Arrival {
    /// Reads `$JS.ACK.STREAM.CONSUMER.HANDED.SEQUENCE.NUMBER.TIME.PENDING`, or its longer form with
    /// domain and account, which has one more part at its end.
    pub(crate) fn parse(ack: &str) -> Option<Self> {
        let parts: Vec<&str> = ack.split('.').collect();
        let first = first_number(&parts)?;
        Some(Self {
            ack: ack.to_owned(),
            handed_out: parts[first].parse().ok()?,
            sequence: parts[first + 1].parse().ok()?,
            stored: parts[first + 3].parse().ok()?,
        })
    }
}

/// The same subject with a newer number of the hand-over: the consumer does not listen to one below
/// those that it has done with.
pub(crate) fn renewed(ack: &str, number: u64) -> Option<String> {
    let mut parts: Vec<&str> = ack.split('.').collect();
    let first = first_number(&parts)?;
    let number = number.to_string();
    parts[first + 2] = &number;
    Some(parts.join("."))
}

fn first_number(parts: &[&str]) -> Option<usize> {
    match parts {
        ["$JS", "ACK", ..] if parts.len() == 9 => Some(4),
        ["$JS", "ACK", ..] if parts.len() >= 11 => Some(6),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use semel_core::broker::Receipt;

    use super::{Arrival, Held, renewed};

    #[test]
    fn a_receipt_is_read_as_it_was_written() {
        let ack = "$JS.ACK.S.workers.1.2.3.4.0".to_owned();
        for is_dead in [false, true] {
            let (token, ack) = ("a=2E".to_owned(), ack.clone());
            let held = Held { token, sequence: 7, delivery: 9, is_dead, ack };
            assert_eq!(Held::parse(&Receipt::new(held.to_string())), Some(held));
        }
        for foreign in ["", "a", "a 1", "a x y z", "dead.7", "a 1 2"] {
            assert_eq!(Held::parse(&Receipt::new(foreign)), None, "{foreign}");
        }
    }

    #[test]
    fn both_forms_of_the_subject_are_read() {
        for ack in
            ["$JS.ACK.S.C.5.6.7.8.9", "$JS.ACK.D.A.S.C.5.6.7.8.9.R", "$JS.ACK.D.A.S.C.5.6.7.8.9"]
        {
            let arrival = Arrival::parse(ack).unwrap();
            assert_eq!((arrival.handed_out, arrival.sequence, arrival.stored), (5, 6, 8));
            assert_eq!(renewed(ack, 70).unwrap(), ack.replace(".7.", ".70."));
        }
        for foreign in
            ["", "$JS.ACK.S.C.5.6.7.8", "_INBOX.a.b.c.d.e.f.g.h", "$JS.ACK.S.C.x.6.7.8.9"]
        {
            assert_eq!(Arrival::parse(foreign), None, "{foreign}");
        }
    }
}
