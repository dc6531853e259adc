//! A connection that a test can cut, block, or rob of its replies.

use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What becomes of the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// They pass.
    Pass,
    /// Those to the server wait until they may pass.
    HoldRequests,
    /// Those from the server vanish: requests arrive, replies do not.
    LoseReplies,
    /// All vanish.
    BlackHole,
    /// Connections are cut, and new ones refused.
    Cut,
}

/// A proxy before a server.
pub(crate) struct Proxy {
    port: u16,
    mode: Arc<watch::Sender<Mode>>,
}

impl Proxy {
    pub(crate) async fn start(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let mode = Arc::new(watch::Sender::new(Mode::Pass));
        let accepting = mode.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Ok(server) = TcpStream::connect(("127.0.0.1", server)).await else { continue };
                let (from_client, to_client) = client.into_split();
                let (from_server, to_server) = server.into_split();
                tokio::spawn(pump(from_client, to_server, accepting.subscribe(), of_requests));
                tokio::spawn(pump(from_server, to_client, accepting.subscribe(), of_replies));
            }
        });
        Self { port, mode }
    }

    pub(crate) fn address(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    pub(crate) fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }
}

/// What becomes of the bytes of one direction.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Pass,
    Vanish,
    Wait,
}

fn of_requests(mode: Mode) -> Fate {
    match mode {
        Mode::Pass | Mode::LoseReplies => Fate::Pass,
        Mode::HoldRequests => Fate::Wait,
        Mode::BlackHole | Mode::Cut => Fate::Vanish,
    }
}

fn of_replies(mode: Mode) -> Fate {
    match mode {
        Mode::Pass | Mode::HoldRequests => Fate::Pass,
        Mode::LoseReplies | Mode::BlackHole | Mode::Cut => Fate::Vanish,
    }
}

/// Hands bytes on, or not; ends with the connection.
async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut mode: watch::Receiver<Mode>,
    fate: fn(Mode) -> Fate,
) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        if *mode.borrow_and_update() == Mode::Cut {
            return;
        }
        let count = tokio::select! {
            read = from.read(&mut buffer) => match read {
                Ok(count @ 1..) => count,
                _ => return,
            },
            changed = mode.changed() => match changed {
                Ok(()) => continue,
                Err(_) => return,
            },
        };
        let decided = mode.wait_for(|mode| fate(*mode) != Fate::Wait).await.map(|mode| fate(*mode));
        let Ok(decided) = decided else { return };
        if decided == Fate::Pass && to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}
