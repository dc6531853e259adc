//! A world made ready: everything that does not change while it runs.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use semel_core::Timestamp;
use semel_core::broker::Outgoing;
use semel_core::store::{ItemKey, Space};

use crate::fault::{Fault, Faults};
use crate::parts::Routes;
use crate::task::Cast;
use crate::view::{Condition, Invariant};

use semel_core::Property;

/// Where a run is cut off. A cut is reported: it is neither a pass nor a violation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// How often one copy of a message is delivered.
    pub(crate) deliveries: u32,
    /// How many calls a task makes before it begins anew.
    pub(crate) calls: u32,
    /// How many rounds of a task draw identities.
    pub(crate) epochs: u32,
    /// How many states are explored.
    pub(crate) states: usize,
    /// How many states may wait to be looked at: each takes two to three KiB.
    pub(crate) waiting: usize,
    /// How many moves a run has.
    pub(crate) depth: u32,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            deliveries: 12,
            calls: 200,
            epochs: 12,
            states: 5_000_000,
            waiting: 2_000_000,
            depth: 2_000,
        }
    }
}

/// What a conflict tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Conflicts {
    /// Every condition that failed.
    Named,
    /// Nothing but that some did.
    Unnamed,
}

/// A world made ready.
#[derive(Debug)]
pub(crate) struct Model {
    pub(crate) name: String,
    pub(crate) cast: Arc<Cast>,
    pub(crate) routes: Arc<Routes>,
    pub(crate) messages: Vec<Outgoing>,
    /// What is in the store at first.
    pub(crate) items: Vec<(ItemKey, Bytes)>,
    pub(crate) conflicts: Conflicts,
    pub(crate) workers: usize,
    pub(crate) faults: Faults,
    pub(crate) faults_max: u32,
    pub(crate) bounds: Bounds,
    pub(crate) epoch: Timestamp,
    pub(crate) later_by: Duration,
    pub(crate) judged: Vec<Property>,
    pub(crate) invariants: Vec<Invariant>,
    pub(crate) conditions: Vec<Condition>,
    /// Kinds of records that may stay for good.
    pub(crate) keeps: Vec<Space>,
    /// The most bytes of bookkeeping in an entity's item.
    pub(crate) bookkeeping_max: Option<usize>,
}

impl Model {
    pub(crate) fn site(&self, endpoint: &str) -> Option<usize> {
        self.cast.sites.iter().position(|site| site.name() == endpoint)
    }

    pub(crate) fn stale_reads(&self) -> bool {
        self.faults.has(Fault::StaleRead)
    }

    pub(crate) fn judges(&self, property: Property) -> bool {
        self.judged.contains(&property)
    }
}
