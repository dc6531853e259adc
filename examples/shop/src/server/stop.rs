//! How the parts of a server learn that it stops.

use tokio::sync::watch;

/// The server is open as long as this is there.
pub(super) type Opened = watch::Sender<()>;

/// Tells that the server stops. It does so by losing its other end, so that a server whose future
/// was dropped leaves nothing running either.
#[derive(Clone, Debug)]
pub(super) struct Stop(watch::Receiver<()>);

impl Stop {
    /// Both ends.
    pub(super) fn new() -> (Opened, Self) {
        let (opened, closed) = watch::channel(());
        (opened, Self(closed))
    }

    /// Whether the server stops.
    pub(super) fn is_near(&self) -> bool {
        self.0.has_changed().is_err()
    }

    /// Completes when the server stops.
    pub(super) async fn wait(mut self) {
        while self.0.changed().await.is_ok() {}
    }
}
