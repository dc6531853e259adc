//! The shop: the demo for people, and the short day that the tests run.

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use crate::failure::Failure;
use crate::shell;

/// A short day with enough orders for every fault to strike.
const SHORT_DAY: &[&str] = &["--duration", "8", "--rate", "25", "--seed", "7"];

/// A short day and its clean-up, on a slow and busy machine.
const SHORT_DAY_LIMIT: Duration = Duration::from_secs(120);

/// Builds the shop in sight, then becomes `shop day ARGS`.
pub(crate) fn demo(arguments: &[OsString]) -> Result<ExitCode, Failure> {
    shell::run(&mut shell::cargo(["build", "-p", "shop"]), "repair what the compiler names")?;
    let mut day = shell::cargo(["run", "--quiet", "-p", "shop", "--", "day"]);
    day.args(arguments);
    shell::hand_over(day)
}

/// The promise holds in the shop, and the shop's audit can tell when a protocol does not keep it.
pub(crate) fn short_days() -> Result<(), Failure> {
    let mut build = shell::cargo(["build", "--locked", "-p", "shop"]);
    shell::run(&mut build, "repair what the compiler names")?;
    let folder = shell::fresh_folder("shop")?;
    let (code, output) = short_day(&folder.join("exactly-once.txt"), &[])?;
    check_clean(code, &output)?;
    let weaker = ["--protocol", "at-least-once"];
    let (code, output) = short_day(&folder.join("at-least-once.txt"), &weaker)?;
    check_damaged(code, &output)
}

/// Runs one short day and returns its exit code and its standard output, which is kept in `log`.
fn short_day(log: &Path, options: &[&str]) -> Result<(Option<i32>, String), Failure> {
    let unkept = |error| {
        Failure::new(format!("cannot use {}: {error}", log.display()), "make its folder writable")
    };
    let mut day = shell::cargo(["run", "--quiet", "--locked", "-p", "shop", "--", "day"]);
    day.args(SHORT_DAY).args(options).stdout(File::create(log).map_err(unkept)?);
    let status = shell::run_within(SHORT_DAY_LIMIT, &mut day)?;
    let output = String::from_utf8_lossy(&fs::read(log).map_err(unkept)?).into_owned();
    println!("{}", output.trim_end());
    Ok((status.code(), output))
}

fn check_clean(code: Option<i32>, output: &str) -> Result<(), Failure> {
    if code != Some(0) {
        let code = in_words(code);
        return Err(Failure::new(
            format!("the exactly-once day ended with {code}, not 0"),
            "read its audit above: code 1 is damage, any other a fault of the shop itself",
        ));
    }
    check_audit("exactly-once", output)
}

fn check_damaged(code: Option<i32>, output: &str) -> Result<(), Failure> {
    if code != Some(1) {
        let code = in_words(code);
        return Err(Failure::new(
            format!("the at-least-once day ended with {code}, not 1"),
            "make its faults strike and its audit find them (0), or repair the shop (other codes)",
        ));
    }
    check_audit("at-least-once", output)?;
    if output.to_lowercase().contains("damage") {
        return Ok(());
    }
    Err(Failure::new(
        "the audit of the at-least-once day names no damage",
        "let the audit print what it found, with the word `damage`",
    ))
}

fn check_audit(day: &str, output: &str) -> Result<(), Failure> {
    if output.to_lowercase().contains("audit") {
        return Ok(());
    }
    Err(Failure::new(
        format!("the {day} day printed no audit"),
        "let `shop day` end with its audit on standard output",
    ))
}

fn in_words(code: Option<i32>) -> String {
    code.map_or_else(|| "a signal".to_owned(), |code| format!("code {code}"))
}

#[cfg(test)]
mod tests {
    use super::{check_clean, check_damaged};

    const DAMAGE: &str = "Audit: 3 orders charged twice, DAMAGE";

    #[test]
    fn a_clean_day_passes_only_with_code_0_and_an_audit() {
        assert!(check_clean(Some(0), "Audit: 200 orders, each charged once").is_ok());
        assert!(check_clean(Some(0), "").is_err());
        assert!(check_clean(Some(1), DAMAGE).is_err());
        assert!(check_clean(None, DAMAGE).is_err());
    }

    #[test]
    fn a_damaged_day_passes_only_with_code_1_and_its_damage_in_print() {
        assert!(check_damaged(Some(1), DAMAGE).is_ok());
        assert!(check_damaged(Some(1), "Audit: all is well").is_err());
        assert!(check_damaged(Some(0), DAMAGE).is_err());
        assert!(check_damaged(Some(2), DAMAGE).is_err());
        assert!(check_damaged(Some(101), DAMAGE).is_err());
        assert!(check_damaged(None, DAMAGE).is_err());
    }
}
