//! The plans of our statements: each goes by an index, whatever the server believes of the tables.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use semel_core::store::Space;
use tokio_postgres::NoTls;

use crate::session::PLANS;
use crate::{queue, tables};

/// How many rows each table has, and how many of them a statement concerns.
const ROWS: usize = 3_000;
const WANTED: usize = 10;
/// How many rows a scan may look at: well over what is wanted, and far below all.
const SEEN_MAX: f64 = 200.0;

/// A statement that runs again and again: its name, its text, and what it is run with on the tables
/// of [`fill_all`].
type Statement = (String, String, String);

fn statements(schema: &str) -> Vec<Statement> {
    let array = |of: &dyn Fn(usize) -> String| {
        let elements: Vec<String> = (1..=WANTED).map(of).collect();
        format!("'{{{}}}'", elements.join(","))
    };
    let all_of = |element: &str| array(&|_| element.to_owned());
    let (numbers, nulls, hot) = (array(&|n| n.to_string()), all_of("NULL"), all_of("hot"));
    let empty = all_of("\"\"");
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
                format!("{hot}, {numbers}, {empty}, {nulls}, {numbers}, NULL"),
            ));
        }
        let removal = tables::remove_checks(schema, space);
        let name = format!("remove checks {}", space.name());
        all.push((name, removal, format!("{hot}, {numbers}")));
    }
    for deed in [
        queue::Deed::Ack,
        queue::Deed::GiveBack,
        queue::Deed::Park,
        queue::Deed::Forget,
        queue::Deed::Replay,
    ] {
        let with = queue::deed(schema, deed);
        all.push((
            format!("{deed:?}"),
            format!("WITH {with} SELECT at FROM done"),
            format!("{numbers}, {numbers}, {nulls}, {nulls}, {hot}, {nulls}, NULL"),
        ));
    }
    // Ten messages for whoever subscribed to their types.
    let sent = format!(
        "{nulls}, {nulls}, {nulls}, {numbers}, {hot}, {numbers}, {nulls}, {nulls}, {nulls}, {nulls}, \
         {nulls}, {empty}, NULL"
    );
    let received = format!("'hot', NULL, {WANTED}, 1, 30000, ''");
    let mut push = |name: &str, sql, arguments| all.push((name.to_owned(), sql, arguments));
    push("send", queue::send(schema), sent);
    push("receive", queue::receive(schema), received);
    push("next due", queue::next_due(schema), "'hot', NULL".to_owned());
    push("extend", queue::extend(schema), format!("{numbers}, {numbers}, 1000, NULL"));
    all
}

/// Fills every table; of the queue, the first ten messages are held.
async fn fill_all(client: &tokio_postgres::Client, schema: &str) {
    let each = format!("FROM generate_series(1, {ROWS}) AS n");
    let mut sql = String::new();
    for space in Space::ALL {
        let tables::Table { name, partition, key, value } = tables::table(space);
        sql += &format!(
            "INSERT INTO {schema}.{name} ({partition}, {key}, {value}, version) \
             SELECT 'hot', n, '', n {each};"
        );
    }
    let envelope = "message_id, source, type, data";
    sql += &format!(
        "INSERT INTO {schema}.queue (endpoint, due_at, receipt, queued_at, partition_key, {envelope}) \
         SELECT 'hot', CASE WHEN n % 2 = 0 THEN now() END, CASE WHEN n <= {WANTED} THEN n END, now(), \
         CASE WHEN n % 3 = 0 THEN n % 300 END, n, '/', 't', '' {each};\
         INSERT INTO {schema}.dead_letter (position, endpoint, reason, dead_since, deliveries, \
         failure_count, queued_at, {envelope}) \
         SELECT n, 'hot', '', now(), 1, 1, now(), n, '/', 't', '' {each};\
         INSERT INTO {schema}.subscription SELECT n, 'hot' {each};\
         INSERT INTO {schema}.endpoint SELECT n, '', now() {each};"
    );
    client.batch_execute(&sql).await.unwrap();
}

/// Fresh tables.
async fn tables(schema: &str) -> tokio_postgres::Client {
    let address = semel_servers::address(semel_servers::Kind::Postgres).unwrap();
    let (client, connection) = tokio_postgres::connect(&address, NoTls).await.unwrap();
    tokio::spawn(connection);
    client.batch_execute(&format!("DROP SCHEMA IF EXISTS {schema} CASCADE")).await.unwrap();
    client.batch_execute(&crate::tables_sql(schema)).await.unwrap();
    client
}

#[tokio::test]
async fn every_statement_goes_by_an_index_on_empty_tables_and_on_full_ones() {
    let schema = "plans";
    let client = tables(schema).await;
    let begin = format!(
        "BEGIN; {PLANS}; SET LOCAL plan_cache_mode = force_generic_plan; \
         SELECT nextval('{schema}.item_version')"
    );
    // What the planner believes is worst right after a table was emptied.
    let analyze = format!(
        "ANALYZE {schema}.queue, {schema}.dead_letter, {schema}.subscription, {schema}.entity, \
         {schema}.inbox, {schema}.outbox, {schema}.token, {schema}.reply"
    );
    client.batch_execute(&analyze).await.unwrap();
    for moment in ["empty", "filled since it was looked at", "full"] {
        match moment {
            "empty" => {}
            "full" => client.batch_execute(&analyze).await.unwrap(),
            _ => fill_all(&client, schema).await,
        }
        for (name, sql, arguments) in statements(schema) {
            client.batch_execute(&begin).await.unwrap();
            let how = "ANALYZE, TIMING OFF, FORMAT JSON";
            let plan = explain_with(&client, &sql, how, &arguments).await;
            client.batch_execute("ROLLBACK").await.unwrap();
            let root: serde_json::Value = serde_json::from_str(&plan).unwrap();
            let mut scans = Vec::new();
            collect_scans(&root[0]["Plan"], &mut scans);
            for scan in &scans {
                // Of an empty table, an index is as well looked through as searched.
                if let Some(fault) = fault_of(scan).filter(|_| moment != "empty") {
                    panic!("{name}, {moment}: {fault} in\n{plan}");
                }
            }
            let is_wrong = |kind: &&str| plan.contains(&format!("\"Node Type\": \"{kind}\""));
            let wrong = ["Seq Scan", "Hash Join", "Merge Join"].into_iter().find(is_wrong);
            assert_eq!(wrong, None, "{name}, {moment}, in\n{plan}");
            assert!(!scans.is_empty() || sql.contains("ON CONFLICT"), "{name}: no scan in\n{plan}");
        }
    }
}

/// The parts of a plan that look at rows of tables, or at entries of their indexes.
fn collect_scans(node: &serde_json::Value, scans: &mut Vec<serde_json::Value>) {
    let is_scan = node["Relation Name"].is_string() || node["Index Name"].is_string();
    if is_scan && node["Node Type"] != "ModifyTable" {
        scans.push(node.clone());
    }
    for part in node["Plans"].as_array().into_iter().flatten() {
        collect_scans(part, scans);
    }
}

/// What is wrong with a scan: it goes through all that is there, or through too much of it.
fn fault_of(scan: &serde_json::Value) -> Option<String> {
    let kind = scan["Node Type"].as_str().unwrap();
    let condition = match kind {
        "Index Scan" | "Index Only Scan" | "Bitmap Index Scan" => "Index Cond",
        "Bitmap Heap Scan" => "Recheck Cond",
        "Tid Scan" => "TID Cond",
        other => return Some(format!("a {other}")),
    };
    let count = |name: &str| scan[name].as_f64().unwrap_or(0.0);
    let removed = count("Rows Removed by Filter") + count("Rows Removed by Index Recheck");
    let seen = (count("Actual Rows") + removed) * count("Actual Loops");
    match scan[condition].is_string() {
        false => Some(format!("{kind} without {condition}")),
        true => (seen > SEEN_MAX).then(|| format!("{seen} rows seen by {kind}")),
    }
}

/// How many pages a receive of up to ten messages looks at, and how many messages it takes.
async fn pages_of_a_receive(client: &tokio_postgres::Client, schema: &str) -> (u64, u64) {
    let begin = format!("BEGIN; {PLANS}; SET LOCAL plan_cache_mode = force_generic_plan");
    client.batch_execute(&begin).await.unwrap();
    let arguments = "'hot', NULL, 10, 1, 30000, ''";
    let how = "ANALYZE, BUFFERS, COSTS OFF, TIMING OFF, SUMMARY OFF";
    let plan = explain_with(client, &queue::receive(schema), how, arguments).await;
    client.batch_execute("ROLLBACK").await.unwrap();
    let after = |text: &str, words: &str| -> u64 {
        let (_, rest) = text.split_once(words).unwrap_or_default();
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().unwrap_or_default()
    };
    let of_all = plan.lines().find(|line| line.contains("Buffers:")).unwrap();
    let updates = plan.lines().filter(|line| line.contains("Update on queue"));
    let taken = updates.map(|line| after(line, "rows=")).sum();
    (after(of_all, "hit=") + after(of_all, "read="), taken)
}

/// Puts `count` messages of one key into the queue, and ten of no key behind them.
async fn fill(client: &tokio_postgres::Client, schema: &str, count: u32, due_at: &str) {
    let columns = "endpoint, due_at, queued_at, partition_key, message_id, source, type, data";
    let insert = |key: &str, due_at: &str, count: u32| {
        format!(
            "INSERT INTO {schema}.queue ({columns}) SELECT 'hot', {due_at}, now(), {key}, n, '/', \
             't', '' FROM generate_series(1, {count}) AS n;"
        )
    };
    let sql = format!(
        "TRUNCATE {schema}.queue; {}{}ANALYZE {schema}.queue",
        insert("'key'", due_at, count),
        insert("NULL", "NULL", 10),
    );
    client.batch_execute(&sql).await.unwrap();
}

#[tokio::test]
async fn what_waits_behind_one_key_is_not_looked_through() {
    let schema = "hot_key";
    let client = tables(schema).await;
    let hold_first = format!(
        "UPDATE {schema}.queue SET receipt = 7, leased_until = now() + interval '1 hour' \
         WHERE position = (SELECT min(position) FROM {schema}.queue)"
    );
    for due_at in ["NULL", "now() - interval '1 second'", "now() + interval '1 hour'"] {
        for is_held in [false, true] {
            let mut pages = Vec::new();
            for count in [200, 20_000] {
                fill(&client, schema, count, due_at).await;
                if is_held {
                    client.batch_execute(&hold_first).await.unwrap();
                }
                // Takes the marks of what is dead out of the way, as the second look would.
                pages_of_a_receive(&client, schema).await;
                let (seen, taken) = pages_of_a_receive(&client, schema).await;
                assert_eq!(taken, 10, "{count} messages, due at {due_at}, held: {is_held}");
                pages.push(seen);
            }
            let [few, many] = pages[..] else { panic!("two counts") };
            // A deeper index costs a page more for each probe.
            assert!(many <= 2 * few, "due at {due_at}, held: {is_held}: {few}, then {many} pages");
        }
    }
}

/// The message before it was given back after the receive had begun, and before it took its locks:
/// the receive may leave both, or take both, but not the later one alone.
#[tokio::test]
async fn a_message_that_is_given_back_meanwhile_is_not_overtaken() {
    let schema = "given_back";
    let client = tables(schema).await;
    fill(&client, schema, 2, "NULL").await;
    let first = format!("position = (SELECT min(position) FROM {schema}.queue)");
    let hold = format!(
        "UPDATE {schema}.queue SET receipt = 7, leased_until = now() - interval '1 s' WHERE {first}"
    );
    client.batch_execute(&hold).await.unwrap();
    // The same statement, which rests between what it sees and what it locks.
    let receive = queue::receive(schema);
    let resting = receive.replace(
        "FROM found JOIN",
        "FROM (SELECT pg_sleep(1) FROM found LIMIT 1) AS rest, found JOIN",
    );
    assert_ne!(receive, resting);
    let address = semel_servers::address(semel_servers::Kind::Postgres).unwrap();
    let (other, connection) = tokio_postgres::connect(&address, NoTls).await.unwrap();
    tokio::spawn(connection);
    let give_back = async {
        tokio::time::sleep(std::time::Duration::from_millis(400)).await;
        let sql =
            format!("UPDATE {schema}.queue SET receipt = NULL, leased_until = NULL WHERE {first}");
        other.batch_execute(&sql).await.unwrap();
    };
    let never = None::<std::time::SystemTime>;
    let statement = client.prepare(&resting).await.unwrap();
    let (max, proof, lease_ms) = (10_i64, 1_i64, 30_000_i64);
    let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 6] =
        [&"hot", &never, &max, &proof, &lease_ms, &""];
    let (rows, ()) = tokio::join!(client.query(&statement, &parameters), give_back);
    drop(rows.unwrap());
    let overtakes = format!(
        "SELECT count(*) FROM {schema}.queue AS later JOIN {schema}.queue AS earlier \
         ON earlier.partition_key = later.partition_key AND earlier.position < later.position \
         WHERE later.receipt IS NOT NULL AND earlier.receipt IS NULL"
    );
    let overtaken: i64 = client.query_one(&overtakes, &[]).await.unwrap().get(0);
    assert_eq!(overtaken, 0);
}

/// What a look finds waiting, and what it then says of when to look again, are of one moment: a
/// message that becomes due between the two is not slept through.
#[tokio::test]
async fn a_message_that_becomes_due_during_a_look_is_due_at_once() {
    let schema = "due_meanwhile";
    let client = tables(schema).await;
    for key in ["NULL", "'key'"] {
        fill(&client, schema, 1, "now() + interval '1 hour'").await;
        let alone = format!(
            "UPDATE {schema}.queue SET partition_key = {key} WHERE position = (SELECT min(position) FROM {schema}.queue); DELETE FROM {schema}.queue WHERE due_at IS NULL; BEGIN"
        );
        client.batch_execute(&alone).await.unwrap();
        let never = None::<std::time::SystemTime>;
        let rows = client
            .query(&queue::receive(schema), &[&"hot", &never, &10_i64, &1_i64, &30_000_i64, &""])
            .await
            .unwrap();
        assert!(rows.iter().all(|row| row.get::<_, Option<i64>>(0).is_none()), "it is not due");
        let is_due = format!("UPDATE {schema}.queue SET due_at = clock_timestamp()");
        client.batch_execute(&is_due).await.unwrap();
        let next = client.query_one(&queue::next_due(schema), &[&"hot", &never]).await.unwrap();
        client.batch_execute("ROLLBACK").await.unwrap();
        assert!(next.get::<_, Option<i64>>(0).is_some_and(|ms| ms <= 0), "key {key}: {next:?}");
    }
}

/// What is locked and not taken would be missing where others look meanwhile.
#[tokio::test]
async fn a_receive_locks_what_it_takes_and_no_more() {
    let schema = "locks";
    let client = tables(schema).await;
    fill(&client, schema, 10, "NULL").await;
    let columns = "endpoint, due_at, queued_at, message_id, source, type, data";
    let waited = format!(
        "INSERT INTO {schema}.queue ({columns}) SELECT 'hot', now(), now(), n, '/', 't', '' \
         FROM generate_series(1, 10) AS n"
    );
    client.batch_execute(&waited).await.unwrap();
    let address = semel_servers::address(semel_servers::Kind::Postgres).unwrap();
    let (other, connection) = tokio_postgres::connect(&address, NoTls).await.unwrap();
    tokio::spawn(connection);
    let never = None::<std::time::SystemTime>;
    for (max, proof) in [(1_i64, 1_i64), (1, 2), (7, 3), (10, 4), (20, 5), (30, 6)] {
        client.batch_execute("BEGIN").await.unwrap();
        let taken = client
            .query(&queue::receive(schema), &[&"hot", &never, &max, &proof, &30_000_i64, &""])
            .await
            .unwrap();
        assert_eq!(taken.len() as i64, max, "one row for each message that was taken");
        let sql = format!("SELECT FROM {schema}.queue FOR UPDATE SKIP LOCKED");
        let free = other.query(&sql, &[]).await.unwrap().len() as i64;
        client.batch_execute("ROLLBACK").await.unwrap();
        assert_eq!(free, 30 - max, "proof {proof}");
    }
}

/// How a statement is worked off with these arguments.
async fn explain_with(
    client: &tokio_postgres::Client,
    sql: &str,
    how: &str,
    arguments: &str,
) -> String {
    client.batch_execute(&format!("PREPARE statement AS {sql}")).await.unwrap();
    let explained = format!("EXPLAIN ({how}) EXECUTE statement({arguments})");
    let messages = client.simple_query(&explained).await.unwrap();
    client.batch_execute("DEALLOCATE statement").await.unwrap();
    let lines = messages.iter().filter_map(|message| match message {
        tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0),
        _ => None,
    });
    lines.collect::<Vec<_>>().join("\n")
}
