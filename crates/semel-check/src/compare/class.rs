//! Under what is compared: classes of faults, each with its worlds.

use std::time::Duration;

use semel_core::retry::RetryPolicy;
use semel_core::{Endpoint, Settings};

use super::cast::{self, ACCOUNTS, Deposit};
use super::row::Row;
use crate::fault::{Fault, Faults};
use crate::world::World;

/// How much later a delivery comes in all the late deliveries of one run: a long weekend.
const LATE: Duration = Duration::from_secs(3 * 86_400);

/// Kinds of faults that belong together. Each column of the comparison has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FaultClass {
    /// Processes die.
    Crashes,
    /// Messages come twice, or while another worker is still at them.
    Redelivery,
    /// Writes whose outcome is unknown, or that land late.
    Writes,
    /// Reads and handlers fail.
    Failures,
    /// Deliveries and repetitions come days late.
    Late,
    /// A person replays or discards dead letters.
    People,
    /// Attempts run different versions of the handler.
    Deployment,
    /// A duplicate comes after any window of time.
    Window,
    /// A layer below repeats writes, or reads are stale: what adapters rule out or declare.
    Below,
}

impl FaultClass {
    /// Every class.
    pub const ALL: [Self; 9] = [
        Self::Crashes,
        Self::Redelivery,
        Self::Writes,
        Self::Failures,
        Self::Late,
        Self::People,
        Self::Deployment,
        Self::Window,
        Self::Below,
    ];

    /// Its stable name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Crashes => "crashes",
            Self::Redelivery => "redelivery",
            Self::Writes => "writes",
            Self::Failures => "failures",
            Self::Late => "late",
            Self::People => "people",
            Self::Deployment => "deployment",
            Self::Window => "window",
            Self::Below => "below",
        }
    }

    /// The letter that stands for it where there is little room.
    pub const fn letter(self) -> char {
        match self {
            Self::Crashes => 'C',
            Self::Redelivery => 'R',
            Self::Writes => 'W',
            Self::Failures => 'F',
            Self::Late => 'L',
            Self::People => 'P',
            Self::Deployment => 'D',
            Self::Window => 'X',
            Self::Below => 'B',
        }
    }

    /// What happens, as a line.
    pub const fn says(self) -> &'static str {
        match self {
            Self::Crashes => "processes die at any call",
            Self::Redelivery => "messages are doubled, and leases end while their worker is at it",
            Self::Writes => "writes are lost, answered by nobody, or land late",
            Self::Failures => "reads and handlers fail",
            Self::Late => "deliveries and repetitions come up to three days late",
            Self::People => "a person replays or discards dead letters",
            Self::Deployment => "attempts run different versions of the handler",
            Self::Window => {
                "a duplicate comes after ten years: no window promises anything past it"
            }
            Self::Below => "a layer below repeats writes, or reads are stale: adapters rule it out",
        }
    }

    /// Whether a protocol has to survive it without saying so.
    pub const fn is_promised(self) -> bool {
        !matches!(self, Self::Window | Self::Below)
    }

    /// The kinds of faults in it.
    pub fn faults(self) -> Faults {
        let redelivery = [Fault::Duplicate, Fault::EarlyRedelivery];
        match self {
            Self::Crashes => Faults::only([Fault::Crash]),
            Self::Redelivery => Faults::only(redelivery),
            Self::Writes => Faults::only([Fault::LostRequest, Fault::LostReply, Fault::LateWrite]),
            Self::Failures => Faults::only([Fault::FailedRead, Fault::HandlerFailure]),
            Self::Late => Faults::only(redelivery).with(Fault::LateDelivery),
            Self::People => Faults::only([Fault::HandlerFailure, Fault::Person, Fault::Duplicate]),
            Self::Deployment => {
                Faults::only([Fault::Deployment, Fault::Crash, Fault::EarlyRedelivery])
            }
            Self::Window => Faults::only(redelivery).with(Fault::WindowPasses),
            Self::Below => Faults::only([Fault::RepeatedWrite, Fault::StaleRead]),
        }
    }

    /// The worlds in which a row is judged, smallest first, with up to `faults` in a run of the
    /// first one.
    pub fn worlds(self, row: &Row, faults: u32) -> Vec<World> {
        let few = faults.min(1).max(faults.saturating_sub(1));
        // However many late deliveries there are, together they are no later than that.
        let later = LATE / faults.max(1);
        let world = |what: &str| self.world(row, what).later_by(later);
        let mut worlds = vec![
            world("one message").faults(faults),
            world("two messages").send("d2", ACCOUNTS, Deposit::new("alice", 7)).faults(few),
            world("two endpoints").endpoint(dressed(cast::ledger(), row)).workers(1).faults(few),
        ];
        if self == Self::People {
            // Discarding a copy of what another copy commits: failure, duplicate, person.
            worlds.push(world("one worker").workers(1).faults(faults + 1));
        }
        worlds
    }

    /// One message and two workers.
    fn world(self, row: &Row, what: &str) -> World {
        let settings = match self {
            Self::People => Settings { retry: RetryPolicy::NONE, ..Settings::default() },
            _ => Settings::default(),
        };
        let dressed = |endpoint| dressed(endpoint, row).settings(settings);
        let world = World::new(format!("{}, {}, {what}", row.name(), self.name()))
            .store(row.place().limits())
            .kinds(self.faults())
            .endpoint(dressed(cast::accounts()))
            .send("d1", ACCOUNTS, Deposit::new("alice", 5))
            .workers(2);
        match self {
            Self::Deployment => world.deploy(dressed(cast::accounts_for_a_fee())),
            _ => world,
        }
    }
}

/// An endpoint under the protocol of a row.
fn dressed(endpoint: Endpoint, row: &Row) -> Endpoint {
    endpoint.shared_protocol(row.protocol().clone())
}
