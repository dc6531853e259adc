//! Starting other programs, always in the root of the workspace.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, ExitStatus};
use std::thread;
use std::time::{Duration, Instant};

use crate::failure::Failure;
use crate::tools;

/// How often a program with a time limit is looked at.
const POLL: Duration = Duration::from_millis(50);

/// The root of the workspace, whatever folder the task was started in.
pub(crate) fn root() -> &'static Path {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest)
}

/// Cargo with these arguments. The tools under `target/tools` are on its search path.
pub(crate) fn cargo<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(root()).env("PATH", tools::search_path());
    command
}

/// Shows and runs a command; anything but success is a failure that `remedy` repairs.
pub(crate) fn run(command: &mut Command, remedy: &str) -> Result<(), Failure> {
    let shown = shown(command);
    println!("$ {shown}");
    let status = command.status().map_err(|error| not_started(command, &error))?;
    if status.success() {
        return Ok(());
    }
    Err(Failure::new(format!("`{shown}` ended with {status}"), remedy))
}

/// Runs a command and returns what it printed to its standard output.
pub(crate) fn output(command: &mut Command) -> Result<String, Failure> {
    let output = command.output().map_err(|error| not_started(command, &error))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    Err(Failure::new(
        format!("`{}` ended with {}:\n{}", shown(command), output.status, errors.trim_end()),
        "run it by hand and repair what it names",
    ))
}

/// Shows and runs a command, and kills it when it takes longer than `limit`.
pub(crate) fn run_within(limit: Duration, command: &mut Command) -> Result<ExitStatus, Failure> {
    let shown = shown(command);
    println!("$ {shown}");
    let unwatched = |error| Failure::new(format!("cannot watch `{shown}`: {error}"), "try again");
    let mut child = command.spawn().map_err(|error| not_started(command, &error))?;
    let start = Instant::now();
    while start.elapsed() < limit {
        if let Some(status) = child.try_wait().map_err(unwatched)? {
            return Ok(status);
        }
        thread::sleep(POLL);
    }
    child.kill().and_then(|()| child.wait()).map_err(unwatched)?;
    Err(Failure::new(
        format!("`{shown}` was still running after {} s and was killed", limit.as_secs()),
        "run it by hand and see what it waits for",
    ))
}

/// Replaces this process by the command, so that signals and the exit code are the command's own.
#[cfg(unix)]
pub(crate) fn hand_over(mut command: Command) -> Result<ExitCode, Failure> {
    use std::os::unix::process::CommandExt;

    let error = command.exec();
    Err(not_started(&command, &error))
}

/// Runs the command and passes its exit code on.
#[cfg(not(unix))]
pub(crate) fn hand_over(mut command: Command) -> Result<ExitCode, Failure> {
    let status = command.status().map_err(|error| not_started(&command, &error))?;
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, Into::into))
}

/// An empty folder `target/xtask/NAME`: its earlier content is removed.
pub(crate) fn fresh_folder(name: &str) -> Result<PathBuf, Failure> {
    let folder = root().join("target/xtask").join(name);
    let emptied = match fs::remove_dir_all(&folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => fs::create_dir_all(&folder),
    };
    emptied.map(|()| folder.clone()).map_err(|error| {
        Failure::new(format!("cannot empty {}: {error}", folder.display()), "remove it by hand")
    })
}

/// Reads a file of the workspace; `purpose` says why it has to be there.
pub(crate) fn read(path: &str, purpose: &str) -> Result<String, Failure> {
    fs::read_to_string(root().join(path)).map_err(|error| {
        Failure::new(format!("cannot read {path}: {error}"), format!("write it: {purpose}"))
    })
}

/// The command as a person would type it.
fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_stem().unwrap_or_default();
    let settings = command
        .get_envs()
        .filter(|(name, _)| *name != "PATH")
        .map(|(name, value)| format!("{}={:?}", name.display(), value.unwrap_or_default()));
    let words =
        [program].into_iter().chain(command.get_args()).map(|word| word.display().to_string());
    settings.chain(words).collect::<Vec<_>>().join(" ")
}

fn not_started(command: &Command, error: &io::Error) -> Failure {
    let program = command.get_program().display();
    Failure::new(format!("cannot start {program}: {error}"), "install it, or put it on PATH")
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::time::Duration;

    use super::{output, run_within, shown};

    #[test]
    fn a_command_is_shown_as_typed() {
        let mut command = Command::new("/somewhere/bin/cargo");
        command.args(["doc", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings").env("PATH", "/bin");
        assert_eq!(shown(&command), "RUSTDOCFLAGS=\"-D warnings\" cargo doc --no-deps");
    }

    #[test]
    fn a_missing_program_fails_with_its_name() {
        let failure = output(&mut Command::new("no-such-program")).unwrap_err().to_string();
        assert!(failure.contains("no-such-program"), "{failure}");
    }

    #[test]
    #[cfg(unix)]
    fn a_program_past_its_limit_is_killed() {
        let mut sleeper = Command::new("sleep");
        let failure = run_within(Duration::from_millis(60), sleeper.arg("30")).unwrap_err();
        assert!(failure.to_string().contains("`sleep 30` was still running"), "{failure}");
    }
}
