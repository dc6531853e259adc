//! Real processes on one file, killed at any moment.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use semel::prelude::*;
use semel::{DeadReason, Settings, open};

use crate::bank::{Account, Deposit, Deposited, accounts, assert_ledger, audit, deposit, to};
use crate::rig::{Books, Rig, dead_letters, work_off};

/// Names the file to the worker process.
const FILE: &str = "SEMEL_CRASH_TEST_FILE";
/// How a worker that met the poison ends.
const POISONED: i32 = 86;
/// Starts the line that a worker prints for each attempt, whatever the test harness prints before.
const MARK: &str = "attempt";
const KILLS: usize = 20;
const MESSAGES: usize = 600;
const ACCOUNTS: usize = 15;

/// Tells the parent about an attempt, so that it can kill us right then.
fn tell() {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{MARK}").and_then(|()| out.flush()).unwrap();
}

/// The process of the first test; does nothing unless it was started by it.
#[test]
fn a_worker_process_works_until_it_is_killed() {
    let Ok(file) = std::env::var(FILE) else { return };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let told_deposit = |account: &mut Account, message: Deposit, ctx: &mut Context| {
        tell();
        deposit(account, message, ctx);
    };
    let told_note = |account: &mut Account, message: Deposited, _: &mut Context| {
        tell();
        account.pence += message.pence;
        account.deposits += 1;
    };
    let settings = Settings {
        concurrency: 8,
        held_max: 40,
        lease: Duration::from_millis(100),
        // Here processes die without any message being at fault.
        abandoned_max: u32::MAX,
        ..Settings::default()
    };
    let host = Host::new(runtime.block_on(open(&format!("sqlite:{file}"))).unwrap())
        .endpoint(Endpoint::new("accounts").handle(told_deposit).settings(settings))
        .endpoint(Endpoint::new("audit").handle(told_note).settings(settings));
    runtime.block_on(host.run(std::future::pending())).unwrap();
}

/// The process of the second test: works while there is anything to do, and dies of poison.
#[test]
fn a_worker_process_works_until_it_meets_the_poison() {
    let Ok(file) = std::env::var(FILE) else { return };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let handler = |account: &mut Account, message: Deposit, ctx: &mut Context| {
        if message.account == "poison" {
            std::process::exit(POISONED);
        }
        deposit(account, message, ctx);
    };
    let settings =
        Settings { lease: Duration::from_millis(60), abandoned_max: 30, ..Settings::default() };
    let host = Host::new(runtime.block_on(open(&format!("sqlite:{file}"))).unwrap())
        .endpoint(Endpoint::new("accounts").handle(handler).settings(settings));
    runtime.block_on(host.run_until_idle()).unwrap();
}

fn start_worker(file: &Path, name: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("crash::{name}"), "--nocapture"])
        .env(FILE, file)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Lets the worker make `attempts` attempts, then kills it without warning.
fn kill_after(mut worker: Child, attempts: usize) {
    let lines = BufReader::new(worker.stdout.take().unwrap()).lines();
    let told = lines.map_while(Result::ok).filter(|line| line.contains(MARK)).take(attempts);
    let told = told.count();
    worker.kill().unwrap();
    worker.wait().unwrap();
    assert_eq!(told, attempts, "the worker ended by itself");
}

/// A sequence that looks random and is the same in every run.
fn scatter(seed: usize) -> usize {
    let mixed = (seed as u64 ^ 0x5e3e_1000).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) as usize >> 33
}

fn message(n: usize) -> (String, Deposit) {
    (format!("m-{n}"), to(&format!("account-{}", n % ACCOUNTS), (n * n) as i64))
}

/// Sends one helping of new messages, with copies of these and of older ones in between.
async fn feed(backend: &Backend, helping: usize) {
    let share = MESSAGES / KILLS;
    for n in helping * share..(helping + 1) * share {
        let older = scatter(n) % (n + 1);
        for n in [n, older] {
            let (id, message) = message(n);
            backend.send_as(&id, "accounts", message).await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_twenty_kills_the_ledger_is_exact() {
    let rig = Rig::new();
    let path = rig.store_path();
    let backend = open(&format!("sqlite:{}", path.display())).await.unwrap();
    let mut interrupted = 0;
    for kill in 0..KILLS {
        let worker = start_worker(&path, "a_worker_process_works_until_it_is_killed");
        let feeder = backend.clone();
        let feeding = tokio::spawn(async move { feed(&feeder, kill).await });
        // Each helping makes at least sixty attempts, of new deposits and of their notes.
        let attempts = 1 + scatter(kill) % 55;
        tokio::task::spawn_blocking(move || kill_after(worker, attempts)).await.unwrap();
        feeding.await.unwrap();
        let held: u64 = rig.ask_queue("SELECT count(receipt) FROM queue").unwrap();
        interrupted += u64::from(held > 0);
    }
    assert!(interrupted > 0, "some workers died with messages in their hands");

    let patient = |endpoint: Endpoint| {
        endpoint.settings(Settings { abandoned_max: u32::MAX, ..Settings::default() })
    };
    while rig.books().queued > 0 {
        work_off(&backend, [patient(accounts()), patient(audit())]).await;
    }
    for account in 0..ACCOUNTS {
        let messages = (0..MESSAGES).filter(|n| n % ACCOUNTS == account);
        let pence = messages.clone().map(|n| (n * n) as i64).sum();
        let expected = Account::of(pence, messages.count() as u64);
        assert_ledger(&rig, &format!("account-{account}"), &expected);
    }
    let inbox = 2 * MESSAGES as u64;
    assert_eq!(rig.books(), Books { inbox, ..Books::default() });
    assert!(dead_letters(&backend).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_ends_its_workers_is_dead_lettered_and_takes_no_other_with_it() {
    let rig = Rig::new();
    let path = rig.store_path();
    let backend = open(&format!("sqlite:{}", path.display())).await.unwrap();
    backend.send("accounts", to("poison", 7)).await.unwrap();
    for n in 0..30 {
        backend.send("accounts", to(&format!("account-{n}"), n)).await.unwrap();
    }
    let mut deaths = 0;
    let waiting = "SELECT count(*) FROM queue WHERE endpoint = 'accounts'";
    while rig.ask_queue::<u64>(waiting) != Some(0) {
        let mut worker = start_worker(&path, "a_worker_process_works_until_it_meets_the_poison");
        let ended = tokio::task::spawn_blocking(move || worker.wait().unwrap()).await.unwrap();
        deaths += u32::from(ended.code() == Some(POISONED));
    }
    assert!(deaths > 1, "it ended worker after worker");
    let dead = dead_letters(&backend).await;
    assert_eq!(dead.len(), 1, "and is the only one to be blamed");
    assert_eq!(dead[0].reason, DeadReason::Abandoned);
    work_off(&backend, [audit()]).await;
    for n in 0..30 {
        assert_ledger(&rig, &format!("account-{n}"), &Account::of(n, 1));
    }
}
