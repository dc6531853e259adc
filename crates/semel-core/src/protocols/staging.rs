//! What attempts write down before they commit: a record for each message, and parts beside it for
//! what is too large.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::case::Case;
use super::entity::unreadable;
use super::pending::Kept;
use super::{Outcome, Step};
use crate::StoreError;
use crate::broker::Outgoing;
use crate::store::{Change, Expect, Item, ItemKey, Keep, Space};

/// The record of one message: where its inbox entry would be.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Record {
    /// The effects of each attempt that may be committed.
    #[serde(rename = "open")]
    Open {
        attempts: BTreeMap<String, Staged>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        left: Vec<Parts>,
    },
    /// The effects of one are out. What attempts left is swept once it can no longer grow.
    #[serde(rename = "done")]
    Done {
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        left: Vec<Parts>,
        #[serde(default, skip_serializing_if = "is_never")]
        until_ms: i64,
    },
}

fn is_never(ms: &i64) -> bool {
    *ms == 0
}

/// The effects of one attempt.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Staged {
    /// The number of the entity's version that it began with.
    pub(super) number: u64,
    effects: Effects,
}

#[derive(Debug, Serialize, Deserialize)]
enum Effects {
    #[serde(rename = "here")]
    Here(Vec<Kept>),
    /// Too large for the record.
    #[serde(rename = "apart")]
    Apart(Parts),
}

/// Items that together hold the effects of one attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Parts {
    attempt: String,
    count: usize,
}

impl Record {
    /// No attempt has staged anything.
    pub(super) fn nothing() -> Self {
        Self::Open { attempts: BTreeMap::new(), left: Vec::new() }
    }

    pub(super) fn read(item: &Item) -> Result<Self, StoreError> {
        serde_json::from_slice(&item.value)
            .map_err(|error| unreadable(&item.key, error.to_string()))
    }

    pub(super) fn to_put(
        &self,
        key: ItemKey,
        expect: Expect,
        keep: Keep,
    ) -> Result<Change, StoreError> {
        let value =
            serde_json::to_vec(self).map_err(|error| unreadable(&key, error.to_string()))?.into();
        Ok(Change::Put { key, value, expect, keep })
    }

    /// What all its attempts have beside it.
    pub(super) fn parts(&self) -> Vec<Parts> {
        match self {
            Self::Done { left, .. } => left.clone(),
            Self::Open { attempts, left } => {
                let apart = attempts.values().filter_map(|staged| staged.parts().cloned());
                left.iter().cloned().chain(apart).collect()
            }
        }
    }

    /// Adds an attempt; parts to write beside the record where it would grow too large. Attempts that
    /// began with an older version of the entity can no longer be committed: they go.
    pub(super) fn add(
        &mut self,
        attempt: &str,
        number: u64,
        messages: &[Outgoing],
        bytes_max: usize,
    ) -> Result<Vec<Vec<u8>>, StoreError> {
        let Self::Open { attempts, left } = self else { return Ok(Vec::new()) };
        attempts.retain(|_, staged| {
            let is_live = staged.number >= number;
            left.extend(staged.parts().filter(|_| !is_live).cloned());
            is_live
        });
        let kept = Kept::all(messages)?;
        let bytes = to_json(&kept)?;
        let here = Staged { number, effects: Effects::Here(kept) };
        attempts.insert(attempt.to_owned(), here);
        if to_json(self)?.len() <= bytes_max {
            return Ok(Vec::new());
        }
        let parts: Vec<Vec<u8>> = bytes.chunks(bytes_max.max(1)).map(<[u8]>::to_vec).collect();
        if let Self::Open { attempts, .. } = self {
            let apart = Parts { attempt: attempt.to_owned(), count: parts.len() };
            attempts.insert(attempt.to_owned(), Staged { number, effects: Effects::Apart(apart) });
        }
        Ok(parts)
    }

    /// The effects of an attempt; none where it has no such attempt, or its parts are gone.
    pub(super) async fn effects(
        &self,
        case: &Case<'_>,
        attempt: &str,
    ) -> Result<Option<Vec<Outgoing>>, Outcome> {
        let Self::Open { attempts, .. } = self else { return Ok(None) };
        match attempts.get(attempt).map(|staged| &staged.effects) {
            None => Ok(None),
            Some(Effects::Here(kept)) => Ok(Some(Kept::outgoing(kept)?)),
            Some(Effects::Apart(parts)) => parts.read(case).await,
        }
    }
}

impl Staged {
    fn parts(&self) -> Option<&Parts> {
        match &self.effects {
            Effects::Here(_) => None,
            Effects::Apart(parts) => Some(parts),
        }
    }
}

impl Parts {
    /// Whether they are those of an attempt.
    pub(super) fn is_of(&self, attempt: &str) -> bool {
        self.attempt == attempt
    }

    fn keys(&self, endpoint: &str) -> impl Iterator<Item = ItemKey> {
        (0..self.count).map(move |n| part_key(endpoint, &self.attempt, n))
    }

    async fn read(&self, case: &Case<'_>) -> Result<Option<Vec<Outgoing>>, Outcome> {
        let mut bytes = Vec::new();
        for key in self.keys(case.endpoint) {
            match case.store().read(&key).await? {
                Some(item) => bytes.extend_from_slice(&item.value),
                None => return Ok(None),
            }
        }
        let at = part_key(case.endpoint, &self.attempt, 0);
        let kept: Vec<Kept> =
            serde_json::from_slice(&bytes).map_err(|error| unreadable(&at, error.to_string()))?;
        Ok(Some(Kept::outgoing(&kept)?))
    }

    /// Deletes them, as far as they are there.
    pub(super) async fn delete(&self, case: &Case<'_>) -> Result<(), Outcome> {
        case.begin(Step::CleanUp);
        for key in self.keys(case.endpoint) {
            case.write(Change::Delete { key, expect: Expect::Anything }).await?;
        }
        Ok(())
    }
}

/// Writes the parts of an attempt. Nobody else writes under its name.
pub(super) async fn write_parts(
    case: &Case<'_>,
    attempt: &str,
    parts: Vec<Vec<u8>>,
) -> Result<(), Outcome> {
    for (n, part) in parts.into_iter().enumerate() {
        let key = part_key(case.endpoint, attempt, n);
        let (value, expect, keep) = (part.into(), Expect::Anything, Keep::Always);
        case.write(Change::Put { key, value, expect, keep }).await?;
    }
    Ok(())
}

fn part_key(endpoint: &str, attempt: &str, n: usize) -> ItemKey {
    ItemKey::new(Space::Outbox, endpoint, format!("{attempt} {n}"))
}

fn to_json(value: &impl Serialize) -> Result<Vec<u8>, StoreError> {
    let at = ItemKey::new(Space::Outbox, "", "");
    serde_json::to_vec(value).map_err(|error| unreadable(&at, error.to_string()))
}
