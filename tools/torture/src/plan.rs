//! The plan of faults: which, where and when. It follows from a seed alone.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use clap::ValueEnum;
use semel_servers::{Cut, Weather};
use shop::books::SERVICES;
use shop::seeded::Seeded;

use crate::stack::Stack;

/// The time between two faults, in milliseconds.
const GAP_MS: (u32, u32) = (200, 1_200);
/// The first fault: everything has begun to work by then.
const FIRST_MS: u64 = 1_500;
/// Between two outages of servers something must be able to happen.
const OUTAGE_GAP: Duration = Duration::from_secs(10);
/// How many messages on a wire pass before the one at which it is cut, at most.
const CUT_WITHIN: usize = 60;

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Kind {
    /// A process of the shop is killed (SIGKILL), and started again.
    Kill,
    /// A process of the shop stands still (SIGSTOP), mostly longer than its leases.
    Stop,
    /// The database or the broker is killed, and comes back.
    ServerKill,
    /// The database or the broker stands still.
    ServerStop,
    /// A connection is cut: before a message, within it, or after it and before the reply.
    Cut,
    /// Messages are held up or swallowed for a while, or connections closed.
    Weather,
}

impl Kind {
    /// Of a hundred faults, so many are of this kind.
    const fn share(self) -> usize {
        match self {
            Self::Kill => 24,
            Self::Stop => 16,
            Self::ServerKill | Self::ServerStop => 5,
            Self::Cut => 32,
            Self::Weather => 18,
        }
    }
}

/// A process of the shop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Member {
    /// The server that people talk to.
    Edge,
    /// A worker of a service: which one, and which of several.
    Worker(&'static str, usize),
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Edge => f.write_str("edge"),
            Self::Worker(service, copy) => write!(f, "{service}-{copy}"),
        }
    }
}

/// A server behind the shop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Server {
    Database,
    Broker,
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Database => "database",
            Self::Broker => "broker",
        })
    }
}

/// Who can be cut off from whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Wire {
    /// Customers from the edge.
    Customers,
    /// The edge or a service, with all its workers, from a server.
    Between(&'static str, Server),
}

impl fmt::Display for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Customers => f.write_str("customers/edge"),
            Self::Between(who, server) => write!(f, "{who}/{server}"),
        }
    }
}

/// The name of the edge on a wire.
pub(crate) const EDGE: &str = "edge";

/// One fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    Kill(Member),
    /// For how long.
    Stop(Member, Duration),
    /// For how long it is gone.
    ServerKill(Server, Duration),
    ServerStop(Server, Duration),
    Cut(Wire, Cut),
    Weather(Wire, Weather, Duration),
}

impl Act {
    /// What it is called when faults are counted.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Kill(Member::Edge) => "edge killed",
            Self::Kill(Member::Worker(..)) => "worker killed",
            Self::Stop(Member::Edge, _) => "edge stopped for a while",
            Self::Stop(Member::Worker(..), _) => "worker stopped for a while",
            Self::ServerKill(Server::Database, _) => "database killed",
            Self::ServerKill(Server::Broker, _) => "broker killed",
            Self::ServerStop(Server::Database, _) => "database stopped for a while",
            Self::ServerStop(Server::Broker, _) => "broker stopped for a while",
            Self::Cut(_, Cut::Before(_)) => "connection cut before a message",
            Self::Cut(_, Cut::Within(_)) => "connection cut within a message",
            Self::Cut(_, Cut::After(_)) => "connection cut before a reply",
            Self::Weather(_, Weather::HoldRequests, _) => "requests held up",
            Self::Weather(_, Weather::LoseReplies, _) => "replies lost",
            Self::Weather(_, Weather::Silence, _) => "everything swallowed",
            Self::Weather(_, Weather::Closed | Weather::Fair, _) => "connections closed",
        }
    }
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        match self {
            Self::Kill(member) => write!(f, ": {member}"),
            Self::Stop(member, time) => write!(f, ": {member}, {} ms", time.as_millis()),
            Self::ServerKill(_, time) | Self::ServerStop(_, time) => {
                write!(f, ": {} ms", time.as_millis())
            }
            Self::Cut(wire, Cut::Before(number) | Cut::Within(number) | Cut::After(number)) => {
                write!(f, ": {wire}, message {number} from here")
            }
            Self::Weather(wire, _, time) => write!(f, ": {wire}, {} ms", time.as_millis()),
        }
    }
}

/// A fault and its time, counted from the beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) at: Duration,
    pub(crate) act: Act,
}

/// What a plan is made for.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    pub(crate) stack: Stack,
    pub(crate) seed: u64,
    /// For how long faults happen.
    pub(crate) length: Duration,
    /// Workers of each service.
    pub(crate) workers: usize,
    pub(crate) kinds: BTreeSet<Kind>,
    /// How far clocks are off, in seconds: those of some processes ahead, of others behind.
    pub(crate) skew_s: u32,
}

impl Shape {
    /// How far the clock of each process is ahead of the machine's, in seconds.
    pub(crate) fn clocks(&self) -> BTreeMap<Member, i64> {
        // A file is shared on one machine, which has one clock.
        let skew_s = if self.stack == Stack::Sqlite { 0 } else { i64::from(self.skew_s) };
        let mut dice = Seeded::new(self.seed ^ 0x5EED_C10C);
        let mut ahead = || [0, skew_s, -skew_s][dice.below(3)];
        self.members().into_iter().map(|member| (member, ahead())).collect()
    }

    /// Every process of the shop.
    pub(crate) fn members(&self) -> Vec<Member> {
        let workers = SERVICES
            .into_iter()
            .flat_map(|service| (1..=self.workers).map(move |copy| Member::Worker(service, copy)));
        std::iter::once(Member::Edge).chain(workers).collect()
    }

    /// Every connection that can be cut.
    pub(crate) fn wires(&self) -> Vec<Wire> {
        let who = || std::iter::once(EDGE).chain(SERVICES);
        let servers = self.stack.servers().iter();
        let inner = servers.flat_map(|server| who().map(|who| Wire::Between(who, *server)));
        std::iter::once(Wire::Customers).chain(inner).collect()
    }
}

/// All faults of a run in their order.
pub(crate) fn plan(shape: &Shape) -> Vec<Event> {
    let mut dice = Seeded::new(shape.seed);
    let mut events = Vec::new();
    let mut at = Duration::from_millis(FIRST_MS);
    let mut next_outage = Duration::ZERO;
    while at < shape.length {
        let is_outage_due = at >= next_outage;
        if let Some(act) = draw(&mut dice, shape, is_outage_due) {
            if let Act::ServerKill(_, time) | Act::ServerStop(_, time) = act {
                next_outage = at + time + OUTAGE_GAP;
            }
            events.push(Event { at, act });
        }
        at += millis(&mut dice, GAP_MS);
    }
    events
}

/// One fault; none, if the dice say one that cannot be now.
fn draw(dice: &mut Seeded, shape: &Shape, is_outage_due: bool) -> Option<Act> {
    let servers = shape.stack.servers();
    let (members, wires) = (shape.members(), shape.wires());
    let mut one_of = |count: usize| dice.below(count);
    let (member, wire) = (members[one_of(members.len())], wires[one_of(wires.len())]);
    let server = servers.get(one_of(servers.len())).copied().filter(|_| is_outage_due);
    match kind(dice, &shape.kinds)? {
        Kind::Kill => Some(Act::Kill(member)),
        Kind::Stop => {
            // Leases are 2 s. Now and then a process is away for long.
            let time = if dice.percent(10) { (12_000, 25_000) } else { (800, 6_000) };
            Some(Act::Stop(member, millis(dice, time)))
        }
        Kind::ServerKill => Some(Act::ServerKill(server?, millis(dice, (0, 2_500)))),
        Kind::ServerStop => Some(Act::ServerStop(server?, millis(dice, (500, 7_000)))),
        Kind::Cut => {
            let number = u32::try_from(1 + dice.below(CUT_WITHIN)).unwrap_or(1);
            let cuts = [Cut::Before(number), Cut::Within(number), Cut::After(number)];
            Some(Act::Cut(wire, cuts[dice.below(cuts.len())]))
        }
        Kind::Weather => {
            let all =
                [Weather::HoldRequests, Weather::LoseReplies, Weather::Silence, Weather::Closed];
            let weather = all[dice.below(all.len())];
            Some(Act::Weather(wire, weather, millis(dice, (200, 5_000))))
        }
    }
}

/// One of these kinds, by their shares.
fn kind(dice: &mut Seeded, kinds: &BTreeSet<Kind>) -> Option<Kind> {
    let mut point = dice.below(kinds.iter().map(|kind| kind.share()).sum());
    kinds.iter().copied().find(|kind| {
        let is_it = point < kind.share();
        point = point.saturating_sub(kind.share());
        is_it
    })
}

fn millis(dice: &mut Seeded, (least, most): (u32, u32)) -> Duration {
    Duration::from_millis(u64::from(dice.within(least, most)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(stack: Stack, seed: u64, kinds: &[Kind]) -> Shape {
        let kinds = kinds.iter().copied().collect();
        let length = Duration::from_secs(600);
        Shape { stack, seed, length, workers: 2, kinds, skew_s: 3_600 }
    }

    fn names(events: &[Event]) -> BTreeSet<&'static str> {
        events.iter().map(|event| event.act.name()).collect()
    }

    #[test]
    fn a_seed_replays_its_plan_and_another_makes_another() {
        let of = |seed| plan(&shape(Stack::PostgresNats, seed, Kind::value_variants()));
        assert_eq!(of(7), of(7));
        assert_ne!(of(7), of(8));
        assert!(of(7).len() > 500, "{} faults in ten minutes", of(7).len());
    }

    #[test]
    fn every_fault_happens_where_there_are_servers_and_only_those_that_can_without() {
        let everything = names(&plan(&shape(Stack::PostgresRabbit, 1, Kind::value_variants())));
        assert_eq!(everything.len(), 15, "{everything:?}");
        let on_a_file = plan(&shape(Stack::Sqlite, 1, Kind::value_variants()));
        assert_eq!(names(&on_a_file).len(), 11);
        let is_customers = |event: &Event| match event.act {
            Act::Cut(wire, _) | Act::Weather(wire, ..) => wire == Wire::Customers,
            _ => true,
        };
        assert!(on_a_file.iter().all(is_customers));
    }

    #[test]
    fn servers_come_back_before_the_next_outage() {
        let mut free_at = Duration::ZERO;
        for Event { at, act } in plan(&shape(Stack::PostgresNats, 3, Kind::value_variants())) {
            if let Act::ServerKill(_, time) | Act::ServerStop(_, time) = act {
                assert!(at >= free_at);
                free_at = at + time + OUTAGE_GAP;
            }
        }
        assert!(free_at > Duration::ZERO);
    }

    #[test]
    fn clocks_are_ahead_behind_and_right_but_not_on_one_machine() {
        let clocks = |stack, seed| shape(stack, seed, &[]).clocks();
        let of_many: BTreeSet<i64> =
            (1..10).flat_map(|seed| clocks(Stack::Postgres, seed).into_values()).collect();
        assert_eq!(of_many, BTreeSet::from([-3_600, 0, 3_600]));
        assert!(clocks(Stack::Sqlite, 1).into_values().all(|ahead| ahead == 0));
    }

    #[test]
    fn only_the_chosen_kinds_happen() {
        let kills = names(&plan(&shape(Stack::PostgresNats, 1, &[Kind::Kill])));
        assert_eq!(kills, BTreeSet::from(["edge killed", "worker killed"]));
        assert!(plan(&shape(Stack::PostgresNats, 1, &[])).is_empty());
    }

    #[test]
    fn every_process_and_every_wire_is_struck() {
        let shape = shape(Stack::PostgresNats, 2, Kind::value_variants());
        let (mut members, mut wires) = (BTreeSet::new(), BTreeSet::new());
        for event in plan(&shape) {
            match event.act {
                Act::Kill(member) | Act::Stop(member, _) => drop(members.insert(member)),
                Act::Cut(wire, _) | Act::Weather(wire, ..) => drop(wires.insert(wire)),
                Act::ServerKill(..) | Act::ServerStop(..) => {}
            }
        }
        assert_eq!((members.len(), wires.len()), (9, 11));
    }
}
