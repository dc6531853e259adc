//! The entity's item of protocols that keep their books beside the state.
//!
//! As JSON: `{"semel":"outbox","state":{"json":…},"books":…}`. The first field names the protocol, so
//! that no other one takes the item for its own.

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::case::Case;
use super::{Outcome, Processed, Step, message_key};
use crate::store::{Change, Expect, Item, ItemKey, Keep, Space, Trouble};
use crate::{Envelope, Store, StoreError};

/// What every item with books begins with.
const MARK: &[u8] = br#"{"semel":""#;

/// Bytes inside JSON: as they are where they are JSON themselves.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Data {
    #[serde(rename = "json")]
    Json(Box<RawValue>),
    #[serde(rename = "base64")]
    Base64(String),
}

impl From<&Bytes> for Data {
    fn from(bytes: &Bytes) -> Self {
        use base64::Engine as _;
        match serde_json::from_slice(bytes) {
            Ok(json) => Self::Json(json),
            Err(_) => Self::Base64(base64::engine::general_purpose::STANDARD.encode(bytes)),
        }
    }
}

impl Data {
    pub(super) fn bytes(&self) -> Result<Bytes, String> {
        use base64::Engine as _;
        match self {
            Self::Json(json) => Ok(Bytes::copy_from_slice(json.get().as_bytes())),
            Self::Base64(text) => base64::engine::general_purpose::STANDARD
                .decode(text)
                .map(Bytes::from)
                .map_err(|error| error.to_string()),
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Stored<B> {
    semel: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    state: Option<Data>,
    books: B,
}

/// An entity's state with the books of a protocol.
#[derive(Debug)]
pub(super) struct Entity<B> {
    /// The user's state; none before the first message.
    pub(super) state: Option<Bytes>,
    /// What the protocol remembers beside it.
    pub(super) books: B,
    key: ItemKey,
    protocol: &'static str,
    expect: Expect,
}

impl<B: Default + Serialize + DeserializeOwned> Entity<B> {
    /// Reads it. A state without books, as protocols write it that keep none, begins new ones.
    pub(super) async fn load(case: &Case<'_>, protocol: &'static str) -> Result<Self, StoreError> {
        case.begin(Step::LoadEntity);
        let key = case.entity_key();
        match case.store().read(&key).await? {
            Some(item) => Self::open(item, protocol),
            None => {
                let (books, expect) = (B::default(), Expect::Absent);
                Ok(Self { state: None, books, key, protocol, expect })
            }
        }
    }

    /// Another entity, where it has books of this protocol. Whoever names one may be mistaken: that of
    /// another protocol is no error.
    pub(super) async fn find(
        store: &dyn Store,
        key: &ItemKey,
        protocol: &'static str,
    ) -> Result<Option<Self>, StoreError> {
        let Some(item) = store.read(key).await? else { return Ok(None) };
        match owner(&item.value) {
            Some(Ok(owner)) if owner == protocol => Self::open(item, protocol).map(Some),
            _ => Ok(None),
        }
    }

    fn open(item: Item, protocol: &'static str) -> Result<Self, StoreError> {
        let Item { key, value, version } = item;
        let (state, books) = match owner(&value) {
            None => (Some(value), B::default()),
            Some(Ok(owner)) if owner == protocol => {
                parse(&value).map_err(|reason| unreadable(&key, reason))?
            }
            Some(other) => return Err(foreign(&key, protocol, other)),
        };
        Ok(Self { state, books, key, protocol, expect: Expect::Version(version) })
    }

    /// Writes it on condition that nobody changed it since.
    pub(super) async fn save(&mut self, case: &Case<'_>) -> Result<(), Outcome> {
        let key = self.key.clone();
        let stored = Stored {
            semel: self.protocol.to_owned(),
            state: self.state.as_ref().map(Data::from),
            books: &self.books,
        };
        let value = serde_json::to_vec(&stored)
            .map_err(|error| unreadable(&key, error.to_string()))?
            .into();
        let put = Change::Put { key, value, expect: self.expect.clone(), keep: Keep::Always };
        if let Some(version) = case.write(put).await? {
            self.expect = Expect::Version(version);
        }
        Ok(())
    }
}

/// Whether the books of an entity say that a message has a committed attempt.
pub(super) async fn processed<B: DeserializeOwned>(
    endpoint: &str,
    envelope: &Envelope,
    entity: Option<&str>,
    store: &dyn Store,
    protocol: &str,
    says: impl Fn(&B, &str) -> bool + Send,
) -> Result<Processed, StoreError> {
    let Some(entity) = entity else { return Ok(Processed::Unknown) };
    let key = ItemKey::new(Space::Entity, endpoint, entity);
    let Some(item) = store.read(&key).await? else { return Ok(Processed::Unknown) };
    let books: B = match owner(&item.value) {
        None => return Ok(Processed::Unknown),
        Some(Ok(owner)) if owner == protocol => {
            parse(&item.value).map_err(|reason| unreadable(&key, reason))?.1
        }
        Some(other) => return Err(foreign(&key, protocol, other)),
    };
    let is_processed = says(&books, &message_key(envelope));
    Ok(if is_processed { Processed::Yes } else { Processed::Unknown })
}

/// The user's state in an entity's item, whichever protocol wrote it; none where there is none yet.
///
/// ```
/// use semel_core::protocols::state_in;
///
/// let item = br#"{"semel":"outbox","state":{"json":{"pence":5}},"books":{}}"#;
/// assert_eq!(state_in(item)?.as_deref(), Some(br#"{"pence":5}"#.as_slice()));
/// assert_eq!(state_in(br#"{"pence":5}"#)?.as_deref(), Some(br#"{"pence":5}"#.as_slice()));
/// # Ok::<(), String>(())
/// ```
///
/// # Errors
/// The item begins like one with books, but is none.
pub fn state_in(item: &[u8]) -> Result<Option<Bytes>, String> {
    match owner(item) {
        None => Ok(Some(Bytes::copy_from_slice(item))),
        Some(_) => parse::<serde::de::IgnoredAny>(item).map(|(state, _)| state),
    }
}

/// The state in the item of a protocol that keeps no books in the entity, and what a write of it
/// expects to find.
pub(super) fn with_version(
    item: Option<Item>,
    protocol: &str,
) -> Result<(Option<Bytes>, Expect), StoreError> {
    let Some(item) = item else { return Ok((None, Expect::Absent)) };
    match owner(&item.value) {
        None => Ok((Some(item.value), Expect::Version(item.version))),
        Some(other) => Err(foreign(&item.key, protocol, other)),
    }
}

/// The protocol whose books an item holds, if any.
fn owner(item: &[u8]) -> Option<Result<String, String>> {
    #[derive(Deserialize)]
    struct Owner {
        semel: String,
    }
    item.starts_with(MARK).then(|| {
        let owner: Result<Owner, _> = serde_json::from_slice(item);
        owner.map(|owner| owner.semel).map_err(|error| error.to_string())
    })
}

fn parse<B: DeserializeOwned>(item: &[u8]) -> Result<(Option<Bytes>, B), String> {
    let stored: Stored<B> = serde_json::from_slice(item).map_err(|error| error.to_string())?;
    let state = stored.state.map(|state| state.bytes()).transpose()?;
    Ok((state, stored.books))
}

fn foreign(key: &ItemKey, wanted: &str, owner: Result<String, String>) -> StoreError {
    match owner {
        Err(reason) => unreadable(key, reason),
        Ok(owner) => StoreError {
            trouble: Trouble::Broken,
            store: key.to_string(),
            operation: "read the entity",
            reason: format!("it was written under `{owner}`, and this endpoint runs `{wanted}`"),
            help: "Go back to the protocol that wrote it, or move its entities: see \
                   docs/operations.md."
                .to_owned(),
        },
    }
}

/// What lies under `key` is not what it should be.
pub(super) fn unreadable(key: &ItemKey, reason: String) -> StoreError {
    StoreError {
        trouble: Trouble::Broken,
        store: key.to_string(),
        operation: "read the item",
        reason,
        help: "A newer version of Semel wrote it, or someone changed it: repair it by hand."
            .to_owned(),
    }
}
