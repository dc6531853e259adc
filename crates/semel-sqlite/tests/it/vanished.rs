//! A file that is deleted or replaced under a running handle.

use std::path::{Path, PathBuf};

use rusqlite::Connection;
use semel_core::broker::{Registration, SendOutcome, SettleOutcome, Settlement};
use semel_core::operator::Operator as _;
use semel_core::store::{Trouble, WriteOutcome};
use semel_core::{Broker, Store, StoreError};
use semel_sqlite::Sqlite;

use crate::rig::{LEASE, Rig, applied, assert_says, entity, files, list, message, put, queued};
use crate::rig::{receive, send, take};

/// What a person does to the file.
#[derive(Clone, Copy, Debug)]
enum Accident {
    Deleted,
    MovedAway,
    ReplacedByNothing,
    ReplacedByGarbage,
    ReplacedByAnotherOfOurs,
    LogDeleted,
}

impl Accident {
    const ALL: [Self; 6] = [
        Self::Deleted,
        Self::MovedAway,
        Self::ReplacedByNothing,
        Self::ReplacedByGarbage,
        Self::ReplacedByAnotherOfOurs,
        Self::LogDeleted,
    ];

    fn befall(self, rig: &Rig) {
        let path = rig.path();
        let replace = |content: &[u8]| {
            let other = rig.folder().join("other");
            std::fs::write(&other, content).unwrap();
            std::fs::rename(other, &path).unwrap();
        };
        match self {
            Self::Deleted => {
                files(&path).iter().for_each(|file| std::fs::remove_file(file).unwrap());
            }
            Self::MovedAway => std::fs::rename(&path, rig.folder().join("elsewhere.db")).unwrap(),
            Self::ReplacedByNothing => replace(b""),
            Self::ReplacedByGarbage => replace(&[b'7'; 8_192]),
            Self::ReplacedByAnotherOfOurs => {
                let other = Rig::new();
                drop(other.open());
                replace(&std::fs::read(other.path()).unwrap());
            }
            Self::LogDeleted => std::fs::remove_file(&files(&path)[1]).unwrap(),
        }
    }
}

/// Second names for the file and its log, so that what is in them can be seen whatever happens to
/// the first ones.
fn keep(path: &Path) -> PathBuf {
    let kept = path.with_extension("kept");
    for (from, to) in files(path).iter().zip(files(&kept)).take(2) {
        std::fs::hard_link(from, to).unwrap();
    }
    kept
}

async fn every_call(file: &Sqlite, receipt: &semel_core::broker::Receipt) -> Vec<StoreError> {
    let name = "orders".to_owned();
    let registration =
        Registration { endpoint: name.clone(), protocol: name, subscriptions: Vec::new() };
    let mut errors = vec![
        file.receive(&receive(1)).await.unwrap_err(),
        file.extend(std::slice::from_ref(receipt), LEASE).await.unwrap_err(),
        file.register(&registration).await.unwrap_err(),
        file.inspect().await.unwrap_err(),
    ];
    match file.settle(receipt, Settlement::Ack).await {
        SettleOutcome::Unknown(error) => errors.push(error),
        other => panic!("{other:?}"),
    }
    match file.send(vec![queued(message("late"))]).await.remove(0) {
        SendOutcome::Unknown(error) => errors.push(error),
        other => panic!("{other:?}"),
    }
    match file.write(vec![put(entity("late"), "1")]).await {
        WriteOutcome::Refused(error) | WriteOutcome::Unknown(error) => errors.push(error),
        other => panic!("{other:?}"),
    }
    errors
}

#[tokio::test]
async fn a_vanished_file_is_noticed_by_every_call_and_keeps_what_was_acknowledged() {
    for accident in Accident::ALL {
        let rig = Rig::new();
        let file = rig.open();
        send(&file, "held").await;
        let held = take(&file, 1).await.remove(0).receipt;
        send(&file, "waiting").await;
        applied(file.write(vec![put(entity("alice"), "1")]).await);
        let kept = keep(&rig.path());

        accident.befall(&rig);
        for error in every_call(&file, &held).await {
            let words = ["was deleted or replaced", "Put the file back"];
            assert_says(&error, Trouble::Broken, &words);
        }

        drop(file);
        let ids = list(&kept, "SELECT message_id FROM queue ORDER BY position");
        assert_eq!(
            ids,
            ["held", "waiting"],
            "{accident:?}: what was not acknowledged was not done"
        );
        assert_eq!(list(&kept, "SELECT entity_id FROM entity"), ["alice"], "{accident:?}");
        assert_eq!(list(&kept, "PRAGMA integrity_check"), ["ok"], "{accident:?}");
    }
}

/// Whoever waits for messages writes nothing, and would never hear of it.
#[tokio::test]
async fn a_receiver_of_an_empty_queue_notices_too() {
    let rig = Rig::new();
    let file = rig.open();
    let waiting = receive(1);
    assert!(file.receive(&waiting).await.unwrap().is_empty());
    Accident::ReplacedByAnotherOfOurs.befall(&rig);
    let long = semel_core::broker::Receive { wait: std::time::Duration::from_secs(600), ..waiting };
    let error = file.receive(&long).await.unwrap_err();
    assert_says(&error, Trouble::Broken, &["receive failed", "was deleted or replaced"]);
}

#[tokio::test]
async fn nothing_is_read_from_a_file_that_took_the_place_of_ours() {
    let rig = Rig::new();
    let file = rig.open();
    applied(file.write(vec![put(entity("alice"), "1")]).await);
    let stranger = Rig::new();
    applied(stranger.open().write(vec![put(entity("alice"), "another")]).await);
    std::fs::rename(stranger.path(), rig.path()).unwrap();
    let error = file.read(&entity("alice")).await.unwrap_err();
    assert_says(&error, Trouble::Broken, &["was deleted or replaced"]);
}

#[tokio::test]
async fn a_file_put_back_goes_on_where_it_was() {
    let rig = Rig::new();
    let file = rig.open();
    send(&file, "m-1").await;
    let away = rig.folder().join("away.db");
    std::fs::rename(rig.path(), &away).unwrap();
    file.receive(&receive(1)).await.unwrap_err();
    std::fs::rename(&away, rig.path()).unwrap();
    assert_eq!(take(&file, 1).await.len(), 1);
}

/// A file that is reached through a link is the file the link leads to.
#[cfg(unix)]
#[tokio::test]
async fn a_link_to_the_file_is_as_good_as_the_file() {
    let rig = Rig::new();
    drop(rig.open());
    let link = rig.folder().join("link.db");
    std::os::unix::fs::symlink(rig.path(), &link).unwrap();
    let file = Sqlite::open_with(&link, rig.options()).unwrap();
    send(&file, "m-1").await;
    assert_eq!(take(&rig.open(), 1).await.len(), 1);
    let shell = Connection::open(&link).unwrap();
    shell.execute_batch("BEGIN IMMEDIATE; COMMIT").unwrap();
    std::fs::remove_file(&link).unwrap();
    let error = file.receive(&receive(1)).await.unwrap_err();
    assert_says(&error, Trouble::Broken, &["was deleted or replaced"]);
}
