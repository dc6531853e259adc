//! What people see on the terminal.

use semel_check::Property;
use semel_check::compare::{Compared, FaultClass, Size, Verdict, faults};

use super::words;
use crate::output::table::{Column, Table};
use crate::output::text;

/// The tables, and for a row that is alone what breaks it.
pub(super) fn of(all: &[Compared], size: Size) -> String {
    let mut parts = vec![properties(all), words::assumptions(all), legend(size)];
    parts.extend([numbers(all), words::blocking(all)]);
    if let [compared] = all {
        parts.insert(0, format!("{}: {}", compared.row.name(), compared.row.about()));
        parts.push(violations(compared));
    }
    parts.push(rest(all));
    parts.retain(|part| !part.is_empty());
    parts.join("\n\n")
}

fn properties(all: &[Compared]) -> String {
    let mut columns = vec![Column::Name("protocol"), Column::Name("")];
    columns.extend(Property::ALL.map(|property| Column::Name(words::heading(property))));
    let mut table = Table::new(&columns, None);
    for compared in all {
        let head = [compared.row.name().to_owned(), words::kind(compared.row.kind()).to_owned()];
        let cells = Property::ALL.map(|property| words::summary(&compared.summary(property)));
        table.row(head.into_iter().chain(cells));
    }
    table.render()
}

fn legend(size: Size) -> String {
    let mut lines: Vec<String> = words::MEANING.iter().map(|line| (*line).to_owned()).collect();
    lines.extend(FaultClass::ALL.map(words::class));
    lines.push(words::headings());
    lines.push(words::size(size));
    lines.join("\n")
}

fn numbers(all: &[Compared]) -> String {
    let mut table = Table::new(&words::NUMBERS.map(Column::Name), None);
    for compared in all {
        let name = compared.row.name().to_owned();
        table.row(std::iter::once(name).chain(words::numbers(compared)));
    }
    format!("{}\n\n{}", table.render(), words::MEANING_OF_NUMBERS.join("\n"))
}

/// Each violation of a row, with the line that replays it.
fn violations(compared: &Compared) -> String {
    let mut lines = Vec::new();
    for judged in &compared.judged {
        for cell in &judged.cells {
            let (Verdict::No(found) | Verdict::Stopped(found)) = &cell.verdict else { continue };
            let (steps, faults) = (found.trace.steps.len(), faults(found));
            let (steps, faults) = (text::count(steps, "step"), text::count(faults, "fault"));
            let (property, class) = (cell.property, judged.class.name());
            let detail = text::one_line(&found.violation.detail);
            lines.push(format!(
                "{property} under {class}, {steps}, {faults}: {detail}\n  \
                 semel compare --replay {}",
                found.replay
            ));
        }
    }
    lines.join("\n")
}

fn rest(all: &[Compared]) -> String {
    let states: u64 = all.iter().flat_map(|one| &one.judged).map(|judged| judged.states).sum();
    format!("{}, {states} states.", text::count(all.len(), "protocol"))
}
