//! What is made, what is found, and what is refused.

use std::path::PathBuf;
use std::time::Duration;

use semel_core::broker::{Receive, Registration, SendOutcome, Settlement};
use semel_core::operator::Operator as _;
use semel_core::store::Trouble;
use semel_core::{Broker as _, StoreError};
use semel_nats::{Encryption, Login, Nats, Options};
use serde_json::{Value, json};

use crate::rig::{
    LONG, NatsRig, folder, fresh, fresh_options, id, message, next, receive, send, sent, settled,
    within,
};

/// A server with a configuration of its own.
fn configured(name: &str, lines: &str) -> semel_servers::Nats {
    let config: PathBuf = folder(name).with_extension("conf");
    std::fs::create_dir_all(config.parent().unwrap()).unwrap();
    std::fs::write(&config, lines).unwrap();
    let arguments = ["-c".to_owned(), config.display().to_string()];
    semel_servers::Nats::start_with(&folder(name), &arguments)
        .unwrap_or_else(|error| panic!("{error}"))
}

async fn refused(address: &str, options: &Options) -> StoreError {
    let limit = Duration::from_secs(15);
    let error = within(limit, Nats::connect(address, options.clone())).await.unwrap_err();
    assert!(!error.help.is_empty() && !error.reason.is_empty(), "{error}");
    assert!(!error.to_string().contains("s3cret"), "{error}");
    error
}

#[tokio::test]
async fn a_server_that_is_not_there_is_told() {
    let port = semel_servers::free_port().unwrap();
    let error = refused(&format!("nats://127.0.0.1:{port}"), &fresh_options()).await;
    assert_eq!(error.trouble, Trouble::Unavailable, "{error}");
    assert!(error.to_string().contains(&port.to_string()), "{error}");
}

#[tokio::test]
async fn wrong_credentials_are_told_without_them() {
    let users = "authorization { users = [ { user: \"shop\", password: \"s3cret\" } ] }\n";
    let server = configured("login", users);
    let with = |login| Options { login, ..fresh_options() };
    let password =
        |password: &str| Login::Password { user: "shop".to_owned(), password: password.to_owned() };
    let port = server.port();
    for (address, login) in [
        (server.address(), Login::Address),
        (format!("nats://shop:s3cret2@127.0.0.1:{port}"), Login::Address),
        (server.address(), password("s3cret2")),
        (server.address(), Login::Token("s3cret".to_owned())),
    ] {
        let error = refused(&address, &with(login)).await;
        assert_eq!(error.trouble, Trouble::Broken, "{error}");
        assert!(error.reason.contains("authorization"), "{error}");
    }
    let missing = Login::CredentialsFile("/nowhere/at/all".into());
    assert_eq!(refused(&server.address(), &with(missing)).await.trouble, Trouble::Broken);
    let url = format!("nats://shop:s3cret@127.0.0.1:{port}");
    for (address, login) in [(server.address(), password("s3cret")), (url, Login::Address)] {
        let nats = Nats::connect(&address, with(login.clone())).await.unwrap();
        assert!(!format!("{nats:?} {login:?}").contains("s3cret"));
    }
}

/// A connection that must be encrypted trusts the roots that it was told, and no others.
#[tokio::test]
async fn an_encrypted_connection_checks_the_certificate() {
    let own = folder("tls-certificate");
    std::fs::create_dir_all(&own).unwrap();
    let (key, certificate) = (own.join("server.key"), own.join("server.crt"));
    let mut openssl = std::process::Command::new("openssl");
    openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]);
    openssl.args(["-nodes", "-days", "3650", "-subj", "/CN=localhost"]);
    openssl.args(["-addext", "subjectAltName=IP:127.0.0.1"]);
    openssl.args(["-addext", "basicConstraints=critical,CA:FALSE"]);
    openssl.arg("-keyout").arg(&key).arg("-out").arg(&certificate);
    assert!(openssl.output().unwrap().status.success());
    let (key, shown) = (key.display(), certificate.display());
    let server =
        configured("tls", &format!("tls {{ cert_file: \"{shown}\", key_file: \"{key}\" }}\n"));
    let with = |encryption| Options { encryption, ..fresh_options() };
    let trusting = with(Encryption::RequiredWithRoots(certificate.clone()));
    let nats = Nats::connect(&server.address(), trusting).await.unwrap();
    sent(&nats, message("1")).await;
    let error = refused(&server.address(), &with(Encryption::Required)).await;
    assert!(error.to_string().to_lowercase().contains("certificate"), "{error}");
    let error = refused(&crate::rig::address(), &with(Encryption::Required)).await;
    assert!(error.to_string().to_lowercase().contains("tls"), "{error}");
}

#[tokio::test]
async fn addresses_and_prefixes_that_are_none_are_told() {
    let error = refused("not an address at all:x", &fresh_options()).await;
    assert_eq!(error.trouble, Trouble::Broken, "{error}");
    for prefix in ["", "a.b", "a_b", "a b", "*", ">"] {
        let options = Options { prefix: prefix.to_owned(), ..Options::default() };
        assert_eq!(refused(&crate::rig::address(), &options).await.trouble, Trouble::Unsupported);
    }
}

/// JetStream that is off for the account is told as such.
#[tokio::test]
async fn a_server_without_jetstream_is_told() {
    let accounts = "accounts { A { users: [ { user: a, password: a } ] }\n\
                    J { jetstream: enabled, users: [ { user: j, password: j } ] } }\n\
                    no_auth_user: a\n";
    let server = configured("plain", accounts);
    let error = refused(&server.address(), &fresh_options()).await;
    assert!(error.to_string().contains("JetStream"), "{error}");
}

async fn api(rig: &NatsRig, what: &str, body: Value) -> Value {
    let subject = format!("$JS.API.{what}");
    let answer = rig.bare().await.request(subject, body.to_string().into()).await.unwrap();
    let answer: Value = serde_json::from_slice(&answer.payload).unwrap();
    assert!(answer.get("error").is_none(), "{answer}");
    answer
}

/// A stream of another configuration under our name is refused, each time with what is wrong.
#[tokio::test]
async fn a_foreign_stream_is_refused() {
    let good = |rig: &NatsRig| {
        json!({
            "name": rig.queue_stream("orders"), "subjects": [rig.queue_subject("orders")],
            "retention": "workqueue", "storage": "file", "discard": "new",
        })
    };
    let wrongs = [
        ("retention", json!("limits"), "retention"),
        ("storage", json!("memory"), "storage"),
        ("max_age", json!(60_000_000_000_u64), "max_age"),
        ("max_msgs_per_subject", json!(1), "max_msgs_per_subject"),
        ("deny_delete", json!(true), "deny_delete"),
        ("no_ack", json!(true), "no_ack"),
        ("subjects", json!(["elsewhere"]), "subjects"),
    ];
    for (setting, value, told) in wrongs {
        let rig = fresh().await;
        let mut config = good(&rig);
        let elsewhere = format!("elsewhere.{}", rig.options.prefix);
        config[setting] = if setting == "subjects" { json!([elsewhere]) } else { value };
        api(&rig, &format!("STREAM.CREATE.{}", rig.queue_stream("orders")), config).await;
        let nats = rig.open().await;
        let outcome = send(&nats, message("1")).await;
        let SendOutcome::Unknown(error) = outcome else { panic!("{setting}: {outcome:?}") };
        assert_eq!(error.trouble, Trouble::Broken, "{error}");
        assert!(error.reason.contains(told), "{error}");
        let error = receive(&nats, 1, LONG, Duration::ZERO).await.unwrap_err();
        assert!(error.reason.contains(&rig.queue_stream("orders")), "{error}");
    }
    let rig = fresh().await;
    let mut config = good(&rig);
    (config["max_bytes"], config["discard"]) = (json!(1_000_000), json!("old"));
    api(&rig, &format!("STREAM.CREATE.{}", rig.queue_stream("orders")), config).await;
    let error = receive(&*rig.open().await, 1, LONG, Duration::ZERO).await.unwrap_err();
    assert!(error.reason.contains("drop old messages"), "{error}");
}

/// So is a stream of the records, at once, and one that takes our subjects under another name.
#[tokio::test]
async fn a_foreign_stream_of_records_is_refused() {
    let rig = fresh().await;
    let subjects = json!([format!("{}.>", rig.options.prefix)]);
    let create = |name: String| {
        (format!("STREAM.CREATE.{name}"), json!({ "name": name, "subjects": subjects }))
    };
    let (what, body) = create(rig.state_stream());
    api(&rig, &what, body).await;
    let error = refused(&rig.address, &rig.options).await;
    assert_eq!(error.trouble, Trouble::Broken, "{error}");
    assert!(error.reason.contains("max_msgs_per_subject"), "{error}");

    let rig = fresh().await;
    let subjects = json!([format!("{}.>", rig.options.prefix)]);
    let name = format!("{}-other", rig.options.prefix);
    let body = json!({ "name": name, "subjects": subjects });
    api(&rig, &format!("STREAM.CREATE.{name}"), body).await;
    let error = refused(&rig.address, &rig.options).await;
    assert_eq!(error.trouble, Trouble::Broken, "{error}");
    assert!(error.to_string().contains("overlap"), "{error}");
}

/// A consumer under our name that would drop, delay or hide messages is refused.
#[tokio::test]
async fn a_foreign_consumer_is_refused() {
    let wrongs = [
        ("max_deliver", json!(3), "max_deliver"),
        ("max_ack_pending", json!(10), "max_ack_pending"),
        ("headers_only", json!(true), "headers_only"),
    ];
    for (setting, value, told) in wrongs {
        let rig = fresh().await;
        let nats = rig.open().await;
        sent(&nats, message("1")).await;
        let stream = rig.queue_stream("orders");
        api(&rig, &format!("CONSUMER.DELETE.{stream}.workers"), json!({})).await;
        let mut config = json!({ "durable_name": "workers", "ack_policy": "explicit",
            "deliver_policy": "all", "max_ack_pending": -1 });
        config[setting] = value;
        let body = json!({ "stream_name": stream, "config": config });
        api(&rig, &format!("CONSUMER.DURABLE.CREATE.{stream}.workers"), body).await;
        let fresh_handle = rig.open().await;
        let error = receive(&fresh_handle, 1, LONG, Duration::ZERO).await.unwrap_err();
        assert_eq!(error.trouble, Trouble::Broken, "{error}");
        assert!(error.reason.contains(told), "{error}");
    }
}

/// What is found and fits is taken as it is, with whatever settings do no harm.
#[tokio::test]
async fn a_fitting_stream_is_taken_as_it_is() {
    let rig = fresh().await;
    let stream = rig.queue_stream("orders");
    let config = json!({
        "name": stream, "subjects": [rig.queue_subject("orders")], "retention": "workqueue",
        "storage": "file", "discard": "new", "max_bytes": 10_000_000, "description": "by hand",
    });
    api(&rig, &format!("STREAM.CREATE.{stream}"), config).await;
    let nats = rig.open().await;
    sent(&nats, message("1")).await;
    assert_eq!(id(&next(&nats, LONG).await), "1");
    let info = api(&rig, &format!("STREAM.INFO.{stream}"), json!({})).await;
    assert_eq!(info["config"]["description"], "by hand");
}

/// A stream that a person deleted is made again, and old records do not speak for new messages.
#[tokio::test]
async fn records_of_a_deleted_stream_do_not_speak_for_a_new_one() {
    let rig = fresh().await;
    let nats = rig.open().await;
    sent(&nats, message("old")).await;
    next(&nats, LONG).await;
    api(&rig, &format!("STREAM.DELETE.{}", rig.queue_stream("orders")), json!({})).await;
    let outcome = send(&nats, message("between")).await;
    assert!(matches!(outcome, SendOutcome::Unknown(_)), "{outcome:?}");
    sent(&nats, message("new")).await;
    // It has the sequence of the old one, whose lease still runs.
    let delivery = next(&nats, LONG).await;
    assert_eq!((id(&delivery), delivery.deliveries), ("new", 1));
    settled(&nats, &delivery, Settlement::Ack).await;
}

/// The permissions that the crate's table names are enough; less is told with what was forbidden.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_documented_permissions_are_enough() {
    let p = "shop";
    let streams = [format!("{p}_state"), format!("{p}_queue_orders"), format!("{p}_queue_late")];
    let mut publish = vec![
        format!("{p}.>"),
        "$JS.API.INFO".to_owned(),
        "$JS.API.STREAM.NAMES".to_owned(),
        format!("$JS.API.CONSUMER.CREATE.{p}_state"),
        format!("$JS.API.CONSUMER.MSG.NEXT.{p}_state.*"),
        format!("$JS.API.CONSUMER.DELETE.{p}_state.*"),
    ];
    for s in &streams {
        for what in ["STREAM.INFO", "STREAM.CREATE", "STREAM.MSG.GET", "STREAM.MSG.DELETE"] {
            publish.push(format!("$JS.API.{what}.{s}"));
        }
        for what in ["CONSUMER.DURABLE.CREATE", "CONSUMER.INFO", "CONSUMER.MSG.NEXT"] {
            publish.push(format!("$JS.API.{what}.{s}.workers"));
        }
        publish.push(format!("$JS.ACK.{s}.>"));
    }
    let users = json!({ "users": [
        { "user": "shop", "password": "s3cret",
          "permissions": { "publish": publish, "subscribe": ["_INBOX.>"] } },
        { "user": "guest", "password": "s3cret",
          "permissions": { "publish": ["$JS.API.INFO"], "subscribe": ["_INBOX.>"] } },
    ]});
    let server = configured("permissions", &format!("authorization: {users}\n"));
    let options = |user: &str| Options {
        prefix: p.to_owned(),
        login: Login::Password { user: user.to_owned(), password: "s3cret".to_owned() },
        call_timeout: Duration::from_secs(1),
        ..Options::default()
    };
    let nats = Nats::connect(&server.address(), options("shop")).await.unwrap();
    let registration = Registration {
        endpoint: "orders".to_owned(),
        protocol: "outbox".to_owned(),
        subscriptions: vec!["order.placed".to_owned()],
    };
    nats.register(&registration).await.unwrap();
    for n in 0..3 {
        sent(&nats, message(n.to_string())).await;
    }
    let failure = crate::messages::failure();
    let after = Duration::ZERO;
    let delivery = next(&nats, LONG).await;
    nats.extend(std::slice::from_ref(&delivery.receipt), LONG).await.unwrap();
    settled(&nats, &delivery, Settlement::Retry { after, failure: failure.clone() }).await;
    let reason = semel_core::broker::DeadReason::Refused;
    let dead = Settlement::DeadLetter { reason, failure, entity: None };
    settled(&nats, &next(&nats, LONG).await, dead).await;
    settled(&nats, &next(&nats, LONG).await, Settlement::Ack).await;
    let letter = crate::rig::dead_letters(&nats).await.remove(0);
    assert!(nats.dead_letter(letter.number).await.unwrap().is_some());
    let outcome = nats.settle(&letter.receipt, Settlement::Release { after }).await;
    assert!(matches!(outcome, semel_core::broker::SettleOutcome::Settled), "{outcome:?}");
    let report = nats.inspect().await.unwrap();
    assert_eq!(report.endpoints["orders"].ready, 2);

    let other = Receive { endpoint: "other".to_owned(), max: 1, lease: LONG, wait: after };
    let error = nats.receive(&other).await.unwrap_err();
    assert!(error.reason.to_lowercase().contains("permissions violation"), "{error}");
    let error = refused(&server.address(), &options("guest")).await;
    assert!(error.reason.to_lowercase().contains("permissions violation"), "{error}");
}
