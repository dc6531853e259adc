//! The simulated places: a store and a queue as plain data, cheap to copy.
//!
//! They follow the contracts of `semel-core` to the letter and offer nothing beyond them. Every
//! function here is a whole step: what may go wrong around it is decided elsewhere.

#[cfg(test)]
mod conformance;
mod items;
mod outside;
#[cfg(test)]
mod prints;
mod queue;

pub(crate) use items::{Items, Record, number_of};
pub(crate) use outside::Outside;
pub(crate) use queue::{Carried, DeadReasonKey, Fate, Queue, Queued, Routes};

use crate::hash::{self, Print};
use crate::tag;
use semel_core::StoreError;
use semel_core::store::{
    Atomicity, Change, ItemKey, Listing, QueueHome, StoreLimits, Trouble, Version, WriteOutcome,
};

/// A store and the queue beside or inside it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Parts {
    pub(crate) items: Items,
    pub(crate) queue: Queue,
    pub(crate) outside: Outside,
}

/// What became of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Written {
    /// Applied, with the version of each item that it left.
    Applied(Vec<Option<Version>>),
    /// Not applied: the conditions at these positions failed.
    Conflict(Vec<usize>),
    /// Not applied, and never will be.
    Refused(Trouble, String),
}

impl From<Written> for WriteOutcome {
    fn from(written: Written) -> Self {
        match written {
            Written::Applied(versions) => Self::Applied(versions),
            Written::Conflict(at) => Self::Conflict(at),
            Written::Refused(trouble, reason) => Self::Refused(refusal("write", trouble, reason)),
        }
    }
}

pub(crate) fn refusal(operation: &'static str, trouble: Trouble, reason: String) -> StoreError {
    StoreError {
        trouble,
        store: "simulation".to_owned(),
        operation,
        reason,
        help: "Change the request, or the limits of the world.".to_owned(),
    }
}

impl Parts {
    /// Nothing yet, in places of this character.
    pub(crate) fn new(routes: &Routes, stale_reads: bool) -> Self {
        let items = if stale_reads { Items::with_history() } else { Items::default() };
        Self { items, queue: Queue::new(routes.ordered), outside: Outside::default() }
    }

    /// What tells them from others.
    pub(crate) fn print(&self) -> Print {
        hash::print(45, (self.items.print(), self.queue.print(), self.outside.print()))
    }

    /// Applies a batch, if its conditions hold and the limits allow it.
    pub(crate) fn write(
        &mut self,
        changes: &[Change],
        limits: &StoreLimits,
        routes: &Routes,
        now_ms: i64,
    ) -> Written {
        if let Err((trouble, reason)) = admits(changes, limits, routes) {
            return Written::Refused(trouble, reason.to_owned());
        }
        let failing: Vec<usize> = changes
            .iter()
            .enumerate()
            .filter(|(_, change)| !self.allows(change))
            .map(|(at, _)| at)
            .collect();
        if !failing.is_empty() {
            return Written::Conflict(failing);
        }
        let apply = |change| self.apply(change, routes, now_ms);
        Written::Applied(changes.iter().map(apply).collect())
    }

    fn allows(&self, change: &Change) -> bool {
        match change {
            Change::Put { key, expect, .. } | Change::Delete { key, expect } => {
                self.items.allows(key, expect)
            }
            Change::Settle { receipt, settlement } => {
                self.queue.find(receipt, settlement).is_some()
            }
            Change::Enqueue(_) => true,
        }
    }

    fn apply(&mut self, change: &Change, routes: &Routes, now_ms: i64) -> Option<Version> {
        match change {
            Change::Put { key, value, keep, .. } => Some(self.items.put(key, value, *keep, now_ms)),
            Change::Delete { key, .. } => {
                self.items.delete(key);
                None
            }
            Change::Enqueue(outgoing) => {
                self.queue.send(outgoing, routes, now_ms);
                None
            }
            Change::Settle { receipt, settlement } => {
                self.queue.settle(receipt, settlement, now_ms);
                None
            }
        }
    }
}

/// Whether the limits allow a batch; if not, why.
fn admits(
    changes: &[Change],
    limits: &StoreLimits,
    routes: &Routes,
) -> Result<(), (Trouble, &'static str)> {
    let of_queue = |change: &Change| matches!(change, Change::Enqueue(_) | Change::Settle { .. });
    if limits.queue == QueueHome::Elsewhere && changes.iter().any(of_queue) {
        return Err((Trouble::Unsupported, "the queue is elsewhere"));
    }
    if changes.len() > limits.batch_changes_max {
        return Err((Trouble::TooLarge, "the batch has too many changes"));
    }
    for change in changes {
        let too_large = match change {
            Change::Put { value, .. } => {
                let max = limits.item_bytes_max;
                value.len() > max && tag::bare_len(value) > max
            }
            Change::Enqueue(outgoing) => !routes.admits(outgoing),
            Change::Delete { .. } | Change::Settle { .. } => false,
        };
        if too_large {
            return Err((Trouble::TooLarge, "a value or message is too large"));
        }
    }
    for (at, change) in changes.iter().enumerate() {
        let before = &changes[..at];
        if key_of(change).is_some_and(|key| before.iter().filter_map(key_of).any(|one| one == key))
        {
            return Err((Trouble::Unsupported, "the batch names an item twice"));
        }
        let is_it = |receipt| before.iter().filter_map(receipt_of).any(|one| one == receipt);
        if receipt_of(change).is_some_and(is_it) {
            return Err((Trouble::Unsupported, "the batch settles a delivery twice"));
        }
    }
    let mut keys = changes.iter().filter_map(key_of);
    let first = keys.next();
    let spread = keys.clone().any(|key| first.is_some_and(|one| one.partition != key.partition));
    match limits.atomicity {
        Atomicity::OneItem if keys.next().is_some() => {
            Err((Trouble::Unsupported, "the batch spans items"))
        }
        Atomicity::OnePartition if spread => {
            Err((Trouble::Unsupported, "the batch spans partitions"))
        }
        _ => Ok(()),
    }
}

pub(crate) fn key_of(change: &Change) -> Option<&ItemKey> {
    match change {
        Change::Put { key, .. } | Change::Delete { key, .. } => Some(key),
        Change::Enqueue(_) | Change::Settle { .. } => None,
    }
}

fn receipt_of(change: &Change) -> Option<&semel_core::broker::Receipt> {
    match change {
        Change::Settle { receipt, .. } => Some(receipt),
        _ => None,
    }
}

/// The limits of a store that has everything, as a database with SQL does.
pub(crate) const RELATIONAL: StoreLimits = StoreLimits {
    atomicity: Atomicity::Everything,
    batch_changes_max: 1_000,
    item_bytes_max: 16 << 20,
    listing: Listing::Supported,
    queue: QueueHome::Inside,
};
