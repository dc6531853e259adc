//! What people see: a line a world, and the reports below.

use semel_check::Finding;
use semel_check::worlds::{BuiltIn, Expected, Manner};

use super::{Checked, Size, Verdict};
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

/// The report, but with the command that makes this run again: no test is there to replay it.
fn report(checked: &Checked) -> String {
    let report = &checked.report;
    let Some(found) = report.counterexample() else {
        return format!("\n{report}{}", missing(checked));
    };
    let replay = match found.trace.steps.is_empty() {
        true => String::new(),
        false => {
            format!("Replay it:\n  semel check --replay {}{}\n", found.replay, workers(checked))
        }
    };
    format!("\n{}: VIOLATED.\n\n{found:#}{replay}\n{}", report.world, report.coverage)
}

/// A line is of a world with just as many workers.
fn workers(checked: &Checked) -> String {
    match checked.workers {
        usual if usual == checked.built_in.worker_count() => String::new(),
        asked => format!(" --workers {asked}"),
    }
}

/// What is to be said of a run that was replayed, and is not what its line was printed for.
fn missing(checked: &Checked) -> &'static str {
    match (checked.size, checked.verdict) {
        (Size::Replayed, Verdict::Missing) => {
            "The run of this line violates nothing, though a violation is expected here: the line \
             may have\nlost its end, or the code has changed since it was printed.\n"
        }
        _ => "",
    }
}

/// What is said at the end of a game in which nothing was violated.
pub(super) fn played(checked: &Checked) -> String {
    match checked.report.coverage.depth {
        0 => "\nNo move was made, so nothing was checked.".to_owned(),
        moves => format!("\nNothing was violated in {}.", text::count(moves as usize, "move")),
    }
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

/// The worlds with their usual sizes, and below each what happens in it: beside it there is no
/// room for a sentence.
pub(super) fn list(worlds: &[BuiltIn]) -> String {
    let columns = [
        Column::Name("world"),
        Column::Number("workers"),
        Column::Number("faults"),
        Column::Name("states"),
        Column::Name("expected"),
    ];
    let mut table = Table::new(&columns, None);
    worlds.iter().for_each(|world| table.row(listed(world)));
    let table = table.render();
    let mut lines: Vec<String> = table.lines().map(str::to_owned).collect();
    let heading = lines.len().saturating_sub(worlds.len());
    for (line, world) in lines.iter_mut().skip(heading).zip(worlds) {
        line.push_str(&format!("\n    {}", world.about()));
    }
    lines.join("\n")
}

fn listed(world: &BuiltIn) -> [String; 5] {
    let manner = match world.manner() {
        Manner::Exhaustive => "all".to_owned(),
        Manner::Random { runs, .. } => format!("{runs} runs"),
    };
    let expected = match world.expected() {
        Expected::Holds => "holds".to_owned(),
        Expected::Violated(property) => format!("violates {property}"),
    };
    let (workers, faults) = (world.worker_count().to_string(), world.faults_max().to_string());
    [world.name().to_owned(), workers, faults, manner, expected]
}
