//! Behind pgbouncer.

use std::sync::Arc;
use std::time::Duration;

use semel_core::store::Trouble;
use semel_core::{Backend, Context, Endpoint, Failure, Host, StoreError};
use semel_postgres::{InTransaction, Options, Postgres, Sender, Wake, tokio_postgres};
use semel_servers::{Durability, PgBouncer, Pooling, Postgres as Server};

use crate::rig::fresh_schema;
use crate::work::{Deposit, account, deposit, deposit_and_check, host};

/// A server, and a pooler with few sessions before it.
struct Pooled {
    server: Server,
    pooler: PgBouncer,
}

fn start(name: &str, pooling: Pooling, settings: &[&str]) -> Pooled {
    let folder = semel_servers::folder().join("tests");
    let server = Server::start(&folder.join(format!("postgres-{name}")), Durability::Kill).unwrap();
    let pooler =
        PgBouncer::before(&server, &folder.join(format!("pgbouncer-{name}")), pooling, settings);
    Pooled { server, pooler: pooler.unwrap() }
}

impl Pooled {
    async fn open(&self, options: Options) -> Arc<Postgres> {
        Arc::new(Postgres::connect_with(&self.pooler.address(), options).await.unwrap())
    }
}

fn look() -> Options {
    Options { wake: Wake::Look, look_every: Duration::from_millis(20), ..Options::default() }
}

/// Four workers and their handlers on two sessions.
async fn four_workers_share_two_sessions(pooled: &Pooled) {
    let backend = Backend::in_one(pooled.open(look()).await);
    for number in 0..100 {
        for _ in 0..2 {
            deposit(&backend, &format!("d{number}")).await.unwrap();
        }
    }
    let mut workers = Vec::new();
    for _ in 0..4 {
        let backend = Backend::in_one(pooled.open(look()).await);
        workers.push(tokio::spawn(host(backend).run_until_idle()));
    }
    for worker in workers {
        worker.await.unwrap().unwrap();
    }
    host(backend.clone()).run_until_idle().await.unwrap();
    let books = account(&backend, "account").await;
    assert_eq!((books.count, books.pence), (100, 500));
    assert_eq!(account(&backend, "notes").await.count, 100);
    let sessions = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'semel'";
    let sessions: u32 = pooled.server.run(sessions).unwrap().parse().unwrap();
    assert!((1..=2).contains(&sessions), "{sessions} sessions");
}

async fn keep(_: &mut (), message: Deposit, ctx: &mut Context) -> Result<(), Failure> {
    let sql = "INSERT INTO ledger VALUES ($1)";
    semel_postgres::transaction(ctx)?.execute(sql, &[&message.pence]).await?;
    Ok(())
}

/// A handler with SQL of its own, and a message sent in somebody else's transaction.
async fn own_transactions_work(pooled: &Pooled) {
    pooled.server.run("CREATE TABLE ledger (pence bigint)").unwrap();
    let schema = fresh_schema();
    let sender = Sender::new(&schema, "/web");
    let database = pooled.open(Options { schema, ..look() }).await;
    let connected = tokio_postgres::connect(&pooled.pooler.address(), tokio_postgres::NoTls).await;
    let (mut client, connection) = connected.unwrap();
    tokio::spawn(connection);
    for (number, commits) in [(1, true), (2, false), (3, true)] {
        let transaction = client.transaction().await.unwrap();
        let message = Deposit { account: "anna".to_owned(), pence: number };
        sender.send(&transaction, "ledger", message).await.unwrap();
        if commits {
            transaction.commit().await.unwrap();
        }
    }
    let ledger = Endpoint::new("ledger").handle(keep).protocol(InTransaction::on(&database));
    Host::new(Backend::in_one(database)).endpoint(ledger).run_until_idle().await.unwrap();
    let sum = pooled.server.run("SELECT count(*) || ' ' || sum(pence) FROM ledger").unwrap();
    assert_eq!(sum, "2 4");
}

/// Whether statements stay prepared where sessions go from client to client.
const KEEPS_STATEMENTS: (u32, u32) = (1, 21);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transaction_pooling_serves_many_workers_on_few_sessions_or_says_why_not() {
    if PgBouncer::version().unwrap() < KEEPS_STATEMENTS {
        let pooled = start("transactions", Pooling::Transaction, &["default_pool_size = 2"]);
        return is_refused(&pooled).await;
    }
    let settings = ["default_pool_size = 2", "max_prepared_statements = 200"];
    let pooled = start("transactions", Pooling::Transaction, &settings);
    four_workers_share_two_sessions(&pooled).await;
    own_transactions_work(&pooled).await;
    drop(pooled);
    let settings = ["default_pool_size = 2", "max_prepared_statements = 0"];
    is_refused(&start("forgetful", Pooling::Transaction, &settings)).await;
}

/// One caller alone gets the same session again and again. As soon as several call, statements are
/// missing where they go.
async fn is_refused(pooled: &Pooled) {
    let callers = (0..8).map(|caller| async move {
        let place = Postgres::connect_with(&pooled.pooler.address(), look()).await?;
        let backend = Backend::in_one(Arc::new(place));
        for number in 0..200 {
            deposit(&backend, &format!("{caller}-{number}")).await?;
        }
        Ok(())
    });
    let ended: Vec<Result<(), StoreError>> = futures_util::future::join_all(callers).await;
    let error = ended.into_iter().find_map(Result::err).expect("nobody was refused");
    assert!(error.reason.contains("prepared statement"), "{error}");
    assert_eq!(error.trouble, Trouble::Broken, "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn session_pooling_is_like_none() {
    let pooled = start("sessions", Pooling::Session, &["default_pool_size = 100"]);
    let backend = Backend::in_one(pooled.open(Options::default()).await);
    deposit_and_check(backend).await;
    own_transactions_work(&pooled).await;
}
