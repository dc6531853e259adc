//! The diagram in text: every kind of step as it is drawn, and columns that hold whatever comes.

use semel_check::trace::{Arrow, Changed, Lane, LaneKind, Step, Trace, Weight};

/// The widest line that a diagram of up to five lanes has.
const COLUMNS: usize = 108;

pub(crate) fn lane(name: &str, kind: LaneKind) -> Lane {
    Lane { name: name.to_owned(), kind }
}

pub(crate) fn step(from: usize, to: Option<(usize, Arrow)>, what: &str) -> Step {
    Step {
        from,
        to,
        label: None,
        what: what.to_owned(),
        outcome: None,
        weight: Weight::Normal,
        changes: Vec::new(),
        notes: Vec::new(),
        busy: vec![0],
    }
}

fn labelled(label: &str, step: Step) -> Step {
    Step { label: Some(label.to_owned()), ..step }
}

fn ending(outcome: &str, step: Step) -> Step {
    Step { outcome: Some(outcome.to_owned()), ..step }
}

fn faulty(step: Step) -> Step {
    Step { weight: Weight::Fault, ..step }
}

/// A run with every kind of step.
pub(crate) fn everything() -> Trace {
    let lanes = vec![
        lane("worker 1", LaneKind::Actor),
        lane("worker 2", LaneKind::Actor),
        lane("store", LaneKind::Place),
        lane("queue", LaneKind::Place),
    ];
    let commit = |to| labelled("CommitState", step(0, Some((2, to)), "write alice"));
    let lost = Step {
        changes: vec![Changed { lane: 2, what: "+ alice, v1".to_owned() }],
        ..commit(Arrow::ReplyLost)
    };
    let read = labelled("LoadEntity", step(0, Some((2, Arrow::Answered)), "read alice"));
    let decided = vec!["handler: nothing yet → 5".to_owned()];
    let steps = vec![
        step(3, Some((0, Arrow::Delivery)), "delivery 1 of d1"),
        ending("nothing there", Step { notes: decided, ..read }),
        faulty(ending("the request is lost", commit(Arrow::RequestLost))),
        faulty(ending("applied, but worker 1 never hears of it", lost)),
        faulty(ending("it has not arrived yet", commit(Arrow::Delayed))),
        step(0, Some((2, Arrow::Arrives)), "the request of step 5 arrives: write alice"),
        Step { busy: vec![0, 1], ..step(3, Some((1, Arrow::Delivery)), "delivery 2 of d1") },
        Step { busy: vec![1], ..faulty(step(0, None, "worker 1 crashes")) },
        Step { busy: vec![1], ..step(3, None, "the lease of d1 ends") },
    ];
    let verdict = Some("AtMostOneStateChange: d1 changed alice twice.".to_owned());
    Trace { world: "a deposit".to_owned(), lanes, steps, verdict }
}

const EVERYTHING: &str = "\
a deposit: 9 steps, 4 faults
  ◄━━ delivery   ──► call   ◄╌╌ answer   ✗╌ answer lost   ─✗ call lost   ─◌ delayed   ◌╌► arrives late
  ◆ change (+ new, ~ other, - gone)   ✗ fault   ┃ at work

      worker 1  worker 2    store     queue
          ┊         ┊         │         │
  1       ┃◄━━━━━━━━┿━━━━━━━━━┿━━━━━━━━━┥     delivery 1 of d1
          ┃         ┊         │         │
  2       ┠─────────┼────────►│         │     LoadEntity: read alice
          ┃◄╌╌╌╌╌╌╌╌┼╌╌╌╌╌╌╌╌╌┤         │       → nothing there
          ┃         ┊         │         │       » handler: nothing yet → 5
          ┃         ┊         │         │
  3!      ┠─────────┼──────✗  │         │     CommitState: write alice
          ┃         ┊         │         │       ✗ FAULT: the request is lost
          ┃         ┊         │         │
  4!      ┠─────────┼────────►│         │     CommitState: write alice
          ┃         ┊         ◆         │       + alice, v1
          ┃  ✗╌╌╌╌╌╌┼╌╌╌╌╌╌╌╌╌┤         │       ✗ FAULT: applied, but worker 1 never hears of it
          ┃         ┊         │         │
  5!      ┠─────────┼─────◌   │         │     CommitState: write alice
          ┃         ┊         │         │       ✗ FAULT: it has not arrived yet
          ┃         ┊         │         │
  6       ┃         ┊     ◌╌╌►│         │     the request of step 5 arrives: write alice
          ┃         ┊         │         │
  7       ┃         ┃◄━━━━━━━━┿━━━━━━━━━┥     delivery 2 of d1
          ┃         ┃         │         │
  8!      ✗         ┃         │         │     ✗ FAULT: worker 1 crashes
          ┊         ┃         │         │
► 9       ┊         ┃         │         ●     the lease of d1 ends

══► VIOLATED after step 9 ══════════════════════════════════════════════════════════════════════════════════
    AtMostOneStateChange: d1 changed alice twice.
";

#[test]
fn every_kind_of_step_is_drawn_its_own_way() {
    assert_eq!(everything().to_string(), EVERYTHING);
}

/// A run whose texts and names are as long and odd as they get.
pub(crate) fn hostile(lanes: usize, steps: usize) -> Trace {
    let texts = [
        "<script>alert(\"&\")</script>; DROP #1 %%{init}%% end",
        "two\nlines\tand \u{1b}[31mcolour\u{202e}",
        "😀 各 e\u{301} ]]> 'quoted' \u{0} \u{ffff}",
        &"word ".repeat(200),
        &"{\"unbroken\":\"".repeat(60),
        "",
    ];
    let arrows = [
        Arrow::Answered,
        Arrow::ReplyLost,
        Arrow::RequestLost,
        Arrow::Delayed,
        Arrow::Arrives,
        Arrow::Delivery,
    ];
    let text = |at: usize| texts[at % texts.len()].to_owned();
    let kind = |at: usize| if at.is_multiple_of(2) { LaneKind::Actor } else { LaneKind::Place };
    let one = |at: usize| Step {
        from: at % lanes,
        to: (!at.is_multiple_of(7)).then(|| ((at * 5 + at / 3) % lanes, arrows[at % arrows.len()])),
        label: at.is_multiple_of(3).then(|| text(at + 2)),
        what: text(at),
        outcome: at.is_multiple_of(2).then(|| text(at + 1)),
        weight: if at.is_multiple_of(4) { Weight::Fault } else { Weight::Normal },
        changes: vec![Changed { lane: at % lanes, what: text(at + 3) }; at % 3],
        notes: vec![text(at + 4); at % 2],
        busy: (0..lanes).filter(|lane| (lane + at).is_multiple_of(3)).collect(),
    };
    Trace {
        world: text(0),
        lanes: (0..lanes).map(|at| lane(&text(at), kind(at))).collect(),
        steps: (0..steps).map(one).collect(),
        verdict: Some(texts.join(" ")),
    }
}

#[test]
fn no_line_is_wider_than_a_page() {
    for lanes in 1..=6 {
        for line in hostile(lanes, 40).to_string().lines() {
            // Wide letters count twice, an accent on its letter not at all.
            let joined = line.matches('\u{301}').count();
            let wide = line.chars().filter(|letter| matches!(letter, '各' | '😀')).count();
            let width = line.chars().count() + wide - joined;
            assert!(width <= COLUMNS, "{width} columns with {lanes} lanes: {line}");
            assert!(!line.contains(char::is_control), "{line:?}");
        }
    }
}

#[test]
fn lanes_stay_in_their_columns() {
    let trace = hostile(5, 40);
    let text = trace.to_string();
    let is_between = |line: &&str| line.trim_start().starts_with(['┃', '┊', '│']);
    let columns = |line: &str| -> Vec<usize> {
        let is_lane = |letter: char| "┃┊│".contains(letter);
        line.chars().enumerate().filter(|(_, letter)| is_lane(*letter)).map(|(at, _)| at).collect()
    };
    let between: Vec<_> =
        text.lines().filter(is_between).map(columns).filter(|c| c.len() == 5).collect();
    assert!(between.len() > 40, "there is such a line before each step");
    assert!(between.windows(2).all(|pair| pair[0] == pair[1]), "{text}");
}

#[test]
fn a_run_without_steps_or_lanes_is_drawn() {
    let empty = Trace { world: String::new(), lanes: vec![], steps: vec![], verdict: None };
    assert_eq!(empty.to_string(), "");
}
