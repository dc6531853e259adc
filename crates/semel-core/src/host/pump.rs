//! Receives deliveries and hands them to jobs: one at a time per entity, bounded over all.

use std::collections::{BTreeMap, VecDeque};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::join_all;
use tokio::task::JoinSet;

use super::Phase;
use super::job::{End, Ground as _, Job};
use super::running::Running;
use crate::broker::{Delivery, Receipt, Receive, Settlement};
use crate::handler::BoxFuture;
use crate::{Order, StoreError};

/// Messages that run one after the other, in the order they came, without the one in work.
type Lane = VecDeque<Job>;

/// The loop of one endpoint.
pub(super) struct Pump {
    running: Arc<Running>,
    lanes: BTreeMap<String, Lane>,
    /// Lanes whose first job waits for its turn.
    ready: VecDeque<String>,
    /// The same for jobs that may end the process: see [`Pump::next_lane`].
    suspects: Vec<String>,
    /// The lane of the suspect in work.
    suspect: Option<String>,
    jobs: JoinSet<(String, Result<End, StoreError>)>,
}

type Receiving = BoxFuture<'static, Result<Vec<Delivery>, StoreError>>;

impl Pump {
    pub(super) fn new(running: Arc<Running>) -> Self {
        Self {
            running,
            lanes: BTreeMap::new(),
            ready: VecDeque::new(),
            suspects: Vec::new(),
            suspect: None,
            jobs: JoinSet::new(),
        }
    }

    /// Runs until the host drains and everything begun has ended, or the store needs a person.
    pub(super) async fn run(mut self) -> Result<(), StoreError> {
        let result = self.work().await;
        if result.is_err() {
            self.give_everything_back().await;
        }
        result
    }

    async fn work(&mut self) -> Result<(), StoreError> {
        let mut phase = self.running.phase();
        let mut receiving: Option<Receiving> = None;
        while *phase.borrow_and_update() == Phase::Running {
            if receiving.is_none() && self.has_room() {
                receiving = Some(receive(self.running.clone(), self.room()));
            }
            tokio::select! {
                _ = phase.changed() => {}
                Some(ended) = self.jobs.join_next() => self.end(ended)?,
                received = next(&mut receiving), if receiving.is_some() => {
                    receiving = None;
                    self.admit(received?);
                }
            }
            self.start_jobs();
        }
        // What a receive under way brings must be given back, not left to its lease.
        if let Some(receiving) = receiving {
            self.admit(receiving.await?);
        }
        self.drain().await
    }

    async fn drain(&mut self) -> Result<(), StoreError> {
        let waiting: Vec<Job> = self.take_waiting();
        // At the same time, so that they share a commit.
        let running = &*self.running;
        let given_back = waiting.into_iter().map(|job| give_back(running, job));
        for result in join_all(given_back).await {
            result?;
        }
        while let Some(ended) = self.jobs.join_next().await {
            self.end(ended)?;
        }
        Ok(())
    }

    /// Gives back all that is held, in work or not: messages are not to blame for a broken store,
    /// and must not count as abandoned.
    async fn give_everything_back(&mut self) {
        self.jobs.shutdown().await;
        let held: Vec<Receipt> = self.running.held().iter().cloned().collect();
        let release = Settlement::Release { after: Duration::ZERO };
        let broker = self.running.backend().broker();
        let releases = held.iter().map(|receipt| broker.settle(receipt, release.clone()));
        // Where the queue is out of reach as well, the leases end by themselves.
        drop(join_all(releases).await);
    }

    /// Takes every job that has not begun out of its lane.
    fn take_waiting(&mut self) -> Vec<Job> {
        let mut waiting = Vec::new();
        for lane in self.lanes.values_mut() {
            waiting.extend(lane.drain(..));
        }
        self.ready.clear();
        self.suspects.clear();
        waiting
    }

    fn has_room(&self) -> bool {
        // Receiving in halves keeps batches large.
        self.room() >= self.running.settings().held_max.div_ceil(2)
    }

    fn room(&self) -> usize {
        let held = self.running.held().len();
        self.running.settings().held_max.saturating_sub(held)
    }

    fn admit(&mut self, deliveries: Vec<Delivery>) {
        self.running.held().extend(deliveries.iter().map(|delivery| delivery.receipt.clone()));
        self.running.note_receive(deliveries.len());
        for delivery in deliveries {
            let job = Job::new(&*self.running, delivery);
            let lane = job.lane();
            match self.lanes.get_mut(&lane) {
                Some(jobs) => jobs.push_back(job),
                None => {
                    self.lanes.insert(lane.clone(), Lane::from([job]));
                    self.line_up(lane);
                }
            }
        }
    }

    fn start_jobs(&mut self) {
        while self.jobs.len() < self.running.settings().concurrency {
            let Some(name) = self.next_lane() else { return };
            if let Some(job) = self.lanes.get_mut(&name).and_then(Lane::pop_front) {
                self.jobs.spawn(attend(self.running.clone(), name, job));
            }
        }
    }

    fn line_up(&mut self, name: String) {
        match self.lanes.get(&name).and_then(Lane::front) {
            Some(job) if job.is_suspect() => self.suspects.push(name),
            _ => self.ready.push_back(name),
        }
    }

    /// The lane whose turn it is.
    ///
    /// A message that ends the process takes all others in work with it, again and again, until
    /// each of them looks as guilty. So suspects run one at a time, and in an order that differs
    /// from process to process: about half of the innocent ones come before the guilty one.
    fn next_lane(&mut self) -> Option<String> {
        if self.suspect.is_none() && !self.suspects.is_empty() {
            let any = (self.running.chance() * self.suspects.len() as f64) as usize;
            let name = self.suspects.swap_remove(any.min(self.suspects.len() - 1));
            self.suspect = Some(name.clone());
            return Some(name);
        }
        self.ready.pop_front()
    }

    fn end(
        &mut self,
        ended: Result<(String, Result<End, StoreError>), tokio::task::JoinError>,
    ) -> Result<(), StoreError> {
        let (name, end) = match ended {
            Ok(ended) => ended,
            // Jobs contain their panics; an aborted one belongs to a host that is going away.
            Err(_) => return Ok(()),
        };
        let end = end?;
        if self.suspect.as_ref() == Some(&name) {
            self.suspect = None;
        }
        let Some(lane) = self.lanes.get_mut(&name) else { return Ok(()) };
        if end == End::Deferred {
            let (ordered, free): (Lane, Lane) =
                std::mem::take(lane).into_iter().partition(|job| job.order() == Order::PerSubject);
            *lane = free;
            self.give_back_later(ordered);
        }
        if self.lanes.get(&name).is_none_or(Lane::is_empty) {
            self.lanes.remove(&name);
        } else {
            self.line_up(name);
        }
        Ok(())
    }

    /// Gives back jobs that must not overtake the one that went back to the queue.
    fn give_back_later(&mut self, jobs: Lane) {
        if jobs.is_empty() {
            return;
        }
        let running = self.running.clone();
        self.jobs.spawn(async move {
            let mut result = Ok(End::Deferred);
            // The last goes first, so that the queue never offers a later one without an earlier.
            for job in jobs.into_iter().rev() {
                if let Err(error) = give_back(&running, job).await {
                    result = Err(error);
                }
            }
            (String::new(), result)
        });
    }
}

/// Gives a delivery back that was not begun.
async fn give_back(running: &Running, job: Job) -> Result<(), StoreError> {
    job.release(running).await?;
    running.held().remove(job.receipt());
    Ok(())
}

async fn attend(
    running: Arc<Running>,
    lane: String,
    job: Job,
) -> (String, Result<End, StoreError>) {
    let receipt = job.receipt().clone();
    let end = AssertUnwindSafe(job.run(&*running)).catch_unwind().await;
    let end = end.unwrap_or_else(|_| {
        let endpoint = running.name();
        tracing::error!(endpoint, "a defect in Semel: a job panicked; its message comes again");
        Ok(End::Deferred)
    });
    // What ended in trouble is still held, and given back with all the rest.
    if end.is_ok() {
        running.held().remove(&receipt);
    }
    (lane, end)
}

async fn next(receiving: &mut Option<Receiving>) -> Result<Vec<Delivery>, StoreError> {
    match receiving {
        Some(receiving) => receiving.await,
        None => std::future::pending().await,
    }
}

fn receive(running: Arc<Running>, max: usize) -> Receiving {
    Box::pin(async move {
        let request = Receive {
            endpoint: running.name().to_owned(),
            max: max.min(running.backend().broker().limits().receive_max),
            lease: running.settings().lease,
            wait: running.wait(),
        };
        let mut round = 0;
        loop {
            match running.backend().broker().receive(&request).await {
                Ok(deliveries) => return Ok(deliveries),
                Err(error) if !error.is_passing() => return Err(error),
                Err(_) if running.is_draining() => return Ok(Vec::new()),
                Err(error) => {
                    let endpoint = running.name();
                    tracing::warn!(endpoint, %error, "receiving failed; trying again");
                    round += 1;
                    running.back_off(round + 4).await;
                }
            }
        }
    })
}
