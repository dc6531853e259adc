//! `semel compare`.

use serde_json::Value;

use crate::rig::{fine, semel};

/// Rows that are compared in a moment.
const QUICK: [&str; 4] = ["--protocol", "at-least-once", "--protocol", "inbox-table"];

fn compare(arguments: &[&str]) -> String {
    fine(&[&["compare"], &QUICK[..], arguments].concat())
}

#[test]
fn each_protocol_has_its_line_in_both_tables() {
    let said = compare(&["--faults", "1"]);
    let lines: Vec<String> = said
        .lines()
        .filter(|line| line.starts_with("inbox-table"))
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    assert_eq!(lines.len(), 2, "{said}");
    assert!(lines[0].starts_with("inbox-table model no CRW"), "{said}");
    assert!(lines[1].starts_with("inbox-table items + broker window"), "{said}");
    assert!(!said.contains("transactional"), "{said}");
    assert!(said.contains("C crashes: processes die at any call"), "{said}");
    assert!(!said.contains("--replay"), "runs are listed only for one that is alone: {said}");
}

#[test]
fn one_that_is_alone_lists_its_runs_and_each_can_be_replayed() {
    let said = fine(&["compare", "--protocol", "inbox-table"]);
    let line = said.lines().find_map(|line| line.trim().strip_prefix("semel compare --replay "));
    let line = line.unwrap_or_else(|| panic!("{said}"));
    let replayed = fine(&["compare", "--replay", line]);
    assert!(replayed.contains("VIOLATED after step"), "{replayed}");

    let run = semel(&["compare", "--replay", "hopeful"]);
    assert_eq!(run.code, 2, "{run:?}");
    let run = semel(&["compare", "--replay", line, "--protocol", "at-least-once"]);
    assert_eq!(run.code, 2, "{run:?}");
    assert!(run.error_line().contains("of no world here"), "{run:?}");
}

#[test]
fn json_has_a_cell_for_each_property_under_each_class() {
    let document: Value = serde_json::from_str(&compare(&["--json"])).unwrap();
    let classes = document["classes"].as_array().unwrap().len();
    for row in document["rows"].as_array().unwrap() {
        let cells = row["cells"].as_array().unwrap();
        assert_eq!(cells.len(), 7 * classes, "{row}");
        for cell in cells {
            let is_no = cell["verdict"] == "no";
            assert_eq!(cell["replay"].is_string(), is_no, "{cell}");
            assert_eq!(cell["trace"]["steps"].is_array(), is_no, "{cell}");
        }
        assert!(row["numbers"]["inside"]["reads"].as_u64().is_some(), "{row}");
        assert_eq!(row["broken"].as_array().map(Vec::len), Some(0), "{row}");
    }
}

#[test]
fn in_markdown_a_no_has_its_run_as_a_footnote() {
    let said = compare(&["--markdown"]);
    let marks: Vec<&str> =
        said.split("[^").skip(1).filter_map(|rest| rest.split(']').next()).collect();
    assert!(marks.contains(&"inbox-table-atmostonestatechange"), "{said}");
    for mark in marks {
        assert!(said.contains(&format!("\n[^{mark}]: Under ")), "{mark}: {said}");
    }
    assert!(said.contains("    ```text\n"), "{said}");
    assert!(said.lines().all(|line| line.trim_end() == line), "{said}");
}

#[test]
fn the_page_is_well_formed_and_needs_nothing_from_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("compare.html").display().to_string();
    compare(&["--page", &path]);
    let page = std::fs::read_to_string(&path).unwrap();
    well_formed(&page);
    assert!(page.contains("<svg") && page.contains("prefers-color-scheme:dark"), "{page}");
    for foreign in ["<script", "<link", "<img", "src=", "@import", "url("] {
        assert!(!page.contains(foreign), "{foreign}");
    }
    let values = |name: &str| -> Vec<String> {
        let found = page.split(name).skip(1).filter_map(|rest| rest.split('"').next());
        found.map(str::to_owned).collect()
    };
    let (leads, ids) = (values("href=\"#"), values(" id=\""));
    assert!(leads.iter().any(|lead| lead == "inbox-table-AtMostOneStateChange"), "{leads:?}");
    assert!(leads.iter().all(|lead| ids.contains(lead)), "{leads:?} {ids:?}");
    // A browser opens what is closed around the aim of a link, not the aim itself.
    assert!(page.contains("<details>") && !page.contains("<details id"), "{page}");
}

/// Every element is closed where it was opened, and nothing in a text looks like one.
#[track_caller]
fn well_formed(page: &str) {
    let body = page.strip_prefix("<!DOCTYPE html>\n").unwrap();
    let mut open = Vec::new();
    let mut parts = body.split('<');
    text(parts.next().unwrap());
    for part in parts {
        let (tag, rest) = part.split_once('>').unwrap_or_else(|| panic!("no end: <{part}"));
        text(tag);
        text(rest);
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name), "<{tag}>");
        } else if !tag.ends_with('/') {
            let name = tag.split_whitespace().next().unwrap();
            assert!(name.starts_with(|letter: char| letter.is_ascii_alphabetic()), "<{tag}>");
            open.push(name);
        }
    }
    assert_eq!(open, [""; 0]);
}

/// Each `&` begins a name that every reader knows.
#[track_caller]
fn text(text: &str) {
    for rest in text.split('&').skip(1) {
        let name = rest.split(';').next().unwrap();
        assert!(["amp", "lt", "gt", "quot", "#39"].contains(&name), "&{rest}");
    }
}

#[test]
fn a_protocol_that_is_unknown_brings_up_those_that_are_not() {
    let run = semel(&["compare", "--protocol", "hopeful"]);
    assert_eq!((run.code, run.stdout.as_str()), (2, ""));
    assert!(run.error_line().contains("at-least-once, inbox"), "{run:?}");
}

#[test]
fn tables_are_written_between_the_marks_of_a_page() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("page.md").display().to_string();
    let into = |arguments: &[&str]| {
        let all = [&["compare", "--faults", "1", "--into", &path], &QUICK[..], arguments].concat();
        semel(&all)
    };
    std::fs::write(&path, "# Mine\n").unwrap();
    assert_eq!(into(&[]).code, 2);
    std::fs::write(&path, "# Mine\n<!-- tables begin -->\n<!-- tables end -->\n").unwrap();
    assert_eq!(into(&["--dry-run"]).code, 1);
    assert_eq!(into(&[]).code, 0);
    assert_eq!(into(&["--dry-run"]).code, 0);
    let page = std::fs::read_to_string(&path).unwrap();
    assert!(page.starts_with("# Mine\n") && page.contains("| *inbox-table* |"), "{page}");
}

/// All rows are compared by `cargo xtask test`; here are those that take a moment.
#[test]
fn the_page_on_choosing_shows_what_is_found() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/choosing.md");
    let page = std::fs::read_to_string(path).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("copy.md").display().to_string();
    std::fs::write(&copy, "<!-- tables begin -->\n<!-- tables end -->\n").unwrap();
    compare(&["--into", &copy, "--protocol", "sqs"]);
    let found = std::fs::read_to_string(&copy).unwrap();
    for line in found.lines().filter(|line| !line.starts_with("A dead worker")) {
        assert!(
            page.contains(line),
            "{line}\nRun: cargo run -p semel-cli -- compare --into docs/choosing.md"
        );
    }
}
