//! Each server starts, answers, survives a kill and goes.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::TcpStream;

use semel_servers::{Durability, Nats, Postgres, Rabbit};

fn listens(port: u16) -> bool {
    TcpStream::connect(("127.0.0.1", port)).is_ok()
}

/// A folder that the user `postgres` may enter too.
fn folder(name: &str) -> std::path::PathBuf {
    semel_servers::folder().join("tests").join(name)
}

#[test]
fn postgres_keeps_what_it_committed_over_a_kill_and_a_stop() {
    let mut server = Postgres::start(&folder("postgres"), Durability::Kill).unwrap();
    server.run("CREATE TABLE kept AS SELECT 1 AS one").unwrap();
    server.kill();
    assert!(server.run("SELECT 1").is_err());
    server.resume().unwrap();
    server.stop().unwrap();
    server.resume().unwrap();
    assert_eq!(server.run("SELECT one FROM kept").unwrap(), "1");
    let port = server.port();
    drop(server);
    assert!(!listens(port));
}

#[test]
fn nats_comes_back_on_its_port() {
    let mut server = Nats::start(&folder("nats")).unwrap();
    server.kill();
    assert!(!listens(server.port()));
    server.resume().unwrap();
    assert!(listens(server.port()));
}

#[test]
fn rabbitmq_comes_back_on_its_port() {
    let mut server = Rabbit::start(&folder("rabbitmq")).unwrap();
    server.kill();
    assert!(!listens(server.port()));
    server.resume().unwrap();
    assert!(listens(server.port()));
}

#[test]
fn a_stopped_postgres_answers_nobody_until_it_goes_on() {
    let mut server = Postgres::start(&folder("postgres-stopped"), Durability::Kill).unwrap();
    server.signal("STOP").unwrap();
    let processes = || std::fs::read_to_string(format!("/proc/{}/stat", server.process().unwrap()));
    assert!(processes().unwrap().contains(") T "));
    server.signal("CONT").unwrap();
    assert_eq!(server.run("SELECT 1").unwrap(), "1");
    // What was stopped can be killed, and leaves nothing in the way.
    server.signal("STOP").unwrap();
    server.kill();
    server.resume().unwrap();
    assert_eq!(server.run("SELECT 1").unwrap(), "1");
}

#[test]
fn a_server_that_someone_else_killed_is_known_to_be_gone_and_comes_back() {
    let mut server = Nats::start(&folder("nats-lost")).unwrap();
    assert!(server.is_alive());
    let process = server.process().unwrap().to_string();
    assert!(
        std::process::Command::new("kill").args(["-KILL", &process]).status().unwrap().success()
    );
    while server.is_alive() {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    server.kill();
    server.resume().unwrap();
    assert!(server.is_alive() && listens(server.port()));
}
