//! `in_transaction`: the user's own SQL in the transaction that counts.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use deadpool_postgres::Object;
use semel_core::broker::{BrokerLimits, SettleOutcome, Settlement};
use semel_core::handler::Decision;
use semel_core::operator::DeadLetter;
use semel_core::protocols::{
    Outcome, Parking, Places, Processed, Protocol, Step, Transactional, Work, inbox_key,
};
use semel_core::store::{Change, Expect, Keep, QueueHome, StoreLimits, Trouble};
use semel_core::{Context, Envelope, Failure, Store, StoreError};
use tokio::sync::Mutex;
use tokio_postgres::Row;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;

use crate::error::{self, Certainty, Fault};
use crate::group::{Brings, Group, Mode};
use crate::place::Place;
use crate::session::{self, Ask, PLANS, Reached};
use crate::{Postgres, row};

/// How an open transaction begins: should its worker stop, the server ends it.
const BEGIN: &str = "BEGIN; SET LOCAL lock_timeout = '5s'; \
    SET LOCAL idle_in_transaction_session_timeout = '2min'";

/// Where the settlement stands among the statements of a commit: what a group does to messages comes
/// first.
const SETTLE: usize = 0;

/// What an item of a protocol that keeps books in the entity begins with.
const BOOKS: &[u8] = br#"{"semel":""#;

/// One transaction holds the handler's own SQL, the new state, the inbox entry, the messages sent and
/// the settlement: all or nothing.
///
/// The handler takes the open transaction with [`transaction`]. Its tables are its own: Semel only
/// sees that they change when the message counts. Where the handler also keeps a state, that is
/// written along; one that keeps none takes `&mut ()`.
///
/// ```no_run
/// use semel_core::{Context, Failure};
/// # use semel_core::{Keyed, Message};
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Serialize, Deserialize)] struct PlaceOrder { order: String, pence: i64 }
/// # impl Message for PlaceOrder { const TYPE: &'static str = "order.place"; }
/// # impl Keyed for PlaceOrder { fn key(&self) -> String { self.order.clone() } }
///
/// async fn place(_: &mut (), message: PlaceOrder, ctx: &mut Context) -> Result<(), Failure> {
///     let tx = semel_postgres::transaction(ctx)?;
///     let sql = "INSERT INTO orders (id, pence) VALUES ($1, $2)";
///     tx.execute(sql, &[&message.order, &message.pence]).await?;
///     Ok(())
/// }
/// # async fn serve() -> Result<(), Box<dyn std::error::Error>> {
///
/// let database = std::sync::Arc::new(semel_postgres::Postgres::connect("postgres://…").await?);
/// let orders = semel_core::Endpoint::new("orders")
///     .handle(place)
///     .protocol(semel_postgres::InTransaction::on(&database));
/// let backend = semel_core::Backend::in_one(database);
/// semel_core::Host::new(backend).endpoint(orders).run(std::future::pending()).await?;
/// # Ok(()) }
/// ```
///
/// A statement that fails ends the transaction, as always in PostgreSQL: return its error, and the
/// message is tried again, or parked. A deadlock or a lost connection is not the handler's failure,
/// and does not count as one. Messages that conflict wait for each other: the transaction holds its
/// entity's state, if it has one, and what the handler locks.
///
/// Each message takes a transaction and a connection of its own: four round trips besides the
/// handler's. Raise [`Options::connections_max`](crate::Options::connections_max) above the number of
/// messages that shall run side by side.
#[derive(Clone, Debug)]
pub struct InTransaction {
    database: Arc<Postgres>,
    rest: Transactional,
}

impl InTransaction {
    /// For endpoints whose queue lies in this database too. Remembers messages for seven days.
    pub fn on(database: &Arc<Postgres>) -> Self {
        Self { database: database.clone(), rest: Transactional::default() }
    }

    /// The same with another time for which processed messages are remembered.
    #[must_use]
    pub fn window(mut self, window: Duration) -> Self {
        self.rest = Transactional { window };
        self
    }
}

/// The transaction that a handler under [`InTransaction`] runs in.
///
/// # Errors
/// The endpoint has another protocol.
pub fn transaction(context: &mut Context) -> Result<&mut Transaction, Failure> {
    context.lent::<Transaction>().ok_or_else(|| {
        Failure::retry(
            "there is no transaction: give the endpoint the protocol \
             `semel_postgres::InTransaction`",
        )
    })
}

/// An open transaction, for as long as the handler runs.
///
/// `COMMIT` and `ROLLBACK` are not the handler's: what it did before one would count without its
/// message, or its message without it.
#[derive(Debug)]
pub struct Transaction {
    open: Arc<Open>,
}

impl Transaction {
    /// Runs a statement; how many rows it changed.
    pub async fn execute(
        &self,
        sql: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<u64, SqlError> {
        let client = self.open.client.lock().await;
        let client = client.object()?;
        let statement = client.prepare_cached(sql).await.map_err(|error| self.note(error))?;
        client.execute(&statement, parameters).await.map_err(|error| self.note(error))
    }

    /// Runs a statement; the rows it returns.
    pub async fn query(
        &self,
        sql: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, SqlError> {
        let client = self.open.client.lock().await;
        let client = client.object()?;
        let statement = client.prepare_cached(sql).await.map_err(|error| self.note(error))?;
        client.query(&statement, parameters).await.map_err(|error| self.note(error))
    }

    /// Runs a statement that returns one row or none.
    ///
    /// # Errors
    /// It fails, or returns several rows.
    pub async fn query_opt(
        &self,
        sql: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Option<Row>, SqlError> {
        let mut rows = self.query(sql, parameters).await?;
        match rows.len() {
            0 | 1 => Ok(rows.pop()),
            count => Err(SqlError::Rows(count)),
        }
    }

    /// Runs a statement that returns one row.
    ///
    /// # Errors
    /// It fails, or returns another number of rows.
    pub async fn query_one(
        &self,
        sql: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Row, SqlError> {
        self.query_opt(sql, parameters).await?.ok_or(SqlError::Rows(0))
    }

    /// Remembers what was not the handler's fault.
    fn note(&self, error: tokio_postgres::Error) -> SqlError {
        let fault = error::fault("", "write", &error);
        if !matches!(fault, Fault::Failed { certainty: Certainty::NotApplied, .. }) {
            self.open.is_passing.store(true, Ordering::SeqCst);
        }
        SqlError::Postgres(error)
    }
}

/// Why a statement of a handler failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SqlError {
    /// The server or the way there.
    #[error("PostgreSQL: {}", describe(.0))]
    Postgres(#[source] tokio_postgres::Error),
    /// The attempt was over, by its deadline for example.
    #[error("the transaction is over")]
    Over,
    /// One row was expected.
    #[error("one row was expected, there are {0}")]
    Rows(usize),
}

impl SqlError {
    /// The code of the server's error, for example of a constraint that was violated.
    pub fn code(&self) -> Option<&SqlState> {
        match self {
            Self::Postgres(error) => error.code(),
            Self::Over | Self::Rows(_) => None,
        }
    }
}

fn describe(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(db) => format!("{} ({})", db.message(), db.code().code()),
        None => error.to_string(),
    }
}

/// A connection with an open transaction. Dropped, it is closed, and the server undoes everything.
#[derive(Debug)]
struct Client(Option<Object>);

impl Client {
    fn object(&self) -> Result<&Object, SqlError> {
        self.0.as_ref().ok_or(SqlError::Over)
    }

    /// Leaves the connection to others: the transaction is over.
    fn give_back(mut self) {
        self.0 = None;
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        if let Some(object) = self.0.take() {
            drop(Object::take(object));
        }
    }
}

/// What protocol and handler share.
#[derive(Debug)]
struct Open {
    client: Mutex<Client>,
    /// Whether a statement failed for a reason that passes.
    is_passing: AtomicBool,
}

#[async_trait]
impl Protocol for InTransaction {
    fn name(&self) -> &'static str {
        "in_transaction"
    }

    fn check(&self, store: &StoreLimits, _: &BrokerLimits) -> Result<(), String> {
        if store.queue == QueueHome::Elsewhere {
            return Err("a queue in the same PostgreSQL database".to_owned());
        }
        Ok(())
    }

    async fn process(&self, work: &Work<'_>) -> Outcome {
        work.begin(Step::LoadEntity);
        let (client, state) = match self.begin(work).await {
            Ok(Some(begun)) => begun,
            Ok(None) => return work.ack(Outcome::Duplicate).await,
            Err(outcome) => return outcome,
        };

        work.begin(Step::RunHandler);
        let open =
            Arc::new(Open { client: Mutex::new(client), is_passing: AtomicBool::new(false) });
        let context = work.context().lend(Transaction { open: open.clone() });
        let decided = work.handler.run(state.clone(), context).await;
        // Whoever still holds the transaction has it no more.
        let client = std::mem::replace(&mut *open.client.lock().await, Client(None));
        let decision = match decided {
            Ok(decision) => decision,
            Err(failure) => return self.roll_back(client, &open, failure).await,
        };

        if let Err(outcome) = work.drop_token().await {
            return outcome;
        }
        work.begin(Step::CommitState);
        self.commit(work, client, state, decision).await
    }

    async fn processed(
        &self,
        endpoint: &str,
        envelope: &Envelope,
        entity: Option<&str>,
        store: &dyn Store,
    ) -> Result<Processed, StoreError> {
        self.rest.processed(endpoint, envelope, entity, store).await
    }

    async fn park(&self, parking: &Parking<'_>) -> SettleOutcome {
        self.rest.park(parking).await
    }

    async fn discard(&self, dead: &DeadLetter, places: Places<'_>) -> Outcome {
        self.rest.discard(dead, places).await
    }
}

impl InTransaction {
    fn place(&self) -> &Place {
        &self.database.place
    }

    /// Begins a transaction with the inbox entry, and reads the entity's state. It waits for another
    /// copy that is in work; nothing is begun where the message was processed before.
    async fn begin(&self, work: &Work<'_>) -> Result<Option<(Client, Option<Bytes>)>, Outcome> {
        let place = self.place();
        let client = place.server.handlers_client("begin").await?;
        let client = Client(Some(client));
        let inbox = Change::Put {
            key: inbox_key(work.endpoint, work.envelope),
            value: Bytes::copy_from_slice(work.entity.as_bytes()),
            expect: Expect::Absent,
            keep: Keep::For(self.rest.window),
        };
        let changes = [inbox];
        let group = Group::of(std::iter::once((0, &changes[..])));
        let mut asks: Vec<Ask<'_>> = group
            .parts(&place.schema, Mode::Tell, &|| place.now())
            .into_iter()
            .map(|part| part.ask)
            .collect();
        let sql = format!(
            "SELECT state FROM {}.entity WHERE endpoint = $1 AND entity_id = $2 FOR UPDATE",
            place.schema
        );
        let parameters: Vec<session::Parameter<'_>> =
            vec![Box::new(work.endpoint.to_owned()), Box::new(work.entity.replace('\0', ""))];
        asks.push(Ask { sql, parameters });
        let begin = format!("{BEGIN}; SELECT nextval('{}.item_version')", place.schema);
        let answers = self.talk(&client, &begin, &asks, "").await.map_err(|fault| match fault {
            Fault::Again(_) | Fault::Locked(_) => Outcome::Conflict,
            fault => Outcome::from(fault.into_error(&place.server.place, "begin")),
        })?;
        let [made, state] = &answers.rows[..] else {
            return Err(Outcome::from(place.defect("begin", "not as many answers as questions")));
        };
        if made.is_empty() {
            self.end(client).await;
            return Ok(None);
        }
        let state = state.first().map(|state| row::bytes(state, 0));
        if state.as_ref().is_some_and(|state| state.starts_with(BOOKS)) {
            let reason = format!("another protocol keeps books in the entity `{}`", work.entity);
            let help = "Give the endpoint its former protocol, or another name.";
            let error = error::new(&place.server.place, Trouble::Broken, "begin", reason, help);
            return Err(Outcome::from(error));
        }
        Ok(Some((client, state)))
    }

    /// Undoes the attempt. Its failure counts unless something that passes was the reason.
    async fn roll_back(&self, client: Client, open: &Open, failure: Failure) -> Outcome {
        let is_cut = client.object().is_ok_and(|client| client.is_closed());
        if is_cut {
            let help = "Look at the server and the way there; work goes on by itself.";
            let place = &self.place().server.place;
            let reason = failure.reason();
            let error = error::new(place, Trouble::Unavailable, "handler", reason, help);
            return Outcome::Unavailable(error);
        }
        self.end(client).await;
        if open.is_passing.load(Ordering::SeqCst) {
            return Outcome::Conflict;
        }
        Outcome::HandlerFailed(failure)
    }

    /// Ends a transaction of which nothing shall stay.
    async fn end(&self, client: Client) {
        if self.talk(&client, "ROLLBACK", &[], "").await.is_ok() {
            client.give_back();
        }
    }

    async fn commit(
        &self,
        work: &Work<'_>,
        client: Client,
        before: Option<Bytes>,
        decision: Decision,
    ) -> Outcome {
        let place = self.place();
        let messages = match work.messages(decision.effects) {
            Ok(messages) => messages,
            Err(error) => {
                self.end(client).await;
                return Outcome::from(error);
            }
        };
        let receipt = work.receipt.clone();
        let mut changes = vec![Change::Settle { receipt, settlement: Settlement::Ack }];
        // A handler that keeps nothing here leaves no row.
        let is_kept = before.as_ref() != Some(&decision.state)
            && !(before.is_none() && *decision.state == *b"null");
        if is_kept {
            changes.push(Change::Put {
                key: work.entity_key(),
                value: decision.state,
                // The row is locked; where there was none, the last one counts.
                expect: if before.is_some() { Expect::Anything } else { Expect::Absent },
                keep: Keep::Always,
            });
        }
        changes.extend(messages.into_iter().map(Change::Enqueue));
        if let Some(error) = crate::write::refusal(place, &changes) {
            self.end(client).await;
            return Outcome::from(error);
        }
        let group = Group::of(std::iter::once((0, &changes[..])));
        let parts = group.parts(&place.schema, Mode::Require, &|| place.now());
        let (asks, brings): (Vec<Ask<'_>>, Vec<Brings>) =
            parts.into_iter().map(|part| (part.ask, part.brings)).unzip();
        let talk = match client.object() {
            Ok(object) => session::talk(object, PLANS, &asks, "COMMIT"),
            Err(error) => return Outcome::HandlerFailed(error.into()),
        };
        let answers = match tokio::time::timeout(place.server.answer_wait, talk).await {
            Ok(Ok(answers)) => answers,
            Ok(Err((reached, error))) => return self.not_committed(client, reached, &error).await,
            Err(_) => return Outcome::Unavailable(place.server.no_answer("commit")),
        };
        client.give_back();
        for (rows, brings) in answers.rows.iter().zip(&brings) {
            if matches!(brings, Brings::Endpoints) {
                rows.iter()
                    .filter_map(|row| row::text(row, 0))
                    .for_each(|endpoint| place.bells.queued(&endpoint));
            }
        }
        Outcome::Processed
    }

    async fn not_committed(
        &self,
        client: Client,
        reached: Reached,
        error: &tokio_postgres::Error,
    ) -> Outcome {
        let place = self.place();
        let fault = error::fault(&place.server.place, "commit", error);
        let is_undone = !matches!(fault, Fault::Failed { certainty: Certainty::Unknown, .. });
        if is_undone {
            self.end(client).await;
        }
        let said = describe(error);
        match fault {
            // The handler need not run again: the message is another worker's.
            Fault::Condition if reached == Reached::Statement(SETTLE) => Outcome::LeaseLost,
            // Another one made the entity's first state meanwhile.
            Fault::Condition | Fault::Again(_) | Fault::Locked(_) => Outcome::Conflict,
            Fault::Failed { .. } if error.code() == Some(&SqlState::IN_FAILED_SQL_TRANSACTION) => {
                let reason = "a statement of the handler failed, and the handler went on: let it \
                    return the error";
                Outcome::HandlerFailed(Failure::retry(reason))
            }
            // Constraints that are checked at the end.
            Fault::Failed { .. } if is_undone && reached == Reached::End => {
                Outcome::HandlerFailed(Failure::retry(format!("the commit failed: {said}")))
            }
            Fault::Failed { error, .. } => Outcome::from(error),
        }
    }

    async fn talk(
        &self,
        client: &Client,
        begin: &str,
        asks: &[Ask<'_>],
        end: &str,
    ) -> Result<session::Answers, Fault> {
        let place = self.place();
        let surely = |error| Fault::Failed { error, certainty: Certainty::NotApplied };
        let Ok(object) = client.object() else {
            return Err(surely(place.defect("begin", "the connection is gone")));
        };
        let talk = session::talk(object, begin, asks, end);
        match tokio::time::timeout(place.server.answer_wait, talk).await {
            Ok(result) => {
                result.map_err(|(_, error)| error::fault(&place.server.place, "begin", &error))
            }
            Err(_) => Err(Fault::Failed {
                error: place.server.no_answer("begin"),
                certainty: Certainty::Unknown,
            }),
        }
    }
}
