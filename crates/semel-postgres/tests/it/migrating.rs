//! Tables of an older version, with rows in them, are brought up to date, and their work is done.

use std::sync::Arc;

use semel_core::Backend;
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
    tokio::time::sleep(std::time::Duration::from_millis(600)).await;
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
