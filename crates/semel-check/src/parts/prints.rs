//! Fingerprints are sound: places with equal prints look the same, and stay the same whatever
//! happens next. So states of a world may be merged by them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::Duration;

use bytes::Bytes;
use semel_core::broker::{DeadReason, Destination, FailureRecord, Outgoing, Receipt, Settlement};
use semel_core::envelope::PARTITION_KEY;
use semel_core::store::{Change, Expect, ItemKey, Keep, Space};
use semel_core::{Envelope, Extension, Timestamp};

use super::{Carried, Fate, Items, Outside, Parts, Queue, Record, Routes};
use crate::world::relational;

const NOW_MS: i64 = 1_000;
const LEASED: Fate = Fate::Leased { until_ms: i64::MAX };

/// What kind of places.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Plain,
    /// With a queue that keeps order, and a store whose reads may be stale.
    OrderedAndStale,
}

impl Kind {
    const ALL: [Self; 2] = [Self::Plain, Self::OrderedAndStale];

    fn routes(self) -> Routes {
        Routes {
            message_bytes_max: 1 << 20,
            ordered: matches!(self, Self::OrderedAndStale),
            ..Routes::default()
        }
    }

    fn empty(self) -> Parts {
        Parts::new(&self.routes(), matches!(self, Self::OrderedAndStale))
    }
}

/// Something that a world does to its places. The same operation does the same to the same places.
#[derive(Clone, Debug)]
enum Op {
    Write(Vec<Change>),
    /// Replaces an item at the version it has.
    Update(ItemKey, &'static str),
    Vanish(ItemKey),
    Duplicate(usize),
    Deliver(usize),
    EndLease(usize),
    Settle(usize, Settlement),
    /// Settles and puts in one batch.
    SettleAndPut(usize, Settlement),
    Outside(&'static str, Option<&'static str>),
}

fn item(key: &str) -> ItemKey {
    ItemKey::new(Space::Entity, "accounts", key)
}

fn put(key: &str, value: &'static str, keep: Keep) -> Op {
    let value = Bytes::from_static(value.as_bytes());
    Op::Write(vec![Change::Put { key: item(key), value, expect: Expect::Anything, keep }])
}

fn message(id: &str, key: &str) -> Outgoing {
    let mut envelope = Envelope::new(id, "/shop", "order.placed", b"{}".as_slice());
    envelope.set_text(PARTITION_KEY, key);
    let to = Destination::Endpoint("accounts".to_owned());
    Outgoing { to, envelope, delay: Duration::ZERO }
}

fn failure(reason: &str) -> FailureRecord {
    let (at, worker) = (Timestamp::from_unix_ms(NOW_MS), "worker".to_owned());
    FailureRecord { at, reason: reason.to_owned(), worker }
}

fn retry(reason: &str) -> Settlement {
    Settlement::Retry { after: Duration::ZERO, failure: failure(reason) }
}

const RELEASE: Settlement = Settlement::Release { after: Duration::ZERO };

fn dead_letter(reason: DeadReason) -> Settlement {
    Settlement::DeadLetter { reason, failure: failure("dead"), entity: None }
}

/// What happens to items, and outside.
fn item_ops() -> Vec<Op> {
    vec![
        put("a", "x", Keep::Always),
        put("a", "y", Keep::Always),
        put("b", "x", Keep::Always),
        put("b", "x", Keep::For(Duration::from_secs(1))),
        Op::Update(item("a"), "z"),
        Op::Write(vec![Change::Delete { key: item("a"), expect: Expect::Anything }]),
        Op::Vanish(item("b")),
        Op::Outside("object", Some("x")),
        Op::Outside("object", None),
    ]
}

/// What happens to messages.
fn queue_ops() -> Vec<Op> {
    vec![
        Op::Write(vec![Change::Enqueue(message("1", "k"))]),
        Op::Write(vec![Change::Enqueue(message("2", "k"))]),
        Op::Duplicate(0),
        Op::Deliver(0),
        Op::Deliver(1),
        Op::EndLease(0),
        Op::Settle(0, Settlement::Ack),
        Op::Settle(1, Settlement::Ack),
        Op::Settle(0, RELEASE),
        Op::Settle(0, retry("one")),
        Op::Settle(0, retry("other")),
        Op::Settle(0, dead_letter(DeadReason::Refused)),
        Op::SettleAndPut(0, Settlement::Ack),
    ]
}

impl Op {
    fn apply(&self, kind: Kind, parts: &mut Parts) {
        let receipt = |parts: &Parts, at: usize| Some(parts.queue.all().get(at)?.receipt());
        match self {
            Self::Write(changes) => write(kind, parts, changes),
            Self::Update(key, value) => update(kind, parts, key, value),
            Self::Vanish(key) => parts.items.delete(key),
            Self::Outside(name, value) => {
                let value = value.map(|text| Bytes::from_static(text.as_bytes()));
                parts.outside.put(name, value.as_ref());
            }
            Self::Settle(at, settlement) => {
                if let Some(receipt) = receipt(parts, *at) {
                    parts.queue.settle(&receipt, settlement, NOW_MS);
                }
            }
            Self::SettleAndPut(at, settlement) => {
                if let Some(receipt) = receipt(parts, *at) {
                    settle_and_put(kind, parts, receipt, settlement.clone());
                }
            }
            Self::Duplicate(at) | Self::Deliver(at) | Self::EndLease(at) => {
                if let Some(queued) = parts.queue.all().get(*at).cloned() {
                    self.apply_to_message(&mut parts.queue, *at, &queued.fate);
                }
            }
        }
    }

    /// Moves of a world are made only where they are possible.
    fn apply_to_message(&self, queue: &mut Queue, at: usize, fate: &Fate) {
        match (self, fate) {
            (Self::Duplicate(_), Fate::Waiting) => {
                let carried = queue.all()[at].carried.clone();
                queue.put(carried, NOW_MS, NOW_MS);
            }
            (Self::Deliver(_), Fate::Waiting) if queue.is_its_turn(at) => {
                queue.deliver(at, i64::MAX);
            }
            (Self::EndLease(_), Fate::Leased { .. }) => queue.end_lease(at),
            _ => {}
        }
    }
}

fn write(kind: Kind, parts: &mut Parts, changes: &[Change]) {
    let _ = parts.write(changes, &relational(), &kind.routes(), NOW_MS);
}

fn update(kind: Kind, parts: &mut Parts, key: &ItemKey, value: &'static str) {
    let Some(record) = parts.items.read(key) else { return };
    let expect = Expect::Version(record.item.version.clone());
    let value = Bytes::from_static(value.as_bytes());
    let change = Change::Put { key: key.clone(), value, expect, keep: Keep::Always };
    write(kind, parts, &[change]);
}

fn settle_and_put(kind: Kind, parts: &mut Parts, receipt: Receipt, settlement: Settlement) {
    let put = Change::Put {
        key: item("a"),
        value: Bytes::from_static(b"settled"),
        expect: Expect::Absent,
        keep: Keep::Always,
    };
    write(kind, parts, &[Change::Settle { receipt, settlement }, put]);
}

type Prints = [u128; 3];

fn prints(parts: &Parts) -> Prints {
    [parts.items.print(), parts.queue.print(), parts.outside.print()]
}

fn prints_anew(parts: &Parts) -> Prints {
    [parts.items.print_anew(), parts.queue.print_anew(), parts.outside.print_anew()]
}

/// All that anyone in a world could find out about its places, as text.
fn look(parts: &Parts) -> String {
    let mut text = look_at_items(&parts.items);
    look_at_queue(&mut text, &parts.queue);
    look_outside(&mut text, &parts.outside);
    text
}

fn look_at_items(items: &Items) -> String {
    let look = |record: &Record| {
        let Record { item, number, kept_until_ms, trail, .. } = record;
        format!("{item:?} {number} {kept_until_ms:?} {trail:?}")
    };
    let mut text = String::new();
    for record in items.all() {
        let before = record.before.as_ref().map(|before| look(before));
        let _ = writeln!(text, "{} before: {before:?}", look(record));
    }
    text
}

fn look_at_queue(text: &mut String, queue: &Queue) {
    for (at, queued) in queue.all().iter().enumerate() {
        let _ = write!(text, "{} {:?} ", queued.carried.endpoint, queued.carried.envelope);
        let _ = write!(text, "{} {:?} {:?} ", queued.copy, queued.fate, queued.receipt());
        let _ = write!(text, "{} {:?} ", queued.deliveries, queued.failures);
        let _ = writeln!(text, "{} {}", queued.failure_count, queue.is_its_turn(at));
    }
}

fn look_outside(text: &mut String, outside: &Outside) {
    for (name, value) in outside.all() {
        let _ = writeln!(text, "{name} {value:?}");
    }
}

/// Everything reachable within a number of operations, one of each print; tells how many ways led
/// to a print that was known, and checks that nothing tells them apart.
fn explore(kind: Kind, ops: &[Op], depth: usize) -> (usize, usize) {
    let mut known: BTreeMap<Prints, Parts> = BTreeMap::new();
    let (mut level, mut merged) = (vec![kind.empty()], 0);
    for _ in 0..depth {
        let mut next = Vec::new();
        for parts in &level {
            for op in ops {
                let mut reached = parts.clone();
                op.apply(kind, &mut reached);
                match known.get(&prints(&reached)) {
                    Some(known) => {
                        merged += 1;
                        are_one(kind, ops, known, &reached);
                    }
                    None => {
                        known.insert(prints(&reached), reached.clone());
                        next.push(reached);
                    }
                }
            }
        }
        level = next;
    }
    (known.len(), merged)
}

fn are_one(kind: Kind, ops: &[Op], one: &Parts, other: &Parts) {
    assert_eq!(look(one), look(other), "equal prints, and yet they differ");
    for op in ops {
        let (mut one, mut other) = (one.clone(), other.clone());
        op.apply(kind, &mut one);
        op.apply(kind, &mut other);
        assert_eq!(prints(&one), prints(&other), "equal prints, and yet {op:?} tells them apart");
    }
}

#[test]
fn items_with_one_print_are_and_stay_the_same() {
    let explored = Kind::ALL.map(|kind| explore(kind, &item_ops(), 6));
    assert_eq!(explored, [(287, 1387), (1496, 4921)]);
}

#[test]
fn queues_with_one_print_are_and_stay_the_same() {
    let explored = Kind::ALL.map(|kind| explore(kind, &queue_ops(), 6));
    assert_eq!(explored, [(662, 2549), (707, 2790)]);
}

#[test]
fn wherever_random_walks_meet_they_see_the_same() {
    for kind in Kind::ALL {
        let (mut known, mut met) = (BTreeMap::new(), 0);
        for seed in 0..400 {
            let (mut parts, mut walk) = (kind.empty(), Walk(seed));
            for _ in 0..25 {
                walk.step(kind, &mut parts);
                let seen = look(&parts);
                met += usize::from(known.contains_key(&prints(&parts)));
                assert_eq!(known.entry(prints(&parts)).or_insert_with(|| seen.clone()), &seen);
            }
        }
        assert!(known.len() > 1_000 && met > 1_000, "{kind:?}: {}, {met}", known.len());
    }
}

#[test]
fn a_print_kept_up_to_date_is_the_one_made_anew() {
    for kind in Kind::ALL {
        for seed in 0..40 {
            let (mut parts, mut walk) = (kind.empty(), Walk(seed));
            for _ in 0..100 {
                walk.step(kind, &mut parts);
                assert_eq!(prints(&parts), prints_anew(&parts), "{kind:?}, seed {seed}");
            }
        }
    }
}

/// A random walk.
struct Walk(u64);

impl Walk {
    fn step(&mut self, kind: Kind, parts: &mut Parts) {
        let ops: Vec<Op> = item_ops().into_iter().chain(queue_ops()).collect();
        // Knuth's generator; its upper bits are the good ones.
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let at = (self.0 >> 33) as usize % ops.len();
        ops[at].apply(kind, parts);
    }
}

/// The places after some operations on an empty one.
fn after(kind: Kind, ops: &[Op]) -> Parts {
    let mut parts = kind.empty();
    ops.iter().for_each(|op| op.apply(kind, &mut parts));
    parts
}

fn send(id: &str) -> Op {
    Op::Write(vec![Change::Enqueue(message(id, "k"))])
}

#[test]
fn what_left_no_other_trace_is_in_the_print() {
    let deleted = Op::Write(vec![Change::Delete { key: item("a"), expect: Expect::Anything }]);
    let (sent, taken, acked) = (send("1"), Op::Deliver(0), Op::Settle(0, Settlement::Ack));
    let traceless = [
        ("a version that was given out", vec![put("a", "x", Keep::Always), deleted]),
        ("a copy that was given out", vec![sent, taken, acked]),
    ];
    for kind in Kind::ALL {
        for (what, ops) in &traceless {
            let parts = after(kind, ops);
            assert_eq!(look(&parts), "", "{what}");
            assert_ne!(prints(&parts), prints(&kind.empty()), "{what}");
        }
    }
}

#[test]
fn only_a_queue_with_order_remembers_it() {
    let (one, other) = ([send("1"), send("2")], [send("2"), send("1")]);
    let prints_of = |kind, ops: &[Op]| after(kind, ops).queue.print();
    assert_eq!(prints_of(Kind::Plain, &one), prints_of(Kind::Plain, &other));
    let ordered = Kind::OrderedAndStale;
    assert_ne!(prints_of(ordered, &one), prints_of(ordered, &other));
}

#[test]
fn how_long_a_queue_has_worked_is_forgotten() {
    let ordered = Kind::OrderedAndStale;
    let (taken, acked) = (Op::Deliver(0), Op::Settle(0, Settlement::Ack));
    let dead = Op::Settle(0, dead_letter(DeadReason::Refused));
    let short = [send("1"), taken.clone(), acked.clone(), send("2")];
    let long = [send("1"), taken, dead, acked, send("2")];
    let (short, long) = (after(ordered, &short), after(ordered, &long));
    assert_ne!(short.queue.all()[0].position, long.queue.all()[0].position);
    assert_eq!(short.queue.print(), long.queue.print());
}

#[test]
fn receipts_of_names_that_read_alike_are_apart() {
    let kind = Kind::Plain;
    let mut parts = kind.empty();
    for (endpoint, source) in [("a", "b|/shop"), ("a|b", "/shop")] {
        let mut outgoing = message("1", "k");
        outgoing.to = Destination::Endpoint(endpoint.to_owned());
        outgoing.envelope.source = source.to_owned();
        parts.queue.send(&outgoing, &kind.routes(), NOW_MS);
    }
    let receipts: Vec<Receipt> =
        (0..2).map(|at| parts.queue.deliver(at, i64::MAX).receipt()).collect();
    assert!(parts.queue.settle(&receipts[1], &Settlement::Ack, NOW_MS));
    let left = parts.queue.all();
    assert_eq!((left.len(), left[0].receipt(), &left[0].fate), (1, receipts[0].clone(), &LEASED));
}

#[test]
fn a_message_is_told_from_one_that_reads_alike() {
    let attributes = [
        [("a", Extension::Integer(7))].as_slice(),
        &[("a", Extension::Text("7".to_owned()))],
        &[("a", Extension::Boolean(true))],
        &[("a", Extension::Text("true".to_owned()))],
        &[("a", Extension::Integer(7)), ("b", Extension::Integer(7))],
    ];
    let print_of = |extensions: &[(&str, Extension)]| {
        let mut envelope = message("1", "k").envelope;
        let extensions = extensions.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
        envelope.extensions.extend(extensions);
        Carried::new("accounts", &envelope).print
    };
    let prints: BTreeSet<u128> = attributes.into_iter().map(print_of).collect();
    assert_eq!(prints.len(), attributes.len());
}
