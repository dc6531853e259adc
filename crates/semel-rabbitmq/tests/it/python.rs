//! A service in another language.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use semel_core::broker::{Registration, SendOutcome, Settlement};
use semel_core::{Broker as _, Extension};

use crate::rig::{fresh_prefix, shared};
use crate::worker::{Worker, message};

/// Where the client library lies; installed if it is missing.
fn library() -> PathBuf {
    let folder = semel_servers::folder().join("tests/python-pika-1.4.4");
    if !folder.exists() {
        let fresh = folder.with_extension(std::process::id().to_string());
        let mut pip = Command::new("python3");
        pip.args(["-m", "pip", "install", "--quiet", "--no-input", "--no-deps"]);
        pip.args(["--disable-pip-version-check", "--root-user-action=ignore", "--require-hashes"]);
        pip.arg("--requirement").arg(script("requirements.txt")).arg("--target").arg(&fresh);
        assert!(pip.status().unwrap().success(), "{pip:?}");
        // Another test program may have been faster.
        let _ = fs::rename(&fresh, &folder);
    }
    folder
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python").join(name)
}

/// Runs the service, and returns what it printed.
async fn python(verb: &str, place: &str) -> String {
    let mut command = Command::new("python3");
    command.arg(script("cloudevents.py")).args([verb, &shared(), place]);
    command.env("PYTHONPATH", library());
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_in_python_and_semel_understand_each_other() {
    let prefix = fresh_prefix();
    let worker = Worker::connect(&shared(), &prefix).await;
    let registration = Registration {
        endpoint: "orders".to_owned(),
        protocol: "inbox".to_owned(),
        subscriptions: vec!["order.placed".to_owned()],
    };
    worker.0.register(&registration).await.unwrap();
    let queue = format!("{prefix}.endpoint.orders");

    // What it sends, to an endpoint or to its subscribers, arrives.
    for (verb, place) in [("publish", queue.clone()), ("announce", format!("{prefix}.events"))] {
        python(verb, &place).await;
        let delivery = worker.next("orders").await;
        let envelope = delivery.envelope.as_ref().unwrap();
        assert_eq!((envelope.id.as_str(), envelope.source.as_str()), ("py-1 ü%41", "/python"));
        assert_eq!(
            (envelope.kind.as_str(), envelope.subject.as_deref()),
            ("order.placed", Some("customer/7"))
        );
        assert_eq!(envelope.time.unwrap().to_string(), "2026-12-24T18:00:00.007Z");
        assert_eq!(envelope.extensions["attempt"], Extension::Integer(3));
        assert_eq!(envelope.extensions["urgent"], Extension::Boolean(true));
        assert_eq!(&*envelope.data, br#"{"total": 3.50}"#);
        worker.settle(&delivery, Settlement::Ack).await;
    }

    // What Semel sends is an event to it.
    let mut sent = message("semel-1 ü%41");
    sent.extensions.insert("attempt".to_owned(), Extension::Integer(7));
    assert!(matches!(worker.try_send("orders", sent).await, SendOutcome::Sent));
    let seen: serde_json::Value = serde_json::from_str(&python("consume", &queue).await).unwrap();
    let expected = serde_json::json!({
        "attributes": {
            "cloudEvents:specversion": "1.0",
            "cloudEvents:id": "semel-1 ü%41",
            "cloudEvents:source": "/shop",
            "cloudEvents:type": "order.placed",
            "cloudEvents:attempt": 7,
        },
        "content_type": "application/json",
        "delivery_mode": 2,
        "body": r#"{"total":3}"#,
    });
    assert_eq!(seen, expected);
}
