//! Items, their versions and windows.

use std::collections::BTreeMap;

use bytes::Bytes;
use semel_core::Timestamp;
use semel_core::store::{Change, Expect, Item, ItemKey, Keep, Space, Version};

use super::mutant::Mutant;

/// The items of a place.
#[derive(Debug, Default)]
pub(super) struct Items {
    rows: BTreeMap<ItemKey, Row>,
    writes: u64,
}

#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) value: Bytes,
    pub(super) version: Version,
    pub(super) until: Option<Timestamp>,
}

impl Items {
    pub(super) fn read(&self, key: &ItemKey, now: Timestamp, mutant: Mutant) -> Option<Item> {
        let row = self.rows.get(&stored(key, mutant)).filter(|row| row.lives(now))?;
        if mutant == Mutant::EmptyValueIsAbsent && row.value.is_empty() {
            return None;
        }
        Some(row.item(key))
    }

    /// Whether the condition of `change` holds.
    pub(super) fn allows(&self, change: &Change, now: Timestamp, mutant: Mutant) -> bool {
        let (Change::Put { key, expect, .. } | Change::Delete { key, expect }) = change else {
            return true;
        };
        if mutant == Mutant::TokensIgnoreConditions && key.space == Space::Token {
            return true;
        }
        let is_put = matches!(change, Change::Put { .. });
        let sees_expired = mutant == Mutant::ExpiredBlocksCreate;
        let row = self.rows.get(&stored(key, mutant)).filter(|row| sees_expired || row.lives(now));
        match (expect, row) {
            (Expect::Absent, Some(_)) if is_put => mutant == Mutant::CreateOverwrites,
            _ if !is_put && mutant == Mutant::DeleteChecksNothing => true,
            (Expect::Absent, row) => row.is_none(),
            (Expect::Version(_), row) if mutant == Mutant::OldVersionWins => row.is_some(),
            (Expect::Version(version), row) => row.is_some_and(|row| row.version == *version),
            (Expect::Anything, row) => mutant != Mutant::AnythingExpectsAnItem || row.is_some(),
        }
    }

    pub(super) fn put(
        &mut self,
        key: &ItemKey,
        value: &Bytes,
        keep: Keep,
        now: Timestamp,
        mutant: Mutant,
    ) -> Version {
        let key = stored(key, mutant);
        let before = self.rows.get(&key).filter(|row| row.lives(now)).cloned();
        self.writes += 1;
        let version = match mutant {
            Mutant::VersionsRestart => next_of(before.as_ref()),
            Mutant::VersionIsTheValue => value.escape_ascii().to_string(),
            _ => self.writes.to_string(),
        };
        let mut until = match keep {
            Keep::Always => None,
            Keep::For(span) if mutant == Mutant::WindowEndsEarly => Some(now.after(span / 2)),
            Keep::For(_) if mutant == Mutant::TokensHaveNoWindow && key.space == Space::Token => {
                Some(now)
            }
            Keep::For(span) => Some(now.after(span)),
        };
        if let (Some(before), Mutant::WindowIsThatOfTheCreate) = (before, mutant) {
            until = before.until;
        }
        let version = Version::new(version);
        self.rows.insert(key, Row { value: value.clone(), version: version.clone(), until });
        version
    }

    pub(super) fn delete(&mut self, key: &ItemKey, mutant: Mutant) {
        self.rows.remove(&stored(key, mutant));
    }

    /// The items that live, in order.
    pub(super) fn all(&self, now: Timestamp) -> impl Iterator<Item = Item> {
        self.rows.iter().filter(move |(_, row)| row.lives(now)).map(|(key, row)| row.item(key))
    }

    pub(super) fn count(&self, space: Space, partition: &str, now: Timestamp) -> u64 {
        let of = |item: &Item| item.key.space == space && item.key.partition == partition;
        self.all(now).filter(of).count() as u64
    }

    /// Keeps an item as it was read elsewhere.
    pub(super) fn remember(&mut self, item: &Item) {
        let row = Row { value: item.value.clone(), version: item.version.clone(), until: None };
        self.rows.insert(item.key.clone(), row);
    }
}

impl Row {
    fn lives(&self, now: Timestamp) -> bool {
        self.until.is_none_or(|until| now < until)
    }

    fn item(&self, key: &ItemKey) -> Item {
        Item { key: key.clone(), value: self.value.clone(), version: self.version.clone() }
    }
}

fn next_of(before: Option<&Row>) -> String {
    let last: u64 = before.and_then(|row| row.version.as_str().parse().ok()).unwrap_or(0);
    (last + 1).to_string()
}

/// The key under which an item is stored.
fn stored(key: &ItemKey, mutant: Mutant) -> ItemKey {
    let mut key = key.clone();
    match mutant {
        Mutant::SpacesMeet => key.space = Space::Entity,
        Mutant::KeysIgnoreCase => key.key = key.key.to_lowercase(),
        Mutant::KeysEndAtNul => {
            key.key = key.key.split('\0').next().unwrap_or_default().to_owned();
        }
        Mutant::LongKeysAreCut => key.key = key.key.chars().take(255).collect(),
        _ => {}
    }
    key
}
