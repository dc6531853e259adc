//! What every explorer explores: deposits into one account, each noted by an audit.

use std::fmt;

use semel::{Context, Endpoint};
use serde::{Deserialize, Serialize};

use crate::work::{Account, Deposit, Deposited, deposit};

/// Who makes the deposits.
pub(crate) const ACCOUNT: &str = "alice";
/// Where they go.
pub(crate) const ACCOUNTS: &str = "accounts";
/// Where the handler of a deposit sends its message.
pub(crate) const SINK: &str = "sink";
/// How many workers there are.
pub(crate) const WORKERS: usize = 2;

const PENCE: u64 = 5;

/// A world that all explorers share, with two workers, the queue elsewhere, and no faults.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scene {
    /// How many deposits there are, all into one account.
    pub(crate) messages: usize,
}

impl fmt::Display for Scene {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.messages == 1 { "" } else { "s" };
        write!(f, "{WORKERS} workers, {} deposit{plural} into one account", self.messages)
    }
}

impl Scene {
    /// The messages by their ids.
    pub(crate) fn deposits(self) -> impl Iterator<Item = (String, Deposit)> {
        (0..self.messages).map(|number| {
            (format!("d{number}"), Deposit { account: ACCOUNT.to_owned(), pence: PENCE })
        })
    }

    /// Whether the books are right once all work is done.
    pub(crate) fn is_right(self, account: Option<&Account>, audit: Option<&Audit>) -> bool {
        let pence = PENCE * self.messages as u64;
        account.is_some_and(|account| account.balance_pence == pence)
            && audit.is_some_and(|audit| audit.notes == self.messages as u64)
    }
}

/// What the audit remembers of an account.
#[derive(Default, Serialize, Deserialize, Debug)]
pub(crate) struct Audit {
    notes: u64,
}

fn note(audit: &mut Audit, _: Deposited, _: &mut Context) {
    audit.notes += 1;
}

/// The endpoints, under the protocol that is the default.
pub(crate) fn endpoints() -> [Endpoint; 2] {
    [Endpoint::new(ACCOUNTS).handle(deposit), Endpoint::new(SINK).handle(note)]
}
