//! The numbers of every world here: steps of the shortest trace, states explored.
//!
//! `SEMEL_MUTANTS=print cargo test -p semel-check mutants -- --nocapture` prints the actual ones.

/// A world with its numbers. A world that holds has no trace.
pub(super) type Row = (&'static str, usize, u64);

#[rustfmt::skip]
pub(super) const TABLE: &[Row] = &[
    ("detached", 0, 38738),
    ("detached, two deposits", 0, 48059),
    ("detached, repeated writes", 0, 41144),
    ("polled", 0, 31775),
    ("outbox", 0, 4236),
    ("outbox, two deposits", 0, 198598),
    ("outbox-inbox", 0, 14041),
    ("outbox-inbox, two deposits", 0, 19573),
    ("token, two workers", 0, 8181),
    ("token, two faults", 0, 25525),
    ("past the window", 11, 1004),
    ("acks first", 3, 22),
    ("forgets ids", 5, 54),
    ("at-least-once", 5, 53),
    ("clears first", 6, 78),
    ("dispatches first", 3, 4),
    ("mints at dispatch", 6, 81),
    ("inbox, by the message", 0, 2366),
    ("at-least-once, by the state", 7, 104),
    ("at-least-once, by the message", 0, 3769),
    ("inbox", 5, 53),
    ("keeps what is done", 7, 8),
    ("remembers forever", 8, 9),
    ("10 a repeated create", 20, 18703),
    ("10 deletes what is done", 10, 273),
    ("1 inbox first", 12, 331),
    ("1 token first", 14, 1172),
    ("2 unstages in doubt", 8, 167),
    ("3 renames previous", 9, 60),
    ("3 ends current", 15, 180),
    ("4 recreates", 27, 819),
    ("4 tries the same id", 21, 16326),
    ("5 clears before the inbox", 9, 174),
    ("5 clears before the token", 11, 221),
    ("5 overwrites the field", 14, 6218),
    ("6 commits unstaged", 7, 1546),
    ("7 shares an id", 31, 122),
    ("7 shares a slot", 22, 23220),
    ("8 high-water mark", 16, 422),
    ("9 dead-letters all", 6, 16),
    ("9 blames the handler", 15, 282),
];
