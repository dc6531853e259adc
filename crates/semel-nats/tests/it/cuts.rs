//! A connection that is cut at each piece it sends, one by one, and the books compared.

use std::time::{Duration, Instant};

use semel_core::Broker as _;
use semel_core::broker::{DeadReason, Delivery, Receive, SendOutcome, SettleOutcome, Settlement};
use semel_nats::{Nats, Options};
use semel_servers::{Cut, Framing, Proxy};
use tokio::task::JoinSet;

use crate::messages::failure;
use crate::rig::{LONG, NatsRig, address_of, dead_letters, fresh, message, receive, send, until};

/// More pieces than a message's life takes.
const PIECES: u32 = 16;
const LEASE: Duration = Duration::from_secs(4);

/// What the worker behind the cut knows.
#[derive(Debug, Default)]
struct Known {
    is_sent: bool,
    is_received: bool,
    is_settled: bool,
    was_cut: bool,
}

/// What another finds.
#[derive(Debug)]
struct Found {
    deliveries: Vec<Delivery>,
    dead: usize,
    records: u64,
}

/// A message's life, with the connection cut once.
async fn live(settlement: Settlement, cut: Cut) -> (Known, Found) {
    let mut rig = fresh().await;
    let direct = rig.address.clone();
    let port: u16 = direct.rsplit_once(':').unwrap().1.parse().unwrap();
    let proxy = Proxy::start(port, Framing::Pieces).unwrap();
    let options = Options { call_timeout: Duration::from_secs(1), ..rig.options.clone() };
    rig.options = options.clone();
    let address = address_of(&proxy);
    // Many lives begin at once, on a server that they keep busy.
    let limit = Duration::from_secs(20);
    let nats = until(limit, || Nats::connect(&address, options.clone())).await;
    assert!(until(limit, || receive(&nats, 1, LEASE, Duration::ZERO)).await.is_empty());

    proxy.cut(cut);
    let is_sent = matches!(send(&nats, message("1")).await, SendOutcome::Sent);
    let mut known = Known { is_sent, ..Known::default() };
    // What was handed out to a connection that was cut comes again a little later.
    let wait = rig.options.hand_over * 2;
    let received = until(limit, || receive(&nats, 1, LEASE, wait)).await;
    let since = Instant::now();
    if let Some(delivery) = received.first() {
        known.is_received = true;
        known.is_settled = settle(&nats, delivery, settlement, since).await;
    }
    known.was_cut = proxy.has_cut();
    // A worker goes on receiving: what it could not remove, it removes then.
    let elsewhere =
        Receive { endpoint: "elsewhere".to_owned(), max: 1, lease: LEASE, wait: Duration::ZERO };
    until(limit, || nats.receive(&elsewhere)).await;
    proxy.heal();
    (known, look(&rig, &direct).await)
}

/// Settles as a host does: again, while nobody knows. Returns whether it is certain.
async fn settle(nats: &Nats, delivery: &Delivery, settlement: Settlement, since: Instant) -> bool {
    let mut is_in_doubt = false;
    loop {
        match nats.settle(&delivery.receipt, settlement.clone()).await {
            SettleOutcome::Settled => return true,
            SettleOutcome::Unknown(_) if since.elapsed() < LEASE * 2 => is_in_doubt = true,
            SettleOutcome::Unknown(error) => panic!("{error}"),
            // What was in doubt was done, or the lease is over.
            SettleOutcome::Stale => {
                assert!(is_in_doubt || since.elapsed() > LEASE, "stale under its lease");
                return false;
            }
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// What another worker finds, when every lease has ended.
async fn look(rig: &NatsRig, address: &str) -> Found {
    let options = Options { call_timeout: Duration::from_secs(10), ..rig.options.clone() };
    let nats = Nats::connect(address, options).await.unwrap();
    let start = Instant::now();
    let mut deliveries = Vec::new();
    while start.elapsed() < LEASE * 2 {
        let wait = Duration::from_millis(500);
        let limit = Duration::from_secs(30);
        deliveries.extend(until(limit, || receive(&nats, 10, LONG, wait)).await);
    }
    let dead = dead_letters(&nats).await.len();
    let bare = rig.bare().await;
    let subject = format!("$JS.API.STREAM.INFO.{}", rig.state_stream());
    let info = bare.request(subject, "".into()).await.unwrap();
    let info: serde_json::Value = serde_json::from_slice(&info.payload).unwrap();
    Found { deliveries, dead, records: info["state"]["messages"].as_u64().unwrap() }
}

/// Cuts everywhere, and judges what is found by what is known.
async fn cut_everywhere(settlement: Settlement, judge: fn(&Found) -> bool) {
    let mut lives = JoinSet::new();
    for number in 1..=PIECES {
        for cut in [Cut::Before(number), Cut::Within(number), Cut::After(number)] {
            let life = live(settlement.clone(), cut);
            lives.spawn(async move { (cut, life.await) });
        }
    }
    let (mut cuts, mut whole) = (0, 0);
    for (cut, (known, found)) in lives.join_all().await {
        let told = format!("{cut:?}: {known:?} {found:?}");
        let copies = found.deliveries.len() + found.dead;
        assert!(copies <= 1, "more than one copy: {told}");
        assert!(!known.is_sent || known.is_received, "a sent message is lost: {told}");
        // The last message of a queue stays, with its record, until there is another.
        assert!(found.records <= copies.max(1) as u64, "garbage: {told}");
        if known.is_received {
            let may_be = if known.is_settled { judge(&found) } else { true };
            let removed = matches!(settlement, Settlement::Ack);
            assert!(may_be && (removed || copies == 1), "{told}");
        }
        cuts += u32::from(known.was_cut);
        whole += u32::from(!known.was_cut && known.is_settled);
    }
    assert!(cuts > 5 && whole > 0, "{cuts} {whole}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_acknowledged_is_gone_wherever_it_is_cut() {
    cut_everywhere(Settlement::Ack, |found| found.deliveries.is_empty() && found.dead == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_retried_comes_again_wherever_it_is_cut() {
    let retry = Settlement::Retry { after: Duration::ZERO, failure: failure() };
    cut_everywhere(retry, |found| {
        found
            .deliveries
            .first()
            .is_some_and(|again| again.deliveries >= 2 && again.failure_count == 1)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_parked_stays_parked_wherever_it_is_cut() {
    let (reason, failure) = (DeadReason::HandlerFailed, failure());
    let park = Settlement::DeadLetter { reason, failure, entity: None };
    cut_everywhere(park, |found| found.deliveries.is_empty() && found.dead == 1).await;
}
