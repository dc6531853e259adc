//! What attempts write down before they commit: a record for each message, and parts beside it for
//! what is too large.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::case::Case;
use super::entity::unreadable;
use super::pending::Kept;
use super::{Outcome, Step};
use crate::StoreError;
use crate::broker::Outgoing;
use crate::store::{Change, Expect, Item, ItemKey, Keep, Space, Version};

/// The record of one message.
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

    /// A message that is done, with nothing left.
    pub(super) fn done() -> Self {
        Self::Done { left: Vec::new(), until_ms: 0 }
    }

    /// The record of a message, and what a write of it expects to find.
    pub(super) async fn load(case: &Case<'_>) -> Result<(Self, Expect), StoreError> {
        let item = case.store().read(&record_key(case.endpoint, &case.message())).await?;
        Ok(match item {
            Some(item) => (Self::read(&item)?, Expect::Version(item.version)),
            None => (Self::nothing(), Expect::Absent),
        })
    }

    /// Removes what attempts have staged that can no longer be committed; another record takes the
    /// place for a window. It does not name them any more, so their parts' places are barred as long:
    /// a slow attempt may still be about to write there.
    pub(super) async fn replace(
        self,
        case: &Case<'_>,
        by: Self,
        expect: Expect,
        window: Duration,
    ) -> Result<(), Outcome> {
        for parts in self.parts() {
            parts.bar(case, window).await?;
        }
        let key = record_key(case.endpoint, &case.message());
        case.write(by.to_put(key, expect, Keep::For(window))?).await.map(drop)
    }

    /// Makes the record under `key` done: the effects of an attempt are out. Its window begins once
    /// nothing is left.
    pub(super) async fn end(
        self,
        case: &Case<'_>,
        key: ItemKey,
        version: Version,
        attempt: &str,
        (window, lateness): (Duration, Duration),
    ) -> Result<Left, Outcome> {
        let left = self.parts();
        if left.is_empty() {
            close(case, key, version, window).await?;
            return Ok(Left::Nothing);
        }
        let until_ms = case.places.clock.now().after(lateness).unix_ms();
        let done = Self::Done { left: left.clone(), until_ms };
        let put = done.to_put(key.clone(), Expect::Version(version), Keep::Always)?;
        let version = case.write(put).await?.ok_or(Outcome::Conflict)?;
        for parts in &left {
            parts.delete(case).await?;
        }
        if left.iter().all(|parts| parts.attempt == attempt) {
            // Nobody writes those any more.
            close(case, key, version, window).await?;
            return Ok(Left::Nothing);
        }
        Ok(Left::Parts(lateness))
    }

    /// Removes what attempts left of a message that is done, once they cannot leave more.
    pub(super) async fn sweep(
        &self,
        case: &Case<'_>,
        item: &Item,
        window: Duration,
    ) -> Result<Left, Outcome> {
        let Self::Done { left, until_ms } = self else { return Ok(Left::Nothing) };
        if left.is_empty() {
            return Ok(Left::Nothing);
        }
        let wait_ms = until_ms.saturating_sub(case.places.clock.now().unix_ms());
        if let Ok(wait_ms @ 1..) = u64::try_from(wait_ms) {
            return Ok(Left::Parts(Duration::from_millis(wait_ms)));
        }
        for parts in left {
            parts.delete(case).await?;
        }
        close(case, item.key.clone(), item.version.clone(), window).await?;
        Ok(Left::Nothing)
    }

    /// What all its attempts have beside it.
    fn parts(&self) -> Vec<Parts> {
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

    /// Whether an attempt has staged.
    pub(super) fn has(&self, attempt: &str) -> bool {
        matches!(self, Self::Open { attempts, .. } if attempts.contains_key(attempt))
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

/// What lies in the place of a part that nobody is to write any more. It is no end of a JSON array,
/// and no item is so short that it is the beginning of one.
const BARRED: &[u8] = b"barred";

impl Parts {
    fn keys(&self, endpoint: &str) -> impl Iterator<Item = ItemKey> {
        (0..self.count).map(move |n| part_key(endpoint, &self.attempt, n))
    }

    async fn read(&self, case: &Case<'_>) -> Result<Option<Vec<Outgoing>>, Outcome> {
        let mut bytes = Vec::new();
        for key in self.keys(case.endpoint) {
            match case.store().read(&key).await? {
                Some(item) if item.value != BARRED => bytes.extend_from_slice(&item.value),
                _ => return Ok(None),
            }
        }
        let at = part_key(case.endpoint, &self.attempt, 0);
        let kept: Vec<Kept> =
            serde_json::from_slice(&bytes).map_err(|error| unreadable(&at, error.to_string()))?;
        Ok(Some(Kept::outgoing(&kept)?))
    }

    /// Puts what is nobody's into their places, for a while.
    async fn bar(&self, case: &Case<'_>, window: Duration) -> Result<(), Outcome> {
        case.begin(Step::CleanUp);
        for key in self.keys(case.endpoint) {
            let (value, expect) = (Bytes::from_static(BARRED), Expect::Anything);
            case.write(Change::Put { key, value, expect, keep: Keep::For(window) }).await?;
        }
        Ok(())
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

/// What is left to do about a message whose effects are out.
pub(super) enum Left {
    Nothing,
    /// Its parts are to be swept after this time.
    Parts(Duration),
}

/// Where the record of a message lies: beside inbox entries, none of which begins with a space. To
/// other protocols an entry says that the message was processed; a record need not.
pub(super) fn record_key(endpoint: &str, message: &str) -> ItemKey {
    ItemKey::new(Space::Inbox, endpoint, format!(" {message}"))
}

/// Begins the window of a record that is done and has nothing left.
async fn close(
    case: &Case<'_>,
    key: ItemKey,
    version: Version,
    window: Duration,
) -> Result<(), Outcome> {
    let put = Record::done().to_put(key, Expect::Version(version), Keep::For(window))?;
    case.write(put).await.map(drop)
}

/// Writes the parts of an attempt. Nobody else writes under its name, but to bar its places.
pub(super) async fn write_parts(
    case: &Case<'_>,
    attempt: &str,
    parts: Vec<Vec<u8>>,
) -> Result<(), Outcome> {
    for (n, part) in parts.into_iter().enumerate() {
        let key = part_key(case.endpoint, attempt, n);
        let (value, expect, keep) = (part.into(), Expect::Absent, Keep::Always);
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
