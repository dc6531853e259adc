//! Receives deliveries and hands them to jobs: one at a time per entity, bounded over all.

use std::collections::{BTreeMap, VecDeque};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt as _;
use tokio::task::JoinSet;

use super::Phase;
use super::job::{End, Job};
use super::running::Running;
use crate::broker::{Delivery, Receive};
use crate::handler::BoxFuture;
use crate::{Order, StoreError};

/// The messages of one entity, in the order they came. The first is in work, or about to be.
type Lane = VecDeque<Job>;

/// The loop of one endpoint.
pub(super) struct Pump {
    running: Arc<Running>,
    lanes: BTreeMap<String, Lane>,
    /// Lanes whose first job waits for its turn.
    ready: VecDeque<String>,
    jobs: JoinSet<(String, Result<End, StoreError>)>,
}

type Receiving = BoxFuture<'static, Result<Vec<Delivery>, StoreError>>;

impl Pump {
    pub(super) fn new(running: Arc<Running>) -> Self {
        Self { running, lanes: BTreeMap::new(), ready: VecDeque::new(), jobs: JoinSet::new() }
    }

    /// Runs until the host drains and everything begun has ended, or the store needs a person.
    pub(super) async fn run(mut self) -> Result<(), StoreError> {
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

    async fn drain(mut self) -> Result<(), StoreError> {
        let waiting: Vec<Job> = self.take_waiting();
        for job in waiting {
            job.give_back(&self.running).await?;
        }
        while let Some(ended) = self.jobs.join_next().await {
            self.end(ended)?;
        }
        Ok(())
    }

    /// Takes every job that has not begun out of its lane.
    fn take_waiting(&mut self) -> Vec<Job> {
        let mut waiting = Vec::new();
        for lane in self.lanes.values_mut() {
            waiting.extend(lane.drain(..));
        }
        self.ready.clear();
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
            let job = Job::new(&self.running, delivery);
            let lane = job.lane();
            match self.lanes.get_mut(&lane) {
                Some(jobs) => jobs.push_back(job),
                None => {
                    self.lanes.insert(lane.clone(), Lane::from([job]));
                    self.ready.push_back(lane);
                }
            }
        }
    }

    fn start_jobs(&mut self) {
        while self.jobs.len() < self.running.settings().concurrency {
            let Some(name) = self.ready.pop_front() else { return };
            if let Some(job) = self.lanes.get_mut(&name).and_then(Lane::pop_front) {
                self.jobs.spawn(attend(self.running.clone(), name, job));
            }
        }
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
        let Some(lane) = self.lanes.get_mut(&name) else { return Ok(()) };
        if end == End::Deferred && lane.front().is_some_and(|job| job.order() == Order::PerSubject)
        {
            let overtaking = std::mem::take(lane);
            self.give_back_later(overtaking);
        }
        if self.lanes.get(&name).is_none_or(Lane::is_empty) {
            self.lanes.remove(&name);
        } else {
            self.ready.push_back(name);
        }
        Ok(())
    }

    /// Gives back jobs that must not overtake the one that went back to the queue.
    fn give_back_later(&mut self, jobs: Lane) {
        let running = self.running.clone();
        self.jobs.spawn(async move {
            let mut result = Ok(End::Deferred);
            // The last goes first, so that the queue never offers a later one without an earlier.
            for job in jobs.into_iter().rev() {
                if let Err(error) = job.give_back(&running).await {
                    result = Err(error);
                }
            }
            (String::new(), result)
        });
    }
}

async fn attend(
    running: Arc<Running>,
    lane: String,
    job: Job,
) -> (String, Result<End, StoreError>) {
    let receipt = job.receipt().clone();
    let end = AssertUnwindSafe(job.run(&running)).catch_unwind().await;
    running.held().remove(&receipt);
    let end = end.unwrap_or_else(|_| {
        let endpoint = running.name();
        tracing::error!(endpoint, "a defect in Semel: a job panicked; its message comes again");
        Ok(End::Deferred)
    });
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
