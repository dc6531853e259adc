//! `cargo xtask tidy`: the rules of the house that no compiler knows.
//!
//! Each rule is a pure function from text to findings, so that its tests can show it fail.

mod layers;
mod links;
mod manifests;
mod text;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};

use crate::failure::Failure;
use crate::shell;

/// A text file of the repository; its path is relative to the root.
struct Source {
    path: String,
    text: String,
}

/// One breach of a rule.
#[derive(Debug, PartialEq, Eq)]
struct Finding {
    path: String,
    line: usize,
    what: String,
    remedy: &'static str,
}

/// Runs as a verb of its own.
pub(crate) fn verb(arguments: &[OsString]) -> Result<ExitCode, Failure> {
    if !arguments.is_empty() {
        return Err(Failure::new("tidy takes no arguments", "run: cargo xtask tidy"));
    }
    run().map(|()| ExitCode::SUCCESS)
}

/// Checks every rule and prints all findings.
pub(crate) fn run() -> Result<(), Failure> {
    let paths = tracked()?;
    let sources = paths.iter().filter(|path| is_checked(path)).map(|path| load(path));
    let sources = sources.collect::<Result<Vec<_>, _>>()?;
    let mut findings = text::check(&sources);
    findings.extend(links::check(&sources, &paths));
    findings.extend(manifests::check(&sources));
    print_all(&findings);
    // These need cargo, which may fail; the findings above are in print by then.
    let layers = layers::check(&sources)?;
    print_all(&layers);
    match findings.len() + layers.len() {
        0 => println!("{} files are tidy", sources.len()),
        count => {
            return Err(Failure::new(
                format!("findings of tidy: {count}"),
                "do what each line says",
            ));
        }
    }
    Ok(())
}

fn print_all(findings: &[Finding]) {
    for finding in findings {
        println!("{finding}");
    }
}

/// The files that git tracks or would track: a new file is checked before it is added.
fn tracked() -> Result<BTreeSet<String>, Failure> {
    let mut git = Command::new("git");
    git.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
    let listed = shell::output(git.current_dir(shell::root()))?;
    let present = |path: &&str| !path.is_empty() && shell::root().join(path).exists();
    Ok(listed.split('\0').filter(present).map(str::to_owned).collect())
}

fn is_checked(path: &str) -> bool {
    ["rs", "js", "css", "html", "md", "toml"].iter().any(|kind| has_kind(path, kind))
}

fn has_kind(path: &str, kind: &str) -> bool {
    Path::new(path).extension().is_some_and(|extension| extension == kind)
}

fn load(path: &str) -> Result<Source, Failure> {
    let text = fs::read_to_string(shell::root().join(path)).map_err(|error| {
        Failure::new(format!("cannot read {path}: {error}"), "keep source files in UTF-8")
    })?;
    Ok(Source { path: path.to_owned(), text })
}

impl Source {
    /// The lines with their numbers, from 1.
    fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        (1..).zip(self.text.lines())
    }

    fn finding(&self, line: usize, what: impl Into<String>, remedy: &'static str) -> Finding {
        Finding { path: self.path.clone(), line, what: what.into(), remedy }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, line, what, remedy } = self;
        write!(out, "{path}:{line}: {what}; {remedy}")
    }
}

#[cfg(test)]
mod tests {
    use super::{Finding, Source};

    /// A source made up for a test.
    pub(super) fn source(path: &str, text: &str) -> Source {
        Source { path: path.to_owned(), text: text.to_owned() }
    }

    /// Where the findings are, as `path:line`.
    pub(super) fn places(findings: &[Finding]) -> Vec<String> {
        findings.iter().map(|finding| format!("{}:{}", finding.path, finding.line)).collect()
    }

    #[test]
    fn a_finding_says_where_what_and_what_to_do() {
        let finding = source("a.rs", "").finding(3, "trailing white space", "remove it");
        assert_eq!(finding.to_string(), "a.rs:3: trailing white space; remove it");
    }
}
