//! A place where handlers wait until the test lets them go.

use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::watch;

/// Closed until it is opened, for as many as come. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Gate {
    arrived: Arc<watch::Sender<u64>>,
    is_open: Arc<watch::Sender<bool>>,
    runtime: Handle,
}

impl Gate {
    pub(crate) fn new() -> Self {
        Self {
            arrived: Arc::new(watch::Sender::new(0)),
            is_open: Arc::new(watch::Sender::new(false)),
            runtime: Handle::current(),
        }
    }

    /// Waits at the gate in an async handler.
    pub(crate) async fn pass(&self) {
        self.arrived.send_modify(|count| *count += 1);
        self.is_open.subscribe().wait_for(|is_open| *is_open).await.unwrap();
    }

    /// Waits at the gate in a plain handler.
    pub(crate) fn pass_blocking(&self) {
        self.runtime.block_on(self.pass());
    }

    /// Until `count` have come to the gate, in all.
    pub(crate) async fn arrived(&self, count: u64) {
        self.arrived.subscribe().wait_for(|arrived| *arrived >= count).await.unwrap();
    }

    /// How many have come, in all.
    pub(crate) fn arrivals(&self) -> u64 {
        *self.arrived.borrow()
    }

    pub(crate) fn open(&self) {
        self.is_open.send_replace(true);
    }
}
