//! The contracts of store, broker, operator and queue, on a real file.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use semel_conformance::{BrokerRig, OperatorRig, Rig, StoreRig, suite};
use semel_core::operator::Operator;
use semel_core::{Broker, ManualClock, Store};
use semel_sqlite::{Options, Sqlite};
use tempfile::TempDir;

/// A fresh folder, and a clock that stands still until it is moved.
struct FileRig {
    folder: TempDir,
    clock: Arc<ManualClock>,
}

async fn fresh() -> FileRig {
    FileRig { folder: tempfile::tempdir().unwrap(), clock: Arc::default() }
}

impl FileRig {
    /// Each call opens the file anew, as another process would.
    fn open(&self) -> Arc<Sqlite> {
        let options = Options { clock: self.clock.clone(), ..Options::default() };
        Arc::new(Sqlite::open_with(self.folder.path().join("place.db"), options).unwrap())
    }
}

#[async_trait]
impl Rig for FileRig {
    async fn pass(&self, span: Duration) {
        self.clock.advance(span);
    }
}

#[async_trait]
impl StoreRig for FileRig {
    async fn store(&self) -> Arc<dyn Store> {
        self.open()
    }
}

#[async_trait]
impl BrokerRig for FileRig {
    async fn broker(&self) -> Arc<dyn Broker> {
        self.open()
    }
}

#[async_trait]
impl OperatorRig for FileRig {
    async fn operator(&self) -> Arc<dyn Operator> {
        self.open()
    }
}

suite!(store, fresh());
suite!(broker, fresh());
suite!(operator, fresh());
suite!(queue_in_store, fresh());
