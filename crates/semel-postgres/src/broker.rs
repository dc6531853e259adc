//! The queue as a broker.

use std::time::Duration;

use async_trait::async_trait;
use semel_core::broker::{
    BrokerLimits, Delivery, Lease, Ordering, Outgoing, QueueAge, Receipt, Receive, Registration,
    SendOutcome, SettleOutcome, Settlement, Subscribers,
};
use semel_core::envelope::PARTITION_KEY;
use semel_core::store::{Change, WriteOutcome};
use semel_core::{Broker, StoreError};
use tokio::time::Instant;
use tokio_postgres::Row;

use crate::queue::{self, Held, RECEIVE_MAX};
use crate::session::{Ask, Kind};
use crate::{BYTES_MAX, Postgres, row, write};

/// Where no bell rings for what others queue, who waits no longer than this gets a look of its own.
const PATIENCE: Duration = Duration::from_millis(50);

#[async_trait]
impl Broker for Postgres {
    fn limits(&self) -> BrokerLimits {
        BrokerLimits {
            message_bytes_max: BYTES_MAX,
            receive_max: RECEIVE_MAX,
            ordering: Ordering::PerPartitionKey,
            subscribers: Subscribers::Listed,
            queue_age: QueueAge::Told,
        }
    }

    async fn register(&self, registration: &Registration) -> Result<(), StoreError> {
        let schema = &self.place.schema;
        let name = registration.endpoint.clone();
        let ask = |sql: String, parameters| Ask { sql, parameters };
        let asks = [
            ask(
                format!(
                    "INSERT INTO {schema}.endpoint VALUES ($1, $2, \
                     coalesce($3::timestamptz, clock_timestamp())) ON CONFLICT (name) DO UPDATE \
                     SET protocol = EXCLUDED.protocol, registered_at = EXCLUDED.registered_at"
                ),
                vec![
                    Box::new(name.clone()),
                    Box::new(registration.protocol.clone()),
                    self.place.now(),
                ],
            ),
            ask(
                format!("DELETE FROM {schema}.subscription WHERE endpoint = $1"),
                vec![Box::new(name.clone())],
            ),
            ask(
                format!(
                    "INSERT INTO {schema}.subscription SELECT DISTINCT unnest($2::text[]), $1 \
                     ON CONFLICT DO NOTHING"
                ),
                vec![Box::new(name), Box::new(registration.subscriptions.clone())],
            ),
        ];
        let done = self.place.server.transact("register", Kind::Durable, "", &asks).await;
        done.map(drop).map_err(|fault| fault.into_error(&self.place.server.place, "register"))
    }

    async fn receive(&self, request: &Receive) -> Result<Vec<Delivery>, StoreError> {
        let bell = self.place.bells.of(&request.endpoint);
        let deadline = Instant::now() + request.wait;
        loop {
            let rung = bell.rung();
            // Who does not wait wants to know; who waits may trust that the bell would ring, or can
            // as well wait for the next look.
            let patience = if self.place.bells.hears_others() { Duration::ZERO } else { PATIENCE };
            let quiet = bell.quiet_until().filter(|_| request.wait > patience);
            let quiet_until = match quiet {
                Some(until) => until,
                None => {
                    let (deliveries, until) = self.take(request).await?;
                    if !deliveries.is_empty() {
                        return Ok(deliveries);
                    }
                    bell.note_quiet(rung, until)
                }
            };
            if Instant::now() >= deadline {
                return Ok(Vec::new());
            }
            bell.wait(rung, quiet_until.min(deadline)).await;
        }
    }

    async fn extend(
        &self,
        receipts: &[Receipt],
        lease: Duration,
    ) -> Result<Vec<Lease>, StoreError> {
        let mut held: Vec<(i64, i64, usize)> = Vec::new();
        for (at, receipt) in receipts.iter().enumerate() {
            if let Some(Held::Queued { position, receipt }) = queue::parse(receipt) {
                held.push((position, receipt, at));
            }
        }
        let mut leases = vec![Lease::Lost; receipts.len()];
        if held.is_empty() {
            return Ok(leases);
        }
        held.sort_unstable();
        let ask = Ask {
            sql: queue::extend(&self.place.schema),
            parameters: vec![
                Box::new(held.iter().map(|held| held.0).collect::<Vec<_>>()),
                Box::new(held.iter().map(|held| held.1).collect::<Vec<_>>()),
                Box::new(row::span_ms(lease)),
                self.place.now(),
            ],
        };
        let extended = self.place.server.transact("extend", Kind::Forgetful, "", &[ask]).await;
        let answers =
            extended.map_err(|fault| fault.into_error(&self.place.server.place, "extend"))?;
        for row in answers.rows.iter().flatten() {
            let number = row::get::<i64>(row, 0).and_then(|at| usize::try_from(at - 1).ok());
            let at = number.and_then(|number| held.get(number)).map(|held| held.2);
            if let Some(lease) = at.and_then(|at| leases.get_mut(at)) {
                *lease = Lease::Held;
            }
        }
        Ok(leases)
    }

    async fn settle(&self, receipt: &Receipt, settlement: Settlement) -> SettleOutcome {
        let change = Change::Settle { receipt: receipt.clone(), settlement };
        match self.write_as("settle", vec![change]).await {
            WriteOutcome::Applied(_) => SettleOutcome::Settled,
            WriteOutcome::Conflict(_) => SettleOutcome::Stale,
            WriteOutcome::Refused(error) | WriteOutcome::Unknown(error) => {
                SettleOutcome::Unknown(error)
            }
        }
    }

    async fn subscribers(&self, kind: &str) -> Result<Vec<String>, StoreError> {
        let ask = Ask {
            sql: format!("SELECT endpoint FROM {}.subscription WHERE type = $1", self.place.schema),
            parameters: vec![Box::new(kind.to_owned())],
        };
        let found = self.place.server.transact("subscribers", Kind::Look, "", &[ask]).await;
        let answers =
            found.map_err(|fault| fault.into_error(&self.place.server.place, "subscribers"))?;
        Ok(answers.rows.iter().flatten().filter_map(|row| row::text(row, 0)).collect())
    }

    async fn send(&self, messages: Vec<Outgoing>) -> Vec<SendOutcome> {
        let mut changes = Vec::new();
        let mut refusals = Vec::with_capacity(messages.len());
        for message in messages {
            let refusal = write::message_refusal(&self.place, &message);
            if refusal.is_none() {
                changes.push(Change::Enqueue(message));
            }
            refusals.push(refusal);
        }
        let outcome = self.write_as("send", changes).await;
        let sent = |()| match &outcome {
            WriteOutcome::Applied(_) => SendOutcome::Sent,
            WriteOutcome::Refused(error) => SendOutcome::Refused(error.clone()),
            WriteOutcome::Unknown(error) => SendOutcome::Unknown(error.clone()),
            WriteOutcome::Conflict(_) => {
                SendOutcome::Unknown(self.place.defect("send", "a send has no condition"))
            }
        };
        refusals
            .into_iter()
            .map(|refusal| refusal.map_or_else(|| sent(()), SendOutcome::Refused))
            .collect()
    }
}

impl Postgres {
    /// Takes what can be received now; and, where that is nothing, until when to expect no more.
    async fn take(&self, request: &Receive) -> Result<(Vec<Delivery>, Instant), StoreError> {
        let bell = self.place.bells.of(&request.endpoint);
        let mut from = bell.next_key();
        let mut is_from_first = from.is_empty();
        let mut quiet_until = None;
        loop {
            let taken = self.take_from(request, from).await?;
            // What became due among the first keys while it looked at others.
            let until = quiet_until.map_or(taken.quiet_until, |it| taken.quiet_until.min(it));
            quiet_until = Some(until);
            let is_over = is_from_first && taken.next_key.is_none();
            is_from_first |= taken.next_key.is_none();
            from = taken.next_key.unwrap_or_default();
            bell.set_next_key(from.clone());
            let is_keyed = |delivery: &Delivery| {
                delivery.envelope.as_ref().is_ok_and(|it| it.text(PARTITION_KEY).is_some())
            };
            if taken.deliveries.iter().any(is_keyed) {
                bell.note_keyed();
            }
            if !taken.deliveries.is_empty() || is_over {
                return Ok((taken.deliveries, until));
            }
        }
    }

    /// Takes what can be received now, of what has a partition key from `from` on.
    async fn take_from(&self, request: &Receive, from: String) -> Result<Taken, StoreError> {
        let place = &self.place;
        let proof = place.random();
        let endpoint = || Box::new(request.endpoint.clone());
        let moment = place.moment();
        let asks = [
            Ask {
                sql: queue::receive(&place.schema),
                parameters: vec![
                    endpoint(),
                    Box::new(moment),
                    Box::new(request.max.min(RECEIVE_MAX) as i64),
                    Box::new(proof),
                    Box::new(row::span_ms(request.lease)),
                    Box::new(from),
                ],
            },
            Ask {
                sql: queue::next_due(&place.schema),
                parameters: vec![endpoint(), Box::new(moment)],
            },
        ];
        let taken = place.server.transact("receive", Kind::Forgetful, "", &asks).await;
        let answers = taken.map_err(|fault| fault.into_error(&place.server.place, "receive"))?;
        let [taken, due] = &answers.rows[..] else {
            return Err(place.defect("receive", "not as many answers as questions"));
        };
        let next_key = taken.first().and_then(|row| row::text(row, queue::NEXT_KEY));
        let mut deliveries: Vec<(i64, Delivery)> =
            taken.iter().filter_map(|row| read_delivery(row, proof)).collect();
        deliveries.sort_by_key(|(position, _)| *position);
        let due = due.first().and_then(|row| row::get::<i64>(row, 0));
        let due = due.map(|ms| Duration::from_millis(u64::try_from(ms).unwrap_or(0)));
        Ok(Taken {
            deliveries: deliveries.into_iter().map(|(_, delivery)| delivery).collect(),
            next_key,
            quiet_until: Instant::now() + due.unwrap_or(self.poll_every).min(self.poll_every),
        })
    }
}

/// What one look found.
struct Taken {
    deliveries: Vec<Delivery>,
    /// From which partition key on to look next, if any is left.
    next_key: Option<String>,
    /// Until when to expect no more, where that was nothing.
    quiet_until: Instant,
}

/// A delivery and its place; `None` for a row that only says where to look next.
fn read_delivery(row: &Row, proof: i64) -> Option<(i64, Delivery)> {
    let position = row::get(row, 0)?;
    let delivery = Delivery {
        receipt: queue::receipt(position, proof),
        deliveries: row::count(row, 1),
        failure_count: row::count(row, 2),
        failures: row::failures(row, 3),
        envelope: row::envelope(row, 4),
    };
    Some((position, delivery))
}
