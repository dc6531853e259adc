//! The host: runs endpoints on a backend.

mod guard;
mod idle;
pub mod job;
mod leases;
mod pump;
mod running;
mod threads;

use std::any::Any;
use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::broker::{BrokerLimits, Ordering, Registration};
use crate::store::StoreLimits;
use crate::{Backend, Endpoint, Failure, Order, StoreError};
use pump::Pump;
use running::{Process, Running};
use threads::Threads;

/// How long one receive waits for a message. Also the longest a stop waits for a receive.
const WAIT: Duration = Duration::from_millis(250);
/// The same where the host shall end as soon as there is nothing left.
const WAIT_TO_BE_IDLE: Duration = Duration::from_millis(5);
/// How often the finisher looks for what crashed workers left.
const FINISH_EVERY: Duration = Duration::from_secs(5);

/// What the host is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Receives and processes.
    Running,
    /// Ends what is begun, receives nothing more.
    Draining,
}

/// Runs endpoints in this process. Other processes may serve the same endpoints on the same
/// backend at the same time.
///
/// Must run inside a tokio runtime with its timer enabled.
#[derive(Debug)]
pub struct Host {
    backend: Backend,
    endpoints: Vec<Endpoint>,
    worker: String,
    drain_deadline: Duration,
}

impl Host {
    /// A host without endpoints.
    pub fn new(backend: Backend) -> Self {
        Self {
            backend,
            endpoints: Vec::new(),
            worker: format!("process {}", std::process::id()),
            drain_deadline: Duration::from_secs(30),
        }
    }

    /// Adds an endpoint.
    #[must_use]
    pub fn endpoint(mut self, endpoint: Endpoint) -> Self {
        self.endpoints.push(endpoint);
        self
    }

    /// Names this worker in the history of failures; by default it is the process id.
    #[must_use]
    pub fn worker(mut self, name: impl Into<String>) -> Self {
        self.worker = name.into();
        self
    }

    /// How long handlers may take to end when the host stops; by default 30 seconds.
    #[must_use]
    pub fn drain_deadline(mut self, deadline: Duration) -> Self {
        self.drain_deadline = deadline;
        self
    }

    /// Runs until `stop` completes, then drains: receives nothing more, ends the handlers that
    /// run, and gives back what was not begun.
    pub async fn run(self, stop: impl Future<Output = ()>) -> Result<(), HostError> {
        self.run_with(WAIT, |_| stop).await
    }

    /// Runs until no endpoint has a message that can be received now, then stops. For tests,
    /// batch jobs and examples: messages that are delayed or leased elsewhere stay.
    pub async fn run_until_idle(self) -> Result<(), HostError> {
        self.run_with(WAIT_TO_BE_IDLE, idle::wait).await
    }

    async fn run_with<F: Future<Output = ()>>(
        self,
        wait: Duration,
        stop: impl FnOnce(Vec<Arc<Running>>) -> F,
    ) -> Result<(), HostError> {
        self.check()?;
        let threads = Arc::new(Threads::start());
        let (phase, _) = watch::channel(Phase::Running);
        let mut running = Vec::new();
        for endpoint in self.endpoints {
            self.backend.broker().register(&registration(&endpoint)).await?;
            let process = Process {
                backend: self.backend.clone(),
                worker: self.worker.clone(),
                threads: threads.clone(),
                phase: phase.subscribe(),
                wait,
            };
            running.push(Arc::new(Running::new(endpoint, process)));
        }
        let stop = stop(running.clone());
        serve(running, threads, &phase, stop, self.drain_deadline).await
    }

    fn check(&self) -> Result<(), HostError> {
        if self.endpoints.is_empty() {
            return Err(HostError::NoEndpoint);
        }
        let mut names = BTreeSet::new();
        for endpoint in &self.endpoints {
            if !names.insert(endpoint.name()) {
                return Err(HostError::EndpointTwice { endpoint: endpoint.name().to_owned() });
            }
            self.check_endpoint(endpoint)?;
        }
        Ok(())
    }

    fn check_endpoint(&self, endpoint: &Endpoint) -> Result<(), HostError> {
        let store = StoreLimits { queue: self.backend.queue(), ..self.backend.store().limits() };
        check(endpoint, &store, &self.backend.broker().limits())
    }
}

/// Whether a host would run an endpoint on such a store and broker.
pub fn check(
    endpoint: &Endpoint,
    store: &StoreLimits,
    broker: &BrokerLimits,
) -> Result<(), HostError> {
    check_name(endpoint.name())?;
    let name = || endpoint.name().to_owned();
    if endpoint.handlers.is_empty() {
        return Err(HostError::NoHandler { endpoint: name() });
    }
    if let Some(kind) = endpoint.doubled.first() {
        return Err(HostError::HandlerTwice { endpoint: name(), kind });
    }
    if let Some(setting) = endpoint.settings.unusable() {
        return Err(HostError::Settings { endpoint: name(), setting });
    }
    if let Err(needs) = endpoint.protocol.check(store, broker) {
        let protocol = endpoint.protocol.name();
        return Err(HostError::Unsuitable { endpoint: name(), protocol, needs });
    }
    let ordered = endpoint.handlers.values().find(|h| h.order() == Order::PerSubject);
    match ordered {
        Some(handler) if broker.ordering == Ordering::None => {
            Err(HostError::NoOrder { endpoint: name(), kind: handler.kind() })
        }
        _ => Ok(()),
    }
}

/// Names end up in URLs, tables and file names, so they stay simple.
fn check_name(name: &str) -> Result<(), HostError> {
    let simple = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if !name.is_empty() && name.len() <= 100 && name.bytes().all(simple) {
        Ok(())
    } else {
        Err(HostError::Name { name: name.to_owned() })
    }
}

fn registration(endpoint: &Endpoint) -> Registration {
    Registration {
        endpoint: endpoint.name().to_owned(),
        protocol: endpoint.protocol.name().to_owned(),
        subscriptions: endpoint.subscriptions.clone(),
    }
}

/// Runs everything until `stop` or trouble, then drains.
async fn serve(
    running: Vec<Arc<Running>>,
    threads: Arc<Threads>,
    phase: &watch::Sender<Phase>,
    stop: impl Future<Output = ()>,
    drain_deadline: Duration,
) -> Result<(), HostError> {
    let mut pumps = JoinSet::new();
    let mut helpers = JoinSet::new();
    helpers.spawn(threads.tend());
    for endpoint in running {
        pumps.spawn(Pump::new(endpoint.clone()).run());
        helpers.spawn(leases::renew(endpoint.clone()));
        helpers.spawn(finish(endpoint));
    }
    let early = tokio::select! {
        () = stop => Ok(()),
        ended = pumps.join_next() => flatten(ended),
    };
    phase.send_replace(Phase::Draining);
    let drained = tokio::time::timeout(drain_deadline, drain(&mut pumps)).await;
    // Leases are renewed until the last handler has ended.
    helpers.shutdown().await;
    early?;
    drained.map_err(|_| HostError::Drain { seconds: drain_deadline.as_secs() })?
}

async fn drain(pumps: &mut JoinSet<Result<(), StoreError>>) -> Result<(), HostError> {
    let mut result = Ok(());
    while let Some(ended) = pumps.join_next().await {
        result = result.and(flatten(Some(ended)));
    }
    result
}

fn flatten(
    ended: Option<Result<Result<(), StoreError>, tokio::task::JoinError>>,
) -> Result<(), HostError> {
    match ended {
        None | Some(Ok(Ok(()))) => Ok(()),
        Some(Ok(Err(error))) => Err(HostError::Store(error)),
        Some(Err(error)) => Err(HostError::Bug { reason: error.to_string() }),
    }
}

async fn finish(running: Arc<Running>) {
    loop {
        let endpoint = running.name();
        match running.protocol().finish(endpoint, running.backend().places()).await {
            Ok(0) => {}
            Ok(finished) => tracing::info!(endpoint, finished, "finished what a worker left"),
            Err(error) => tracing::warn!(endpoint, %error, "the finisher will try again"),
        }
        tokio::time::sleep(FINISH_EVERY).await;
    }
}

/// Why a host does not start, or stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HostError {
    /// It was given nothing to do.
    #[error("the host has no endpoint: add one with `Host::endpoint`")]
    NoEndpoint,
    /// An endpoint was given no handler.
    #[error("endpoint `{endpoint}` has no handler: add one with `Endpoint::handle`")]
    NoHandler {
        /// Which endpoint.
        endpoint: String,
    },
    /// Two endpoints share a name.
    #[error("two endpoints are called `{endpoint}`: put all handlers of a name into one")]
    EndpointTwice {
        /// Which name.
        endpoint: String,
    },
    /// A name cannot be used everywhere.
    #[error("`{name}` cannot name an endpoint: use up to 100 letters, digits, `-`, `_` and `.`")]
    Name {
        /// Which name.
        name: String,
    },
    /// Two handlers of one endpoint handle the same type.
    #[error("endpoint `{endpoint}` has two handlers for `{kind}`: keep one")]
    HandlerTwice {
        /// Which endpoint.
        endpoint: String,
        /// Which message type.
        kind: &'static str,
    },
    /// A setting has a value with which nothing would be received.
    #[error("endpoint `{endpoint}`: the setting `{setting}` must be more than zero")]
    Settings {
        /// Which endpoint.
        endpoint: String,
        /// Which setting.
        setting: &'static str,
    },
    /// The protocol cannot work on this backend.
    #[error("endpoint `{endpoint}`: the protocol `{protocol}` needs {needs}; choose another one")]
    Unsuitable {
        /// Which endpoint.
        endpoint: String,
        /// Which protocol.
        protocol: &'static str,
        /// What it needs.
        needs: String,
    },
    /// A message type wants order, which this broker cannot keep.
    #[error(
        "endpoint `{endpoint}`: messages `{kind}` are `ordered`, but this broker cannot keep \
         order; remove `ordered`, or choose another broker"
    )]
    NoOrder {
        /// Which endpoint.
        endpoint: String,
        /// Which message type.
        kind: &'static str,
    },
    /// The store or broker needs a person.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// Handlers were still running when the time to drain was over.
    #[error(
        "handlers still ran {seconds} s after the stop; nothing is lost: their messages are \
         delivered again when the leases end"
    )]
    Drain {
        /// The time they had.
        seconds: u64,
    },
    /// Semel itself failed.
    #[error("a defect in Semel: {reason}; please report it. Nothing is lost: restart the worker")]
    Bug {
        /// What happened.
        reason: String,
    },
}

/// A panic as a failure that tells its text.
pub fn contain<T>(result: Result<T, Box<dyn Any + Send>>) -> Result<T, Failure> {
    result.map_err(|panic| Failure::retry(format!("the handler panicked: {}", panic_text(&*panic))))
}

/// The text of a panic.
pub fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no text")
}
