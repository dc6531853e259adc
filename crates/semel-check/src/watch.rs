//! Notices code that does not return.
//!
//! The explorer runs on a thread of its own; its caller looks now and then whether it moves on. Code
//! that loops without a single call cannot be stopped, but it can be named.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use semel_core::host::panic_text;

use crate::quiet;
use crate::task::Start;

/// Runs that are not merged are explored by recursion, one frame a move.
const STACK_BYTES: usize = 256 << 20;

/// Code that is named when it does not return.
pub(crate) trait Named: std::fmt::Debug + Send + Sync {
    fn name(&self) -> String;
}

impl Named for Start {
    fn name(&self) -> String {
        self.describe()
    }
}

/// What the explorer is at.
#[derive(Clone, Debug, Default)]
pub(crate) struct Watch(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    runs: AtomicU64,
    under_way: Mutex<Option<Arc<dyn Named>>>,
}

impl Watch {
    /// Code begins to run.
    pub(crate) fn begin<Code: Named + 'static>(&self, code: &Arc<Code>) {
        *self.0.under_way.lock().unwrap_or_else(PoisonError::into_inner) = Some(code.clone());
        self.0.runs.fetch_add(1, Ordering::Relaxed);
    }

    /// Code has returned.
    pub(crate) fn end(&self) {
        self.0.runs.fetch_add(1, Ordering::Relaxed);
    }

    /// What has been running since the last look, at which the count was `runs`.
    fn hangs(&self, runs: &mut u64) -> Option<Arc<dyn Named>> {
        let now = self.0.runs.load(Ordering::Relaxed);
        let before = std::mem::replace(runs, now);
        let under_way = self.0.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        // Odd while code runs, even while it does not.
        under_way.clone().filter(|_| before == now && now % 2 == 1)
    }
}

/// Does `work` on a thread of its own; gives up when code in it does not return for `patience`, and
/// says which.
pub(crate) fn watched<T: Send + 'static>(
    patience: Duration,
    work: impl FnOnce(Watch) -> T + Send + 'static,
) -> Result<T, String> {
    let watch = Watch::default();
    let (send, receive) = channel();
    let of_thread = watch.clone();
    let explore = move || {
        quiet::hush();
        // Nobody waits any more only if the code has been given up.
        let _ = send.send(work(of_thread));
    };
    let builder =
        std::thread::Builder::new().name("semel-check".to_owned()).stack_size(STACK_BYTES);
    let thread = builder.spawn(explore).map_err(|error| format!("no thread to run on: {error}"))?;
    let mut runs = 0;
    loop {
        match receive.recv_timeout(patience) {
            Ok(done) => return Ok(done),
            Err(RecvTimeoutError::Timeout) => {
                if let Some(code) = watch.hangs(&mut runs) {
                    return Err(format!(
                        "{} has not returned for {:?}: it loops, or blocks its thread, without a \
                         call on a place of this world",
                        code.name(),
                        patience
                    ));
                }
            }
            Err(RecvTimeoutError::Disconnected) => {
                let panic = thread.join().err();
                let text = panic.as_deref().map_or("it ended", panic_text);
                return Err(format!("a defect in the checker: {text}"));
            }
        }
    }
}
