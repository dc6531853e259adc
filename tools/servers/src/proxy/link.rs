//! One client's way through the proxy.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use super::{Cut, Fate, Framing, State, Way};

/// How long the server has for what reached it, after its client was cut off.
const GRACE: Duration = Duration::from_millis(20);
/// How much is carried at once.
const PIECE_BYTES: usize = 64 * 1024;

/// A connection of a client, and the one to the server behind it.
#[derive(Debug)]
pub(super) struct Link {
    client: TcpStream,
    server: TcpStream,
    /// The client hears nothing more: it was cut off.
    is_mute: AtomicBool,
    /// Bytes have vanished.
    has_hole: AtomicBool,
}

impl Link {
    pub(super) fn new(client: TcpStream, server: TcpStream) -> Self {
        // Without it pieces come together, and later.
        let _ = (client.set_nodelay(true), server.set_nodelay(true));
        let (is_mute, has_hole) = (AtomicBool::new(false), AtomicBool::new(false));
        Self { client, server, is_mute, has_hole }
    }

    pub(super) fn has_hole(&self) -> bool {
        self.has_hole.load(Ordering::SeqCst)
    }

    pub(super) fn close(&self) {
        // Either may be closed already.
        let _ = (self.client.shutdown(Shutdown::Both), self.server.shutdown(Shutdown::Both));
    }

    /// Hands on what the client sends, message by message, until one side closes.
    pub(super) fn carry_requests(&self, state: &State) {
        let mut pending = Vec::new();
        let mut is_opening = state.framing == Framing::Postgres;
        let mut buffer = [0; PIECE_BYTES];
        while let Ok(count @ 1..) = (&self.client).read(&mut buffer) {
            if state.fate(Way::ToServer) == Fate::Vanish {
                self.has_hole.store(true, Ordering::SeqCst);
                continue;
            }
            if self.has_hole() {
                break;
            }
            pending.extend_from_slice(&buffer[..count]);
            while let Some(length) = state.message(&pending, is_opening) {
                let message: Vec<u8> = pending.drain(..length).collect();
                let cut = if is_opening { None } else { state.meets_cut() };
                is_opening = false;
                if let Some(cut) = cut {
                    return self.cut_at(cut, &message);
                }
                if (&self.server).write_all(&message).is_err() {
                    return self.close();
                }
            }
        }
        self.close();
    }

    fn cut_at(&self, cut: Cut, message: &[u8]) {
        // Whatever the server says to this, nobody hears it.
        self.is_mute.store(true, Ordering::SeqCst);
        let sent = match cut {
            Cut::Before(_) => &[],
            Cut::Within(_) => &message[..message.len() / 2],
            Cut::After(_) => message,
        };
        // A server that is gone needs no cutting.
        let _ = (&self.server).write_all(sent);
        let _ = self.client.shutdown(Shutdown::Both);
        thread::sleep(GRACE);
        self.close();
    }

    /// Hands on what the server replies, unless it is to be mute.
    pub(super) fn carry_replies(&self, state: &State) {
        let mut buffer = [0; PIECE_BYTES];
        while let Ok(count @ 1..) = (&self.server).read(&mut buffer) {
            if self.is_mute.load(Ordering::SeqCst) {
                continue;
            }
            if state.fate(Way::ToClient) == Fate::Vanish {
                self.has_hole.store(true, Ordering::SeqCst);
                continue;
            }
            if self.has_hole() {
                break;
            }
            if (&self.client).write_all(&buffer[..count]).is_err() {
                break;
            }
        }
        // What the client still sends after a cut is the cut's own affair.
        if !self.is_mute.load(Ordering::SeqCst) {
            self.close();
        }
    }
}
