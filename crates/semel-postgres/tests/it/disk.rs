//! A server whose disk is full.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use semel_core::store::Trouble;
use semel_core::{Backend, HostError};
use semel_postgres::{Options, Postgres};
use semel_servers::{Durability, Postgres as Server};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::outages::depositor;
use crate::work::{Deposit, account, deposit, host};

const MIB: u64 = 1024 * 1024;

/// A small disk of its own for a server. Dropping it takes it away.
struct Disk {
    path: PathBuf,
}

impl Disk {
    fn new(name: &str) -> Self {
        let path = semel_servers::folder().join("tests").join(name);
        std::fs::create_dir_all(&path).unwrap();
        let disk = Self { path };
        disk.unmount();
        let size = ["-t", "tmpfs", "-o", "size=192m,mode=755", "tmpfs"];
        let mounted = as_root("mount").args(size).arg(&disk.path).status().unwrap();
        assert!(
            mounted.success(),
            "a disk can only be made by root, or with `sudo`: run this as root"
        );
        disk
    }

    fn server(&self) -> PathBuf {
        self.path.join("server")
    }

    fn ballast(&self) -> PathBuf {
        self.path.join("ballast")
    }

    /// Fills it, but for so many bytes.
    fn fill(&self, left: u64) {
        let mut ballast = File::create(self.ballast()).unwrap();
        let piece = vec![0; 64 * 1024];
        while ballast.write_all(&piece).is_ok() {}
        let length = ballast.metadata().unwrap().len();
        ballast.set_len(length.saturating_sub(left)).unwrap();
    }

    fn make_room(&self) {
        std::fs::remove_file(self.ballast()).unwrap();
    }

    fn unmount(&self) {
        // Nothing is mounted there, most of the time.
        let mut umount = as_root("umount");
        let _ = umount.arg("-l").arg(&self.path).stderr(Stdio::null()).status();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.unmount();
    }
}

fn as_root(program: &str) -> Command {
    let id = Command::new("id").arg("-u").output().unwrap();
    if id.stdout.trim_ascii() == b"0" {
        return Command::new(program);
    }
    let mut sudo = Command::new("sudo");
    sudo.arg("-n").arg(program);
    sudo
}

/// Two workers and a depositor, until they are told to stop.
struct Work {
    stop: Arc<AtomicBool>,
    end: watch::Sender<bool>,
    depositor: JoinHandle<i64>,
    hosts: Vec<JoinHandle<Result<(), HostError>>>,
}

async fn open(address: &str) -> Backend {
    let options = Options { answer_wait: Duration::from_secs(3), ..Options::default() };
    Backend::in_one(Arc::new(Postgres::connect_with(address, options).await.unwrap()))
}

impl Work {
    async fn start(address: &str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let end = watch::Sender::new(false);
        let mut hosts = Vec::new();
        for _ in 0..2 {
            let (backend, mut ended) = (open(address).await, end.subscribe());
            hosts.push(tokio::spawn(host(backend).run(async move {
                let _ = ended.wait_for(|ended| *ended).await;
            })));
        }
        let depositor = tokio::spawn(depositor(open(address).await, stop.clone()));
        Self { stop, end, depositor, hosts }
    }

    /// Ends it, and checks the books: each deposit once, and nothing left.
    async fn end(self, server: &Server, backend: &Backend, others: i64) {
        self.stop.store(true, Ordering::SeqCst);
        let deposits = self.depositor.await.unwrap() + others;
        self.end.send(true).unwrap();
        for host in self.hosts {
            host.await.unwrap().unwrap();
        }
        server.run("UPDATE semel.queue SET leased_until = now()").unwrap();
        host(backend.clone()).run_until_idle().await.unwrap();
        let books = account(backend, "account").await;
        assert_eq!((books.count, books.pence), (deposits, 5 * deposits));
        assert_eq!(account(backend, "notes").await.count, deposits);
        assert_eq!(server.run("SELECT count(*) FROM semel.queue").unwrap(), "0");
        assert_eq!(server.run("SELECT count(*) FROM semel.dead_letter").unwrap(), "0");
    }
}

/// Waits until so many more deposits are worked on than now.
async fn progress(backend: &Backend, more: i64) {
    let begun = account(backend, "notes").await.count;
    while account(backend, "notes").await.count < begun + more {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Letters that cannot be stored in less.
fn noise(length: usize) -> String {
    let mut state: u64 = 7;
    let letter = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        char::from(b'0' + (state >> 33) as u8 % 75)
    };
    (0..length).map(letter).filter(char::is_ascii_alphanumeric).collect()
}

fn start(path: &Path) -> Server {
    let settings = ["min_wal_size = 32MB", "max_wal_size = 64MB", "wal_recycle = off"];
    Server::start_with(path, Durability::Kill, &settings).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_and_loses_nothing() {
    let disk = Disk::new("disk-full");
    let server = start(&disk.server());
    let backend = open(&server.address()).await;
    let work = Work::start(&server.address()).await;
    progress(&backend, 20).await;
    // The log has a new segment before it: what cannot grow is the tables.
    server.run("SELECT pg_switch_wal()").unwrap();
    progress(&backend, 1).await;
    disk.fill(128 * 1024);
    let large = Deposit { account: noise(400_000), pence: 0 };
    let error = backend.send_as("large", "account", large).await.unwrap_err();
    assert_eq!(error.trouble, Trouble::Full, "{error}");
    let text = error.to_string();
    assert!(text.contains("could not extend") && text.contains("Free some room"), "{text}");
    // What is there can be read all the same.
    assert!(account(&backend, "account").await.count > 20);
    tokio::time::sleep(Duration::from_secs(1)).await;
    disk.make_room();
    progress(&backend, 20).await;
    deposit(&backend, "afterwards").await.unwrap();
    work.end(&server, &backend, 1).await;
}

/// The log cannot grow: the server itself gives up, and a person has to start it again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_gave_up_for_want_of_room_is_started_again_and_lost_nothing() {
    let disk = Disk::new("disk-log");
    let mut server = start(&disk.server());
    let backend = open(&server.address()).await;
    let work = Work::start(&server.address()).await;
    progress(&backend, 20).await;
    disk.fill(2 * MIB);
    while server.run("SELECT pg_switch_wal()").is_ok() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // Work waits for a server that cannot be had, and does not end.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(work.hosts.iter().all(|host| !host.is_finished()));
    disk.make_room();
    server.kill();
    server.resume().unwrap();
    progress(&backend, 20).await;
    work.end(&server, &backend, 0).await;
}
