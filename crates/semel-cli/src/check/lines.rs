//! What people see: a line a world, and the reports below.

use semel_check::Finding;
use semel_check::worlds::{BuiltIn, Expected, Manner};

use super::{Checked, Verdict};
use crate::output::table::{Column, Table};
use crate::output::text;

/// The headings of the lines.
pub(super) fn heading(worlds: &[BuiltIn]) -> String {
    let width = name_width(worlds);
    format!(
        "{:<width$}  {:<11} {:>9} {:>9} {:>6} {:>8}",
        "world", "finding", "states", "moves", "faults", "seconds"
    )
}

/// One world on one line.
pub(super) fn of(checked: &Checked, worlds: &[BuiltIn]) -> String {
    let width = name_width(worlds);
    let coverage = &checked.report.coverage;
    format!(
        "{:<width$}  {:<11} {:>9} {:>9} {:>6} {:>8.2}{}",
        checked.built_in.name(),
        checked.verdict.text(),
        coverage.states,
        coverage.moves,
        coverage.faults,
        checked.seconds,
        breach(checked),
    )
}

fn name_width(worlds: &[BuiltIn]) -> usize {
    worlds.iter().map(|world| world.name().len()).max().unwrap_or(0)
}

/// What was violated, at the end of a line.
fn breach(checked: &Checked) -> String {
    match (&checked.report.finding, checked.built_in.expected()) {
        (Finding::Violated(found), _) => format!("  {}", found.violation.breach),
        (_, Expected::Violated(property)) if checked.verdict == Verdict::Missing => {
            format!("  {property} is expected to be violated")
        }
        _ => String::new(),
    }
}

/// The reports of worlds that are not as expected, or of the only one; and how many are what.
pub(super) fn reports(all: &[Checked]) -> String {
    let mut lines = String::new();
    for checked in all {
        let is_shown = !checked.verdict.is_fine() || all.len() == 1;
        if is_shown {
            lines.push_str(&report(checked));
        }
    }
    lines.push_str(&summary(all));
    lines
}

fn report(checked: &Checked) -> String {
    let mut text = format!("\n{}", checked.report);
    if checked.report.counterexample().is_some() {
        text.push_str("The line after \"Replay it\" is for `semel check --replay LINE`.\n");
    }
    text
}

fn summary(all: &[Checked]) -> String {
    let count = |verdict| all.iter().filter(|checked| checked.verdict == verdict).count();
    let holding = count(Verdict::Holds);
    let parts = [
        (holding, if holding == 1 { "holds" } else { "hold" }),
        (count(Verdict::AsExpected), "violated as expected"),
        (count(Verdict::Sampled), "sampled"),
        (count(Verdict::TooSmall), "too small"),
        (all.iter().filter(|checked| !checked.verdict.is_fine()).count(), "NOT as expected"),
    ];
    let parts = parts.iter().filter(|(count, _)| *count > 0);
    let parts: Vec<String> = parts.map(|(count, what)| format!("{count} {what}")).collect();
    let seconds: f64 = all.iter().map(|checked| checked.seconds).sum();
    format!("\n{}: {}; {seconds:.1} s", text::count(all.len(), "world"), parts.join(", "))
}

/// The worlds with their usual sizes.
pub(super) fn list(worlds: &[BuiltIn], width: Option<u16>) -> String {
    let columns = [
        Column::Name("world"),
        Column::Number("workers"),
        Column::Number("faults"),
        Column::Name("states"),
        Column::Name("expected"),
        Column::Story("what happens"),
    ];
    let mut table = Table::new(&columns, width);
    for world in worlds {
        let manner = match world.manner() {
            Manner::Exhaustive => "all".to_owned(),
            Manner::Random { runs, .. } => format!("{runs} runs"),
        };
        let expected = match world.expected() {
            Expected::Holds => "holds".to_owned(),
            Expected::Violated(property) => format!("violates {property}"),
        };
        table.row([
            world.name().to_owned(),
            world.worker_count().to_string(),
            world.faults_max().to_string(),
            manner,
            expected,
            world.about().to_owned(),
        ]);
    }
    table.render()
}
