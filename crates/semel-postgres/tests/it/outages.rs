//! Servers that die, stop and fill up in the middle of work.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use semel_core::Backend;
use semel_postgres::{Options, Postgres};
use semel_servers::{Durability, Postgres as Server};

use crate::work::{account, deposit, host};

fn options() -> Options {
    Options { answer_wait: Duration::from_secs(3), ..Options::default() }
}

/// Sends deposits until told to stop, each under its own id until it is surely queued; how many.
pub(crate) async fn depositor(backend: Backend, stop: Arc<AtomicBool>) -> i64 {
    let mut number = 0;
    while !stop.load(Ordering::SeqCst) {
        number += 1;
        let id = format!("d{number}");
        while deposit(&backend, &id).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    number
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_again_and_again_loses_and_doubles_nothing() {
    let folder = semel_servers::folder().join("tests/postgres-killed");
    let mut server = Server::start(&folder, Durability::Kill).unwrap();
    let open = || async {
        Backend::in_one(Arc::new(
            Postgres::connect_with(&server.address(), options()).await.unwrap(),
        ))
    };
    let backends = [open().await, open().await];
    let stop = Arc::new(AtomicBool::new(false));
    let depositor = tokio::spawn(depositor(open().await, stop.clone()));
    let (end, ended) = tokio::sync::watch::channel(false);
    let hosts = backends.clone().map(|backend| {
        let mut ended = ended.clone();
        let stop = async move {
            let _ = ended.wait_for(|ended| *ended).await;
        };
        tokio::spawn(host(backend).run(stop))
    });
    for round in 0..4 {
        tokio::time::sleep(Duration::from_millis(400)).await;
        if round % 2 == 0 {
            server.kill();
        } else {
            server.stop().unwrap();
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        server.resume().unwrap();
    }
    tokio::time::sleep(Duration::from_millis(400)).await;
    stop.store(true, Ordering::SeqCst);
    let deposits = depositor.await.unwrap();
    end.send(true).unwrap();
    for host in hosts {
        host.await.unwrap().unwrap();
    }
    // Leases of attempts that the server cut off.
    server.run("UPDATE semel.queue SET leased_until = now()").unwrap();
    host(backends[0].clone()).run_until_idle().await.unwrap();
    assert!(deposits > 20, "only {deposits} deposits: too little was under way");
    let books = account(&backends[0], "account").await;
    assert_eq!((books.count, books.pence), (deposits, 5 * deposits));
    assert_eq!(account(&backends[0], "notes").await.count, deposits);
    assert_eq!(server.run("SELECT count(*) FROM semel.queue").unwrap(), "0");
    assert_eq!(server.run("SELECT count(*) FROM semel.dead_letter").unwrap(), "0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_stands_still_is_waited_for_no_longer_than_told() {
    let folder = semel_servers::folder().join("tests/postgres-still");
    let server = Server::start(&folder, Durability::Kill).unwrap();
    let quick = Options { answer_wait: Duration::from_millis(300), ..options() };
    let place = Arc::new(Postgres::connect_with(&server.address(), quick).await.unwrap());
    let backend = Backend::in_one(place);
    deposit(&backend, "a").await.unwrap();
    let sessions = "SELECT pid FROM pg_stat_activity WHERE application_name = 'semel'";
    let pids: Vec<String> = server.run(sessions).unwrap().lines().map(str::to_owned).collect();
    assert!(!pids.is_empty());
    let signal = |name: &str| {
        let all = std::process::Command::new("kill").arg(name).args(&pids).status();
        assert!(all.unwrap().success());
    };
    signal("-STOP");
    let error = deposit(&backend, "b").await.unwrap_err();
    assert!(error.is_passing() && error.to_string().contains("no answer"), "{error}");
    // The next one goes over a new connection.
    deposit(&backend, "c").await.unwrap();
    signal("-CONT");
    host(backend.clone()).run_until_idle().await.unwrap();
    // What had no answer was done all the same, once the session went on.
    let count = account(&backend, "account").await.count;
    assert!((2..=3).contains(&count), "{count}");
}
