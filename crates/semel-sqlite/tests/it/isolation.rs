//! Requests that share a transaction stand and fall alone.

use std::sync::Arc;

use semel_core::broker::SendOutcome;
use semel_core::store::{Change, Trouble, WriteOutcome};
use semel_core::{Broker, Store};
use semel_sqlite::Sqlite;
use tokio::task::JoinHandle;

use crate::rig::{Rig, applied, entity, message, put, queued, value};

fn write(file: &Arc<Sqlite>, changes: Vec<Change>) -> JoinHandle<WriteOutcome> {
    let file = file.clone();
    tokio::spawn(async move { file.write(changes).await })
}

fn is_refused_as_broken(outcome: &WriteOutcome) -> bool {
    matches!(outcome, WriteOutcome::Refused(error) if error.trouble == Trouble::Broken)
}

/// What SQLite does to the statement, or the transaction, that a trap catches.
const TRAPS: [&str; 3] = ["ABORT", "FAIL", "ROLLBACK"];

#[tokio::test]
async fn a_request_that_fails_in_sqlite_fails_alone() {
    for trap in TRAPS {
        let rig = Rig::new();
        let file = Arc::new(rig.open());
        let trigger = format!(
            "CREATE TRIGGER trap AFTER INSERT ON entity WHEN new.entity_id LIKE 'poison%' \
             BEGIN SELECT RAISE({trap}, 'caught'); END"
        );
        rig.shell().execute_batch(&trigger).unwrap();
        let lock = rig.lock();
        let before: Vec<_> =
            (0..4).map(|n| write(&file, vec![put(entity(n.to_string()), "1")])).collect();
        let poison = write(
            &file,
            vec![
                put(entity("beside the poison"), "1"),
                put(entity("poison"), "1"),
                Change::Enqueue(queued(message("behind the poison"))),
            ],
        );
        let after: Vec<_> =
            (4..8).map(|n| write(&file, vec![put(entity(n.to_string()), "1")])).collect();
        tokio::task::yield_now().await;
        drop(lock);
        for good in before.into_iter().chain(after) {
            applied(good.await.unwrap());
        }
        let outcome = poison.await.unwrap();
        assert!(is_refused_as_broken(&outcome), "{trap}: {outcome:?}");
        assert_eq!(rig.ask::<i64>("SELECT count(*) FROM entity"), 8, "{trap}");
        assert_eq!(rig.ask::<i64>("SELECT count(*) FROM queue"), 0, "{trap}");
    }
}

/// Each change of a batch is made to fail in turn.
#[tokio::test]
async fn a_batch_that_fails_at_any_change_is_absent_as_a_whole() {
    let batch = |tag: &str| {
        let mut changes: Vec<Change> =
            (0..5).map(|n| put(entity(format!("{tag} {n}")), "1")).collect();
        changes.extend((5..8).map(|n| Change::Enqueue(queued(message(format!("{tag} {n}"))))));
        changes
    };
    for trap in TRAPS {
        let rig = Rig::new();
        let file = rig.open();
        for at in 0..8 {
            let (table, column) =
                if at < 5 { ("entity", "entity_id") } else { ("queue", "message_id") };
            let trigger = format!(
                "CREATE TRIGGER trap AFTER INSERT ON {table} WHEN new.{column} = 'caught {at}' \
                 BEGIN SELECT RAISE({trap}, 'caught'); END"
            );
            rig.shell().execute_batch(&trigger).unwrap();
            let outcome = file.write(batch("caught")).await;
            assert!(is_refused_as_broken(&outcome), "{trap} at {at}: {outcome:?}");
            rig.shell().execute_batch("DROP TRIGGER trap").unwrap();
            assert_eq!(rig.ask::<i64>("SELECT count(*) FROM entity"), 0, "{trap} at {at}");
            assert_eq!(rig.ask::<i64>("SELECT count(*) FROM queue"), 0, "{trap} at {at}");
        }
        applied(file.write(batch("free")).await);
        assert_eq!(rig.ask::<i64>("SELECT count(*) FROM entity"), 5, "{trap}");
        assert_eq!(rig.ask::<i64>("SELECT count(*) FROM queue"), 3, "{trap}");
    }
}

/// A reference that is checked at the very end makes the commit itself fail.
const TRAP_AT_COMMIT: &str = "\
    CREATE TABLE trap (name REFERENCES counter (name) DEFERRABLE INITIALLY DEFERRED); \
    CREATE TRIGGER spring AFTER INSERT ON entity WHEN new.entity_id = 'poison' \
    BEGIN INSERT INTO trap VALUES ('no such counter'); END";

#[tokio::test]
async fn a_commit_that_fails_is_answered_so_and_holds_nobody_up() {
    let rig = Rig::new();
    let file = Arc::new(rig.open());
    rig.shell().execute_batch(TRAP_AT_COMMIT).unwrap();
    let outcome = file.write(vec![put(entity("poison"), "1")]).await;
    assert!(is_refused_as_broken(&outcome), "{outcome:?}");

    let lock = rig.lock();
    let names = ["a", "b", "poison", "c", "d"];
    let writes = names.map(|name| (name, write(&file, vec![put(entity(name), "1")])));
    tokio::task::yield_now().await;
    drop(lock);
    for (name, write) in writes {
        let outcome = write.await.unwrap();
        let is_written = matches!(outcome, WriteOutcome::Applied(_));
        assert_eq!(is_written, name != "poison", "{name}: {outcome:?}");
        assert_eq!(value(&file, entity(name)).await.is_some(), is_written, "{name}");
    }
}

#[tokio::test]
async fn an_answer_does_not_wait_for_a_runtime_that_stands_still() {
    let rig = Rig::new();
    let file = Arc::new(rig.open());
    let lock = rig.lock();
    let still = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    // Asked from a runtime that runs no further. First, so that its answer is the first.
    let waiting = std::thread::spawn({
        let file = file.clone();
        move || {
            let asked = still.spawn(async move { file.write(vec![put(entity("a"), "1")]).await });
            still.block_on(tokio::task::yield_now());
            (still, asked)
        }
    });
    let (still, asked) = waiting.join().unwrap();
    let others = ["b", "c", "d"].map(|name| write(&file, vec![put(entity(name), "1")]));
    tokio::task::yield_now().await;
    drop(lock);
    for other in others {
        applied(other.await.unwrap());
    }
    let outcome = std::thread::spawn(move || still.block_on(asked).unwrap()).join().unwrap();
    applied(outcome);
}

#[tokio::test]
async fn a_message_too_large_is_refused_beside_those_that_are_sent() {
    let rig = Rig::new();
    let file = rig.open();
    let mut large = message("large");
    large.data = vec![b'7'; (16 << 20) + 1].into();
    let messages = vec![queued(message("a")), queued(large), queued(message("b"))];
    let outcomes = file.send(messages).await;
    let [SendOutcome::Sent, SendOutcome::Refused(error), SendOutcome::Sent] = &outcomes[..] else {
        panic!("{outcomes:?}")
    };
    assert_eq!(error.trouble, Trouble::TooLarge);
    assert_eq!(rig.ask::<i64>("SELECT count(*) FROM queue"), 2);
}
