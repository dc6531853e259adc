//! The checks that are one command each.

use std::env;

use crate::failure::Failure;
use crate::servers::Servers;
use crate::{shell, tools};

pub(crate) fn fmt() -> Result<(), Failure> {
    shell::run(&mut shell::cargo(["fmt", "--all", "--check"]), "run: cargo fmt --all")
}

pub(crate) fn typos() -> Result<(), Failure> {
    let remedy = "correct them; a right word goes to [default.extend-words] in typos.toml";
    shell::run(&mut tools::command("typos"), remedy)
}

pub(crate) fn clippy() -> Result<(), Failure> {
    let what = ["clippy", "--workspace", "--all-targets", "--all-features", "--locked"];
    let remedy = "do what it says; an exception is `#[expect(LINT, reason = \"…\")]`";
    shell::run(shell::cargo(what).args(["--", "-D", "warnings"]), remedy)
}

/// Advisories need a database from the network, so they are left out until asked for.
pub(crate) fn deny() -> Result<(), Failure> {
    let mut command = shell::cargo(["deny", "--locked", "--all-features", "check"]);
    command.args(["--hide-inclusion-graph", "bans", "licenses", "sources"]);
    if env::var_os("SEMEL_DENY_ADVISORIES").is_some_and(|value| value == "1") {
        command.arg("advisories");
    } else {
        println!("advisories are left out; SEMEL_DENY_ADVISORIES=1 fetches and checks them");
    }
    let remedy = "choose another dependency, or allow it in deny.toml with its reason";
    shell::run(&mut command, remedy)
}

pub(crate) fn nextest() -> Result<(), Failure> {
    // Dropped, and so stopped, when the tests are over.
    let _servers = Servers::start()?;
    let profile = if env::var_os("CI").is_some() { "ci" } else { "default" };
    let what = ["nextest", "run", "--workspace", "--all-features", "--locked", "--profile"];
    shell::run(shell::cargo(what).arg(profile), "repair the tests named above")
}

pub(crate) fn doctest() -> Result<(), Failure> {
    let what = ["test", "--doc", "--workspace", "--all-features", "--locked"];
    shell::run(&mut shell::cargo(what), "repair the examples named above")
}

/// Every built-in world of the checker is as expected.
pub(crate) fn worlds() -> Result<(), Failure> {
    let what = ["run", "--quiet", "--locked", "-p", "semel-cli", "--", "check"];
    shell::run(&mut shell::cargo(what), "read the trace above; its last line replays it")
}

/// No protocol that ships breaks a promise, and the tables of the page on choosing are what is found.
pub(crate) fn compare() -> Result<(), Failure> {
    let page = "docs/choosing.md";
    let what = ["run", "--quiet", "--locked", "-p", "semel-cli", "--", "compare", "--dry-run"];
    let remedy = "run: cargo run -p semel-cli -- compare --into docs/choosing.md";
    shell::run(shell::cargo(what).args(["--into", page]), remedy)
}

pub(crate) fn doc() -> Result<(), Failure> {
    let what = ["doc", "--workspace", "--no-deps", "--all-features", "--locked"];
    let remedy = "repair the documentation named above";
    shell::run(shell::cargo(what).env("RUSTDOCFLAGS", "-D warnings"), remedy)
}
