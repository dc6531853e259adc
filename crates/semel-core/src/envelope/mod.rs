//! The envelope: a message with its identity, as it is carried.
//!
//! It follows [CloudEvents 1.0](https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md).
//! [`json`] is the structured JSON format; [`headers`] is the binary mode, where the attributes
//! travel as headers and the data as the body.

mod attributes;
pub mod headers;
pub mod json;

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;

use crate::Timestamp;

/// The extension attribute that names the conversation a message belongs to.
pub const CONVERSATION: &str = "conversationid";
/// The extension attribute that names the message which caused this one.
pub const CAUSATION: &str = "causationid";
/// The extension attribute by which a queue keeps messages in order (CloudEvents *Partitioning*).
pub const PARTITION_KEY: &str = "partitionkey";
/// The extension attribute that names the token of a message: the realm it lies in, a colon, its id.
pub const TOKEN: &str = "token";
/// The extension attribute of W3C Trace Context (CloudEvents *Distributed Tracing*).
pub const TRACE_PARENT: &str = "traceparent";

/// The content type of data that Semel encodes by itself.
pub const JSON_CONTENT: &str = "application/json";

/// A message with its attributes, as carried.
///
/// Within one receiving endpoint, `source` and `id` together are the identity by which duplicates
/// are recognised: a CloudEvents id is unique only for its source.
///
/// ```
/// use semel_core::Envelope;
///
/// let envelope = Envelope::new("17", "/orders", "order.placed", br#"{"total":3}"#.as_slice());
/// let json = semel_core::envelope::json::encode(&envelope);
/// assert_eq!(semel_core::envelope::json::decode(&json)?, envelope);
/// # Ok::<(), semel_core::EnvelopeError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Envelope {
    /// Unique for its source.
    pub id: String,
    /// Who sent it: a URI reference, such as `/orders`.
    pub source: String,
    /// The stable, explicit name of the message's type (`type` in CloudEvents).
    pub kind: String,
    /// What the message is about: with Semel, the key of the entity it is for.
    pub subject: Option<String>,
    /// When it was sent, to the millisecond.
    pub time: Option<Timestamp>,
    /// The media type of `data` (`datacontenttype`); absent means JSON.
    pub content_type: Option<String>,
    /// A URI of the schema that `data` follows (`dataschema`).
    pub schema: Option<String>,
    /// Further attributes by name: lower-case letters and digits.
    pub extensions: BTreeMap<String, Extension>,
    /// The encoded message. Empty data and absent data are one and the same.
    pub data: Bytes,
}

/// The value of an extension attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Extension {
    /// `true` or `false`.
    Boolean(bool),
    /// A whole number in 32 bits, as CloudEvents has it.
    Integer(i32),
    /// Anything else, as text.
    Text(String),
}

impl fmt::Display for Extension {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Boolean(value) => write!(f, "{value}"),
            Self::Integer(value) => write!(f, "{value}"),
            Self::Text(value) => f.write_str(value),
        }
    }
}

/// Shows the attributes and the length of the data, not the data: logs hold no secrets.
impl fmt::Debug for Envelope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Envelope")
            .field("id", &self.id)
            .field("source", &self.source)
            .field("type", &self.kind)
            .field("subject", &self.subject)
            .field("extensions", &self.extensions)
            .field("data_bytes", &self.data.len())
            .finish_non_exhaustive()
    }
}

impl Envelope {
    /// An envelope around JSON `data`.
    pub fn new(
        id: impl Into<String>,
        source: impl Into<String>,
        kind: impl Into<String>,
        data: impl Into<Bytes>,
    ) -> Self {
        Self {
            id: id.into(),
            source: source.into(),
            kind: kind.into(),
            subject: None,
            time: None,
            content_type: Some(JSON_CONTENT.to_owned()),
            schema: None,
            extensions: BTreeMap::new(),
            data: data.into(),
        }
    }

    /// The extension attribute `name` as text, if it is present and is text.
    pub fn text(&self, name: &str) -> Option<&str> {
        match self.extensions.get(name) {
            Some(Extension::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// Sets the extension attribute `name` to `text`.
    pub fn set_text(&mut self, name: &str, text: impl Into<String>) {
        self.extensions.insert(name.to_owned(), Extension::Text(text.into()));
    }

    /// Whether `data` is JSON according to the content type (absent, `…/json`, or `…+json`).
    pub fn holds_json(&self) -> bool {
        self.content_type.as_deref().is_none_or(is_json)
    }

    /// Roughly the bytes this envelope takes where it is stored: attributes and data.
    pub fn size(&self) -> usize {
        let optional = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        let extensions: usize = self
            .extensions
            .iter()
            .map(|(name, value)| match value {
                Extension::Text(text) => name.len() + text.len(),
                Extension::Boolean(_) | Extension::Integer(_) => name.len() + 8,
            })
            .sum();
        self.id.len()
            + self.source.len()
            + self.kind.len()
            + optional(&self.subject)
            + optional(&self.content_type)
            + optional(&self.schema)
            + extensions
            + self.data.len()
    }

    /// Checks what CloudEvents asks of the attributes: what passes can be encoded and decoded again.
    ///
    /// Whether `source` and `schema` are URIs is left to those who use them.
    pub fn validate(&self) -> Result<(), EnvelopeError> {
        attributes::check(self)
    }
}

fn is_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence.ends_with("/json") || essence.ends_with("+json")
}

/// The attributes that CloudEvents itself defines; no extension may take their names.
pub(crate) const CORE_ATTRIBUTES: [&str; 11] = [
    "specversion",
    "id",
    "source",
    "type",
    "subject",
    "time",
    "datacontenttype",
    "dataschema",
    "data",
    "data_base64",
    "datacontentencoding",
];

/// Whether `name` may name an extension attribute.
pub(crate) fn is_extension_name(name: &str) -> bool {
    !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
        && !CORE_ATTRIBUTES.contains(&name)
}

/// Why bytes or headers are not an envelope.
///
/// The receiver dead-letters such a message as it came; its sender must be mended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EnvelopeError {
    /// A required attribute is absent or empty.
    #[error("the CloudEvents attribute `{attribute}` is missing or empty; the sender must set it")]
    Missing {
        /// Its CloudEvents name.
        attribute: &'static str,
    },
    /// An attribute has a value that its type does not allow.
    #[error("the CloudEvents attribute `{attribute}` is not {expected}")]
    Value {
        /// Its CloudEvents name.
        attribute: String,
        /// What it should have been.
        expected: &'static str,
    },
    /// An extension attribute has a name that CloudEvents forbids.
    #[error(
        "`{name}` cannot name an extension attribute: use lower-case letters and digits, and no \
         name that CloudEvents reserves"
    )]
    ExtensionName {
        /// The name as it came.
        name: String,
    },
    /// An attribute, or the data, is given twice.
    #[error("the CloudEvents attribute `{attribute}` is given twice; the sender must choose")]
    Duplicate {
        /// Its CloudEvents name.
        attribute: String,
    },
    /// The data is given both as JSON or text and as Base64.
    #[error("the event has both `data` and `data_base64`; the sender must choose")]
    DataTwice,
    /// The version of CloudEvents is not one that Semel reads.
    #[error("CloudEvents version `{version}` is not supported; send version 1.0")]
    Version {
        /// The version as it came.
        version: String,
    },
    /// The bytes are not the JSON of an event.
    #[error("this is not a CloudEvents JSON document: {reason}")]
    Json {
        /// What the JSON parser says, with line and column.
        reason: String,
    },
}

impl EnvelopeError {
    fn value(attribute: impl Into<String>, expected: &'static str) -> Self {
        Self::Value { attribute: attribute.into(), expected }
    }
}
