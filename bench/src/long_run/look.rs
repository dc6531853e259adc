//! What lies in the file, and what it is compared by.

use std::path::Path;

use rusqlite::Connection;
use semel::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{Result, memory};

/// When a look is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Phase {
    /// One portion has been processed, and all that it sent waits.
    InFlight,
    /// All is done, and time has moved on.
    AtRest,
}

impl Phase {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::InFlight => "in flight",
            Self::AtRest => "at rest",
        }
    }
}

/// What lies in the file at one moment.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Look {
    pub(super) phase: Phase,
    /// How many messages have come from outside so far.
    pub(super) messages: usize,
    /// The largest item of an entity.
    pub(super) entity_bytes_max: f64,
    pub(super) entity_bytes_mean: f64,
    /// What the protocol keeps in the items of entities: messages, tokens, versions.
    pub(super) books_entries: f64,
    /// The most of those in one entity.
    pub(super) books_entries_max: f64,
    pub(super) books_bytes: f64,
    pub(super) inbox_items: f64,
    /// Keys and values.
    pub(super) inbox_bytes: f64,
    pub(super) outbox_items: f64,
    pub(super) outbox_bytes: f64,
    pub(super) token_items: f64,
    pub(super) token_bytes: f64,
    pub(super) queued: f64,
    pub(super) resident_mib: f64,
    /// Measured over a whole portion; zero while it is in flight.
    pub(super) messages_per_second: f64,
    /// To the reference in the same run; zero while a portion is in flight.
    pub(super) pace: f64,
}

/// How many entries the books of an entity have.
const ENTRIES: &str = "\
    CASE part.key
        WHEN 'last' THEN 1
        WHEN 'pending' THEN (SELECT count(*) FROM json_each(part.value))
        ELSE json_array_length(part.value)
    END";

impl Look {
    /// Looks into the file.
    pub(super) fn at(path: &Path, phase: Phase, messages: usize) -> Result<Self> {
        let file = Connection::open(path)?;
        let ask = |sql: &str| file.query_row(sql, (), |row| row.get::<_, f64>(0));
        let books = |what: &str| {
            ask(&format!(
                "SELECT coalesce({what}, 0) FROM (SELECT sum({ENTRIES}) AS entries FROM entity, \
                 json_each(state -> '$.books') AS part WHERE state ->> '$.semel' IS NOT NULL \
                 GROUP BY endpoint, entity_id)"
            ))
        };
        let items = |table: &str| ask(&format!("SELECT count(*) FROM {table}"));
        let bytes = |table: &str, key: &str, value: &str| {
            ask(&format!("SELECT coalesce(sum(length({key}) + length({value})), 0) FROM {table}"))
        };
        Ok(Self {
            phase,
            messages,
            entity_bytes_max: ask("SELECT max(length(state)) FROM entity")?,
            entity_bytes_mean: ask("SELECT avg(length(state)) FROM entity")?,
            books_entries: books("sum(entries)")?,
            books_entries_max: books("max(entries)")?,
            books_bytes: ask("SELECT coalesce(sum(length(state -> '$.books')), 0) FROM entity \
                 WHERE state ->> '$.semel' IS NOT NULL")?,
            inbox_items: items("inbox")?,
            inbox_bytes: bytes("inbox", "message", "entity_id")?,
            outbox_items: items("outbox")?,
            outbox_bytes: bytes("outbox", "message", "effects")?,
            token_items: items("token")?,
            token_bytes: bytes("token", "token", "value")?,
            queued: items("queue")?,
            resident_mib: memory::of_this_process("VmRSS")?,
            messages_per_second: 0.0,
            pace: 0.0,
        })
    }

    /// How many messages wait at an endpoint.
    pub(super) fn queued_at(path: &Path, endpoint: &str) -> Result<u64> {
        let sql = "SELECT count(*) FROM queue WHERE endpoint = ?1";
        Ok(Connection::open(path)?.query_row(sql, [endpoint], |row| row.get(0))?)
    }

    /// How many processed messages are remembered for longer than their window.
    pub(super) fn expired_at(path: &Path, now: Timestamp) -> Result<u64> {
        let sql = "SELECT count(*) FROM inbox WHERE expires_at < ?1";
        Ok(Connection::open(path)?.query_row(sql, [now.unix_ms()], |row| row.get(0))?)
    }
}

/// Everything that was seen of one protocol.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) protocol: String,
    pub(super) looks: Vec<Look>,
}

/// One figure of a look.
pub(super) struct Measure {
    pub(super) name: &'static str,
    pub(super) phase: Phase,
    pub(super) of: fn(&Look) -> f64,
}

/// What is printed, plotted and judged.
pub(super) const MEASURES: [Measure; 17] = [
    at_rest("largest entity, bytes", |look| look.entity_bytes_max),
    at_rest("mean entity, bytes", |look| look.entity_bytes_mean),
    at_rest("entity books, entries", |look| look.books_entries),
    at_rest("entity books, most in one", |look| look.books_entries_max),
    at_rest("entity books, bytes", |look| look.books_bytes),
    at_rest("inbox, items", |look| look.inbox_items),
    at_rest("inbox, bytes", |look| look.inbox_bytes),
    at_rest("outbox, items", |look| look.outbox_items),
    at_rest("outbox, bytes", |look| look.outbox_bytes),
    at_rest("tokens apart, items", |look| look.token_items),
    at_rest("tokens apart, bytes", |look| look.token_bytes),
    at_rest("queue, messages", |look| look.queued),
    in_flight("entity books, entries", |look| look.books_entries),
    in_flight("entity books, bytes", |look| look.books_bytes),
    in_flight("queue, messages", |look| look.queued),
    at_rest("resident memory, MiB", |look| look.resident_mib),
    at_rest("pace, to transactional", |look| look.pace),
];

const fn at_rest(name: &'static str, of: fn(&Look) -> f64) -> Measure {
    Measure { name, phase: Phase::AtRest, of }
}

const fn in_flight(name: &'static str, of: fn(&Look) -> f64) -> Measure {
    Measure { name, phase: Phase::InFlight, of }
}

impl Measure {
    pub(super) fn title(&self) -> String {
        format!("{}, {}", self.name, self.phase.name())
    }

    pub(super) fn file_name(&self) -> String {
        self.title().replace(',', "").replace(' ', "-")
    }
}

impl Record {
    /// The looks of one phase.
    pub(super) fn looks(&self, phase: Phase) -> impl Iterator<Item = &Look> {
        self.looks.iter().filter(move |look| look.phase == phase)
    }

    /// A measure over the messages.
    pub(super) fn line(&self, measure: &Measure) -> Vec<(f64, f64)> {
        let point = |look: &Look| (look.messages as f64, (measure.of)(look));
        self.looks(measure.phase).map(point).collect()
    }
}

/// Sets the pace of each protocol to that of the reference, portion by portion.
pub(super) fn compare_pace(records: &mut [Record], reference: &str) {
    let reference = records.iter().find(|record| record.protocol == reference);
    let Some(paces) = reference.map(|reference| -> Vec<f64> {
        reference.looks.iter().map(|look| look.messages_per_second).collect()
    }) else {
        return;
    };
    for record in records {
        for (look, pace) in record.looks.iter_mut().zip(&paces) {
            if *pace > 0.0 {
                look.pace = look.messages_per_second / pace;
            }
        }
    }
}
