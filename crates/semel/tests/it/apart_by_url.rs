//! A store and a broker elsewhere, each by its URL; and what URLs are refused.

use semel::{OpenError, open, open_apart, open_existing};

/// Whether this build has what the URL names.
fn has(url: &str) -> bool {
    match url.split_once(':').map(|(scheme, _)| scheme) {
        Some("postgres") => cfg!(feature = "postgres"),
        Some("nats" | "tls") => cfg!(feature = "nats"),
        Some("amqp" | "amqps") => cfg!(feature = "rabbitmq"),
        _ => true,
    }
}

fn check(url: &str, error: &OpenError, words: &[&str]) {
    let told = error.to_string();
    for word in words {
        assert!(told.contains(word), "{url}: {told}");
    }
    assert!(!told.contains("secret"), "{url}: {told}");
}

#[tokio::test]
async fn a_broker_alone_is_no_backend() {
    for url in ["nats://me:secret@h", "tls://secret@h", "amqp://me:secret@h/%2f", "amqps://h"] {
        check(url, &open(url).await.unwrap_err(), &["is a broker", "open_apart"]);
        check(url, &open_existing(url).await.unwrap_err(), &["is a broker", "open_apart"]);
        let error = open_apart(url, url).await.unwrap_err();
        check(url, &error, &[if has(url) { "is a broker" } else { "enable the feature" }]);
    }
}

#[tokio::test]
async fn what_is_no_broker_is_refused_before_a_store_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let store = format!("sqlite:{}", folder.path().join("shop.db").display());
    for (url, word) in [
        ("sqlite:queue.db", "is a store"),
        ("postgres://me:secret@h/d", "is a store"),
        ("kafka://me:secret@h", "names no broker"),
        ("nats", "names no broker"),
        ("nats://me:secret@h?prefx=a", "`prefx`"),
        ("nats:me:secret@h", "names no broker"),
        ("amqp:me:secret@h", "names no broker"),
        ("amqp://", "names no broker"),
    ] {
        let word = if has(url) || word == "is a store" { word } else { "enable the feature" };
        check(url, &open_apart(&store, url).await.unwrap_err(), &[word]);
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "a file was made");
}

#[tokio::test]
async fn a_scheme_that_was_not_built_in_names_its_feature() {
    for (url, feature) in [
        ("postgres://me:secret@127.0.0.1:1/d", "`postgres`"),
        ("postgresql://me:secret@127.0.0.1:1/d", "`postgres`"),
    ] {
        let error = open(url).await.unwrap_err();
        if has("postgres:") {
            check(url, &error, &["127.0.0.1:1/d"]);
        } else {
            check(url, &error, &["built without", feature]);
        }
    }
    for (url, feature) in [
        ("nats://me:secret@127.0.0.1:1", "`nats`"),
        ("amqp://me:secret@127.0.0.1:1/%2f", "`rabbitmq`"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let store = format!("sqlite:{}", folder.path().join("shop.db").display());
        let error = open_apart(&store, url).await.unwrap_err();
        if has(url) {
            check(url, &error, &["127.0.0.1:1"]);
        } else {
            check(url, &error, &["built without", feature]);
        }
    }
}

#[cfg(all(feature = "postgres", feature = "nats", feature = "rabbitmq"))]
mod servers {
    use semel::core::operator::EndpointReport;
    use semel::core::protocols::{OutboxInbox, state_in};
    use semel::core::store::{ItemKey, Space};
    use semel::prelude::*;
    use semel::{open_apart, open_existing, open_existing_apart};
    use semel_servers::{Kind, address};

    use crate::bank::{Account, Deposited, deposit, to};

    fn fresh(kind: Kind, parameter: &str) -> String {
        let mark = std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos();
        format!("{}?{parameter}=url{mark}", address(kind).unwrap())
    }

    async fn account(backend: &Backend, endpoint: &str) -> Account {
        let key = ItemKey::new(Space::Entity, endpoint, "ann");
        let item = backend.store().read(&key).await.unwrap().unwrap();
        let state = state_in(&item.value).unwrap().unwrap();
        serde_json::from_slice(&state).unwrap()
    }

    /// Deposits are sent twice and handled; state lies in one place, queues in the other.
    async fn serves(store: &str, broker: &str) {
        let backend = open_apart(store, broker).await.unwrap();
        for id in ["1", "2", "1", "2"] {
            backend.send_as(id, "accounts", to("ann", 5)).await.unwrap();
        }
        drop(backend);
        serve(store, broker, &["accounts", "audit"]).await;

        let backend = open_existing_apart(store, broker).await.unwrap();
        for endpoint in ["accounts", "audit"] {
            assert_eq!(account(&backend, endpoint).await, Account::of(10, 2), "{broker}");
        }
        let endpoints = backend.operator().inspect().await.unwrap().endpoints;
        let EndpointReport { protocol, ready, inbox, entities, .. } = &endpoints["accounts"];
        assert_eq!(protocol.as_deref(), Some("outbox-inbox"), "{broker}");
        // The first is the broker's, the others are the store's.
        assert_eq!((*ready, *inbox, *entities), (0, 2, 1), "{broker}");
        // Nothing of it lies in the store's own queue.
        let alone = open_existing(store).await.unwrap().operator().inspect().await.unwrap();
        let queued = |report: &EndpointReport| report.ready + report.delayed + report.in_flight;
        assert!(alone.endpoints.values().all(|report| queued(report) == 0), "{alone:?}");
    }

    #[tokio::test]
    async fn each_store_works_beside_each_broker() {
        let folder = tempfile::tempdir().unwrap();
        for (number, kind) in [Kind::Nats, Kind::Rabbit].into_iter().enumerate() {
            let file = format!("sqlite:{}/{number}.db", folder.path().display());
            serves(&file, &fresh(kind, "prefix")).await;
            serves(&fresh(Kind::Postgres, "schema"), &fresh(kind, "prefix")).await;
        }
    }

    #[tokio::test]
    async fn a_look_makes_no_store() {
        let folder = tempfile::tempdir().unwrap();
        let file = format!("sqlite:{}/shop.db", folder.path().display());
        let missing = open_existing_apart(&file, &fresh(Kind::Nats, "prefix")).await.unwrap_err();
        assert!(missing.to_string().contains("No such file"), "{missing}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn parameters_of_the_client_stay_in_the_url() {
        let folder = tempfile::tempdir().unwrap();
        let file = format!("sqlite:{}/shop.db", folder.path().display());
        for (parameter, told) in [
            ("channel_max=x", "not an address"),
            ("heartbeat=x", "`heartbeat`"),
            ("heartbeats=9", "`heartbeats`"),
        ] {
            let url = format!("{}&{parameter}", fresh(Kind::Rabbit, "prefix"));
            let error = open_apart(&file, &url).await.unwrap_err();
            assert!(error.to_string().contains(told), "{error}");
        }
        let url = format!("{}&channel_max=100", fresh(Kind::Rabbit, "prefix"));
        open_apart(&file, &url).await.unwrap();
    }

    async fn serve(store: &str, broker: &str, names: &[&str]) {
        let note = |account: &mut Account, message: Deposited, _: &mut Context| {
            *account = Account::of(account.pence + message.pence, account.deposits + 1);
        };
        let endpoint = |name: &str| Endpoint::new(name).protocol(OutboxInbox::default());
        let endpoints = [endpoint("accounts").handle(deposit), endpoint("audit").handle(note)];
        let chosen = names.iter().zip(endpoints).map(|(_, endpoint)| endpoint);
        let host = Host::new(open_apart(store, broker).await.unwrap());
        chosen.fold(host, Host::endpoint).run_until_idle().await.unwrap();
    }

    /// What `restores.rs` shows of every protocol, with a broker that keeps its queue by itself.
    #[tokio::test]
    async fn an_older_file_under_a_newer_queue_learns_again_what_is_sent_again() {
        for kind in [Kind::Nats, Kind::Rabbit] {
            let folder = tempfile::tempdir().unwrap();
            let (file, copy) = (folder.path().join("shop.db"), folder.path().join("copy.db"));
            let (store, broker) = (format!("sqlite:{}", file.display()), fresh(kind, "prefix"));
            drop(semel::open(&store).await.unwrap());
            std::fs::copy(&file, &copy).unwrap();
            let send = async || {
                let backend = open_apart(&store, &broker).await.unwrap();
                backend.send_as("1", "accounts", to("ann", 5)).await.unwrap();
            };
            send().await;
            serve(&store, &broker, &["accounts"]).await;
            std::fs::copy(&copy, &file).unwrap();
            serve(&store, &broker, &["accounts", "audit"]).await;
            let backend = open_apart(&store, &broker).await.unwrap();
            let key = ItemKey::new(Space::Entity, "accounts", "ann");
            assert!(backend.store().read(&key).await.unwrap().is_none(), "{broker}");
            assert_eq!(account(&backend, "audit").await, Account::of(5, 1), "{broker}");
            send().await;
            serve(&store, &broker, &["accounts", "audit"]).await;
            for endpoint in ["accounts", "audit"] {
                assert_eq!(account(&backend, endpoint).await, Account::of(5, 1), "{broker}");
            }
        }
    }
}
