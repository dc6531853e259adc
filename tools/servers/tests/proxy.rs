//! What the proxy does to connections.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use semel_servers::{Cut, Framing, Proxy, Weather};

/// How long to wait for what must come.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long to wait for what must not come.
const A_WHILE: Duration = Duration::from_millis(150);

/// A server that answers every byte with the next letter, and tells what it got.
struct Server {
    port: u16,
    got: mpsc::Receiver<Vec<u8>>,
}

impl Server {
    fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (tell, got) = mpsc::channel();
        thread::spawn(move || {
            for client in listener.incoming() {
                let (mut client, tell) = (client.unwrap(), tell.clone());
                thread::spawn(move || {
                    let mut buffer = [0; 64];
                    while let Ok(count @ 1..) = client.read(&mut buffer) {
                        let _ = tell.send(buffer[..count].to_vec());
                        let answer: Vec<u8> = buffer[..count].iter().map(|byte| byte + 1).collect();
                        let _ = client.write_all(&answer);
                    }
                });
            }
        });
        Self { port, got }
    }

    fn got(&self) -> Vec<u8> {
        self.got.recv_timeout(PATIENCE).unwrap()
    }

    fn got_nothing(&self) -> bool {
        self.got.recv_timeout(A_WHILE).is_err()
    }
}

struct Client(TcpStream);

#[derive(Debug, PartialEq, Eq)]
enum Heard {
    Bytes(Vec<u8>),
    Closed,
}

impl Client {
    fn connect(proxy: &Proxy) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", proxy.port())).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(stream)
    }

    fn say(&mut self, bytes: &[u8]) {
        let _ = self.0.write_all(bytes);
    }

    fn hear(&mut self) -> Heard {
        let mut buffer = [0; 64];
        match self.0.read(&mut buffer) {
            Ok(0) => Heard::Closed,
            Ok(count) => Heard::Bytes(buffer[..count].to_vec()),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                panic!("neither bytes nor the end")
            }
            Err(_) => Heard::Closed,
        }
    }

    fn hears_nothing(&mut self) -> bool {
        self.0.set_read_timeout(Some(A_WHILE)).unwrap();
        let read = self.0.read(&mut [0; 64]);
        self.0.set_read_timeout(Some(PATIENCE)).unwrap();
        read.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
    }
}

fn rig() -> (Server, Proxy, Client) {
    let server = Server::start();
    let proxy = Proxy::start(server.port, Framing::Pieces).unwrap();
    let mut client = Client::connect(&proxy);
    client.say(b"a");
    assert_eq!(client.hear(), Heard::Bytes(b"b".to_vec()));
    assert_eq!(server.got(), b"a");
    (server, proxy, client)
}

#[test]
fn a_cut_is_before_within_or_after_a_message() {
    for (cut, arrived) in [
        (Cut::Before(2), None),
        (Cut::Within(2), Some(&b"cd"[..])),
        (Cut::After(2), Some(&b"cdef"[..])),
    ] {
        let (server, proxy, mut client) = rig();
        proxy.cut(cut);
        client.say(b"b");
        assert_eq!(client.hear(), Heard::Bytes(b"c".to_vec()));
        assert_eq!(server.got(), b"b");
        client.say(b"cdef");
        assert_eq!(client.hear(), Heard::Closed, "{cut:?}");
        match arrived {
            Some(bytes) => assert_eq!(server.got(), bytes, "{cut:?}"),
            None => assert!(server.got_nothing(), "{cut:?}"),
        }
        assert!(proxy.has_cut());
        let mut next = Client::connect(&proxy);
        next.say(b"x");
        assert_eq!(next.hear(), Heard::Bytes(b"y".to_vec()));
    }
}

#[test]
fn held_requests_land_late() {
    let (server, proxy, mut client) = rig();
    proxy.set(Weather::HoldRequests);
    client.say(b"late");
    assert!(client.hears_nothing() && server.got_nothing());
    proxy.heal();
    assert_eq!(server.got(), b"late");
    assert_eq!(client.hear(), Heard::Bytes(b"mbuf".to_vec()));
}

#[test]
fn a_connection_that_lost_a_reply_is_closed_when_replies_pass_again() {
    let (server, proxy, mut client) = rig();
    proxy.set(Weather::LoseReplies);
    client.say(b"done");
    assert_eq!(server.got(), b"done");
    assert!(client.hears_nothing());
    proxy.heal();
    assert_eq!(client.hear(), Heard::Closed);
}

#[test]
fn a_connection_that_lost_a_request_is_closed_when_requests_pass_again() {
    let (server, proxy, mut client) = rig();
    proxy.set(Weather::Silence);
    client.say(b"gone");
    assert!(client.hears_nothing() && server.got_nothing());
    proxy.heal();
    assert_eq!(client.hear(), Heard::Closed);
}

#[test]
fn a_connection_without_a_hole_outlives_silence() {
    let (_, proxy, mut client) = rig();
    proxy.set(Weather::Silence);
    proxy.heal();
    client.say(b"a");
    assert_eq!(client.hear(), Heard::Bytes(b"b".to_vec()));
}

#[test]
fn weather_that_met_nothing_has_struck_nothing() {
    for weather in [Weather::HoldRequests, Weather::LoseReplies, Weather::Silence] {
        let (_, proxy, mut client) = rig();
        client.say(b"a");
        assert_eq!(client.hear(), Heard::Bytes(b"b".to_vec()));
        proxy.set(weather);
        assert_eq!(proxy.struck(), 0, "{weather:?}");
        client.say(b"a");
        assert!(client.hears_nothing());
        assert_eq!(proxy.struck(), 1, "{weather:?}");
        proxy.heal();
        assert_eq!(proxy.struck(), 1, "{weather:?}");
        proxy.set(weather);
        assert_eq!(proxy.struck(), 0, "{weather:?}, the second time");
    }
    let (_, proxy, mut client) = rig();
    proxy.set(Weather::Closed);
    assert_eq!(client.hear(), Heard::Closed);
    assert_eq!(proxy.struck(), 1, "one connection was there");
}

#[test]
fn closed_closes_what_there_is_and_what_comes() {
    let (server, proxy, mut client) = rig();
    proxy.set(Weather::Closed);
    assert_eq!(client.hear(), Heard::Closed);
    let mut next = Client::connect(&proxy);
    next.say(b"x");
    assert_eq!(next.hear(), Heard::Closed);
    assert!(server.got_nothing());
    proxy.heal();
    let mut last = Client::connect(&proxy);
    last.say(b"x");
    assert_eq!(last.hear(), Heard::Bytes(b"y".to_vec()));
}

#[test]
fn it_ends_with_its_value() {
    let (_, proxy, mut client) = rig();
    let port = proxy.port();
    drop(proxy);
    assert_eq!(client.hear(), Heard::Closed);
    thread::sleep(A_WHILE);
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
}
