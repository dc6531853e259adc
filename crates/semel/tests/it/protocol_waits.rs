//! How long committed effects wait when the worker dies right after its commit, and no other message
//! comes.

use semel::prelude::*;
use semel::{Settings, Transactional};

use crate::bank::{Account, accounts, audit, to};
use crate::costs::{Origin, Scene};
use crate::fault::{Call, Fault, Tap};
use crate::rig::{Books, Home, Rig, host, work_off};

/// Lets a worker take the one message, commit, and die.
async fn die_after_commit(rig: &Rig, scene: Scene) {
    rig.backend().send("accounts", to("alice", 7)).await.unwrap();
    let commit = scene.commit();
    let tap = Tap::new(move |call, nth| match call {
        Call::Write if nth == commit => Fault::DiesAfter,
        _ => Fault::None,
    });
    let [accounts, _] = endpoints(scene);
    let worker = tokio::spawn(host(&tap.on(rig.backend()), [accounts]).run(std::future::pending()));
    tap.dead().await;
    worker.abort();
    assert!(worker.await.unwrap_err().is_cancelled());
    assert_eq!((tap.count(Call::Send), tap.count(Call::Settle)), (0, 0), "{scene:?}");
}

fn endpoints(scene: Scene) -> [Endpoint; 2] {
    [accounts(), audit()].map(|endpoint| endpoint.shared_protocol(scene.protocol()))
}

fn at(rig: &Rig, endpoint: &str) -> Option<u64> {
    rig.state::<Account>(endpoint, "alice").map(|account| account.deposits)
}

#[tokio::test(flavor = "multi_thread")]
async fn effects_of_a_worker_that_died_after_its_commit_wait_for_its_lease_and_no_longer() {
    let names = semel::core::protocols::all().into_iter().map(|protocol| protocol.name());
    for protocol in names.filter(|name| *name != "transactional") {
        for home in Home::BOTH {
            let rig = Rig::at(home);
            let scene = Scene { protocol, origin: Origin::Outside, home };
            die_after_commit(&rig, scene).await;
            assert_eq!(at(&rig, "accounts"), Some(1), "{scene:?}: committed");

            let lease = Settings::default().lease;
            rig.advance(lease - std::time::Duration::from_millis(1));
            work_off(&rig.backend(), endpoints(scene)).await;
            assert_eq!(at(&rig, "audit"), None, "{scene:?}: as long as the lease lasts");

            rig.advance(std::time::Duration::from_millis(1));
            work_off(&rig.backend(), endpoints(scene)).await;
            assert_eq!(at(&rig, "audit"), Some(1), "{scene:?}: when it has ended");
            assert_eq!(rig.books().queued, 0, "{scene:?}");
            let deposits = if protocol == "at-least-once" { 2 } else { 1 };
            assert_eq!(at(&rig, "accounts"), Some(deposits), "{scene:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn effects_in_the_file_of_the_state_do_not_wait_at_all() {
    let rig = Rig::new();
    let scene = Scene { protocol: "transactional", origin: Origin::Outside, home: Home::Inside };
    die_after_commit(&rig, scene).await;
    work_off(&rig.backend(), endpoints(scene)).await;
    assert_eq!((at(&rig, "accounts"), at(&rig, "audit")), (Some(1), Some(1)));
    assert_eq!(rig.books(), Books { inbox: 2, ..Books::default() });
}

/// Any worker of the endpoint will do, and the message does not come again.
#[tokio::test(flavor = "multi_thread")]
async fn effects_in_the_outbox_wait_for_the_finisher_alone() {
    let rig = Rig::at(Home::Apart);
    let scene = Scene { protocol: "transactional", origin: Origin::Outside, home: Home::Apart };
    die_after_commit(&rig, scene).await;
    assert_eq!(rig.books(), Books { queued: 1, inbox: 1, outbox: 1, ..Books::default() });

    let tap = Tap::counting();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let idle = accounts().protocol(Transactional::default());
    let finisher = host(&tap.on(rig.backend()), [idle]).run(async { drop(stopped.await) });
    let finisher = tokio::spawn(finisher);
    // It clears the record once the effects are out.
    tap.answered(Call::Write, 1).await;
    drop(stop);
    finisher.await.unwrap().unwrap();
    assert_eq!((tap.count(Call::Settle), rig.books().outbox), (0, 0));

    let [_, audit] = endpoints(scene);
    work_off(&rig.backend(), [audit]).await;
    assert_eq!((at(&rig, "accounts"), at(&rig, "audit")), (Some(1), Some(1)));
    assert_eq!(rig.books().queued, 1, "its delivery is still leased");
}
