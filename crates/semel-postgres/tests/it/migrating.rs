//! Tables of an older version, with rows in them, are brought up to date, and their work is done.

use std::sync::Arc;
use std::time::Duration;

use semel_core::Backend;
use semel_core::store::Trouble;
use semel_postgres::tokio_postgres::{Client, NoTls, connect};
use semel_postgres::{Options, Postgres};

use crate::rig::{address, fresh_schema};
use crate::work::{account, deposit, host};

/// The tables as version 1 made them. Released migrations never change.
const VERSION_1: &str = include_str!("../../src/schema_1.sql");

async fn client() -> Client {
    let (client, connection) = connect(&address(), NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// A schema of version 1, in which anna has 100 pence and messages of every kind wait: ready, due
/// soon, under a lease that has ended, in order by key, dead.
async fn filled_version_1(client: &Client) -> String {
    let schema = fresh_schema();
    let made = VERSION_1.replace("{schema}", &schema);
    let sql = format!(
        r#"CREATE SCHEMA {schema}; {made}
        CREATE TABLE {schema}.schema_version (version integer NOT NULL);
        INSERT INTO {schema}.schema_version VALUES (1);
        INSERT INTO {schema}.entity (endpoint, entity_id, state, version)
            VALUES ('account', 'anna', '{{"pence":100,"count":7}}', 1);
        INSERT INTO {schema}.inbox (endpoint, message, entity_id, version, expires_at)
            VALUES ('account', '/outside seen', 'anna', 1, now() + interval '1 day');
        INSERT INTO {schema}.queue (endpoint, due_at, receipt, leased_until, queued_at,
                partition_key, message_id, source, type, data)
            SELECT 'account', due, receipt, until, now(), key, id, '/outside', 'deposit',
                '{{"account":"anna","pence":5}}'
            FROM (VALUES
                (NULL::timestamptz, NULL::bigint, NULL::timestamptz, NULL, 'ready'),
                (now() + interval '0.5 s', NULL, NULL, NULL, 'waits'),
                (NULL, 17, now() - interval '1 s', NULL, 'was leased'),
                (NULL, NULL, NULL, 'k', 'first of k'),
                (NULL, NULL, NULL, 'k', 'second of k'),
                (now() + interval '0.5 s', NULL, NULL, 'k', 'third of k, waits'),
                (NULL, NULL, NULL, NULL, 'seen')
            ) AS rows (due, receipt, until, key, id);
        INSERT INTO {schema}.dead_letter (position, endpoint, reason, dead_since, deliveries,
                failure_count, queued_at, message_id, source, type, data)
            VALUES (900, 'account', 'handler-failed', now(), 9, 9, now(), 'dead', '/outside',
                'deposit', '{{"account":"anna","pence":5}}');"#
    );
    client.batch_execute(&sql).await.unwrap();
    schema
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_in_tables_of_version_1_is_worked_off_under_the_newest() {
    let client = client().await;
    let schema = filled_version_1(&client).await;
    let options = || Options { schema: schema.clone(), ..Options::default() };
    // Two at once: one migrates, the other waits for it.
    let address = address();
    let (first, second) = tokio::join!(
        Postgres::connect_with(&address, options()),
        Postgres::connect_with(&address, options())
    );
    drop(second.unwrap());
    let backend = Backend::in_one(Arc::new(first.unwrap()));
    // A message whose processing an older worker remembered.
    deposit(&backend, "seen").await.unwrap();
    host(backend.clone()).run_until_idle().await.unwrap();
    // What waits is no reason to stay.
    tokio::time::sleep(Duration::from_millis(600)).await;
    host(backend.clone()).run_until_idle().await.unwrap();
    let anna = account(&backend, "account").await;
    assert_eq!((anna.pence, anna.count), (130, 13));
    assert_eq!(account(&backend, "notes").await.count, 6);
    let report = backend.operator().inspect().await.unwrap();
    let accounts = &report.endpoints["account"];
    assert_eq!(
        (accounts.ready + accounts.delayed + accounts.in_flight, accounts.dead_letters),
        (0, 1)
    );
    let row = client.query_one(&format!("SELECT version FROM {schema}.schema_version"), &[]).await;
    assert_eq!(row.unwrap().get::<_, i32>(0), 2);
}

/// Waits until a process waits for a table of the schema that another holds, or none does.
async fn wait_until_queued(client: &Client, schema: &str, is_queued: bool) {
    let sql = "SELECT count(*) > 0 FROM pg_locks JOIN pg_class ON pg_class.oid = relation \
        WHERE relnamespace = $1::text::regnamespace AND NOT granted";
    while client.query_one(sql, &[&schema]).await.unwrap().get::<_, bool>(0) != is_queued {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A session that has read the queue in a transaction which it leaves open.
async fn reader(schema: &str) -> Client {
    let reader = client().await;
    let sql = format!("BEGIN; SELECT count(*) FROM {schema}.queue");
    reader.batch_execute(&sql).await.unwrap();
    reader
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_migration_behind_an_open_transaction_holds_up_nobody_for_long() {
    let client = client().await;
    let schema = filled_version_1(&client).await;
    let reader = reader(&schema).await;
    let pid: i32 = reader.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get(0);
    let answer_wait = Duration::from_secs(4);
    let options = Options { schema: schema.clone(), answer_wait, ..Options::default() };
    let migrating = tokio::spawn({
        let options = options.clone();
        async move { Postgres::connect_with(&address(), options).await }
    });
    wait_until_queued(&client, &schema, true).await;
    // Who comes now waits behind the migration.
    let sql = format!("SET lock_timeout = '10s'; SELECT count(*) FROM {schema}.queue");
    client.batch_execute(&sql).await.unwrap();
    let error = migrating.await.unwrap().unwrap_err();
    assert_eq!(error.trouble, Trouble::Unavailable, "{error}");
    for word in ["brought up to date", &format!("process {pid} "), "start again"] {
        assert!(error.to_string().contains(word), "`{word}` is missing in: {error}");
    }
    drop(reader);
    Postgres::connect_with(&address(), options).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_migration_tries_again_until_the_tables_are_free() {
    let client = client().await;
    let schema = filled_version_1(&client).await;
    let reader = reader(&schema).await;
    let options = Options { schema: schema.clone(), ..Options::default() };
    let migrating = tokio::spawn(async move { Postgres::connect_with(&address(), options).await });
    wait_until_queued(&client, &schema, true).await;
    // Its first try is over.
    wait_until_queued(&client, &schema, false).await;
    drop(reader);
    migrating.await.unwrap().unwrap();
}
