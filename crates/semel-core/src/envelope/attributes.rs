//! The attributes by name: what the two modes share.

use std::borrow::Cow;
use std::collections::BTreeMap;

use bytes::Bytes;

use super::{Envelope, EnvelopeError, Extension, is_extension_name};
use crate::Timestamp;

/// The one version of CloudEvents that Semel writes and reads.
///
/// The specification leaves patch releases out of this attribute, and a producer of version 1.0
/// must write exactly `1.0`. What a `1.1` would mean is not known here, so it is refused.
const SPEC_VERSION: &str = "1.0";

/// The attributes of `envelope` that CloudEvents defines, but not `datacontenttype`: in the binary
/// mode it has a header of its own.
pub(super) fn defined(envelope: &Envelope) -> impl Iterator<Item = (&'static str, Cow<'_, str>)> {
    let time = envelope.time.map(|time| Cow::Owned(time.to_string()));
    [
        ("specversion", Some(Cow::Borrowed(SPEC_VERSION))),
        ("id", Some(Cow::Borrowed(envelope.id.as_str()))),
        ("source", Some(Cow::Borrowed(envelope.source.as_str()))),
        ("type", Some(Cow::Borrowed(envelope.kind.as_str()))),
        ("subject", envelope.subject.as_deref().map(Cow::Borrowed)),
        ("time", time),
        ("dataschema", envelope.schema.as_deref().map(Cow::Borrowed)),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name, value?)))
}

/// Checks what [`Envelope::validate`] promises.
pub(super) fn check(envelope: &Envelope) -> Result<(), EnvelopeError> {
    for (name, value) in defined(envelope) {
        check_defined(name, &value)?;
    }
    if let Some(content_type) = &envelope.content_type {
        check_defined("datacontenttype", content_type)?;
    }
    envelope.extensions.iter().try_for_each(|(name, value)| check_extension(name, value))
}

fn check_defined(name: &'static str, value: &str) -> Result<(), EnvelopeError> {
    match name {
        "id" | "source" | "type" if value.is_empty() => {
            Err(EnvelopeError::Missing { attribute: name })
        }
        _ if value.is_empty() => {
            Err(EnvelopeError::value(name, "a string of at least one character"))
        }
        "datacontenttype" if !value.is_ascii() => {
            Err(EnvelopeError::value(name, "a media type, which is ASCII"))
        }
        "time" if !is_rfc3339(value) => {
            Err(EnvelopeError::value(name, "within the years 0 to 9999"))
        }
        _ => check_text(name, value),
    }
}

fn check_extension(name: &str, value: &Extension) -> Result<(), EnvelopeError> {
    if !is_extension_name(name) {
        return Err(EnvelopeError::ExtensionName { name: name.to_owned() });
    }
    match value {
        Extension::Text(text) => check_text(name, text),
        Extension::Boolean(_) | Extension::Integer(_) => Ok(()),
    }
}

/// CloudEvents forbids control characters: headers and many databases cannot hold them.
fn check_text(name: &str, text: &str) -> Result<(), EnvelopeError> {
    if text.contains(char::is_control) {
        return Err(EnvelopeError::value(name, "free of control characters"));
    }
    Ok(())
}

/// Whether a [`Timestamp`] was displayed as RFC 3339: with four digits for the year and no sign.
fn is_rfc3339(time: &str) -> bool {
    !time.starts_with('-') && Timestamp::parse(time).is_some()
}

/// The attributes of an envelope that is being read. Its version is one that Semel knows.
pub(super) struct Attributes(BTreeMap<String, Extension>);

impl Attributes {
    /// Starts with the version, so that an event of another version is not judged by the rules of
    /// this one.
    pub(super) fn of_version(version: Option<Extension>) -> Result<Self, EnvelopeError> {
        match version {
            None => Err(EnvelopeError::Missing { attribute: "specversion" }),
            Some(version) if version == Extension::Text(SPEC_VERSION.to_owned()) => {
                Ok(Self(BTreeMap::new()))
            }
            Some(version) => Err(EnvelopeError::Version { version: version.to_string() }),
        }
    }

    pub(super) fn insert(&mut self, name: String, value: Extension) {
        self.0.insert(name, value);
    }

    /// The envelope of these attributes around `data`. What CloudEvents does not define becomes an
    /// extension.
    pub(super) fn into_envelope(mut self, data: Bytes) -> Result<Envelope, EnvelopeError> {
        let envelope = Envelope {
            id: self.required("id")?,
            source: self.required("source")?,
            kind: self.required("type")?,
            subject: self.text("subject")?,
            time: self.time()?,
            content_type: self.text("datacontenttype")?,
            schema: self.text("dataschema")?,
            extensions: self.0,
            data,
        };
        envelope.validate()?;
        Ok(envelope)
    }

    fn required(&mut self, attribute: &'static str) -> Result<String, EnvelopeError> {
        self.text(attribute)?.ok_or(EnvelopeError::Missing { attribute })
    }

    fn text(&mut self, attribute: &'static str) -> Result<Option<String>, EnvelopeError> {
        match self.0.remove(attribute) {
            None => Ok(None),
            Some(Extension::Text(text)) => Ok(Some(text)),
            Some(_) => Err(EnvelopeError::value(attribute, "a string")),
        }
    }

    fn time(&mut self) -> Result<Option<Timestamp>, EnvelopeError> {
        let Some(text) = self.text("time")? else {
            return Ok(None);
        };
        match Timestamp::parse(&text) {
            None => Err(EnvelopeError::value("time", "a time as RFC 3339 writes it")),
            time => Ok(time),
        }
    }
}
