//! The two kinds of process: the server and the worker.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};
use semel::core::protocols::Protocol;
use semel::{Backend, Endpoint, Host, RetryPolicy, Settings};
use tokio::net::TcpListener;

use crate::chaos::{self, Chaos};
use crate::{Stop, protocol, server};

/// How long a message is a worker's own: short, so that a killed worker's work goes on soon.
const LEASE: Duration = Duration::from_secs(2);
/// How long a stretched handler takes.
const STRETCH: Duration = Duration::from_secs(4);

/// What every process of the shop needs to know.
#[derive(Args, Debug, Clone)]
pub(crate) struct PlaceArgs {
    /// The file that keeps everything; it is made if there is none.
    #[arg(long, default_value = "shop.db")]
    file: PathBuf,
    /// The protocol of the services; all processes on a file have the same one.
    #[arg(long, default_value = protocol::DEFAULT, value_parser = protocol::parser())]
    protocol: Arc<dyn Protocol>,
    /// Inject faults, and write each down in this file.
    #[arg(long, value_name = "FAULTS_FILE")]
    chaos: Option<PathBuf>,
    /// Faults follow from this number.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// End when the standard input ends: for processes that belong to another one.
    #[arg(long)]
    tied: bool,
}

/// Where the services run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ServicesPlace {
    /// In this process.
    Here,
    /// In worker processes.
    Elsewhere,
}

/// Options of `shop serve`.
#[derive(Args, Debug)]
pub(crate) struct ServeArgs {
    #[command(flatten)]
    place: PlaceArgs,
    /// The address of the web pages.
    #[arg(long, default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Where the services run.
    #[arg(long, value_enum, default_value_t = ServicesPlace::Here)]
    services: ServicesPlace,
}

/// Options of `shop worker`.
#[derive(Args, Debug)]
pub(crate) struct WorkerArgs {
    #[command(flatten)]
    place: PlaceArgs,
}

/// Serves the pages until it is told to stop.
pub(crate) async fn serve(args: ServeArgs) -> Result<(), Stop> {
    let listener = TcpListener::bind(args.listen).await.map_err(|error| {
        let address = args.listen;
        Stop::usage(format!(
            "{address} cannot be listened on: {error}; choose another with `--listen`, for \
             example `--listen 127.0.0.1:0`"
        ))
    })?;
    let address = listener.local_addr().map_err(Stop::trouble)?;
    let (backend, chaos) = open(&args.place).await?;
    println!("the shop is open: http://{address}/  and live: http://{address}/live");
    let pages = server::serve(server::Options {
        backend: backend.clone(),
        file: args.place.file.clone(),
        faults: args.place.chaos.clone(),
        edge: protocol::edge_settings(&*args.place.protocol),
        listener,
        shutdown: stop_signal(args.place.tied),
    });
    match args.services {
        ServicesPlace::Elsewhere => pages.await.map_err(Stop::trouble),
        ServicesPlace::Here => {
            let stop = stop_signal(args.place.tied);
            let host = host(backend, chaos.as_ref(), &args.place.protocol);
            let (pages, host) = tokio::join!(pages, host.run(stop));
            pages.map_err(Stop::trouble).and(host.map_err(Stop::trouble))
        }
    }
}

/// Runs the services until it is told to stop.
pub(crate) async fn work(args: WorkerArgs) -> Result<(), Stop> {
    let (backend, chaos) = open(&args.place).await?;
    let host = host(backend, chaos.as_ref(), &args.place.protocol);
    host.run(stop_signal(args.place.tied)).await.map_err(Stop::trouble)
}

async fn open(place: &PlaceArgs) -> Result<(Backend, Option<Arc<Chaos>>), Stop> {
    let backend =
        semel::open(&format!("sqlite:{}", place.file.display())).await.map_err(Stop::trouble)?;
    let Some(faults) = &place.chaos else { return Ok((backend, None)) };
    let chaos = Chaos::new(place.seed, faults, STRETCH).map_err(|error| {
        Stop::usage(format!("the faults file {} cannot be written: {error}", faults.display()))
    })?;
    let chaos = Arc::new(chaos);
    Ok((chaos::wrap(backend, &chaos), Some(chaos)))
}

fn host(backend: Backend, chaos: Option<&Arc<Chaos>>, protocol: &Arc<dyn Protocol>) -> Host {
    let settings = Settings {
        lease: LEASE,
        retry: RetryPolicy { first_delay: Duration::from_millis(200), ..RetryPolicy::default() },
        ..Settings::default()
    };
    let dress = |endpoint: Endpoint| {
        let endpoint = endpoint.settings(settings).shared_protocol(protocol.clone());
        match chaos {
            None => endpoint,
            Some(chaos) => endpoint.wrap_handlers(|handler| chaos::wrap_handler(handler, chaos)),
        }
    };
    shop_services::all().into_iter().map(dress).fold(Host::new(backend), Host::endpoint)
}

/// Completes on Ctrl-C, on SIGTERM, or, if the process is tied, when its standard input ends.
async fn stop_signal(tied: bool) {
    let input_ended = async {
        match tied {
            true => input_end().await,
            false => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        () = terminated() => {}
        () = input_ended => {}
    }
}

/// Completes when the standard input ends. It is read on a thread that nobody waits for: the
/// runtime's own would keep the process from ending.
async fn input_end() {
    let (ended, end) = tokio::sync::oneshot::channel::<()>();
    let read = move || {
        // Whatever comes, or an error: only the end matters, and dropping the sender tells it.
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        drop(ended);
    };
    if let Err(error) = std::thread::Builder::new().spawn(read) {
        tracing::warn!(%error, "the standard input is not watched");
        std::future::pending::<()>().await;
    }
    // The sender sends nothing; it only goes away.
    let _ = end.await;
}

#[cfg(unix)]
async fn terminated() {
    match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
        Ok(mut signal) => {
            signal.recv().await;
        }
        Err(_) => std::future::pending().await,
    }
}

#[cfg(not(unix))]
async fn terminated() {
    std::future::pending().await
}
