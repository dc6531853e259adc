//! Rows that a person changed with SQL: they harm themselves at most.

use rusqlite::Connection;
use semel_core::broker::{Delivery, SettleOutcome, Settlement};
use semel_core::operator::{DeadLetterFilter, Operator as _};
use semel_core::store::{Expect, Page, Space, Trouble, WriteOutcome};
use semel_core::{Broker, Store};
use semel_sqlite::Sqlite;

use crate::rig::{
    LEASE, RELEASE, Rig, applied, assert_says, dead_letter, entity, failure, message,
};
use crate::rig::{put, put_if, queued, send, take, value};

/// What people write into columns that they should leave alone.
const ODD: [&str; 12] = [
    "'abc'",
    "''",
    "-5",
    "0",
    "1.5",
    "9e300",
    "9223372036854775807",
    "-9223372036854775808",
    "x''",
    "x'00ff'",
    "CAST(x'c328ff' AS TEXT)",
    "'[1, null, {\"at\": 7}]'",
];

fn columns(shell: &Connection, table: &str) -> Vec<String> {
    let mut statement =
        shell.prepare(&format!("SELECT name FROM pragma_table_info('{table}')")).unwrap();
    statement.query_map((), |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

/// Each column of a table with each odd value that the table takes.
fn damages(shell: &Connection, table: &str) -> Vec<(String, &'static str)> {
    let columns = columns(shell, table).into_iter();
    columns.flat_map(|column| ODD.map(|odd| (column.clone(), odd))).collect()
}

#[track_caller]
fn assert_settled(outcome: &SettleOutcome, case: &str) {
    assert!(matches!(outcome, SettleOutcome::Settled), "{case}: {outcome:?}");
}

/// A message goes through everything that can happen to one, whatever its row holds.
async fn lead_through_life(file: &Sqlite, delivery: Delivery, case: &str) {
    let receipt = delivery.receipt;
    file.extend(std::slice::from_ref(&receipt), LEASE).await.unwrap();
    let retry = Settlement::Retry { after: std::time::Duration::ZERO, failure: failure() };
    assert_settled(&file.settle(&receipt, retry).await, case);
    let again = take(file, 9).await.remove(0);
    assert_eq!(again.failures.last(), Some(&failure()), "{case}");
    assert_settled(&file.settle(&again.receipt, RELEASE).await, case);
    let again = take(file, 9).await.remove(0);
    assert_settled(&file.settle(&again.receipt, dead_letter()).await, case);
    let filter = DeadLetterFilter { limit: 9, ..DeadLetterFilter::default() };
    let dead = file.dead_letters(&filter).await.unwrap().remove(0);
    assert_settled(&file.settle(&dead.receipt, RELEASE).await, case);
    let again = take(file, 9).await.remove(0);
    assert_settled(&file.settle(&again.receipt, Settlement::Ack).await, case);
}

#[tokio::test]
async fn a_damaged_message_is_delivered_or_counted_and_holds_up_no_other() {
    let rig = Rig::new();
    let file = rig.open();
    let shell = rig.shell();
    let (mut delivered, mut unreadable, mut counted) = (0, 0, 0);
    for (column, odd) in damages(&shell, "queue") {
        let case = format!("queue.{column} = {odd}");
        for id in ["before", "victim", "after"] {
            send(&file, id).await;
        }
        let sql = format!("UPDATE queue SET {column} = {odd} WHERE message_id = 'victim'");
        if let Err(error) = shell.execute_batch(&sql) {
            assert!(error.to_string().contains("datatype mismatch"), "{case}: {error}");
        }
        // What cannot be received is still seen by whoever looks.
        let report = file.inspect().await.unwrap();
        let known: u64 =
            report.endpoints.values().map(|it| it.ready + it.delayed + it.in_flight).sum();
        assert_eq!(known, 3, "{case}");

        let is_other = |delivery: &Delivery| match &delivery.envelope {
            Ok(envelope) => ["before", "after"].contains(&envelope.id.as_str()),
            Err(_) => false,
        };
        let (others, mut victim): (Vec<_>, Vec<_>) =
            take(&file, 9).await.into_iter().partition(is_other);
        assert_eq!(others.len(), 2, "{case}");
        for delivery in others {
            assert_settled(&file.settle(&delivery.receipt, Settlement::Ack).await, &case);
        }
        match victim.pop() {
            Some(delivery) => {
                delivered += 1;
                unreadable += usize::from(delivery.envelope.is_err());
                lead_through_life(&file, delivery, &case).await;
                assert_eq!(rig.ask::<i64>("SELECT count(*) FROM queue"), 0, "{case}");
            }
            None => {
                counted += 1;
                assert!(["endpoint", "available_at"].contains(&column.as_str()), "{case}");
                shell.execute_batch("DELETE FROM queue").unwrap();
            }
        }
    }
    assert!(
        delivered > 150 && unreadable > 10 && counted > 10,
        "{delivered} {unreadable} {counted}"
    );
}

#[tokio::test]
async fn a_damaged_dead_letter_is_listed_with_the_others_and_can_be_removed() {
    let rig = Rig::new();
    let file = rig.open();
    let shell = rig.shell();
    for (column, odd) in damages(&shell, "dead_letter") {
        let case = format!("dead_letter.{column} = {odd}");
        for id in ["before", "victim", "after"] {
            send(&file, id).await;
            let delivery = take(&file, 1).await.remove(0);
            assert_settled(&file.settle(&delivery.receipt, dead_letter()).await, &case);
        }
        let sql = format!("UPDATE dead_letter SET {column} = {odd} WHERE message_id = 'victim'");
        if let Err(error) = shell.execute_batch(&sql) {
            assert!(error.to_string().contains("datatype mismatch"), "{case}: {error}");
        }
        let filter = DeadLetterFilter { limit: 9, after: i64::MIN, ..DeadLetterFilter::default() };
        let mut listed = file.dead_letters(&filter).await.unwrap();
        if odd == "-9223372036854775808" && column == "number" {
            // No number lies before the first.
            listed.extend(file.dead_letter(i64::MIN).await.unwrap());
        }
        assert_eq!(listed.len(), 3, "{case}");
        for dead in listed {
            let shown = file.dead_letter(dead.number).await.unwrap().unwrap();
            assert_eq!(shown.raw, dead.raw, "{case}");
            assert_settled(&file.settle(&dead.receipt, Settlement::Ack).await, &case);
        }
        let left: i64 = rig.ask("SELECT count(*) FROM dead_letter");
        assert_eq!(left, 0, "{case}");
    }
}

#[tokio::test]
async fn a_damaged_item_can_be_read_and_written_again() {
    let rig = Rig::new();
    let file = rig.open();
    let shell = rig.shell();
    for column in ["state", "version", "expires_at"] {
        for odd in ODD {
            let case = format!("entity.{column} = {odd}");
            if column == "version" && (odd.starts_with('x') || odd.starts_with("CAST")) {
                // Bytes are no version: nobody can expect them. See the next test.
                continue;
            }
            applied(file.write(vec![put(entity("victim"), "1"), put(entity("other"), "1")]).await);
            let sql = format!("UPDATE entity SET {column} = {odd} WHERE entity_id = 'victim'");
            shell.execute_batch(&sql).unwrap();
            let keys = [entity("victim"), entity("other")];
            let items = file.read_all(&keys).await.unwrap();
            let versions = items.into_iter().map(|item| item.unwrap().version);
            let changes = keys
                .into_iter()
                .zip(versions)
                .map(|(key, version)| put_if(key, "2", Expect::Version(version)));
            let outcome = file.write(changes.collect()).await;
            assert!(matches!(outcome, WriteOutcome::Applied(_)), "{case}: {outcome:?}");
            assert_eq!(value(&file, entity("victim")).await.unwrap(), "2", "{case}");
            let page = Page { space: Space::Entity, after: None, limit: 9 };
            assert_eq!(file.list(&page).await.unwrap().len(), 2, "{case}");
        }
    }
}

#[tokio::test]
async fn a_version_of_bytes_is_no_version_but_can_be_overwritten() {
    let rig = Rig::new();
    let file = rig.open();
    applied(file.write(vec![put(entity("victim"), "1")]).await);
    rig.shell().execute_batch("UPDATE entity SET version = x'00ff'").unwrap();
    let found = file.read(&entity("victim")).await.unwrap().unwrap();
    let outcome =
        file.write(vec![put_if(entity("victim"), "2", Expect::Version(found.version))]).await;
    assert!(matches!(outcome, WriteOutcome::Conflict(_)), "{outcome:?}");
    applied(file.write(vec![put(entity("victim"), "2")]).await);
}

/// Pages of a list go on behind a row whose key is no text.
#[tokio::test]
async fn a_damaged_key_does_not_stop_a_list() {
    let rig = Rig::new();
    let file = rig.open();
    for name in ["a", "b", "c"] {
        applied(file.write(vec![put(entity(name), "1")]).await);
    }
    rig.shell()
        .execute_batch("UPDATE entity SET entity_id = x'00ff' WHERE entity_id = 'b'")
        .unwrap();
    let mut page = Page { space: Space::Entity, after: None, limit: 1 };
    let mut names = Vec::new();
    while let Some(item) = file.list(&page).await.unwrap().pop() {
        page.after = Some(item.key.clone());
        names.push(item.key.key);
    }
    assert_eq!(names, ["a", "c"]);
}

#[tokio::test]
async fn damaged_registrations_are_shown_and_stop_nobody() {
    let rig = Rig::new();
    let file = rig.open();
    let shell = rig.shell();
    for (table, columns) in [
        ("endpoint", ["name", "protocol", "registered_at"]),
        ("subscription", ["type", "endpoint", "type"]),
    ] {
        for (column, odd) in columns.into_iter().flat_map(|column| ODD.map(|odd| (column, odd))) {
            shell
                .execute_batch(
                    "DELETE FROM endpoint; DELETE FROM subscription; DELETE FROM queue; \
                     INSERT INTO endpoint VALUES ('audit', 'inbox', 1); \
                     INSERT INTO endpoint VALUES ('orders', 'inbox', 1); \
                     INSERT INTO subscription VALUES ('order.placed', 'audit'); \
                     INSERT INTO subscription VALUES ('order.placed', 'orders')",
                )
                .unwrap();
            let key = if table == "endpoint" { "name" } else { "endpoint" };
            let sql = format!("UPDATE {table} SET {column} = {odd} WHERE {key} = 'audit'");
            shell.execute_batch(&sql).unwrap();
            let report = file.inspect().await.unwrap();
            assert_eq!(report.endpoints["orders"].protocol.as_deref(), Some("inbox"), "{sql}");
            let mut outgoing = queued(message("m-1"));
            outgoing.to = semel_core::broker::Destination::Subscribers;
            let sent = file.send(vec![outgoing]).await.remove(0);
            assert!(matches!(sent, semel_core::broker::SendOutcome::Sent), "{sql}: {sent:?}");
            assert_eq!(take(&file, 9).await.len(), 1, "{sql}");
        }
    }
}

/// Without its counter the file cannot promise that no version repeats, so it gives none.
#[tokio::test]
async fn a_damaged_counter_stops_writing_but_not_reading() {
    let damages = ODD.map(|odd| format!("UPDATE counter SET value = {odd}"));
    let others = ["DELETE FROM counter", "DROP TABLE counter", "UPDATE counter SET name = 'other'"];
    for sql in damages.into_iter().chain(others.map(str::to_owned)) {
        let rig = Rig::new();
        let file = rig.open();
        applied(file.write(vec![put(entity("alice"), "1")]).await);
        rig.shell().execute_batch(&sql).unwrap();
        match file.write(vec![put(entity("alice"), "2")]).await {
            WriteOutcome::Refused(error) => {
                assert_says(&error, Trouble::Broken, &["not as Semel made them"]);
            }
            other => panic!("{sql}: {other:?}"),
        }
        assert_eq!(value(&file, entity("alice")).await.unwrap(), "1", "{sql}");
        file.inspect().await.unwrap();
    }
}

#[tokio::test]
async fn a_missing_table_or_column_is_told_by_those_who_need_it() {
    for sql in ["DROP TABLE queue", "ALTER TABLE queue RENAME COLUMN data TO content"] {
        let rig = Rig::new();
        let file = rig.open();
        rig.shell().execute_batch(sql).unwrap();
        match file.send(vec![queued(message("m-1"))]).await.remove(0) {
            semel_core::broker::SendOutcome::Unknown(error) => {
                assert_says(&error, Trouble::Broken, &["not as Semel made them"]);
            }
            other => panic!("{sql}: {other:?}"),
        }
        applied(file.write(vec![put(entity("alice"), "1")]).await);
        assert_eq!(value(&file, entity("alice")).await.unwrap(), "1", "{sql}");
    }
}

#[tokio::test]
async fn columns_that_must_hold_something_do() {
    let rig = Rig::new();
    let file = rig.open();
    send(&file, "m-1").await;
    let shell = rig.shell();
    for column in ["endpoint", "available_at", "deliveries", "failure_count", "message_id", "data"]
    {
        let error = shell.execute_batch(&format!("UPDATE queue SET {column} = NULL")).unwrap_err();
        assert!(error.to_string().contains("NOT NULL constraint failed"), "{error}");
    }
}
