//! What a person sees.

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use semel_core::broker::DeadReason;
use semel_core::operator::{DeadLetter, DeadLetterFilter, EndpointReport, Operator, Report};
use semel_core::{StoreError, Timestamp};

use crate::{Sqlite, queue, row};

#[async_trait]
impl Operator for Sqlite {
    async fn inspect(&self) -> Result<Report, StoreError> {
        let now = self.clock.now();
        self.look("inspect", move |connection| inspect(connection, now)).await
    }

    async fn dead_letters(&self, filter: &DeadLetterFilter) -> Result<Vec<DeadLetter>, StoreError> {
        let filter = filter.clone();
        let question = move |connection: &Connection| {
            let limit = i64::try_from(filter.limit).unwrap_or(i64::MAX);
            connection
                .prepare_cached(&format!(
                    "{DEAD_LETTERS} WHERE number > ?1 AND (?2 IS NULL OR endpoint = ?2) \
                     ORDER BY number LIMIT ?3"
                ))?
                .query_map(params![filter.after, filter.endpoint, limit], read_dead_letter)?
                .collect()
        };
        self.look("list dead letters", question).await
    }

    async fn dead_letter(&self, number: i64) -> Result<Option<DeadLetter>, StoreError> {
        let question = move |connection: &Connection| {
            connection
                .prepare_cached(&format!("{DEAD_LETTERS} WHERE number = ?1"))?
                .query_row([number], read_dead_letter)
                .optional()
        };
        self.look("show a dead letter", question).await
    }
}

impl Sqlite {
    /// Asks on a thread where it may take long: a person's question reads whole tables.
    async fn look<T: Send + 'static>(
        &self,
        operation: &'static str,
        question: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.place.check_identity(operation)?;
        let reader = self.reader.clone();
        match tokio::task::spawn_blocking(move || reader.ask(operation, question)).await {
            Ok(answer) => answer,
            Err(error) => Err(self.defect(operation, &error.to_string())),
        }
    }
}

/// The columns of [`read_dead_letter`].
const DEAD_LETTERS: &str = "\
    SELECT number, endpoint, (SELECT protocol FROM endpoint WHERE name = dead_letter.endpoint), \
    reason, dead_since, deliveries, failures, message_id, source, type, subject, sent_at, \
    content_type, schema, extensions, data, entity_id FROM dead_letter";

fn read_dead_letter(row: &Row<'_>) -> rusqlite::Result<DeadLetter> {
    let number = row.get(0)?;
    let reason = row::read_text(row, 3)?;
    Ok(DeadLetter {
        number,
        endpoint: row::read_text(row, 1)?.unwrap_or_default(),
        protocol: row::read_text(row, 2)?,
        // A reason that a newer version wrote is a failure to this one.
        reason: DeadReason::ALL
            .into_iter()
            .find(|known| reason.as_deref() == Some(known.name()))
            .unwrap_or(DeadReason::HandlerFailed),
        dead_since: row::read_time(row, 4)?.unwrap_or_default(),
        deliveries: row::read_count(row, 5)?,
        failures: row::read_failures(row::read_text(row, 6)?),
        envelope: row::read_envelope(row, 7)?,
        raw: row::read_bytes(row, 15)?,
        entity: row::read_text(row, 16)?,
        receipt: queue::dead_receipt(number),
    })
}

fn inspect(connection: &Connection, now: Timestamp) -> rusqlite::Result<Report> {
    // One read transaction, so that all numbers are of one moment.
    let moment = connection.unchecked_transaction()?;
    let mut report = Report::default();
    let registered = "SELECT name, protocol, registered_at FROM endpoint";
    each(&moment, registered, |row| {
        let endpoint = endpoint(&mut report, row)?;
        endpoint.protocol = row::read_text(row, 1)?;
        endpoint.registered_at = row::read_time(row, 2)?;
        Ok(())
    })?;
    each(&moment, "SELECT endpoint, type FROM subscription ORDER BY type", |row| {
        let kind = row::read_text(row, 1)?.unwrap_or_default();
        endpoint(&mut report, row)?.subscriptions.push(kind);
        Ok(())
    })?;
    let queues = format!(
        "SELECT endpoint, sum(available_at <= {now}), \
         sum(available_at > {now} AND receipt IS NULL), \
         sum(available_at > {now} AND receipt IS NOT NULL), min(queued_at) \
         FROM queue GROUP BY endpoint",
        now = now.unix_ms()
    );
    each(&moment, &queues, |row| {
        let endpoint = endpoint(&mut report, row)?;
        endpoint.ready = row.get(1)?;
        endpoint.delayed = row.get(2)?;
        endpoint.in_flight = row.get(3)?;
        endpoint.oldest = row::read_time(row, 4)?;
        Ok(())
    })?;
    type Count = fn(&mut EndpointReport) -> &mut u64;
    let counts: [(&str, Count); 5] = [
        ("dead_letter", |endpoint| &mut endpoint.dead_letters),
        ("inbox", |endpoint| &mut endpoint.inbox),
        ("outbox", |endpoint| &mut endpoint.finisher_backlog),
        ("token", |endpoint| &mut endpoint.tokens),
        ("entity", |endpoint| &mut endpoint.entities),
    ];
    for (table, count) in counts {
        let sql = format!("SELECT endpoint, count(*) FROM {table} GROUP BY endpoint");
        each(&moment, &sql, |row| {
            *count(endpoint(&mut report, row)?) = row.get(1)?;
            Ok(())
        })?;
    }
    Ok(report)
}

fn each(
    connection: &Connection,
    sql: &str,
    mut visit: impl FnMut(&Row<'_>) -> rusqlite::Result<()>,
) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(())?;
    while let Some(row) = rows.next()? {
        visit(row)?;
    }
    Ok(())
}

/// The report of the endpoint that the first column names.
fn endpoint<'r>(report: &'r mut Report, row: &Row<'_>) -> rusqlite::Result<&'r mut EndpointReport> {
    let name = row::read_text(row, 0)?.unwrap_or_default();
    Ok(report.endpoints.entry(name).or_default())
}
