//! The same executions by shuttle: workers are its threads, and each call on a place is one of its
//! choices.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use semel::core::handler::{BoxFuture, Handler};
use semel::core::host::job::{Ground, Job, Round, Unguarded};
use semel::core::protocols::{Business, Places};
use semel::core::store::QueueHome;
use semel::{Endpoint, Envelope, ManualClock, SystemEntropy};
use shuttle::scheduler::{DfsScheduler, RandomScheduler, Scheduler};
use shuttle::{Config, Runner, future, thread};

use super::places::Memory;
use super::report::{Extent, Sample};
use super::shared::{Scene, WORKERS, endpoints};

const SEED: u64 = 1;
/// A protocol with its handler needs more than shuttle gives a thread unasked.
const STACK_BYTES: usize = 256 << 10;

/// Depth-first through every schedule, or up to so many.
pub(crate) fn depth_first(scene: Scene, executions: usize) -> Sample {
    let mut sample = explore(scene, DfsScheduler::new(Some(executions), false));
    if sample.executions < executions as u64 {
        sample.extent = Extent::Everything;
    }
    sample
}

/// Schedules drawn from a seed.
pub(crate) fn random(scene: Scene, executions: usize) -> Sample {
    explore(scene, RandomScheduler::new_from_seed(SEED, executions))
}

fn explore(scene: Scene, scheduler: impl Scheduler + 'static) -> Sample {
    let mut config = Config::new();
    config.stack_size = STACK_BYTES;
    let (calls, runs) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let (endpoints, counts) = (Arc::new(endpoints()), (calls.clone(), runs.clone()));
    let started = Instant::now();
    let executions = Runner::new(scheduler, config).run(move || {
        let memory = Arc::new(Memory::new(scene));
        let worker = || {
            let (memory, endpoints) = (memory.clone(), endpoints.clone());
            move || work(&memory, endpoints.as_slice())
        };
        let workers: Vec<_> = (0..WORKERS).map(|_| thread::spawn(worker())).collect();
        let done: u64 = workers.into_iter().map(|worker| worker.join().unwrap_or(0)).sum();
        assert!(memory.is_right(scene), "the books are wrong: {memory:?}");
        counts.0.fetch_add(memory.calls(), Ordering::Relaxed);
        counts.1.fetch_add(done, Ordering::Relaxed);
    });
    Sample {
        executions: executions as u64,
        moves: calls.load(Ordering::Relaxed),
        code_runs: runs.load(Ordering::Relaxed),
        states: None,
        extent: Extent::Part,
        seconds: started.elapsed().as_secs_f64(),
    }
}

/// Processes what there is until there is nothing; tells how many deliveries that were. Whoever sends
/// a message looks again afterwards, so that nothing is left behind.
fn work(memory: &Memory, endpoints: &[Endpoint]) -> u64 {
    let clock = ManualClock::default();
    let mut deliveries = 0;
    while let Some((receiver, delivery)) = memory.take() {
        let found = endpoints.iter().find(|endpoint| endpoint.name() == receiver);
        let Some(endpoint) = found else { continue };
        let stage = Stage { endpoint, memory, clock: &clock };
        let mut job = Job::new(&stage, delivery);
        while let Ok(Round::AtOnce | Round::Later) = future::block_on(job.round(&stage)) {}
        deliveries += 1;
    }
    deliveries
}

struct Stage<'a> {
    endpoint: &'a Endpoint,
    memory: &'a Memory,
    clock: &'a ManualClock,
}

impl Ground for Stage<'_> {
    fn endpoint(&self) -> &Endpoint {
        self.endpoint
    }

    fn worker(&self) -> &str {
        "worker"
    }

    fn places(&self) -> Places<'_> {
        Places {
            store: self.memory,
            broker: self.memory,
            queue: QueueHome::Elsewhere,
            clock: self.clock,
            // Drawn from only after a handler failed, and none does here.
            entropy: &SystemEntropy,
        }
    }

    fn business(&self, handler: &Arc<dyn Handler>, envelope: &Arc<Envelope>) -> Box<dyn Business> {
        Box::new(Unguarded::new(handler, envelope))
    }

    fn is_held(&self, _: &semel::core::broker::Receipt) -> bool {
        true
    }

    fn is_draining(&self) -> bool {
        false
    }

    fn back_off(&self, _: u32) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }
}
