//! Finds out that no endpoint has anything left to do.

use std::sync::Arc;
use std::time::Duration;

use super::running::Running;

const POLL: Duration = Duration::from_millis(5);

/// Completes once every endpoint has looked for messages and found none while nothing was in work.
///
/// A job in work may send a message to an endpoint that just looked. So nothing may be held at the
/// beginning of the observation, and nothing may be received until each endpoint has begun and
/// ended one more look.
pub(super) async fn wait(endpoints: Vec<Arc<Running>>) {
    loop {
        let before = Observation::of(&endpoints);
        // The look that is under way began before the observation; the next one did not.
        while !endpoints.iter().zip(&before.receives).all(|(e, mark)| e.receives() >= mark + 2) {
            tokio::time::sleep(POLL).await;
        }
        if before.held == 0 && Observation::of(&endpoints).received == before.received {
            return;
        }
    }
}

struct Observation {
    held: usize,
    received: u64,
    receives: Vec<u64>,
}

impl Observation {
    fn of(endpoints: &[Arc<Running>]) -> Self {
        // `received` is read first: a message that comes in between shows up as held, or later.
        let received = endpoints.iter().map(|endpoint| endpoint.received()).sum();
        Self {
            received,
            held: endpoints.iter().map(|endpoint| endpoint.held().len()).sum(),
            receives: endpoints.iter().map(|endpoint| endpoint.receives()).collect(),
        }
    }
}
