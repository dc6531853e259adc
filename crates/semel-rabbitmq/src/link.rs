//! A connection that is made again when it was lost, and calls that end in time.

use std::future::Future;
use std::sync::{Arc, Mutex as StdMutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use lapin::tcp::OwnedTLSConfig;
use lapin::uri::AMQPUri;
use lapin::{Channel, Connection, ConnectionProperties, Event};
use semel_core::StoreError;
use semel_core::store::Trouble;
use tokio::sync::{Mutex, watch};
use tokio::time::{Instant, timeout, timeout_at};

use crate::{Options, error};

/// Where a server is, and how long it may take to answer.
#[derive(Clone)]
pub(crate) struct Server {
    uri: AMQPUri,
    /// Its address without the password.
    pub(crate) place: Arc<str>,
    pub(crate) patience: Duration,
    tls: OwnedTLSConfig,
}

impl Server {
    pub(crate) fn new(address: &str, options: &Options) -> Result<Self, StoreError> {
        let (patience, heartbeat) = (options.patience, options.heartbeat);
        let mut uri: AMQPUri = address.parse().map_err(|reason: String| {
            let help = "Write it as amqp://USER:PASSWORD@HOST:PORT/VIRTUAL_HOST, with %2f for the \
                        virtual host `/`, or amqps://… for TLS.";
            // The address may hold a password: it is not repeated.
            error::new(
                "?",
                Trouble::Unsupported,
                "connect",
                format!("not an address: {reason}"),
                help,
            )
        })?;
        // The server rounds to seconds, and takes zero for never.
        let seconds = heartbeat.as_secs().clamp(1, 600);
        uri.query.heartbeat = Some(u16::try_from(seconds).unwrap_or(60));
        let authority = &uri.authority;
        let place = format!("{}:{}/{}", authority.host, authority.port, uri.vhost);
        let tls = OwnedTLSConfig { identity: None, cert_chain: roots(&place, options)? };
        Ok(Self { place: place.into(), uri, patience, tls })
    }

    /// A connection; `role` is its name in the server's lists.
    pub(crate) async fn connect(&self, role: &str) -> Result<Connection, StoreError> {
        let properties =
            ConnectionProperties::default().with_connection_name(format!("semel {role}").into());
        let connecting = async {
            let (uri, tls) = (self.uri.clone(), self.tls.clone());
            let runtime = lapin::runtime::default_runtime()?;
            Connection::connect_uri_with_config(uri, properties, tls, runtime).await
        };
        self.within("connect", connecting).await
    }

    /// The answer of a call, or that none came in time.
    pub(crate) async fn within<T>(
        &self,
        operation: &'static str,
        call: impl Future<Output = lapin::Result<T>>,
    ) -> Result<T, StoreError> {
        match timeout(self.patience, call).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(error::translate(&self.place, operation, &error)),
            Err(_) => Err(error::no_answer(&self.place, operation)),
        }
    }

    pub(crate) fn error(
        &self,
        trouble: Trouble,
        operation: &'static str,
        reason: impl Into<String>,
        help: &str,
    ) -> StoreError {
        error::new(&self.place, trouble, operation, reason, help)
    }
}

/// The root certificates that were named, as text.
fn roots(place: &str, options: &Options) -> Result<Option<String>, StoreError> {
    let Some(file) = &options.root_certificates else { return Ok(None) };
    let refuse = |reason: String| {
        let help = "Name a file of certificates in PEM in `Options::root_certificates`.";
        error::new(place, Trouble::Broken, "connect", reason, help)
    };
    let read = std::fs::read_to_string(file);
    let text = read.map_err(|error| refuse(format!("cannot read {}: {error}", file.display())))?;
    if !text.contains("-----BEGIN CERTIFICATE-----") {
        return Err(refuse(format!("{} holds no certificate", file.display())));
    }
    Ok(Some(text))
}

/// Something that is made when it is needed, by one caller for all who wait for it.
pub(crate) struct Shared<T> {
    now: Option<T>,
    failed: Option<(Instant, StoreError)>,
}

impl<T> Default for Shared<T> {
    fn default() -> Self {
        Self { now: None, failed: None }
    }
}

impl<T: Clone> Shared<T> {
    /// What there is, or why it could not be made since the caller began to wait: callers fail
    /// together, not one after the other's time-out.
    pub(crate) fn get(
        &self,
        since: Instant,
        is_good: impl FnOnce(&T) -> bool,
    ) -> Option<Result<T, StoreError>> {
        if let Some(now) = self.now.as_ref().filter(|now| is_good(now)) {
            return Some(Ok(now.clone()));
        }
        let failed = self.failed.as_ref().filter(|(at, _)| *at >= since);
        failed.map(|(_, error)| Err(error.clone()))
    }

    /// Notes what came of making it.
    pub(crate) fn set(&mut self, made: Result<T, StoreError>) -> Result<T, StoreError> {
        match &made {
            Ok(made) => self.now = Some(made.clone()),
            Err(error) => self.failed = Some((Instant::now(), error.clone())),
        }
        made
    }

    pub(crate) fn take(&mut self) -> Option<T> {
        self.now.take()
    }
}

/// One connection at a time.
pub(crate) struct Link {
    server: Server,
    role: &'static str,
    live: Mutex<Shared<Arc<Connection>>>,
    /// Why the server takes no messages from the newest connection, if it said so.
    alarm: StdMutex<watch::Sender<Option<String>>>,
}

impl Link {
    pub(crate) fn new(server: Server, role: &'static str) -> Self {
        Self { server, role, live: Mutex::default(), alarm: StdMutex::default() }
    }

    /// The connection; a new one if it was lost.
    pub(crate) async fn connection(&self) -> Result<Arc<Connection>, StoreError> {
        let since = Instant::now();
        let mut live = self.live.lock().await;
        if let Some(answer) = live.get(since, |it| it.status().connected()) {
            return answer;
        }
        let place = &*self.server.place;
        if live.take().is_some() {
            tracing::warn!(server = place, role = self.role, "the connection was lost");
        }
        let connected = self.server.connect(self.role).await.map(Arc::new);
        match &connected {
            Ok(connection) => {
                tracing::info!(server = place, role = self.role, "connected");
                self.listen(connection);
            }
            Err(error) => {
                tracing::warn!(server = place, role = self.role, %error, "cannot connect");
            }
        }
        live.set(connected)
    }

    /// Notes the server's alarms for as long as the connection lives.
    fn listen(&self, connection: &Connection) {
        let alarm = watch::Sender::default();
        *self.alarm.lock().unwrap_or_else(PoisonError::into_inner) = alarm.clone();
        let mut events = Box::pin(connection.events_listener());
        let (status, place) = (connection.status().clone(), self.server.place.clone());
        tokio::spawn(async move {
            while let Some(event) = events.next().await {
                let Some(told) = told(event, status.connected()) else { continue };
                match &told {
                    Some(reason) => {
                        tracing::warn!(server = &*place, reason, "the server takes no messages");
                    }
                    None => tracing::info!(server = &*place, "no alarm is on"),
                }
                alarm.send_replace(told);
            }
            alarm.send_replace(None);
        });
    }

    fn alarms(&self) -> watch::Receiver<Option<String>> {
        self.alarm.lock().unwrap_or_else(PoisonError::into_inner).subscribe()
    }

    /// The alarm that is on now.
    pub(crate) fn alarm(&self) -> Option<String> {
        self.alarms().borrow().clone()
    }

    /// Waits until an alarm is on, for as long as this connection lives.
    pub(crate) async fn wait_for_alarm(&self) {
        if self.alarms().wait_for(Option::is_some).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Waits until no alarm is on; fails with the alarm when it is not over by then.
    pub(crate) async fn wait_for_calm(
        &self,
        operation: &'static str,
        deadline: Instant,
    ) -> Result<(), StoreError> {
        let mut alarms = self.alarms();
        let calm = timeout_at(deadline, alarms.wait_for(Option::is_none)).await.is_ok();
        match self.alarm() {
            Some(reason) if !calm => Err(error::alarm(&self.server.place, operation, &reason)),
            _ => Ok(()),
        }
    }

    /// A channel of its own.
    pub(crate) async fn channel(&self, operation: &'static str) -> Result<Channel, StoreError> {
        let connection = self.connection().await?;
        self.server.within(operation, connection.create_channel()).await
    }
}

/// What an event says of alarms, if anything: the one that is on, or that there is none.
fn told(event: Event, lives: bool) -> Option<Option<String>> {
    match event {
        Event::ConnectionBlocked(reason) => Some(Some(reason)),
        Event::ConnectionUnblocked => Some(None),
        // A channel may have failed alone, while the connection lives: that ends no alarm.
        Event::Error(_) if !lives => Some(None),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use lapin::{ErrorKind, Event};

    use super::told;

    #[test]
    fn an_alarm_ends_with_its_connection_and_not_with_a_channel() {
        let failed = || Event::Error(ErrorKind::ChannelsLimitReached.into());
        assert_eq!(told(failed(), true), None);
        assert_eq!(told(failed(), false), Some(None));
        let begun = told(Event::ConnectionBlocked("low on memory".to_owned()), true);
        assert_eq!(begun, Some(Some("low on memory".to_owned())));
        assert_eq!(told(Event::ConnectionUnblocked, true), Some(None));
    }
}
