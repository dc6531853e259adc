//! A server that is encrypted, and one that is short of memory or disk.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use lapin::options::BasicPublishOptions;
use lapin::types::{AMQPValue, FieldTable};
use semel_core::Broker as _;
use semel_core::broker::{SendOutcome, SettleOutcome, Settlement};
use semel_core::store::Trouble;
use semel_rabbitmq::{Options, RabbitMq};
use semel_servers::Rabbit;

use crate::outages::{folder, server};
use crate::worker::{Worker, id_of, message, options};

/// Asks the server's own program to do something.
fn control(name: &str, rabbit: &Rabbit, arguments: &[&str]) {
    let node = format!("semel{}@localhost", rabbit.port());
    let mapper = fs::read_to_string(folder(name).join("epmd.pid")).unwrap();
    let command = fs::read_to_string(format!("/proc/{}/cmdline", mapper.trim())).unwrap();
    let port = command.split('\0').skip_while(|it| *it != "-port").nth(1).unwrap().to_owned();
    let mut control = Command::new("/usr/lib/rabbitmq/bin/rabbitmqctl");
    control.env("HOME", folder(name)).env("ERL_EPMD_ADDRESS", "127.0.0.1");
    control.env("ERL_EPMD_PORT", port).args(["-n", &node]).args(arguments);
    let output = control.output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

/// Sends until an alarm is told, and returns what was confirmed before.
async fn send_into_an_alarm(worker: &Worker, kind: &str) -> BTreeSet<String> {
    let mut confirmed = BTreeSet::new();
    for round in 0..20 {
        let (id, start) = (format!("{kind}-{round}"), Instant::now());
        let outcome = worker.try_send("orders", message(&id)).await;
        assert!(start.elapsed() < Duration::from_secs(15), "a send hangs");
        match outcome {
            SendOutcome::Sent => assert!(confirmed.insert(id)),
            SendOutcome::Unknown(error) => {
                assert_eq!(error.trouble, Trouble::Unavailable, "{error}");
                if error.reason.contains("alarm") {
                    assert!(error.reason.contains(kind), "{error}");
                    return confirmed;
                }
            }
            SendOutcome::Refused(error) => panic!("{error}"),
        }
    }
    panic!("no alarm was told");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alarm_is_told_and_loses_nothing() {
    let name = "rabbitmq-alarm";
    let rabbit = server(name).await;
    let settings = Options { patience: Duration::from_secs(3), ..options("semel") };
    let worker = Worker::connect_with(&rabbit.address(), settings).await;
    let alarms = [
        ("memory", ["set_vm_memory_high_watermark", "0.00001"], "0.4"),
        ("disk", ["set_disk_free_limit", "900000GB"], "50MB"),
    ];
    for (kind, raise, calm) in alarms {
        worker.send("orders", kind).await;
        control(name, &rabbit, &raise);
        let mut missing = send_into_an_alarm(&worker, kind).await;
        missing.insert(kind.to_owned());
        // What is told while the alarm is on is told again, and what was received can be settled.
        let again = worker.try_send("orders", message("never")).await;
        let SendOutcome::Unknown(error) = &again else { panic!("{again:?}") };
        assert!(error.reason.contains(kind), "{error}");
        let held = worker.next("orders").await;
        let outcome = worker.0.settle(&held.receipt, Settlement::Ack).await;
        assert!(matches!(outcome, SettleOutcome::Settled), "{outcome:?}");
        missing.remove(&id_of(&held));
        control(name, &rabbit, &[raise[0], calm]);
        let start = Instant::now();
        let after = format!("after-{kind}");
        while !matches!(worker.try_send("orders", message(&after)).await, SendOutcome::Sent) {
            assert!(start.elapsed() < Duration::from_secs(30), "sends do not go on");
        }
        missing.insert(after);
        while !missing.is_empty() {
            let delivery = worker.next("orders").await;
            worker.settle(&delivery, Settlement::Ack).await;
            // It was not even written to the server.
            assert_ne!(id_of(&delivery), "never");
            missing.remove(&id_of(&delivery));
        }
    }
}

/// A message that has to wait longer, and cannot be sent on while an alarm is on.
#[tokio::test(flavor = "multi_thread")]
async fn an_alarm_holds_up_no_receive_that_meets_a_message_which_must_wait() {
    let name = "rabbitmq-alarm-early";
    let rabbit = server(name).await;
    let settings = Options { patience: Duration::from_secs(60), ..options("semel") };
    let worker = Worker::connect_with(&rabbit.address(), settings).await;
    worker.send("orders", "before").await;
    let before = worker.next("orders").await;
    worker.settle(&before, Settlement::Ack).await;
    let properties = lapin::ConnectionProperties::default();
    let stranger = lapin::Connection::connect(&rabbit.address(), properties).await.unwrap();
    let channel = stranger.create_channel().await.unwrap();
    // As one is that waits for longer than a minute, after its first step.
    let headers = [
        ("cloudEvents:specversion", AMQPValue::LongString("1.0".into())),
        ("cloudEvents:id", AMQPValue::LongString("early".into())),
        ("cloudEvents:source", AMQPValue::LongString("/shop".into())),
        ("cloudEvents:type", AMQPValue::LongString("order.placed".into())),
        ("x-semel-left", AMQPValue::LongLongInt(20)),
    ];
    let mut table = FieldTable::default();
    for (name, value) in headers {
        table.insert(name.into(), value);
    }
    let properties = lapin::BasicProperties::default().with_headers(table);
    let (queue, options) = ("semel.endpoint.orders".into(), BasicPublishOptions::default());
    channel.basic_publish("".into(), queue, options, b"{}", properties).await.unwrap();
    worker.send("orders", "ready").await;
    control(name, &rabbit, &["set_vm_memory_high_watermark", "0.00001"]);
    // The server tells it to whoever sends.
    let sending = tokio::time::timeout(
        Duration::from_secs(2),
        worker.try_send("orders", message("while it is on")),
    );
    assert!(sending.await.is_err());
    let start = Instant::now();
    assert_eq!(id_of(&worker.next("orders").await), "ready");
    assert!(worker.try_receive("orders", 1, Duration::from_millis(10)).await.unwrap().is_empty());
    assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
    control(name, &rabbit, &["set_vm_memory_high_watermark", "0.4"]);
    let mut missing: BTreeSet<String> = ["early".to_owned()].into();
    while !missing.is_empty() {
        let delivery = worker.next("orders").await;
        missing.remove(&id_of(&delivery));
        worker.settle(&delivery, Settlement::Ack).await;
    }
}

/// A certificate for 127.0.0.1 that no authority of the system knows, and its key.
fn certificate(own: &Path) -> (PathBuf, PathBuf) {
    fs::create_dir_all(own).unwrap();
    let (key, certificate) = (own.join("server.key"), own.join("server.crt"));
    let mut openssl = Command::new("openssl");
    openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]);
    openssl.args(["-nodes", "-days", "3650", "-subj", "/CN=localhost"]);
    openssl.args(["-addext", "subjectAltName=IP:127.0.0.1"]);
    openssl.args(["-addext", "basicConstraints=critical,CA:FALSE"]);
    openssl.arg("-keyout").arg(&key).arg("-out").arg(&certificate);
    assert!(openssl.output().unwrap().status.success());
    (key, certificate)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_encrypted_connection_checks_the_certificate() {
    let name = "rabbitmq-tls";
    let mut rabbit = server(name).await;
    rabbit.kill();
    let (key, trusted) = certificate(&folder("rabbitmq-tls-certificate"));
    let port = semel_servers::free_port().unwrap();
    let (key, shown) = (key.display(), trusted.display());
    let lines = format!(
        "listeners.ssl.1 = 127.0.0.1:{port}\nssl_options.certfile = {shown}\n\
         ssl_options.keyfile = {key}\nssl_options.verify = verify_none\n"
    );
    fs::write(folder(name).join("rabbitmq.conf"), lines).unwrap();
    let rabbit = tokio::task::spawn_blocking(move || {
        rabbit.resume().unwrap_or_else(|error| panic!("{error}"));
        rabbit
    })
    .await
    .unwrap();
    let address = format!("amqps://guest:guest@127.0.0.1:{port}/%2f");
    let with = |roots: Option<PathBuf>| Options { root_certificates: roots, ..options("semel") };
    let start = Instant::now();
    // The plain port is open a moment before this one.
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(start.elapsed() < Duration::from_secs(30), "nothing listens");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let worker = Worker::connect_with(&address, with(Some(trusted))).await;
    worker.send("orders", "1").await;
    assert_eq!(id_of(&worker.next("orders").await), "1");

    let refused =
        async |address: &str, roots| RabbitMq::connect(address, with(roots)).await.unwrap_err();
    let error = refused(&address, None).await;
    assert_eq!(error.trouble, Trouble::Broken, "{error}");
    assert!(error.reason.contains("certificate"), "{error}");
    assert!(error.help.contains("root_certificates"), "{error}");
    let other_name = address.replace("127.0.0.1", "localhost");
    let (_, other) = certificate(&folder("rabbitmq-tls-other"));
    let error = refused(&address, Some(other.clone())).await;
    assert!(error.reason.contains("certificate"), "{error}");
    let error = refused(&other_name, Some(other)).await;
    assert_eq!(error.trouble, Trouble::Broken, "{error}");
    for (file, told) in [("/nowhere/at/all", "cannot read"), ("/etc/hostname", "no certificate")] {
        let error = refused(&address, Some(file.into())).await;
        assert_eq!(error.trouble, Trouble::Broken, "{error}");
        assert!(error.reason.contains(told), "{error}");
    }
    // The port that is not encrypted.
    let error = refused(&rabbit.address().replace("amqp:", "amqps:"), None).await;
    assert_eq!(error.trouble, Trouble::Broken, "{error}");
    assert!(error.help.contains("amqp://"), "{error}");
}
