//! A network between client and server that can be cut, or swallow everything.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Longer than any test.
const SILENCE: Duration = Duration::from_secs(600);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Weather {
    Fair,
    /// Bytes are swallowed, in both directions.
    Silent,
    /// Connections of before this number are closed.
    Cut(u32),
}

pub(crate) struct Proxy {
    pub(crate) address: String,
    weather: Arc<watch::Sender<Weather>>,
}

impl Proxy {
    /// A way to the server at `address`.
    pub(crate) async fn before(address: &str) -> Self {
        let server = address.rsplit_once('@').unwrap().1.split('/').next().unwrap().to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let own = listener.local_addr().unwrap().to_string();
        let weather = Arc::new(watch::channel(Weather::Fair).0);
        let told = weather.clone();
        let target = server.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Ok(server) = TcpStream::connect(&target).await else { continue };
                let (from_client, to_client) = client.into_split();
                let (from_server, to_server) = server.into_split();
                tokio::spawn(carry(from_client, to_server, told.subscribe()));
                tokio::spawn(carry(from_server, to_client, told.subscribe()));
            }
        });
        Self { address: address.replace(&server, &own), weather }
    }

    /// Closes every connection there is.
    pub(crate) fn cut(&self) {
        self.weather.send_modify(|weather| {
            *weather = match weather {
                Weather::Cut(cuts) => Weather::Cut(*cuts + 1),
                _ => Weather::Cut(1),
            };
        });
    }

    /// Lets nothing through any more, and closes nothing.
    pub(crate) fn silence(&self) {
        self.weather.send_replace(Weather::Silent);
    }
}

async fn carry(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut weather: watch::Receiver<Weather>,
) {
    if *weather.borrow_and_update() == Weather::Silent {
        return tokio::time::sleep(SILENCE).await;
    }
    let mut buffer = vec![0; 64 * 1024];
    loop {
        tokio::select! {
            biased;
            changed = weather.changed() => {
                let weather = *weather.borrow_and_update();
                if changed.is_ok() && weather == Weather::Silent {
                    // What was under way is never heard of again.
                    tokio::time::sleep(SILENCE).await;
                }
                return;
            }
            read = from.read(&mut buffer) => match read {
                Ok(count @ 1..) => {
                    if to.write_all(&buffer[..count]).await.is_err() {
                        return;
                    }
                }
                _ => return,
            }
        }
    }
}
