//! What the protocols do not do as they ship: worlds in which one breaks something, pinned so that
//! nobody takes it for promised, and so that mending it shows.

use semel_check::Report;
use semel_mutants::by_name;

use super::worlds::{self, Setting};

/// A protocol, a world, what is violated there, and in how many steps.
type Hole = (&'static str, Setting, &'static str, usize);

#[rustfmt::skip]
const HOLES: &[Hole] = &[
    // A commit that lands after its message was parked: its effects wait until a person replays or
    // discards the dead letter.
    ("outbox", worlds::failing_late, "NoLostEffects", 7),
    ("outbox_inbox", worlds::failing_late, "NoLostEffects", 10),
    ("token", worlds::failing_late, "NoLostEffects", 10),
    ("replay", worlds::failing_late, "NoLostEffects", 7),
    ("outbox", worlds::parked_for_good, "NoLostEffects", 8),
    ("outbox_inbox", worlds::parked_for_good, "NoLostEffects", 10),
    ("token", worlds::parked_for_good, "NoLostEffects", 10),
    ("detached_outbox", worlds::parked_for_good, "NoLostEffects", 10),
    // An attempt that is under way while its message is discarded: nothing keeps it from its commit.
    ("outbox_inbox", worlds::copies, "AtMostOneStateChange", 15),
    ("token", worlds::copies, "AtMostOneStateChange", 15),
    ("outbox_inbox", worlds::discarded_meanwhile, "AtMostOneStateChange", 16),
    ("token", worlds::discarded_meanwhile, "AtMostOneStateChange", 16),
    // A commit that lands between the question whether there is one and the record of the discard: its
    // effects are lost.
    ("outbox", worlds::committed_meanwhile, "the invariant \"what is booked and discarded is told\"", 13),
    ("detached_outbox", worlds::committed_meanwhile, "the invariant \"what is booked and discarded is told\"", 18),
    ("outbox_inbox", worlds::committed_meanwhile, "the invariant \"what is booked and discarded is told\"", 15),
    ("token", worlds::committed_meanwhile, "the invariant \"what is booked and discarded is told\"", 15),
    // What counts as abandoned stays so: a committed message is never run again, but waits for ever.
    ("replay", worlds::parked_for_good, "the world never comes to rest", 11),
    // Parts that a slow attempt writes after its message was discarded, or settled by parking.
    ("detached_outbox", worlds::parts_discarded, "NoGarbage", 27),
    ("detached_outbox", worlds::parts_parked, "NoGarbage", 30),
    // By design: what a later version cannot repeat waits for the one that can.
    ("replay", worlds::deployed, "the world never comes to rest", 8),
];

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
