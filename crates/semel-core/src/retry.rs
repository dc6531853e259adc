//! When a message whose handler failed is tried again.

use std::time::Duration;

/// What to do after a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Try again at once.
    Now,
    /// Give the message back to the queue for this long.
    Later(Duration),
    /// Dead-letter it.
    GiveUp,
}

/// How often and when a failing message is tried again.
///
/// Each delivery makes one attempt and up to `immediate` more. Then the message waits in the queue,
/// `first_delay` the first time and twice as long each further time, up to `delay_max`, and after
/// `delayed` such rounds it is dead-lettered. Conflicts and unreachable servers use up nothing.
///
/// ```
/// use semel_core::retry::{Next, RetryPolicy};
/// use std::time::Duration;
///
/// let policy = RetryPolicy { jitter: 0.0, ..RetryPolicy::default() };
/// assert_eq!(policy.next(1, 0, 0.5), Next::Now);
/// assert_eq!(policy.next(3, 0, 0.5), Next::Later(Duration::from_secs(1)));
/// assert_eq!(policy.next(3, 1, 0.5), Next::Later(Duration::from_secs(2)));
/// assert_eq!(policy.next(3, 8, 0.5), Next::GiveUp);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RetryPolicy {
    /// Further attempts at once, in each delivery.
    pub immediate: u32,
    /// How often the message goes back to the queue.
    pub delayed: u32,
    /// How long it waits there the first time.
    pub first_delay: Duration,
    /// The longest it ever waits.
    pub delay_max: Duration,
    /// By how much of itself a delay may vary, from 0 to 1, so that retries spread out.
    pub jitter: f64,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            immediate: 2,
            delayed: 8,
            first_delay: Duration::from_secs(1),
            delay_max: Duration::from_secs(300),
            jitter: 0.2,
        }
    }
}

impl RetryPolicy {
    /// Never try again.
    pub const NONE: Self = Self {
        immediate: 0,
        delayed: 0,
        first_delay: Duration::ZERO,
        delay_max: Duration::ZERO,
        jitter: 0.0,
    };

    /// What to do after the `attempts`-th failed attempt of this delivery, when `rounds` earlier
    /// deliveries had failed. `chance` is a random number from 0 to 1.
    pub fn next(&self, attempts: u32, rounds: u32, chance: f64) -> Next {
        if attempts <= self.immediate {
            Next::Now
        } else if rounds < self.delayed {
            Next::Later(vary(self.delay(rounds), self.jitter, chance))
        } else {
            Next::GiveUp
        }
    }

    fn delay(&self, rounds: u32) -> Duration {
        self.first_delay.saturating_mul(2_u32.saturating_pow(rounds)).min(self.delay_max)
    }
}

/// `span`, made longer or shorter by up to `jitter` of itself.
pub(crate) fn vary(span: Duration, jitter: f64, chance: f64) -> Duration {
    let factor = 1.0 + jitter.clamp(0.0, 1.0) * (2.0 * chance.clamp(0.0, 1.0) - 1.0);
    Duration::try_from_secs_f64(span.as_secs_f64() * factor).unwrap_or(span)
}
