//! The shop: the demo for people, and the short days that the tests run.

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Duration;

use crate::failure::Failure;
use crate::shell;

/// A short day with enough orders for every fault to strike. There is one under each protocol.
const SHORT_DAY: &[&str] = &["--duration", "4", "--rate", "25", "--seed", "7"];

/// A short day and its clean-up, on a slow and busy machine.
const SHORT_DAY_LIMIT: Duration = Duration::from_secs(120);

/// Builds the shop in sight, then becomes `shop day ARGS`.
pub(crate) fn demo(arguments: &[OsString]) -> Result<ExitCode, Failure> {
    shell::run(&mut shell::cargo(["build", "-p", "shop"]), "repair what the compiler names")?;
    let mut day = shell::cargo(["run", "--quiet", "-p", "shop", "--", "day"]);
    day.args(arguments);
    shell::hand_over(day)
}

/// How a short day has to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// Its protocol promises that the books balance.
    Clean,
    /// Nothing is promised, and the faults are enough to see it: the audit can tell.
    Damaged,
    /// Its protocol promises less, of which the faults may show something or not.
    Either,
}

/// Under each protocol the shop keeps what is promised, and its audit can tell when it does not.
pub(crate) fn short_days() -> Result<(), Failure> {
    let mut build = shell::cargo(["build", "--locked", "-p", "shop"]);
    shell::run(&mut build, "repair what the compiler names")?;
    let folder = shell::fresh_folder("shop")?;
    let listed = shell::output(&mut shop(&["protocols"]))?;
    for (protocol, end) in protocols(&listed)? {
        let (code, output) = short_day(&folder.join(format!("{protocol}.txt")), protocol)?;
        check(protocol, end, code, &output)?;
    }
    Ok(())
}

/// The protocols that the shop lists, each with how its day has to end.
fn protocols(listed: &str) -> Result<Vec<(&str, End)>, Failure> {
    let protocol = |line| match str::split_once(line, char::is_whitespace)? {
        (name, promise) if promise.trim() == "promises everything" => Some((name, End::Clean)),
        ("at-least-once", _) => Some(("at-least-once", End::Damaged)),
        (name, _) => Some((name, End::Either)),
    };
    let protocols: Option<Vec<_>> = listed.lines().map(protocol).collect();
    let is_telling = |protocols: &Vec<(_, End)>| {
        [End::Clean, End::Damaged].iter().all(|end| protocols.iter().any(|(_, is)| is == end))
    };
    protocols.filter(is_telling).ok_or_else(|| {
        Failure::new(
            format!("`shop protocols` prints what is no list of protocols:\n{listed}"),
            "let it print a line for each: its name, and what it promises",
        )
    })
}

fn shop(arguments: &[&str]) -> Command {
    let mut shop = shell::cargo(["run", "--quiet", "--locked", "-p", "shop", "--"]);
    shop.args(arguments);
    shop
}

/// Runs one short day and returns its exit code and its standard output, which is kept in `log`.
fn short_day(log: &Path, protocol: &str) -> Result<(Option<i32>, String), Failure> {
    let unkept = |error| {
        Failure::new(format!("cannot use {}: {error}", log.display()), "make its folder writable")
    };
    let mut day = shop(&["day", "--protocol", protocol]);
    day.args(SHORT_DAY).stdout(File::create(log).map_err(unkept)?);
    let status = shell::run_within(SHORT_DAY_LIMIT, &mut day)?;
    let output = String::from_utf8_lossy(&fs::read(log).map_err(unkept)?).into_owned();
    println!("{}", output.trim_end());
    Ok((status.code(), output))
}

fn check(protocol: &str, end: End, code: Option<i32>, output: &str) -> Result<(), Failure> {
    let expected = match end {
        End::Clean => "0",
        End::Damaged => "1",
        End::Either => "0 or 1",
    };
    if !code.is_some_and(|code| expected.split(" or ").any(|one| one == code.to_string())) {
        return Err(Failure::new(
            format!("the {protocol} day ended with {}, not {expected}", in_words(code)),
            "read its audit above: code 0 means that the books balance, 1 is damage, any other a \
             fault of the shop itself",
        ));
    }
    let must_hold = match code {
        Some(1) => &["audit", protocol, "damage"][..],
        _ => &["audit", protocol][..],
    };
    let said = output.to_lowercase();
    match must_hold.iter().find(|word| !said.contains(**word)) {
        None => Ok(()),
        Some(word) => Err(Failure::new(
            format!("the {protocol} day ended without the word `{word}`"),
            "let `shop day` end with its audit, which names its protocol and any damage",
        )),
    }
}

fn in_words(code: Option<i32>) -> String {
    code.map_or_else(|| "a signal".to_owned(), |code| format!("code {code}"))
}

#[cfg(test)]
mod tests {
    use super::End::{Clean, Damaged, Either};
    use super::{check, protocols};

    const DAMAGE: &str = "Audit under inbox: 3 orders charged twice, DAMAGE";

    #[test]
    fn a_clean_day_passes_only_with_code_0_and_an_audit() {
        assert!(check("token", Clean, Some(0), "Audit under token: all is well").is_ok());
        assert!(check("token", Clean, Some(0), "Audit: all is well").is_err());
        assert!(check("token", Clean, Some(0), "").is_err());
        assert!(check("inbox", Clean, Some(1), DAMAGE).is_err());
        assert!(check("inbox", Clean, None, DAMAGE).is_err());
    }

    #[test]
    fn a_damaged_day_passes_only_with_code_1_and_its_damage_in_print() {
        assert!(check("inbox", Damaged, Some(1), DAMAGE).is_ok());
        assert!(check("inbox", Damaged, Some(1), "Audit under inbox: all is well").is_err());
        assert!(check("inbox", Damaged, Some(0), DAMAGE).is_err());
        assert!(check("inbox", Damaged, Some(2), DAMAGE).is_err());
        assert!(check("inbox", Damaged, Some(101), DAMAGE).is_err());
        assert!(check("inbox", Damaged, None, DAMAGE).is_err());
    }

    #[test]
    fn a_day_with_fewer_promises_passes_with_an_audit_whatever_it_finds() {
        assert!(check("inbox", Either, Some(0), "Audit under inbox: all is well").is_ok());
        assert!(check("inbox", Either, Some(1), DAMAGE).is_ok());
        assert!(check("inbox", Either, Some(1), "Audit under inbox: all is well").is_err());
        assert!(check("inbox", Either, Some(3), DAMAGE).is_err());
        assert!(check("inbox", Either, None, DAMAGE).is_err());
    }

    #[test]
    fn the_list_of_protocols_says_how_each_day_has_to_end() {
        let listed = "at-least-once  does not promise A, B\ninbox  does not promise B\n\
                      token          promises everything\n";
        let expected = [("at-least-once", Damaged), ("inbox", Either), ("token", Clean)];
        assert_eq!(protocols(listed).ok(), Some(expected.to_vec()));
    }

    #[test]
    fn a_list_without_both_kinds_of_protocol_is_refused() {
        for listed in ["", "token promises everything", "at-least-once promises less", "usage:\n"] {
            assert!(protocols(listed).is_err(), "{listed}");
        }
    }
}
