//! The packages that the servers come in.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::ServerError;

/// Debian's package, and what of it must be there.
fn packages() -> [(&'static str, String); 5] {
    [
        ("postgresql", "/usr/lib/postgresql/*/bin/initdb".to_owned()),
        ("pgbouncer", "/usr/sbin/pgbouncer".to_owned()),
        ("nats-server", "/usr/sbin/nats-server".to_owned()),
        ("rabbitmq-server", "/usr/lib/rabbitmq/bin/rabbitmq-server".to_owned()),
        ("libfaketime", faketime()),
    ]
}

/// The library that shows a process another time.
fn faketime() -> String {
    format!("/usr/lib/{}-linux-gnu/faketime/libfaketimeMT.so.1", std::env::consts::ARCH)
}

/// Starts `command` under a clock that is so many seconds ahead of the machine's; behind it, where
/// that is negative. Timers run as ever.
pub fn set_clock(command: &mut Command, ahead_s: i64) -> Result<(), ServerError> {
    let library = faketime();
    if !exists(&library) {
        let remedy = "run `cargo xtask test tools`, or install the package `libfaketime`";
        return Err(ServerError::new(format!("{library} is missing"), remedy));
    }
    command.env("LD_PRELOAD", library).env("FAKETIME", format!("{ahead_s:+}s"));
    command.env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    Ok(())
}

/// Installs what is missing of the servers and what goes with them, with the system's package manager.
pub fn install_missing() -> Result<(), ServerError> {
    let missing: Vec<&str> = packages()
        .into_iter()
        .filter(|(_, program)| !exists(program))
        .map(|(package, _)| package)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let by_hand = format!("apt-get install -y --no-install-recommends {}", missing.join(" "));
    println!("$ {by_hand}");
    let install = |arguments: &[&str]| {
        let mut apt = Command::new("apt-get");
        apt.args(arguments).env("DEBIAN_FRONTEND", "noninteractive").stdin(Stdio::null());
        apt.stdout(Stdio::null()).status().is_ok_and(|status| status.success())
    };
    // A fresh machine has no lists of packages yet.
    let arguments = [&["install", "-y", "-q", "--no-install-recommends"], &*missing].concat();
    if install(&arguments) || install(&["update", "-q"]) && install(&arguments) {
        return Ok(());
    }
    Err(ServerError::new(
        format!("cannot install {}", missing.join(", ")),
        format!("run as root: apt-get update && {by_hand}"),
    ))
}

fn exists(pattern: &str) -> bool {
    match pattern.split_once("/*/") {
        None => Path::new(pattern).exists(),
        Some((folder, rest)) => newest(Path::new(folder), rest).is_some(),
    }
}

/// The `rest` of a path in the folder of the newest version under `folder`.
pub(crate) fn newest(folder: &Path, rest: &str) -> Option<std::path::PathBuf> {
    let versions = std::fs::read_dir(folder).ok()?.flatten().filter_map(|entry| {
        let version: u32 = entry.file_name().to_str()?.parse().ok()?;
        Some((version, entry.path().join(rest)))
    });
    versions.filter(|(_, path)| path.exists()).max().map(|(_, path)| path)
}
