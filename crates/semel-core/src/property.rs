//! What exactly-once processing promises, as seven properties.

use std::fmt;

/// One of the properties that a protocol promises under Semel's failure model.
///
/// `docs/guarantees.md` says for each protocol which of them it gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Property {
    /// A message changes its entity's state at most once.
    AtMostOneStateChange,
    /// Each effect of a message becomes visible under one identity with one content.
    AtMostOneEffect,
    /// Visible effects come from the attempt whose state was committed, all of them from that one.
    ConsistentStateAndEffects,
    /// Nothing is visible outside before the state that justifies it is durable.
    NoGhostEffects,
    /// Once faults stop, every message has had its state change, unless it is undecodable or its
    /// own handler keeps failing.
    NoLostMessages,
    /// Once faults stop, every effect of a committed attempt is visible.
    NoLostEffects,
    /// Once faults stop, attempts have ended and late writes have landed, nothing of a failed
    /// attempt remains, and the bookkeeping left is within the protocol's stated bound.
    NoGarbage,
}

impl Property {
    /// Every property.
    pub const ALL: [Self; 7] = [
        Self::AtMostOneStateChange,
        Self::AtMostOneEffect,
        Self::ConsistentStateAndEffects,
        Self::NoGhostEffects,
        Self::NoLostMessages,
        Self::NoLostEffects,
        Self::NoGarbage,
    ];

    /// Its stable name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AtMostOneStateChange => "AtMostOneStateChange",
            Self::AtMostOneEffect => "AtMostOneEffect",
            Self::ConsistentStateAndEffects => "ConsistentStateAndEffects",
            Self::NoGhostEffects => "NoGhostEffects",
            Self::NoLostMessages => "NoLostMessages",
            Self::NoLostEffects => "NoLostEffects",
            Self::NoGarbage => "NoGarbage",
        }
    }

    /// What it says, as a sentence without its full stop.
    pub const fn says(self) -> &'static str {
        match self {
            Self::AtMostOneStateChange => "a message changes its entity's state at most once",
            Self::AtMostOneEffect => {
                "each effect of a message becomes visible under one identity with one content"
            }
            Self::ConsistentStateAndEffects => {
                "visible effects come from the attempt whose state was committed"
            }
            Self::NoGhostEffects => {
                "nothing is visible outside before the state that justifies it is durable"
            }
            Self::NoLostMessages => "once faults stop, every message has had its state change",
            Self::NoLostEffects => {
                "once faults stop, every effect of a committed attempt is visible"
            }
            Self::NoGarbage => {
                "once faults stop, nothing of a failed attempt remains, and the bookkeeping left is \
                 within the protocol's bound"
            }
        }
    }
}

impl fmt::Display for Property {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
