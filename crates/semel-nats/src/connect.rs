//! Making the connection, and telling what becomes of it.

use std::sync::Arc;
use std::time::Duration;

use async_nats::{Client, ConnectErrorKind, ConnectOptions, Event};
use semel_core::StoreError;
use semel_core::store::Trouble;
use serde_json::{Value, json};

use crate::options::{Encryption, Login, Options};
use crate::wire::{News, Wire};
use crate::{error, names};

const CONNECT: &str = "connect";
const CHECK_TLS: &str = "Check whether the server speaks TLS, its certificate, the name in it, and \
                         the roots that are trusted.";
/// How often the server must show that it is alive.
const PING_EVERY: Duration = Duration::from_secs(5);

/// Connects, and checks that JetStream answers.
pub(crate) async fn connect(
    place: &str,
    addresses: &[&str],
    options: &Options,
) -> Result<Wire, StoreError> {
    let news = Arc::new(News::default());
    let connecting = login(place, addresses, options).await?;
    let connecting = encrypt(connecting, &options.encryption)
        .name(place)
        .ping_interval(PING_EVERY)
        .connection_timeout(options.call_timeout)
        .event_callback(listener(place.to_owned(), news.clone()));
    let addresses: Vec<String> = addresses.iter().map(|&address| address.to_owned()).collect();
    let limit = options.call_timeout;
    // Several servers may be tried, each up to the limit.
    let tries = u32::try_from(addresses.len().max(1)).unwrap_or(1) * 2;
    let client: Client = match tokio::time::timeout(
        limit.saturating_mul(tries),
        connecting.connect(addresses),
    )
    .await
    {
        Ok(Ok(client)) => client,
        Ok(Err(failed)) => return Err(refused(place, failed.kind(), &chain(&failed))),
        Err(_) => return Err(refused(place, ConnectErrorKind::TimedOut, "no answer")),
    };
    let wire = Wire { client, limit, news };
    match wire.api::<Value>("INFO", &json!({})).await {
        Ok(_) => Ok(wire),
        Err(failed) => Err(failed.into_error(place, "ask for JetStream")),
    }
}

async fn login(
    place: &str,
    addresses: &[&str],
    options: &Options,
) -> Result<ConnectOptions, StoreError> {
    let new = ConnectOptions::new();
    Ok(match &options.login {
        // The client itself looks at no user in an address.
        Login::Address => match addresses.iter().find_map(|address| user_of(address)) {
            None => new,
            Some((user, Some(password))) => new.user_and_password(user, password),
            Some((token, None)) => new.token(token),
        },
        Login::Password { user, password } => new.user_and_password(user.clone(), password.clone()),
        Login::Token(token) => new.token(token.clone()),
        Login::NKey(seed) => new.nkey(seed.clone()),
        Login::CredentialsFile(path) => new.credentials_file(path).await.map_err(|failed| {
            let reason = format!("{}: {failed}", path.display());
            let help = "Name a file of credentials that this user may read.";
            error::new(place, Trouble::Broken, CONNECT, reason, help)
        })?,
    })
}

/// The user and password of an address, or its token; none if it names nobody.
fn user_of(address: &str) -> Option<(String, Option<String>)> {
    let (before, _) = address.rsplit_once('@')?;
    let user = before.split_once("://").map_or(before, |(_, user)| user);
    let plain = |text: &str| names::unescaped(text, b'%');
    Some(match user.split_once(':') {
        Some((user, password)) => (plain(user), Some(plain(password))),
        None => (plain(user), None),
    })
}

fn encrypt(connecting: ConnectOptions, encryption: &Encryption) -> ConnectOptions {
    match encryption {
        Encryption::AsServerAsks => connecting,
        Encryption::Required => connecting.require_tls(true),
        Encryption::RequiredWithRoots(roots) => {
            connecting.require_tls(true).add_root_certificates(roots.clone())
        }
    }
}

fn refused(place: &str, kind: ConnectErrorKind, reason: &str) -> StoreError {
    // The client counts these among the troubles of the connection.
    let about_tls = ["certificate", "corrupt message"].iter().any(|text| reason.contains(text));
    let (trouble, help) = match kind {
        ConnectErrorKind::Io if about_tls => (Trouble::Broken, CHECK_TLS),
        ConnectErrorKind::Authentication | ConnectErrorKind::AuthorizationViolation => {
            (Trouble::Broken, "Check user and password, token, key or file of credentials.")
        }
        ConnectErrorKind::ServerParse => {
            (Trouble::Broken, "Write the address as `nats://host:4222`; several with commas.")
        }
        ConnectErrorKind::Tls => (Trouble::Broken, CHECK_TLS),
        ConnectErrorKind::Dns
        | ConnectErrorKind::TimedOut
        | ConnectErrorKind::Io
        | ConnectErrorKind::MaxReconnects => {
            (Trouble::Unavailable, "Look whether the server runs and can be reached from here.")
        }
    };
    error::new(place, trouble, CONNECT, reason, help)
}

/// An error with what caused it.
fn chain(failed: &dyn std::error::Error) -> String {
    let mut told = failed.to_string();
    let mut cause = failed.source();
    while let Some(inner) = cause {
        let inner_told = inner.to_string();
        if !told.contains(&inner_told) {
            told = format!("{told}: {inner_told}");
        }
        cause = inner.source();
    }
    told
}

type Told = std::pin::Pin<Box<dyn Future<Output = ()> + Send + Sync>>;

fn listener(place: String, news: Arc<News>) -> impl Fn(Event) -> Told + Send + Sync + 'static {
    move |event| {
        match &event {
            Event::Connected => tracing::info!(place, "connected"),
            Event::Disconnected => {
                news.cut();
                tracing::warn!(place, "the connection is lost; it is tried again and again");
            }
            Event::ServerError(_) | Event::ClientError(_) => {
                news.complaint(event.to_string());
                tracing::warn!(place, %event, "trouble with the connection");
            }
            Event::LameDuckMode | Event::Draining | Event::Closed | Event::SlowConsumer(_) => {
                tracing::warn!(place, %event, "the connection changes");
            }
        }
        Box::pin(std::future::ready(()))
    }
}

#[cfg(test)]
mod tests {
    use super::user_of;

    #[test]
    fn the_user_of_an_address_is_found() {
        let password = |text: &str| Some(text.to_owned());
        for (address, expected) in [
            ("nats://host:4222", None),
            ("nats://shop:p%40ss:1@host:4222", Some(("shop".to_owned(), password("p@ss:1")))),
            ("shop:p@host", Some(("shop".to_owned(), password("p")))),
            ("tls://token@host", Some(("token".to_owned(), None))),
        ] {
            assert_eq!(user_of(address), expected, "{address}");
        }
    }
}
