//! A proxy that cuts connections at a chosen message.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crate::ServerError;

/// How long the server has for what reached it, after its client was cut off.
const GRACE: Duration = Duration::from_millis(20);

/// Where to cut, counted over all messages from clients to the server from then on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Before the message with this number, from 1, reaches the server.
    Before(u32),
    /// In the middle of it.
    Within(u32),
    /// When it has reached the server, before any reply to it reaches the client.
    After(u32),
}

impl Cut {
    const fn number(self) -> u32 {
        match self {
            Self::Before(number) | Self::Within(number) | Self::After(number) => number,
        }
    }
}

/// How a stream from a client divides into messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// As the protocol of PostgreSQL does, without TLS. What opens a connection does not count.
    Postgres,
    /// Each piece that arrives at once counts as one.
    Pieces,
}

/// A proxy in front of a server, on a free port. It ends with its value.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    target: u16,
    framing: Framing,
    cut: Mutex<Option<Cut>>,
    /// Messages seen since the cut was chosen.
    seen: AtomicI64,
    is_over: AtomicBool,
    /// Connections that are open, to be cut when it ends.
    streams: Mutex<Vec<TcpStream>>,
}

impl Proxy {
    /// Starts one in front of the server on this port of this machine. It cuts nothing yet.
    pub fn start(target: u16, framing: Framing) -> Result<Self, ServerError> {
        let fail = |error: std::io::Error| {
            ServerError::new(format!("no proxy can be started: {error}"), "end some programs")
        };
        let listener = TcpListener::bind(("127.0.0.1", crate::free_port()?)).map_err(fail)?;
        let port = listener.local_addr().map_err(fail)?.port();
        let state = Arc::new(State {
            target,
            framing,
            cut: Mutex::default(),
            seen: AtomicI64::new(0),
            is_over: AtomicBool::new(false),
            streams: Mutex::default(),
        });
        let accepting = state.clone();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if accepting.is_over.load(Ordering::SeqCst) {
                    return;
                }
                accepting.clone().join(client);
            }
        });
        Ok(Self { port, state })
    }

    /// Cuts one connection there; those made later are left alone. Counting begins anew.
    pub fn cut(&self, cut: Cut) {
        let mut chosen = lock(&self.state.cut);
        self.state.seen.store(0, Ordering::SeqCst);
        *chosen = Some(cut);
    }

    /// Whether the cut that was chosen has happened.
    pub fn has_cut(&self) -> bool {
        lock(&self.state.cut).is_none()
    }

    /// Cuts nothing more.
    pub fn heal(&self) {
        *lock(&self.state.cut) = None;
    }

    /// How many messages clients sent since the last choice of a cut.
    pub fn seen(&self) -> u32 {
        self.state.seen.load(Ordering::SeqCst).try_into().unwrap_or_default()
    }

    /// The port that clients connect to.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.state.is_over.store(true, Ordering::SeqCst);
        for stream in lock(&self.state.streams).drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

impl State {
    /// Joins a client with a connection of its own to the server.
    fn join(self: Arc<Self>, client: TcpStream) {
        let Ok(server) = TcpStream::connect(("127.0.0.1", self.target)) else {
            let _ = client.shutdown(Shutdown::Both);
            return;
        };
        let (Ok(to_client), Ok(from_server)) = (client.try_clone(), server.try_clone()) else {
            return;
        };
        let _ = (client.set_nodelay(true), server.set_nodelay(true));
        let mut streams = lock(&self.streams);
        streams.extend(client.try_clone().ok());
        streams.extend(server.try_clone().ok());
        drop(streams);
        let is_mute = Arc::new(AtomicBool::new(false));
        let mute = is_mute.clone();
        thread::spawn(move || reply(from_server, to_client, &mute));
        thread::spawn(move || self.request(client, server, &is_mute));
    }

    /// Hands on what the client sends, message by message.
    fn request(&self, mut client: TcpStream, mut server: TcpStream, is_mute: &AtomicBool) {
        let mut pending = Vec::new();
        let mut is_opening = self.framing == Framing::Postgres;
        let mut buffer = [0; 64 * 1024];
        loop {
            while let Some(length) = self.message(&pending, is_opening) {
                let message: Vec<u8> = pending.drain(..length).collect();
                let cut = if is_opening { None } else { self.meets_cut() };
                if is_opening {
                    is_opening = false;
                }
                let (sent, is_cut) = match cut {
                    None => (&message[..], false),
                    Some(Cut::Before(_)) => (&message[..0], true),
                    Some(Cut::Within(_)) => (&message[..message.len() / 2], true),
                    Some(Cut::After(_)) => {
                        is_mute.store(true, Ordering::SeqCst);
                        (&message[..], true)
                    }
                };
                if server.write_all(sent).is_err() || is_cut {
                    let _ = client.shutdown(Shutdown::Both);
                    thread::sleep(GRACE);
                    let _ = server.shutdown(Shutdown::Both);
                    return;
                }
            }
            match client.read(&mut buffer) {
                Ok(0) | Err(_) => {
                    let _ = server.shutdown(Shutdown::Both);
                    return;
                }
                Ok(read) => pending.extend_from_slice(&buffer[..read]),
            }
        }
    }

    /// The length of the first message in `pending`, once it is whole.
    fn message(&self, pending: &[u8], is_opening: bool) -> Option<usize> {
        let length = match self.framing {
            Framing::Pieces => pending.len(),
            // The first message has no letter for its kind before its length.
            Framing::Postgres => {
                let offset = usize::from(!is_opening);
                let length = pending.get(offset..offset + 4)?;
                let length = length.iter().fold(0, |sum, byte| (sum << 8) | usize::from(*byte));
                offset + length
            }
        };
        (length > 0 && pending.len() >= length).then_some(length)
    }

    /// Counts a message; the cut, if this is where it is.
    fn meets_cut(&self) -> Option<Cut> {
        let mut cut = lock(&self.cut);
        let number = self.seen.fetch_add(1, Ordering::SeqCst) + 1;
        if cut.is_some_and(|cut| i64::from(cut.number()) == number) { cut.take() } else { None }
    }
}

/// Hands on what the server replies, unless it is to be mute.
fn reply(mut server: TcpStream, mut client: TcpStream, is_mute: &AtomicBool) {
    let mut buffer = [0; 64 * 1024];
    loop {
        match server.read(&mut buffer) {
            Ok(0) | Err(_) => break,
            Ok(_) if is_mute.load(Ordering::SeqCst) => {}
            Ok(read) if client.write_all(&buffer[..read]).is_ok() => {}
            Ok(_) => break,
        }
    }
    let _ = client.shutdown(Shutdown::Both);
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
