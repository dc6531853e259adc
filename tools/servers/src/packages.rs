//! The packages that the servers come in.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::ServerError;

/// Debian's package, and the program in it that must be there.
const PACKAGES: [(&str, &str); 3] = [
    ("postgresql", "/usr/lib/postgresql/*/bin/initdb"),
    ("nats-server", "/usr/sbin/nats-server"),
    ("rabbitmq-server", "/usr/lib/rabbitmq/bin/rabbitmq-server"),
];

/// Installs the servers that are missing, with the system's package manager.
pub fn install_missing() -> Result<(), ServerError> {
    let missing: Vec<&str> = PACKAGES
        .iter()
        .filter(|(_, program)| !exists(program))
        .map(|(package, _)| *package)
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
