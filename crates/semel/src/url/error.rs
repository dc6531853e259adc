//! Why a URL opens nothing.

use semel_core::StoreError;

/// The schemes of stores: each with its feature, and whether that is on.
const STORES: &[(&str, &str, bool)] = &[
    ("sqlite:", "sqlite", cfg!(feature = "sqlite")),
    ("postgres:", "postgres", cfg!(feature = "postgres")),
    ("postgresql:", "postgres", cfg!(feature = "postgres")),
];

/// The same for brokers.
const BROKERS: &[(&str, &str, bool)] = &[
    ("nats:", "nats", cfg!(feature = "nats")),
    ("tls:", "nats", cfg!(feature = "nats")),
    ("amqp:", "rabbitmq", cfg!(feature = "rabbitmq")),
    ("amqps:", "rabbitmq", cfg!(feature = "rabbitmq")),
];

/// Why a backend cannot be opened.
///
/// Of a URL it shows what stands before the first colon: the rest may hold a password.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The URL names no store that this program knows.
    #[error(
        "`{prefix}` names no store that this program knows; write for example `sqlite:shop.db` for \
         a file in this folder, `sqlite:/var/lib/shop.db`, or `postgres://USER@HOST/DATABASE`"
    )]
    Url {
        /// The URL up to its first colon.
        prefix: String,
    },
    /// The URL names no broker that this program knows.
    #[error(
        "`{prefix}` names no broker that this program knows; write for example `nats://HOST:4222`, \
         or `amqp://USER:PASSWORD@HOST:5672/%2f` for RabbitMQ"
    )]
    Broker {
        /// The URL up to its first colon.
        prefix: String,
    },
    /// This program was built without what the URL names.
    #[error(
        "this program was built without `{prefix}`; enable the feature `{feature}` of the crate \
         `semel` and build it again"
    )]
    Feature {
        /// The URL up to its first colon.
        prefix: String,
        /// The feature to enable.
        feature: &'static str,
    },
    /// A broker stands where a store is needed.
    #[error(
        "`{prefix}` is a broker: it has queues, and keeps no state. Open it beside a store with \
         `semel::open_apart`, for example `open_apart(\"sqlite:shop.db\", \"{prefix}//…\")`"
    )]
    NoStore {
        /// The URL up to its first colon.
        prefix: String,
    },
    /// A store stands where a broker elsewhere is needed.
    #[error(
        "`{prefix}` is a store, and its queue lies inside it. Open both as one with `semel::open`, \
         or name a broker: `nats://…`, `amqp://…`"
    )]
    NoBroker {
        /// The URL up to its first colon.
        prefix: String,
    },
    /// A parameter of the URL, after its `?`, makes no sense.
    #[error("the parameter `{name}` of the URL `{prefix}…` makes no sense; {help}")]
    Parameter {
        /// The URL up to its first colon.
        prefix: String,
        /// The parameter's name, where it looks like one.
        name: String,
        /// What to write.
        help: &'static str,
    },
    /// The store or the broker cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl OpenError {
    /// Why `url` opens no store.
    pub(super) fn of_store(url: &str) -> Self {
        let prefix = prefix(url);
        match (find(STORES, &prefix), find(BROKERS, &prefix)) {
            (Some((feature, false)), _) => Self::Feature { prefix, feature },
            (None, Some(_)) => Self::NoStore { prefix },
            _ => Self::Url { prefix },
        }
    }

    /// Why `url` opens no broker.
    pub(super) fn of_broker(url: &str) -> Self {
        let prefix = prefix(url);
        match (find(BROKERS, &prefix), find(STORES, &prefix)) {
            (Some((feature, false)), _) => Self::Feature { prefix, feature },
            (None, Some(_)) => Self::NoBroker { prefix },
            _ => Self::Broker { prefix },
        }
    }

    /// A parameter that the broker at `url` does not have, or not with this value.
    #[cfg(any(feature = "nats", feature = "rabbitmq"))]
    pub(super) fn of_parameter(url: &str, name: &str, help: &'static str) -> Self {
        let is_plain = name.chars().all(|it| it.is_ascii_alphabetic() || it == '_');
        // A password with a `?` in it makes any text the name of a parameter.
        let name = if is_plain { name.to_owned() } else { "…".to_owned() };
        Self::Parameter { prefix: prefix(url), name, help }
    }
}

fn prefix(url: &str) -> String {
    url.split_inclusive(':').next().unwrap_or_default().to_owned()
}

fn find(schemes: &[(&str, &'static str, bool)], prefix: &str) -> Option<(&'static str, bool)> {
    let found = schemes.iter().find(|(scheme, ..)| *scheme == prefix);
    found.map(|(_, feature, is_on)| (*feature, *is_on))
}
