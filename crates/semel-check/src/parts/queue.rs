//! The queues of a broker, or of a store that also holds them.

use std::sync::Arc;

use semel_core::Envelope;
use semel_core::broker::{DeadReason, Destination, FailureRecord, Outgoing, Receipt, Settlement};
use semel_core::envelope::PARTITION_KEY;
use semel_core::protocols::message_key;

use crate::hash::{self, Ink, Print};
use crate::memo::Memo;

thread_local! {
    static CARRIED: Memo<Carried> = Memo::default();
}

/// Who receives what.
#[derive(Clone, Debug, Default)]
pub(crate) struct Routes {
    /// The endpoints of the world; what goes elsewhere leaves it. `None`: any endpoint is one.
    pub(crate) endpoints: Option<Vec<String>>,
    /// Each type with the endpoints that subscribe to it.
    pub(crate) subscribers: Vec<(String, String)>,
    /// The largest message.
    pub(crate) message_bytes_max: usize,
    /// Whether messages of one partition key keep their order.
    pub(crate) ordered: bool,
}

impl Routes {
    fn is_here(&self, name: &String) -> bool {
        self.endpoints.as_ref().is_none_or(|endpoints| endpoints.contains(name))
    }

    /// The endpoints that get a message.
    pub(crate) fn receivers<'a>(&'a self, outgoing: &'a Outgoing) -> Vec<&'a str> {
        match &outgoing.to {
            Destination::Endpoint(name) if !self.is_here(name) => Vec::new(),
            Destination::Endpoint(name) => vec![name.as_str()],
            Destination::Subscribers => self.subscribers_of(&outgoing.envelope.kind),
        }
    }

    /// Whoever subscribes twice gets one copy all the same.
    pub(crate) fn subscribers_of(&self, wanted: &str) -> Vec<&str> {
        let mut endpoints = Vec::new();
        for (kind, endpoint) in &self.subscribers {
            if kind == wanted && !endpoints.contains(&endpoint.as_str()) {
                endpoints.push(endpoint.as_str());
            }
        }
        endpoints
    }

    /// Whether a message is small enough to be queued.
    pub(crate) fn admits(&self, outgoing: &Outgoing) -> bool {
        outgoing.envelope.size() <= self.message_bytes_max
    }
}

/// A message for one endpoint, as it is carried.
#[derive(Debug)]
pub(crate) struct Carried {
    pub(crate) endpoint: String,
    pub(crate) envelope: Arc<Envelope>,
    /// Source and id, by which its receiver knows it.
    pub(crate) identity: String,
    /// Endpoint and identity. As one text they could be mistaken for those of another.
    pub(crate) name: Print,
    pub(crate) print: Print,
}

impl Carried {
    pub(crate) fn name_of(endpoint: &str, identity: &str) -> Print {
        hash::print(7, (endpoint, identity))
    }

    pub(crate) fn new(endpoint: &str, envelope: &Envelope) -> Arc<Self> {
        let mut ink = Ink::new(5).with(endpoint);
        hash::envelope(&mut ink, envelope);
        let print = ink.print();
        let make = || {
            let identity = message_key(envelope);
            Self {
                endpoint: endpoint.to_owned(),
                name: Self::name_of(endpoint, &identity),
                identity,
                envelope: Arc::new(envelope.clone()),
                print,
            }
        };
        CARRIED.with(|carried| carried.get(print, make))
    }
}

/// Where a message in the queue stands.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Fate {
    /// It waits to be received. A wait may end at any moment.
    Waiting,
    /// A protocol gave it back until then: it will not come before, unless the queue is at fault.
    PutOff { until_ms: i64 },
    /// It is some worker's until then.
    Leased { until_ms: i64 },
    /// It is parked for a person.
    Dead {
        reason: DeadReasonKey,
        /// The entity that it is for, where its endpoint could tell.
        entity: Option<Arc<str>>,
    },
}

/// A [`DeadReason`] that can be hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DeadReasonKey(pub(crate) DeadReason);

impl std::hash::Hash for DeadReasonKey {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.name().hash(state);
    }
}

/// A message in the queue. Several copies of one message may be.
#[derive(Clone, Debug)]
pub(crate) struct Queued {
    pub(crate) carried: Arc<Carried>,
    /// Which copy of which message, by a name that lasts.
    pub(crate) name: Print,
    /// Which copy of it.
    pub(crate) copy: u32,
    pub(crate) fate: Fate,
    /// How many receipts were given out for it.
    pub(crate) receipts: u32,
    /// How many of these count as deliveries.
    pub(crate) deliveries: u32,
    pub(crate) failures: Arc<Vec<FailureRecord>>,
    pub(crate) failure_count: u32,
    pub(crate) ready_at_ms: i64,
    /// When it was queued or parked, as a position among all messages.
    pub(crate) position: u64,
    pub(crate) queued_at_ms: i64,
    print: Print,
}

impl Queued {
    /// Whether it will not come now, but later.
    pub(crate) fn is_put_off(&self, now_ms: i64) -> bool {
        matches!(self.fate, Fate::PutOff { until_ms } if until_ms > now_ms)
    }

    /// This delivery of it, by a name that lasts.
    pub(crate) fn delivery(&self) -> Print {
        self.name.wrapping_add(Print::from(self.receipts))
    }

    pub(crate) fn receipt(&self) -> Receipt {
        let (upper, lower) = halves(self.carried.name);
        Receipt::new(format!("{upper:x}.{lower:x}.{}.{}", self.copy, self.receipts))
    }

    /// Everything that can matter later. In a world a wait may end at any moment, and nobody asks
    /// since when a message is where it is: so the times are not part of it. Nor is the position,
    /// of which only the order counts (see [`Inner::order_print`]).
    fn print_anew(&self) -> Print {
        let mut ink = Ink::new(6)
            .with((self.name, &self.fate, self.receipts, self.deliveries))
            .with((self.failure_count, self.failures.len()));
        self.failures.iter().for_each(|failure| hash::failure(&mut ink, failure));
        ink.print()
    }

    fn partition_key(&self) -> Option<&str> {
        self.carried.envelope.text(PARTITION_KEY)
    }

    /// The endpoint and the key in whose order it stands; a dead letter stands in none.
    fn line(&self) -> Option<(&str, &str)> {
        let is_dead = matches!(self.fate, Fate::Dead { .. });
        let key = self.partition_key().filter(|_| !is_dead)?;
        Some((&self.carried.endpoint, key))
    }

    fn sorts_by(&self) -> (&str, &str, u32) {
        (&self.carried.endpoint, &self.carried.identity, self.copy)
    }
}

/// All messages, sorted by receiver, identity and copy. Cheap to copy.
#[derive(Clone, Debug, Default)]
pub(crate) struct Queue(Arc<Inner>);

#[derive(Clone, Debug, Default)]
struct Inner {
    messages: Vec<Arc<Queued>>,
    /// How many copies of each message there ever were.
    copies: Vec<(Print, u32)>,
    positions: u64,
    ordered: bool,
    print: Print,
}

impl Queue {
    /// A queue that may keep messages of one partition key in order.
    pub(crate) fn new(ordered: bool) -> Self {
        Self(Arc::new(Inner { ordered, ..Inner::default() }))
    }

    pub(crate) fn print(&self) -> Print {
        if !self.0.ordered {
            return self.0.print;
        }
        hash::print(40, (self.0.print, self.0.order_print()))
    }

    pub(crate) fn all(&self) -> &[Arc<Queued>] {
        &self.0.messages
    }

    /// What tells them from others but for how often they were delivered.
    pub(crate) fn likeness(&self) -> Print {
        let of_one = |queued: &Arc<Queued>| {
            let fate = std::mem::discriminant(&queued.fate);
            hash::print(49, (queued.carried.print, queued.copy, fate))
        };
        self.0.messages.iter().fold(0, |sum, queued| sum.wrapping_add(of_one(queued)))
    }

    /// Queues a message for each of its receivers.
    pub(crate) fn send(&mut self, outgoing: &Outgoing, routes: &Routes, now_ms: i64) {
        let delay_ms = i64::try_from(outgoing.delay.as_millis()).unwrap_or(i64::MAX);
        for endpoint in routes.receivers(outgoing) {
            let carried = Carried::new(endpoint, &outgoing.envelope);
            self.put(carried, now_ms, now_ms.saturating_add(delay_ms));
        }
    }

    /// Queues one copy of a message.
    pub(crate) fn put(&mut self, carried: Arc<Carried>, now_ms: i64, ready_at_ms: i64) {
        let inner = Arc::make_mut(&mut self.0);
        let copy = inner.count_copy(&carried);
        let position = inner.next_position();
        inner.insert(Queued {
            name: hash::print(26, (carried.print, copy)),
            carried,
            copy,
            fate: Fate::Waiting,
            receipts: 0,
            deliveries: 0,
            failures: Arc::default(),
            failure_count: 0,
            ready_at_ms,
            position,
            queued_at_ms: now_ms,
            print: 0,
        });
    }

    /// Whether order lets this message be received.
    pub(crate) fn is_its_turn(&self, at: usize) -> bool {
        let queued = &self.0.messages[at];
        let Some(line) = queued.line().filter(|_| self.0.ordered) else { return true };
        let is_before =
            |other: &Arc<Queued>| other.position < queued.position && other.line() == Some(line);
        !self.0.messages.iter().any(is_before)
    }

    /// Hands the message at a position out, until then.
    pub(crate) fn deliver(&mut self, at: usize, until_ms: i64) -> Arc<Queued> {
        self.change(at, |queued| {
            queued.receipts += 1;
            queued.deliveries += 1;
            queued.fate = Fate::Leased { until_ms };
        });
        self.0.messages[at].clone()
    }

    /// Ends the lease of the message at a position.
    pub(crate) fn end_lease(&mut self, at: usize) {
        self.change(at, |queued| queued.fate = Fate::Waiting);
    }

    /// The position of the delivery or dead letter on which `receipt` and `settlement` still
    /// decide. Of a dead letter, a person decides: replay it, or remove it.
    pub(super) fn find(&self, receipt: &Receipt, settlement: &Settlement) -> Option<usize> {
        let at = self.held_by(receipt)?;
        let is_of_person = matches!(settlement, Settlement::Ack | Settlement::Release { .. });
        match self.0.messages[at].fate {
            Fate::Dead { .. } if !is_of_person => None,
            _ => Some(at),
        }
    }

    fn held_by(&self, receipt: &Receipt) -> Option<usize> {
        let (name, copy, receipts) = parse(receipt)?;
        self.0.messages.iter().position(|queued| {
            !matches!(queued.fate, Fate::Waiting | Fate::PutOff { .. })
                && (queued.carried.name, queued.copy, queued.receipts) == (name, copy, receipts)
        })
    }

    /// Decides the fate of a delivery or a dead letter; tells whether the receipt still counted.
    pub(crate) fn settle(
        &mut self,
        receipt: &Receipt,
        settlement: &Settlement,
        now_ms: i64,
    ) -> bool {
        let Some(at) = self.find(receipt, settlement) else { return false };
        let is_dead = matches!(self.0.messages[at].fate, Fate::Dead { .. });
        match settlement {
            Settlement::Ack => self.remove(at),
            Settlement::Release { after } if is_dead => self.replay(at, after_ms(now_ms, *after)),
            Settlement::Release { after } => self.change(at, |queued| {
                let until_ms = after_ms(now_ms, *after);
                queued.fate = match after.is_zero() {
                    true => Fate::Waiting,
                    false => Fate::PutOff { until_ms },
                };
                queued.deliveries = queued.deliveries.saturating_sub(1);
                queued.ready_at_ms = until_ms;
            }),
            Settlement::Retry { after, failure } => self.change(at, |queued| {
                queued.fate = Fate::Waiting;
                queued.ready_at_ms = after_ms(now_ms, *after);
                queued.add_failure(failure);
            }),
            Settlement::DeadLetter { reason, failure, entity } => {
                let position = Arc::make_mut(&mut self.0).next_position();
                self.change(at, |queued| {
                    let entity = entity.as_deref().map(Arc::from);
                    queued.fate = Fate::Dead { reason: DeadReasonKey(*reason), entity };
                    // Its receipt as a delivery is worth nothing any more.
                    queued.receipts += 1;
                    queued.add_failure(failure);
                    queued.position = position;
                    queued.queued_at_ms = now_ms;
                });
            }
        }
        true
    }

    fn replay(&mut self, at: usize, ready_at_ms: i64) {
        let position = Arc::make_mut(&mut self.0).next_position();
        self.change(at, |queued| {
            queued.fate = Fate::Waiting;
            queued.failure_count = 0;
            queued.deliveries = 0;
            queued.ready_at_ms = ready_at_ms;
            queued.position = position;
        });
    }

    /// Makes a lease last until then; tells whether the receipt still counted.
    ///
    /// In a world leases end by a move, and nobody extends them.
    #[cfg(test)]
    pub(super) fn extend(&mut self, receipt: &Receipt, until_ms: i64) -> bool {
        let leased = |at: &usize| matches!(self.0.messages[*at].fate, Fate::Leased { .. });
        let Some(at) = self.held_by(receipt).filter(leased) else { return false };
        self.change(at, |queued| queued.fate = Fate::Leased { until_ms });
        true
    }

    /// The print made from nothing but what is there now.
    #[cfg(test)]
    pub(super) fn print_anew(&self) -> Print {
        let messages = self.0.messages.iter().map(|queued| queued.print_anew());
        let copies = self.0.copies.iter().map(|(name, count)| counted(*name, *count));
        let sum = messages.chain(copies).fold(0, Print::wrapping_add);
        let inner = Inner { print: sum, ..(*self.0).clone() };
        Self(Arc::new(inner)).print()
    }

    fn change(&mut self, at: usize, change: impl FnOnce(&mut Queued)) {
        let inner = Arc::make_mut(&mut self.0);
        let queued = Arc::make_mut(&mut inner.messages[at]);
        let before = queued.print;
        change(queued);
        queued.print = queued.print_anew();
        inner.print = inner.print.wrapping_sub(before).wrapping_add(queued.print);
    }

    fn remove(&mut self, at: usize) {
        let inner = Arc::make_mut(&mut self.0);
        let queued = inner.messages.remove(at);
        inner.print = inner.print.wrapping_sub(queued.print);
    }
}

fn after_ms(now_ms: i64, after: std::time::Duration) -> i64 {
    now_ms.saturating_add(i64::try_from(after.as_millis()).unwrap_or(i64::MAX))
}

/// Name, copy and number of a receipt.
fn parse(receipt: &Receipt) -> Option<(Print, u32, u32)> {
    let mut parts = receipt.as_str().splitn(4, '.');
    let mut half = || Some(Print::from(u64::from_str_radix(parts.next()?, 16).ok()?));
    let name = half()? << 64 | half()?;
    Some((name, parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

fn halves(name: Print) -> (u64, u64) {
    ((name >> 64) as u64, name as u64)
}

/// The mark that `count` copies of a message leave, gone or not: a later one gets other receipts.
fn counted(name: Print, count: u32) -> Print {
    if count == 0 { 0 } else { hash::print(8, (name, count)) }
}

impl Queued {
    fn add_failure(&mut self, failure: &FailureRecord) {
        let failures = Arc::make_mut(&mut self.failures);
        failures.push(failure.clone());
        if failures.len() > 20 {
            failures.remove(0);
        }
        self.failure_count += 1;
    }
}

impl Inner {
    fn count_copy(&mut self, carried: &Carried) -> u32 {
        let name = carried.name;
        let at = match self.copies.iter().position(|(known, _)| *known == name) {
            Some(at) => at,
            None => {
                self.copies.push((name, 0));
                self.copies.len() - 1
            }
        };
        let (_, count) = &mut self.copies[at];
        self.print = self.print.wrapping_sub(counted(name, *count));
        *count += 1;
        self.print = self.print.wrapping_add(counted(name, *count));
        *count
    }

    fn next_position(&mut self) -> u64 {
        self.positions += 1;
        self.positions
    }

    fn insert(&mut self, queued: Queued) {
        let queued = Queued { print: queued.print_anew(), ..queued };
        self.print = self.print.wrapping_add(queued.print);
        let at = self.messages.partition_point(|other| other.sorts_by() < queued.sorts_by());
        self.messages.insert(at, Arc::new(queued));
    }

    /// The order of the messages in each line. Two queues in which they stand alike are the same,
    /// however they came to.
    fn order_print(&self) -> Print {
        let mut lines: Vec<_> = self
            .messages
            .iter()
            .filter_map(|queued| Some((queued.line()?, queued.position, queued)))
            .collect();
        lines.sort_unstable_by_key(|(line, position, _)| (*line, *position));
        let mut ink = Ink::new(41);
        for (_, _, queued) in lines {
            ink.add((queued.carried.print, queued.copy));
        }
        ink.print()
    }
}
