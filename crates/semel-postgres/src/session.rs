//! Talking to the server: one transaction, sent whole, in one round trip.

use std::future::Future;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use deadpool_postgres::{Object, Pool};
use semel_core::StoreError;
use semel_core::store::Trouble;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Row, SimpleQueryMessage, Statement};

use crate::error::{self, Certainty, Fault};

/// A value for a parameter of a statement.
pub(crate) type Parameter<'a> = Box<dyn ToSql + Send + Sync + 'a>;

/// A statement with its parameters.
pub(crate) struct Ask<'a> {
    pub(crate) sql: String,
    pub(crate) parameters: Vec<Parameter<'a>>,
}

/// How a transaction begins and ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// What it changes is durable when it is answered.
    Durable,
    /// What it changes may be undone by a crash of the server: leases.
    Forgetful,
    /// It looks.
    Look,
    /// All its statements look at one moment.
    Moment,
    /// What it changes is undone.
    Trial,
}

/// For tables that grow and shrink faster than anybody counts their rows, only plans that go by an
/// index are good, however few rows there seem to be.
pub(crate) const PLANS: &str = "SET LOCAL enable_seqscan = off; SET LOCAL enable_hashjoin = off; \
    SET LOCAL enable_mergejoin = off; SET LOCAL jit = off; SET LOCAL lock_timeout = '2s'";

impl Kind {
    fn begin(self) -> String {
        match self {
            Self::Durable | Self::Trial => format!("BEGIN; {PLANS}"),
            Self::Forgetful => format!("BEGIN; SET LOCAL synchronous_commit = off; {PLANS}"),
            Self::Look => format!("BEGIN READ ONLY; {PLANS}"),
            Self::Moment => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY".to_owned(),
        }
    }

    const fn end(self) -> &'static str {
        match self {
            Self::Durable | Self::Forgetful | Self::Look | Self::Moment => "COMMIT",
            Self::Trial => "ROLLBACK",
        }
    }
}

/// The server: connections, and how patient we are.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    pub(crate) pool: Pool,
    /// Connections for transactions in which handlers run. They are apart, so that one that waits
    /// for Semel's own work never holds what that work waits for.
    pub(crate) handlers: Pool,
    /// The place as errors name it.
    pub(crate) place: String,
    pub(crate) answer_wait: Duration,
}

/// What a transaction brought.
pub(crate) struct Answers {
    /// What the statement sent right after its beginning returned, if it was one number.
    pub(crate) number: Option<i64>,
    /// The rows of each statement.
    pub(crate) rows: Vec<Vec<Row>>,
}

impl Server {
    /// Runs `asks` as one transaction. `first` is a statement that returns a number, or nothing.
    ///
    /// Everything goes out at once, the end of the transaction included. So a process that stops in
    /// the middle holds no locks: the server goes on without it.
    pub(crate) async fn transact(
        &self,
        operation: &'static str,
        kind: Kind,
        first: &str,
        asks: &[Ask<'_>],
    ) -> Result<Answers, Fault> {
        let client = self.client(operation).await.map_err(surely)?;
        let begin = format!("{}; {first}", kind.begin());
        let talk = talk(&client, &begin, asks, kind.end());
        match tokio::time::timeout(self.answer_wait, talk).await {
            Ok(result) => result.map_err(|(_, error)| error::fault(&self.place, operation, &error)),
            Err(_) => {
                // Whatever it still does, nobody shall continue there.
                drop(Object::take(client));
                Err(Fault::Failed {
                    error: self.no_answer(operation),
                    certainty: Certainty::Unknown,
                })
            }
        }
    }

    /// A connection for Semel's own work.
    pub(crate) async fn client(&self, operation: &'static str) -> Result<Object, StoreError> {
        self.connection(&self.pool, operation).await
    }

    /// A connection for a transaction in which a handler runs.
    pub(crate) async fn handlers_client(
        &self,
        operation: &'static str,
    ) -> Result<Object, StoreError> {
        self.connection(&self.handlers, operation).await
    }

    async fn connection(&self, pool: &Pool, operation: &'static str) -> Result<Object, StoreError> {
        pool.get().await.map_err(|error| error::no_connection(&self.place, operation, &error))
    }

    pub(crate) fn no_answer(&self, operation: &'static str) -> StoreError {
        let reason = format!("no answer within {} s", self.answer_wait.as_secs());
        let help = "Look at the server and the way there; work goes on by itself.";
        error::new(&self.place, Trouble::Unavailable, operation, reason, help)
    }
}

fn surely(error: StoreError) -> Fault {
    Fault::Failed { error, certainty: Certainty::NotApplied }
}

/// How far a conversation came that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reached {
    /// Its beginning, or the preparation of its statements.
    Beginning,
    /// The statement at this place among those asked.
    Statement(usize),
    /// Its end.
    End,
}

/// Sends a beginning, statements and an end at once, and returns what they brought.
///
/// The first error tells; those after it only follow from it. That includes the end of a transaction,
/// which succeeds as a roll-back where a statement failed.
pub(crate) async fn talk(
    client: &Object,
    begin: &str,
    asks: &[Ask<'_>],
    end: &str,
) -> Result<Answers, (Reached, tokio_postgres::Error)> {
    let in_beginning = |error| (Reached::Beginning, error);
    let mut statements: Vec<Statement> = Vec::with_capacity(asks.len());
    for ask in asks {
        statements.push(client.prepare_cached(&ask.sql).await.map_err(in_beginning)?);
    }
    let parameters: Vec<Vec<&(dyn ToSql + Sync)>> =
        asks.iter().map(|ask| ask.parameters.iter().map(|it| &**it as _).collect()).collect();
    let mut calls: Vec<Call<'_>> = Vec::with_capacity(asks.len() + 2);
    calls.push(Box::pin(async { client.simple_query(begin).await.map(Got::Begun) }));
    for (statement, parameters) in statements.iter().zip(&parameters) {
        calls.push(Box::pin(async { client.query(statement, parameters).await.map(Got::Rows) }));
    }
    if !end.is_empty() {
        calls.push(Box::pin(async { client.simple_query(end).await.map(|_| Got::Ended) }));
    }
    let mut answers = Answers { number: None, rows: Vec::with_capacity(asks.len()) };
    for (at, got) in in_order(calls).await.into_iter().enumerate() {
        let reached = match at.checked_sub(1) {
            None => Reached::Beginning,
            Some(at) if at < asks.len() => Reached::Statement(at),
            Some(_) => Reached::End,
        };
        match got.map_err(|error| (reached, error))? {
            Got::Begun(messages) => answers.number = read_number(&messages),
            Got::Rows(found) => answers.rows.push(found),
            Got::Ended => {}
        }
    }
    Ok(answers)
}

enum Got {
    Begun(Vec<SimpleQueryMessage>),
    Rows(Vec<Row>),
    Ended,
}

type Call<'a> = Pin<Box<dyn Future<Output = Result<Got, tokio_postgres::Error>> + Send + 'a>>;

/// Polls all in their order, so that their requests go out in it, and returns what each gave.
async fn in_order(mut calls: Vec<Call<'_>>) -> Vec<Result<Got, tokio_postgres::Error>> {
    let mut answers: Vec<Option<_>> = calls.iter().map(|_| None).collect();
    std::future::poll_fn(|context| {
        let mut is_ready = true;
        for (call, answer) in calls.iter_mut().zip(&mut answers) {
            if answer.is_some() {
                continue;
            }
            match call.as_mut().poll(context) {
                Poll::Ready(got) => *answer = Some(got),
                Poll::Pending => is_ready = false,
            }
        }
        if is_ready { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    answers.into_iter().flatten().collect()
}

fn read_number(messages: &[SimpleQueryMessage]) -> Option<i64> {
    messages.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0)?.parse().ok(),
        _ => None,
    })
}
