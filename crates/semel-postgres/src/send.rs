//! Sending inside somebody else's transaction.

use std::time::Duration;

use semel_core::broker::{Destination, Outgoing};
use semel_core::context::MessageEffect;
use semel_core::store::Trouble;
use semel_core::{Clock as _, Envelope, Message, StoreError, SystemClock, SystemEntropy, ids};
use tokio_postgres::GenericClient;
use tokio_postgres::types::ToSql;

use crate::group::send_parameters;
use crate::{error, queue, tasks, write};

/// Sends messages inside a transaction that somebody else opened and commits: they are queued if it
/// is committed, and never were if it is not.
///
/// For web handlers and batch jobs that have a transaction of their own, on any client of
/// `tokio-postgres`.
///
/// ```no_run
/// # use semel_core::{Keyed, Message};
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Serialize, Deserialize)] struct Ship { order: String }
/// # impl Message for Ship { const TYPE: &'static str = "order.ship"; }
/// # async fn checkout(client: &mut tokio_postgres::Client) -> Result<(), Box<dyn std::error::Error>> {
/// let sender = semel_postgres::Sender::new("semel", "/web");
///
/// let tx = client.transaction().await?;
/// tx.execute("UPDATE carts SET ordered = true WHERE id = $1", &[&"cart-7"]).await?;
/// sender.send(&tx, "shipping", Ship { order: "cart-7".to_owned() }).await?;
/// tx.commit().await?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Sender {
    schema: String,
    source: String,
}

impl Sender {
    /// Sends to queues in this schema; `source` is the CloudEvents source of the messages.
    pub fn new(schema: &str, source: &str) -> Self {
        Self { schema: format!("\"{}\"", schema.replace('"', "\"\"")), source: source.to_owned() }
    }

    /// Sends `message` to one endpoint, under a new identity.
    pub async fn send<M: Message, C: GenericClient + Sync>(
        &self,
        transaction: &C,
        endpoint: &str,
        message: M,
    ) -> Result<(), StoreError> {
        let id = new_id();
        self.send_as(transaction, &id, endpoint, message).await
    }

    /// Sends `message` to one endpoint under an identity that the caller chose: sent twice, it is
    /// processed once.
    pub async fn send_as<M: Message, C: GenericClient + Sync>(
        &self,
        transaction: &C,
        id: &str,
        endpoint: &str,
        message: M,
    ) -> Result<(), StoreError> {
        let to = Destination::Endpoint(endpoint.to_owned());
        self.queue(transaction, id.to_owned(), to, &message).await
    }

    /// Sends `message` to every endpoint that subscribes to its type, under a new identity.
    pub async fn publish<M: Message, C: GenericClient + Sync>(
        &self,
        transaction: &C,
        message: M,
    ) -> Result<(), StoreError> {
        self.queue(transaction, new_id(), Destination::Subscribers, &message).await
    }

    async fn queue<M: Message, C: GenericClient + Sync>(
        &self,
        transaction: &C,
        id: String,
        to: Destination,
        message: &M,
    ) -> Result<(), StoreError> {
        let effect = MessageEffect::new(to, message, Duration::ZERO).map_err(|failure| {
            self.refused(failure.reason().to_owned(), "Mend its Serialize, or its subject.")
        })?;
        let outgoing = effect.into_outgoing(id, self.source.clone(), SystemClock.now());
        self.check(&outgoing.envelope)?;
        let place = self.place();
        let translate = |error: tokio_postgres::Error| error::translate(&place, "send", &error);
        if let Some(error) = write::message_refusal_at(&place, &outgoing) {
            return Err(error);
        }
        let endpoints = self.insert(transaction, &outgoing).await.map_err(translate)?;
        // Heard when the transaction is committed, and not if it is not.
        let sql = "SELECT pg_notify($1, endpoint) FROM unnest($2::text[]) AS endpoint";
        let channel = tasks::channel(&self.schema);
        transaction.query(sql, &[&channel, &endpoints]).await.map_err(translate)?;
        Ok(())
    }

    async fn insert<C: GenericClient + Sync>(
        &self,
        transaction: &C,
        outgoing: &Outgoing,
    ) -> Result<Vec<String>, tokio_postgres::Error> {
        let mut parameters = send_parameters(&[outgoing]);
        parameters.push(Box::new(None::<std::time::SystemTime>));
        let parameters: Vec<&(dyn ToSql + Sync)> =
            parameters.iter().map(|parameter| &**parameter as _).collect();
        let rows = transaction.query(&queue::send(&self.schema), &parameters).await?;
        rows.iter().map(|row| row.try_get(0)).collect()
    }

    fn check(&self, envelope: &Envelope) -> Result<(), StoreError> {
        envelope.validate().map_err(|error| {
            let help =
                "Choose an id and a source that are not empty and hold no control characters.";
            self.refused(error.to_string(), help)
        })
    }

    fn refused(&self, reason: String, help: &str) -> StoreError {
        error::new(&self.place(), Trouble::Unsupported, "send", reason, help)
    }

    fn place(&self) -> String {
        format!("postgres:{}", self.schema.trim_matches('"'))
    }
}

fn new_id() -> String {
    ids::mint(&SystemClock, &SystemEntropy).to_string()
}
