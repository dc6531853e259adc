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
                let passes = |mode| matches!(mode, Mode::Pass | Mode::LoseReplies);
                tokio::spawn(pump(from_client, to_server, accepting.subscribe(), passes));
                let passes = |mode| mode == Mode::Pass;
                tokio::spawn(pump(from_server, to_client, accepting.subscribe(), passes));
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

/// Hands bytes on while `passes`; drops them otherwise; ends with the connection.
async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut mode: watch::Receiver<Mode>,
    passes: fn(Mode) -> bool,
) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        if *mode.borrow() == Mode::Cut {
            return;
        }
        tokio::select! {
            read = from.read(&mut buffer) => {
                let Ok(count @ 1..) = read else { return };
                let passes = passes(*mode.borrow());
                if passes && to.write_all(&buffer[..count]).await.is_err() {
                    return;
                }
            }
            changed = mode.changed() => {
                if changed.is_err() {
                    return;
                }
            }
        }
    }
}
