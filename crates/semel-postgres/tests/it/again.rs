//! What the server undoes for the sake of others is done again.

use bytes::Bytes;
use semel_core::Store as _;
use semel_core::store::{Change, Expect, ItemKey, Keep, Space, Trouble, WriteOutcome};
use semel_postgres::tokio_postgres::{self, Client, NoTls};
use semel_postgres::{Options, Postgres};

use crate::rig::{address, fresh_schema};

/// How often Semel tries.
const TRIES: i64 = 8;

/// Lets the first `failures` writes of entities in a schema fail with an error of the server.
async fn fail_first(schema: &str, failures: i64, code: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(&address(), NoTls).await.unwrap();
    tokio::spawn(connection);
    // A sequence counts on although the transaction is undone.
    let sql = format!(
        "CREATE SEQUENCE {schema}.tries;
         CREATE FUNCTION {schema}.fail() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN
             IF nextval('{schema}.tries') <= {failures} THEN
                 RAISE EXCEPTION 'undone for another' USING ERRCODE = '{code}';
             END IF;
             RETURN NEW;
         END $$;
         CREATE TRIGGER fail BEFORE INSERT ON {schema}.entity
         FOR EACH ROW EXECUTE FUNCTION {schema}.fail()"
    );
    client.batch_execute(&sql).await.unwrap();
    client
}

/// Writes once while so many tries fail; the outcome, and how often it was tried.
async fn write(failures: i64, code: &str) -> (WriteOutcome, i64) {
    let schema = fresh_schema();
    let options = Options { schema: schema.clone(), ..Options::default() };
    let place = Postgres::connect_with(&address(), options).await.unwrap();
    let client = fail_first(&schema, failures, code).await;
    let outcome = place
        .write(vec![Change::Put {
            key: ItemKey::new(Space::Entity, "account", "anna"),
            value: Bytes::from_static(b"1"),
            expect: Expect::Absent,
            keep: Keep::Always,
        }])
        .await;
    let tried = format!("SELECT last_value FROM {schema}.tries");
    (outcome, client.query_one(&tried, &[]).await.unwrap().get(0))
}

#[tokio::test]
async fn deadlocks_and_serialisation_failures_are_done_again() {
    for code in ["40P01", "40001"] {
        let (outcome, tries) = write(TRIES - 1, code).await;
        assert!(matches!(outcome, WriteOutcome::Applied(_)), "{code}: {outcome:?}");
        assert_eq!(tries, TRIES, "{code}");
    }
}

#[tokio::test]
async fn after_eight_times_it_is_unavailable_and_nothing_was_written() {
    for code in ["40P01", "40001"] {
        let (outcome, tries) = write(i64::MAX, code).await;
        let WriteOutcome::Unknown(error) = outcome else { panic!("{code}: {outcome:?}") };
        assert_eq!(error.trouble, Trouble::Unavailable, "{error}");
        assert_eq!(tries, TRIES, "{code}");
    }
}
