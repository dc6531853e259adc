//! What all parts of one opened place share.

use std::sync::Arc;
use std::time::SystemTime;

use semel_core::store::Trouble;
use semel_core::{Clock, Entropy as _, StoreError, SystemEntropy};

use crate::bells::Bells;
use crate::session::{Parameter, Server};
use crate::{error, row};

/// One schema of one database.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) server: Server,
    /// The schema's name, quoted.
    pub(crate) schema: String,
    /// Tells when leases and windows end; `None` for the server's own clock.
    pub(crate) clock: Option<Arc<dyn Clock>>,
    pub(crate) bells: Bells,
}

impl Place {
    /// The time as a parameter: null for the server's.
    pub(crate) fn now(&self) -> Parameter<'static> {
        Box::new(self.moment())
    }

    /// The time, for several parameters; `None` for the server's.
    pub(crate) fn moment(&self) -> Option<SystemTime> {
        self.clock.as_ref().map(|clock| row::write_time(clock.now()))
    }

    /// A random number.
    pub(crate) fn random(&self) -> i64 {
        SystemEntropy.bits() as i64
    }

    pub(crate) fn defect(&self, operation: &'static str, reason: &str) -> StoreError {
        let help = "This is a defect in Semel; please report it.";
        error::new(&self.server.place, Trouble::Broken, operation, reason, help)
    }
}
