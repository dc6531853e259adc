//! What a server was seen to do wrong, and what we do about it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use semel_core::Broker as _;
use semel_core::broker::{DeadReason, Registration, SendOutcome, SettleOutcome, Settlement};
use semel_core::operator::Operator as _;
use semel_nats::{Nats, Options};

use crate::messages::failure;
use crate::rig::{
    LONG, dead_letters, folder, fresh, fresh_options, id, message, next, private, receive, send,
    sent, settled, until,
};

/// Copies a folder of files and folders.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// How long a server may take to come back, and to do what it shall.
const LIMIT: Duration = Duration::from_secs(20);

/// A server of a test's own, whose stream of `orders` can get the files that it had before.
struct Own {
    name: &'static str,
    server: semel_servers::Nats,
    options: Options,
}

impl Own {
    fn start(name: &'static str) -> Self {
        let options = Options { call_timeout: Duration::from_secs(1), ..fresh_options() };
        Self { name, server: private(name), options }
    }

    async fn connect(&self) -> Nats {
        let address = self.server.address();
        until(LIMIT, || Nats::connect(&address, self.options.clone())).await
    }

    fn stream(&self) -> String {
        format!("{}_queue_orders", self.options.prefix)
    }

    fn folder(&self) -> PathBuf {
        folder(self.name).join("data/jetstream/$G/streams").join(self.stream())
    }

    fn kept(&self) -> PathBuf {
        folder(self.name).join("kept")
    }

    fn keep(&self) {
        copy(&self.folder().join("msgs"), &self.kept());
    }

    fn kill(&mut self) {
        self.server.kill();
    }

    /// Starts it again, with the messages that were kept.
    fn bring_back(&mut self) {
        let messages = self.folder().join("msgs");
        fs::remove_dir_all(&messages).unwrap();
        copy(&self.kept(), &messages);
        self.server.resume().unwrap();
    }
}

/// A consumer that remembers more of its stream than the stream does never offers what comes under
/// the numbers in between. A worker notices after the cut, and makes it anew. Here the stream gets
/// the files that it had before; a server that is killed at the wrong moment does it by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_that_is_ahead_of_its_stream_is_made_anew() {
    let mut own = Own::start("ahead");
    let nats = own.connect().await;
    sent(&nats, message("first")).await;
    own.keep();
    for number in 2..=5 {
        sent(&nats, message(format!("old-{number}"))).await;
    }
    assert_eq!(receive(&nats, 10, LONG, Duration::from_secs(2)).await.unwrap().len(), 5);
    // The server writes down how far a consumer is a moment later.
    tokio::time::sleep(Duration::from_secs(1)).await;
    own.kill();
    own.bring_back();
    let start = Instant::now();
    while !matches!(send(&nats, message("new")).await, SendOutcome::Sent) {
        assert!(start.elapsed() < LIMIT, "nothing can be sent any more");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let start = Instant::now();
    loop {
        assert!(start.elapsed() < LIMIT, "what was confirmed is not offered");
        let wait = Duration::from_secs(1);
        let received = receive(&nats, 10, LONG, wait).await.unwrap_or_default();
        if received.iter().any(|delivery| id(delivery) == "new") {
            break;
        }
    }
}

/// A server notes what was removed up to two minutes later. One that is killed before has the
/// messages again, and offers them; here their stream gets the files that it had before. Nobody gets
/// what was settled, and it is removed once more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_settled_stays_so_though_its_server_forgets_the_removal() {
    let mut own = Own::start("forgetful");
    let nats = own.connect().await;
    let (address, stream) = (own.server.address(), own.stream());
    for number in 0..20 {
        sent(&nats, message(format!("{number}"))).await;
    }
    own.keep();
    for delivery in receive(&nats, 20, LONG, Duration::ZERO).await.unwrap() {
        settled(&nats, &delivery, Settlement::Ack).await;
    }
    let bare = async_nats::connect(&address).await.unwrap();
    let start = Instant::now();
    // The highest stays, with its record.
    let records = format!("{}.state.orders.*", own.options.prefix);
    let state = format!("{}_state", own.options.prefix);
    while held(&bare, &stream).await != 1 || subjects(&bare, &state, &records).await.len() != 1 {
        assert!(start.elapsed() < LIMIT, "what is settled is not removed");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    own.kill();
    // Its consumers are forgotten as well: they begin anew.
    fs::remove_dir_all(own.folder().join("obs")).unwrap();
    own.bring_back();
    let bare = until(LIMIT, || async {
        let connected = async_nats::connect(&address).await;
        connected.map_err(|error| panic!("{error}"))
    })
    .await;
    assert_eq!(held(&bare, &stream).await, 20, "the server did not forget");
    // Had it noted the end of the records, but for that of the highest, and that of the messages
    // not yet:
    let purge = serde_json::json!({ "filter": records, "keep": 1 }).to_string();
    bare.request(format!("$JS.API.STREAM.PURGE.{state}"), purge.into()).await.unwrap();
    let start = Instant::now();
    while held(&bare, &stream).await != 1 {
        assert!(start.elapsed() < LIMIT, "what came again is not removed");
        let wait = Duration::from_millis(200);
        let received = receive(&nats, 20, LONG, wait).await.unwrap_or_default();
        assert!(received.is_empty(), "settled, and delivered again: {received:?}");
    }
    sent(&nats, message("new")).await;
    assert_eq!(id(&next(&nats, LONG).await), "new");
}

/// How many messages a stream holds.
async fn held(bare: &async_nats::Client, stream: &str) -> u64 {
    let subject = format!("$JS.API.STREAM.INFO.{stream}");
    let answer = bare.request(subject, "".into()).await.unwrap();
    let info: serde_json::Value = serde_json::from_slice(&answer.payload).unwrap();
    info["state"]["messages"].as_u64().unwrap_or_default()
}

/// The subjects of a kind that there are in a stream.
async fn subjects(bare: &async_nats::Client, stream: &str, filter: &str) -> BTreeSet<String> {
    let subject = format!("$JS.API.STREAM.INFO.{stream}");
    let question = serde_json::json!({ "subjects_filter": filter }).to_string();
    let answer = bare.request(subject, question.into()).await.unwrap();
    let info: serde_json::Value = serde_json::from_slice(&answer.payload).unwrap();
    let subjects = info["state"]["subjects"].as_object();
    subjects.into_iter().flatten().map(|(subject, _)| subject.clone()).collect()
}

/// The last message of a queue waits for its removal until there is a higher one. Should somebody
/// delete the stream meanwhile, the message that then has its number is another one, and stays.
#[tokio::test]
async fn what_waits_to_be_removed_is_not_mistaken_for_another() {
    let rig = fresh().await;
    let (old, other) = (rig.open().await, rig.open().await);
    sent(&old, message("old")).await;
    settled(&old, &next(&old, LONG).await, Settlement::Ack).await;
    let bare = rig.bare().await;
    let delete = format!("$JS.API.STREAM.DELETE.{}", rig.queue_stream("orders"));
    bare.request(delete, "".into()).await.unwrap();
    for name in ["first", "second", "third"] {
        sent(&other, message(name)).await;
    }
    // Now it knows of a higher one, and has more to remove.
    let taken = receive(&old, 3, Duration::from_secs(2), Duration::ZERO).await.unwrap();
    assert_eq!(taken.iter().map(id).collect::<Vec<_>>(), ["first", "second", "third"]);
    settled(&old, &taken[1], Settlement::Ack).await;
    let start = Instant::now();
    while held(&bare, &rig.queue_stream("orders")).await != 2 {
        assert!(start.elapsed() < Duration::from_secs(10), "what is settled is not removed");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // Nor do those who come later take it for one that was settled.
    let new = rig.open().await;
    for expected in ["first", "third"] {
        assert_eq!(id(&next(&new, LONG).await), expected);
    }
}

/// Gravestones outlast whoever registers first when a server is back after a long time: those who come
/// after must read them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_registration_removes_no_gravestone_that_others_need() {
    let rig = fresh().await;
    let nats = rig.open().await;
    for number in 0..4 {
        sent(&nats, message(format!("{number}"))).await;
    }
    for delivery in receive(&nats, 4, LONG, Duration::ZERO).await.unwrap() {
        settled(&nats, &delivery, Settlement::Ack).await;
    }
    let bare = rig.bare().await;
    let stones = format!("{}.state.orders=gone.*", rig.options.prefix);
    let start = Instant::now();
    while subjects(&bare, &rig.state_stream(), &stones).await.is_empty() {
        assert!(start.elapsed() < Duration::from_secs(10), "no gravestone is laid");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let laid = subjects(&bare, &rig.state_stream(), &stones).await;
    let registration = Registration {
        endpoint: "orders".to_owned(),
        protocol: "outbox".to_owned(),
        subscriptions: Vec::new(),
    };
    // One that knows of higher records, under which it may remove.
    let later = rig.open().await;
    sent(&later, message("later")).await;
    settled(&later, &next(&later, LONG).await, Settlement::Ack).await;
    for _ in 0..2 {
        later.register(&registration).await.unwrap();
        tokio::time::sleep(Duration::from_millis(600)).await;
    }
    let left = subjects(&bare, &rig.state_stream(), &stones).await;
    assert!(left.is_superset(&laid), "{laid:?} {left:?}");
}

/// Server 2.9.10 was seen to die over the question for the last message of a subject, some time
/// after it had been killed. We never ask it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_question_that_kills_a_server_is_never_asked() {
    let name = "traced";
    // It writes down all that it is told.
    let server = semel_servers::Nats::start_with(&folder(name), &["-V".to_owned()]).unwrap();
    let limit = Duration::from_secs(20);
    let options = fresh_options();
    let address = server.address();
    let nats = until(limit, || Nats::connect(&address, options.clone())).await;
    a_whole_life(&nats).await;
    let log = fs::read_to_string(folder(name).join("log")).unwrap();
    assert!(log.contains("next_by_subj"), "the log shows no requests");
    assert!(!log.contains("last_by_subj"), "{log}");
    // The direct way to a message asks the same.
    assert!(!log.contains("$JS.API.DIRECT.GET"), "{log}");
}

/// Everything that broker and operator can do.
async fn a_whole_life(nats: &Nats) {
    let registration = Registration {
        endpoint: "orders".to_owned(),
        protocol: "outbox".to_owned(),
        subscriptions: vec!["order.placed".to_owned()],
    };
    nats.register(&registration).await.unwrap();
    for number in 0..4 {
        sent(nats, message(number.to_string())).await;
    }
    let after = Duration::ZERO;
    let retry = Settlement::Retry { after, failure: failure() };
    let reason = DeadReason::HandlerFailed;
    let park = Settlement::DeadLetter { reason, failure: failure(), entity: None };
    for settlement in [retry, park, Settlement::Release { after }, Settlement::Ack] {
        let delivery = next(nats, LONG).await;
        nats.extend(std::slice::from_ref(&delivery.receipt), LONG).await.unwrap();
        settled(nats, &delivery, settlement).await;
    }
    let letter = dead_letters(nats).await.remove(0);
    nats.dead_letter(letter.number).await.unwrap();
    let outcome = nats.settle(&letter.receipt, Settlement::Release { after }).await;
    assert!(matches!(outcome, SettleOutcome::Settled), "{outcome:?}");
    nats.inspect().await.unwrap();
    assert_eq!(nats.subscribers("order.placed").await.unwrap(), ["orders"]);
    nats.register(&registration).await.unwrap();
}
