//! A process under another clock.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::Command;
use std::time::SystemTime;

fn seconds_shown(ahead_s: i64) -> i64 {
    let mut date = Command::new("date");
    date.arg("+%s");
    semel_servers::set_clock(&mut date, ahead_s).unwrap();
    let output = date.output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
}

#[test]
fn it_is_ahead_or_behind() {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let now = i64::try_from(now).unwrap();
    for ahead_s in [3_600, -3_600] {
        let off = seconds_shown(ahead_s) - now;
        assert!((ahead_s..ahead_s + 120).contains(&off), "{off} s");
    }
}
