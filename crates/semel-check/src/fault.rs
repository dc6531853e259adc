//! The failure model, as choices.

use std::fmt;

/// One way in which the world can be unkind. Each occurrence counts as one fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// A process dies before a call, or with its request on the way.
    Crash,
    /// A write is not applied, and its caller gets no answer; or one message of several is lost.
    LostRequest,
    /// A write is applied, and its caller gets no answer.
    LostReply,
    /// A write is applied after its caller has moved on without an answer.
    LateWrite,
    /// A read fails.
    FailedRead,
    /// The lease of a message ends while its worker is still at it.
    EarlyRedelivery,
    /// A message in the queue is doubled.
    Duplicate,
    /// A handler fails once.
    HandlerFailure,
    /// A delivery comes after the clock has moved on (by a day, see `World::later_by`).
    LateDelivery,
    /// A person replays or discards a dead letter.
    Person,
    /// The next version of an endpoint is deployed (see `World::deploy`).
    Deployment,
    /// A write is applied twice by a retry below us: at once, so that its caller gets the second
    /// answer, or later.
    RepeatedWrite,
    /// A read gives what stood there before the last write.
    StaleRead,
    /// So much time passes that all that is kept for a time may vanish.
    WindowPasses,
}

impl Fault {
    /// Every fault.
    pub const ALL: [Self; 14] = [
        Self::Crash,
        Self::LostRequest,
        Self::LostReply,
        Self::LateWrite,
        Self::FailedRead,
        Self::EarlyRedelivery,
        Self::Duplicate,
        Self::HandlerFailure,
        Self::LateDelivery,
        Self::Person,
        Self::Deployment,
        Self::RepeatedWrite,
        Self::StaleRead,
        Self::WindowPasses,
    ];
}

/// Which faults a world has.
///
/// The default is all that a protocol must survive without saying so: everything but
/// [`Fault::RepeatedWrite`], which an adapter rules out or declares, [`Fault::StaleRead`], which a
/// store with eventual reads has, and [`Fault::WindowPasses`], past which no window promises.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Faults(u16);

impl Default for Faults {
    fn default() -> Self {
        Self::ALL
            .without(Fault::RepeatedWrite)
            .without(Fault::StaleRead)
            .without(Fault::WindowPasses)
    }
}

impl Faults {
    /// Every fault there is.
    pub const ALL: Self = Self((1 << Fault::ALL.len()) - 1);
    /// A kind world.
    pub const NONE: Self = Self(0);

    /// These faults alone.
    pub fn only(faults: impl IntoIterator<Item = Fault>) -> Self {
        faults.into_iter().fold(Self::NONE, Self::with)
    }

    /// The same and this one.
    #[must_use]
    pub const fn with(self, fault: Fault) -> Self {
        Self(self.0 | 1 << fault as u16)
    }

    /// The same but for this one.
    #[must_use]
    pub const fn without(self, fault: Fault) -> Self {
        Self(self.0 & !(1 << fault as u16))
    }

    /// Whether a fault is among them.
    pub const fn has(self, fault: Fault) -> bool {
        self.0 & 1 << fault as u16 != 0
    }
}

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(Fault::ALL.iter().filter(|fault| self.has(**fault))).finish()
    }
}
