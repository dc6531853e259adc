//! A primary that dies, and a replica that takes over.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use semel_core::Backend;
use semel_core::store::Trouble;
use semel_postgres::{Options, Postgres};
use semel_servers::{Durability, Postgres as Server, Standby};

use crate::outages::depositor;
use crate::work::{account, deposit, deposit_and_check, host};

fn options() -> Options {
    Options { answer_wait: Duration::from_secs(3), ..Options::default() }
}

fn folder(name: &str) -> std::path::PathBuf {
    semel_servers::folder().join("tests").join(name)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_go_on_by_themselves_with_the_replica_that_takes_over() {
    let mut primary = Server::start(&folder("postgres-primary"), Durability::Kill).unwrap();
    let standby = Standby::of(&primary, &folder("postgres-standby")).unwrap();
    let address = format!(
        "postgres://postgres@127.0.0.1:{},127.0.0.1:{}/postgres?target_session_attrs=read-write",
        primary.port(),
        standby.port()
    );
    let open = || async {
        Backend::in_one(Arc::new(Postgres::connect_with(&address, options()).await.unwrap()))
    };
    let (backend, stop) = (open().await, Arc::new(AtomicBool::new(false)));
    let depositor = tokio::spawn(depositor(open().await, stop.clone()));
    let (end, ended) = tokio::sync::watch::channel(false);
    let hosts = [open().await, open().await].map(|backend| {
        let mut ended = ended.clone();
        let stop = async move {
            let _ = ended.wait_for(|ended| *ended).await;
        };
        tokio::spawn(host(backend).run(stop))
    });
    while account(&backend, "notes").await.count < 20 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    primary.kill();
    // For a while there is nobody who writes.
    let error = deposit(&backend, "in between").await.unwrap_err();
    assert!(error.is_passing(), "{error}");
    standby.promote().unwrap();
    let before: i64 = standby.run("SELECT count(*) FROM semel.inbox").unwrap().parse().unwrap();
    let is_past = format!("SELECT count(*) > {before} + 40 FROM semel.inbox");
    while standby.run(&is_past).unwrap() != "t" {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    stop.store(true, Ordering::SeqCst);
    let deposits = depositor.await.unwrap();
    end.send(true).unwrap();
    for host in hosts {
        host.await.unwrap().unwrap();
    }
    standby.run("UPDATE semel.queue SET leased_until = now()").unwrap();
    host(backend.clone()).run_until_idle().await.unwrap();
    // The one in between was refused, or nobody knows.
    let books = account(&backend, "account").await;
    let extra = books.count - deposits;
    assert!((0..=1).contains(&extra), "{} of {deposits}", books.count);
    assert_eq!(books.pence, 5 * books.count);
    assert_eq!(account(&backend, "notes").await.count, books.count);
    assert_eq!(standby.run("SELECT count(*) FROM semel.queue").unwrap(), "0");
    assert_eq!(standby.run("SELECT count(*) FROM semel.dead_letter").unwrap(), "0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_alone_is_refused_and_beside_its_primary_passed_over() {
    let primary = Server::start(&folder("postgres-primary-2"), Durability::Kill).unwrap();
    let standby = Standby::of(&primary, &folder("postgres-standby-2")).unwrap();
    drop(Postgres::connect_with(&primary.address(), options()).await.unwrap());
    let alone = Postgres::connect_with(&standby.address(), options()).await.unwrap_err();
    let text = alone.to_string();
    assert_eq!(alone.trouble, Trouble::Broken, "{text}");
    assert!(text.contains("a replica") && text.contains("target_session_attrs"), "{text}");
    let both = format!(
        "postgres://postgres@127.0.0.1:{},127.0.0.1:{}/postgres?target_session_attrs=read-write",
        standby.port(),
        primary.port()
    );
    let place = Postgres::connect_with(&both, options()).await.unwrap();
    deposit_and_check(Backend::in_one(Arc::new(place))).await;
}
