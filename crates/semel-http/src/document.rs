//! What the edge keeps in the store.

use std::collections::BTreeMap;

use bytes::Bytes;
use semel_core::store::{Item, ItemKey, Space, Version};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{Fingerprint, IdempotencyKey, Problem, Reply};

/// A data set as it is stored.
#[derive(Serialize, Deserialize)]
pub(crate) struct Document<S> {
    /// Which attempt wrote it: tells, after a lost reply, whether ours did.
    pub(crate) attempt: Uuid,
    pub(crate) data: S,
    /// The actions that happened, with their responses.
    #[serde(default = "BTreeMap::new", skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) replies: BTreeMap<String, Reply>,
}

/// A document with the version that a change of it expects.
pub(crate) struct Loaded<S> {
    pub(crate) document: Document<S>,
    pub(crate) version: Version,
}

/// What was answered under an idempotency key.
#[derive(Serialize, Deserialize)]
pub(crate) struct KeyRecord {
    pub(crate) action: String,
    pub(crate) fingerprint: Fingerprint,
    pub(crate) reply: Reply,
}

/// The part of a document that [`written_by`] reads.
#[derive(Deserialize)]
struct Stamp {
    attempt: Uuid,
}

/// Where the record of `key` lies: in the partition of its data set, and under its id.
pub(crate) fn key_place(data_set: &ItemKey, key: &IdempotencyKey) -> ItemKey {
    // The id has no spaces, so that no two pairs look alike.
    let name = format!("{} {}", data_set.key, key.as_str());
    ItemKey::new(Space::Reply, &data_set.partition, name)
}

/// Which attempt wrote this document, if it is one.
pub(crate) fn written_by(item: &Item) -> Option<Uuid> {
    serde_json::from_slice::<Stamp>(&item.value).ok().map(|stamp| stamp.attempt)
}

pub(crate) fn encode<T: Serialize>(value: &T) -> Result<Bytes, Problem> {
    serde_json::to_vec(value).map(Bytes::from).map_err(Problem::internal)
}

pub(crate) fn decode<T: DeserializeOwned>(item: &Item) -> Result<T, Problem> {
    serde_json::from_slice(&item.value).map_err(|error| {
        let kind = &item.key.partition;
        Problem::internal(format!(
            "a record of `{kind}` cannot be read: {error}; deploy a version that can"
        ))
    })
}
