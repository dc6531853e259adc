//! What the protocols do not do as they ship: worlds in which one breaks something, pinned so that
//! nobody takes it for promised, and so that mending it shows.

use semel_check::Report;
use semel_mutants::by_name;

use super::worlds::{self, Setting};

/// A protocol, a world, what is violated there, and in how many steps.
type Hole = (&'static str, Setting, &'static str, usize);

#[rustfmt::skip]
const HOLES: &[Hole] = &[
    // A message that ends its workers is for a person, also where an attempt on it was committed: only
    // a handler could send its effects.
    ("replay", worlds::parked_for_good, "NoLostMessages", 8),
    // A slow attempt was committed when its message was a dead letter already: its record is to be swept
    // by whoever replays or discards that.
    ("detached_outbox", worlds::parts_discarded, "NoGarbage", 31),
];

/// Commits that land after the message was parked or discarded, or in between. (`replay` cannot send
/// effects from a discard: what is committed at that very moment waits for a copy of the message.)
#[test]
fn late_commits_meet_a_changed_entity() {
    let protocols = ["outbox", "outbox_inbox", "detached_outbox", "token", "replay"];
    let settings: [Setting; 4] = [
        worlds::failing_late,
        worlds::copies,
        worlds::discarded_meanwhile,
        worlds::committed_meanwhile,
    ];
    for protocol in protocols {
        let count = if protocol == "replay" { 3 } else { 4 };
        for setting in &settings[..count] {
            let report = setting(by_name(protocol).expect("the build made it")).check();
            assert!(report.holds(), "{protocol}: {report}");
        }
    }
    let parts =
        worlds::parts_parked(by_name("detached_outbox").expect("the build made it")).check();
    assert!(parts.holds(), "{parts}");
}

#[test]
fn holes_are_as_deep_as_we_know() {
    for (protocol, setting, breach, steps) in HOLES {
        let report = setting(by_name(protocol).expect("the build made it")).check();
        let found = found(&report);
        if std::env::var_os("SEMEL_MUTANTS").is_some() {
            println!("{report}\nhole   {protocol} {found:?}");
            continue;
        }
        assert_eq!(found, Some(((*breach).to_owned(), *steps)), "{protocol}: {report}");
    }
}

/// Whether a report is of a known hole of a protocol.
pub(super) fn is_known(protocol: &str, report: &Report) -> bool {
    let found = found(report);
    HOLES.iter().any(|(of, setting, breach, steps)| {
        *of == protocol
            && setting(by_name(of).expect("the build made it")).name() == report.world
            && found == Some(((*breach).to_owned(), *steps))
    })
}

fn found(report: &Report) -> Option<(String, usize)> {
    let found = report.counterexample()?;
    Some((found.violation.breach.to_string(), found.trace.steps.len()))
}
