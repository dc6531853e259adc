//! What is counted while the real protocol runs: calls, sizes, and what is left behind.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use semel_core::broker::{Delivery, Destination, Outgoing, Receipt};
use semel_core::context::MessageEffect;
use semel_core::handler::{BoxFuture, Handler};
use semel_core::host::job::{End, Ground, Job, Round, Unguarded};
use semel_core::protocols::{Business, Places};
use semel_core::{Endpoint, Envelope};

use super::cast::{self, ACCOUNTS, AUDIT, Deposit, LEDGER};
use super::cost::{Units, is_of_broker};
use super::place::{Books, Call, Death, Draws, ENTITIES, Memory, Touched};
use super::row::Row;
use crate::parts::Queued;

/// How many messages are sent to see what is remembered; and then twice as many.
const MESSAGES: usize = 16;
/// How often a delivery that conflicts or has to wait is tried again.
const ROUNDS_MAX: u32 = 20;
/// What a record of a message takes at least: growth below that is numbers that get longer.
const RECORD_BYTES_MIN: usize = 8;

/// What one message costs, its dispatch and one look of the finisher included, its receipt not.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Calls {
    /// Round trips that read from the store.
    pub reads: usize,
    /// Items read, or found absent.
    pub items_read: usize,
    /// Looks of a finisher, which many messages share.
    pub lists: usize,
    /// Batches written to the store.
    pub writes: usize,
    /// Items in them.
    pub items_written: usize,
    /// Their size: of each item the larger one of before and after.
    pub bytes_written: usize,
    /// Calls on the broker, without the receive.
    pub broker: usize,
    /// What that costs in two cloud stores.
    pub units: Units,
}

impl Calls {
    fn of(calls: &[Call]) -> Self {
        let mut sum = Self { units: Units::of(calls), ..Self::default() };
        for call in calls {
            match call {
                Call::Read(sizes) => {
                    sum.reads += 1;
                    sum.items_read += sizes.len();
                }
                Call::List => sum.lists += 1,
                Call::Write(touched) if is_of_broker(touched) => sum.broker += 1,
                Call::Write(touched) => {
                    sum.writes += 1;
                    for touched in touched {
                        if let Touched::Item { bytes, .. } = touched {
                            sum.items_written += 1;
                            sum.bytes_written += bytes;
                        }
                    }
                }
                Call::Send | Call::Settle => sum.broker += 1,
            }
        }
        sum
    }
}

/// How the memory for duplicates grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Growth {
    /// Nothing is kept.
    None,
    /// Something is kept while a message is in work, and nothing after it.
    InFlight,
    /// As much for each entity, however many messages it had.
    PerEntity,
    /// With each message, until a window has passed.
    Window,
    /// With each message, for good.
    Grows,
}

impl Growth {
    /// What it is, in a word or two.
    pub const fn says(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::InFlight => "in flight",
            Self::PerEntity => "per entity",
            Self::Window => "window",
            Self::Grows => "grows",
        }
    }
}

/// What an endpoint keeps beside its states, as it was counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remembered {
    /// How it grows.
    pub growth: Growth,
    /// How many messages were processed, for four entities; and then twice as many.
    pub messages: usize,
    /// What was kept after them.
    pub after: Books,
    /// What was kept after twice as many.
    pub after_twice: Books,
    /// What was kept once every window had passed and each entity had one message more.
    pub past: Books,
    /// The same after twice as many.
    pub past_twice: Books,
    /// The most bytes that were ever kept.
    pub peak: usize,
}

/// Everything that was counted for a row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Numbers {
    /// A message from outside with one effect, for an entity that is there.
    pub outside: Calls,
    /// The same message again.
    pub outside_again: Calls,
    /// A message that another endpoint under the same protocol sent, with one effect.
    pub inside: Calls,
    /// The same message again.
    pub inside_again: Calls,
    /// What is remembered of messages from outside.
    pub of_outside: Remembered,
    /// What is remembered of messages that another endpoint sent.
    pub of_inside: Remembered,
    /// Whether a worker that dies at some call keeps the entity's next message waiting until someone
    /// cleans up after it.
    pub death_blocks: bool,
}

/// Counts for a row; nothing if its protocol does not come to an end even here.
pub fn count(row: &Row) -> Option<Numbers> {
    let stage = Stage::new(row);
    stage.send("first", 0);
    stage.drain()?;
    stage.send("again", 0);
    let (from_outside, outside) = stage.counted(ACCOUNTS)?;
    let (from_inside, inside) = stage.counted(LEDGER)?;
    stage.memory.enqueue_copy(&from_inside);
    let (_, inside_again) = stage.counted(LEDGER)?;
    stage.memory.enqueue_copy(&from_outside);
    let (_, outside_again) = stage.counted(ACCOUNTS)?;
    let (once, twice) = (Kept::after(row, MESSAGES)?, Kept::after(row, 2 * MESSAGES)?);
    Some(Numbers {
        outside,
        outside_again,
        inside,
        inside_again,
        of_outside: once.outside.and(&twice.outside),
        of_inside: once.inside.and(&twice.inside),
        death_blocks: death_blocks(row, outside_calls(row)?),
    })
}

/// What one endpoint kept.
#[derive(Clone, Copy)]
struct Kept {
    after: Books,
    past: Books,
    peak: usize,
}

/// What both kept.
struct BothKept {
    outside: Kept,
    inside: Kept,
}

impl Kept {
    fn after(row: &Row, messages: usize) -> Option<BothKept> {
        let stage = Stage::new(row);
        for number in 0..messages {
            stage.send(&format!("message-{number:04}"), number);
            stage.drain()?;
        }
        let now = [ACCOUNTS, LEDGER].map(|endpoint| stage.memory.books(endpoint));
        stage.memory.pass_windows();
        // What is cleaned up by the next one who comes by is no growth.
        for number in 0..ENTITIES.len() {
            stage.send(&format!("later-{number}"), number);
            stage.drain()?;
        }
        let of = |at: usize, endpoint| Self {
            after: now[at],
            past: stage.memory.books(endpoint),
            peak: stage.memory.peak(endpoint),
        };
        Some(BothKept { outside: of(0, ACCOUNTS), inside: of(1, LEDGER) })
    }

    fn and(&self, twice: &Self) -> Remembered {
        let grows = |once: Books, twice: Books| {
            twice.bytes.saturating_sub(once.bytes) >= MESSAGES * RECORD_BYTES_MIN
        };
        let growth = if grows(self.past, twice.past) {
            Growth::Grows
        } else if grows(self.after, twice.after) {
            Growth::Window
        } else if twice.after.bytes > 0 {
            Growth::PerEntity
        } else if twice.peak > 0 {
            Growth::InFlight
        } else {
            Growth::None
        };
        Remembered {
            growth,
            messages: MESSAGES,
            after: self.after,
            after_twice: twice.after,
            past: self.past,
            past_twice: twice.past,
            peak: twice.peak,
        }
    }
}

/// How many calls a worker makes for a message from outside.
fn outside_calls(row: &Row) -> Option<usize> {
    let stage = Stage::new(row);
    stage.send("first", 0);
    stage.memory.take_calls();
    stage.process(ACCOUNTS)?;
    Some(stage.memory.take_calls().len())
}

/// Whether there is a call at which a worker can die such that the next message has to wait.
fn death_blocks(row: &Row, calls: usize) -> bool {
    let blocks = |death| {
        let stage = Stage::new(row);
        stage.send("first", 0);
        stage.memory.doom(death);
        // Whoever dies does not come to an end.
        let _ = stage.process(ACCOUNTS);
        stage.memory.doom(Death::Never);
        stage.send("second", 0);
        stage.process(ACCOUNTS).is_none()
    };
    (0..calls).any(|call| blocks(Death::Before(call)) || blocks(Death::After(call)))
}

/// Three endpoints under the protocol of a row: the first sends to the second, that one to the last.
struct Stage {
    memory: Arc<Memory>,
    endpoints: [Endpoint; 3],
    draws: Draws,
}

impl Stage {
    fn new(row: &Row) -> Self {
        let under = |endpoint: Endpoint| endpoint.shared_protocol(row.protocol().clone());
        let limits = row.place().limits();
        Self {
            memory: Memory::new(limits, &[ACCOUNTS, LEDGER, AUDIT], cast::state_bytes()),
            endpoints: [cast::accounts(), cast::ledger(), cast::audit()].map(under),
            draws: Draws::default(),
        }
    }

    /// Sends a deposit into one of the accounts.
    fn send(&self, id: &str, number: usize) {
        let account = ENTITIES[number % ENTITIES.len()];
        let to = Destination::Endpoint(ACCOUNTS.to_owned());
        let effect = MessageEffect::new(to, &Deposit::new(account, 5), Duration::ZERO);
        if let Ok(effect) = effect {
            let outgoing: Outgoing =
                effect.into_outgoing(id.to_owned(), "/outside".to_owned(), crate::epoch());
            self.memory.enqueue(&outgoing);
        }
    }

    /// Processes the next message of an endpoint, and counts.
    fn counted(&self, endpoint: &str) -> Option<(Arc<Queued>, Calls)> {
        self.memory.take_calls();
        let queued = self.process(endpoint)?;
        self.finish(endpoint)?;
        Some((queued, Calls::of(&self.memory.take_calls())))
    }

    /// Processes all messages.
    fn drain(&self) -> Option<()> {
        for endpoint in [ACCOUNTS, LEDGER, AUDIT] {
            while self.memory.has_waiting(endpoint) {
                self.process(endpoint)?;
            }
            self.finish(endpoint)?;
        }
        Some(())
    }

    /// Processes the next message; nothing if that does not come to an end.
    fn process(&self, endpoint: &str) -> Option<Arc<Queued>> {
        let (queued, delivery) = self.memory.deliver(endpoint)?;
        let ground = self.ground(endpoint)?;
        let end = settle(&ground, delivery).now_or_never()??;
        (end == End::Settled).then_some(queued)
    }

    fn finish(&self, endpoint: &str) -> Option<()> {
        let ground = self.ground(endpoint)?;
        let protocol = ground.endpoint.chosen_protocol();
        let finished = protocol.finish(endpoint, ground.places()).now_or_never()?;
        finished.ok().map(drop)
    }

    fn ground(&self, endpoint: &str) -> Option<At<'_>> {
        let endpoint = self.endpoints.iter().find(|known| known.name() == endpoint)?;
        Some(At { stage: self, endpoint })
    }
}

async fn settle(ground: &At<'_>, delivery: Delivery) -> Option<End> {
    let mut job = Job::new(ground, delivery);
    for _ in 0..ROUNDS_MAX {
        match job.round(ground).await {
            Ok(Round::Ended(end)) => return Some(end),
            Ok(Round::AtOnce | Round::Later) => {}
            Err(_) => return None,
        }
    }
    None
}

/// One endpoint at work.
struct At<'a> {
    stage: &'a Stage,
    endpoint: &'a Endpoint,
}

impl Ground for At<'_> {
    fn endpoint(&self) -> &Endpoint {
        self.endpoint
    }

    fn worker(&self) -> &str {
        "worker"
    }

    fn places(&self) -> Places<'_> {
        let memory = &*self.stage.memory;
        Places {
            store: memory,
            broker: memory,
            queue: semel_core::Store::limits(memory).queue,
            clock: &memory.clock,
            entropy: &self.stage.draws,
        }
    }

    fn business(&self, handler: &Arc<dyn Handler>, envelope: &Arc<Envelope>) -> Box<dyn Business> {
        Box::new(Unguarded::new(handler, envelope))
    }

    fn is_held(&self, _: &Receipt) -> bool {
        true
    }

    fn is_draining(&self) -> bool {
        false
    }

    fn back_off(&self, _: u32) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }
}
