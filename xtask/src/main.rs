//! Development tasks: demo, test, torture, servers, bench, tidy.
//!
//! Each verb is one entry of [`VERBS`]; the usage text is made from the same table.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for the terminal: printing is its job"
)]

mod checks;
mod failure;
mod readme;
mod servers;
mod shell;
mod shop;
mod steps;
mod tidy;
mod tools;
mod torture;

use std::ffi::OsString;
use std::process::ExitCode;

use failure::Failure;

/// One thing that `cargo xtask` can do.
struct Verb {
    name: &'static str,
    arguments: &'static str,
    help: &'static str,
    run: fn(&[OsString]) -> Result<ExitCode, Failure>,
}

const VERBS: &[Verb] = &[
    Verb {
        name: "demo",
        arguments: "[ARGS…]",
        help: "build the shop and run its day of chaos; --protocol NAME chooses how",
        run: shop::demo,
    },
    Verb {
        name: "test",
        arguments: "[--fast] [STEP…]",
        help: "run every check, or the named ones; --fast leaves out the slow ones",
        run: steps::test,
    },
    Verb {
        name: "torture",
        arguments: "[ARGS…]",
        help: "run the shop on real servers under faults from a seed, and audit its books",
        run: torture::verb,
    },
    Verb {
        name: "servers",
        arguments: "",
        help: "run the servers that tests need, for tests by hand beside it",
        run: servers::verb,
    },
    Verb {
        name: "bench",
        arguments: "[check|long-run|postgres|brokers] [ARGS…]",
        help: "run the benchmarks, optimised; without a name those on SQLite",
        run: bench,
    },
    Verb {
        name: "tidy",
        arguments: "",
        help: "check the rules of the house that no compiler knows",
        run: tidy::verb,
    },
];

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let verb = arguments.first().and_then(|name| VERBS.iter().find(|verb| name == verb.name));
    let Some(verb) = verb else {
        eprint!("{}", usage());
        return ExitCode::from(2);
    };
    (verb.run)(arguments.get(1..).unwrap_or_default()).unwrap_or_else(|failure| {
        eprintln!("error: {failure}");
        ExitCode::FAILURE
    })
}

fn usage() -> String {
    let lines = VERBS.iter().map(|Verb { name, arguments, help, .. }| {
        format!("  cargo xtask {:<30}  {help}\n", format!("{name} {arguments}"))
    });
    std::iter::once("usage:\n".to_owned()).chain(lines).collect()
}

fn bench(arguments: &[OsString]) -> Result<ExitCode, Failure> {
    let mut command = shell::cargo(["run", "--release", "-p", "semel-bench", "--"]);
    command.args(arguments);
    shell::hand_over(command)
}

#[cfg(test)]
mod tests {
    use super::{VERBS, usage};

    #[test]
    fn usage_has_one_line_for_each_verb() {
        let usage = usage();
        assert_eq!(usage.lines().count(), VERBS.len() + 1);
        for verb in VERBS {
            assert!(usage.contains(&format!("cargo xtask {} ", verb.name)), "{usage}");
        }
    }
}
