//! The queue: messages as rows, receipts as versions.

use std::collections::BTreeSet;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension as _, Row, params};
use semel_core::broker::{
    Delivery, Destination, Lease, Outgoing, Receipt, Receive, Registration, Settlement,
};
use semel_core::envelope::PARTITION_KEY;

use crate::BYTES_MAX;
use crate::changes::{Rejected, Transaction};
use crate::row::{self, ENVELOPE_COLUMNS, Readable};

/// The most deliveries of one receive.
pub(crate) const RECEIVE_MAX: usize = 1_000;

/// A message may be received when it is available and, if it has a partition key, when no earlier
/// message of that key waits behind it or is in work elsewhere.
macro_rules! candidates {
    ($columns:literal) => {
        concat!(
            "SELECT ",
            $columns,
            " FROM queue AS candidate \
            WHERE endpoint = ?1 AND available_at <= ?2 AND (partition_key IS NULL OR NOT EXISTS ( \
                SELECT 1 FROM queue AS earlier \
                WHERE earlier.endpoint = ?1 AND earlier.partition_key = candidate.partition_key \
                  AND earlier.position < candidate.position \
                  AND (earlier.available_at, earlier.position) \
                      > (min(?2, candidate.available_at), candidate.position))) \
            ORDER BY available_at, position LIMIT ?3"
        )
    };
}

/// Whether anything can be received. Asked often, so that waiting writes nothing.
pub(crate) const HAS_CANDIDATE: &str = candidates!("position");

/// With the position of the message before it among those of its key.
const CANDIDATES: &str = candidates!(
    "position, deliveries, failure_count, failures, \
     message_id, source, type, subject, sent_at, content_type, schema, extensions, data, \
     (SELECT max(position) FROM queue AS before WHERE before.endpoint = candidate.endpoint \
      AND before.partition_key = candidate.partition_key \
      AND before.position < candidate.position)"
);

const TAKE: &str = "\
    UPDATE queue SET receipt = ?2, available_at = ?3, deliveries = ?4 WHERE position = ?1";

const ENQUEUE: &str = "\
    INSERT INTO queue (endpoint, available_at, deliveries, failure_count, queued_at, \
    partition_key, message_id, source, type, subject, sent_at, content_type, schema, extensions, \
    data) VALUES (?1, ?2, 0, 0, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)";

pub(crate) fn receive(
    tx: &mut Transaction<'_>,
    request: &Receive,
) -> rusqlite::Result<Vec<Delivery>> {
    let now = tx.now();
    let max = request.max.min(RECEIVE_MAX) as i64;
    let candidates: Vec<Candidate> = tx
        .connection()
        .prepare_cached(CANDIDATES)?
        .query_map(params![request.endpoint, now.unix_ms(), max], read_candidate)?
        .collect::<Result<_, _>>()?;
    let until = now.after(request.lease).unix_ms();
    let mut deliveries = Vec::with_capacity(candidates.len());
    let mut taken = BTreeSet::new();
    for Candidate { position, before, mut delivery } in candidates {
        // The message before it may itself have to wait for one that is still away.
        if before.is_some_and(|before| !taken.contains(&before)) {
            continue;
        }
        taken.insert(position);
        let receipt = tx.mint_version();
        tx.connection().prepare_cached(TAKE)?.execute(params![
            position,
            receipt,
            until,
            delivery.deliveries
        ])?;
        delivery.receipt = Receipt::new(format!("{position}.{receipt}"));
        deliveries.push(delivery);
    }
    Ok(deliveries)
}

/// A message that may be received.
struct Candidate {
    position: i64,
    /// The one before it among those of its key.
    before: Option<i64>,
    /// As it would be delivered, still without a receipt of its own.
    delivery: Delivery,
}

fn read_candidate(row: &Row<'_>) -> rusqlite::Result<Candidate> {
    let delivery = Delivery {
        receipt: Receipt::new(""),
        deliveries: row::read_count(row, 1)?.saturating_add(1),
        failure_count: row::read_count(row, 2)?,
        failures: row::read_failures(row::read_text(row, 3)?),
        envelope: row::read_envelope(row, 4)?,
    };
    Ok(Candidate { position: row.get(0)?, before: row.get(13)?, delivery })
}

/// What a receipt of ours points at.
enum Held {
    Queued {
        position: i64,
        receipt: i64,
    },
    Dead {
        number: i64,
    },
    /// Not a receipt of ours: as stale as one can be.
    Foreign,
}

fn parse(receipt: &Receipt) -> Held {
    let numbers = |text: &str| -> Option<(i64, i64)> {
        let (first, second) = text.split_once('.')?;
        Some((first.parse().ok()?, second.parse().ok()?))
    };
    let text = receipt.as_str();
    if let Some(number) = text.strip_prefix("dead.").and_then(|number| number.parse().ok()) {
        return Held::Dead { number };
    }
    match numbers(text) {
        Some((position, receipt)) => Held::Queued { position, receipt },
        None => Held::Foreign,
    }
}

/// The receipt of a dead letter. Its number is a version: it never comes back.
pub(crate) fn dead_receipt(number: i64) -> Receipt {
    Receipt::new(format!("dead.{number}"))
}

pub(crate) fn extend(
    tx: &mut Transaction<'_>,
    receipts: &[Receipt],
    lease: Duration,
) -> rusqlite::Result<Vec<Lease>> {
    let until = tx.now().after(lease).unix_ms();
    let mut extend = tx.connection().prepare_cached(
        "UPDATE queue SET available_at = ?3 WHERE position = ?1 AND receipt = ?2",
    )?;
    let mut leases = Vec::with_capacity(receipts.len());
    for receipt in receipts {
        let changed = match parse(receipt) {
            Held::Queued { position, receipt } => extend.execute([position, receipt, until])?,
            Held::Dead { .. } | Held::Foreign => 0,
        };
        leases.push(if changed == 0 { Lease::Lost } else { Lease::Held });
    }
    Ok(leases)
}

/// Settles a delivery or a dead letter; `false` if the receipt is stale.
pub(crate) fn settle(
    tx: &mut Transaction<'_>,
    receipt: &Receipt,
    settlement: &Settlement,
) -> Result<bool, Rejected> {
    let changed = match parse(receipt) {
        Held::Queued { position, receipt } => settle_queued(tx, position, receipt, settlement)?,
        Held::Dead { number } => settle_dead(tx, number, settlement)?,
        Held::Foreign => 0,
    };
    Ok(changed > 0)
}

fn settle_queued(
    tx: &mut Transaction<'_>,
    position: i64,
    receipt: i64,
    settlement: &Settlement,
) -> Result<usize, Rejected> {
    let now = tx.now();
    Ok(match settlement {
        Settlement::Ack => remove(tx, position, receipt)?,
        Settlement::Release { after } => {
            tx.note_queued();
            // Given back without blame: the delivery does not count.
            tx.connection()
                .prepare_cached(
                    "UPDATE queue SET receipt = NULL, available_at = ?3, \
                     deliveries = max(deliveries - 1, 0) WHERE position = ?1 AND receipt = ?2",
                )?
                .execute(params![position, receipt, now.after(*after).unix_ms()])?
        }
        Settlement::Retry { after, failure } => {
            let history = add_failure(tx, position, receipt, failure)?;
            tx.connection()
                .prepare_cached(
                    "UPDATE queue SET receipt = NULL, available_at = ?3, failures = ?4, \
                     failure_count = failure_count + 1 WHERE position = ?1 AND receipt = ?2",
                )?
                .execute(params![position, receipt, now.after(*after).unix_ms(), history])?
        }
        Settlement::DeadLetter { reason, failure, entity } => {
            let history = add_failure(tx, position, receipt, failure)?;
            let number = tx.mint_version();
            let parked = tx
                .connection()
                .prepare_cached(&format!(
                    "INSERT INTO dead_letter (number, reason, dead_since, failures, \
                     entity_id, failure_count, endpoint, deliveries, queued_at, partition_key, \
                     {ENVELOPE_COLUMNS}) \
                     SELECT ?3, ?4, ?5, ?6, ?7, failure_count + 1, endpoint, deliveries, \
                     queued_at, partition_key, {ENVELOPE_COLUMNS} FROM queue \
                     WHERE position = ?1 AND receipt = ?2"
                ))?
                .execute(params![
                    position,
                    receipt,
                    number,
                    reason.name(),
                    now.unix_ms(),
                    history,
                    entity
                ])?;
            if parked > 0 {
                remove(tx, position, receipt)?;
            }
            parked
        }
    })
}

fn remove(tx: &Transaction<'_>, position: i64, receipt: i64) -> rusqlite::Result<usize> {
    tx.connection()
        .prepare_cached("DELETE FROM queue WHERE position = ?1 AND receipt = ?2")?
        .execute([position, receipt])
}

fn add_failure(
    tx: &Transaction<'_>,
    position: i64,
    receipt: i64,
    failure: &semel_core::broker::FailureRecord,
) -> rusqlite::Result<String> {
    let history = tx
        .connection()
        .prepare_cached("SELECT failures FROM queue WHERE position = ?1 AND receipt = ?2")?
        .query_row([position, receipt], |row| row::read_text(row, 0))
        .optional()?
        .flatten();
    Ok(row::add_failure(history, failure))
}

/// A dead letter is replayed by giving it back, and removed by acknowledging it. It has no attempts
/// that could fail.
fn settle_dead(
    tx: &mut Transaction<'_>,
    number: i64,
    settlement: &Settlement,
) -> Result<usize, Rejected> {
    let after = match settlement {
        Settlement::Ack => None,
        Settlement::Release { after } => Some(*after),
        Settlement::Retry { .. } | Settlement::DeadLetter { .. } => return Ok(0),
    };
    if let Some(after) = after {
        let now = tx.now();
        tx.note_queued();
        // It starts anew, with its history but with all its tries.
        tx.connection()
            .prepare_cached(&format!(
                "INSERT INTO queue (endpoint, available_at, deliveries, failure_count, failures, \
                 queued_at, partition_key, {ENVELOPE_COLUMNS}) \
                 SELECT endpoint, ?2, 0, 0, failures, ?3, partition_key, {ENVELOPE_COLUMNS} \
                 FROM dead_letter WHERE number = ?1"
            ))?
            .execute(params![number, now.after(after).unix_ms(), now.unix_ms()])?;
    }
    Ok(tx
        .connection()
        .prepare_cached("DELETE FROM dead_letter WHERE number = ?1")?
        .execute([number])?)
}

pub(crate) fn enqueue(tx: &mut Transaction<'_>, message: &Outgoing) -> Result<(), Rejected> {
    let size = message.envelope.size();
    if size > BYTES_MAX {
        return Err(tx.too_large(&format!("a `{}`", message.envelope.kind), size));
    }
    match &message.to {
        Destination::Endpoint(endpoint) => insert(tx, endpoint, message)?,
        Destination::Subscribers => {
            for endpoint in subscribers(tx.connection(), &message.envelope.kind)? {
                insert(tx, &endpoint, message)?;
            }
        }
    }
    tx.note_queued();
    Ok(())
}

/// The endpoints that subscribe to a type.
pub(crate) fn subscribers(connection: &Connection, kind: &str) -> rusqlite::Result<Vec<String>> {
    connection
        .prepare_cached("SELECT endpoint FROM subscription WHERE type = ?1")?
        .query_map([kind], |row| Ok(row::read_text(row, 0)?.unwrap_or_default()))?
        .collect()
}

fn insert(tx: &Transaction<'_>, endpoint: &str, message: &Outgoing) -> rusqlite::Result<()> {
    let now = tx.now();
    let envelope = &message.envelope;
    tx.connection().prepare_cached(ENQUEUE)?.execute(params![
        endpoint,
        now.after(message.delay).unix_ms(),
        now.unix_ms(),
        envelope.text(PARTITION_KEY),
        envelope.id,
        envelope.source,
        envelope.kind,
        envelope.subject,
        envelope.time.map(semel_core::Timestamp::unix_ms),
        envelope.content_type,
        envelope.schema,
        row::write_extensions(envelope),
        Readable(&envelope.data),
    ])?;
    Ok(())
}

pub(crate) fn register(
    tx: &mut Transaction<'_>,
    registration: &Registration,
) -> Result<(), Rejected> {
    let connection = tx.connection();
    connection.execute(
        "INSERT INTO endpoint (name, protocol, registered_at) VALUES (?1, ?2, ?3) \
         ON CONFLICT DO UPDATE SET protocol = ?2, registered_at = ?3",
        params![registration.endpoint, registration.protocol, tx.now().unix_ms()],
    )?;
    connection.execute("DELETE FROM subscription WHERE endpoint = ?1", [&registration.endpoint])?;
    for kind in &registration.subscriptions {
        connection.execute(
            "INSERT INTO subscription (type, endpoint) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
            [kind, &registration.endpoint],
        )?;
    }
    Ok(())
}
