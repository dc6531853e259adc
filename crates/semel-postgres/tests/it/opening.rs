//! What opens, and what is refused with what to do next.

use std::path::Path;
use std::time::Duration;

use semel_core::store::{ItemKey, Space, Trouble};
use semel_core::{Backend, Store as _, StoreError};
use semel_postgres::tokio_postgres::{self, Client, NoTls};
use semel_postgres::{Options, Postgres, Tables, Wake, grant_sql, tables_sql};
use semel_servers::{Durability, Postgres as Server};

use crate::rig::{address, fresh_schema};

async fn own_client() -> Client {
    let (client, connection) = tokio_postgres::connect(&address(), NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

fn options(schema: &str) -> Options {
    Options { schema: schema.to_owned(), answer_wait: Duration::from_secs(2), ..Options::default() }
}

#[track_caller]
fn says(result: Result<Postgres, StoreError>, trouble: Trouble, words: &[&str]) {
    let error = match result {
        Ok(place) => panic!("{place:?} opened"),
        Err(error) => error,
    };
    let text = error.to_string();
    assert_eq!(error.trouble, trouble, "{text}");
    for word in words {
        assert!(text.contains(word), "`{word}` is missing in: {text}");
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_is_told_with_its_place() {
    let opened = Postgres::connect_with("postgres://u:secret@127.0.0.1:1/db", options("a")).await;
    says(opened, Trouble::Unavailable, &["127.0.0.1:1/db", "refused", "server runs"]);
}

#[tokio::test]
async fn a_database_that_is_not_there_is_told() {
    let elsewhere = address().replace("/postgres", "/nowhere").replace("//nowhere@", "//postgres@");
    let opened = Postgres::connect_with(&elsewhere, options("a")).await;
    says(opened, Trouble::Broken, &["nowhere", "does not exist", "name of the database"]);
}

#[tokio::test]
async fn a_wrong_user_is_told_without_the_password() {
    let wrong = address().replace("postgres@", "nobody:secret@");
    let opened = Postgres::connect_with(&wrong, options("a")).await;
    if let Err(error) = &opened {
        assert!(!format!("{error} {error:?}").contains("secret"));
    }
    says(opened, Trouble::Broken, &["nobody", "user and password"]);
}

#[tokio::test]
async fn tables_that_are_not_there_are_not_made_by_who_only_checks() {
    let only = Options { tables: Tables::Check, ..options(&fresh_schema()) };
    let opened = Postgres::connect_with(&address(), only).await;
    says(opened, Trouble::Broken, &["no tables of Semel", "tables_sql"]);
}

#[tokio::test]
async fn tables_of_a_newer_version_are_left_alone() {
    let schema = fresh_schema();
    drop(Postgres::connect_with(&address(), options(&schema)).await.unwrap());
    let sql = format!("UPDATE {schema}.schema_version SET version = 99");
    own_client().await.batch_execute(&sql).await.unwrap();
    let opened = Postgres::connect_with(&address(), options(&schema)).await;
    says(opened, Trouble::Broken, &["version 99", "newer version of Semel"]);
}

#[tokio::test]
async fn many_who_start_at_once_make_the_tables_once() {
    let schema = fresh_schema();
    let starts = (0..8)
        .map(|_| Postgres::connect_with(Box::leak(address().into_boxed_str()), options(&schema)));
    let opened = futures_util::future::join_all(starts).await;
    for place in opened {
        place.unwrap();
    }
}

#[tokio::test]
async fn a_role_without_the_right_to_make_tables_can_work() {
    let client = own_client().await;
    let (schema, role) = (fresh_schema(), format!("role_{}", fresh_schema()));
    client.batch_execute(&tables_sql(&schema)).await.unwrap();
    client.batch_execute(&format!("CREATE ROLE {role} LOGIN")).await.unwrap();
    let as_role = address().replace("postgres@", &format!("{role}@"));
    let denied = Postgres::connect_with(&as_role, options(&schema)).await;
    says(denied, Trouble::Broken, &["permission denied", "grant_sql"]);
    client.batch_execute(&grant_sql(&schema, &role)).await.unwrap();
    let checked = Options { tables: Tables::Check, ..options(&schema) };
    let place = Postgres::connect_with(&as_role, checked).await.unwrap();
    crate::work::deposit_and_check(Backend::in_one(std::sync::Arc::new(place))).await;
    let made = client.batch_execute(&format!("SET ROLE {role}; CREATE TABLE {schema}.x ()")).await;
    assert!(made.is_err(), "the role can make tables, and this test shows nothing");
}

#[tokio::test]
async fn two_schemas_do_not_see_each_other() {
    let (one, two) = (fresh_schema(), fresh_schema());
    let one = Postgres::connect_with(&address(), options(&one)).await.unwrap();
    let two = Postgres::connect_with(&address(), options(&two)).await.unwrap();
    crate::work::deposit_and_check(Backend::in_one(std::sync::Arc::new(one))).await;
    let key = ItemKey::new(Space::Entity, "account", "anna");
    assert!(two.read(&key).await.unwrap().is_none());
}

#[tokio::test]
async fn a_role_that_does_not_wait_for_the_disk_is_refused() {
    let client = own_client().await;
    let role = format!("role_{}", fresh_schema());
    let sql = format!("CREATE ROLE {role} LOGIN; ALTER ROLE {role} SET synchronous_commit = off");
    client.batch_execute(&sql).await.unwrap();
    let as_role = address().replace("postgres@", &format!("{role}@"));
    let opened = Postgres::connect_with(&as_role, options(&fresh_schema())).await;
    says(opened, Trouble::Broken, &["synchronous_commit", "ALTER ROLE"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_is_talked_with_a_server_that_is_known_and_no_other() {
    let folder = semel_servers::folder().join("tests/postgres-tls");
    let server = Server::start(&folder, Durability::Kill).unwrap();
    let address =
        format!("postgres://postgres@localhost:{}/postgres?sslmode=require", server.port());
    let known = Options { root_certificates: Some(server.certificate()), ..options("a") };
    // Only root may read the folder of the user who runs the server.
    let place = Postgres::connect_with(&address, known.clone()).await.unwrap();
    let place = std::sync::Arc::new(place);
    crate::work::deposit_and_check(Backend::in_one(place.clone())).await;
    let tls = server.run("SELECT count(*) FROM pg_stat_ssl WHERE ssl AND pid <> pg_backend_pid()");
    assert_ne!(tls.unwrap(), "0", "nobody talked under TLS");
    drop(place);
    let unknown = Postgres::connect_with(&address, options("a")).await;
    says(unknown, Trouble::Broken, &["certificate", "root_certificates"]);
    let missing = Options { root_certificates: Some(Path::new("/no/such.pem").into()), ..known };
    says(Postgres::connect_with(&address, missing).await, Trouble::Broken, &["/no/such.pem"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_only_reads_is_refused_and_later_waited_for() {
    let folder = semel_servers::folder().join("tests/postgres-read-only");
    let server = Server::start(&folder, Durability::Kill).unwrap();
    let quick = Options { wake: Wake::Look, ..options("a") };
    let place = Postgres::connect_with(&server.address(), quick).await.unwrap();
    server.run("ALTER SYSTEM SET default_transaction_read_only = on").unwrap();
    server.run("SELECT pg_reload_conf()").unwrap();
    let backend = Backend::in_one(std::sync::Arc::new(place));
    let refused = loop {
        match crate::work::deposit(&backend, "read-only").await {
            Ok(()) => tokio::time::sleep(Duration::from_millis(20)).await,
            Err(error) => break error,
        }
    };
    assert_eq!(refused.trouble, Trouble::Unavailable, "{refused}");
    assert!(refused.to_string().contains("only reads"), "{refused}");
}
