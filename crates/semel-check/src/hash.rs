//! 128-bit fingerprints. Two things with one fingerprint are taken to be the same; with 2^32 states
//! the chance of a wrong merge is below 2^-64.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hash, Hasher};

use semel_core::broker::{Destination, FailureRecord, Outgoing, Settlement};
use semel_core::store::{Change, Expect, ItemKey, Keep};
use semel_core::{Envelope, Extension, Timestamp};
use twox_hash::XxHash3_128;

/// A fingerprint.
pub(crate) type Print = u128;

/// Sets and maps by fingerprint: it is as good a hash as any.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct AsIs(u64);

impl Hasher for AsIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u128(&mut self, print: u128) {
        self.0 = print as u64;
    }
}

/// A set of fingerprints.
pub(crate) type Prints = HashSet<Print, BuildHasherDefault<AsIs>>;

/// A map by fingerprint.
pub(crate) type ByPrint<T> = HashMap<Print, T, BuildHasherDefault<AsIs>>;

/// Gathers what a fingerprint is made of: most are made of many small parts.
pub(crate) struct Ink(Parts);

/// The parts, one after the other.
struct Parts(Vec<u8>);

/// The room that a fingerprint begins with, in bytes.
const ROOM_BYTES: usize = 512;

thread_local! {
    /// Rooms that fingerprints were made in, for those to come.
    static ROOMS: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

impl Hasher for Parts {
    fn finish(&self) -> u64 {
        XxHash3_128::oneshot(&self.0) as u64
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }
}

impl Ink {
    /// Begins a fingerprint of one `kind` of thing.
    pub(crate) fn new(kind: u8) -> Self {
        let room = ROOMS.with(|rooms| rooms.borrow_mut().pop());
        let mut room = room.unwrap_or_else(|| Vec::with_capacity(ROOM_BYTES));
        room.push(kind);
        Self(Parts(room))
    }

    /// Adds anything that can be hashed.
    #[must_use]
    pub(crate) fn with(mut self, part: impl Hash) -> Self {
        part.hash(&mut self.0);
        self
    }

    pub(crate) fn add(&mut self, part: impl Hash) {
        part.hash(&mut self.0);
    }

    pub(crate) fn print(self) -> Print {
        let Self(Parts(mut room)) = self;
        let print = XxHash3_128::oneshot(&room);
        room.clear();
        ROOMS.with(|rooms| rooms.borrow_mut().push(room));
        print
    }
}

/// The fingerprint of one value.
pub(crate) fn print(kind: u8, part: impl Hash) -> Print {
    Ink::new(kind).with(part).print()
}

pub(crate) fn envelope(ink: &mut Ink, envelope: &Envelope) {
    ink.add((&envelope.id, &envelope.source, &envelope.kind, &envelope.subject));
    ink.add((envelope.time.map(Timestamp::unix_ms), &envelope.content_type, &envelope.schema));
    ink.add(envelope.extensions.len());
    for (name, value) in &envelope.extensions {
        // Text may read like a number, and is none.
        match value {
            Extension::Text(text) => ink.add((name, true, text)),
            Extension::Boolean(_) | Extension::Integer(_) => {
                ink.add((name, false, value.to_string()));
            }
        }
    }
    ink.add(&*envelope.data);
}

pub(crate) fn outgoing(ink: &mut Ink, outgoing: &Outgoing) {
    match &outgoing.to {
        Destination::Endpoint(name) => ink.add((0_u8, name)),
        Destination::Subscribers => ink.add(1_u8),
    }
    ink.add(outgoing.delay);
    envelope(ink, &outgoing.envelope);
}

pub(crate) fn settlement(ink: &mut Ink, settlement: &Settlement) {
    match settlement {
        Settlement::Ack => ink.add(0_u8),
        Settlement::Release { after } => ink.add((1_u8, after)),
        Settlement::Retry { after, failure: record } => {
            ink.add((2_u8, after));
            failure(ink, record);
        }
        Settlement::DeadLetter { reason, failure: record, entity } => {
            ink.add(entity);
            ink.add((3_u8, reason.name()));
            failure(ink, record);
        }
    }
}

pub(crate) fn failure(ink: &mut Ink, failure: &FailureRecord) {
    ink.add((failure.at.unix_ms(), &failure.reason, &failure.worker));
}

pub(crate) fn change(ink: &mut Ink, change: &Change) {
    match change {
        Change::Put { key, value, expect, keep } => {
            ink.add((0_u8, key, &**value));
            expected(ink, expect);
            ink.add(match keep {
                Keep::Always => None,
                Keep::For(span) => Some(span),
            });
        }
        Change::Delete { key, expect } => {
            ink.add((1_u8, key));
            expected(ink, expect);
        }
        Change::Enqueue(message) => {
            ink.add(2_u8);
            outgoing(ink, message);
        }
        Change::Settle { receipt, settlement: fate } => {
            ink.add((3_u8, receipt));
            settlement(ink, fate);
        }
    }
}

fn expected(ink: &mut Ink, expect: &Expect) {
    match expect {
        Expect::Absent => ink.add(0_u8),
        Expect::Version(version) => ink.add((1_u8, version)),
        Expect::Anything => ink.add(2_u8),
    }
}

pub(crate) fn key(key: &ItemKey) -> Print {
    print(1, key)
}
