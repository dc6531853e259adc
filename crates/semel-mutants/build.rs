//! Copies the shipping protocols into this crate, and makes each mutant of them.
//!
//! Files that no mutant edits are compiled once. A mutant of a protocol is one more module beside
//! them; a mutant of a file that other files stand on gets a family of its own.

#![allow(clippy::expect_used, clippy::panic, reason = "a build script fails by panic")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::{env, fs};

#[allow(dead_code, unreachable_pub, reason = "the crate reads more of it, and hands it out")]
#[path = "src/mutants/mod.rs"]
mod mutants;

use mutants::Mutant;

const SOURCES: &str = "../semel-core/src/protocols";

/// Every file that a family has. `at_least_once` promises nothing that an edit could break.
const FILES: &[&str] = &[
    "case",
    "detached_outbox",
    "entity",
    "grant",
    "inbox",
    "outbox",
    "outbox_inbox",
    "pending",
    "replay",
    "staging",
    "token",
    "transactional",
];

/// The protocols of which there are mutants: their files, and the type in each.
const PROTOCOLS: &[(&str, &str)] = &[
    ("detached_outbox", "DetachedOutbox"),
    ("inbox", "Inbox"),
    ("outbox", "Outbox"),
    ("outbox_inbox", "OutboxInbox"),
    ("replay", "Replay"),
    ("token", "Token"),
    ("transactional", "Transactional"),
];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=src");
    println!("cargo::rerun-if-changed={SOURCES}");

    let files: BTreeMap<&str, String> = FILES.iter().map(|file| (*file, read(file))).collect();
    let (beside, apart): (Vec<&Mutant>, Vec<&Mutant>) =
        mutants::all().partition(|mutant| stands_alone(mutant.file));

    let mut shipping = BTreeMap::from_iter(files.iter().map(|(file, text)| (*file, text.clone())));
    for mutant in &beside {
        shipping.insert(mutant.name, edit(mutant, &files[mutant.file]));
    }
    let mut code = family("shipping", &shipping);
    for mutant in &apart {
        // Its own protocol is enough, but for `token`, on whose books `grant` stands.
        let mut own = files.clone();
        own.retain(|file, _| !stands_alone(file) || *file == mutant.of || *file == "token");
        own.insert(mutant.file, edit(mutant, &files[mutant.file]));
        code += &family(mutant.name, &own);
    }
    code += &by_name(&beside, &apart);

    let out = env::var_os("OUT_DIR").expect("cargo sets it");
    fs::write(Path::new(&out).join("families.rs"), code).expect("cargo made the folder");
}

/// Whether no other file stands on this one: on the books of `token`, `grant` does.
fn stands_alone(file: &str) -> bool {
    file != "token" && PROTOCOLS.iter().any(|(protocol, _)| *protocol == file)
}

/// A file of the core without comments, with its paths as seen from here.
fn read(file: &str) -> String {
    let path = format!("{SOURCES}/{file}.rs");
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let text = match text.split_once("\n#[cfg(test)]\nmod tests") {
        Some((code, _)) => code,
        None => &text,
    };
    bare(text).replace("crate::", "::semel_core::")
}

/// Neither indentation nor comments nor empty lines matter to an edit.
fn bare(text: &str) -> String {
    let lines = text.lines().map(str::trim_start);
    let code = lines.filter(|line| !line.is_empty() && !line.starts_with("//"));
    code.collect::<Vec<_>>().join("\n")
}

fn edit(mutant: &Mutant, text: &str) -> String {
    let Mutant { name, file, find, .. } = mutant;
    let find = bare(find);
    let times = text.matches(&find).count();
    assert!(
        times == 1,
        "the mutant `{name}` edits what occurs {times} times in semel-core/src/protocols/{file}.rs, \
         and must occur once: bring its `find` in src/mutants up to date with the file:\n{find}"
    );
    text.replacen(&find, mutant.replace, 1)
}

/// The module that the core calls `protocols`, with these files.
fn family(name: &str, files: &BTreeMap<&str, String>) -> String {
    let mut code = format!(
        "#[allow(warnings, clippy::all, clippy::disallowed_methods, clippy::disallowed_types)]\n\
         mod {name} {{\ninclude!(concat!(env!(\"CARGO_MANIFEST_DIR\"), \"/src/family.rs\"));\n"
    );
    for (file, text) in files {
        let _ = write!(code, "mod {file} {{\n{text}\nuse super::Attempting as _;\n}}\n");
    }
    for (file, protocol) in PROTOCOLS.iter().filter(|(file, _)| files.contains_key(file)) {
        let _ = writeln!(code, "pub(super) use {file}::{protocol};");
    }
    for mutant in mutants::all().filter(|mutant| files.contains_key(mutant.name)) {
        let (name, protocol) = (mutant.name, type_in(mutant.file));
        let _ = writeln!(code, "pub(super) type {} = {name}::{protocol};", alias(name));
    }
    code + "}\n"
}

fn type_in(file: &str) -> &'static str {
    let found = PROTOCOLS.iter().find(|(protocol, _)| *protocol == file);
    found.unwrap_or_else(|| panic!("`{file}` is no protocol")).1
}

fn alias(name: &str) -> String {
    format!("Of_{name}")
}

/// The functions that hand protocols out.
fn by_name(beside: &[&Mutant], apart: &[&Mutant]) -> String {
    let mut arms = String::new();
    let mut arm = |name: &str, path: &str| {
        let _ = writeln!(arms, "\"{name}\" => Arc::new({path}::default()),");
    };
    for (file, protocol) in PROTOCOLS {
        arm(file, &format!("shipping::{protocol}"));
    }
    for mutant in beside {
        arm(mutant.name, &format!("shipping::{}", alias(mutant.name)));
    }
    for mutant in apart {
        arm(mutant.name, &format!("{}::{}", mutant.name, type_in(mutant.of)));
    }
    format!(
        "#[allow(clippy::default_constructed_unit_structs)]\n\
         fn made(name: &str) -> Option<Arc<dyn Protocol>> {{\n\
         Some(match name {{\n{arms}_ => return None,\n}})\n}}\n"
    )
}
