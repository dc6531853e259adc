//! Handlers with SQL of their own.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use semel_core::broker::DeadReason;
use semel_core::operator::{DeadLetterFilter, Operator as _};
use semel_core::retry::RetryPolicy;
use semel_core::{Backend, Context, Endpoint, Failure, Host, Keyed, Message, Settings};
use semel_postgres::tokio_postgres::{self, Client, NoTls};
use semel_postgres::{InTransaction, Options, Postgres};
use serde::{Deserialize, Serialize};

use crate::rig::{address, fresh_schema};

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct PlaceOrder {
    /// Where the tables of this test are.
    pub(crate) schema: String,
    pub(crate) order: String,
    pub(crate) lines: Vec<i64>,
}

impl Message for PlaceOrder {
    const TYPE: &'static str = "order.place";
}

impl Keyed for PlaceOrder {
    fn key(&self) -> String {
        self.order.clone()
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Bill {
    order: String,
}

impl Message for Bill {
    const TYPE: &'static str = "order.bill";
}

impl Keyed for Bill {
    fn key(&self) -> String {
        self.order.clone()
    }
}

/// A schema of Semel's, and the service's own tables beside it.
pub(crate) struct Shop {
    pub(crate) schema: String,
    pub(crate) place: Arc<Postgres>,
    /// A connection of the test's own.
    pub(crate) client: Client,
}

impl Shop {
    pub(crate) async fn open() -> Self {
        let schema = fresh_schema();
        let options = Options { schema: schema.clone(), ..Options::default() };
        let place = Arc::new(Postgres::connect_with(&address(), options).await.unwrap());
        let (client, connection) = tokio_postgres::connect(&address(), NoTls).await.unwrap();
        tokio::spawn(connection);
        let tables = format!(
            "CREATE TABLE {schema}.orders (id text PRIMARY KEY, lines bigint NOT NULL); \
             CREATE TABLE {schema}.order_lines (order_id text NOT NULL REFERENCES \
             {schema}.orders (id) DEFERRABLE INITIALLY DEFERRED, number bigint NOT NULL, \
             pence bigint NOT NULL CHECK (pence > 0))"
        );
        client.batch_execute(&tables).await.unwrap();
        Self { schema, place, client }
    }

    pub(crate) fn backend(&self) -> Backend {
        Backend::in_one(self.place.clone())
    }

    pub(crate) fn order(&self, order: &str, lines: &[i64]) -> PlaceOrder {
        PlaceOrder { schema: self.schema.clone(), order: order.to_owned(), lines: lines.to_vec() }
    }

    /// An endpoint that keeps orders in the service's own tables, and bills them.
    fn orders(&self) -> Endpoint {
        self.endpoint().handle(place)
    }

    fn endpoint(&self) -> Endpoint {
        let settings = Settings { retry: RetryPolicy::NONE, ..Settings::default() };
        Endpoint::new("orders").protocol(InTransaction::on(&self.place)).settings(settings)
    }

    pub(crate) async fn run(&self, endpoint: Endpoint) {
        Host::new(self.backend()).endpoint(endpoint).run_until_idle().await.unwrap();
    }

    pub(crate) async fn count(&self, table: &str) -> i64 {
        let sql = format!("SELECT count(*) FROM {}.{table}", self.schema);
        self.client.query_one(&sql, &[]).await.unwrap().get(0)
    }
}

async fn place(_: &mut (), message: PlaceOrder, ctx: &mut Context) -> Result<(), Failure> {
    let PlaceOrder { schema, order, lines } = message;
    let tx = semel_postgres::transaction(ctx)?;
    for (number, pence) in lines.iter().enumerate() {
        let sql = format!("INSERT INTO {schema}.order_lines VALUES ($1, $2, $3)");
        tx.execute(&sql, &[&order, &(number as i64), pence]).await?;
    }
    let sql = format!("INSERT INTO {schema}.orders VALUES ($1, $2)");
    tx.execute(&sql, &[&order, &(lines.len() as i64)]).await?;
    ctx.send("bills", Bill { order });
    Ok(())
}

#[tokio::test]
async fn a_handlers_own_rows_count_once_with_its_messages() {
    let shop = Shop::open().await;
    for _ in 0..3 {
        shop.backend().send_as("o1", "orders", shop.order("o1", &[5, 7])).await.unwrap();
    }
    shop.run(shop.orders()).await;
    assert_eq!(shop.count("orders").await, 1);
    assert_eq!(shop.count("order_lines").await, 2);
    assert_eq!(shop.count("inbox").await, 1);
    assert_eq!(shop.count("queue WHERE endpoint = 'bills'").await, 1);
    assert_eq!(shop.count("queue WHERE endpoint = 'orders'").await, 0);
    assert_eq!(shop.count("entity").await, 0, "a handler that keeps nothing leaves no row");
}

#[tokio::test]
async fn a_violated_constraint_undoes_everything_and_parks_the_message_with_its_reason() {
    let shop = Shop::open().await;
    shop.backend().send_as("bad", "orders", shop.order("bad", &[5, -1])).await.unwrap();
    shop.backend().send_as("good", "orders", shop.order("good", &[5])).await.unwrap();
    shop.run(shop.orders()).await;
    assert_eq!(shop.count("orders").await, 1);
    assert_eq!(shop.count("order_lines").await, 1);
    assert_eq!(shop.count("inbox").await, 1, "the failed one may be replayed");
    let filter = DeadLetterFilter { limit: 10, ..DeadLetterFilter::default() };
    let dead = shop.place.dead_letters(&filter).await.unwrap();
    assert_eq!(dead.len(), 1);
    assert_eq!(dead[0].reason, DeadReason::HandlerFailed);
    let reason = &dead[0].failures[0].reason;
    assert!(reason.contains("check constraint") && reason.contains("23514"), "{reason}");
}

async fn without_order(_: &mut (), message: PlaceOrder, ctx: &mut Context) -> Result<(), Failure> {
    let sql = format!("INSERT INTO {}.order_lines VALUES ($1, 1, 1)", message.schema);
    semel_postgres::transaction(ctx)?.execute(&sql, &[&message.order]).await?;
    ctx.send("bills", Bill { order: message.order });
    Ok(())
}

#[tokio::test]
async fn a_constraint_that_fails_at_the_commit_is_the_handlers_failure() {
    let shop = Shop::open().await;
    shop.backend().send("orders", shop.order("o1", &[])).await.unwrap();
    shop.run(shop.endpoint().handle(without_order)).await;
    assert_eq!(shop.count("order_lines").await, 0);
    assert_eq!(shop.count("queue").await, 0, "no bill, and the message is parked");
    assert_eq!(shop.count("dead_letter WHERE failures ->> 0 LIKE '%the commit failed%'").await, 1);
}

async fn swallows(_: &mut (), message: PlaceOrder, ctx: &mut Context) -> Result<(), Failure> {
    let sql = format!("INSERT INTO {}.order_lines VALUES ($1, 1, -1)", message.schema);
    let _ = semel_postgres::transaction(ctx)?.execute(&sql, &[&message.order]).await;
    ctx.send("bills", Bill { order: message.order });
    Ok(())
}

#[tokio::test]
async fn an_error_that_a_handler_swallows_is_not_lost() {
    let shop = Shop::open().await;
    shop.backend().send("orders", shop.order("o1", &[])).await.unwrap();
    shop.run(shop.endpoint().handle(swallows)).await;
    assert_eq!(shop.count("queue").await, 0, "no bill, and the message is parked");
    assert_eq!(
        shop.count("dead_letter WHERE failures ->> 0 LIKE '%the handler went on%'").await,
        1
    );
}

#[derive(Default, Serialize, Deserialize)]
struct Tally {
    orders: u32,
}

async fn tally(tally: &mut Tally, message: PlaceOrder, ctx: &mut Context) -> Result<(), Failure> {
    tally.orders += 1;
    let sql = format!("INSERT INTO {}.orders VALUES ($1, $2)", message.schema);
    let key = format!("{} {}", message.order, tally.orders);
    let tx = semel_postgres::transaction(ctx)?;
    tx.execute(&sql, &[&key, &i64::from(tally.orders)]).await?;
    Ok(())
}

#[tokio::test]
async fn a_state_is_kept_beside_the_rows() {
    let shop = Shop::open().await;
    for number in 0..5 {
        let id = format!("m{number}");
        shop.backend().send_as(&id, "orders", shop.order("o1", &[])).await.unwrap();
    }
    shop.run(shop.endpoint().handle(tally)).await;
    assert_eq!(shop.count("orders").await, 5);
    let sql = format!("SELECT convert_from(state, 'UTF8') FROM {}.entity", shop.schema);
    let state: String = shop.client.query_one(&sql, &[]).await.unwrap().get(0);
    assert_eq!(state, r#"{"orders":5}"#);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_workers_and_doubled_messages_place_each_order_once() {
    let shop = Shop::open().await;
    for number in 0..60 {
        let order = format!("o{number}");
        for _ in 0..2 {
            let message = shop.order(&order, &[1]);
            shop.backend().send_as(&order, "orders", message).await.unwrap();
        }
    }
    let options = Options { schema: shop.schema.clone(), ..Options::default() };
    let second = Arc::new(Postgres::connect_with(&address(), options).await.unwrap());
    let endpoint = Endpoint::new("orders").handle(place).protocol(InTransaction::on(&second));
    let other = Host::new(Backend::in_one(second)).endpoint(endpoint);
    let endpoint = Endpoint::new("orders").handle(place).protocol(InTransaction::on(&shop.place));
    let host = Host::new(shop.backend()).endpoint(endpoint);
    let (one, two) = tokio::join!(host.run_until_idle(), other.run_until_idle());
    one.unwrap();
    two.unwrap();
    shop.run(shop.orders()).await;
    assert_eq!(shop.count("orders").await, 60);
    assert_eq!(shop.count("queue WHERE endpoint = 'bills'").await, 60);
    assert_eq!(shop.count("dead_letter").await, 0);
    assert_eq!(shop.count("queue WHERE endpoint = 'orders'").await, 0);
}

static CUTS: AtomicU32 = AtomicU32::new(0);

/// The first attempt loses its connection in the middle.
async fn cut(_: &mut (), message: PlaceOrder, ctx: &mut Context) -> Result<(), Failure> {
    let tx = semel_postgres::transaction(ctx)?;
    let sql = format!("INSERT INTO {}.orders VALUES ($1, 0)", message.schema);
    tx.execute(&sql, &[&message.order]).await?;
    if CUTS.fetch_add(1, Ordering::SeqCst) == 0 {
        tx.query("SELECT pg_terminate_backend(pg_backend_pid())", &[]).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_lost_connection_is_no_failure_of_the_handler() {
    let shop = Shop::open().await;
    shop.backend().send("orders", shop.order("o1", &[])).await.unwrap();
    shop.run(shop.endpoint().handle(cut)).await;
    assert_eq!(CUTS.load(Ordering::SeqCst), 2, "one attempt was cut, one was not");
    assert_eq!(shop.count("orders").await, 1);
    assert_eq!(shop.count("dead_letter").await, 0, "although one failure was too many");
}

async fn stuck(_: &mut (), message: PlaceOrder, ctx: &mut Context) -> Result<(), Failure> {
    let tx = semel_postgres::transaction(ctx)?;
    let sql = format!("INSERT INTO {}.orders VALUES ($1, 0)", message.schema);
    tx.execute(&sql, &[&message.order]).await?;
    tokio::time::sleep(Duration::from_secs(60)).await;
    Ok(())
}

#[tokio::test]
async fn a_handler_past_its_deadline_leaves_nothing_and_holds_nothing() {
    let shop = Shop::open().await;
    shop.backend().send("orders", shop.order("o1", &[])).await.unwrap();
    let settings = Settings {
        retry: RetryPolicy::NONE,
        handler_deadline: Duration::from_millis(100),
        ..Settings::default()
    };
    shop.run(shop.endpoint().handle(stuck).settings(settings)).await;
    assert_eq!(shop.count("dead_letter").await, 1);
    assert_eq!(shop.count("orders").await, 0);
    assert_eq!(shop.count("inbox").await, 0);
    let open = "SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%' \
        AND query LIKE $1";
    let mine = format!("%{}%", shop.schema);
    let open: i64 = shop.client.query_one(open, &[&mine]).await.unwrap().get(0);
    assert_eq!(open, 0, "no transaction is left open");
}

#[tokio::test]
async fn without_the_protocol_there_is_no_transaction() {
    let shop = Shop::open().await;
    shop.backend().send("orders", shop.order("o1", &[])).await.unwrap();
    let settings = Settings { retry: RetryPolicy::NONE, ..Settings::default() };
    shop.run(Endpoint::new("orders").handle(place).settings(settings)).await;
    assert_eq!(shop.count("dead_letter WHERE failures ->> 0 LIKE '%InTransaction%'").await, 1);
}

static RUNS: AtomicU32 = AtomicU32::new(0);

/// While it runs, its message goes to another worker.
async fn robbed(_: &mut (), message: PlaceOrder, ctx: &mut Context) -> Result<(), Failure> {
    RUNS.fetch_add(1, Ordering::SeqCst);
    let PlaceOrder { schema, order, .. } = message;
    let tx = semel_postgres::transaction(ctx)?;
    tx.execute(&format!("INSERT INTO {schema}.orders VALUES ($1, 0)"), &[&order]).await?;
    let (client, connection) = tokio_postgres::connect(&address(), NoTls).await?;
    tokio::spawn(connection);
    let take = "SET receipt = receipt + 1, leased_until = now() + interval '1 hour'";
    client.batch_execute(&format!("UPDATE {schema}.queue {take}")).await?;
    ctx.send("bills", Bill { order });
    Ok(())
}

#[tokio::test]
async fn an_attempt_that_lost_its_lease_leaves_nothing_and_does_not_run_again() {
    let shop = Shop::open().await;
    shop.backend().send("orders", shop.order("o1", &[])).await.unwrap();
    shop.run(shop.endpoint().handle(robbed)).await;
    assert_eq!(RUNS.load(Ordering::SeqCst), 1);
    assert_eq!((shop.count("orders").await, shop.count("inbox").await), (0, 0));
    assert_eq!(shop.count("queue").await, 1, "the message is the other worker's; there is no bill");
}
