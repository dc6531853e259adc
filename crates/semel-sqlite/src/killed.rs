//! A process that is killed before and after every statement it gives to SQLite, one by one.
//!
//! The hook is in this crate's own tests, so that nothing of it ships.

use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use rusqlite::Connection;
use rusqlite::trace::{TraceEvent, TraceEventCodes};
use semel_core::{Backend, Context, Endpoint, Failure, Host, Keyed, Message};
use serde::{Deserialize, Serialize};

use crate::Sqlite;

/// Names the file to the child.
const FILE: &str = "SEMEL_SQLITE_KILLED_FILE";
/// Tells the child when to die: `before` or `after`, and the statement's number.
const WHEN: &str = "SEMEL_SQLITE_KILLED_WHEN";
/// How `abort` ends a process: at once, with nothing closed and nothing written.
const SIGNAL_OF_ABORT: i32 = 6;
/// Every so many statements one test dies at; as many tests begin one after the other.
const STEP: i64 = 3;

/// Bytes of the log's header, and of a frame: a page and what stands before it.
const LOG_HEADER: usize = 32;
const FRAME: usize = 24 + 4_096;

static LEFT: AtomicI64 = AtomicI64::new(i64::MAX);

/// Counts the statements of a connection that was just opened, and ends the process at the one asked
/// for. Does nothing outside of a child.
pub(crate) fn watched(mut connection: Connection) -> Connection {
    let Ok(when) = std::env::var(WHEN) else { return connection };
    let mask = match when.starts_with("before") {
        true => TraceEventCodes::SQLITE_TRACE_STMT,
        false => TraceEventCodes::SQLITE_TRACE_PROFILE,
    };
    let count = |_: TraceEvent<'_>| {
        if LEFT.fetch_sub(1, Ordering::SeqCst) == 1 {
            std::process::abort();
        }
    };
    connection.trace_v2(mask, Some(count)).unwrap();
    connection
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Deposit {
    pence: i64,
}

impl Message for Deposit {
    const TYPE: &'static str = "deposit";
}

impl Keyed for Deposit {
    fn key(&self) -> String {
        "ann".to_owned()
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Deposited;

impl Message for Deposited {
    const TYPE: &'static str = "deposited";
}

impl Keyed for Deposited {
    fn key(&self) -> String {
        "notes".to_owned()
    }
}

/// Every deposit, and one that is refused.
const DEPOSITS: [(&str, i64); 3] = [("a", 5), ("b", 7), ("c", 0)];

fn open(path: &Path) -> Backend {
    Backend::in_one(Arc::new(Sqlite::open(path).unwrap()))
}

/// Sends each deposit twice, and serves them.
async fn work(path: &Path) {
    let bank = open(path);
    for (id, pence) in DEPOSITS.into_iter().chain(DEPOSITS) {
        bank.send_as(id, "account", Deposit { pence }).await.unwrap();
    }
    serve(bank).await;
}

/// Serves what is there until nothing is left.
async fn serve(bank: Backend) {
    let deposit = |balance: &mut i64, message: Deposit, ctx: &mut Context| {
        if message.pence == 0 {
            return Err(Failure::dead_letter("nothing to pay in"));
        }
        *balance += message.pence;
        ctx.send("notes", Deposited);
        Ok(())
    };
    let note = |count: &mut i64, _: Deposited, _: &mut Context| *count += 1;
    let host = Host::new(bank)
        .endpoint(Endpoint::new("account").handle(deposit))
        .endpoint(Endpoint::new("notes").handle(note));
    host.run_until_idle().await.unwrap();
}

/// Does nothing unless another test started this process.
#[tokio::test]
async fn a_child_process_works_until_its_statement() {
    let Ok(when) = std::env::var(WHEN) else { return };
    let number = when.split_once(' ').and_then(|(_, number)| number.parse().ok());
    LEFT.store(number.unwrap(), Ordering::SeqCst);
    work(Path::new(&std::env::var_os(FILE).unwrap())).await;
}

fn child(path: &Path, when: &str) -> ExitStatus {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "killed::a_child_process_works_until_its_statement", "--nocapture"])
        .env(FILE, path)
        .env(WHEN, when)
        .stdout(Stdio::null())
        .status()
        .unwrap()
}

/// Pence, notes, messages that are left, and different dead letters. There are none of these where
/// there are no tables yet.
type Books = (Option<i64>, Option<i64>, i64, i64);

fn books(path: &Path) -> Option<Books> {
    let file = Connection::open(path).unwrap();
    let sql = "SELECT (SELECT CAST(state AS TEXT) FROM entity WHERE endpoint = 'account'),
        (SELECT CAST(state AS TEXT) FROM entity WHERE endpoint = 'notes'),
        (SELECT count(*) FROM queue), (SELECT count(DISTINCT message_id) FROM dead_letter)";
    let number = |text: Option<String>| text.map(|text| text.parse().unwrap());
    let read = |row: &rusqlite::Row<'_>| {
        Ok((number(row.get(0)?), number(row.get(1)?), row.get(2)?, row.get(3)?))
    };
    file.query_row(sql, (), read).ok()
}

/// Ends the leases of the worker that died.
fn end_leases(path: &Path) {
    let file = Connection::open(path).unwrap();
    file.execute_batch("UPDATE queue SET available_at = 0").unwrap();
}

/// What a death can leave behind, in pence: no tables, no deposit, one of them, both. Where one is
/// never seen, nothing died in the middle of its work.
const STAGES: [Option<Option<i64>>; 4] = [None, Some(None), Some(Some(5)), Some(Some(12))];

/// Goes on with what was left, and checks that the books are right; how many pence were left.
async fn recover(path: &Path, death: &str) -> Option<Option<i64>> {
    let found = books(path);
    if found.is_some() {
        end_leases(path);
    }
    serve(open(path)).await;
    let served = books(path).map(|(pence, notes, waiting, _)| (pence, notes, waiting));
    let whole = [(None, None, 0), (Some(5), Some(1), 0), (Some(12), Some(2), 0)];
    assert!(served.is_some_and(|it| whole.contains(&it)), "{death}; {found:?}, then {served:?}");
    // The sender may have had no answer: it sends again.
    work(path).await;
    let right = Some((Some(12), Some(2), 0, 1));
    assert_eq!(books(path), right, "{death}; {found:?} was left, then {served:?}");
    found.map(|(pence, ..)| pence)
}

/// Kills a worker at one statement after the other, until one ends by itself.
async fn kill_everywhere(side: &str, first: i64) {
    let mut number = first;
    let mut left = BTreeSet::new();
    loop {
        let folder = tempfile::tempdir().unwrap();
        let path: PathBuf = folder.path().join("bank.db");
        let ended = child(&path, &format!("{side} {number}"));
        left.insert(recover(&path, &format!("killed {side} statement {number}")).await);
        match ended.signal() {
            Some(SIGNAL_OF_ABORT) => number += STEP,
            _ => break assert!(ended.success(), "{ended}"),
        }
        assert!(number < 3_000, "it never ends");
    }
    assert_eq!(left, BTreeSet::from(STAGES), "killed up to statement {number}");
    assert!(number > 100, "only {number} statements");
}

macro_rules! kills {
    ($($name:ident: $side:literal, $first:literal;)+) => {$(
        #[tokio::test]
        async fn $name() {
            kill_everywhere($side, $first).await;
        }
    )+};
}

kills! {
    killed_before_any_statement_first_of_three: "before", 1;
    killed_before_any_statement_second_of_three: "before", 2;
    killed_before_any_statement_third_of_three: "before", 3;
    killed_after_any_statement_first_of_three: "after", 1;
    killed_after_any_statement_second_of_three: "after", 2;
    killed_after_any_statement_third_of_three: "after", 3;
}

/// The log is only ever written on at its end: every prefix of it is what some death leaves behind,
/// within a statement or a commit. Here it stops in and after each frame of a whole run.
async fn stop_everywhere(every: usize, first: usize) {
    let folder = tempfile::tempdir().unwrap();
    let (path, copy) = (folder.path().join("bank.db"), folder.path().join("copy.db"));
    let log = |path: &Path| PathBuf::from(format!("{}-wal", path.display()));
    Connection::open(&path).unwrap().pragma_update(None, "journal_mode", "WAL").unwrap();
    // While somebody reads, the log stays.
    let reader = Connection::open(&path).unwrap();
    let reading = reader.unchecked_transaction().unwrap();
    reading.query_row("SELECT count(*) FROM sqlite_schema", (), |_| Ok(())).unwrap();
    work(&path).await;

    let written = std::fs::read(log(&path)).unwrap();
    let mut left = BTreeSet::new();
    let frames = (LOG_HEADER..=written.len()).step_by(FRAME);
    let stops = frames.flat_map(|start| [start, start + FRAME / 2]);
    for stop in stops.filter(|stop| *stop <= written.len()).skip(first).step_by(every) {
        std::fs::copy(&path, &copy).unwrap();
        std::fs::write(log(&copy), &written[..stop]).unwrap();
        left.insert(recover(&copy, &format!("the log stopped at byte {stop}")).await);
        for ending in ["", "-wal", "-shm"] {
            // Closing removes what lay beside it.
            let _ = std::fs::remove_file(format!("{}{ending}", copy.display()));
        }
    }
    assert_eq!(left, BTreeSet::from(STAGES));
}

#[tokio::test]
async fn the_log_stopped_anywhere_first_of_two() {
    stop_everywhere(2, 0).await;
}

#[tokio::test]
async fn the_log_stopped_anywhere_second_of_two() {
    stop_everywhere(2, 1).await;
}
