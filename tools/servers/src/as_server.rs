//! Programs that run as the user who may own a server's data.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::{ServerError, packages};

/// A program that must not run as root, in `folder`: root runs it as the user `postgres`.
pub(crate) fn as_server(program: impl AsRef<std::ffi::OsStr>, folder: &Path) -> Command {
    let mut command = if is_root() {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=postgres", "--regid=postgres", "--init-groups"]).arg(program);
        command
    } else {
        Command::new(program)
    };
    command.current_dir(folder);
    command
}

/// One of PostgreSQL's own programs.
pub(crate) fn program(name: &str, folder: &Path) -> Result<Command, ServerError> {
    match packages::newest(Path::new("/usr/lib/postgresql"), &format!("bin/{name}")) {
        Some(path) => Ok(as_server(path, folder)),
        None => Err(ServerError::new(
            format!("PostgreSQL's `{name}` is not installed"),
            "run `cargo xtask test tools`, or install the package `postgresql`",
        )),
    }
}

/// Gives `folder` to the user who runs servers.
pub(crate) fn hand_over(folder: &Path) -> Result<(), ServerError> {
    if is_root() {
        output(Command::new("chown").arg("postgres").arg(folder)).map(drop)
    } else {
        Ok(())
    }
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output();
    id.is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

/// Runs a statement with `psql`.
pub(crate) fn ask(folder: &Path, address: &str, sql: &str) -> Result<String, ServerError> {
    let mut psql = program("psql", folder)?;
    psql.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", sql]).arg(address);
    output(&mut psql)
}

pub(crate) fn output(command: &mut Command) -> Result<String, ServerError> {
    let shown = format!("{command:?}");
    let fail = |what: String| ServerError::new(format!("{shown}: {what}"), "run it by hand");
    let output = command.stdin(Stdio::null()).output().map_err(|error| fail(error.to_string()))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
    }
    Err(fail(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
}
