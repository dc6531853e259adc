//! Sending messages, and telling endpoints who subscribes.

use std::sync::Arc;
use std::time::Duration;

use lapin::Channel;
use lapin::options::QueueBindOptions;
use lapin::types::FieldTable;
use semel_core::broker::{Destination, Outgoing, Registration, SendOutcome};
use semel_core::store::Trouble;
use semel_core::{Envelope, StoreError};

use crate::book::Page;
use crate::history::History;
use crate::making::Kind;
use crate::message::{self, Raw};
use crate::place::{Place, Shelf};
use crate::publish::{Published, Target};
use crate::topology::short;

/// The longest type of an event, in bytes: it is a routing key.
const KIND_MAX: usize = 255;

impl Place {
    /// Sends messages, those that go at once in one go.
    pub(crate) async fn send(self: &Arc<Self>, messages: Vec<Outgoing>) -> Vec<SendOutcome> {
        let mut outcomes = Vec::with_capacity(messages.len());
        let mut at_once = Vec::new();
        for outgoing in messages {
            let outcome = match self.prepare(&outgoing).await {
                Err(outcome) => Some(outcome),
                Ok(None) => None,
                Ok(Some((target, copy))) => {
                    at_once.push((target, copy));
                    outcomes.push(Err((outgoing.to, at_once.len() - 1)));
                    continue;
                }
            };
            let outcome = match outcome {
                Some(outcome) => outcome,
                None => self.send_later(&outgoing).await,
            };
            outcomes.push(Ok(outcome));
        }
        let mut published: Vec<Option<Published>> =
            self.sends.publish_all(&at_once).await.into_iter().map(Some).collect();
        let mut answers = Vec::with_capacity(outcomes.len());
        for outcome in outcomes {
            answers.push(match outcome {
                Ok(outcome) => outcome,
                Err((to, at)) => match published.get_mut(at).and_then(Option::take) {
                    Some(answer) => self.conclude(to, &at_once[at], answer).await,
                    None => SendOutcome::Unknown(self.defect("send", "an answer is missing")),
                },
            });
        }
        answers
    }

    /// Where a message goes at once and as what; nothing where it goes later.
    async fn prepare(
        self: &Arc<Self>,
        outgoing: &Outgoing,
    ) -> Result<Option<(Target, Raw)>, SendOutcome> {
        let raw = self.encode(&outgoing.envelope).map_err(SendOutcome::Refused)?;
        if let Destination::Subscribers = outgoing.to
            && outgoing.envelope.kind.len() > KIND_MAX
        {
            let reason = format!("the type has more than {KIND_MAX} bytes");
            let help = "Choose a shorter type for what is published.";
            let error = self.server.error(Trouble::TooLarge, "send", reason, help);
            return Err(SendOutcome::Refused(error));
        }
        if !outgoing.delay.is_zero() {
            return Ok(None);
        }
        let (_, copy) = self.later(&raw, &History::default(), Duration::ZERO);
        let target = match &outgoing.to {
            Destination::Endpoint(endpoint) => {
                let queue = self.shelf(endpoint, Shelf::Ready).await.map_err(not_begun)?;
                Target::Queue(queue)
            }
            Destination::Subscribers => {
                // The exchange may have to be made.
                self.station().await.map_err(SendOutcome::Unknown)?;
                Target::Exchange(self.names.events(), outgoing.envelope.kind.clone())
            }
        };
        Ok(Some((target, copy)))
    }

    /// What the server's answer means.
    async fn conclude(
        self: &Arc<Self>,
        to: Destination,
        (target, copy): &(Target, Raw),
        answer: Published,
    ) -> SendOutcome {
        let answer = match (answer, target, &to) {
            (Published::Returned, Target::Queue(queue), Destination::Endpoint(endpoint)) => {
                self.forget(queue);
                self.queue(endpoint, Shelf::Ready, copy).await
            }
            (answer, _, _) => answer,
        };
        self.outcome(answer)
    }

    fn outcome(&self, answer: Published) -> SendOutcome {
        let is_final = matches!(answer, Published::TooLarge(_));
        match self.not_queued(answer) {
            None => SendOutcome::Sent,
            Some(error) if is_final => SendOutcome::Refused(error),
            Some(error) => SendOutcome::Unknown(error),
        }
    }

    /// Sends a message that waits: to each of its receivers a copy that waits for itself.
    async fn send_later(self: &Arc<Self>, outgoing: &Outgoing) -> SendOutcome {
        let raw = match self.encode(&outgoing.envelope) {
            Ok(raw) => raw,
            Err(error) => return SendOutcome::Refused(error),
        };
        let endpoints = match &outgoing.to {
            Destination::Endpoint(endpoint) => vec![endpoint.clone()],
            Destination::Subscribers => match self.subscribers(&outgoing.envelope.kind).await {
                Ok(endpoints) => endpoints,
                Err(error) => return SendOutcome::Unknown(error),
            },
        };
        for endpoint in endpoints {
            let (shelf, copy) = self.later(&raw, &History::default(), outgoing.delay);
            if let Err(error) = self.shelf(&endpoint, shelf).await {
                return not_begun(error);
            }
            let answer = self.queue(&endpoint, shelf, &copy).await;
            match self.outcome(answer) {
                SendOutcome::Sent => {}
                other => return other,
            }
        }
        SendOutcome::Sent
    }

    fn encode(&self, envelope: &Envelope) -> Result<Raw, StoreError> {
        let too_large =
            |reason: String, help| self.server.error(Trouble::TooLarge, "send", reason, help);
        let (size, max) = (envelope.size(), self.message_bytes_max);
        if size > max {
            let help = "Send less in one piece, or put the data into a blob.";
            return Err(too_large(format!("the message has {size} bytes, of at most {max}"), help));
        }
        let help = "Put into the data what the attributes need not carry.";
        message::encode(envelope).map_err(|reason| too_large(reason, help))
    }

    pub(crate) fn defect(&self, operation: &'static str, reason: &str) -> StoreError {
        let help = "This is a defect in Semel; please report it.";
        self.server.error(Trouble::Broken, operation, reason, help)
    }

    /// Who subscribes to a type now.
    pub(crate) async fn subscribers(
        self: &Arc<Self>,
        kind: &str,
    ) -> Result<Vec<String>, StoreError> {
        let pages = self.read_book().await?.endpoints.into_iter();
        let subscribing = pages.filter(|(_, page)| page.subscriptions.contains(kind));
        Ok(subscribing.map(|(endpoint, _)| endpoint).collect())
    }

    /// Makes an endpoint known, and its subscriptions.
    pub(crate) async fn register(
        self: &Arc<Self>,
        registration: &Registration,
    ) -> Result<(), StoreError> {
        if let Some(kind) = registration.subscriptions.iter().find(|kind| kind.len() > KIND_MAX) {
            let reason = format!(
                "the type {}… has more than {KIND_MAX} bytes",
                kind.chars().take(20).collect::<String>()
            );
            let help = "Choose a shorter type for what is published.";
            return Err(self.server.error(Trouble::TooLarge, "register", reason, help));
        }
        self.ensure(&registration.endpoint, Kind::Ready).await?;
        let (place, registration) = (self.clone(), registration.clone());
        self.locked("book", async move { place.register_alone(registration).await }).await
    }

    /// The book names a binding before it is made and until it is undone, so that a registration
    /// that was cut short leaves none that the next one does not know of.
    async fn register_alone(
        self: &Arc<Self>,
        registration: Registration,
    ) -> Result<(), StoreError> {
        let endpoint = registration.endpoint;
        let now = self.clock.now().unix_ms();
        let mut page = Page::default();
        self.change_book(|book| {
            let own = book.endpoints.entry(endpoint.clone()).or_default();
            own.protocol = Some(registration.protocol);
            own.subscriptions = registration.subscriptions.into_iter().collect();
            own.bound.extend(own.subscriptions.iter().cloned());
            // Later than the last one, whatever the clocks say.
            own.registered_at = own.registered_at.map(|last| last + 1).max(Some(now));
            page = own.clone();
        })
        .await?;
        let channel = self.take_channel("register").await?;
        for kind in &page.bound {
            self.bind(&channel, &endpoint, kind, page.subscriptions.contains(kind)).await?;
        }
        self.close(&channel).await;
        if page.bound == page.subscriptions {
            return Ok(());
        }
        self.change_book(|book| {
            let own = book.endpoints.entry(endpoint).or_default();
            own.bound.clone_from(&own.subscriptions);
        })
        .await
    }

    /// Makes a binding, or undoes it.
    pub(crate) async fn bind(
        &self,
        channel: &Channel,
        endpoint: &str,
        kind: &str,
        subscribes: bool,
    ) -> Result<(), StoreError> {
        let queue = short(self, &self.names.ready(endpoint))?;
        let (events, key) = (short(self, &self.names.events())?, short(self, kind)?);
        let table = FieldTable::default();
        if subscribes {
            let binding =
                channel.queue_bind(queue, events, key, QueueBindOptions::default(), table);
            self.server.within("register", binding).await
        } else {
            let unbinding = channel.queue_unbind(queue, events, key, table);
            self.server.within("register", unbinding).await
        }
    }
}

/// An endpoint whose queue cannot be had: for good where its name is at fault.
fn not_begun(error: StoreError) -> SendOutcome {
    match error.trouble {
        Trouble::Unsupported | Trouble::TooLarge => SendOutcome::Refused(error),
        _ => SendOutcome::Unknown(error),
    }
}
