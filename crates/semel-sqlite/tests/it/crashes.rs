//! Processes that are killed, and writing that stopped anywhere.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use semel_core::broker::{Receive, SendOutcome, Settlement};
use semel_core::store::{Change, Expect, WriteOutcome};
use semel_core::{Broker, Store};
use semel_sqlite::Sqlite;

use crate::child::{self, tell};
use crate::rig::{
    QUEUE, Rig, Scatter, applied, ask, entity, files, inbox, list, message, put, put_if,
};
use crate::rig::{queued, send, take, value};

const KILLS: usize = 40;

/// In a child: sends and receives until it is killed, and tells what was acknowledged.
pub(crate) fn work_until_killed(path: &Path, name: &str) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let file = Arc::new(Sqlite::open(path).unwrap());
    runtime.block_on(async {
        for task in 0..4 {
            tokio::spawn(write_on(file.clone(), format!("{name}-{task}")));
        }
        tokio::spawn(send_on(file.clone(), format!("{name}-s")));
        settle_on(file).await;
    });
}

/// Batches of two items and a message.
async fn write_on(file: Arc<Sqlite>, name: String) {
    for n in 0.. {
        let id = format!("{name}-{n}");
        let changes = vec![
            put(entity(format!("a-{id}")), "1"),
            put(entity(format!("b-{id}")), "1"),
            Change::Enqueue(queued(message(id.clone()))),
        ];
        applied(file.write(changes).await);
        tell(&format!("wrote {id}"));
    }
}

async fn send_on(file: Arc<Sqlite>, name: String) {
    for n in 0.. {
        let ids = [format!("{name}-{n}-x"), format!("{name}-{n}-y")];
        let messages = ids.iter().map(|id| queued(message(id.clone()))).collect();
        for (id, outcome) in ids.iter().zip(file.send(messages).await) {
            assert!(matches!(outcome, SendOutcome::Sent), "{outcome:?}");
            tell(&format!("sent {id}"));
        }
    }
}

/// Settles each message in a batch with a record that it was.
async fn settle_on(file: Arc<Sqlite>) {
    let request = Receive {
        endpoint: QUEUE.to_owned(),
        max: 5,
        lease: Duration::from_millis(50),
        wait: Duration::from_secs(60),
    };
    loop {
        for delivery in file.receive(&request).await.unwrap() {
            let id = delivery.envelope.unwrap().id;
            let record = put_if(inbox(id.clone()), "1", Expect::Absent);
            let settle = Change::Settle { receipt: delivery.receipt, settlement: Settlement::Ack };
            match file.write(vec![record, settle]).await {
                WriteOutcome::Applied(_) => tell(&format!("done {id}")),
                // The lease had ended.
                WriteOutcome::Conflict(at) => assert_eq!(at, [1]),
                other => panic!("{other:?}"),
            }
        }
    }
}

/// A copy of the file and its log, as a crash would leave them. Nobody may have the file open.
pub(crate) fn copy(path: &Path, folder: &Path) -> PathBuf {
    let copy = folder.join("copy.db");
    for (from, to) in files(path).iter().zip(files(&copy)).take(2) {
        if from.exists() {
            std::fs::copy(from, to).unwrap();
        }
    }
    copy
}

fn is_there(ids: &BTreeSet<String>, prefix: &str, id: &str) -> bool {
    ids.contains(&format!("{prefix}{id}"))
}

/// What is in the file against what was acknowledged; how much more is in it.
fn audit(path: &Path, told: &[String]) -> usize {
    let set = |sql: &str| BTreeSet::from_iter(list(path, sql));
    let items = set("SELECT entity_id FROM entity");
    let waiting = set("SELECT message_id FROM queue");
    let done = set("SELECT message FROM inbox");
    let all = list(path, "SELECT message_id FROM queue");
    assert_eq!(all.len(), waiting.len(), "no message is there twice");
    assert!(waiting.is_disjoint(&done), "a message is gone when it is recorded as done");
    for line in told {
        let (what, id) = line.split_once(' ').unwrap();
        match what {
            "wrote" => assert!(is_there(&items, "a-", id) && is_there(&items, "b-", id), "{line}"),
            "done" => assert!(done.contains(id), "{line}"),
            _ => {}
        }
        assert!(waiting.contains(id) || done.contains(id), "{line}");
    }
    for item in &items {
        let id = &item[2..];
        let whole = is_there(&items, "a-", id) && is_there(&items, "b-", id);
        assert!(whole && (waiting.contains(id) || done.contains(id)), "half a batch: {item}");
    }
    assert_eq!(ask::<String>(path, "PRAGMA integrity_check"), "ok");
    let acknowledged = told.iter().filter(|line| line.starts_with("wrote")).count();
    items.len() / 2 - acknowledged
}

#[test]
fn what_was_acknowledged_survives_any_kill() {
    let rig = Rig::new();
    let mut scatter = Scatter(7);
    let mut told = Vec::new();
    let mut unheard = 0;
    for kill in 0..KILLS {
        let (mut child, mut lines) =
            child::spawn(&mut child::command("work until killed", &rig.path(), &kill.to_string()));
        if kill % 8 == 7 {
            // Some die while they open the file.
            std::thread::sleep(Duration::from_millis(scatter.below(12) as u64));
        } else {
            let until = 1 + scatter.below(60);
            told.extend(lines.by_ref().take(until));
        }
        child.kill().unwrap();
        // What it told last is still in the pipe.
        told.extend(lines);
        child.wait().unwrap();
        let folder = tempfile::tempdir().unwrap();
        unheard = audit(&copy(&rig.path(), folder.path()), &told);
    }
    audit(&rig.path(), &told);
    let count = |what| told.iter().filter(|line| line.starts_with(what)).count();
    let counts = ["wrote", "sent", "done"].map(count);
    assert!(counts.iter().all(|count| *count > 100), "{counts:?}");
    assert!(unheard > 0, "some died between a commit and its acknowledgement");
}

/// The places at which writing a log can stop: in and after each frame of a page.
pub(crate) fn stops(from: u64, to: u64) -> impl Iterator<Item = u64> {
    let frame = 24 + 4_096;
    (from..=to).step_by(frame as usize).flat_map(move |start| {
        [start, start + 10, start + 24, start + 2_000].into_iter().filter(move |stop| *stop <= to)
    })
}

/// The log is only ever written on at its end, and a change is acknowledged when its last frame is
/// on the disk. So every prefix of the log is what some crash leaves behind.
#[tokio::test]
async fn a_batch_is_whole_or_absent_wherever_its_writing_stopped() {
    let rig = Rig::new();
    let file = rig.open();
    for n in 0..40 {
        send(&file, format!("m-{n}")).await;
        applied(file.write(vec![put(entity(n.to_string()), vec![b'1'; 700])]).await);
    }
    let held = take(&file, 2).await;
    let log = files(&rig.path())[1].clone();
    let length = || std::fs::metadata(&log).unwrap().len();
    let before = length();
    let mut batch: Vec<Change> =
        (0..40).step_by(3).map(|n| put(entity(n.to_string()), vec![b'2'; 700])).collect();
    batch.push(put(inbox("m-0"), "1"));
    batch.extend((0..5).map(|n| Change::Enqueue(queued(message(format!("new-{n}"))))));
    for (delivery, settlement) in held.iter().zip([Settlement::Ack, crate::rig::dead_letter()]) {
        batch.push(Change::Settle { receipt: delivery.receipt.clone(), settlement });
    }
    applied(file.write(batch).await);
    let after = length();

    let (mut absent, mut whole) = (0, 0);
    for stop in stops(before, after) {
        let folder = tempfile::tempdir().unwrap();
        let path = copy(&rig.path(), folder.path());
        let cut = std::fs::OpenOptions::new().write(true).open(&files(&path)[1]).unwrap();
        cut.set_len(stop).unwrap();
        let opened = Sqlite::open_with(&path, rig.options()).unwrap();
        let is_whole = opened.read(&inbox("m-0")).await.unwrap().is_some();
        assert_eq!(is_whole, stop == after, "{stop} of {before} to {after}");
        for n in 0..40 {
            let expected = if is_whole && n % 3 == 0 { b'2' } else { b'1' };
            assert_eq!(value(&opened, entity(n.to_string())).await.unwrap()[0], expected, "{stop}");
        }
        let counts = "SELECT format('%d %d', (SELECT count(*) FROM queue), \
                      (SELECT count(*) FROM dead_letter))";
        assert_eq!(ask::<String>(&path, counts), if is_whole { "43 1" } else { "40 0" });
        send(&opened, "goes on").await;
        assert_eq!(ask::<String>(&path, "PRAGMA integrity_check"), "ok");
        *(if is_whole { &mut whole } else { &mut absent }) += 1;
    }
    assert!(absent > 20 && whole == 1, "{absent} {whole}");
}

/// Making the tables is one change like any other.
#[tokio::test]
async fn a_file_is_made_wherever_its_making_stopped_before() {
    let rig = Rig::new();
    let file = rig.open();
    let length = std::fs::metadata(&files(&rig.path())[1]).unwrap().len();
    let (mut begun_anew, mut found) = (0, 0);
    for stop in stops(32, length).chain([0]) {
        let folder = tempfile::tempdir().unwrap();
        let path = copy(&rig.path(), folder.path());
        let cut = std::fs::OpenOptions::new().write(true).open(&files(&path)[1]).unwrap();
        cut.set_len(stop).unwrap();
        drop(cut);
        *(if stop == length { &mut found } else { &mut begun_anew }) += 1;
        let opened = Sqlite::open_with(&path, rig.options()).unwrap();
        send(&opened, "m-1").await;
        assert_eq!(take(&opened, 9).await.len(), 1, "{stop} of {length}");
        assert_eq!(ask::<i64>(&path, "PRAGMA user_version"), 2, "{stop} of {length}");
    }
    assert!(begun_anew > 20 && found == 1, "{begun_anew} {found}");
    drop(file);
}
