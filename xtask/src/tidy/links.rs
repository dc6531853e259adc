//! Relative links in Markdown lead to files of the repository.

use std::collections::BTreeSet;

use super::{Finding, Source, has_kind};

const REMEDY: &str = "point it at a file of the repository";

/// What stands before the target of a link: inline Markdown, then HTML.
const OPENERS: &[&str] = &["](", "href=\"", "src=\""];

pub(super) fn check(sources: &[Source], paths: &BTreeSet<String>) -> Vec<Finding> {
    let pages = sources.iter().filter(|source| has_kind(&source.path, "md"));
    pages.flat_map(|page| broken(page, paths)).collect()
}

fn broken(page: &Source, paths: &BTreeSet<String>) -> Vec<Finding> {
    let mut fenced = false;
    let mut findings = Vec::new();
    for (number, line) in page.lines() {
        if line.trim_start().starts_with("```") || line.trim_start().starts_with("~~~") {
            fenced = !fenced;
        }
        if fenced {
            continue;
        }
        let prose = without_code(line);
        let dead = targets(&prose).into_iter().filter(|target| !leads(&page.path, target, paths));
        findings.extend(dead.map(|target| {
            page.finding(number, format!("the link to `{target}` leads nowhere"), REMEDY)
        }));
    }
    findings
}

/// The line without its code spans, where brackets are no links.
fn without_code(line: &str) -> String {
    line.split('`').step_by(2).collect()
}

/// The targets of the links in a line, and of a reference definition `[name]: target`.
fn targets(prose: &str) -> Vec<&str> {
    let inline = OPENERS.iter().flat_map(|opener| prose.split(opener).skip(1));
    let is_definition = prose.starts_with('[') && !prose.starts_with("[^");
    let definition = prose.split_once("]: ").filter(|_| is_definition).map(|(_, target)| target);
    inline.chain(definition).map(target).filter(|target| !target.is_empty()).collect()
}

/// The target at the start of `text`, without a title and angle brackets.
fn target(text: &str) -> &str {
    let end = |c: char| c.is_whitespace() || matches!(c, ')' | '"' | '>');
    text.trim_start_matches('<').split(end).next().unwrap_or_default()
}

/// True for a file or folder of the repository, and for what no file has to answer.
fn leads(page: &str, target: &str, paths: &BTreeSet<String>) -> bool {
    let path = target.split(['#', '?']).next().unwrap_or_default();
    if path.is_empty() || target.contains("://") || target.starts_with("mailto:") {
        return true;
    }
    let Some(path) = resolve(page, path) else {
        return false;
    };
    let folder = format!("{path}/");
    path.is_empty() || paths.contains(&path) || paths.iter().any(|known| known.starts_with(&folder))
}

/// The path from the root of the repository, unless the link leaves it.
fn resolve(page: &str, target: &str) -> Option<String> {
    let mut parts: Vec<&str> = page.split('/').collect();
    parts.pop();
    if target.starts_with('/') {
        parts.clear();
    }
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => _ = parts.pop()?,
            name => parts.push(name),
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::tests::{places, source};
    use super::check;

    fn dead_lines(text: &str) -> Vec<String> {
        let paths = ["docs/a.md", "docs/deep/b.md", "README.md"].map(str::to_owned);
        places(&check(&[source("docs/a.md", text)], &BTreeSet::from(paths)))
    }

    #[test]
    fn links_that_lead_somewhere_pass() {
        let good = [
            "[b](deep/b.md) and [top](../README.md#part), [self](#here)",
            "[folder](deep) [folder](deep/) [root](/README.md) [up](..)",
            "[web](https://example.org/x.md) [post](mailto:a@example.org)",
            "[titled](deep/b.md \"title\") [angled](<deep/b.md>)",
            "[ref]: deep/b.md",
            "[^1]: a note, not a link",
            "`[code](gone.md)` is code",
            "```\n[fenced](gone.md)\n```",
        ];
        for line in good {
            assert_eq!(dead_lines(line), [""; 0], "{line}");
        }
    }

    #[test]
    fn links_that_lead_nowhere_are_found() {
        let bad = [
            "[gone](gone.md)",
            "![picture](gone.svg)",
            "fine [b](deep/b.md) and [gone](deep/gone.md#part)",
            "[out](../../elsewhere.md)",
            "[ref]: gone.md",
            "<a href=\"gone.html\">",
            "<img src=\"gone.png\">",
        ];
        for line in bad {
            assert_eq!(dead_lines(&format!("\n{line}\n")), ["docs/a.md:2"], "{line}");
        }
    }
}
