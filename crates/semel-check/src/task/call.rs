//! What a task asks of the places, and what it is answered.

use std::sync::Arc;

use bytes::Bytes;
use semel_core::broker::{Outgoing, Receipt, Settlement};
use semel_core::store::{Change, ItemKey, Page};

use crate::hash::{self, Ink, Print};
use crate::parts::{Carried, Record, Written};
use crate::tag::Trail;
use crate::trace::phrases;

/// One call on a place: a choice point.
#[derive(Clone, Debug)]
pub(crate) enum Call {
    Read(ItemKey),
    List(Page),
    Write(Vec<Change>),
    Settle(Receipt, Settlement),
    Send(Vec<Outgoing>),
    /// An object outside, by name; the write of a handler itself.
    Get(String),
    Put(String, Option<Bytes>),
}

/// What came of a call.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    Item(Option<Arc<Record>>),
    Items(Vec<Arc<Record>>),
    Written(Written),
    /// Whether the receipt still counted.
    Settled(bool),
    /// For each message whether it was sent for sure.
    Sent(Vec<bool>),
    Object(Option<Bytes>),
    Done,
    /// No answer came.
    Nothing,
}

impl Call {
    pub(crate) fn print(&self) -> Print {
        let mut ink = Ink::new(11);
        match self {
            Self::Read(key) => ink.add((0_u8, key)),
            Self::List(page) => ink.add((1_u8, page.space, &page.after, page.limit)),
            Self::Write(changes) => {
                ink.add((2_u8, changes.len()));
                changes.iter().for_each(|change| hash::change(&mut ink, change));
            }
            Self::Settle(receipt, settlement) => {
                ink.add((3_u8, receipt));
                hash::settlement(&mut ink, settlement);
            }
            Self::Send(messages) => {
                ink.add((4_u8, messages.len()));
                messages.iter().for_each(|message| hash::outgoing(&mut ink, message));
            }
            Self::Get(name) => ink.add((5_u8, name)),
            Self::Put(name, value) => ink.add((6_u8, name, value.as_deref())),
        }
        ink.print()
    }

    /// Whether it changes anything.
    pub(crate) fn is_write(&self) -> bool {
        match self {
            Self::Read(_) | Self::List(_) | Self::Get(_) => false,
            Self::Write(_) | Self::Settle(..) | Self::Send(_) | Self::Put(..) => true,
        }
    }

    /// The call as a reader of a trace sees it.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Read(key) => format!("read {}", phrases::item(key)),
            Self::List(page) => format!("list {}", page.space.name()),
            Self::Write(changes) => phrases::batch(changes),
            Self::Settle(_, settlement) => describe_settlement(settlement),
            Self::Send(messages) => {
                let messages: Vec<String> = messages.iter().map(phrases::posted).collect();
                format!("send {}", messages.join(" + "))
            }
            Self::Get(name) => format!("get object {name}"),
            Self::Put(name, Some(value)) => format!("put object {name} = {}", excerpt(value)),
            Self::Put(name, None) => format!("delete object {name}"),
        }
    }
}

pub(crate) fn describe_settlement(settlement: &Settlement) -> String {
    match settlement {
        Settlement::Ack => "ack the message".to_owned(),
        Settlement::Release { .. } => "give the message back".to_owned(),
        Settlement::Retry { .. } => "have the message tried again later".to_owned(),
        Settlement::DeadLetter { reason, .. } => {
            format!("park the message as a dead letter ({reason})")
        }
    }
}

/// The beginning of some bytes, as text.
pub(crate) fn excerpt(bytes: &[u8]) -> String {
    beginning(bytes, 60)
}

/// The first so many letters of some bytes.
pub(crate) fn beginning(bytes: &[u8], letters: usize) -> String {
    let text = String::from_utf8_lossy(bytes);
    match text.char_indices().nth(letters) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.into_owned(),
    }
}

impl Answer {
    /// Whether it holds a state that stems from the message.
    pub(crate) fn shows(&self, message: &Carried) -> bool {
        let stems = |record: &Arc<Record>| {
            let mark = |trail: &Trail| trail.of(&message.endpoint, &message.identity).is_some();
            record.trail.as_ref().is_some_and(mark)
        };
        match self {
            Self::Item(record) => record.as_ref().is_some_and(stems),
            Self::Items(records) => records.iter().any(stems),
            _ => false,
        }
    }

    pub(crate) fn print(&self) -> Print {
        let mut ink = Ink::new(12);
        match self {
            Self::Item(record) => ink.add((0_u8, record.as_ref().map(|record| record.print))),
            Self::Items(records) => {
                ink.add((1_u8, records.len()));
                records.iter().for_each(|record| ink.add(record.print));
            }
            Self::Written(Written::Applied(versions)) => ink.add((2_u8, versions)),
            Self::Written(Written::Conflict(at)) => ink.add((3_u8, at)),
            Self::Written(Written::Refused(_, reason)) => ink.add((4_u8, reason)),
            Self::Settled(is_current) => ink.add((5_u8, is_current)),
            Self::Sent(sent) => ink.add((6_u8, sent)),
            Self::Object(object) => ink.add((7_u8, object.as_deref())),
            Self::Done => ink.add(8_u8),
            Self::Nothing => ink.add(9_u8),
        }
        ink.print()
    }
}
