//! Keeps the leases of what we hold alive.

use std::sync::Arc;

use super::running::Running;
use crate::broker::{Lease, Receipt};

/// How many leases are renewed in one call.
const CHUNK: usize = 256;

/// Renews every lease three times in its length, until it is aborted.
pub(super) async fn renew(running: Arc<Running>) {
    let lease = running.settings().lease;
    loop {
        tokio::time::sleep(lease / 3).await;
        let held: Vec<Receipt> = running.held().iter().cloned().collect();
        for receipts in held.chunks(CHUNK) {
            renew_chunk(&running, receipts).await;
        }
    }
}

async fn renew_chunk(running: &Running, receipts: &[Receipt]) {
    let endpoint = running.name();
    match running.backend().broker().extend(receipts, running.settings().lease).await {
        Ok(leases) => {
            // Correctness does not depend on noticing: an attempt with a lost lease loses when it
            // commits. What was not begun yet need not begin.
            let mut held = running.held();
            for (receipt, lease) in receipts.iter().zip(leases) {
                if lease == Lease::Lost {
                    held.remove(receipt);
                }
            }
        }
        Err(error) => tracing::warn!(endpoint, %error, "leases could not be renewed"),
    }
}
