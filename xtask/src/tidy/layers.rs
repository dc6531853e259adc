//! What may depend on what. `cargo tree` answers, so that no spelling of a manifest hides a crate.

use crate::failure::Failure;
use crate::shell;

use super::{Finding, Source, manifests};

const CORE: &str = "semel-core";
const FACADE: &str = "semel";

/// How far a ban on a dependency of the core reaches.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// Nowhere below the core.
    Tree,
    /// Not named by the core itself; a dependency may bring it along.
    Direct,
}

/// Crates that do I/O, choose a runtime's reactor, speak to a technology, or draw random numbers.
const BANNED_IN_CORE: &[(&str, Reach)] = &[
    ("mio", Reach::Tree),
    ("socket2", Reach::Tree),
    ("async-std", Reach::Tree),
    ("smol", Reach::Tree),
    ("rusqlite", Reach::Tree),
    ("libsqlite3-sys", Reach::Tree),
    ("sqlx", Reach::Tree),
    ("tokio-postgres", Reach::Tree),
    ("axum", Reach::Tree),
    ("tower", Reach::Tree),
    ("hyper", Reach::Tree),
    ("reqwest", Reach::Tree),
    ("rustls", Reach::Tree),
    ("native-tls", Reach::Tree),
    ("openssl-sys", Reach::Tree),
    ("aws-lc-sys", Reach::Tree),
    ("ring", Reach::Tree),
    ("async-nats", Reach::Tree),
    ("lapin", Reach::Tree),
    ("aws-config", Reach::Tree),
    ("rand", Reach::Tree),
    ("fastrand", Reach::Tree),
    // `uuid` mints version 7 with it.
    ("getrandom", Reach::Direct),
];

/// Asks cargo for the trees and judges them.
pub(super) fn check(sources: &[Source]) -> Result<Vec<Finding>, Failure> {
    let crates: Vec<(&Source, &str)> = sources
        .iter()
        .filter(|source| source.path.ends_with("/Cargo.toml"))
        .filter_map(|manifest| Some((manifest, manifests::name(&manifest.text)?)))
        .collect();
    let ours: Vec<&str> = crates.iter().map(|(_, name)| *name).collect();
    // An example may be split: a program, and a library of its services.
    let examples = crates.iter().filter(|(manifest, _)| is_example(manifest));
    let in_example: Vec<&str> = examples.map(|(_, name)| *name).chain([FACADE]).collect();
    let mut findings = Vec::new();
    for (manifest, name) in crates {
        if name == CORE {
            let direct = tree(name, &["normal"], &["--depth", "1"])?;
            findings.extend(banned(manifest, &tree(name, &["normal"], &[])?, &direct));
            findings.extend(foreign(manifest, &direct_of_any_kind(name)?, &ours, &[CORE]));
        } else if is_example(manifest) {
            findings.extend(foreign(manifest, &direct_of_any_kind(name)?, &ours, &in_example));
        }
    }
    Ok(findings)
}

fn is_example(manifest: &Source) -> bool {
    manifest.path.starts_with("examples/")
}

fn direct_of_any_kind(package: &str) -> Result<String, Failure> {
    tree(package, &["normal", "build", "dev"], &["--depth", "1"])
}

/// One line a crate, its name first.
fn tree(package: &str, edges: &[&str], options: &[&str]) -> Result<String, Failure> {
    let mut cargo = shell::cargo(["tree", "--locked", "--all-features", "--prefix", "none"]);
    cargo.args(["--package", package, "--edges", &edges.join(",")]).args(options);
    shell::output(&mut cargo)
}

fn names(tree: &str) -> impl Iterator<Item = &str> {
    tree.lines().filter_map(|line| line.split(' ').next())
}

/// Crates that the core must not depend on.
fn banned(core: &Source, tree: &str, direct: &str) -> Vec<Finding> {
    let is_found = |(name, reach): &&(&str, Reach)| match reach {
        Reach::Tree => names(tree).any(|found| found == *name),
        Reach::Direct => names(direct).any(|found| found == *name),
    };
    let remedy =
        "move what needs it into an adapter; see `cargo tree -p semel-core -e normal -i NAME`";
    let found = BANNED_IN_CORE.iter().filter(is_found);
    found
        .map(|(name, _)| core.finding(1, format!("the core depends on `{name}`"), remedy))
        .collect()
}

/// Crates of this workspace that are not among the allowed.
fn foreign(manifest: &Source, direct: &str, ours: &[&str], allowed: &[&str]) -> Vec<Finding> {
    let foreign = names(direct).filter(|name| ours.contains(name) && !allowed.contains(name));
    let remedy = "use the layer below it: the core stands on nothing of ours, an example on `semel` and examples";
    foreign.map(|name| manifest.finding(1, format!("it depends on `{name}`"), remedy)).collect()
}

#[cfg(test)]
mod tests {
    use super::super::tests::source;
    use super::{banned, foreign};

    const OURS: &[&str] = &["semel", "semel-core", "semel-sqlite", "shop", "shop-services"];

    const IN_EXAMPLE: &[&str] = &["shop", "shop-services", "semel"];

    fn found_in_core(tree: &str, direct: &str) -> Vec<String> {
        let findings = banned(&source("crates/semel-core/Cargo.toml", ""), tree, direct);
        findings.into_iter().map(|finding| finding.what).collect()
    }

    fn found_in_shop(direct: &str) -> Vec<String> {
        let findings = foreign(&source("examples/shop/Cargo.toml", ""), direct, OURS, IN_EXAMPLE);
        findings.into_iter().map(|finding| finding.what).collect()
    }

    #[test]
    fn a_banned_crate_is_found_at_any_depth() {
        let tree = "semel-core v0.1.0 (/semel)\ntokio v1.47.0\nmio v1.0.0\nbytes v1.0.0 (*)\n";
        assert_eq!(found_in_core(tree, ""), ["the core depends on `mio`"]);
        assert_eq!(found_in_core("semel-core v0.1.0\nmiow v1.0.0\n", ""), [""; 0]);
    }

    #[test]
    fn a_source_of_randomness_is_found_when_named_directly() {
        let tree = "semel-core v0.1.0\nuuid v1.0.0\ngetrandom v0.4.0\n";
        assert_eq!(found_in_core(tree, "semel-core v0.1.0\nuuid v1.0.0\n"), [""; 0]);
        assert_eq!(found_in_core(tree, tree), ["the core depends on `getrandom`"]);
    }

    #[test]
    fn an_example_that_reaches_past_the_facade_is_found() {
        let direct = "shop v0.1.0 (/shop)\nsemel v0.1.0\nshop-services v0.1.0\nserde v1.0.0\n";
        assert_eq!(found_in_shop(direct), [""; 0]);
        let direct = "shop v0.1.0 (/shop)\nsemel v0.1.0\nsemel-sqlite v0.1.0 (/sqlite)\n";
        assert_eq!(found_in_shop(direct), ["it depends on `semel-sqlite`"]);
    }
}
