//! The server's clock, as seen from here.
//!
//! Leases, waits and delays are times, and workers must agree about them. A worker whose own clock
//! is an hour off would take what others have leased, or leave lying for an hour what is due. So
//! each asks how far its clock is from the server's, and goes by that.

use std::fmt;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use semel_core::{Clock, Timestamp};

use crate::Nats;

/// What is less than that is the way to the server and back.
const OFF_MIN_MS: i64 = 500;
/// The longest way to the server and back over which its answer is good enough.
const WAY_MAX: Duration = Duration::from_secs(1);
/// How often it is asked again.
const ASK_EVERY: Duration = Duration::from_secs(60);

/// The clock of this process, put right by the server's.
pub(crate) struct ServerClock {
    own: Arc<dyn Clock>,
    /// How far the server's clock is ahead of ours.
    ahead_ms: AtomicI64,
    /// When that was last asked, and over which connection.
    asked: Mutex<Option<Instant>>,
    connects: AtomicU64,
}

impl ServerClock {
    pub(crate) fn new(own: Arc<dyn Clock>) -> Self {
        let (ahead_ms, asked) = (AtomicI64::new(0), Mutex::default());
        Self { own, ahead_ms, asked, connects: AtomicU64::new(0) }
    }

    pub(crate) fn now(&self) -> Timestamp {
        let own = self.own.now().unix_ms();
        Timestamp::from_unix_ms(own.saturating_add(self.ahead_ms.load(Ordering::Relaxed)))
    }

    /// Whether it is time to ask the server again; only one caller hears so.
    fn is_due(&self, connects: u64) -> bool {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let was_cut = self.connects.swap(connects, Ordering::Relaxed) != connects;
        let is_due = was_cut || asked.is_none_or(|asked| asked.elapsed() > ASK_EVERY);
        if is_due {
            *asked = Some(Instant::now());
        }
        is_due
    }

    /// Notes that the server's clock showed `server` at a moment between two of ours.
    fn set(&self, before: Timestamp, server: Timestamp, after: Timestamp) {
        // A process that was stopped meanwhile, or a slow answer, tells little: ask again.
        if after.since(before) > WAY_MAX {
            *self.asked.lock().unwrap_or_else(PoisonError::into_inner) = None;
            return;
        }
        let own = before.unix_ms().midpoint(after.unix_ms());
        let ahead_ms = server.unix_ms().saturating_sub(own);
        let ahead_ms = if ahead_ms.abs() < OFF_MIN_MS { 0 } else { ahead_ms };
        if self.ahead_ms.swap(ahead_ms, Ordering::Relaxed) == 0 && ahead_ms != 0 {
            tracing::warn!(ahead_ms, "the server's clock differs; its time is used");
        }
    }
}

impl fmt::Debug for ServerClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerClock").field("ahead_ms", &self.ahead_ms).finish_non_exhaustive()
    }
}

impl Nats {
    /// Asks the server for its time, if that is long ago.
    pub(crate) async fn set_clock(&self) {
        if !self.clock.is_due(self.wire.connects()) {
            return;
        }
        let before = self.clock.own.now();
        // Whatever it makes, it says when: this is given up at once.
        let filter = self.names.registry_subject();
        match self.open_cursor(&filter, 1).await {
            Ok(cursor) => {
                if let Some(server) = Timestamp::parse(&cursor.created) {
                    self.clock.set(before, server, self.clock.own.now());
                }
                self.close_cursor(&cursor).await;
            }
            Err(failed) => {
                let error = self.failed("ask for the time", failed);
                tracing::debug!(%error, "the clock of this process is used");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use semel_core::{Clock as _, ManualClock, Timestamp};

    use super::ServerClock;

    #[test]
    fn the_servers_time_is_used_where_it_differs() {
        let own = Arc::new(ManualClock::default());
        let clock = ServerClock::new(own.clone());
        let now = own.now().unix_ms();
        for (server, used) in
            [(now + 3_600_000, now + 3_600_000), (now - 7_000, now - 7_000), (now + 100, now)]
        {
            clock.set(own.now(), Timestamp::from_unix_ms(server), own.now());
            assert_eq!(clock.now().unix_ms(), used);
        }
        assert!(clock.is_due(0) && !clock.is_due(0) && clock.is_due(1));
    }
}
