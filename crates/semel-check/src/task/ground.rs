//! The stage on which a job runs: the endpoints of the world, and places that are simulated.

use std::sync::Arc;

use semel_core::broker::{BrokerLimits, Delivery, Receipt};
use semel_core::handler::{BoxFuture, Handler};
use semel_core::host::job::{Ground, Job, Round, Unguarded};
use semel_core::operator::DeadLetter;
use semel_core::protocols::{Business, Outcome, Places};
use semel_core::store::StoreLimits;
use semel_core::{Endpoint, Envelope};

use super::End;
use super::places::{SimBroker, SimClock, SimEntropy, SimStore};
use super::port::{self, Note};
use crate::hash::{Ink, Print};
use crate::parts::{Carried, Queued, Routes};
use crate::trace::phrases::short_id;

/// Everyone who can act, and what they act on.
#[derive(Debug)]
pub(crate) struct Cast {
    /// The versions of each endpoint, oldest first, with their handlers wrapped.
    pub(crate) sites: Vec<Site>,
    pub(crate) store: StoreLimits,
    pub(crate) broker: BrokerLimits,
    pub(crate) routes: Arc<Routes>,
}

/// An endpoint in the versions that are deployed one after the other.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) versions: Vec<Endpoint>,
}

impl Site {
    pub(crate) fn name(&self) -> &str {
        self.versions.first().map_or("", Endpoint::name)
    }
}

/// What a task begins with.
#[derive(Clone, Debug)]
pub(crate) enum Start {
    /// A delivery to process.
    Process {
        site: usize,
        version: usize,
        /// The message as it was delivered.
        queued: Arc<Queued>,
        /// Failed attempts of this delivery.
        attempts: u32,
    },
    /// Look for what crashed workers left.
    Finish { site: usize, version: usize },
    /// A dead letter to discard.
    Discard {
        site: usize,
        version: usize,
        message: Arc<Carried>,
        entity: Option<Arc<str>>,
        receipt: Receipt,
    },
}

impl Start {
    pub(crate) fn print(&self) -> Print {
        let ink = Ink::new(16);
        match self {
            Self::Process { site, version, queued, attempts } => ink
                .with((0_u8, site, version, queued.carried.print, queued.delivery()))
                .with((queued.deliveries, queued.failure_count, attempts)),
            Self::Finish { site, version } => ink.with((1_u8, site, version)),
            Self::Discard { site, version, message, entity, receipt } => {
                ink.with((2_u8, site, version, message.print, receipt)).with(entity)
            }
        }
        .print()
    }

    /// The name of the delivery it works on.
    pub(crate) fn delivery(&self) -> Option<Print> {
        match self {
            Self::Process { queued, .. } => Some(queued.delivery()),
            Self::Discard { .. } | Self::Finish { .. } => None,
        }
    }

    /// What it is, for a reader.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Process { queued, .. } => {
                let message = &queued.carried;
                let (kind, id) = (&message.envelope.kind, short_id(&message.envelope.id));
                format!("processing {kind} {id} at {}", message.endpoint)
            }
            Self::Discard { message, .. } => {
                format!("discarding {} at {}", short_id(&message.envelope.id), message.endpoint)
            }
            Self::Finish { .. } => "finishing what crashed workers left".to_owned(),
        }
    }

    /// The message it is about.
    pub(crate) fn message(&self) -> Option<&Arc<Carried>> {
        match self {
            Self::Process { queued, .. } => Some(&queued.carried),
            Self::Discard { message, .. } => Some(message),
            Self::Finish { .. } => None,
        }
    }
}

struct Stage<'a> {
    endpoint: &'a Endpoint,
    cast: &'a Cast,
    store: &'a SimStore,
    broker: &'a SimBroker,
    entropy: &'a SimEntropy,
}

impl Ground for Stage<'_> {
    fn endpoint(&self) -> &Endpoint {
        self.endpoint
    }

    // Workers are interchangeable: one that could tell its name would not be.
    fn worker(&self) -> &str {
        "worker"
    }

    fn places(&self) -> Places<'_> {
        Places {
            store: self.store,
            broker: self.broker,
            queue: self.cast.store.queue,
            clock: &SimClock,
            entropy: self.entropy,
        }
    }

    fn business(&self, handler: &Arc<dyn Handler>, envelope: &Arc<Envelope>) -> Box<dyn Business> {
        Box::new(Unguarded::new(handler, envelope))
    }

    // Hearing of a lost lease is a race; not to hear of it is the worst case.
    fn is_held(&self, _: &Receipt) -> bool {
        true
    }

    fn is_draining(&self) -> bool {
        false
    }

    fn back_off(&self, _: u32) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }
}

/// Does what a task is for.
pub(super) async fn perform(cast: Arc<Cast>, start: Arc<Start>) -> End {
    let store = SimStore(cast.store);
    let broker = SimBroker { limits: cast.broker, routes: cast.routes.clone() };
    let entropy = SimEntropy(start.print());
    let stage = |site: usize, version: usize| {
        let endpoint = cast.sites.get(site)?.versions.get(version)?;
        Some(Stage { endpoint, cast: &cast, store: &store, broker: &broker, entropy: &entropy })
    };
    match &*start {
        Start::Process { site, version, attempts, .. } => match stage(*site, *version) {
            Some(stage) => process(&stage, delivery(&start), *attempts).await,
            None => End::Stopped("the world has no such endpoint".to_owned()),
        },
        Start::Finish { site, version } => match stage(*site, *version) {
            Some(stage) => {
                let protocol = stage.endpoint.chosen_protocol();
                // What could not be finished stays for the next look.
                match protocol.finish(stage.endpoint.name(), stage.places()).await {
                    Ok(_) => End::Over,
                    Err(error) if error.is_passing() => End::Over,
                    Err(error) => End::Stopped(error.to_string()),
                }
            }
            None => End::Over,
        },
        Start::Discard { site, version, message, entity, receipt } => {
            match stage(*site, *version) {
                Some(stage) => discard(&stage, message, entity.as_deref(), receipt).await,
                None => End::Over,
            }
        }
    }
}

fn delivery(start: &Start) -> Option<Delivery> {
    let Start::Process { queued, .. } = start else { return None };
    Some(Delivery {
        receipt: queued.receipt(),
        envelope: Ok((*queued.carried.envelope).clone()),
        deliveries: queued.deliveries,
        failures: (*queued.failures).clone(),
        failure_count: queued.failure_count,
    })
}

async fn process(stage: &Stage<'_>, delivery: Option<Delivery>, attempts: u32) -> End {
    let Some(delivery) = delivery else { return End::Over };
    let mut job = Job::new(stage, delivery).after(attempts);
    match job.round(stage).await {
        Ok(Round::Ended(_)) => End::Over,
        Ok(Round::AtOnce | Round::Later) => End::Again { attempts: job.attempts() },
        Err(error) => End::Stopped(error.to_string()),
    }
}

async fn discard(
    stage: &Stage<'_>,
    message: &Carried,
    entity: Option<&str>,
    receipt: &Receipt,
) -> End {
    let dead = DeadLetter {
        number: 1,
        endpoint: message.endpoint.clone(),
        protocol: Some(stage.endpoint.chosen_protocol().name().to_owned()),
        envelope: Ok((*message.envelope).clone()),
        raw: message.envelope.data.clone(),
        reason: semel_core::broker::DeadReason::HandlerFailed,
        dead_since: crate::epoch(),
        deliveries: 1,
        failures: Vec::new(),
        entity: entity.map(str::to_owned),
        receipt: receipt.clone(),
    };
    let outcome = stage.endpoint.chosen_protocol().discard(&dead, stage.places()).await;
    port::note(|| Note::Step(format!("discarded: {outcome:?}")));
    match outcome {
        Outcome::Processed | Outcome::Duplicate => End::Discarded,
        Outcome::Broken(error) => End::Stopped(error.to_string()),
        // The person sees that it failed, and may try again.
        _ => End::Over,
    }
}
