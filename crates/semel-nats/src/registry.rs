//! Who is there, and who subscribes to what: one document, changed by compare-and-set.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_nats::HeaderMap;
use semel_core::broker::Registration;
use semel_core::store::Trouble;
use semel_core::{StoreError, Timestamp};
use serde::{Deserialize, Serialize};

use crate::Nats;
use crate::wire::Expect;

/// How often a registration is tried while others change the document.
const TRIES_MAX: u32 = 60;

/// All registrations, by endpoint.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Registry {
    #[serde(default)]
    pub(crate) endpoints: BTreeMap<String, Registered>,
}

/// What an endpoint told when it last started.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Registered {
    pub(crate) protocol: String,
    pub(crate) subscriptions: Vec<String>,
    registered_at: i64,
}

impl Registered {
    pub(crate) fn at(&self) -> Timestamp {
        Timestamp::from_unix_ms(self.registered_at)
    }
}

impl Nats {
    pub(crate) async fn enter(&self, registration: &Registration) -> Result<(), StoreError> {
        const REGISTER: &str = "register";
        let mut subscriptions = registration.subscriptions.clone();
        subscriptions.sort_unstable();
        subscriptions.dedup();
        for attempt in 0..TRIES_MAX {
            let (revision, mut registry) = self.registry(REGISTER).await?;
            let entry = Registered {
                protocol: registration.protocol.clone(),
                subscriptions: subscriptions.clone(),
                registered_at: self.clock.now().unix_ms(),
            };
            registry.endpoints.insert(registration.endpoint.clone(), entry);
            // Names, texts and numbers: it cannot fail.
            let body = serde_json::to_vec(&registry).unwrap_or_default();
            let (stream, subject) = (self.names.state_stream(), self.names.registry_subject());
            let expect = Expect::Last(revision);
            let put = self.wire.publish(&stream, subject, HeaderMap::new(), body.into(), expect);
            match put.await {
                Ok(revision) => {
                    self.tops.saw(&stream, revision);
                    self.registry_seen.fetch_max(revision, Ordering::SeqCst);
                    return Ok(());
                }
                Err(failed) if failed.is_conflict() => {
                    // Others are at it too: each in its turn.
                    tokio::time::sleep(Duration::from_millis(u64::from(attempt * 2))).await;
                }
                Err(failed) => return Err(self.failed(REGISTER, failed)),
            }
        }
        let reason = "other workers change the registrations all the time";
        Err(self.error(Trouble::Unavailable, REGISTER, reason, "Try again."))
    }

    /// The endpoints that subscribe to a type now.
    pub(crate) async fn subscribers_of(&self, kind: &str) -> Result<Vec<String>, StoreError> {
        let (_, registry) = self.registry("subscribers").await?;
        let subscribing = registry.endpoints.into_iter().filter(|(_, registered)| {
            registered.subscriptions.iter().any(|subscribed| subscribed == kind)
        });
        Ok(subscribing.map(|(endpoint, _)| endpoint).collect())
    }

    /// The document and its revision, from the leader; an empty one if there is none.
    pub(crate) async fn registry(
        &self,
        operation: &'static str,
    ) -> Result<(u64, Registry), StoreError> {
        let subject = self.names.registry_subject();
        let found = self.wire.only(&self.names.state_stream(), &subject).await;
        let found = found.map_err(|failed| self.failed(operation, failed))?;
        let revision = found.as_ref().map_or(0, |found| found.seq);
        // To take an older state for the truth would send messages to nobody, and tell no one.
        if revision < self.registry_seen.fetch_max(revision, Ordering::SeqCst) {
            let reason = "the server shows registrations older than those it showed before";
            let help =
                "It may not have caught up yet. If somebody deleted them, restart the workers.";
            return Err(self.error(Trouble::Unavailable, operation, reason, help));
        }
        let Some(found) = found else { return Ok((0, Registry::default())) };
        match serde_json::from_slice(&found.data()) {
            Ok(registry) => Ok((found.seq, registry)),
            Err(error) => {
                let reason = format!("the registrations under `{subject}` are no JSON: {error}");
                let help = "Remove that message; workers register again when they start.";
                Err(self.error(Trouble::Broken, operation, reason, help))
            }
        }
    }
}
