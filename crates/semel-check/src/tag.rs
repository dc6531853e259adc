//! How the checker recognises what belongs to which message, whatever a protocol makes of it.
//!
//! Every handler of a world is wrapped. The state it returns carries a [`Trail`]: the messages that
//! it stems from, each with the contents of the effects it declared. Each effect carries the message
//! that it is of. Both are taken off again before a handler of the user sees them, and protocols
//! hand them on as the opaque bytes they are.

use std::borrow::Cow;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::general_purpose::STANDARD as BASE64;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;
use semel_core::broker::{Destination, Outgoing};
use semel_core::context::MessageEffect;
use semel_core::envelope::PARTITION_KEY;
use semel_core::store::{ItemKey, Space};
use semel_core::{Envelope, Order};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::hash::Ink;

/// A short print of what an effect says: where it goes, its type, subject and data.
pub(crate) type Content = u64;

/// The messages that a state stems from, sorted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Trail(Vec<Mark>);

/// What one committed attempt left in the state.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Mark {
    /// The endpoint whose entity it is.
    pub(crate) endpoint: String,
    /// Source and id of the message.
    pub(crate) message: String,
    /// The key of the entity that it is for, as the handler says.
    pub(crate) entity: String,
    /// Its effects, in order.
    pub(crate) effects: Vec<Declared>,
    /// The objects that it wrote outside by itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) objects: Vec<WroteObject>,
}

/// An object outside as an attempt wrote it: its name, and a print of its content.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct WroteObject {
    pub(crate) name: String,
    pub(crate) content: Content,
}

impl WroteObject {
    pub(crate) fn new(name: &str, value: &[u8]) -> Self {
        let content = crate::hash::print(27, value) as Content;
        Self { name: name.to_owned(), content }
    }
}

/// An effect as a handler declared it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Declared {
    pub(crate) content: Content,
    /// The type of a message to whoever subscribes to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) published: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct Marked<'a> {
    #[serde(rename = "semel-trail")]
    trail: Vec<Mark>,
    #[serde(borrow)]
    state: Data<'a>,
}

#[derive(Serialize, Deserialize)]
struct Tagged<'a> {
    #[serde(rename = "semel-effect", borrow)]
    of: EffectName<'a>,
    #[serde(borrow)]
    data: Data<'a>,
}

/// Which effect of which message.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct EffectName<'a> {
    /// The endpoint whose handler declared it.
    #[serde(borrow)]
    pub(crate) endpoint: Cow<'a, str>,
    /// Source and id of the message it was declared for.
    #[serde(borrow)]
    pub(crate) message: Cow<'a, str>,
    /// Its position among the effects of its attempt.
    pub(crate) position: usize,
    /// Whether it is for whoever subscribes: then a protocol may send it to each of them by itself.
    pub(crate) is_published: bool,
}

/// Bytes inside JSON: as they are where they are JSON themselves.
#[derive(Serialize, Deserialize)]
enum Data<'a> {
    #[serde(rename = "json", borrow)]
    Json(&'a RawValue),
    #[serde(rename = "base64", borrow)]
    Base64(Cow<'a, str>),
}

impl<'a> Data<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        match serde_json::from_slice(bytes) {
            Ok(json) => Self::Json(json),
            Err(_) => Self::Base64(BASE64.encode(bytes).into()),
        }
    }

    fn bytes(&self) -> Bytes {
        match self {
            Self::Json(json) => Bytes::copy_from_slice(json.get().as_bytes()),
            Self::Base64(text) => BASE64.decode(&**text).unwrap_or_default().into(),
        }
    }
}

impl<'a> Tagged<'a> {
    fn of(envelope: &'a Envelope) -> Option<Self> {
        // Messages from outside carry no name: it is not worth reading them.
        position_of(NAME.as_bytes(), &envelope.data)?;
        serde_json::from_slice(&envelope.data).ok()
    }

    fn without(&self, envelope: &Envelope) -> Envelope {
        Envelope { data: self.data.bytes(), ..envelope.clone() }
    }
}

fn to_json(value: &impl Serialize) -> Bytes {
    // Strings, numbers and JSON that was read as JSON: there is nothing here that cannot be written.
    serde_json::to_vec(value).unwrap_or_default().into()
}

impl Trail {
    pub(crate) fn marks(&self) -> &[Mark] {
        &self.0
    }

    /// The mark of a message.
    pub(crate) fn of(&self, endpoint: &str, message: &str) -> Option<&Mark> {
        self.0.iter().find(|mark| mark.message == message && mark.endpoint == endpoint)
    }

    /// Adds what an attempt did. An attempt that comes again and changes nothing leaves no mark.
    pub(crate) fn add(&mut self, mark: Mark, is_change: bool) {
        if is_change || self.of(&mark.endpoint, &mark.message).is_none() {
            let at = self.0.partition_point(|other| *other <= mark);
            self.0.insert(at, mark);
        }
    }

    /// The state with this trail, as protocols get it.
    pub(crate) fn attach(self, state: &[u8]) -> Bytes {
        to_json(&Marked { trail: self.0, state: Data::new(state) })
    }

    /// Takes a state apart.
    pub(crate) fn detach(bytes: &[u8]) -> Option<(Self, Bytes)> {
        let marked: Marked<'_> = serde_json::from_slice(bytes).ok()?;
        Some((Self(marked.trail), marked.state.bytes()))
    }
}

/// The trail and the state in an entity's item, wherever its protocol has put them.
pub(crate) fn state_of(key: &ItemKey, value: &[u8]) -> Option<(Trail, Bytes)> {
    if key.space == Space::Entity { find(value) } else { None }
}

/// The state that an entity's item holds, without its trail.
pub(crate) fn state_in(value: &[u8]) -> Option<Bytes> {
    find(value).map(|(_, state)| state)
}

/// Base64 in both alphabets, padded or not.
const BASE64_ANY: [GeneralPurpose; 2] = [
    GeneralPurpose::new(&alphabet::STANDARD, BASE64_LAX),
    GeneralPurpose::new(&alphabet::URL_SAFE, BASE64_LAX),
];
const BASE64_LAX: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);

/// How many bytes an item has without the trail: limits are about what users and protocols write.
pub(crate) fn bare_len(value: &[u8]) -> usize {
    let added = find(value).map(|(trail, state)| trail.attach(&state).len() - state.len());
    value.len().saturating_sub(added.unwrap_or(0))
}

/// How many bytes of an entity's item are not its state.
pub(crate) fn bytes_beside_state(value: &[u8]) -> Option<usize> {
    let (trail, state) = find(value)?;
    Some(value.len().saturating_sub(trail.attach(&state).len()))
}

/// The field of every message that carries the name of an effect.
const NAME: &str = r#""semel-effect""#;

/// The beginning of every state that carries a trail.
const MARKER: &str = r#"{"semel-trail":"#;

/// Looks for a state in the bytes of an item: they are it, contain it, or contain it encoded. Of
/// several, the one that stems from most messages: the others are what it was made of.
fn find(value: &[u8]) -> Option<(Trail, Bytes)> {
    let mut found = None;
    let mut rest = value;
    while let Some(at) = position_of(MARKER.as_bytes(), rest) {
        rest = &rest[at..];
        let mut values = serde_json::Deserializer::from_slice(rest).into_iter::<&RawValue>();
        let json = match values.next() {
            Some(Ok(json)) => json.get(),
            _ => break,
        };
        found = further(found, Trail::detach(json.as_bytes()));
        rest = &rest[json.len()..];
    }
    found.or_else(|| match serde_json::from_slice(value) {
        Ok(json) => find_in_json(&json),
        Err(_) => find_in_text(std::str::from_utf8(value).ok()?),
    })
}

/// Looks for a state in text that holds it encoded.
fn find_in_text(text: &str) -> Option<(Trail, Bytes)> {
    // Nothing shorter can hold one.
    if text.len() < MARKER.len() {
        return None;
    }
    // JSON in a string of JSON.
    if text.starts_with(['{', '[']) {
        return find_in_json(&serde_json::from_str(text).ok()?);
    }
    let base64 = || BASE64_ANY.iter().find_map(|engine| engine.decode(text).ok());
    find(&from_hex(text).or_else(base64)?)
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    if text.is_empty() || !text.len().is_multiple_of(2) {
        return None;
    }
    let pairs = text.as_bytes().chunks_exact(2);
    pairs.map(|pair| u8::try_from(digit(&pair[0])? * 16 + digit(&pair[1])?).ok()).collect()
}

type Found = Option<(Trail, Bytes)>;

fn further(one: Found, other: Found) -> Found {
    match (one, other) {
        (Some(one), Some(other)) if one.0.marks().len() >= other.0.marks().len() => Some(one),
        (one, None) => one,
        (_, other) => other,
    }
}

fn position_of(needle: &[u8], haystack: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

fn find_in_json(value: &serde_json::Value) -> Option<(Trail, Bytes)> {
    use serde_json::Value;
    match value {
        Value::Object(fields) if fields.contains_key("semel-trail") => {
            Trail::detach(value.to_string().as_bytes())
        }
        Value::Object(fields) => fields.values().map(find_in_json).fold(None, further),
        Value::Array(values) => {
            let as_byte = |value: &Value| value.as_u64().and_then(|byte| u8::try_from(byte).ok());
            let bytes: Option<Vec<u8>> = values.iter().map(as_byte).collect();
            match bytes {
                Some(bytes) if !bytes.is_empty() => find(&bytes),
                _ => values.iter().map(find_in_json).fold(None, further),
            }
        }
        Value::String(text) if text.contains(MARKER) => find(text.as_bytes()),
        Value::String(text) => find_in_text(text),
        Value::Null | Value::Bool(_) | Value::Number(_) => None,
    }
}

impl EffectName<'_> {
    pub(crate) fn into_owned(self) -> EffectName<'static> {
        EffectName {
            endpoint: self.endpoint.into_owned().into(),
            message: self.message.into_owned().into(),
            position: self.position,
            is_published: self.is_published,
        }
    }

    /// Puts the name on an effect.
    pub(crate) fn tag(self, effect: &mut MessageEffect) {
        effect.data = to_json(&Tagged { of: self, data: Data::new(&effect.data) });
    }
}

/// Takes the name off a message; `None` where it is no effect.
pub(crate) fn untag(envelope: &Envelope) -> Option<(EffectName<'static>, Envelope)> {
    let tagged = Tagged::of(envelope)?;
    Some((tagged.of.clone().into_owned(), tagged.without(envelope)))
}

/// The message as its receiver's handler sees it.
pub(crate) fn plain(envelope: &Envelope) -> Cow<'_, Envelope> {
    match Tagged::of(envelope) {
        Some(tagged) => Cow::Owned(tagged.without(envelope)),
        None => Cow::Borrowed(envelope),
    }
}

/// What a declared effect says.
pub(crate) fn declared(effect: &MessageEffect) -> Declared {
    let MessageEffect { to, kind, subject, order, data, .. } = effect;
    let is_ordered = *order == Order::PerSubject;
    let published = matches!(to, Destination::Subscribers).then(|| (*kind).to_owned());
    let to = receiver(to, published.is_some());
    let content = content(to, kind, subject.as_deref(), data, is_ordered);
    Declared { content, published }
}

/// What a message on its way says.
pub(crate) fn content_sent(plain: &Outgoing, is_published: bool) -> Content {
    let Envelope { kind, subject, data, .. } = &plain.envelope;
    let is_ordered = plain.envelope.text(PARTITION_KEY).is_some();
    content(receiver(&plain.to, is_published), kind, subject.as_deref(), data, is_ordered)
}

/// Who gets a message, as far as its handler chose.
fn receiver(to: &Destination, is_published: bool) -> Option<&str> {
    match to {
        Destination::Endpoint(name) if !is_published => Some(name),
        Destination::Endpoint(_) | Destination::Subscribers => None,
    }
}

fn content(
    to: Option<&str>,
    kind: &str,
    subject: Option<&str>,
    data: &[u8],
    is_ordered: bool,
) -> Content {
    let mut ink = Ink::new(10).with((to, kind, subject, is_ordered));
    // A protocol may write JSON anew: the same value is the same content.
    match serde_json::from_slice::<serde_json::Value>(data) {
        Ok(value) => add_json(&mut ink, &value),
        Err(_) => ink.add(data),
    }
    ink.print() as u64
}

fn add_json(ink: &mut Ink, value: &serde_json::Value) {
    use serde_json::Value;
    match value {
        Value::Null => ink.add(0_u8),
        Value::Bool(value) => ink.add((1_u8, value)),
        Value::Number(number) => ink.add((2_u8, number.to_string())),
        Value::String(text) => ink.add((3_u8, text)),
        Value::Array(values) => {
            ink.add((4_u8, values.len()));
            values.iter().for_each(|value| add_json(ink, value));
        }
        Value::Object(fields) => {
            ink.add((5_u8, fields.len()));
            let mut names: Vec<&String> = fields.keys().collect();
            names.sort();
            for name in names {
                ink.add(name);
                add_json(ink, &fields[name]);
            }
        }
    }
}
