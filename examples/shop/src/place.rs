//! Where a process of the shop keeps everything, and how it works there.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use semel::core::protocols::Protocol;
use semel::{Backend, Endpoint, Host, RetryPolicy, Settings};

use crate::chaos::{self, Chaos};
use crate::history::{self, History};
use crate::{Stop, protocol};

/// How long a message is a worker's own: short, so that a killed worker's work goes on soon.
const LEASE: Duration = Duration::from_secs(2);
/// How long a stretched handler takes.
const STRETCH: Duration = Duration::from_secs(4);

/// What every process of the shop needs to know.
#[derive(Args, Debug, Clone)]
pub(crate) struct PlaceArgs {
    /// Where everything is kept, as a URL: `sqlite:PATH`, or with the feature `servers`
    /// `postgres://…`. What is missing is made.
    #[arg(long, value_name = "URL", default_value = "sqlite:shop.db")]
    store: String,
    /// Where messages are queued, if not in the store: `nats://…` or `amqp://…`.
    #[arg(long, value_name = "URL")]
    broker: Option<String>,
    /// The protocol of the services; all processes on a store have the same one.
    #[arg(long, default_value = protocol::DEFAULT, value_parser = protocol::parser())]
    pub(crate) protocol: Arc<dyn Protocol>,
    /// Inject faults, and write each down in this file.
    #[arg(long, value_name = "FAULTS_FILE")]
    pub(crate) chaos: Option<PathBuf>,
    /// Write down in this file what messages are received, attempted and settled.
    #[arg(long, value_name = "FILE")]
    history: Option<PathBuf>,
    /// Faults follow from this number.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// End when the standard input ends: for processes that belong to another one.
    #[arg(long)]
    pub(crate) tied: bool,
}

impl PlaceArgs {
    /// The SQLite file, if the store is one.
    pub(crate) fn file(&self) -> Option<PathBuf> {
        let path = self.store.strip_prefix("sqlite:")?;
        Some(path.strip_prefix("//").unwrap_or(path).into())
    }
}

/// What a process works on.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) backend: Backend,
    protocol: Arc<dyn Protocol>,
    chaos: Option<Arc<Chaos>>,
    history: Option<Arc<History>>,
}

impl Place {
    /// Opens it, with faults and a history if they are asked for.
    pub(crate) async fn open(args: &PlaceArgs) -> Result<Self, Stop> {
        let opened = match &args.broker {
            None => semel::open(&args.store).await,
            Some(broker) => semel::open_apart(&args.store, broker).await,
        };
        let mut backend = opened.map_err(Stop::trouble)?;
        let unwritable = |what: &str, path: &PathBuf, error| {
            Stop::usage(format!("the {what} file {} cannot be written: {error}", path.display()))
        };
        // Below the faults: what is written down is what happened, not what was reported of it.
        let mut history = None;
        if let Some(path) = &args.history {
            let opened = History::append(path).map_err(|it| unwritable("history", path, it))?;
            let opened = Arc::new(opened);
            backend = history::wrap(backend, &opened);
            history = Some(opened);
        }
        let mut chaos = None;
        if let Some(path) = &args.chaos {
            let opened = Chaos::new(args.seed, path, STRETCH);
            let opened = Arc::new(opened.map_err(|it| unwritable("faults", path, it))?);
            backend = chaos::wrap(backend, &opened);
            chaos = Some(opened);
        }
        Ok(Self { backend, protocol: args.protocol.clone(), chaos, history })
    }

    /// The services with these names; all of them, if there are none.
    pub(crate) fn host(&self, services: &[String]) -> Host {
        let is_meant = |endpoint: &Endpoint| {
            services.is_empty() || services.iter().any(|it| it == endpoint.name())
        };
        let meant = shop_services::all().into_iter().filter(is_meant);
        meant
            .map(|endpoint| self.dress(endpoint))
            .fold(Host::new(self.backend.clone()), Host::endpoint)
    }

    fn dress(&self, endpoint: Endpoint) -> Endpoint {
        let settings = Settings {
            lease: LEASE,
            retry: RetryPolicy {
                first_delay: Duration::from_millis(200),
                ..RetryPolicy::default()
            },
            ..Settings::default()
        };
        let name = endpoint.name().to_owned();
        let mut endpoint = endpoint.settings(settings).shared_protocol(self.protocol.clone());
        if let Some(history) = &self.history {
            endpoint =
                endpoint.wrap_handlers(|handler| history::wrap_handler(&name, handler, history));
        }
        if let Some(chaos) = &self.chaos {
            endpoint = endpoint.wrap_handlers(|handler| chaos::wrap_handler(handler, chaos));
        }
        endpoint
    }
}
