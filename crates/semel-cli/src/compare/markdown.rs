//! The tables as Markdown.

use semel_check::Property;
use semel_check::compare::{Compared, FaultClass, Size};

use super::words;

/// The tables, and below them the shortest run for each property that a row violates.
pub(super) fn whole(all: &[Compared], size: Size) -> String {
    let mut notes = String::new();
    for (compared, property) in every(all) {
        if let Some((class, found)) = compared.shortest(property) {
            let text = format!("{found:#}").trim_end().replace('\n', "\n    ");
            let (name, class) = (note(compared, property), class.name());
            notes.push_str(&format!(
                "\n[^{name}]: Under {class}:\n\n    ```text\n    {text}\n    ```\n"
            ));
        }
    }
    // Lines with nothing on them need no indent.
    let notes: Vec<&str> = notes.lines().map(str::trim_end).collect();
    format!("{}\n{}", tables(all, size, Notes::Named), notes.join("\n"))
}

/// Whether cells name the run that violates a property.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Notes {
    /// As a footnote.
    Named,
    /// Not at all.
    Left,
}

/// The tables and what they mean.
pub(super) fn tables(all: &[Compared], size: Size, notes: Notes) -> String {
    let mut out = String::new();
    row(&mut out, std::iter::once("protocol".to_owned()).chain(Property::ALL.map(words_of)));
    row(&mut out, std::iter::repeat_n("---".to_owned(), 1 + Property::ALL.len()));
    for compared in all {
        let cells = Property::ALL.map(|property| cell(compared, property, notes));
        row(&mut out, std::iter::once(name(compared)).chain(cells));
    }
    out.push('\n');
    let assumptions = words::assumptions(all);
    if !assumptions.is_empty() {
        out.push_str(&wrapped(&assumptions));
        out.push('\n');
    }
    list(&mut out, words::MEANING.iter().map(|line| (*line).to_owned()));
    list(&mut out, FaultClass::ALL.map(words::class));
    out.push_str(&wrapped(&words::headings()));
    out.push('\n');
    out.push_str(&wrapped(&words::size(size)));
    out.push('\n');
    row(&mut out, words::NUMBERS.map(str::to_owned));
    row(&mut out, std::iter::repeat_n("---".to_owned(), words::NUMBERS.len()));
    for compared in all {
        row(&mut out, std::iter::once(name(compared)).chain(words::numbers(compared)));
    }
    out.push('\n');
    list(&mut out, words::MEANING_OF_NUMBERS.iter().map(|line| (*line).to_owned()));
    out.push_str(&wrapped(&words::blocking(all)));
    out
}

fn every(all: &[Compared]) -> impl Iterator<Item = (&Compared, Property)> {
    all.iter().flat_map(|one| Property::ALL.into_iter().map(move |property| (one, property)))
}

fn words_of(property: Property) -> String {
    words::heading(property).to_owned()
}

/// A model is not for use, and looks so.
fn name(compared: &Compared) -> String {
    match compared.row.kind() {
        semel_check::compare::Kind::Ships => format!("`{}`", compared.row.name()),
        semel_check::compare::Kind::Model => format!("*{}*", compared.row.name()),
    }
}

fn cell(compared: &Compared, property: Property, notes: Notes) -> String {
    let text = words::summary(&compared.summary(property));
    match (notes, compared.shortest(property)) {
        (Notes::Named, Some(_)) => format!("{text} [^{}]", note(compared, property)),
        _ => text,
    }
}

fn note(compared: &Compared, property: Property) -> String {
    format!("{}-{}", compared.row.name(), property.name().to_ascii_lowercase())
}

fn row(out: &mut String, cells: impl IntoIterator<Item = String>) {
    let cells: Vec<String> = cells.into_iter().map(|cell| cell.replace('|', "\\|")).collect();
    out.push_str(&format!("| {} |\n", cells.join(" | ")));
}

fn list(out: &mut String, lines: impl IntoIterator<Item = String>) {
    for line in lines {
        let line = line.replace('*', "\\*");
        out.push_str(&format!("- {line}\n"));
    }
    out.push('\n');
}

/// The longest line of a paragraph, in letters.
const WIDTH: usize = 100;

/// A paragraph in lines that fit.
fn wrapped(text: &str) -> String {
    let (mut out, mut used) = (String::new(), 0);
    for word in text.split_whitespace() {
        let letters = word.chars().count();
        if used > 0 && used + 1 + letters > WIDTH {
            out.push('\n');
            used = 0;
        } else if used > 0 {
            out.push(' ');
            used += 1;
        }
        out.push_str(word);
        used += letters;
    }
    out.push('\n');
    out
}
