//! Data sets and their ids.

use std::fmt;

use semel_core::store::{ItemKey, Space};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::Problem;

/// A private unit of data behind the edge, such as a cart.
///
/// ```
/// #[derive(serde::Serialize, serde::Deserialize)]
/// struct Cart {
///     gifts: Vec<String>,
/// }
///
/// impl semel_http::DataSet for Cart {
///     const KIND: &'static str = "cart";
/// }
/// ```
///
/// # Contract
/// `KIND` stays when the Rust type is renamed, and is never used for something else: stored data
/// sets and the identities of messages are named by it. A data set of kind `cart` is the entity of
/// an endpoint `edge.cart`; no real endpoint may have that name.
pub trait DataSet: Serialize + DeserializeOwned + Send + 'static {
    /// The stable name of this kind of data set.
    const KIND: &'static str;
}

/// The id of a data set, minted by the server.
///
/// It carries 74 random bits behind the time it was minted: whoever knows it may use the data set,
/// so it is as secret as a password. No message holds it, unless your function puts it there.
///
/// As a path parameter (`Path<DataSetId>`) it takes any text, so that one which was never minted is
/// answered as any other unknown id.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DataSetId(String);

impl DataSetId {
    pub(crate) fn new(minted: Uuid) -> Self {
        Self(minted.to_string())
    }

    /// The id as text, for paths and JSON.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Where the data set lies, or that nothing can have this id.
    pub(crate) fn place<S: DataSet>(&self) -> Result<ItemKey, Problem> {
        match Uuid::parse_str(&self.0) {
            // The one way in which we write it: a data set has one name.
            Ok(id) if id.to_string() == self.0 => {
                Ok(ItemKey::new(Space::Entity, format!("edge.{}", S::KIND), &self.0))
            }
            _ => Err(Problem::unknown_id()),
        }
    }
}

impl From<&str> for DataSetId {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Display for DataSetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Hides the id: logs hold no secrets.
impl fmt::Debug for DataSetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DataSetId(…)")
    }
}
