//! The two kinds of process: the server and the worker.

use std::net::SocketAddr;

use clap::{Args, ValueEnum};
use tokio::net::TcpListener;

use crate::books::SERVICES;
use crate::place::{Place, PlaceArgs};
use crate::{Stop, protocol, server};

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
    /// Run this service alone; may be given several times. Without it, all of them.
    #[arg(long, value_name = "NAME", value_parser = SERVICES)]
    service: Vec<String>,
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
    let place = Place::open(&args.place).await?;
    println!("the shop is open: http://{address}/  and live: http://{address}/live");
    let pages = server::serve(server::Options {
        backend: place.backend.clone(),
        file: args.place.file(),
        faults: args.place.chaos.clone(),
        edge: protocol::edge_settings(&*args.place.protocol),
        listener,
        shutdown: stop_signal(args.place.tied),
    });
    match args.services {
        ServicesPlace::Elsewhere => pages.await.map_err(Stop::trouble),
        ServicesPlace::Here => {
            let stop = stop_signal(args.place.tied);
            let host = place.host(&[]);
            let (pages, host) = tokio::join!(pages, host.run(stop));
            pages.map_err(Stop::trouble).and(host.map_err(Stop::trouble))
        }
    }
}

/// Runs the services until it is told to stop.
pub(crate) async fn work(args: WorkerArgs) -> Result<(), Stop> {
    let host = Place::open(&args.place).await?.host(&args.service);
    host.run(stop_signal(args.place.tied)).await.map_err(Stop::trouble)
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
