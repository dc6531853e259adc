//! Costs are pinned: call by call for every protocol, and on the page that tells them.

use std::path::PathBuf;

use crate::costs::{Cost, Origin, Path, Scene};
use crate::rig::Home;

const SCENES: [(&str, Scene); 11] = [
    ("`at-least-once`", scene("at-least-once", Origin::Outside)),
    ("`inbox`", scene("inbox", Origin::Outside)),
    ("`outbox`", scene("outbox", Origin::Outside)),
    ("`outbox-inbox`", scene("outbox-inbox", Origin::Outside)),
    ("`detached-outbox`", scene("detached-outbox", Origin::Outside)),
    ("`token`, from outside", scene("token", Origin::Outside)),
    ("`token`, from another entity", scene("token", Origin::AnotherEntity)),
    ("`token`, from itself", scene("token", Origin::Itself)),
    ("`replay`", scene("replay", Origin::Outside)),
    ("`transactional`", scene("transactional", Origin::Outside)),
    (
        "`transactional`, queue elsewhere",
        Scene { protocol: "transactional", origin: Origin::Outside, home: Home::Apart },
    ),
];

const fn scene(protocol: &'static str, origin: Origin) -> Scene {
    Scene { protocol, origin, home: Home::Inside }
}

/// Reads, writes, changes, bytes; subscribers, sends, settles.
type Row = (&'static str, &'static str, [u64; 7]);

#[rustfmt::skip]
const COUNTED: &[Row] = &[
    ("`at-least-once`",                  "first of its entity, sends 1", [   1,   1,   1,  24,   0,   1,   1]),
    ("`at-least-once`",                  "later, sends 0",               [   1,   1,   1,  25,   0,   0,   1]),
    ("`at-least-once`",                  "later, sends 1",               [   1,   1,   1,  25,   0,   1,   1]),
    ("`at-least-once`",                  "later, sends 3",               [   1,   1,   1,  25,   0,   1,   1]),
    ("`at-least-once`",                  "duplicate",                    [   1,   1,   1,  25,   0,   1,   1]),
    ("`at-least-once`",                  "duplicate, one later",         [   1,   1,   1,  25,   0,   1,   1]),
    ("`at-least-once`",                  "again after a crash",          [   1,   1,   1,  25,   0,   1,   1]),
    ("`inbox`",                          "first of its entity, sends 1", [   1,   1,   1, 126,   0,   1,   1]),
    ("`inbox`",                          "later, sends 0",               [   1,   1,   1, 175,   0,   0,   1]),
    ("`inbox`",                          "later, sends 1",               [   1,   1,   1, 175,   0,   1,   1]),
    ("`inbox`",                          "later, sends 3",               [   1,   1,   1, 175,   0,   1,   1]),
    ("`inbox`",                          "duplicate",                    [   1,   0,   0,   0,   0,   1,   1]),
    ("`inbox`",                          "duplicate, one later",         [   1,   0,   0,   0,   0,   1,   1]),
    ("`inbox`",                          "again after a crash",          [   1,   0,   0,   0,   0,   1,   1]),
    ("`outbox`",                         "first of its entity, sends 1", [   1,   2,   2, 699,   0,   1,   1]),
    ("`outbox`",                         "later, sends 0",               [   1,   1,   1, 176,   0,   0,   1]),
    ("`outbox`",                         "later, sends 1",               [   1,   2,   2, 798,   0,   1,   1]),
    ("`outbox`",                         "later, sends 3",               [   1,   2,   2,1566,   0,   1,   1]),
    ("`outbox`",                         "duplicate",                    [   1,   0,   0,   0,   0,   0,   1]),
    ("`outbox`",                         "duplicate, one later",         [   1,   0,   0,   0,   0,   0,   1]),
    ("`outbox`",                         "again after a crash",          [   1,   1,   1, 176,   0,   1,   1]),
    ("`outbox-inbox`",                   "first of its entity, sends 1", [   2,   3,   3, 603,   0,   1,   1]),
    ("`outbox-inbox`",                   "later, sends 0",               [   2,   3,   3, 223,   0,   0,   1]),
    ("`outbox-inbox`",                   "later, sends 1",               [   2,   3,   3, 606,   0,   1,   1]),
    ("`outbox-inbox`",                   "later, sends 3",               [   2,   3,   3,1374,   0,   1,   1]),
    ("`outbox-inbox`",                   "duplicate",                    [   2,   0,   0,   0,   0,   0,   1]),
    ("`outbox-inbox`",                   "duplicate, one later",         [   2,   0,   0,   0,   0,   0,   1]),
    ("`outbox-inbox`",                   "again after a crash",          [   1,   2,   2,  83,   0,   1,   1]),
    ("`detached-outbox`",                "first of its entity, sends 1", [   1,   3,   3, 696,   0,   1,   1]),
    ("`detached-outbox`",                "later, sends 0",               [   2,   3,   3, 315,   0,   0,   1]),
    ("`detached-outbox`",                "later, sends 1",               [   2,   3,   3, 698,   0,   1,   1]),
    ("`detached-outbox`",                "later, sends 3",               [   2,   3,   3,1466,   0,   1,   1]),
    ("`detached-outbox`",                "duplicate",                    [   2,   0,   0,   0,   0,   0,   1]),
    ("`detached-outbox`",                "duplicate, one later",         [   3,   1,   1, 480,   0,   0,   1]),
    ("`detached-outbox`",                "again after a crash",          [   2,   1,   1,  11,   0,   1,   1]),
    ("`token`, from outside",            "first of its entity, sends 1", [   2,   3,   3, 731,   0,   1,   1]),
    ("`token`, from outside",            "later, sends 0",               [   2,   3,   3, 320,   0,   0,   1]),
    ("`token`, from outside",            "later, sends 1",               [   2,   3,   3, 824,   0,   1,   1]),
    ("`token`, from outside",            "later, sends 3",               [   2,   3,   3,1834,   0,   1,   1]),
    ("`token`, from outside",            "later, publishes 1 to 2",      [   2,   3,   3,1329,   1,   1,   1]),
    ("`token`, from outside",            "duplicate",                    [   3,   0,   0,   0,   0,   0,   1]),
    ("`token`, from outside",            "duplicate, one later",         [   3,   0,   0,   0,   0,   0,   1]),
    ("`token`, from outside",            "again after a crash",          [   1,   2,   2, 176,   0,   1,   1]),
    ("`token`, from another entity",     "first of its entity, sends 1", [   2,   3,   3, 797,   0,   1,   1]),
    ("`token`, from another entity",     "later, sends 0",               [   2,   3,   3, 386,   0,   0,   1]),
    ("`token`, from another entity",     "later, sends 1",               [   2,   3,   3, 890,   0,   1,   1]),
    ("`token`, from another entity",     "later, sends 3",               [   2,   3,   3,1900,   0,   1,   1]),
    ("`token`, from another entity",     "later, publishes 1 to 2",      [   2,   3,   3,1395,   1,   1,   1]),
    ("`token`, from another entity",     "duplicate",                    [   3,   0,   0,   0,   0,   0,   1]),
    ("`token`, from another entity",     "duplicate, one later",         [   3,   0,   0,   0,   0,   0,   1]),
    ("`token`, from another entity",     "again after a crash",          [   2,   2,   2, 241,   0,   1,   1]),
    ("`token`, from itself",             "later, sends 0",               [   1,   2,   2, 364,   0,   0,   1]),
    ("`token`, from itself",             "later, sends 1",               [   1,   2,   2, 868,   0,   1,   1]),
    ("`token`, from itself",             "later, sends 3",               [   1,   2,   2,1878,   0,   1,   1]),
    ("`token`, from itself",             "later, publishes 1 to 2",      [   1,   2,   2,1373,   1,   1,   1]),
    ("`token`, from itself",             "duplicate",                    [   2,   0,   0,   0,   0,   0,   1]),
    ("`token`, from itself",             "duplicate, one later",         [   2,   0,   0,   0,   0,   0,   1]),
    ("`token`, from itself",             "again after a crash",          [   1,   1,   1, 171,   0,   1,   1]),
    ("`replay`",                         "first of its entity, sends 1", [   1,   1,   1, 208,   0,   1,   1]),
    ("`replay`",                         "later, sends 0",               [   1,   1,   1, 379,   0,   0,   1]),
    ("`replay`",                         "later, sends 1",               [   1,   1,   1, 379,   0,   1,   1]),
    ("`replay`",                         "later, sends 3",               [   1,   1,   1, 379,   0,   1,   1]),
    ("`replay`",                         "duplicate",                    [   1,   0,   0,   0,   0,   1,   1]),
    ("`replay`",                         "duplicate, one later",         [   1,   0,   0,   0,   0,   1,   1]),
    ("`replay`",                         "again after a crash",          [   1,   0,   0,   0,   0,   1,   1]),
    ("`transactional`",                  "first of its entity, sends 1", [   1,   1,   4, 250,   0,   0,   0]),
    ("`transactional`",                  "later, sends 0",               [   1,   1,   3,  30,   0,   0,   0]),
    ("`transactional`",                  "later, sends 1",               [   1,   1,   4, 252,   0,   0,   0]),
    ("`transactional`",                  "later, sends 3",               [   1,   1,   6, 696,   0,   0,   0]),
    ("`transactional`",                  "duplicate",                    [   1,   0,   0,   0,   0,   0,   1]),
    ("`transactional`",                  "duplicate, one later",         [   1,   0,   0,   0,   0,   0,   1]),
    ("`transactional`, queue elsewhere", "first of its entity, sends 1", [   1,   2,   4, 413,   0,   1,   1]),
    ("`transactional`, queue elsewhere", "later, sends 0",               [   1,   1,   2,  30,   0,   0,   1]),
    ("`transactional`, queue elsewhere", "later, sends 1",               [   1,   2,   4, 415,   0,   1,   1]),
    ("`transactional`, queue elsewhere", "later, sends 3",               [   1,   2,   4,1183,   0,   1,   1]),
    ("`transactional`, queue elsewhere", "duplicate",                    [   2,   0,   0,   0,   0,   0,   1]),
    ("`transactional`, queue elsewhere", "duplicate, one later",         [   2,   0,   0,   0,   0,   0,   1]),
    ("`transactional`, queue elsewhere", "again after a crash",          [   2,   1,   1,   0,   0,   1,   1]),
];

/// `SEMEL_COSTS=write cargo test -p semel protocol_costs -- --nocapture` prints the rows that are to
/// stand above, and writes those of the page.
fn is_told_to_write() -> bool {
    std::env::var_os("SEMEL_COSTS").is_some()
}

async fn counted() -> Vec<(&'static str, Scene, Path, Cost)> {
    let each = SCENES.into_iter().flat_map(|(name, scene)| {
        let paths = Path::ALL.into_iter().filter(move |path| scene.has(*path));
        paths.map(move |path| {
            (name, scene, path, tokio::spawn(async move { scene.cost(path).await }))
        })
    });
    let mut counted = Vec::new();
    for (name, scene, path, cost) in each.collect::<Vec<_>>() {
        counted.push((name, scene, path, cost.await.unwrap()));
    }
    counted
}

#[tokio::test(flavor = "multi_thread")]
async fn every_call_of_every_protocol_is_as_pinned_and_as_the_page_says() {
    let counted = counted().await;
    let rows: Vec<_> = counted
        .iter()
        .map(|(name, _, path, cost)| ((*name).to_owned(), path.to_string(), cost.columns()))
        .collect();
    if is_told_to_write() {
        for (name, path, columns) in &rows {
            let [name, path] = [name, path].map(|text| format!("{text:?},"));
            let columns = columns.map(|column| format!("{column:>4}")).join(",");
            println!("    ({name:<35} {path:<31} [{columns}]),");
        }
        write_table(&page_table(&rows));
        return;
    }
    assert_eq!(rows.len(), COUNTED.len());
    for (found, pinned) in rows.iter().zip(COUNTED) {
        assert_eq!((found.0.as_str(), found.1.as_str(), found.2), *pinned);
    }
    assert_eq!(split(&page()).1, page_table(&rows), "SEMEL_COSTS=write brings docs/costs.md up");

    for (name, scene, path, cost) in counted {
        if let Path::First | Path::Later(_) | Path::Published = path {
            let (reads, writes) = budget(scene);
            let is_within = cost.reads <= reads && cost.writes <= writes;
            assert!(is_within, "{name}, {path}: {cost:?} is over {reads} reads, {writes} writes");
        }
    }
}

/// What a protocol's documentation allows a message on its way.
fn budget(scene: Scene) -> (u64, u64) {
    let (reads, writes) = documented(scene.protocol);
    match (scene.protocol, scene.origin, scene.home) {
        // One more write to clear the record of what was dispatched.
        ("transactional", _, Home::Apart) => (reads, writes + 1),
        _ => (reads, writes),
    }
}

/// The budget in the documentation of a protocol: `Budget: 2 reads, 3 writes…`.
fn documented(protocol: &str) -> (u64, u64) {
    let file = format!("../semel-core/src/protocols/{}.rs", protocol.replace('-', "_"));
    let source = std::fs::read_to_string(in_crate(&file)).unwrap();
    let comments = source.lines().filter_map(|line| line.strip_prefix("///"));
    let text = comments.collect::<Vec<_>>().join("");
    let (_, budget) = text.split_once("Budget: ").unwrap();
    let mut words = budget.split(' ');
    let reads = words.next().unwrap().parse().unwrap();
    assert!(words.next().unwrap().starts_with("read"), "{protocol}: {budget}");
    let writes = words.next().unwrap().parse().unwrap();
    assert!(words.next().unwrap().starts_with("write"), "{protocol}: {budget}");
    (reads, writes)
}

#[test]
fn the_budgets_are_those_of_the_design() {
    let budgets = [
        ("at-least-once", (1, 1)),
        ("inbox", (1, 1)),
        ("outbox", (1, 2)),
        ("outbox-inbox", (2, 3)),
        ("detached-outbox", (2, 3)),
        ("token", (2, 3)),
        ("replay", (1, 1)),
        ("transactional", (1, 1)),
    ];
    let all = semel::core::protocols::all();
    assert!(all.iter().map(|protocol| protocol.name()).eq(budgets.map(|(name, _)| name)));
    for (protocol, budget) in budgets {
        assert_eq!(documented(protocol), budget, "{protocol}");
    }
}

fn in_crate(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path)
}

const PAGE: &str = "../../docs/costs.md";

fn page() -> String {
    std::fs::read_to_string(in_crate(PAGE)).unwrap()
}

const HEADER: &str = "\
| protocol | path | reads | writes | changes | bytes | subscribers | sends | settles |
|---|---|--:|--:|--:|--:|--:|--:|--:|
";

/// The page before its table, the table, and what follows it.
fn split(page: &str) -> (String, String, String) {
    let from = page.find(HEADER).unwrap();
    let (before, rest) = page.split_at(from);
    let to = rest.find("\n\n").map_or(rest.len(), |end| end + 1);
    let (table, after) = rest.split_at(to);
    (before.to_owned(), table.to_owned(), after.to_owned())
}

fn page_table(rows: &[(String, String, [u64; 7])]) -> String {
    let line = |(name, path, columns): &(String, String, [u64; 7])| {
        let columns = columns.map(|column| column.to_string()).join(" | ");
        format!("| {name} | {path} | {columns} |\n")
    };
    rows.iter().map(line).fold(HEADER.to_owned(), |table, line| table + &line)
}

fn write_table(table: &str) {
    let (before, _, after) = split(&page());
    std::fs::write(in_crate(PAGE), before + table + &after).unwrap();
}
