//! How a broken contract is told: the sentence, and what was seen instead.

use std::fmt::Debug;

/// Panics with the broken sentence and what was seen.
#[track_caller]
pub(crate) fn broken(sentence: &str, seen: &dyn Debug) -> ! {
    panic!("contract broken: {sentence}\n           seen: {seen:?}")
}

/// Panics unless `holds`.
#[track_caller]
pub(crate) fn require(sentence: &str, holds: bool, seen: &dyn Debug) {
    if !holds {
        broken(sentence, seen);
    }
}

/// Panics unless `seen` equals `expected`.
#[track_caller]
pub(crate) fn require_eq<T: PartialEq + Debug>(sentence: &str, seen: &T, expected: &T) {
    if seen != expected {
        broken(sentence, &format_args!("{seen:?}, expected {expected:?}"));
    }
}
