//! The first program of the README is the quickstart example, and it runs.

use std::time::Duration;

use crate::failure::Failure;
use crate::shell;

const EXAMPLE: &str = "crates/semel/examples/quickstart.rs";

/// A reader's patience with a first program, in lines.
const LINES_MAX: usize = 25;

const RUN_LIMIT: Duration = Duration::from_secs(60);

/// Compares the program with the example, then runs it in an empty folder.
pub(crate) fn program() -> Result<(), Failure> {
    let readme = shell::read("README.md", "its first ```rust block is the quickstart")?;
    let example = shell::read(EXAMPLE, "it is the first ```rust block of README.md")?;
    check(&readme, &example)?;
    let manifest = shell::root().join("Cargo.toml");
    let quickstart = |verb: &str| {
        let mut command = shell::cargo([verb, "--quiet", "--locked", "-p", "semel"]);
        command.args(["--example", "quickstart", "--manifest-path"]).arg(&manifest);
        command
    };
    shell::run(&mut quickstart("build"), "repair the README's program and the example")?;
    let folder = shell::fresh_folder("quickstart")?;
    let status = shell::run_within(RUN_LIMIT, quickstart("run").current_dir(folder))?;
    if status.success() {
        return Ok(());
    }
    Err(Failure::new(format!("the README's program ended with {status}"), "read its output above"))
}

fn check(readme: &str, example: &str) -> Result<(), Failure> {
    let Some(program) = first_rust_block(readme) else {
        let remedy = "open README.md with a program between ```rust and ```";
        return Err(Failure::new("README.md has no complete ```rust block", remedy));
    };
    if program != example {
        return Err(Failure::new(
            format!(
                "README.md's program (-) is not {EXAMPLE} (+):\n{}",
                difference(program, example)
            ),
            "make the two the same, byte for byte",
        ));
    }
    let lines = program.lines().count();
    if lines > LINES_MAX {
        let what = format!("README.md's program has {lines} lines, over {LINES_MAX}");
        return Err(Failure::new(what, "leave out what a first look does not need"));
    }
    Ok(())
}

/// The text between the first line "```rust" and the next line "```".
fn first_rust_block(markdown: &str) -> Option<&str> {
    let mut start = None;
    let mut offset = 0;
    for line in markdown.split_inclusive('\n') {
        match start {
            None if line.trim_end() == "```rust" => start = Some(offset + line.len()),
            Some(start) if line.trim_end() == "```" => return markdown.get(start..offset),
            _ => {}
        }
        offset += line.len();
    }
    None
}

/// The lines that differ, after the common head and before the common tail.
fn difference(old: &str, new: &str) -> String {
    let old: Vec<&str> = old.split_inclusive('\n').collect();
    let new: Vec<&str> = new.split_inclusive('\n').collect();
    let head = old.iter().zip(&new).take_while(|(old, new)| old == new).count();
    let rest = old.len().min(new.len()) - head;
    let tails = old.iter().rev().zip(new.iter().rev()).take(rest);
    let tail = tails.take_while(|(old, new)| old == new).count();
    let changed = |sign: char, lines: &[&str]| -> String {
        let middle = lines.iter().take(lines.len() - tail).skip(head);
        // Debug form shows what the eye would miss: blanks at the end, a missing line end.
        middle.map(|line| format!("{sign} {line:?}\n")).collect()
    };
    let (removed, added) = (changed('-', &old), changed('+', &new));
    format!("@@ line {} of the program @@\n{removed}{added}", head + 1).trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::{check, difference, first_rust_block};

    const README: &str =
        "# Semel\n\n```sh\nls\n```\n```rust\nfn main() {}\n```\n```rust\nno\n```\n";

    #[test]
    fn the_first_rust_block_is_found_among_others() {
        assert_eq!(first_rust_block(README), Some("fn main() {}\n"));
        assert_eq!(first_rust_block("```rust\nfn main() {}\n"), None);
        assert_eq!(first_rust_block("no program"), None);
    }

    #[test]
    fn the_same_program_passes() {
        assert!(check(README, "fn main() {}\n").is_ok());
    }

    #[test]
    fn another_program_fails_and_shows_the_lines() {
        let failure = check(README, "fn main() { }\n").unwrap_err().to_string();
        assert!(failure.contains(r#"- "fn main() {}\n""#), "{failure}");
        assert!(failure.contains(r#"+ "fn main() { }\n""#), "{failure}");
    }

    #[test]
    fn a_long_program_fails() {
        let program = "// line\n".repeat(26);
        let readme = format!("```rust\n{program}```\n");
        let failure = check(&readme, &program).unwrap_err().to_string();
        assert!(failure.contains("26 lines"), "{failure}");
    }

    #[test]
    fn a_difference_leaves_out_head_and_tail() {
        let shown = difference("a\nb\nc\n", "a\nx\ny\nc\n");
        assert_eq!(shown, "@@ line 2 of the program @@\n- \"b\\n\"\n+ \"x\\n\"\n+ \"y\\n\"");
        assert_eq!(difference("a\na\n", "a\n"), "@@ line 2 of the program @@\n- \"a\\n\"");
    }
}
