//! Many batches as one transaction.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher as _};

use semel_core::broker::{Destination, Outgoing, Receipt, Settlement};
use semel_core::envelope::PARTITION_KEY;
use semel_core::store::{Change, Expect, ItemKey, Keep, Space};

use crate::queue::{self, Held};
use crate::row;
use crate::session::{Ask, Parameter};
use crate::tables;
use tokio_postgres::types::ToSql;

/// Where a change came from: the batch in its group, and the place in its batch.
type Origin = (usize, usize);

/// What a batch names, each name as a number. Only one batch of a transaction may name something:
/// two names with one number cost the second a transaction of its own.
pub(crate) type Names = Vec<u64>;

/// What a batch names, items and messages. `Err` if one of its receipts is not ours, or a version is
/// none: the position of that change.
pub(crate) fn names(changes: &[Change]) -> Result<Names, usize> {
    let mut names = Names::with_capacity(changes.len());
    let mut settled = BTreeSet::new();
    for (at, change) in changes.iter().enumerate() {
        match change {
            Change::Put { key, expect, .. } | Change::Delete { key, expect } => {
                if let Expect::Version(version) = expect {
                    version.as_str().parse::<i64>().map_err(|_| at)?;
                }
                names.push(number(key));
            }
            Change::Settle { receipt, .. } => {
                let held = queue::parse(receipt).ok_or(at)?;
                // A delivery is settled once: the second time, its receipt is stale.
                if !settled.insert(held) {
                    return Err(at);
                }
                names.push(number(&held));
            }
            Change::Enqueue(_) => {}
        }
    }
    Ok(names)
}

fn number(name: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    hasher.finish()
}

/// The changes of a group by what they do, each a row of one statement.
#[derive(Default)]
pub(crate) struct Group<'a> {
    items: BTreeMap<(Space, tables::Deed), Vec<ItemRow<'a>>>,
    messages: BTreeMap<queue::Deed, Vec<MessageRow<'a>>>,
    sends: Vec<&'a Outgoing>,
}

struct ItemRow<'a> {
    origin: Origin,
    key: &'a ItemKey,
    value: &'a [u8],
    keep_ms: Option<i64>,
    expected: Option<i64>,
}

struct MessageRow<'a> {
    origin: Origin,
    number: i64,
    proof: i64,
    settlement: &'a Settlement,
}

/// How the statements of a group speak of conditions that do not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// They end the transaction.
    Require,
    /// They return the rows for which the condition held.
    Tell,
}

/// One statement of a group.
pub(crate) struct Part<'a> {
    pub(crate) ask: Ask<'a>,
    pub(crate) brings: Brings,
}

/// What the rows that a statement returns are.
pub(crate) enum Brings {
    /// The places, from 1, of those of these that were done.
    Done(Vec<Origin>),
    /// The endpoints that have new messages.
    Endpoints,
    /// Nothing of interest.
    Nothing,
}

impl<'a> Group<'a> {
    /// The group of these batches, of which no two name the same.
    pub(crate) fn of(batches: impl Iterator<Item = (usize, &'a [Change])>) -> Self {
        let mut group = Self::default();
        for (batch, changes) in batches {
            for (at, change) in changes.iter().enumerate() {
                group.add((batch, at), change);
            }
        }
        // One order for everyone: whoever waits for a row holds only those before it.
        for rows in group.items.values_mut() {
            rows.sort_by_key(|row| row.key);
        }
        for rows in group.messages.values_mut() {
            rows.sort_by_key(|row| row.number);
        }
        group
    }

    fn add(&mut self, origin: Origin, change: &'a Change) {
        match change {
            Change::Put { key, value, expect, keep } => {
                let (deed, expected) = match expect {
                    Expect::Absent => (tables::Deed::Insert, None),
                    Expect::Anything => (tables::Deed::Upsert, None),
                    Expect::Version(version) => {
                        (tables::Deed::Update, version.as_str().parse().ok())
                    }
                };
                let keep_ms = match keep {
                    Keep::Always => None,
                    Keep::For(span) => Some(row::span_ms(*span)),
                };
                self.add_item(deed, ItemRow { origin, key, value, keep_ms, expected });
            }
            Change::Delete { key, expect } => {
                let (deed, expected) = match expect {
                    Expect::Absent => (tables::Deed::Absent, None),
                    Expect::Anything => (tables::Deed::Delete, None),
                    Expect::Version(version) => {
                        (tables::Deed::DeleteVersion, version.as_str().parse().ok())
                    }
                };
                self.add_item(deed, ItemRow { origin, key, value: b"", keep_ms: None, expected });
            }
            Change::Enqueue(message) => self.sends.push(message),
            Change::Settle { receipt, settlement } => self.settle(origin, receipt, settlement),
        }
    }

    fn add_item(&mut self, deed: tables::Deed, row: ItemRow<'a>) {
        self.items.entry((row.key.space, deed)).or_default().push(row);
    }

    fn settle(&mut self, origin: Origin, receipt: &Receipt, settlement: &'a Settlement) {
        // `names` let only our own receipts in.
        let Some(held) = queue::parse(receipt) else { return };
        let (number, proof) = match held {
            Held::Queued { position, receipt } => (position, receipt),
            // A dead letter has no attempts that could fail: no row is as good as a stale one.
            Held::Dead { number } => (number, 0),
        };
        let deed = match (held, settlement) {
            (Held::Queued { .. }, Settlement::Ack) => queue::Deed::Ack,
            (Held::Queued { .. }, Settlement::Release { .. } | Settlement::Retry { .. }) => {
                queue::Deed::GiveBack
            }
            (Held::Queued { .. }, Settlement::DeadLetter { .. }) => queue::Deed::Park,
            (Held::Dead { .. }, Settlement::Ack) => queue::Deed::Forget,
            (Held::Dead { .. }, Settlement::Release { .. }) => queue::Deed::Replay,
            // Anything else is stale. No position is below zero.
            (Held::Dead { .. }, Settlement::Retry { .. } | Settlement::DeadLetter { .. }) => {
                let row = MessageRow { origin, number: -1, proof: 0, settlement };
                return self.messages.entry(queue::Deed::Ack).or_default().push(row);
            }
        };
        let row = MessageRow { origin, number, proof, settlement };
        self.messages.entry(deed).or_default().push(row);
    }

    /// The statements of this group, in the order in which every transaction has them.
    pub(crate) fn parts(
        &self,
        schema: &str,
        mode: Mode,
        now: &dyn Fn() -> Parameter<'a>,
    ) -> Vec<Part<'a>> {
        let mut parts = Vec::new();
        for (deed, rows) in &self.messages {
            let origins = rows.iter().map(|row| row.origin).collect();
            let with = queue::deed(schema, *deed);
            let mut parameters = message_parameters(rows);
            parameters.push(now());
            parts.push(conditional(schema, mode, &with, "done", parameters, origins));
        }
        for ((space, deed), rows) in &self.items {
            let with = tables::deed(schema, *space, *deed);
            let mut parameters = item_parameters(rows);
            parameters.push(now());
            if deed.has_condition() {
                let origins = rows.iter().map(|row| row.origin).collect();
                let counted = deed.counted();
                parts.push(conditional(schema, mode, &with, counted, parameters, origins));
            } else {
                let sql = format!("WITH {with} SELECT count(*) FROM done");
                parts.push(Part { ask: Ask { sql, parameters }, brings: Brings::Nothing });
            }
            if *deed == tables::Deed::Absent {
                let parameters = item_parameters(rows).into_iter().take(2).collect();
                let sql = tables::remove_checks(schema, *space);
                parts.push(Part { ask: Ask { sql, parameters }, brings: Brings::Nothing });
            }
        }
        if !self.sends.is_empty() {
            let mut parameters = send_parameters(&self.sends);
            parameters.push(now());
            let ask = Ask { sql: queue::send(schema), parameters };
            parts.push(Part { ask, brings: Brings::Endpoints });
        }
        parts
    }

    /// Whether a message comes back to the queue, to whichever endpoint it came from.
    pub(crate) fn gives_back(&self) -> bool {
        self.messages.contains_key(&queue::Deed::GiveBack)
            || self.messages.contains_key(&queue::Deed::Replay)
    }
}

fn conditional<'a>(
    schema: &str,
    mode: Mode,
    with: &str,
    counted: &str,
    mut parameters: Vec<Parameter<'a>>,
    origins: Vec<Origin>,
) -> Part<'a> {
    let sql = match mode {
        Mode::Tell => format!("WITH {with} SELECT at FROM done"),
        Mode::Require => {
            let last = parameters.len() + 1;
            parameters.push(Box::new(origins.len() as i64));
            format!("WITH {with} SELECT {schema}.require(count(*), ${last}) FROM {counted}")
        }
    };
    Part { ask: Ask { sql, parameters }, brings: Brings::Done(origins) }
}

/// A column of values. What no row has takes no place: the statement pads it with nulls.
fn column<'a, R, T>(rows: &[R], of: impl Fn(&R) -> Option<T>) -> Parameter<'a>
where
    Vec<Option<T>>: ToSql + Send + Sync + 'a,
{
    let mut values: Vec<Option<T>> = rows.iter().map(of).collect();
    if values.iter().all(Option::is_none) {
        values.clear();
    }
    Box::new(values)
}

fn item_parameters<'a>(rows: &[ItemRow<'a>]) -> Vec<Parameter<'a>> {
    vec![
        column(rows, |row| Some(row.key.partition.as_str())),
        column(rows, |row| Some(row.key.key.as_str())),
        column(rows, |row| Some(row.value)),
        column(rows, |row| row.keep_ms),
        column(rows, |row| row.expected),
    ]
}

fn message_parameters<'a>(rows: &[MessageRow<'a>]) -> Vec<Parameter<'a>> {
    let after = |row: &MessageRow<'a>| match row.settlement {
        Settlement::Release { after } | Settlement::Retry { after, .. } => {
            Some(row::span_ms(*after))
        }
        Settlement::Ack | Settlement::DeadLetter { .. } => None,
    };
    let failure = |row: &MessageRow<'a>| match row.settlement {
        Settlement::Retry { failure, .. } | Settlement::DeadLetter { failure, .. } => {
            Some(row::write_failure(failure))
        }
        Settlement::Ack | Settlement::Release { .. } => None,
    };
    let reason = |row: &MessageRow<'a>| match row.settlement {
        Settlement::DeadLetter { reason, .. } => Some(reason.name()),
        _ => None,
    };
    let entity = |row: &MessageRow<'a>| match row.settlement {
        Settlement::DeadLetter { entity, .. } => entity.as_deref().map(row::without_nul),
        _ => None,
    };
    vec![
        column(rows, |row| Some(row.number)),
        column(rows, |row| Some(row.proof)),
        column(rows, after),
        column(rows, failure),
        column(rows, reason),
        column(rows, entity),
    ]
}

/// The columns of messages on their way, as `queue::send` takes them.
pub(crate) fn send_parameters<'a>(messages: &[&'a Outgoing]) -> Vec<Parameter<'a>> {
    type Message<'a> = &'a Outgoing;
    let endpoint = |it: &Message<'a>| match &it.to {
        Destination::Endpoint(endpoint) => Some(endpoint.as_str()),
        Destination::Subscribers => None,
    };
    vec![
        column(messages, endpoint),
        column(messages, |it: &Message<'a>| Some(row::span_ms(it.delay))),
        column(messages, |it: &Message<'a>| it.envelope.text(PARTITION_KEY)),
        column(messages, |it: &Message<'a>| Some(it.envelope.id.as_str())),
        column(messages, |it: &Message<'a>| Some(it.envelope.source.as_str())),
        column(messages, |it: &Message<'a>| Some(it.envelope.kind.as_str())),
        column(messages, |it: &Message<'a>| it.envelope.subject.as_deref()),
        column(messages, |it: &Message<'a>| it.envelope.time.map(row::write_time)),
        column(messages, |it: &Message<'a>| it.envelope.content_type.as_deref()),
        column(messages, |it: &Message<'a>| it.envelope.schema.as_deref()),
        column(messages, |it: &Message<'a>| row::write_extensions(&it.envelope)),
        column(messages, |it: &Message<'a>| Some(&*it.envelope.data)),
    ]
}
