//! No room left.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use bytes::Bytes;
use semel_core::broker::{SendOutcome, SettleOutcome, Settlement};
use semel_core::store::{Change, Trouble, WriteOutcome};
use semel_core::{Broker, Envelope, Store, StoreError};
use semel_sqlite::{Options, Sqlite};

use crate::child;
use crate::rig::{Rig, applied, ask, assert_says, entity, message, put, queued, send, take, value};

const KIB: usize = 1_024;

fn open_small(rig: &Rig) -> Sqlite {
    let options = Options { file_bytes_max: 300 * KIB as u64, ..rig.options() };
    Sqlite::open_with(rig.path(), options).unwrap()
}

fn sized(id: usize, bytes: usize) -> Envelope {
    Envelope { data: vec![b'7'; bytes].into(), ..message(id.to_string()) }
}

/// Sends until no more goes in; how many were sent, and why the last was not.
async fn fill_up(file: &Sqlite) -> (usize, StoreError) {
    for n in 0.. {
        match file.send(vec![queued(sized(n, 8 * KIB))]).await.remove(0) {
            SendOutcome::Sent => {}
            SendOutcome::Refused(error) => panic!("a full disk is no reason to give up: {error}"),
            SendOutcome::Unknown(error) => return (n, error),
        }
    }
    unreachable!()
}

#[tokio::test]
async fn a_full_file_is_passing_trouble_and_goes_on_when_there_is_room() {
    let rig = Rig::new();
    let file = open_small(&rig);
    let early = file.send((0..10).map(|n| queued(sized(n, 8 * KIB))).collect()).await;
    assert!(early.iter().all(|outcome| matches!(outcome, SendOutcome::Sent)));
    let taken = take(&file, 10).await;
    let (sent, error) = fill_up(&file).await;
    assert!(sent > 10, "{sent}");
    assert_says(&error, Trouble::Full, &["No room is left"]);
    assert!(error.is_passing());
    assert_eq!(rig.ask::<usize>("SELECT count(*) FROM queue"), 10 + sent);

    for delivery in taken {
        let outcome = file.settle(&delivery.receipt, Settlement::Ack).await;
        assert!(matches!(outcome, SettleOutcome::Settled), "{outcome:?}");
    }
    let (again, error) = fill_up(&file).await;
    assert!((8..=10).contains(&again), "{again}");
    assert_eq!(error.trouble, Trouble::Full);
    assert_eq!(rig.ask::<usize>("SELECT count(*) FROM queue"), sent + again);
    drop(file);

    let file = rig.open();
    assert_eq!(take(&file, 1_000).await.len(), sent + again);
    send(&file, "more").await;
    assert_eq!(rig.ask::<String>("PRAGMA integrity_check"), "ok");
}

#[tokio::test]
async fn a_batch_without_room_is_absent_and_the_others_of_its_group_are_not() {
    let rig = Rig::new();
    let file = Arc::new(open_small(&rig));
    let large = Bytes::from(vec![b'7'; 400 * KIB]);
    let lock = rig.lock();
    let mut writes = Vec::new();
    for n in 0..20 {
        let mut changes = vec![put(entity(format!("{n}-a")), "1")];
        if n % 7 == 3 {
            changes.push(put(entity(format!("{n}-large")), large.clone()));
        }
        changes.push(Change::Enqueue(queued(message(n.to_string()))));
        let file = file.clone();
        writes.push(tokio::spawn(async move { file.write(changes).await }));
    }
    tokio::task::yield_now().await;
    drop(lock);
    for (n, write) in writes.into_iter().enumerate() {
        let is_written = match write.await.unwrap() {
            WriteOutcome::Applied(_) => true,
            WriteOutcome::Unknown(error) if error.trouble == Trouble::Full => false,
            other => panic!("{n}: {other:?}"),
        };
        assert_eq!(is_written, n % 7 != 3, "{n}");
        let here = value(&file, entity(format!("{n}-a"))).await;
        assert_eq!(here.is_some(), is_written, "{n}");
        let queued = format!("SELECT count(*) FROM queue WHERE message_id = '{n}'");
        assert_eq!(rig.ask::<i64>(&queued), i64::from(is_written), "{n}");
    }
    assert_eq!(rig.ask::<i64>("SELECT count(*) FROM entity WHERE entity_id LIKE '%large'"), 0);
}

/// In a child whose files may not grow beyond a limit: sends until it cannot.
pub(crate) fn fill(path: &Path, _: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (sent, error) = runtime.block_on(async {
        let file = Sqlite::open(path).unwrap();
        let filled = fill_up(&file).await;
        file.receive(&crate::rig::receive(1)).await.unwrap_err();
        filled
    });
    child::tell(&format!("{sent} {:?} {}", error.trouble, error.is_passing()));
}

/// The system refuses to let the log grow: an error of the disk, which may have come too late.
#[tokio::test]
async fn a_log_that_cannot_grow_loses_nothing_that_was_sent() {
    let rig = Rig::new();
    drop(rig.open());
    let mut command = Command::new("sh");
    // Without the trap the first write too many would end the child.
    command.args(["-c", r#"trap "" XFSZ; ulimit -f 1000; exec "$@""#, "sh"]);
    command.arg(std::env::current_exe().unwrap()).args(child::ARGUMENTS);
    child::prepare(&mut command, "fill", &rig.path(), "");
    let told = child::run(command);
    let [line] = &told[..] else { panic!("{told:?}") };
    let Some((sent, "Unavailable true")) = line.split_once(' ') else { panic!("{line}") };

    let sent: i64 = sent.parse().unwrap();
    let file = rig.open();
    let found: i64 = ask(&rig.path(), "SELECT count(*) FROM queue");
    assert!(sent > 10 && (sent..=sent + 1).contains(&found), "{found} of {sent}");
    assert_eq!(rig.ask::<String>("PRAGMA integrity_check"), "ok");
    send(&file, "more").await;
    applied(file.write(vec![put(entity("alice"), "1")]).await);
}
