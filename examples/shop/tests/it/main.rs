//! The program as a person starts it, with options and files it cannot use.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

/// Runs the shop in `folder`, and gives its exit code and what it said about the trouble.
fn shop(folder: &Path, args: &[&str]) -> (Option<i32>, String) {
    let output =
        Command::new(env!("CARGO_BIN_EXE_shop")).args(args).current_dir(folder).output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

fn check(args: &[&str], says: &str) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("empty.csv"), "").unwrap();
    std::fs::write(folder.path().join("header.csv"), "InvoiceNo,StockCode\n").unwrap();
    std::fs::write(folder.path().join("garbage.db"), "this is no database at all").unwrap();
    std::fs::create_dir(folder.path().join("folder")).unwrap();
    let (code, error) = shop(folder.path(), args);
    assert!(error.contains(says), "{args:?} said: {error}");
    assert!(matches!(code, Some(2 | 3)), "{args:?} ended with {code:?}: {error}");
}

#[test]
fn orders_that_cannot_be_read_are_refused_before_anything_starts() {
    check(&["day", "--orders", "folder"], "folder");
    check(&["day", "--orders", "empty.csv"], "empty");
    check(&["day", "--orders", "nowhere.csv"], "nowhere.csv");
    check(&["day", "--orders", "header.csv"], "header.csv");
}

#[test]
fn options_out_of_range_are_refused() {
    check(&["day", "--rate", "0"], "--rate");
    check(&["day", "--duration", "soon"], "--duration");
}

#[test]
fn an_unknown_protocol_is_refused_with_the_names_of_all() {
    for verb in ["day", "serve", "worker"] {
        check(&[verb, "--protocol", "hopeful"], "hopeful");
    }
    for protocol in semel::core::protocols::all() {
        check(&["day", "--protocol", "hopeful"], protocol.name());
    }
}

#[test]
fn a_port_in_use_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    check(&["serve", "--listen", &address], &address);
}

#[test]
fn a_file_that_is_no_store_is_named() {
    check(&["worker", "--tied", "--store", "sqlite:garbage.db"], "garbage.db");
    check(&["worker", "--tied", "--store", "sqlite:folder"], "folder");
    check(&["worker", "--tied", "--store", "sqlite:nowhere/shop.db"], "nowhere/shop.db");
}

#[test]
fn a_service_that_the_shop_does_not_have_is_refused_with_those_it_has() {
    check(&["worker", "--service", "billing"], "payments");
}

#[test]
fn a_history_that_cannot_be_written_is_named() {
    check(&["worker", "--tied", "--history", "nowhere/history"], "nowhere/history");
}

#[test]
fn a_tied_worker_ends_with_its_input() {
    let folder = tempfile::tempdir().unwrap();
    let status = Command::new(env!("CARGO_BIN_EXE_shop"))
        .args(["worker", "--tied"])
        .stdin(std::process::Stdio::null())
        .current_dir(folder.path())
        .status()
        .unwrap();
    assert!(status.success());
}
