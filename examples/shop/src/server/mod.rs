//! The shop's HTTP server: the pages, the API behind them, and the live stream.
//!
//! It is made of Semel's edge and of what the services left in their ledgers: it keeps nothing of
//! its own.

mod carts;
mod live;
mod pages;
mod routes;
mod stop;
#[cfg(test)]
mod tests;
mod view;

use std::future::Future;
use std::path::PathBuf;
use std::time::Duration;

use semel::Backend;
use semel::http::{Edge, EdgeError, Settings};
use tokio::net::TcpListener;

use live::{Live, Sources};
use routes::Shop;
use stop::Stop;

/// How long requests may take to end once the server stops. Those that changed something are
/// durable or not by themselves; this only bounds clients that do not read their answers.
const DRAIN_MAX: Duration = Duration::from_secs(10);

/// What a server works on.
#[derive(Debug)]
pub(crate) struct Options<F> {
    /// Where carts, orders and messages are kept.
    pub(crate) backend: Backend,
    /// The SQLite file behind `backend`, if that is its store: the live stream reads it.
    pub(crate) file: Option<PathBuf>,
    /// Where faults are written down, one kind on a line; it need not be there.
    pub(crate) faults: Option<PathBuf>,
    /// How the edge works.
    pub(crate) edge: Settings,
    /// Where requests come from. Nobody is asked who they are, so let it be a loopback address.
    pub(crate) listener: TcpListener,
    /// The server stops when this completes.
    pub(crate) shutdown: F,
}

/// Why the server does not start, or stopped.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServeError {
    /// The edge cannot work on this backend.
    #[error(transparent)]
    Edge(#[from] EdgeError),
    /// Connections can no longer be taken.
    #[error("no more connections can be taken: {0}; start the server again")]
    Connections(#[from] std::io::Error),
}

/// Serves until `options.shutdown` completes, then ends the requests in work and the live streams.
pub(crate) async fn serve<F: Future<Output = ()>>(options: Options<F>) -> Result<(), ServeError> {
    let Options { backend, file, faults, edge, listener, shutdown } = options;
    let edge = Edge::with(backend.clone(), edge)?;
    let (opened, stop) = Stop::new();
    let (live, watcher) = Live::start(Sources::new(&backend, file, faults), stop.clone());
    let app = routes::app(Shop { edge, backend, live });
    let ending = stop.clone();
    let server = axum::serve(listener, app).with_graceful_shutdown(ending.wait()).into_future();
    let closing = async move {
        shutdown.await;
        drop(opened);
        tokio::time::sleep(DRAIN_MAX).await;
    };
    let served = tokio::select! {
        served = server => served,
        () = closing => {
            tracing::warn!("clients still had not read their answers when the time was up");
            Ok(())
        }
    };
    // It ends by itself, at the latest after the look at the file that it has begun.
    if let Err(error) = watcher.await {
        tracing::error!(%error, "the live stream broke down");
    }
    Ok(served?)
}
