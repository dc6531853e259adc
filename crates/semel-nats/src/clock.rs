//! The server's clock, by which leases and waits are counted: the workers' own need not agree.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use semel_core::{Clock, SystemClock, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::Nats;
use crate::error::Failed;
use crate::wire::nanos;

/// How long what we know of the server's clock is good enough.
const GOOD_FOR: Duration = Duration::from_secs(60);
/// How long the server keeps what it makes to tell us its time, should we not remove it.
const IDLE: Duration = Duration::from_secs(5);

/// The server's clock, as it was told last, and counted on from there.
#[derive(Debug, Default)]
pub(crate) struct ServersClock {
    known: Mutex<Option<Known>>,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    /// Our moment in which it was the server's time.
    at: Instant,
    time: Timestamp,
}

/// A consumer, of which only the birthday counts.
#[derive(Deserialize)]
struct Newborn {
    name: String,
    created: String,
}

impl ServersClock {
    fn known(&self) -> MutexGuard<'_, Option<Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_stale(&self) -> bool {
        self.known().is_none_or(|known| known.at.elapsed() > GOOD_FOR)
    }

    /// Learns that the server said `time` between `asked` and now: most likely halfway.
    fn learn(&self, time: Timestamp, asked: Instant) {
        *self.known() = Some(Known { at: asked + asked.elapsed() / 2, time });
    }
}

impl Clock for ServersClock {
    fn now(&self) -> Timestamp {
        match *self.known() {
            Some(Known { at, time }) => time.after(at.elapsed()),
            None => SystemClock.now(),
        }
    }
}

impl Nats {
    /// Asks the server for its time, if it was not asked of late. It has no request for that; but
    /// whatever it makes, it tells when it made it.
    pub(crate) async fn set_clock(&self) -> Result<(), Failed> {
        if !self.clock.is_stale() {
            return Ok(());
        }
        let stream = self.names.state_stream();
        let request = json!({ "stream_name": stream, "config": {
            "ack_policy": "none", "deliver_policy": "new", "mem_storage": true,
            "num_replicas": 1, "inactive_threshold": nanos(IDLE),
            "filter_subject": self.names.registry_subject(),
        }});
        let asked = Instant::now();
        let create = format!("CONSUMER.CREATE.{stream}");
        let Newborn { name, created } = self.wire.api(&create, &request).await?;
        let Some(time) = Timestamp::parse(&created) else {
            return Err(Failed::Garbled(format!("`{created}` is no time")));
        };
        self.clock.learn(time, asked);
        let end = format!("CONSUMER.DELETE.{stream}.{name}");
        // The server forgets it by itself as well.
        let _ = self.wire.api::<Value>(&end, &json!({})).await;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use semel_core::{Clock as _, SystemClock, Timestamp};

    use super::ServersClock;

    #[test]
    fn it_goes_on_from_what_the_server_said_and_never_by_our_own() {
        let clock = ServersClock::default();
        assert!(clock.is_stale());
        assert!(clock.now().since(SystemClock.now()) < Duration::from_secs(1));
        let told = Timestamp::from_unix_ms(1_000_000);
        clock.learn(told, Instant::now());
        assert!(!clock.is_stale());
        let before = clock.now();
        std::thread::sleep(Duration::from_millis(20));
        assert!(clock.now().since(before) >= Duration::from_millis(20));
        assert!(clock.now().since(told) < Duration::from_secs(10));
    }
}
