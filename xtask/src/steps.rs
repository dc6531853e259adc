//! `cargo xtask test`: every check in order, up to the first that fails.

use std::ffi::OsString;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use crate::failure::Failure;
use crate::{checks, readme, shop, tidy, tools, torture};

struct Step {
    name: &'static str,
    pace: Pace,
    run: fn() -> Result<(), Failure>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Pace {
    /// Part of every run: other steps need it.
    Always,
    Quick,
    /// Left out by `--fast`.
    Slow,
}

/// The steps in their order: the cheapest first, so that a slip shows early.
const STEPS: &[Step] = &[
    Step { name: "tools", pace: Pace::Always, run: tools::install_missing },
    Step { name: "fmt", pace: Pace::Quick, run: checks::fmt },
    Step { name: "tidy", pace: Pace::Quick, run: tidy::run },
    Step { name: "typos", pace: Pace::Quick, run: checks::typos },
    Step { name: "clippy", pace: Pace::Quick, run: checks::clippy },
    Step { name: "deny", pace: Pace::Slow, run: checks::deny },
    Step { name: "nextest", pace: Pace::Quick, run: checks::nextest },
    Step { name: "torture", pace: Pace::Slow, run: torture::short_runs },
    Step { name: "doctest", pace: Pace::Quick, run: checks::doctest },
    Step { name: "doc", pace: Pace::Slow, run: checks::doc },
    Step { name: "readme", pace: Pace::Quick, run: readme::program },
    Step { name: "worlds", pace: Pace::Slow, run: checks::worlds },
    Step { name: "compare", pace: Pace::Slow, run: checks::compare },
    Step { name: "demo", pace: Pace::Slow, run: shop::short_days },
];

/// Runs the chosen steps and ends with a table of their durations.
pub(crate) fn test(arguments: &[OsString]) -> Result<ExitCode, Failure> {
    let steps = choose(arguments)?;
    let mut durations = Vec::new();
    let mut outcome = Ok(ExitCode::SUCCESS);
    for step in steps {
        println!("\n=== {} ===", step.name);
        let start = Instant::now();
        let result = (step.run)();
        durations.push((step.name, start.elapsed()));
        println!("=== {} took {:.1} s", step.name, start.elapsed().as_secs_f64());
        if let Err(failure) = result {
            let again = format!("cargo xtask test {}", step.name);
            outcome = Err(failure.within(&format!("step `{}`", step.name), &again));
            break;
        }
    }
    print!("\n{}", summary(&durations, usize::from(outcome.is_err())));
    outcome
}

/// The steps that the arguments ask for, in the order of [`STEPS`].
fn choose(arguments: &[OsString]) -> Result<Vec<&'static Step>, Failure> {
    let (flags, names): (Vec<_>, Vec<_>) = arguments.iter().partition(|word| *word == "--fast");
    if let Some(unknown) = names.iter().find(|name| STEPS.iter().all(|step| **name != step.name)) {
        let known = STEPS.iter().map(|step| step.name).collect::<Vec<_>>().join(", ");
        let what = format!("no test step is called {:?}", unknown.display().to_string());
        return Err(Failure::new(what, format!("name some of: {known}; or use --fast")));
    }
    let chosen = |step: &&Step| match step.pace {
        Pace::Always => true,
        Pace::Slow if !flags.is_empty() => false,
        Pace::Quick | Pace::Slow => names.is_empty() || names.iter().any(|name| *name == step.name),
    };
    Ok(STEPS.iter().filter(chosen).collect())
}

fn summary(durations: &[(&str, Duration)], failed: usize) -> String {
    let total = durations.iter().map(|(_, duration)| *duration).sum();
    let line = |(name, duration): &(&str, Duration)| {
        format!("{name:<10} {:>8.1}\n", duration.as_secs_f64())
    };
    let lines: String = durations.iter().map(line).collect();
    let passed = durations.len() - failed;
    let total = line(&("total", total));
    format!("step        seconds\n{lines}{total}steps: {passed} passed, {failed} failed\n")
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::time::Duration;

    use super::{STEPS, choose, summary};

    fn chosen(arguments: &[&str]) -> Vec<&'static str> {
        let arguments: Vec<OsString> = arguments.iter().map(Into::into).collect();
        let steps = choose(&arguments).unwrap_or_else(|failure| panic!("{failure}"));
        steps.iter().map(|step| step.name).collect()
    }

    #[test]
    fn without_arguments_every_step_runs() {
        assert_eq!(chosen(&[]).len(), STEPS.len());
    }

    #[test]
    fn fast_leaves_out_the_slow_ones() {
        let left_out: Vec<_> =
            chosen(&[]).into_iter().filter(|name| !chosen(&["--fast"]).contains(name)).collect();
        assert_eq!(left_out, ["deny", "torture", "doc", "worlds", "compare", "demo"]);
    }

    #[test]
    fn named_steps_run_in_our_order_after_the_tools() {
        assert_eq!(chosen(&["doc", "fmt"]), ["tools", "fmt", "doc"]);
    }

    #[test]
    fn an_unknown_step_fails_and_lists_the_known() {
        let failure = choose(&["nextset".into()]).err().map(|failure| failure.to_string());
        let failure = failure.unwrap_or_default();
        assert!(failure.contains("nextset") && failure.contains("nextest"), "{failure}");
    }

    #[test]
    fn the_summary_counts_and_adds() {
        let second = Duration::from_secs(1);
        assert_eq!(
            summary(&[("fmt", second), ("tidy", second * 2)], 1),
            "step        seconds\nfmt             1.0\ntidy            2.0\ntotal           3.0\n\
             steps: 1 passed, 1 failed\n"
        );
    }
}
