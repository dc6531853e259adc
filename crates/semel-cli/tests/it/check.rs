//! `semel check`.

use std::io::Write as _;
use std::process::Stdio;

use serde_json::Value;

use crate::rig::{Run, command, fine, semel};

/// The one world of a document.
fn only_world(run: &Run) -> Value {
    let document = run.json();
    assert_eq!(document["worlds"].as_array().map(Vec::len), Some(1), "{document}");
    document["worlds"][0].clone()
}

/// The replay line of a world whose violation is expected.
fn replay_line(name: &str) -> String {
    let world = only_world(&semel(&["check", name, "--json"]));
    world["replay"].as_str().unwrap().to_owned()
}

#[test]
fn a_prefix_chooses_worlds_and_each_has_its_line() {
    let said = fine(&["check", "transactional-o", "transactional-w"]);
    let line = |name: &str| {
        let line = said.lines().find(|line| line.starts_with(name));
        line.unwrap_or_else(|| panic!("{said}")).split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert!(line("transactional-one-message").starts_with("transactional-one-message holds "));
    let window = line("transactional-window");
    assert!(window.starts_with("transactional-window as expected "), "{window}");
    assert!(window.ends_with(" AtMostOneStateChange"), "{window}");
    assert!(said.contains("3 worlds: 2 hold, 1 violated as expected; "), "{said}");
    assert!(!said.contains("Replay it"), "an expected run is printed only if it is alone: {said}");
}

#[test]
fn a_world_that_is_alone_shows_its_run_and_the_run_can_be_replayed() {
    let said = fine(&["check", "transactional-window"]);
    let line = replay_line("transactional-window");
    assert!(said.contains("changed its state at accounts 2 times"), "{said}");
    assert!(said.contains(&format!("Replay it:\n  semel check --replay {line}\n")), "{said}");
    assert!(!said.contains("SEMEL_CHECK_REPLAY"), "no test is there to replay it: {said}");

    let replayed = fine(&["check", "--replay", &line]);
    assert!(replayed.contains("changed its state at accounts 2 times"), "{replayed}");
    assert!(replayed.contains("1 world: 1 violated as expected"), "{replayed}");
}

#[test]
fn the_shop_is_checked_with_its_own_handlers() {
    let world = only_world(&semel(&["check", "shop-order", "--workers", "1", "--json"]));
    assert_eq!((&world["finding"], &world["as_expected"]), (&"holds".into(), &true.into()));
    assert!(world["coverage"]["states"].as_u64().unwrap() > 100, "{world}");
    assert_eq!(world["coverage"]["sometimes"][0]["name"], "it is shipped");

    let world = only_world(&semel(&["check", "shop-at-least-once", "--json"]));
    assert_eq!(world["breach"], "AtMostOneStateChange");
}

#[test]
fn programs_are_told_the_run_step_by_step() {
    let run = semel(&["check", "transactional-window", "--json"]);
    assert_eq!((run.code, run.stderr.as_str()), (0, ""));
    let world = only_world(&run);
    assert_eq!(world["expected"], "AtMostOneStateChange");
    assert_eq!((&world["verdict"], &world["faults"]), (&"as_expected".into(), &1.into()));
    assert_eq!(world["coverage"]["never_processed"], Value::Array(Vec::new()));
    assert_eq!((&world["finding"], &world["as_expected"]), (&"violated".into(), &true.into()));
    let lanes = world["trace"]["lanes"].as_array().unwrap();
    let steps = world["trace"]["steps"].as_array().unwrap();
    assert!(lanes.iter().any(|lane| lane["kind"] == "actor"), "{world}");
    assert!(steps.iter().any(|step| step["fault"] == true), "{world}");
    for step in steps {
        let is_lane = |lane: &Value| lane.as_u64().is_some_and(|at| (at as usize) < lanes.len());
        assert!(is_lane(&step["from"]) && (step["to"].is_null() || is_lane(&step["to"])), "{step}");
    }
}

#[test]
fn every_world_is_listed_with_what_is_expected_of_it() {
    let said = fine(&["check", "--list"]);
    let document = semel(&["check", "--list", "--json"]).json();
    let worlds = document["worlds"].as_array().unwrap();
    assert!(worlds.len() > 20, "{document}");
    assert!(said.lines().all(|line| line.chars().count() <= 120), "{said}");
    for world in worlds {
        assert!(said.contains(world["name"].as_str().unwrap()), "{said}");
        assert!(world["about"].as_str().is_some_and(|about| !about.is_empty()), "{world}");
    }
    let violated = worlds.iter().filter(|world| world["expected"] != "holds");
    assert!(violated.count() >= 4, "{document}");
}

#[test]
fn a_world_made_smaller_need_not_do_what_is_expected() {
    let world = only_world(&semel(&["check", "transactional-window", "--faults", "0", "--json"]));
    assert_eq!((&world["finding"], &world["as_expected"]), (&"holds".into(), &true.into()));
    let said = fine(&["check", "transactional-dead-letter", "--faults", "0"]);
    assert!(said.contains("too small"), "{said}");
}

#[test]
fn runs_are_drawn_from_a_seed() {
    let draw = || {
        let arguments = ["check", "shop-order", "--random", "7", "--runs", "20", "--json"];
        let mut world = only_world(&semel(&arguments));
        world["seconds"].take();
        world
    };
    let world = draw();
    assert_eq!((&world["finding"], &world["as_expected"]), (&"not_exhausted".into(), &true.into()));
    assert_eq!(world["coverage"]["runs"], 20);
    assert_eq!((&world["coverage"]["seed"], &world["verdict"]), (&7.into(), &"sampled".into()));
    assert_eq!(world, draw());
}

#[test]
fn the_run_is_drawn_into_a_file_or_onto_the_standard_output() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.svg").display().to_string();
    fine(&["check", "transactional-window", "--svg", &path]);
    assert!(std::fs::read_to_string(&path).unwrap().starts_with("<svg"));
    let drawn = fine(&["check", "transactional-window", "--mermaid", "-"]);
    assert!(drawn.starts_with("sequenceDiagram"), "{drawn}");

    let run = semel(&["check", "shop-order", "--faults", "0", "--svg", &path]);
    assert_eq!(run.code, 1);
    assert!(run.error_line().contains("there is no run to draw"), "{run:?}");
    let nowhere = folder.path().join("gone/run.svg").display().to_string();
    let run = semel(&["check", "transactional-window", "--svg", &nowhere]);
    assert_eq!(run.code, 4);
    let run = semel(&["check", "transactional-window", "--svg", "-", "--json"]);
    assert_eq!((run.code, run.stdout.as_str()), (2, ""));
}

#[test]
fn numbers_that_make_no_sense_are_told_what_would() {
    let check = |arguments: &[&str], reason: &str| {
        let run = semel(&[&["check"], arguments].concat());
        assert_eq!((run.code, run.stdout.as_str()), (2, ""), "{run:?}");
        assert!(run.stderr.contains(reason), "{run:?}");
    };
    check(&["--workers", "99999999999"], "write a whole number from 1 to 8");
    check(&["--workers", "0"], "write a whole number from 1 to 8");
    check(&["--faults", "17"], "write a whole number from 0 to 16");
    check(&["--random", "x"], "write a whole number from 0 to");
    check(&["--random", "1", "--runs", "0"], "write a whole number, from 1");
}

#[test]
fn what_never_happened_has_no_run_to_replay() {
    let world =
        only_world(&semel(&["check", "transactional-dead-letter", "--faults", "0", "--json"]));
    assert_eq!((&world["verdict"], &world["replay"]), (&"too_small".into(), &Value::Null));
    assert_eq!(world["trace"], Value::Null);
}

#[test]
fn a_name_that_is_unknown_brings_up_its_neighbours() {
    let run = semel(&["check", "shop-ordre"]);
    assert_eq!((run.code, run.stdout.as_str()), (2, ""));
    assert!(run.error_line().contains("no world is called `shop-ordre`"), "{run:?}");
    assert!(run.error_line().contains("Did you mean `shop-order`"), "{run:?}");
}

#[test]
fn a_replay_line_that_cannot_be_replayed_says_why() {
    let check = |line: &str, reason: &str| {
        let run = semel(&["check", "--replay", line]);
        assert_eq!((run.code, run.stdout.as_str()), (2, ""), "{run:?}");
        assert!(run.error_line().contains(reason), "{run:?}");
    };
    check("hopeful", "is no replay line");
    check("99-0123abcd-0.1", "of version 99");
    let line = replay_line("transactional-window");
    let version = line.split('-').next().unwrap();
    let (shorter, _) = line.rsplit_once('.').unwrap();
    let run = semel(&["check", "--replay", shorter]);
    assert_eq!(run.code, 1, "{run:?}");
    assert!(run.stdout.contains("The run of this line violates nothing"), "{run:?}");
    check(&format!("{version}-00000000-0.1"), "of no world here");

    let (head, _) = line.rsplit_once('-').unwrap();
    let run = semel(&["check", "--replay", &format!("{head}-ff")]);
    assert_eq!(run.code, 1, "{run:?}");
    assert!(run.stdout.contains("move 1 of the replay line cannot be made"), "{run:?}");
}

#[test]
fn a_person_can_be_the_scheduler() {
    let mut playing = command(&["check", "--play", "transactional-window"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    playing.stdin.take().unwrap().write_all(b"1\nf\nt\nq\n").unwrap();
    let run = Run::of(playing.wait_with_output().unwrap());
    assert_eq!((run.code, run.stderr.as_str()), (0, ""), "{run:?}");
    assert!(run.stdout.contains("you decide what happens"), "{run:?}");
    assert!(run.stdout.contains(r#"entity accounts/alice = {"balance_pence":5"#), "{run:?}");
    assert!(run.stdout.contains("\nNothing was violated in "), "{run:?}");

    let run = semel(&["check", "--play", "transactional-window"]);
    assert!(run.stdout.ends_with("\nNo move was made, so nothing was checked.\n"), "{run:?}");

    let run = semel(&["check", "--play", "transactional"]);
    assert_eq!(run.code, 2);
    assert!(run.error_line().contains("only one can be played"), "{run:?}");
}
