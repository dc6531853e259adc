//! Threads on which plain handlers run.
//!
//! Not the runtime's own: a handler that never returns must cost a thread, not a worker of the
//! runtime, and must not keep the process from ending.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

/// A call that waited this long for a thread gets a new one.
const PATIENCE: Duration = Duration::from_millis(20);
/// Beyond this many threads, calls wait.
const THREADS_MAX: usize = 512;

type Call = Box<dyn FnOnce() + Send>;

/// A pool that grows while its threads block or are stuck.
#[derive(Debug)]
pub(super) struct Threads {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    pool: Mutex<Pool>,
    wake: Condvar,
}

#[derive(Default)]
struct Pool {
    calls: VecDeque<(Instant, Call)>,
    threads: usize,
    sleeping: usize,
    wanted: usize,
    closed: bool,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("threads", &self.lock().threads).finish_non_exhaustive()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Pool> {
        // Calls contain their panics, and none runs under the lock.
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Threads {
    /// As many threads as there are processors, at least two.
    pub(super) fn start() -> Self {
        let wanted = std::thread::available_parallelism().map_or(2, usize::from).max(2);
        let threads = Self { shared: Arc::default() };
        let mut pool = threads.shared.lock();
        pool.wanted = wanted;
        (0..wanted).for_each(|_| add_thread(&threads.shared, &mut pool));
        drop(pool);
        threads
    }

    /// Queues `call`. The first receiver hears that it has begun, the second gets its result. It is
    /// not run for nobody.
    #[expect(clippy::disallowed_methods, reason = "how long a call waits decides no outcome")]
    pub(super) fn call<T: Send + 'static>(
        &self,
        call: impl FnOnce() -> T + Send + 'static,
    ) -> (oneshot::Receiver<()>, oneshot::Receiver<T>) {
        let (begin, begun) = oneshot::channel();
        let (answer, receiver) = oneshot::channel();
        let call = Box::new(move || {
            if begin.send(()).is_ok() {
                // Nobody waits any more when the deadline is over.
                let _ = answer.send(call());
            }
        });
        let now = Instant::now();
        let mut pool = self.shared.lock();
        pool.calls.push_back((now, call));
        // Waking nobody is a system call as well.
        if pool.sleeping > 0 {
            self.shared.wake.notify_one();
        }
        grow(&self.shared, &mut pool, now);
        (begun, receiver)
    }

    /// Adds a thread whenever calls wait too long although no new one comes, until it is aborted.
    #[expect(clippy::disallowed_methods, reason = "how long a call waits decides no outcome")]
    pub(super) async fn tend(self: Arc<Self>) {
        loop {
            tokio::time::sleep(PATIENCE).await;
            grow(&self.shared, &mut self.shared.lock(), Instant::now());
        }
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.wake.notify_all();
    }
}

/// Adds a thread if the others are too busy, or stuck, for the call that waits longest.
fn grow(shared: &Arc<Shared>, pool: &mut Pool, now: Instant) {
    let is_late = pool.calls.front().is_some_and(|(queued, _)| now - *queued > PATIENCE);
    if is_late && pool.sleeping == 0 {
        add_thread(shared, pool);
    }
}

fn add_thread(shared: &Arc<Shared>, pool: &mut Pool) {
    if pool.threads >= THREADS_MAX {
        tracing::error!("{THREADS_MAX} handler threads are stuck; restart this worker");
        return;
    }
    let for_thread = shared.clone();
    let spawned = std::thread::Builder::new()
        .name("semel-handler".to_owned())
        .spawn(move || work(&for_thread));
    match spawned {
        Ok(_) => pool.threads += 1,
        Err(error) => tracing::error!(%error, "no further handler thread can be started"),
    }
}

fn work(shared: &Shared) {
    let mut pool = shared.lock();
    while !pool.closed {
        if let Some((_, call)) = pool.calls.pop_front() {
            drop(pool);
            call();
            pool = shared.lock();
        } else if pool.sleeping >= pool.wanted {
            break;
        } else {
            pool.sleeping += 1;
            pool = shared.wake.wait(pool).unwrap_or_else(PoisonError::into_inner);
            pool.sleeping -= 1;
        }
    }
    pool.threads -= 1;
}
