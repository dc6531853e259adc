//! What the file should hold and answer: a few lines of plain Rust instead of SQL.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use semel_core::broker::{Destination, Lease, Outgoing, Receipt, Settlement};
use semel_core::store::{Change, Expect, ItemKey, Trouble, Version};

/// The largest item or message.
pub(crate) const BYTES_MAX: usize = 16 << 20;

/// What a caller asks.
#[derive(Clone, Debug)]
pub(crate) enum Ask {
    Write(Vec<Change>),
    Send(Vec<Outgoing>),
    Settle(Receipt, Settlement),
    Extend(Vec<Receipt>),
}

/// What the caller is told, as far as it can be foretold: not which versions.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Told {
    Applied(Vec<Versioned>),
    Conflict(Vec<usize>),
    Refused(Trouble),
    Sent(Vec<Result<(), Trouble>>),
    Settled,
    Stale,
    Leases(Vec<Lease>),
}

/// Whether a change leaves a version behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Versioned {
    Yes,
    No,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) value: Bytes,
    /// `None` while the caller does not know yet which version it got.
    pub(crate) version: Option<Version>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Model {
    pub(crate) items: BTreeMap<ItemKey, Record>,
    /// Queued messages by id, with the receipt under which one is held.
    pub(crate) queue: BTreeMap<String, Option<Receipt>>,
    pub(crate) dead: BTreeSet<String>,
    /// How many requests were rejected after they had changed something, and before.
    pub(crate) rejected_late: usize,
    pub(crate) rejected_early: usize,
}

/// Why a batch has no effect.
enum Rejected {
    Conflict(usize),
    Refused(Trouble),
}

impl Model {
    /// Does what `ask` asks, or nothing of it.
    pub(crate) fn apply(&mut self, ask: &Ask) -> Told {
        match ask {
            Ask::Write(changes) => self.write(changes),
            Ask::Send(messages) => {
                Told::Sent(messages.iter().map(|message| self.enqueue(message)).collect())
            }
            Ask::Settle(receipt, settlement) => match self.settle(receipt, settlement) {
                true => Told::Settled,
                false => Told::Stale,
            },
            Ask::Extend(receipts) => Told::Leases(
                receipts
                    .iter()
                    .map(|receipt| self.holder(receipt).map_or(Lease::Lost, |_| Lease::Held))
                    .collect(),
            ),
        }
    }

    fn write(&mut self, changes: &[Change]) -> Told {
        if has_twins(changes) {
            self.rejected_early += 1;
            return Told::Refused(Trouble::Unsupported);
        }
        let mut next = self.clone();
        let mut versioned = Vec::new();
        for (at, change) in changes.iter().enumerate() {
            match next.change(at, change) {
                Ok(left) => versioned.push(left),
                Err(rejected) => {
                    let changed = next.items != self.items || next.queue != self.queue;
                    *(if changed { &mut self.rejected_late } else { &mut self.rejected_early }) +=
                        1;
                    return match rejected {
                        Rejected::Conflict(at) => Told::Conflict(vec![at]),
                        Rejected::Refused(trouble) => Told::Refused(trouble),
                    };
                }
            }
        }
        *self = next;
        Told::Applied(versioned)
    }

    fn change(&mut self, at: usize, change: &Change) -> Result<Versioned, Rejected> {
        match change {
            Change::Put { key, value, expect, .. } => {
                if value.len() > BYTES_MAX {
                    return Err(Rejected::Refused(Trouble::TooLarge));
                }
                self.expect(at, key, expect)?;
                self.items.insert(key.clone(), Record { value: value.clone(), version: None });
                return Ok(Versioned::Yes);
            }
            Change::Delete { key, expect } => {
                self.expect(at, key, expect)?;
                self.items.remove(key);
            }
            Change::Enqueue(message) => self.enqueue(message).map_err(Rejected::Refused)?,
            Change::Settle { receipt, settlement } if !self.settle(receipt, settlement) => {
                return Err(Rejected::Conflict(at));
            }
            Change::Settle { .. } => {}
        }
        Ok(Versioned::No)
    }

    fn expect(&self, at: usize, key: &ItemKey, expect: &Expect) -> Result<(), Rejected> {
        let found = self.items.get(key);
        let holds = match expect {
            Expect::Anything => true,
            Expect::Absent => found.is_none(),
            Expect::Version(version) => {
                found.is_some_and(|record| record.version.as_ref() == Some(version))
            }
        };
        if holds { Ok(()) } else { Err(Rejected::Conflict(at)) }
    }

    fn enqueue(&mut self, message: &Outgoing) -> Result<(), Trouble> {
        if message.envelope.size() > BYTES_MAX {
            return Err(Trouble::TooLarge);
        }
        assert!(matches!(message.to, Destination::Endpoint(_)), "the model knows no subscribers");
        self.queue.insert(message.envelope.id.clone(), None);
        Ok(())
    }

    fn settle(&mut self, receipt: &Receipt, settlement: &Settlement) -> bool {
        let Some(id) = self.holder(receipt) else { return false };
        match settlement {
            Settlement::Ack => _ = self.queue.remove(&id),
            Settlement::Release { .. } | Settlement::Retry { .. } => {
                self.queue.insert(id, None);
            }
            Settlement::DeadLetter { .. } => {
                self.queue.remove(&id);
                self.dead.insert(id);
            }
        }
        true
    }

    fn holder(&self, receipt: &Receipt) -> Option<String> {
        let held = self.queue.iter().find(|(_, held)| held.as_ref() == Some(receipt));
        held.map(|(id, _)| id.clone())
    }
}

fn has_twins(changes: &[Change]) -> bool {
    let mut keys = BTreeSet::new();
    changes.iter().any(|change| match change {
        Change::Put { key, .. } | Change::Delete { key, .. } => !keys.insert(key),
        Change::Enqueue(_) | Change::Settle { .. } => false,
    })
}
