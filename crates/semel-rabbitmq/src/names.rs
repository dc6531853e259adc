//! Names of queues and exchanges, and the steps of delays.

use std::time::Duration;

use semel_core::StoreError;
use semel_core::store::Trouble;

use crate::error;

/// The longest prefix and the longest name of an endpoint, in bytes: with what stands between them
/// a queue's name stays under the 255 bytes that AMQP allows.
const PREFIX_MAX: usize = 40;
const ENDPOINT_MAX: usize = 180;

/// Waits up to here take one step, rounded up; longer ones take steps rounded down, and what is
/// left after each.
const ONE_STEP_MAX_MS: u64 = 60_000;
/// No step is shorter.
const STEP_MIN_MS: u64 = 16;
/// No step is longer: RabbitMQ counts a queue's time to live in 32 bits.
const STEP_MAX_MS: u64 = 1 << 31;
/// Steps between one power of two and the next.
const STEPS_PER_DOUBLING: u64 = 8;

/// The names under one prefix.
#[derive(Clone, Debug)]
pub(crate) struct Names(String);

impl Names {
    pub(crate) fn new(place: &str, prefix: &str) -> Result<Self, StoreError> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        let good = !prefix.is_empty()
            && prefix.len() <= PREFIX_MAX
            && prefix.bytes().all(fits)
            && prefix != "amq";
        if good {
            return Ok(Self(prefix.to_owned()));
        }
        let help = "Choose up to 40 letters, digits, `-` and `_`; `amq` is the server's own.";
        let reason = format!("the prefix {prefix:?} cannot begin the names of queues");
        Err(error::new(place, Trouble::Unsupported, "connect", reason, help))
    }

    /// A queue that is there for a moment, after others.
    pub(crate) fn last(&self, id: &str) -> String {
        format!("{}.last.{id}", self.0)
    }

    /// Where an endpoint's messages wait for a worker.
    pub(crate) fn ready(&self, endpoint: &str) -> String {
        format!("{}.endpoint.{endpoint}", self.0)
    }

    /// Where an endpoint's messages wait for their time.
    pub(crate) fn wait(&self, endpoint: &str, step_ms: u64) -> String {
        format!("{}.wait.{step_ms}.{endpoint}", self.0)
    }

    /// Where an endpoint's messages wait for a person.
    pub(crate) fn dead(&self, endpoint: &str) -> String {
        format!("{}.dead.{endpoint}", self.0)
    }

    /// The exchange that hands events to their subscribers.
    pub(crate) fn events(&self) -> String {
        format!("{}.events", self.0)
    }

    /// The queue that holds the book of endpoints.
    pub(crate) fn book(&self) -> String {
        format!("{}.book", self.0)
    }

    /// The exchange that reaches the letter box of every handle.
    pub(crate) fn everyone(&self) -> String {
        format!("{}.everyone", self.0)
    }

    /// The queue whose consumers are the living handles.
    pub(crate) fn handles(&self) -> String {
        format!("{}.handles", self.0)
    }

    /// The letter box of one handle.
    pub(crate) fn letters(&self, handle: &str) -> String {
        format!("{}.handle.{handle}", self.0)
    }

    /// The exclusive queue whose owner may touch what others must not touch meanwhile.
    pub(crate) fn lock(&self, what: &str) -> String {
        format!("{}.lock.{what}", self.0)
    }
}

/// Why an endpoint cannot have queues, if so.
pub(crate) fn refuse_endpoint(endpoint: &str) -> Option<String> {
    if endpoint.is_empty() || endpoint.len() > ENDPOINT_MAX {
        return Some(format!(
            "an endpoint's name has 1 to {ENDPOINT_MAX} bytes, not {}",
            endpoint.len()
        ));
    }
    endpoint
        .contains(char::is_control)
        .then(|| "an endpoint's name holds control characters".to_owned())
}

/// The first step of a wait: a time to live that some queue has.
///
/// A queue lets only its oldest message expire. With one time to live for all its messages none is
/// held up by another; a limited number of such times keeps the number of queues limited.
pub(crate) fn step_ms(wait: Duration) -> u64 {
    let wait_ms = u64::try_from(wait.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX);
    let wait_ms = wait_ms.clamp(STEP_MIN_MS, STEP_MAX_MS);
    let unit = ((1 << wait_ms.ilog2()) / STEPS_PER_DOUBLING).max(1);
    if wait_ms <= ONE_STEP_MAX_MS { wait_ms.div_ceil(unit) * unit } else { wait_ms / unit * unit }
}

/// What is left of a wait after its first step.
pub(crate) fn left_after_step(wait: Duration) -> Duration {
    wait.saturating_sub(Duration::from_millis(step_ms(wait)))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use super::{Names, ONE_STEP_MAX_MS, STEP_MIN_MS, left_after_step, refuse_endpoint, step_ms};

    fn step(ms: u64) -> u64 {
        step_ms(Duration::from_millis(ms))
    }

    #[test]
    fn a_short_wait_is_never_cut_and_at_most_an_eighth_longer() {
        for ms in STEP_MIN_MS..=ONE_STEP_MAX_MS {
            assert!(step(ms) >= ms && step(ms) <= ms + ms / 8, "{ms}: {}", step(ms));
        }
        assert_eq!(step_ms(Duration::from_micros(16_001)), 18);
        assert_eq!(step_ms(Duration::ZERO), STEP_MIN_MS);
    }

    #[test]
    fn the_steps_of_a_long_wait_never_overshoot_and_are_few() {
        for mut left in [60_001, 3_600_000, 604_800_000, 31_536_000_000_u64] {
            let mut steps = 0;
            while left > ONE_STEP_MAX_MS {
                assert!(step(left) <= left);
                left -= step(left);
                steps += 1;
            }
            assert!(steps < 25, "{steps}");
        }
        assert_eq!(step_ms(Duration::MAX), 1 << 31);
    }

    #[test]
    fn the_steps_of_a_wait_come_to_the_wait() {
        for wait_ms in [20, 59_999, 60_001, 3_600_000, 604_800_000] {
            let wait = Duration::from_millis(wait_ms);
            let (mut left, mut sum) = (wait, 0);
            while !left.is_zero() {
                sum += step_ms(left);
                left = left_after_step(left);
            }
            assert!((wait_ms..=wait_ms + 60_000 / 8).contains(&sum), "{wait_ms}: {sum}");
        }
    }

    #[test]
    fn there_are_few_steps() {
        let steps: BTreeSet<u64> = (0..ONE_STEP_MAX_MS).map(step).collect();
        assert!(steps.len() < 100, "{}", steps.len());
    }

    #[test]
    fn odd_names_are_refused() {
        for prefix in ["", "amq", "a.b", "a b", &"x".repeat(41)] {
            assert!(Names::new("here", prefix).is_err(), "{prefix}");
        }
        for endpoint in ["", "a\nb", &"x".repeat(181)] {
            assert!(refuse_endpoint(endpoint).is_some(), "{endpoint}");
        }
        assert!(refuse_endpoint("Grüße.eu/1").is_none());
    }
}
