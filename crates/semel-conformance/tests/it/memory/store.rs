//! The store of a place.

use std::collections::BTreeSet;
use std::sync::PoisonError;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use semel_core::Store;
use semel_core::store::{
    Atomicity, Change, Expect, Item, ItemKey, Listing, Page, QueueHome, Space, StoreError,
    StoreLimits, Trouble, Version, WriteOutcome,
};

use super::mutant::Mutant;
use super::{Memory, State, error};

#[async_trait]
impl Store for Memory {
    fn limits(&self) -> StoreLimits {
        let character = self.place.character;
        StoreLimits {
            atomicity: character.atomicity,
            batch_changes_max: character.batch_changes_max,
            item_bytes_max: character.bytes_max,
            listing: character.listing,
            queue: character.queue,
        }
    }

    async fn read(&self, key: &ItemKey) -> Result<Option<Item>, StoreError> {
        let mutant = self.place.character.mutant;
        let item = self.lock().items.read(key, self.now(), mutant);
        if self.is(Mutant::ReadsAreRemembered) {
            return Ok(self.remembered(key, item));
        }
        if self.is(Mutant::AbsentIsEmpty) && item.is_none() {
            let (value, version) = (Bytes::new(), Version::new("0"));
            return Ok(Some(Item { key: key.clone(), value, version }));
        }
        Ok(item)
    }

    async fn write(&self, changes: Vec<Change>) -> WriteOutcome {
        let changes = self.tampered(changes);
        if let Err(error) = self.admits(&changes) {
            return WriteOutcome::Refused(error);
        }
        if self.is(Mutant::WriteIsTwoSteps) && self.lock().failing(&changes, self).is_empty() {
            tokio::task::yield_now().await;
            let versions = self.lock().apply(&changes, self);
            return WriteOutcome::Applied(versions);
        }
        if self.is(Mutant::ChangesAreApart) && self.lock().failing(&changes, self).is_empty() {
            return self.apply_one_by_one(&changes).await;
        }
        self.write_at_once(&changes)
    }

    async fn list(&self, page: &Page) -> Result<Vec<Item>, StoreError> {
        if self.place.character.listing == Listing::Unsupported {
            if self.is(Mutant::UnsupportedIsEmpty) {
                return Ok(Vec::new());
            }
            return Err(error(Trouble::Unsupported, "list", "listing is not offered"));
        }
        let mut items: Vec<Item> = self.lock().items.all(self.now()).collect();
        if self.is(Mutant::ListingIsOld) {
            items.pop();
        }
        let unordered = self.is(Mutant::TokensAreUnordered) && page.space == Space::Token;
        if self.is(Mutant::ListingJoinsKeys) || unordered {
            items.sort_by_key(|item| format!("{}{}", item.key.partition, item.key.key));
        }
        let after = |item: &Item| match &page.after {
            None => true,
            Some(after) if self.is(Mutant::ListingRepeatsTheLast) => item.key >= *after,
            Some(after) => item.key > *after,
        };
        let in_space =
            |item: &Item| self.is(Mutant::ListingShowsAllSpaces) || item.key.space == page.space;
        let limit = if self.is(Mutant::ListingIgnoresLimit) { usize::MAX } else { page.limit };
        Ok(items.into_iter().filter(|item| in_space(item) && after(item)).take(limit).collect())
    }
}

impl Memory {
    /// Whether the limits allow a batch.
    fn admits(&self, changes: &[Change]) -> Result<(), StoreError> {
        let refuse = |trouble, reason| Err(error(trouble, "write", reason));
        let limits = Store::limits(self);
        if self.is(Mutant::EmptyBatchIsRefused) && changes.is_empty() {
            return refuse(Trouble::Unsupported, "there is nothing to write");
        }
        if limits.queue == QueueHome::Elsewhere && changes.iter().any(is_of_queue) {
            return refuse(Trouble::Unsupported, "the queue is elsewhere");
        }
        if changes.iter().any(|c| matches!(c, Change::Enqueue(sent) if self.is_for_nobody(sent))) {
            return refuse(Trouble::Unsupported, "no subscribers");
        }
        if self.is(Mutant::LimitsAreIgnored) {
            return Ok(());
        }
        let kept_back = usize::from(self.is(Mutant::LargestIsRefused));
        if changes.iter().any(|change| bytes_of(change) > limits.item_bytes_max - kept_back) {
            return refuse(Trouble::TooLarge, "a value or message is too large");
        }
        if changes.len() > limits.batch_changes_max {
            return refuse(Trouble::TooLarge, "the batch has too many changes");
        }
        self.admits_together(changes)
    }

    fn admits_together(&self, changes: &[Change]) -> Result<(), StoreError> {
        let refuse = |reason| Err(error(Trouble::Unsupported, "write", reason));
        let keys: Vec<&ItemKey> = changes.iter().filter_map(key_of).collect();
        let partitions: BTreeSet<&str> = keys.iter().map(|key| key.partition.as_str()).collect();
        let atomicity = self.place.character.atomicity;
        if atomicity == Atomicity::OnePartition && partitions.len() > 1 {
            return refuse("the batch spans partitions");
        }
        let distinct: BTreeSet<&&ItemKey> = keys.iter().collect();
        if distinct.len() < keys.len() && !self.is(Mutant::ItemTwiceIsApplied) {
            return refuse("the batch names an item twice");
        }
        let receipts = || changes.iter().filter_map(receipt_of);
        let distinct: BTreeSet<&str> = receipts().collect();
        if distinct.len() < receipts().count() && !self.is(Mutant::DeliveryTwiceIsApplied) {
            return refuse("the batch settles a delivery twice");
        }
        Ok(())
    }

    fn write_at_once(&self, changes: &[Change]) -> WriteOutcome {
        let mut state = self.lock();
        let failing = state.failing(changes, self);
        if failing.is_empty() {
            let mut versions = state.apply(changes, self);
            if self.is(Mutant::VersionsInReverse) {
                versions.reverse();
            }
            return WriteOutcome::Applied(versions);
        }
        state.apply(&self.written_in_spite(changes, &failing), self);
        if self.is(Mutant::ConflictNamesTheFirst) {
            return WriteOutcome::Conflict(vec![0]);
        }
        WriteOutcome::Conflict(failing)
    }

    /// The changes that a conflict writes all the same: none, but for some mutants.
    fn written_in_spite(&self, changes: &[Change], failing: &[usize]) -> Vec<Change> {
        let slips = |change: &Change| match change {
            Change::Put { .. } | Change::Delete { .. } => self.is(Mutant::ConflictWritesTheRest),
            Change::Settle { .. } => self.is(Mutant::ConflictSettles),
            Change::Enqueue(_) => self.is(Mutant::ConflictQueues),
        };
        let others = changes.iter().enumerate().filter(|(n, _)| !failing.contains(n));
        others.map(|(_, change)| change).filter(|change| slips(change)).cloned().collect()
    }

    async fn apply_one_by_one(&self, changes: &[Change]) -> WriteOutcome {
        let mut versions = Vec::new();
        for change in changes {
            versions.extend(self.lock().apply(std::slice::from_ref(change), self));
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        WriteOutcome::Applied(versions)
    }

    /// What some mutants make of a batch before they look at it.
    fn tampered(&self, mut changes: Vec<Change>) -> Vec<Change> {
        let limit = self.place.character.bytes_max;
        if self.is(Mutant::QueueElsewhereIsDropped) {
            changes.retain(|change| !is_of_queue(change));
        }
        if self.is(Mutant::OversizeIsLeftOut) {
            changes.retain(|change| bytes_of(change) <= limit);
        }
        if self.is(Mutant::BatchQueuesInReverse) && changes.iter().all(is_of_queue) {
            changes.reverse();
        }
        if self.is(Mutant::BatchSettlesTheFirst) {
            let mut first = true;
            changes.retain(|change| receipt_of(change).is_none() || std::mem::take(&mut first));
        }
        changes
    }

    fn remembered(&self, key: &ItemKey, item: Option<Item>) -> Option<Item> {
        let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        let before = remembered.read(key, self.now(), Mutant::None);
        if let (None, Some(item)) = (&before, &item) {
            remembered.remember(item);
        }
        before.or(item)
    }
}

impl State {
    fn failing(&self, changes: &[Change], place: &Memory) -> Vec<usize> {
        let (now, mutant) = (place.now(), place.place.character.mutant);
        let holds = |change: &Change| match change {
            Change::Settle { receipt, .. } => {
                mutant == Mutant::BatchIgnoresReceipts
                    || self.messages.is_current(receipt, now, mutant)
            }
            _ => self.items.allows(change, now, mutant),
        };
        changes.iter().enumerate().filter(|(_, change)| !holds(change)).map(|(n, _)| n).collect()
    }

    fn apply(&mut self, changes: &[Change], place: &Memory) -> Vec<Option<Version>> {
        let (now, mutant) = (place.now(), place.place.character.mutant);
        let mut versions = Vec::new();
        for change in changes {
            versions.push(match change {
                Change::Put { key, value, keep, .. } => {
                    Some(self.items.put(key, value, *keep, now, mutant))
                }
                Change::Delete { expect: Expect::Absent, .. } => None,
                Change::Delete { key, .. } => {
                    self.items.delete(key, mutant);
                    None
                }
                Change::Enqueue(outgoing) => {
                    if mutant != Mutant::BatchQueuesNothing {
                        self.messages.queue(outgoing, now, mutant);
                    }
                    None
                }
                Change::Settle { receipt, settlement } => {
                    self.messages.settle_in_batch(receipt, settlement, now, mutant);
                    None
                }
            });
        }
        versions
    }
}

fn key_of(change: &Change) -> Option<&ItemKey> {
    match change {
        Change::Put { key, .. } | Change::Delete { key, .. } => Some(key),
        Change::Enqueue(_) | Change::Settle { .. } => None,
    }
}

fn receipt_of(change: &Change) -> Option<&str> {
    match change {
        Change::Settle { receipt, .. } => Some(receipt.as_str()),
        _ => None,
    }
}

fn is_of_queue(change: &Change) -> bool {
    key_of(change).is_none()
}

fn bytes_of(change: &Change) -> usize {
    match change {
        Change::Put { value, .. } => value.len(),
        Change::Enqueue(outgoing) => outgoing.envelope.size(),
        Change::Delete { .. } | Change::Settle { .. } => 0,
    }
}
