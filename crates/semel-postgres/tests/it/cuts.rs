//! The connection cut at every message that goes to the server, one by one.

use std::sync::Arc;
use std::time::Duration;

use semel_core::{Backend, Context, Endpoint, Failure, Host, HostError, Keyed, Message};
use semel_postgres::tokio_postgres::{self, Client, NoTls};
use semel_postgres::{InTransaction, Options, Postgres, Wake};
use semel_servers::{Cut, Framing, Proxy};
use serde::{Deserialize, Serialize};

use crate::rig::{address, fresh_schema};

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Deposit {
    schema: String,
    pence: i64,
}

impl Message for Deposit {
    const TYPE: &'static str = "deposit";
}

impl Keyed for Deposit {
    fn key(&self) -> String {
        "account".to_owned()
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Noted;

impl Message for Noted {
    const TYPE: &'static str = "noted";
}

#[derive(Default, Serialize, Deserialize)]
struct Account {
    pence: i64,
}

fn deposit(account: &mut Account, message: Deposit, ctx: &mut Context) {
    account.pence += message.pence;
    ctx.send("notes", Noted);
}

async fn own(account: &mut Account, message: Deposit, ctx: &mut Context) -> Result<(), Failure> {
    account.pence += message.pence;
    let sql = format!("INSERT INTO {}.ledger VALUES ($1)", message.schema);
    semel_postgres::transaction(ctx)?.execute(&sql, &[&message.pence]).await?;
    ctx.send("notes", Noted);
    Ok(())
}

/// How an endpoint is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Transactional,
    InTransaction,
}

/// A database reached through a proxy, and a connection of the test's own past it.
struct Bank {
    schema: String,
    proxy: Proxy,
    client: Client,
}

impl Bank {
    async fn open() -> Self {
        let config: tokio_postgres::Config = address().parse().unwrap();
        let proxy = Proxy::start(config.get_ports()[0], Framing::Postgres).unwrap();
        let (client, connection) = tokio_postgres::connect(&address(), NoTls).await.unwrap();
        tokio::spawn(connection);
        let bank = Self { schema: fresh_schema(), proxy, client };
        drop(bank.place().await);
        let ledger = format!("CREATE TABLE {}.ledger (pence bigint)", bank.schema);
        bank.client.batch_execute(&ledger).await.unwrap();
        bank
    }

    /// A worker's own view of it.
    async fn place(&self) -> Arc<Postgres> {
        let address = format!("postgres://postgres@127.0.0.1:{}/postgres", self.proxy.port());
        let options = Options {
            schema: self.schema.clone(),
            // What others queue is looked for: one connection less, whose messages would be counted.
            wake: Wake::Look,
            look_every: Duration::from_millis(5),
            answer_wait: Duration::from_secs(5),
            ..Options::default()
        };
        Arc::new(Postgres::connect_with(&address, options).await.unwrap())
    }

    async fn empty(&self) {
        let schema = &self.schema;
        let sql = format!(
            "TRUNCATE {schema}.queue, {schema}.inbox, {schema}.entity, {schema}.dead_letter, \
             {schema}.ledger"
        );
        self.client.batch_execute(&sql).await.unwrap();
    }

    /// Two deposits, each sent twice, past the proxy.
    async fn fill(&self) {
        let sender = semel_postgres::Sender::new(&self.schema, "/outside");
        for (id, pence) in [("a", 5), ("b", 7), ("a", 5), ("b", 7)] {
            let message = Deposit { schema: self.schema.clone(), pence };
            sender.send_as(&self.client, id, "account", message).await.unwrap();
        }
    }

    async fn run(&self, place: Arc<Postgres>, way: Way) -> Result<(), HostError> {
        let endpoint = match way {
            Way::Transactional => Endpoint::new("account").handle(deposit),
            Way::InTransaction => {
                Endpoint::new("account").handle(own).protocol(InTransaction::on(&place))
            }
        };
        Host::new(Backend::in_one(place)).endpoint(endpoint).run_until_idle().await
    }

    /// The books: pence, notes sent, deposits left, dead letters, rows of the ledger.
    async fn books(&self) -> (Option<i64>, i64, i64, i64, i64) {
        let schema = &self.schema;
        let sql = format!(
            "SELECT (SELECT (convert_from(state, 'UTF8')::jsonb ->> 'pence')::bigint \
             FROM {schema}.entity), \
             (SELECT count(*) FROM {schema}.queue WHERE endpoint = 'notes'), \
             (SELECT count(*) FROM {schema}.queue WHERE endpoint = 'account'), \
             (SELECT count(*) FROM {schema}.dead_letter), (SELECT count(*) FROM {schema}.ledger)"
        );
        let row = self.client.query_one(&sql, &[]).await.unwrap();
        (row.get(0), row.get(1), row.get(2), row.get(3), row.get(4))
    }

    /// Ends the leases of workers that were cut off.
    async fn end_leases(&self) {
        let sql = format!("UPDATE {}.queue SET leased_until = now()", self.schema);
        self.client.execute(&sql, &[]).await.unwrap();
    }

    /// Runs the work with a cut, then until it is done; whether the cut happened.
    async fn is_right_with(&self, cut: Cut, way: Way) -> bool {
        self.empty().await;
        self.fill().await;
        let place = self.place().await;
        self.proxy.cut(cut);
        let ran = self.run(place, way).await;
        let was_cut = self.proxy.has_cut();
        self.proxy.heal();
        match ran {
            Ok(()) => {}
            // One that cannot begin ends, and is started anew.
            Err(HostError::Store(error)) if error.is_passing() && error.operation == "register" => {
            }
            Err(error) => panic!("{cut:?}: the worker stopped: {error}"),
        }
        let rows = if way == Way::InTransaction { 2 } else { 0 };
        let right = (Some(12), 2, 0, 0, rows);
        for _ in 0..3 {
            if self.books().await == right {
                break;
            }
            self.end_leases().await;
            self.run(self.place().await, way).await.unwrap();
        }
        assert_eq!(self.books().await, right, "{cut:?}");
        was_cut
    }
}

/// Every so many messages one test cuts; as many tests begin one after the other.
const STEP: u32 = 3;

/// Cuts at one message after the other, until the work is done before the cut comes.
async fn cut_everywhere(way: Way, cut: fn(u32) -> Cut, first: u32) {
    let bank = Bank::open().await;
    let mut number = first;
    while bank.is_right_with(cut(number), way).await {
        number += STEP;
        assert!(number < 2_000, "it never ends");
    }
    // Otherwise nothing was cut, and this test tells nothing.
    assert!(number > 40, "only {number} messages went to the server");
}

macro_rules! cuts {
    ($($name:ident: $way:ident, $cut:ident;)+) => {$(
        mod $name {
            use super::{Cut, Way, cut_everywhere};

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn first_of_three() {
                cut_everywhere(Way::$way, Cut::$cut, 1).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn second_of_three() {
                cut_everywhere(Way::$way, Cut::$cut, 2).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn third_of_three() {
                cut_everywhere(Way::$way, Cut::$cut, 3).await;
            }
        }
    )+};
}

cuts! {
    a_cut_before_any_message_leaves_the_books_right: Transactional, Before;
    a_cut_within_any_message_leaves_the_books_right: Transactional, Within;
    a_cut_after_any_message_leaves_the_books_right: Transactional, After;
    a_cut_before_any_message_leaves_own_tables_right: InTransaction, Before;
    a_cut_after_any_message_leaves_own_tables_right: InTransaction, After;
}
