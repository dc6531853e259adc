//! Messages that are none, or too large.

use std::time::Duration;

use async_nats::HeaderMap;
use semel_core::broker::{
    DeadReason, Destination, FailureRecord, Outgoing, SendOutcome, SettleOutcome, Settlement,
};
use semel_core::operator::Operator as _;
use semel_core::store::Trouble;
use semel_core::{Broker as _, EnvelopeError, Timestamp};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::rig::{
    LONG, dead_letters, fresh, id, message, next, private, receive, send, sent, settled, to, until,
};

pub(crate) fn failure() -> FailureRecord {
    FailureRecord {
        at: Timestamp::from_unix_ms(1),
        reason: "it fails".to_owned(),
        worker: "w".to_owned(),
    }
}

fn parked(reason: DeadReason) -> Settlement {
    Settlement::DeadLetter { reason, failure: failure(), entity: None }
}

const AT_ONCE: Settlement = Settlement::Release { after: Duration::ZERO };

/// Bytes from anybody, without any header, are a delivery whose envelope says what is wrong; they
/// can be parked, seen as they came, replayed and removed.
#[tokio::test]
async fn a_message_that_is_no_event_is_kept_as_it_came() {
    let rig = fresh().await;
    let nats = rig.open().await;
    sent(&nats, message("before")).await;
    let bare = rig.bare().await;
    let bytes: Vec<u8> = (0..=u8::MAX).collect();
    bare.request(rig.queue_subject("orders"), bytes.clone().into()).await.unwrap();
    let mut headers = HeaderMap::new();
    headers.insert("ce-specversion", "9.9");
    headers.insert("x-mine", "ä");
    let subject = rig.queue_subject("orders");
    bare.request_with_headers(subject, headers, "newer".into()).await.unwrap();
    sent(&nats, message("after")).await;

    let received = receive(&nats, 10, LONG, Duration::from_secs(2)).await.unwrap();
    let ids: Vec<&str> = received.iter().map(id).collect();
    assert_eq!(ids, ["before", "none", "none", "after"], "it holds up no other");
    let missing = EnvelopeError::Missing { attribute: "specversion" };
    assert_eq!(received[1].envelope, Err(missing));
    let newer = EnvelopeError::Version { version: "9.9".to_owned() };
    assert_eq!(received[2].envelope, Err(newer));
    for delivery in &received[1..3] {
        settled(&nats, delivery, parked(DeadReason::Undecodable)).await;
    }
    let dead = dead_letters(&nats).await;
    assert_eq!(dead.len(), 2);
    assert_eq!(dead[0].raw, bytes);
    assert!(dead.iter().all(|letter| letter.envelope.is_err()));
    let outcome = nats.settle(&dead[0].receipt, AT_ONCE).await;
    assert!(matches!(outcome, SettleOutcome::Settled), "{outcome:?}");
    let again = next(&nats, LONG).await;
    assert!(again.envelope.is_err());
    settled(&nats, &again, Settlement::Ack).await;
}

/// Headers that break the rules of the protocol make the client give up its connection, each time
/// such a message is offered. It is found and parked, and the others come.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_cuts_the_connection_is_parked() {
    let rig = fresh().await;
    let nats = rig.open().await;
    sent(&nats, message("before")).await;
    let subject = rig.queue_subject("orders");
    for header in [&b"ce-id: \xff"[..], b"no colon", b"a name: x"] {
        publish_raw(&rig.address, &subject, header, b"poison").await;
    }
    sent(&nats, message("after")).await;
    let start = std::time::Instant::now();
    let mut seen = Vec::new();
    while start.elapsed() < Duration::from_secs(60) {
        // The cut may hit a claim in its middle: what was leased then comes when its lease has ended.
        let (lease, wait) = (Duration::from_secs(5), Duration::from_millis(500));
        let received = receive(&nats, 10, lease, wait).await;
        for delivery in received.unwrap_or_default() {
            // The cut may hit this as well.
            let done = || async {
                match nats.settle(&delivery.receipt, Settlement::Ack).await {
                    SettleOutcome::Unknown(error) => Err(error),
                    SettleOutcome::Settled | SettleOutcome::Stale => Ok(()),
                }
            };
            until(Duration::from_secs(20), done).await;
            seen.push(id(&delivery).to_owned());
        }
        let report = nats.inspect().await;
        if report.is_ok_and(|report| report.endpoints["orders"].dead_letters == 3)
            && seen.len() == 2
        {
            break;
        }
    }
    seen.sort_unstable();
    assert_eq!(seen, ["after", "before"]);
    let dead = dead_letters(&nats).await;
    assert_eq!(dead.len(), 3);
    for letter in &dead {
        assert_eq!((letter.reason, letter.raw.as_ref()), (DeadReason::Undecodable, &b"poison"[..]));
        let outcome = nats.settle(&letter.receipt, Settlement::Ack).await;
        assert!(matches!(outcome, SettleOutcome::Settled), "{outcome:?}");
    }
    sent(&nats, message("later")).await;
    assert_eq!(id(&next(&nats, LONG).await), "later");
}

/// Publishes a message with one header line as no decent client would.
async fn publish_raw(address: &str, subject: &str, header: &[u8], payload: &[u8]) {
    let host = address.strip_prefix("nats://").unwrap();
    let mut stream = tokio::net::TcpStream::connect(host).await.unwrap();
    let block = [b"NATS/1.0\r\n", header, b"\r\n\r\n"].concat();
    let (headers, total) = (block.len(), block.len() + payload.len());
    let line = format!(
        "CONNECT {{\"headers\":true,\"verbose\":false}}\r\nHPUB {subject} {headers} {total}\r\n"
    );
    let bytes = [line.as_bytes(), &block, payload, b"\r\nPING\r\n"].concat();
    stream.write_all(&bytes).await.unwrap();
    let mut answer = Vec::new();
    while !answer.windows(4).any(|window| window == b"PONG") {
        assert!(stream.read_buf(&mut answer).await.unwrap() > 0, "the server refuses it");
    }
}

/// What is too large for the server, or for its headers, is refused before it is sent: a publish
/// above `max_payload` costs the connection.
#[tokio::test]
async fn what_is_too_large_is_refused_before_it_is_sent() {
    let folder = crate::rig::folder("small");
    let config = folder.with_extension("conf");
    std::fs::create_dir_all(folder.parent().unwrap()).unwrap();
    std::fs::write(&config, "max_payload: 200KB\n").unwrap();
    let arguments = ["-c".to_owned(), config.display().to_string()];
    let server = semel_servers::Nats::start_with(&folder, &arguments).unwrap();
    let mut rig = fresh().await;
    rig.address = server.address();
    let nats = rig.open().await;
    let limit = nats.limits().message_bytes_max;
    assert!((120_000..200_000).contains(&limit), "{limit}");
    let refused = |outcome, told| {
        let SendOutcome::Refused(error) = outcome else { panic!("{outcome:?}") };
        assert_eq!(error.trouble, Trouble::TooLarge, "{error}");
        // By us, and not by the server.
        assert!(error.reason.contains(told), "{error}");
    };
    let mut large = message("large");
    large.data = vec![b'x'; 200_000].into();
    refused(send(&nats, large).await, "200");
    // Within the limit of a message, yet above that of headers; each letter takes six bytes there.
    let mut wide = message("wide");
    wide.set_text("wide", "ä".repeat(11_000));
    refused(send(&nats, wide).await, "as headers");
    let mut full = message("full");
    full.set_text("wide", "ä".repeat(10_000));
    full.data = vec![b'x'; limit - full.size()].into();
    sent(&nats, full.clone()).await;
    let delivery = next(&nats, LONG).await;
    assert_eq!(delivery.envelope.as_ref(), Ok(&full));
    // The largest message can be parked and replayed: it does not move.
    settled(&nats, &delivery, parked(DeadReason::Refused)).await;
    let letter = dead_letters(&nats).await.remove(0);
    assert_eq!(letter.envelope, Ok(full.clone()));
    let outcome = nats.settle(&letter.receipt, AT_ONCE).await;
    assert!(matches!(outcome, SettleOutcome::Settled), "{outcome:?}");
    assert_eq!(next(&nats, LONG).await.envelope, Ok(full));
}

/// A stream that is full refuses: the send is not lost for good, and nothing old is dropped.
#[tokio::test]
async fn a_full_stream_drops_nothing() {
    let server = private("full");
    let mut rig = fresh().await;
    rig.address = server.address();
    let stream = rig.queue_stream("orders");
    let config = serde_json::json!({
        "name": stream, "subjects": [rig.queue_subject("orders")], "retention": "workqueue",
        "storage": "file", "discard": "new", "max_msgs": 3,
    });
    let bare = rig.bare().await;
    let create = format!("$JS.API.STREAM.CREATE.{stream}");
    bare.request(create, config.to_string().into()).await.unwrap();
    let nats = rig.open().await;
    let batch = (0..4).map(|n| to("orders", message(n.to_string()))).collect();
    let outcomes = nats.send(batch).await;
    let SendOutcome::Unknown(error) = &outcomes[3] else { panic!("{outcomes:?}") };
    assert_eq!(error.trouble, Trouble::Full, "{error}");
    for expected in ["0", "1", "2"] {
        let delivery = next(&nats, LONG).await;
        assert_eq!(id(&delivery), expected);
        settled(&nats, &delivery, Settlement::Ack).await;
    }
    // There is room a moment later, when what is settled was removed.
    let send = || async {
        match send(&nats, message("3")).await {
            SendOutcome::Sent => Ok(()),
            SendOutcome::Refused(error) | SendOutcome::Unknown(error) => Err(error),
        }
    };
    until(Duration::from_secs(10), send).await;
}

/// An envelope that breaks the rules of CloudEvents is refused: nobody could read it again.
#[tokio::test]
async fn an_invalid_envelope_is_refused() {
    let nats = fresh().await.open().await;
    let mut cut = message("cut\r\nce-type: other");
    for broken in [message(""), cut.clone()] {
        let outcome = send(&nats, broken).await;
        let SendOutcome::Refused(error) = outcome else { panic!("{outcome:?}") };
        assert_eq!(error.trouble, Trouble::Unsupported, "{error}");
    }
    "fine".clone_into(&mut cut.id);
    for endpoint in ["", &"x".repeat(300)] {
        let outcome = nats.send(vec![to(endpoint, cut.clone())]).await.pop().unwrap();
        let SendOutcome::Refused(error) = outcome else { panic!("{outcome:?}") };
        assert_eq!(error.trouble, Trouble::Unsupported, "{error}");
    }
}

/// A delayed message of which no sender's note tells waits by its own header.
#[tokio::test]
async fn a_delay_rests_on_the_message_alone() {
    let rig = fresh().await;
    let nats = rig.open().await;
    let delay = Duration::from_secs(2);
    let destination = Destination::Endpoint("orders".to_owned());
    let outgoing = Outgoing { to: destination, envelope: message("late"), delay };
    let outcome = nats.send(vec![outgoing]).await.pop().unwrap();
    assert!(matches!(outcome, SendOutcome::Sent), "{outcome:?}");
    let purge = format!("$JS.API.STREAM.PURGE.{}", rig.state_stream());
    rig.bare().await.request(purge, "".into()).await.unwrap();
    let early = receive(&nats, 1, LONG, Duration::ZERO).await.unwrap();
    assert!(early.is_empty(), "{early:?}");
    let delivery = next(&nats, LONG).await;
    assert_eq!((id(&delivery), delivery.deliveries), ("late", 1), "to be put off does not count");
}

/// Spans beyond all reason wait, and neither overflow nor keep the consumer busy.
#[tokio::test]
async fn an_endless_delay_is_a_delay() {
    let rig = fresh().await;
    let nats = rig.open().await;
    let destination = Destination::Endpoint("orders".to_owned());
    let delay = Duration::MAX;
    let outgoing = Outgoing { to: destination, envelope: message("never"), delay };
    let outcome = nats.send(vec![outgoing]).await.pop().unwrap();
    assert!(matches!(outcome, SendOutcome::Sent), "{outcome:?}");
    sent(&nats, message("leased")).await;
    let delivery = next(&nats, Duration::MAX).await;
    assert_eq!(id(&delivery), "leased");
    nats.extend(std::slice::from_ref(&delivery.receipt), Duration::MAX).await.unwrap();
    for _ in 0..3 {
        let received = receive(&nats, 10, LONG, Duration::from_millis(100)).await.unwrap();
        assert!(received.is_empty(), "{received:?}");
    }
    let info = format!("$JS.API.CONSUMER.INFO.{}.workers", rig.queue_stream("orders"));
    let info = rig.bare().await.request(info, "".into()).await.unwrap();
    let info: serde_json::Value = serde_json::from_slice(&info.payload).unwrap();
    assert_eq!(info["delivered"]["consumer_seq"], 2, "each was handed out once");
}
