//! Many batches as one transaction.

use std::collections::{BTreeMap, BTreeSet};

use semel_core::broker::{Destination, Outgoing, Receipt, Settlement};
use semel_core::envelope::PARTITION_KEY;
use semel_core::store::{Change, Expect, ItemKey, Keep, Space};

use crate::queue::{self, Held};
use crate::row;
use crate::session::{Ask, Parameter};
use crate::tables;

/// Where a change came from: the batch in its group, and the place in its batch.
type Origin = (usize, usize);

/// Something that only one batch of a transaction may name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Name {
    Item(ItemKey),
    Message(Held),
}

/// What a batch names. `None` if one of its receipts is not ours, or a version is none: the position
/// of that change.
pub(crate) fn names(changes: &[Change]) -> Result<BTreeSet<Name>, usize> {
    let mut names = BTreeSet::new();
    for (at, change) in changes.iter().enumerate() {
        let name = match change {
            Change::Put { key, expect, .. } | Change::Delete { key, expect } => {
                if let Expect::Version(version) = expect {
                    version.as_str().parse::<i64>().map_err(|_| at)?;
                }
                Name::Item(key.clone())
            }
            Change::Settle { receipt, .. } => Name::Message(queue::parse(receipt).ok_or(at)?),
            Change::Enqueue(_) => continue,
        };
        // A delivery is settled once: the second time, its receipt is stale.
        if !names.insert(name) {
            return Err(at);
        }
    }
    Ok(names)
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
pub(crate) struct Part {
    pub(crate) ask: Ask,
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
    pub(crate) fn parts(&self, schema: &str, mode: Mode, now: &dyn Fn() -> Parameter) -> Vec<Part> {
        let mut parts = Vec::new();
        for (deed, rows) in &self.messages {
            let origins = rows.iter().map(|row| row.origin).collect();
            let with = queue::deed(schema, *deed);
            let mut parameters = message_parameters(rows);
            parameters.push(now());
            parts.push(conditional(schema, mode, &with, parameters, origins));
        }
        for ((space, deed), rows) in &self.items {
            let with = tables::deed(schema, *space, *deed);
            let mut parameters = item_parameters(rows);
            parameters.push(now());
            if deed.has_condition() {
                let origins = rows.iter().map(|row| row.origin).collect();
                parts.push(conditional(schema, mode, &with, parameters, origins));
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

fn conditional(
    schema: &str,
    mode: Mode,
    with: &str,
    mut parameters: Vec<Parameter>,
    origins: Vec<Origin>,
) -> Part {
    let sql = match mode {
        Mode::Tell => format!("WITH {with} SELECT at FROM done"),
        Mode::Require => {
            let last = parameters.len() + 1;
            parameters.push(Box::new(origins.len() as i64));
            format!("WITH {with} SELECT {schema}.require(count(*), ${last}) FROM done")
        }
    };
    Part { ask: Ask { sql, parameters }, brings: Brings::Done(origins) }
}

fn item_parameters(rows: &[ItemRow<'_>]) -> Vec<Parameter> {
    let text = |of: fn(&ItemKey) -> &String| -> Parameter {
        Box::new(rows.iter().map(|row| of(row.key).clone()).collect::<Vec<String>>())
    };
    vec![
        text(|key| &key.partition),
        text(|key| &key.key),
        Box::new(rows.iter().map(|row| row.value.to_vec()).collect::<Vec<_>>()),
        Box::new(rows.iter().map(|row| row.keep_ms).collect::<Vec<_>>()),
        Box::new(rows.iter().map(|row| row.expected).collect::<Vec<_>>()),
    ]
}

fn message_parameters(rows: &[MessageRow<'_>]) -> Vec<Parameter> {
    let after = |row: &MessageRow<'_>| match row.settlement {
        Settlement::Release { after } | Settlement::Retry { after, .. } => row::span_ms(*after),
        Settlement::Ack | Settlement::DeadLetter { .. } => 0,
    };
    let failure = |row: &MessageRow<'_>| match row.settlement {
        Settlement::Retry { failure, .. } | Settlement::DeadLetter { failure, .. } => {
            Some(row::write_failure(failure))
        }
        Settlement::Ack | Settlement::Release { .. } => None,
    };
    let grave = |row: &MessageRow<'_>| match row.settlement {
        Settlement::DeadLetter { reason, entity, .. } => {
            (Some(reason.name()), entity.as_deref().map(row::without_nul))
        }
        _ => (None, None),
    };
    vec![
        Box::new(rows.iter().map(|row| row.number).collect::<Vec<_>>()),
        Box::new(rows.iter().map(|row| row.proof).collect::<Vec<_>>()),
        Box::new(rows.iter().map(after).collect::<Vec<_>>()),
        Box::new(rows.iter().map(failure).collect::<Vec<_>>()),
        Box::new(rows.iter().map(|row| grave(row).0).collect::<Vec<_>>()),
        Box::new(rows.iter().map(|row| grave(row).1).collect::<Vec<_>>()),
    ]
}

/// The columns of messages on their way, as `queue::send` takes them.
pub(crate) fn send_parameters(messages: &[&Outgoing]) -> Vec<Parameter> {
    fn column<T>(messages: &[&Outgoing], of: impl Fn(&Outgoing) -> T) -> Parameter
    where
        Vec<T>: tokio_postgres::types::ToSql + Send + Sync + 'static,
    {
        Box::new(messages.iter().map(|message| of(message)).collect::<Vec<T>>())
    }
    vec![
        column(messages, |it| match &it.to {
            Destination::Endpoint(endpoint) => Some(endpoint.clone()),
            Destination::Subscribers => None,
        }),
        column(messages, |it| row::span_ms(it.delay)),
        column(messages, |it| it.envelope.text(PARTITION_KEY).map(str::to_owned)),
        column(messages, |it| it.envelope.id.clone()),
        column(messages, |it| it.envelope.source.clone()),
        column(messages, |it| it.envelope.kind.clone()),
        column(messages, |it| it.envelope.subject.clone()),
        column(messages, |it| it.envelope.time.map(row::write_time)),
        column(messages, |it| it.envelope.content_type.clone()),
        column(messages, |it| it.envelope.schema.clone()),
        column(messages, |it| row::write_extensions(&it.envelope)),
        column(messages, |it| it.envelope.data.to_vec()),
    ]
}
