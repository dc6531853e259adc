//! Opening what is there, what is not, and what is something else.

use std::collections::BTreeMap;
use std::path::Path;

use rusqlite::Connection;
use semel_core::operator::{DeadLetterFilter, Operator as _};
use semel_core::store::{Trouble, WriteOutcome};
use semel_core::{Store, StoreError};
use semel_sqlite::{Missing, Options, Sqlite};

use crate::child;
use crate::rig::{Rig, applied, assert_says, entity, put, send, take, value};

fn open(path: &Path, missing: Missing) -> Result<Sqlite, StoreError> {
    Sqlite::open_with(path, Options { missing, ..Options::default() })
}

/// How many messages somebody sees who looks.
async fn waiting(file: &Sqlite) -> u64 {
    // The clocks of those who send and those who look may differ here.
    let report = file.inspect().await.unwrap();
    report.endpoints.values().map(|endpoint| endpoint.ready + endpoint.delayed).sum()
}

fn shell(path: &Path, sql: &str) {
    Connection::open(path).unwrap().execute_batch(sql).unwrap();
}

/// Every file in a folder, with its bytes.
fn content(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let files = std::fs::read_dir(folder).unwrap().map(Result::unwrap);
    let files = files.filter(|entry| entry.file_type().unwrap().is_file());
    let name = |entry: &std::fs::DirEntry| entry.file_name().into_string().unwrap();
    files.map(|entry| (name(&entry), std::fs::read(entry.path()).unwrap())).collect()
}

#[tokio::test]
async fn a_new_file_is_made_and_found_again() {
    let rig = Rig::new();
    applied(rig.open().write(vec![put(entity("alice"), "1")]).await);
    for missing in [Missing::Create, Missing::Refuse] {
        let file = open(&rig.path(), missing).unwrap();
        assert_eq!(value(&file, entity("alice")).await.unwrap(), "1");
        assert_eq!(file.path(), rig.path());
        assert_eq!(format!("{file:?}"), format!("sqlite:{}", rig.path().display()));
    }
    assert_eq!(content(rig.folder()).len(), 1, "nothing else is left beside a closed file");
}

#[test]
fn an_empty_file_becomes_ours() {
    let rig = Rig::new();
    std::fs::write(rig.path(), b"").unwrap();
    drop(rig.open());
    assert_eq!(rig.ask::<i64>("PRAGMA user_version"), 2);
}

fn cut(path: &Path, bytes: usize) {
    let sound = std::fs::read(path).unwrap();
    std::fs::write(path, &sound[..bytes]).unwrap();
}

fn ours(path: &Path) {
    drop(Sqlite::open(path).unwrap());
}

/// What lies there, how it is opened, and what the error says.
type Case = (&'static str, fn(&Path), &'static [Missing], &'static [&'static str]);

const BOTH: &[Missing] = &[Missing::Create, Missing::Refuse];

const NOT_OURS: &[Case] = &[
    ("a folder", |path| std::fs::create_dir(path).unwrap(), BOTH, &["this is a folder"]),
    ("nothing", |_| {}, &[Missing::Refuse], &["No such file", "a worker makes the file"]),
    (
        "nothing in it",
        |path| std::fs::write(path, b"").unwrap(),
        &[Missing::Refuse],
        &["the file is empty", "a worker makes the tables"],
    ),
    (
        "a few bytes",
        |path| std::fs::write(path, b"hello").unwrap(),
        BOTH,
        &["Something else is in this file"],
    ),
    (
        "many bytes",
        |path| std::fs::write(path, [b'7'; 50_000]).unwrap(),
        BOTH,
        &["Something else is in this file"],
    ),
    (
        "another's tables",
        |path| shell(path, "CREATE TABLE t (x); INSERT INTO t VALUES (1)"),
        BOTH,
        &["belongs to another program", "Name another file"],
    ),
    (
        "another's tables and log",
        |path| shell(path, "PRAGMA journal_mode = wal; CREATE TABLE t (x)"),
        BOTH,
        &["belongs to another program"],
    ),
    (
        "another's mark",
        |path| shell(path, "PRAGMA application_id = 7; CREATE TABLE entity (x)"),
        BOTH,
        &["belongs to another program"],
    ),
    (
        "a newer file",
        |path| {
            ours(path);
            shell(path, "PRAGMA user_version = 3");
        },
        BOTH,
        &["version 3", "up to 2", "newer version of Semel"],
    ),
    (
        "an older file, to look at",
        |path| {
            ours(path);
            shell(path, "PRAGMA user_version = 1");
        },
        &[Missing::Refuse],
        &["version 1", "needs version 2", "Start a worker of this version"],
    ),
    (
        "half a page",
        |path| {
            ours(path);
            cut(path, 2_000);
        },
        BOTH,
        &["restore a backup"],
    ),
    (
        "half a file",
        |path| {
            ours(path);
            cut(path, 40_960);
        },
        BOTH,
        &["restore a backup"],
    ),
];

#[test]
fn what_is_not_ours_is_refused_and_left_as_it_was() {
    for (name, make, ways, words) in NOT_OURS {
        for missing in *ways {
            let rig = Rig::new();
            make(&rig.path());
            let before = content(rig.folder());
            let error = open(&rig.path(), *missing).unwrap_err();
            println!("{name}: {error}");
            assert_says(&error, Trouble::Broken, words);
            assert_says(&error, Trouble::Broken, &[rig.path().to_str().unwrap(), "open failed"]);
            assert_eq!(content(rig.folder()), before, "{name}, {missing:?}");
        }
    }
}

#[test]
fn a_missing_folder_is_named_and_not_made() {
    let rig = Rig::new();
    let path = rig.folder().join("no").join("place.db");
    let error = open(&path, Missing::Create).unwrap_err();
    assert_says(&error, Trouble::Broken, &["Check that the folder exists"]);
    let error = open(&path, Missing::Refuse).unwrap_err();
    assert_says(&error, Trouble::Broken, &["No such file"]);
    assert_eq!(std::fs::read_dir(rig.folder()).unwrap().count(), 0);
}

#[tokio::test]
async fn looking_creates_and_changes_nothing() {
    let rig = Rig::new();
    let file = rig.open();
    send(&file, "m-1").await;
    drop(file);
    let before = content(rig.folder());
    let file = open(&rig.path(), Missing::Refuse).unwrap();
    assert_eq!(waiting(&file).await, 1);
    let filter = DeadLetterFilter { limit: 9, ..DeadLetterFilter::default() };
    assert!(file.dead_letters(&filter).await.unwrap().is_empty());
    drop(file);
    assert_eq!(content(rig.folder()), before);
}

/// `VACUUM INTO` and other ways to copy a file leave the log's mark out. Without a log, readers and
/// the writer would wait for each other.
#[tokio::test]
async fn a_file_from_a_backup_gets_its_log_again() {
    let rig = Rig::new();
    send(&rig.open(), "m-1").await;
    let copy = rig.folder().join("copy.db");
    shell(&rig.path(), &format!("VACUUM INTO '{}'", copy.display()));
    let mode = || crate::rig::ask::<String>(&copy, "PRAGMA journal_mode");
    let look = open(&copy, Missing::Refuse).unwrap();
    assert_eq!(waiting(&look).await, 1);
    assert_eq!(mode(), "delete", "looking changes nothing");
    let file = Sqlite::open_with(&copy, rig.options()).unwrap();
    assert_eq!(mode(), "wal");
    send(&file, "m-2").await;
    assert_eq!(waiting(&look).await, 2, "whoever looks goes on looking");
}

#[test]
fn many_may_open_a_new_file_at_once() {
    for _ in 0..10 {
        let rig = Rig::new();
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
        assert_eq!(rig.ask::<i64>("SELECT count(*) FROM counter"), 1);
    }
}

/// In a child that may only read: looks, then tries to work.
pub(crate) fn look(path: &Path, _: &str) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    for missing in [Missing::Create, Missing::Refuse] {
        match open(path, missing) {
            Err(error) => child::tell(&format!("{missing:?} {:?} {error}", error.trouble)),
            Ok(file) => runtime.block_on(async {
                child::tell(&format!("{missing:?} sees {}", waiting(&file).await));
                match file.write(vec![put(entity("late"), "1")]).await {
                    WriteOutcome::Refused(error) => {
                        child::tell(&format!("write {:?} {error}", error.trouble));
                    }
                    other => child::tell(&format!("write {other:?}")),
                }
            }),
        }
    }
}

/// Runs the role `look` as somebody who may only read the file and its folder.
#[cfg(unix)]
fn look_without_rights(rig: &Rig) -> Vec<String> {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
    use std::os::unix::process::CommandExt as _;
    let allow = |path: &Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    let mut command = child::command("look", &rig.path(), "");
    let is_root = std::fs::metadata(rig.folder()).unwrap().uid() == 0;
    let copy = tempfile::tempdir().unwrap();
    if is_root {
        // Nobody stops this user, so the child becomes another one. It may not reach this binary.
        let binary = copy.path().join("binary");
        std::fs::copy(std::env::current_exe().unwrap(), &binary).unwrap();
        allow(copy.path(), 0o755);
        command = std::process::Command::new(binary);
        command.args(child::ARGUMENTS).uid(1).gid(1);
        child::prepare(&mut command, "look", &rig.path(), "");
    }
    let paths = || crate::rig::files(&rig.path()).into_iter().filter(|path| path.exists());
    paths().for_each(|path| allow(&path, 0o444));
    allow(rig.folder(), 0o555);
    let told = child::run(command);
    allow(rig.folder(), 0o755);
    paths().for_each(|path| allow(&path, 0o644));
    told
}

#[cfg(unix)]
#[tokio::test]
async fn whoever_may_only_read_can_look_while_a_worker_runs() {
    let rig = Rig::new();
    let file = rig.open();
    send(&file, "m-1").await;
    let told = look_without_rights(&rig);
    let [create, look, write] = &told[..] else { panic!("{told:#?}") };
    assert!(create.starts_with("Create Broken"), "{create}");
    assert!(create.contains("this user may only read the file"), "{create}");
    assert_eq!(look, "Refuse sees 1");
    assert!(write.starts_with("write Broken"), "{write}");
    assert!(write.contains("Make the file and its folder writable"), "{write}");
    applied(file.write(vec![put(entity("alice"), "1")]).await);
    assert_eq!(rig.ask::<i64>("SELECT count(*) FROM entity"), 1);
}

#[cfg(unix)]
#[tokio::test]
async fn whoever_may_only_read_is_told_so_when_no_worker_runs() {
    let rig = Rig::new();
    send(&rig.open(), "m-1").await;
    let told = look_without_rights(&rig);
    assert_eq!(told.len(), 2, "{told:#?}");
    for told in told {
        assert!(told.contains("Broken"), "{told}");
        assert!(told.contains("may only read can look while a worker runs"), "{told}");
    }
    assert_eq!(content(rig.folder()).len(), 1, "nothing was left that a worker could not write");
    assert_eq!(take(&rig.open(), 9).await.len(), 1);
}
