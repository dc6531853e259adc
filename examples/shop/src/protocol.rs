//! The protocols that the services can run under, by name.

use std::sync::Arc;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use semel::core::protocols::{self, Protocol};
use semel::core::{Property, protocols::Token};
use semel::http::Settings;

/// The one that services run under unless they are told otherwise.
pub const DEFAULT: &str = "transactional";

/// Takes the names of all protocols, and of nothing else.
pub fn parser() -> impl TypedValueParser<Value = Arc<dyn Protocol>> {
    let named =
        |protocol: Arc<dyn Protocol>| PossibleValue::new(protocol.name()).help(promise(&*protocol));
    PossibleValuesParser::new(protocols::all().into_iter().map(named))
        .try_map(|name| protocols::by_name(&name).ok_or("no protocol has this name"))
}

/// The protocols with what they promise, a line each.
pub fn list() -> String {
    let line =
        |protocol: Arc<dyn Protocol>| format!("{:<18}{}\n", protocol.name(), promise(&*protocol));
    protocols::all().into_iter().map(line).collect()
}

/// What a protocol promises, in words.
fn promise(protocol: &dyn Protocol) -> String {
    match missing(protocol) {
        None => "promises everything".to_owned(),
        Some(missing) => format!("does not promise {missing}"),
    }
}

/// The properties that a protocol does not promise; none where it promises everything.
pub fn missing(protocol: &dyn Protocol) -> Option<String> {
    let is_missing = |property: &Property| !protocol.promises().contains(property);
    let missing: Vec<_> =
        Property::ALL.into_iter().filter(is_missing).map(Property::name).collect();
    (!missing.is_empty()).then(|| missing.join(", "))
}

/// How the edge works for services under `protocol`: under `token`, messages come with one.
pub fn edge_settings(protocol: &dyn Protocol) -> Settings {
    let token = Token::default();
    match protocol.name() == token.name() {
        true => Settings::default().tokens(token.realm),
        false => Settings::default(),
    }
}
