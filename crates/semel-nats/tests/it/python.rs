//! A Python program on the other end: no Semel in it, only a NATS client.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use semel_core::Extension;
use semel_core::broker::Settlement;
use semel_core::operator::Operator as _;
use serde_json::Value;

use crate::rig::{LONG, fresh, message, next, receive, sent, settled};

/// The Python of an environment that has the pinned client; made at its first use.
fn python() -> PathBuf {
    let target = semel_servers::folder().parent().unwrap().join("python");
    fs::create_dir_all(&target).unwrap();
    // Tests run in several processes.
    let lock = File::create(target.join("semel-nats.lock")).unwrap();
    lock.lock().unwrap();
    let folder = target.join("semel-nats");
    let pins = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/requirements.txt");
    let wanted = fs::read_to_string(&pins).unwrap();
    let (python, made) = (folder.join("bin/python"), folder.join("made"));
    if fs::read_to_string(&made).unwrap_or_default() != wanted {
        run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder));
        let mut pip = Command::new(&python);
        pip.args(["-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check"]);
        pip.args(["--no-deps", "--only-binary=:all:", "--require-hashes", "--requirement"]);
        run(pip.arg(&pins));
        fs::write(&made, wanted).unwrap();
    }
    python
}

fn run(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// Runs the program, and returns what it prints.
async fn interop(verb: &'static str, address: String, place: String) -> Value {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/interop.py");
    let printed = tokio::task::spawn_blocking(move || {
        run(Command::new(python()).arg(script).args([verb, &address, &place]))
    });
    serde_json::from_str(&printed.await.unwrap()).unwrap()
}

#[tokio::test]
async fn an_event_from_python_is_received() {
    let rig = fresh().await;
    let nats = rig.open().await;
    // The queue is made by whoever comes first; a bare client publishes into what is there.
    assert!(receive(&nats, 1, LONG, Duration::ZERO).await.unwrap().is_empty());
    let printed = interop("publish", rig.address.clone(), rig.queue_subject("orders")).await;
    assert_eq!(printed["seq"], 1);
    let delivery = next(&nats, LONG).await;
    let envelope = delivery.envelope.as_ref().unwrap();
    let attributes = (envelope.id.as_str(), envelope.source.as_str(), envelope.kind.as_str());
    assert_eq!(attributes, ("py-1", "/python", "order.placed"));
    assert_eq!(envelope.subject.as_deref(), Some("customer/7 – Ä"));
    assert_eq!(envelope.time.unwrap().to_string(), "2026-12-24T18:00:00Z");
    assert_eq!(envelope.content_type.as_deref(), Some("application/json"));
    assert_eq!(envelope.text("partitionkey"), Some("7"));
    assert_eq!(envelope.data.as_ref(), br#"{"total": 3}"#);
    settled(&nats, &delivery, Settlement::Ack).await;
}

#[tokio::test]
async fn python_serves_an_endpoint() {
    let rig = fresh().await;
    let nats = rig.open().await;
    let mut envelope = message("1 ä");
    envelope.subject = Some("customer/7".to_owned());
    envelope.extensions.insert("rush".to_owned(), Extension::Boolean(true));
    sent(&nats, envelope).await;
    let printed = interop("serve", rig.address.clone(), rig.queue_stream("orders")).await;
    for (header, value) in [
        ("ce-specversion", "1.0"),
        ("ce-id", "1%20%C3%A4"),
        ("ce-source", "/shop"),
        ("ce-type", "order.placed"),
        ("ce-subject", "customer/7"),
        ("ce-rush", "true"),
        ("content-type", "application/json"),
    ] {
        assert_eq!(printed["headers"][header], value, "{header}");
    }
    assert_eq!(printed["data"], r#"{"total":3}"#);
    let report = nats.inspect().await.unwrap();
    let orders = &report.endpoints["orders"];
    assert_eq!((orders.ready, orders.in_flight), (0, 0), "its acknowledgement removed the event");
}
