//! Rules on the text of single files.

use super::{Finding, Source, has_kind};

const LINES_MAX: usize = 600;

/// Files that may be longer, each with its reason beside it.
const LONG_FILES: &[&str] = &[];

const LIMITED_KINDS: &[&str] = &["rs", "js", "css", "html", "md"];

/// Marks of unfinished work, and what to do with each.
const MARKS: &[(&str, &str)] = &[
    ("#[ignore", "repair the test or remove it"),
    ("todo!", "write the missing code"),
    ("unimplemented!", "write the missing code, or return an error"),
    ("FIXME", "repair it now, or write down what is so and why"),
    ("XXX", "repair it now, or write down what is so and why"),
];

/// This file names the marks to look for them.
const MARKS_ALLOWED_IN: &[&str] = &["xtask/src/tidy/text.rs"];

pub(super) fn check(sources: &[Source]) -> Vec<Finding> {
    let rules = [length, marks, white_space, crate_doc];
    rules.iter().flat_map(|rule| sources.iter().flat_map(rule)).collect()
}

fn length(source: &Source) -> Vec<Finding> {
    let lines = source.text.lines().count();
    let limited = LIMITED_KINDS.iter().any(|kind| has_kind(&source.path, kind));
    if !limited || lines <= LINES_MAX || LONG_FILES.contains(&source.path.as_str()) {
        return Vec::new();
    }
    let what = format!("{lines} lines, over {LINES_MAX}");
    vec![source.finding(LINES_MAX + 1, what, "split the file by subject")]
}

fn marks(source: &Source) -> Vec<Finding> {
    if !has_kind(&source.path, "rs") || MARKS_ALLOWED_IN.contains(&source.path.as_str()) {
        return Vec::new();
    }
    let found = |(number, line): (usize, &str)| {
        let marks = MARKS.iter().filter(|(mark, _)| line.contains(mark));
        marks.map(|(mark, remedy)| source.finding(number, format!("`{mark}`"), remedy)).collect()
    };
    source.lines().flat_map::<Vec<_>, _>(found).collect()
}

fn white_space(source: &Source) -> Vec<Finding> {
    if !["rs", "md"].iter().any(|kind| has_kind(&source.path, kind)) {
        return Vec::new();
    }
    let tabs = source.lines().filter(|(_, line)| line.contains('\t'));
    let tabs = tabs.map(|(number, _)| source.finding(number, "a tab", "use spaces"));
    // `str::lines` hides the carriage return of a Windows line end, which is white space too.
    let lines = (1..).zip(source.text.split('\n'));
    let trailing = lines.filter(|(_, line)| line.ends_with(char::is_whitespace));
    let trailing = trailing.map(|(number, _)| {
        source.finding(number, "white space at the end of the line", "remove it")
    });
    tabs.chain(trailing).collect()
}

/// Every crate opens with a sentence on what it is for.
fn crate_doc(source: &Source) -> Vec<Finding> {
    let parts: Vec<&str> = source.path.split('/').collect();
    let is_crate_root = matches!(parts[..], ["crates", _, "src", "lib.rs" | "main.rs"]);
    if !is_crate_root || source.text.starts_with("//! ") {
        return Vec::new();
    }
    vec![source.finding(1, "no crate documentation", "begin the file with `//! ` and a sentence")]
}

#[cfg(test)]
mod tests {
    use super::super::tests::{places, source};
    use super::{crate_doc, length, marks, white_space};

    #[test]
    fn a_long_file_is_found_whatever_its_kind() {
        for kind in ["rs", "js", "css", "html", "md"] {
            let path = format!("a.{kind}");
            assert_eq!(
                places(&length(&source(&path, &"x\n".repeat(601)))),
                [format!("{path}:601")]
            );
            assert_eq!(length(&source(&path, &"x\n".repeat(600))), []);
        }
        assert_eq!(length(&source("Cargo.toml", &"x\n".repeat(601))), []);
    }

    #[test]
    fn each_mark_of_unfinished_work_is_found() {
        let text =
            "#[ignore]\nfine\n#[ignore = \"slow\"]\ntodo!()\nunimplemented!()\n// FIXME\n// XXX\n";
        let found = marks(&source("a.rs", text));
        assert_eq!(places(&found), ["a.rs:1", "a.rs:3", "a.rs:4", "a.rs:5", "a.rs:6", "a.rs:7"]);
        assert_eq!(marks(&source("a.md", text)), []);
        assert_eq!(marks(&source("xtask/src/tidy/text.rs", text)), []);
    }

    #[test]
    fn tabs_and_trailing_white_space_are_found() {
        let text = "fine\n\ttab\nblank \nwindows\r\nlast ";
        let found = white_space(&source("a.rs", text));
        assert_eq!(places(&found), ["a.rs:2", "a.rs:3", "a.rs:4", "a.rs:5"]);
        assert_eq!(white_space(&source("a.md", text)).len(), 4);
        assert_eq!(white_space(&source("a.css", text)), []);
    }

    #[test]
    fn a_crate_without_documentation_is_found() {
        for root in ["crates/a/src/lib.rs", "crates/a/src/main.rs"] {
            assert_eq!(places(&crate_doc(&source(root, "fn a() {}\n"))), [format!("{root}:1")]);
            assert_eq!(crate_doc(&source(root, "//! What it is for.\n")), []);
        }
        assert_eq!(crate_doc(&source("crates/a/src/other.rs", "fn a() {}\n")), []);
    }
}
