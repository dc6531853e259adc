//! The list in `suite!` is complete: no contract is forgotten, and so no adapter can forget one.

use std::fs;
use std::path::Path;

const SUITES: [&str; 4] = ["store", "broker", "operator", "queue_in_store"];

/// Every public async function of the suites, as `suite::name`, read from the source.
pub(crate) fn contracts() -> Vec<String> {
    let mut contracts = Vec::new();
    for suite in SUITES {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(suite);
        for entry in fs::read_dir(folder).unwrap() {
            let source = fs::read_to_string(entry.unwrap().path()).unwrap();
            let names = source.lines().filter_map(|line| line.strip_prefix("pub async fn "));
            let names = names.filter_map(|rest| rest.split('(').next());
            contracts.extend(names.map(|name| format!("{suite}::{name}")));
        }
    }
    contracts
}

/// Every contract that `suite!` lists, as `suite::name`. The compiler sees to it that each exists.
fn listed() -> Vec<String> {
    let source = include_str!("../../src/suite.rs");
    let mut listed = Vec::new();
    for suite in SUITES {
        let (_, list) = source.split_once(&format!("@tests $open, {suite}:")).unwrap();
        let (list, _) = list.split_once('}').unwrap();
        listed.extend(list.split_whitespace().map(|name| format!("{suite}::{name}")));
    }
    listed
}

#[test]
fn every_contract_is_in_its_suite() {
    let (mut contracts, mut listed) = (contracts(), listed());
    contracts.sort();
    listed.sort();
    assert_eq!(contracts, listed, "src/suite.rs must list each contract once");
}
