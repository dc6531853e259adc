//! Rules on the manifests of the crates.

use super::{Finding, Source};

/// Folders whose every subfolder is a crate of the same name.
const NAMED_FOLDERS: &[&str] = &["crates", "examples"];

pub(super) fn check(sources: &[Source]) -> Vec<Finding> {
    let (roots, crates): (Vec<_>, Vec<_>) = sources
        .iter()
        .filter(|source| source.path.split('/').next_back() == Some("Cargo.toml"))
        .partition(|source| source.path == "Cargo.toml");
    let complete = crates.iter().flat_map(|manifest| complete(manifest));
    let named = crates.iter().filter_map(|manifest| misnamed(manifest));
    let listed = roots.iter().flat_map(|root| unlisted(root, &crates));
    complete.chain(named).chain(listed).collect()
}

/// The value of `key = value` in a section of a manifest, as written.
pub(super) fn value<'a>(manifest: &'a str, section: &str, key: &str) -> Option<&'a str> {
    let header = format!("[{section}]");
    let lines = manifest.lines().skip_while(|line| line.trim() != header).skip(1);
    let mut pairs =
        lines.take_while(|line| !line.starts_with('[')).filter_map(|line| line.split_once('='));
    pairs.find(|(name, _)| name.trim() == key).map(|(_, value)| value.trim())
}

/// The name of the package.
pub(super) fn name(manifest: &str) -> Option<&str> {
    value(manifest, "package", "name").map(|name| name.trim_matches('"'))
}

fn complete(manifest: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    let description = value(&manifest.text, "package", "description").unwrap_or_default();
    if description.trim_matches('"').is_empty() {
        findings.push(manifest.finding(
            1,
            "no description",
            "say in one line what the crate is for",
        ));
    }
    if value(&manifest.text, "lints", "workspace") != Some("true") {
        let remedy = "add `[lints]` with `workspace = true`";
        findings.push(manifest.finding(1, "the workspace's lints are not in force", remedy));
    }
    findings
}

fn misnamed(manifest: &Source) -> Option<Finding> {
    let (place, folder) = folder(manifest).rsplit_once('/')?;
    let name = name(&manifest.text).unwrap_or_default();
    if !NAMED_FOLDERS.contains(&place) || name == folder {
        return None;
    }
    let what = format!("the package `{name}` is in the folder `{folder}`");
    Some(manifest.finding(1, what, "give both the same name"))
}

/// Cargo silently leaves out a crate that the root does not list.
fn unlisted(root: &Source, crates: &[&Source]) -> Vec<Finding> {
    let is_listed = |manifest: &&&Source| root.text.contains(&format!("\"{}\"", folder(manifest)));
    let unlisted = crates.iter().filter(|manifest| !is_listed(manifest));
    let remedy = "add its folder to `members` in the root's Cargo.toml";
    unlisted.map(|manifest| manifest.finding(1, "no member of the workspace", remedy)).collect()
}

fn folder(manifest: &Source) -> &str {
    manifest.path.strip_suffix("/Cargo.toml").unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::tests::source;
    use super::{check, value};

    const GOOD: &str = "[package]\nname = \"semel-core\"\ndescription = \"The core\"\n\n\
                        [lints]\nworkspace = true\n\n[dependencies]\nname = \"1\"\n";

    fn found(path: &str, manifest: &str) -> Vec<String> {
        let root =
            source("Cargo.toml", "members = [\"crates/semel-core\", \"crates/core\", \"xtask\"]");
        check(&[root, source(path, manifest)]).into_iter().map(|finding| finding.what).collect()
    }

    #[test]
    fn a_value_is_read_from_its_own_section() {
        assert_eq!(value(GOOD, "package", "name"), Some("\"semel-core\""));
        assert_eq!(value(GOOD, "dependencies", "name"), Some("\"1\""));
        assert_eq!(value(GOOD, "lints", "name"), None);
        assert_eq!(value(GOOD, "absent", "name"), None);
    }

    #[test]
    fn a_complete_manifest_passes() {
        assert_eq!(found("crates/semel-core/Cargo.toml", GOOD), [""; 0]);
        assert_eq!(found("xtask/Cargo.toml", GOOD), [""; 0], "names are free outside `crates`");
    }

    #[test]
    fn each_gap_is_found() {
        let path = "crates/semel-core/Cargo.toml";
        let undescribed = GOOD.replace("The core", "");
        assert_eq!(found(path, &undescribed), ["no description"]);
        let lenient = GOOD.replace("workspace = true", "");
        assert_eq!(found(path, &lenient), ["the workspace's lints are not in force"]);
    }

    #[test]
    fn a_folder_of_another_name_is_found() {
        let found = found("crates/core/Cargo.toml", GOOD);
        assert_eq!(found, ["the package `semel-core` is in the folder `core`"]);
    }

    #[test]
    fn a_crate_outside_the_workspace_is_found() {
        let manifest = GOOD.replace("semel-core", "semel-new");
        let found = found("crates/semel-new/Cargo.toml", &manifest);
        assert_eq!(found, ["no member of the workspace"]);
    }
}
