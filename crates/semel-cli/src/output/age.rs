//! Spans of time for people.

use std::time::Duration;

use semel::Timestamp;

/// `span` in its two largest units: `42 s`, `5 min`, `2 h 5 min`, `3 d 4 h`.
pub(crate) fn span(span: Duration) -> String {
    let seconds = span.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min"),
        (0, ..) => two((hours, "h"), (minutes % 60, "min")),
        _ => two((days, "d"), (hours % 24, "h")),
    }
}

fn two(large: (u64, &str), small: (u64, &str)) -> String {
    match small.0 {
        0 => format!("{} {}", large.0, large.1),
        _ => format!("{} {} {} {}", large.0, large.1, small.0, small.1),
    }
}

/// How long ago `then` was: `5 min ago`.
pub(crate) fn ago(now: Timestamp, then: Timestamp) -> String {
    format!("{} ago", span(now.since(then)))
}

/// A point in time for people, to the second.
pub(crate) fn point(at: Timestamp) -> Timestamp {
    Timestamp::from_unix_ms(at.unix_ms() - at.unix_ms().rem_euclid(1_000))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    #[test]
    fn a_span_shows_its_two_largest_units() {
        let check = |seconds, shown| {
            assert_eq!(super::span(Duration::from_secs(seconds)), shown);
        };
        check(0, "0 s");
        check(59, "59 s");
        check(119, "1 min");
        check(3_600, "1 h");
        check(7_530, "2 h 5 min");
        check(86_400, "1 d");
        check(273_700, "3 d 4 h");
    }
}
