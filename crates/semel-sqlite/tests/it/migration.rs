//! Files that an earlier version made come up to date, whole or not at all, and lose nothing.

use std::path::Path;

use rusqlite::Connection;
use semel_core::broker::{SettleOutcome, Settlement};
use semel_core::operator::{DeadLetterFilter, Operator as _};
use semel_core::store::{ItemKey, Space, Trouble};
use semel_core::{Broker as _, Store as _};
use semel_sqlite::Sqlite;

use crate::crashes::{copy, stops};
use crate::rig::{RELEASE, Rig, applied, ask, assert_says, entity, files, inbox, list, put};
use crate::rig::{receive, value};
use crate::tables::{TABLES, described};

/// What a shop of version 1 had: one of everything, and each kind of value that a column may hold.
const CONTENT: &str = r#"
    INSERT INTO entity VALUES
        ('shop', 'alice', '{"orders":3}', 1, NULL), ('shop', 'bob', x'00ff', 2, 4102444800000);
    INSERT INTO inbox VALUES ('shop', '/web 1', 'alice', 3, NULL);
    INSERT INTO outbox VALUES ('shop', '/web 2', '[]', 4, NULL);
    INSERT INTO reply VALUES ('orders', 'key-1', 'created', 5, 4102444800000);
    INSERT INTO queue VALUES (6, 'orders', 0, NULL, 2, 1,
        '[{"at":"2026-12-24T18:00:00Z","reason":"no credit","worker":"w-1"}]',
        17, 'm-1', '/shop', 'order.placed', 'alice', 18, 'application/json', NULL,
        '{"partitionkey":"alice"}', '{"total":3}', 'alice');
    INSERT INTO dead_letter VALUES (7, 'orders', 'handler-failed', 19, 3, 1,
        '[{"at":"2026-12-24T18:00:00Z","reason":"no credit","worker":"w-1"}]',
        17, 'm-2', '/shop', 'order.placed', NULL, NULL, NULL, NULL, NULL, x'c3', NULL);
    INSERT INTO endpoint VALUES ('orders', 'transactional', 20);
    INSERT INTO subscription VALUES ('order.placed', 'orders');
    UPDATE counter SET value = 8;
"#;

/// A file as version 1 left it.
fn file_of_version_1() -> Rig {
    let rig = Rig::new();
    let shell = rig.shell();
    shell.pragma_update(None, "journal_mode", "WAL").unwrap();
    shell.execute_batch(include_str!("../../src/schema_1.sql")).unwrap();
    shell.execute_batch("PRAGMA application_id = 0x53454d4c; PRAGMA user_version = 1").unwrap();
    shell.execute_batch(CONTENT).unwrap();
    shell.close().unwrap();
    rig
}

/// Every value of every column that version 1 knew.
fn content(path: &Path) -> Vec<String> {
    let version_1 = Connection::open_in_memory().unwrap();
    version_1.execute_batch(include_str!("../../src/schema_1.sql")).unwrap();
    let columns = "SELECT t.name, group_concat(format('quote(%s)', c.name), ' || '', '' || ') \
                   FROM sqlite_schema t, pragma_table_info(t.name) c \
                   WHERE t.type = 'table' GROUP BY t.name";
    let mut statement = version_1.prepare(columns).unwrap();
    let tables = statement
        .query_map((), |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))
        .unwrap();
    let read = |(table, columns): (String, String)| {
        let rows = list(path, &format!("SELECT {columns} FROM {table} ORDER BY 1"));
        rows.into_iter().map(move |row| format!("{table}: {row}"))
    };
    tables.map(Result::unwrap).flat_map(read).collect()
}

#[tokio::test]
async fn a_file_of_version_1_comes_up_to_date_and_keeps_everything() {
    let rig = file_of_version_1();
    let before = content(&rig.path());
    assert_eq!(before.len(), 10, "{before:#?}");
    drop(rig.open());
    assert_eq!(content(&rig.path()), before);
    assert_eq!(described(&rig.shell()), TABLES, "as in a file that this version made");
    drop(rig.open());
    assert_eq!(content(&rig.path()), before, "up to date is up to date");
    works_on(&rig.open()).await;
}

/// Everything of version 1 is where the adapter looks for it, and what version 2 added has room.
async fn works_on(file: &Sqlite) {
    let at = |space, partition: &str, key: &str| ItemKey::new(space, partition, key);
    for (key, expected) in [
        (entity("alice"), br#"{"orders":3}"#.as_slice()),
        (entity("bob"), b"\x00\xff"),
        (inbox("/web 1"), b"alice"),
        (at(Space::Outbox, "shop", "/web 2"), b"[]"),
        (at(Space::Reply, "orders", "key-1"), b"created"),
    ] {
        assert_eq!(value(file, key.clone()).await.as_deref(), Some(expected), "{key}");
    }
    assert_eq!(file.subscribers("order.placed").await.unwrap(), ["orders"]);

    let delivery = file.receive(&receive(9)).await.unwrap().remove(0);
    let envelope = delivery.envelope.as_ref().unwrap();
    assert_eq!((envelope.id.as_str(), delivery.deliveries), ("m-1", 3));
    assert_eq!(delivery.failures[0].reason, "no credit");

    let dead = file.dead_letter(7).await.unwrap().unwrap();
    assert_eq!((dead.entity, &dead.raw[..]), (None, b"\xc3".as_slice()), "nobody had told");
    assert!(matches!(file.settle(&dead.receipt, RELEASE).await, SettleOutcome::Settled));
    let again = file.receive(&receive(9)).await.unwrap().remove(0);
    let Settlement::DeadLetter { reason, failure, .. } = crate::rig::dead_letter() else {
        unreachable!()
    };
    let parked = Settlement::DeadLetter { reason, failure, entity: Some("alice".to_owned()) };
    assert!(matches!(file.settle(&again.receipt, parked).await, SettleOutcome::Settled));
    let filter = DeadLetterFilter { limit: 9, ..DeadLetterFilter::default() };
    let dead = file.dead_letters(&filter).await.unwrap().remove(0);
    assert_eq!(dead.entity.as_deref(), Some("alice"));

    applied(file.write(vec![put(at(Space::Token, "orders", "t-1"), "held")]).await);
    assert_eq!(file.inspect().await.unwrap().endpoints["orders"].tokens, 1);
}

/// Which version a file says it has, and what of version 2 is in it.
fn state(path: &Path) -> (i64, i64, i64) {
    let count = |sql: &str| ask::<i64>(path, &format!("SELECT count(*) FROM {sql}"));
    let tables = count("sqlite_schema WHERE tbl_name = 'token' AND sql IS NOT NULL");
    let columns = count("pragma_table_info('dead_letter') WHERE name = 'entity_id'");
    (ask(path, "PRAGMA user_version"), tables, columns)
}

const VERSION_1: (i64, i64, i64) = (1, 0, 0);
const VERSION_2: (i64, i64, i64) = (2, 2, 1);

/// A crash leaves some prefix of the log behind: each is version 1 or version 2, and the next to
/// open the file goes on from there.
#[test]
fn a_migration_is_whole_or_absent_wherever_its_writing_stopped() {
    let rig = file_of_version_1();
    let before = content(&rig.path());
    let file = rig.open();
    let length = std::fs::metadata(&files(&rig.path())[1]).unwrap().len();
    let (mut absent, mut whole) = (0, 0);
    for stop in stops(32, length).chain([0]) {
        let folder = tempfile::tempdir().unwrap();
        let path = copy(&rig.path(), folder.path());
        let cut = std::fs::OpenOptions::new().write(true).open(&files(&path)[1]).unwrap();
        cut.set_len(stop).unwrap();
        drop(cut);
        let (expected, count) =
            if stop == length { (VERSION_2, &mut whole) } else { (VERSION_1, &mut absent) };
        *count += 1;
        assert_eq!(state(&path), expected, "{stop} of {length}");
        assert_eq!(content(&path), before, "{stop} of {length}");
        drop(Sqlite::open_with(&path, rig.options()).unwrap());
        assert_eq!((state(&path), content(&path)), (VERSION_2, before.clone()), "{stop}");
    }
    assert!(absent > 10 && whole == 1, "{absent} {whole}");
    drop(file);
}

/// A step that fails takes back the steps before it.
#[test]
fn a_migration_that_cannot_be_finished_changes_nothing() {
    let rig = file_of_version_1();
    // A person had the same idea as version 2.
    rig.shell().execute_batch("ALTER TABLE dead_letter ADD COLUMN entity_id TEXT").unwrap();
    let before = content(&rig.path());
    let error = Sqlite::open(rig.path()).unwrap_err();
    assert_says(&error, Trouble::Broken, &["migrate failed", "entity_id"]);
    assert_eq!(state(&rig.path()), (1, 0, 1));
    assert_eq!(content(&rig.path()), before);
    rig.shell().execute_batch("ALTER TABLE dead_letter DROP COLUMN entity_id").unwrap();
    drop(rig.open());
    assert_eq!((state(&rig.path()), content(&rig.path())), (VERSION_2, before));
}

#[test]
fn many_may_bring_a_file_up_to_date_at_once() {
    for _ in 0..10 {
        let rig = file_of_version_1();
        let before = content(&rig.path());
        let barrier = std::sync::Barrier::new(8);
        std::thread::scope(|scope| {
            let openings = [(); 8].map(|()| {
                scope.spawn(|| {
                    barrier.wait();
                    Sqlite::open(rig.path()).map(drop)
                })
            });
            for opening in openings {
                opening.join().unwrap().unwrap();
            }
        });
        assert_eq!((state(&rig.path()), content(&rig.path())), (VERSION_2, before));
    }
}
