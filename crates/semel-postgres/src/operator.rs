//! What a person sees.

use async_trait::async_trait;
use semel_core::StoreError;
use semel_core::broker::DeadReason;
use semel_core::operator::{DeadLetter, DeadLetterFilter, EndpointReport, Operator, Report};
use tokio_postgres::Row;

use crate::queue::ENVELOPE;
use crate::session::{Ask, Kind, Parameter};
use crate::{Postgres, queue, row};

#[async_trait]
impl Operator for Postgres {
    async fn inspect(&self) -> Result<Report, StoreError> {
        let schema = &self.place.schema;
        let now = || vec![self.place.now()];
        let ask = |sql: String, parameters: Vec<Parameter<'static>>| Ask { sql, parameters };
        let count = |table: &str| {
            let sql = format!("SELECT endpoint, count(*) FROM {schema}.{table} GROUP BY endpoint");
            ask(sql, Vec::new())
        };
        let time = "coalesce($1::timestamptz, statement_timestamp())";
        let is_held = format!("receipt IS NOT NULL AND leased_until > {time}");
        let waits = format!("due_at IS NOT NULL AND due_at > {time}");
        let queues = format!(
            "SELECT endpoint, count(*) FILTER (WHERE ({is_held}) IS NOT TRUE AND ({waits}) IS NOT \
             TRUE), count(*) FILTER (WHERE ({is_held}) IS NOT TRUE AND {waits}), \
             count(*) FILTER (WHERE {is_held}), min(queued_at) FROM {schema}.queue GROUP BY endpoint"
        );
        let asks = [
            ask(format!("SELECT name, protocol, registered_at FROM {schema}.endpoint"), Vec::new()),
            ask(
                format!("SELECT endpoint, type FROM {schema}.subscription ORDER BY type"),
                Vec::new(),
            ),
            ask(queues, now()),
            count("dead_letter"),
            count("inbox"),
            count("outbox"),
            count("token"),
            count("entity"),
        ];
        let answers = self.look("inspect", &asks).await?;
        let mut report = Report::default();
        for (number, rows) in answers.iter().enumerate() {
            for row in rows {
                let name = row::text(row, 0).unwrap_or_default();
                fill(report.endpoints.entry(name).or_default(), number, row);
            }
        }
        Ok(report)
    }

    async fn dead_letters(&self, filter: &DeadLetterFilter) -> Result<Vec<DeadLetter>, StoreError> {
        let sql = format!(
            "{} WHERE number > $1 AND ($2::text IS NULL OR dead_letter.endpoint = $2) \
             ORDER BY number LIMIT $3",
            self.dead_letters_sql()
        );
        let limit = i64::try_from(filter.limit).unwrap_or(i64::MAX);
        let parameters: Vec<Parameter<'_>> =
            vec![Box::new(filter.after), Box::new(filter.endpoint.clone()), Box::new(limit)];
        let answers = self.look("list dead letters", &[Ask { sql, parameters }]).await?;
        Ok(answers.iter().flatten().map(read_dead_letter).collect())
    }

    async fn dead_letter(&self, number: i64) -> Result<Option<DeadLetter>, StoreError> {
        let sql = format!("{} WHERE number = $1", self.dead_letters_sql());
        let ask = Ask { sql, parameters: vec![Box::new(number)] };
        let answers = self.look("show a dead letter", &[ask]).await?;
        Ok(answers.iter().flatten().next().map(read_dead_letter))
    }
}

impl Postgres {
    async fn look(
        &self,
        operation: &'static str,
        asks: &[Ask<'_>],
    ) -> Result<Vec<Vec<Row>>, StoreError> {
        // One moment for all of it.
        let looked = self.place.server.transact(operation, Kind::Moment, "", asks).await;
        looked
            .map(|answers| answers.rows)
            .map_err(|fault| fault.into_error(&self.place.server.place, operation))
    }

    /// The columns of [`read_dead_letter`].
    fn dead_letters_sql(&self) -> String {
        let schema = &self.place.schema;
        format!(
            "SELECT number, endpoint, (SELECT protocol FROM {schema}.endpoint \
             WHERE name = dead_letter.endpoint), reason, dead_since, deliveries, failures, \
             entity_id, {ENVELOPE} FROM {schema}.dead_letter"
        )
    }
}

fn read_dead_letter(row: &Row) -> DeadLetter {
    let number = row::get(row, 0).unwrap_or_default();
    let reason = row::text(row, 3);
    DeadLetter {
        number,
        endpoint: row::text(row, 1).unwrap_or_default(),
        protocol: row::text(row, 2),
        // A reason that a newer version wrote is a failure to this one.
        reason: DeadReason::ALL
            .into_iter()
            .find(|known| reason.as_deref() == Some(known.name()))
            .unwrap_or(DeadReason::HandlerFailed),
        dead_since: row::time(row, 4).unwrap_or_default(),
        deliveries: row::count(row, 5),
        failures: row::failures(row, 6),
        entity: row::text(row, 7),
        envelope: row::envelope(row, 8),
        raw: row::bytes(row, 16),
        receipt: queue::dead_receipt(number),
    }
}

/// Adds what one statement of [`Operator::inspect`] found of an endpoint.
fn fill(report: &mut EndpointReport, statement: usize, row: &Row) {
    let count = row::total(row, 1);
    match statement {
        0 => {
            report.protocol = row::text(row, 1);
            report.registered_at = row::time(row, 2);
        }
        1 => report.subscriptions.extend(row::text(row, 1)),
        2 => {
            report.ready = count;
            report.delayed = row::total(row, 2);
            report.in_flight = row::total(row, 3);
            report.oldest = row::time(row, 4);
        }
        3 => report.dead_letters = count,
        4 => report.inbox = count,
        5 => report.finisher_backlog = count,
        6 => report.tokens = count,
        _ => report.entities = count,
    }
}
