//! Three servers that keep three copies, one of which dies.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use semel_core::broker::{SendOutcome, Settlement};
use semel_core::operator::{DeadLetterFilter, Operator as _};
use semel_nats::{Nats, Options};
use serde_json::{Value, json};

use crate::rig::{LONG, folder, fresh_options, id, message, receive, send, settled, until};

/// Three servers that know each other.
fn cluster() -> Vec<semel_servers::Nats> {
    let ports: Vec<u16> = (0..3).map(|_| semel_servers::free_port().unwrap()).collect();
    let routes: Vec<String> = ports.iter().map(|port| format!("nats://127.0.0.1:{port}")).collect();
    let start = |n: usize| {
        let arguments = [
            ["-n".to_owned(), format!("n{n}")],
            ["--cluster_name".to_owned(), "semel".to_owned()],
            ["--cluster".to_owned(), routes[n].clone()],
            ["--routes".to_owned(), routes.join(",")],
        ];
        semel_servers::Nats::start_with(&folder(&format!("cluster-{n}")), &arguments.concat())
            .unwrap_or_else(|error| panic!("{error}"))
    };
    (0..3).map(start).collect()
}

/// Who leads a stream.
async fn leader(client: &async_nats::Client, stream: &str) -> Option<usize> {
    let info = client.request(format!("$JS.API.STREAM.INFO.{stream}"), "".into()).await.ok()?;
    let info: Value = serde_json::from_slice(&info.payload).ok()?;
    info["cluster"]["leader"].as_str()?.strip_prefix('n')?.parse().ok()
}

/// Kills the leader of the queue and then that of the records, while messages are sent. Whatever was
/// `Sent` comes, whatever was `Settled` stays so, and dead letters stay dead.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_confirmed_survives_the_leader() {
    let mut servers = cluster();
    let addresses: Vec<String> = servers.iter().map(semel_servers::Nats::address).collect();
    let address = addresses.join(",");
    let options = Options { replicas: 3, call_timeout: Duration::from_secs(2), ..fresh_options() };
    let limit = Duration::from_secs(60);
    let nats = until(limit, || Nats::connect(&address, options.clone())).await;
    let mut number = 0;
    let mut confirmed = BTreeSet::new();
    send_some(&nats, &mut number, &mut confirmed, 50).await;

    let reason = semel_core::broker::DeadReason::Refused;
    let failure = crate::messages::failure();
    let dead = Settlement::DeadLetter { reason, failure, entity: None };
    let taken = receive(&nats, 12, LONG, Duration::from_secs(5)).await.unwrap();
    let fates = [Settlement::Ack, dead];
    for (n, delivery) in taken.iter().enumerate() {
        settled(&nats, delivery, fates[n % 2].clone()).await;
        confirmed.remove(id(delivery));
    }

    let streams = ["queue_orders", "state"].map(|what| format!("{}_{what}", options.prefix));
    for stream in &streams {
        let client = async_nats::connect(addresses.clone()).await.unwrap();
        let led = leader(&client, stream).await.unwrap();
        servers[led].kill();
        send_some(&nats, &mut number, &mut confirmed, 50).await;
        servers[led].resume().unwrap();
        // The next kill needs a majority: until all three have caught up, there may be none.
        until(limit, || all_current(&addresses, &streams)).await;
    }

    let mut seen = BTreeSet::new();
    let start = Instant::now();
    while !confirmed.is_subset(&seen) && start.elapsed() < limit {
        let wait = Duration::from_millis(500);
        for delivery in receive(&nats, 50, LONG, wait).await.unwrap_or_default() {
            let id = id(&delivery).to_owned();
            assert!(!taken.iter().any(|before| crate::rig::id(before) == id), "{id} came again");
            settled(&nats, &delivery, Settlement::Ack).await;
            seen.insert(id);
        }
    }
    let lost: Vec<&String> = confirmed.difference(&seen).collect();
    assert!(lost.is_empty(), "{} of {} are lost: {lost:?}", lost.len(), confirmed.len());
    assert!(confirmed.len() >= 100, "{}", confirmed.len());
    // A cluster that has just lost its leader twice may be slow to answer.
    let all = DeadLetterFilter { endpoint: None, after: 0, limit: 100 };
    let letters = until(limit, || nats.dead_letters(&all)).await;
    assert_eq!(letters.len(), 6);
    let last = until(limit, || async {
        match send(&nats, message("last")).await {
            SendOutcome::Sent => Ok(()),
            SendOutcome::Refused(error) | SendOutcome::Unknown(error) => Err(error),
        }
    });
    last.await;
}

/// Sends messages until as many more are confirmed.
async fn send_some(nats: &Nats, number: &mut u32, confirmed: &mut BTreeSet<String>, count: usize) {
    let wanted = confirmed.len() + count;
    let start = Instant::now();
    while confirmed.len() < wanted {
        assert!(start.elapsed() < Duration::from_secs(60), "the cluster confirms nothing");
        *number += 1;
        let id = format!("{number:06}");
        if let SendOutcome::Sent = send(nats, message(&id)).await {
            confirmed.insert(id);
        }
    }
}

/// Whether each stream has a leader whose followers have all it has.
async fn all_current(
    addresses: &[String],
    streams: &[String],
) -> Result<(), semel_core::StoreError> {
    let not_yet = |reason: String| semel_core::StoreError {
        trouble: semel_core::store::Trouble::Unavailable,
        store: "cluster".to_owned(),
        operation: "wait for replicas",
        reason,
        help: String::new(),
    };
    let client = async_nats::connect(addresses.to_vec()).await;
    let client = client.map_err(|error| not_yet(error.to_string()))?;
    for stream in streams {
        let subject = format!("$JS.API.STREAM.INFO.{stream}");
        let info = client.request(subject, json!({}).to_string().into()).await;
        let info = info.map_err(|error| not_yet(error.to_string()))?;
        let info: Value = serde_json::from_slice(&info.payload).unwrap_or_default();
        let replicas = info["cluster"]["replicas"].as_array().cloned().unwrap_or_default();
        let current = |replica: &Value| replica["current"] == true && replica["offline"] != true;
        if replicas.len() != 2 || !replicas.iter().all(current) {
            return Err(not_yet(info["cluster"].to_string()));
        }
    }
    Ok(())
}
