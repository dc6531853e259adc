//! Endpoints: named receivers with handlers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::handler::{Handler, HandlerFn, TypedHandler};
use crate::message::{Keyed, Message};
use crate::protocols::{Protocol, Transactional};
use crate::retry::RetryPolicy;

/// How an endpoint receives.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// How many entities are worked on at the same time in this process. Messages of one entity
    /// are handled one at a time.
    pub concurrency: usize,
    /// How many messages this process holds under a lease, those in work included.
    pub held_max: usize,
    /// How long a message is ours without a sign of life. Renewed while we work on it.
    pub lease: Duration,
    /// How long a handler may take for one attempt.
    pub handler_deadline: Duration,
    /// When a message whose handler failed is tried again.
    pub retry: RetryPolicy,
    /// After how many deliveries that were neither settled nor failed a message is taken to kill
    /// its worker, and is dead-lettered.
    pub abandoned_max: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            concurrency: 256,
            held_max: 1_024,
            lease: Duration::from_secs(30),
            handler_deadline: Duration::from_secs(30),
            retry: RetryPolicy::default(),
            abandoned_max: 20,
        }
    }
}

impl Settings {
    /// The name of a setting that is zero and must not be.
    pub(crate) fn unusable(&self) -> Option<&'static str> {
        let zero = [
            ("concurrency", self.concurrency == 0),
            ("held_max", self.held_max == 0),
            ("lease", self.lease.is_zero()),
            ("handler_deadline", self.handler_deadline.is_zero()),
            ("abandoned_max", self.abandoned_max == 0),
        ];
        zero.into_iter().find_map(|(name, is_zero)| is_zero.then_some(name))
    }
}

/// A named receiver with its handlers.
///
/// ```
/// # use semel_core::{Context, Endpoint, Keyed, Message};
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Serialize, Deserialize)] struct Deposit { account: String, pence: u64 }
/// # impl Message for Deposit { const TYPE: &'static str = "account.deposit"; }
/// # impl Keyed for Deposit { fn key(&self) -> String { self.account.clone() } }
/// # #[derive(Default, Serialize, Deserialize)] struct Account { pence: u64 }
/// fn deposit(account: &mut Account, message: Deposit, _: &mut Context) {
///     account.pence += message.pence;
/// }
/// let accounts = Endpoint::new("accounts").handle(deposit);
/// assert_eq!(accounts.name(), "accounts");
/// ```
#[derive(Clone, Debug)]
pub struct Endpoint {
    name: String,
    pub(crate) handlers: BTreeMap<&'static str, Arc<dyn Handler>>,
    pub(crate) subscriptions: Vec<String>,
    pub(crate) doubled: Vec<&'static str>,
    pub(crate) protocol: Arc<dyn Protocol>,
    pub(crate) settings: Settings,
}

impl Endpoint {
    /// An endpoint without handlers, under the protocol [`Transactional`].
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            handlers: BTreeMap::new(),
            subscriptions: Vec::new(),
            doubled: Vec::new(),
            protocol: Arc::new(Transactional::default()),
            settings: Settings::default(),
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its handlers, by the type each handles.
    pub fn handlers(&self) -> &BTreeMap<&'static str, Arc<dyn Handler>> {
        &self.handlers
    }

    /// The types it subscribes to.
    pub fn subscriptions(&self) -> &[String] {
        &self.subscriptions
    }

    /// The protocol it was given.
    pub fn chosen_protocol(&self) -> &Arc<dyn Protocol> {
        &self.protocol
    }

    /// The settings it was given.
    pub fn chosen_settings(&self) -> &Settings {
        &self.settings
    }

    /// Handles messages of one type; each names its entity.
    #[must_use]
    pub fn handle<Kind: 'static, F>(self, function: F) -> Self
    where
        F: HandlerFn<Kind>,
        F::Message: Keyed,
    {
        self.handle_by(Keyed::key, function)
    }

    /// Handles messages of one type; `key` says which entity each is for.
    #[must_use]
    pub fn handle_by<Kind: 'static, F: HandlerFn<Kind>>(
        self,
        key: impl Fn(&F::Message) -> String + Send + Sync + 'static,
        function: F,
    ) -> Self {
        self.with(Arc::new(TypedHandler::new(function, key)))
    }

    /// Subscribes to a published type and handles it; each message names its entity.
    #[must_use]
    pub fn subscribe<Kind: 'static, F>(self, function: F) -> Self
    where
        F: HandlerFn<Kind>,
        F::Message: Keyed,
    {
        self.subscribe_by(Keyed::key, function)
    }

    /// Subscribes to a published type and handles it; `key` says which entity each is for.
    #[must_use]
    pub fn subscribe_by<Kind: 'static, F: HandlerFn<Kind>>(
        mut self,
        key: impl Fn(&F::Message) -> String + Send + Sync + 'static,
        function: F,
    ) -> Self {
        self.subscriptions.push(F::Message::TYPE.to_owned());
        self.handle_by(key, function)
    }

    /// Adds a handler that is already without types.
    #[must_use]
    pub fn with(mut self, handler: Arc<dyn Handler>) -> Self {
        let kind = handler.kind();
        if self.handlers.insert(kind, handler).is_some() {
            self.doubled.push(kind);
        }
        self
    }

    /// Wraps each handler it has: to measure, or to inject faults.
    #[must_use]
    pub fn wrap_handlers(mut self, wrap: impl Fn(Arc<dyn Handler>) -> Arc<dyn Handler>) -> Self {
        self.handlers =
            self.handlers.into_iter().map(|(kind, handler)| (kind, wrap(handler))).collect();
        self
    }

    /// Chooses the protocol.
    #[must_use]
    pub fn protocol(mut self, protocol: impl Protocol) -> Self {
        self.protocol = Arc::new(protocol);
        self
    }

    /// Chooses the protocol by one that is shared.
    #[must_use]
    pub fn shared_protocol(mut self, protocol: Arc<dyn Protocol>) -> Self {
        self.protocol = protocol;
        self
    }

    /// Chooses how it receives.
    #[must_use]
    pub fn settings(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }
}
