//! The plans of our statements: each goes by an index, whatever the server believes of the tables.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use semel_core::store::Space;
use tokio_postgres::NoTls;

use crate::session::PLANS;
use crate::{queue, tables};

/// Every statement that runs again and again, by name.
fn statements() -> Vec<(String, String)> {
    let schema = "plans";
    let mut all = Vec::new();
    for space in Space::ALL {
        for deed in [
            tables::Deed::Insert,
            tables::Deed::Upsert,
            tables::Deed::Update,
            tables::Deed::Absent,
            tables::Deed::DeleteVersion,
            tables::Deed::Delete,
        ] {
            let with = tables::deed(schema, space, deed);
            all.push((
                format!("{deed:?} {}", space.name()),
                format!("WITH {with} SELECT at FROM done"),
            ));
        }
        let removal = tables::remove_checks(schema, space);
        all.push((format!("remove checks {}", space.name()), removal));
    }
    for deed in [
        queue::Deed::Ack,
        queue::Deed::GiveBack,
        queue::Deed::Park,
        queue::Deed::Forget,
        queue::Deed::Replay,
    ] {
        let with = queue::deed(schema, deed);
        all.push((format!("{deed:?}"), format!("WITH {with} SELECT at FROM done")));
    }
    all.push(("send".to_owned(), queue::send(schema)));
    all.push(("receive".to_owned(), queue::receive(schema)));
    all.push(("next due".to_owned(), queue::next_due(schema)));
    all.push(("extend".to_owned(), queue::extend(schema)));
    all
}

#[tokio::test]
async fn every_statement_goes_by_an_index_on_empty_tables_and_on_full_ones() {
    let address = semel_servers::address(semel_servers::Kind::Postgres).unwrap();
    let (client, connection) = tokio_postgres::connect(&address, NoTls).await.unwrap();
    tokio::spawn(connection);
    client.batch_execute("DROP SCHEMA IF EXISTS plans CASCADE").await.unwrap();
    client.batch_execute(&crate::tables_sql("plans")).await.unwrap();
    // What the planner believes is worst right after a table was emptied.
    client.batch_execute("VACUUM ANALYZE plans.queue, plans.entity, plans.inbox").await.unwrap();
    client
        .batch_execute(&format!(
            "BEGIN; {PLANS}; SET LOCAL plan_cache_mode = force_generic_plan; \
             SELECT nextval('plans.item_version')"
        ))
        .await
        .unwrap();
    for (name, sql) in statements() {
        let plan = explain(&client, &sql).await;
        for wrong in ["Seq Scan", "Hash Join", "Merge Join"] {
            assert!(!plan.contains(wrong), "{name}: {wrong} in\n{plan}");
        }
    }
}

/// The plan that a statement has for any parameters.
async fn explain(client: &tokio_postgres::Client, sql: &str) -> String {
    let parameters = client.prepare(sql).await.unwrap().params().len();
    let nulls = vec!["NULL"; parameters].join(", ");
    client.batch_execute(&format!("PREPARE statement AS {sql}")).await.unwrap();
    let explained = format!("EXPLAIN (COSTS OFF) EXECUTE statement({nulls})");
    let messages = client.simple_query(&explained).await.unwrap();
    client.batch_execute("DEALLOCATE statement").await.unwrap();
    let lines = messages.iter().filter_map(|message| match message {
        tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0),
        _ => None,
    });
    lines.collect::<Vec<_>>().join("\n")
}
