//! A store's file that is deleted or replaced under a running host.

use std::path::{Path, PathBuf};
use std::time::Duration;

use semel::HostError;
use semel::prelude::*;

use crate::bank::{Account, accounts, accounts_async, audit, deposit, to};
use crate::gate::Gate;
use crate::rig::{Rig, host, work_off};

/// SQLite keeps its log beside the file.
fn files(path: &Path) -> [PathBuf; 3] {
    ["", "-wal", "-shm"].map(|end| PathBuf::from(format!("{}{end}", path.display())))
}

fn move_away(from: &Path, to: &Path) {
    for (from, to) in files(from).iter().zip(files(to)) {
        if from.exists() {
            std::fs::rename(from, to).unwrap();
        }
    }
}

/// What happens to the file while a handler is at work.
#[derive(Clone, Copy, Debug)]
enum Accident {
    Moved,
    Replaced,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_vanishes_ends_the_host_and_loses_nothing_acknowledged() {
    for accident in [Accident::Moved, Accident::Replaced] {
        let rig = Rig::new();
        let backend = rig.backend();
        for n in 0..10 {
            let account = format!("account-{n}");
            backend.send_as(&n.to_string(), "accounts", to(&account, n)).await.unwrap();
        }
        let gate = Gate::new();
        let waiting = gate.clone();
        let endpoint = accounts_async(move |account, message, ctx| {
            let gate = waiting.clone();
            Box::pin(async move {
                gate.pass().await;
                deposit(account, message, ctx);
                Ok(())
            })
        });
        let worker = tokio::spawn(host(&backend, [endpoint]).run(std::future::pending()));
        gate.arrived(10).await;

        let kept = rig.store_path().with_extension("kept");
        move_away(&rig.store_path(), &kept);
        if matches!(accident, Accident::Replaced) {
            drop(rig.open_store());
        }
        gate.open();
        let ended = worker.await.unwrap();
        let Err(HostError::Store(error)) = &ended else { panic!("{accident:?}: {ended:?}") };
        let text = error.to_string();
        assert!(text.contains("was deleted or replaced while it was in use"), "{text}");
        assert!(text.contains("Put the file back, then start the workers again"), "{text}");
        // Whoever sends now hears that it was not done.
        backend.send_as("late", "accounts", to("late", 1)).await.unwrap_err();
        drop(backend);

        for file in files(&rig.store_path()) {
            drop(std::fs::remove_file(file));
        }
        move_away(&kept, &rig.store_path());
        rig.advance(Duration::from_secs(3_600));
        work_off(&rig.backend(), [accounts(), audit()]).await;
        for n in 0..10 {
            let account = format!("account-{n}");
            assert_eq!(rig.state("accounts", &account), Some(Account::of(n, 1)), "{accident:?}");
            assert_eq!(rig.state("audit", &account), Some(Account::of(n, 1)), "{accident:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_vanishes_under_one_endpoint_ends_the_whole_host() {
    let rig = Rig::new();
    let backend = rig.backend();
    let gate = Gate::new();
    let waiting = gate.clone();
    let endpoint = accounts_async(move |account, message, ctx| {
        let gate = waiting.clone();
        Box::pin(async move {
            gate.pass().await;
            deposit(account, message, ctx);
            Ok(())
        })
    });
    backend.send("accounts", to("alice", 7)).await.unwrap();
    let idle =
        Endpoint::new("idle").handle(|_: &mut u8, _: crate::bank::Deposit, _: &mut Context| {});
    let worker = tokio::spawn(host(&backend, [endpoint, idle]).run(std::future::pending()));
    gate.arrived(1).await;
    for file in files(&rig.store_path()) {
        drop(std::fs::remove_file(file));
    }
    gate.open();
    let ended = worker.await.unwrap();
    assert!(matches!(ended, Err(HostError::Store(_))), "{ended:?}");
}
