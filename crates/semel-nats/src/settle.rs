//! The fate of a delivery or a dead letter: one compare-and-set of its record decides.

use std::time::Duration;

use futures_util::future::join_all;
use semel_core::StoreError;
use semel_core::broker::{Lease, Receipt, SettleOutcome, Settlement};

use crate::Nats;
use crate::error::Failed;
use crate::operator::Lying;
use crate::receipt::{Arrival, Held, renewed};
use crate::receive::DEAD_ALARM;
use crate::record::{Record, State};
use crate::removal::{Left, Settled};
use crate::wire::Expect;

/// How often a record is looked at again that changed under our hands.
const LOOKS_MAX: usize = 8;

/// How many records of the past one sweep looks at.
const SWEPT_MAX: usize = 10_000;
/// How many of them at the same time.
const SWEPT_TOGETHER: usize = 64;

/// What became of a change of a record.
enum Changed {
    /// It is durable.
    To(u64, Record, Before),
    /// The receipt has lost its power.
    Lost,
}

/// What the record was before.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Before {
    Leased,
    Dead,
}

impl Nats {
    pub(crate) async fn settle_held(
        &self,
        receipt: &Receipt,
        settlement: &Settlement,
    ) -> SettleOutcome {
        let Some(held) = Held::parse(receipt) else { return SettleOutcome::Stale };
        let changed = match settlement {
            Settlement::Ack => self.acknowledge(&held).await,
            other => {
                let settled = |record: &Record| record.settled(other, self.clock.now());
                self.change(&held, settled).await
            }
        };
        match changed {
            Ok(Changed::To(revision, record, before)) => {
                self.follow_up(&held, revision, &record, before).await;
                SettleOutcome::Settled
            }
            Ok(Changed::Lost) => SettleOutcome::Stale,
            Err(failed) => SettleOutcome::Unknown(self.failed("settle", failed)),
        }
    }

    pub(crate) async fn extend_held(
        &self,
        receipt: &Receipt,
        lease: Duration,
    ) -> Result<Lease, StoreError> {
        let Some(held) = Held::parse(receipt) else { return Ok(Lease::Lost) };
        let extended = |record: &Record| {
            let until = self.clock.now().after(lease).unix_ms();
            (record.state == State::Leased).then(|| record.extended(held.delivery, until))
        };
        match self.change(&held, extended).await {
            Ok(Changed::To(..)) => {
                self.put_off(&held.ack, lease).await;
                Ok(Lease::Held)
            }
            Ok(Changed::Lost) => Ok(Lease::Lost),
            Err(failed) => Err(self.failed("extend", failed)),
        }
    }

    /// Settles with `Ack`. Needs no look at the record unless its lease was extended: the revision
    /// in the receipt is the condition.
    async fn acknowledge(&self, held: &Held) -> Result<Changed, Failed> {
        let Some(arrival) = Arrival::parse(&held.ack) else { return Ok(Changed::Lost) };
        let done = Record { state: State::Done, ..Record::waiting(0, arrival.stored, &held.ack) };
        let expect = Expect::Last(held.delivery);
        match self.put_record(&held.token, held.sequence, &done, expect).await {
            Ok(revision) => {
                let before = if held.is_dead { Before::Dead } else { Before::Leased };
                Ok(Changed::To(revision, done, before))
            }
            Err(failed) if failed.is_conflict() => {
                let settled = |record: &Record| record.settled(&Settlement::Ack, self.clock.now());
                self.change(held, settled).await
            }
            Err(failed) => Err(failed),
        }
    }

    /// Changes the record of a delivery, if it still is that delivery's.
    async fn change(
        &self,
        held: &Held,
        next: impl Fn(&Record) -> Option<Record>,
    ) -> Result<Changed, Failed> {
        for _ in 0..LOOKS_MAX {
            let found = self.record(&held.token, held.sequence).await?;
            let Some((revision, record)) = found else { return Ok(Changed::Lost) };
            if record.delivery(revision) != held.delivery {
                return Ok(Changed::Lost);
            }
            let before = match record.state {
                State::Leased => Before::Leased,
                State::Dead => Before::Dead,
                State::Waiting | State::Done => return Ok(Changed::Lost),
            };
            let Some(next) = next(&record) else { return Ok(Changed::Lost) };
            let expect = Expect::Last(revision);
            match self.put_record(&held.token, held.sequence, &next, expect).await {
                Ok(revision) => return Ok(Changed::To(revision, next, before)),
                Err(failed) if failed.is_conflict() => {}
                Err(failed) => return Err(failed),
            }
        }
        Err(Failed::Silent("the record changed again and again".to_owned()))
    }

    /// Carries out what was decided. Whatever fails here is done by the next worker to which the
    /// consumer offers the message: it finds the record.
    async fn follow_up(&self, held: &Held, revision: u64, record: &Record, before: Before) {
        let stream = self.names.queue_stream(&held.token);
        let wait = u64::try_from(record.until - self.clock.now().unix_ms()).unwrap_or(0);
        match record.state {
            State::Done => {
                if before == Before::Dead {
                    // Whoever removes dead letters knows nothing of the queue, and may end now.
                    let _ = self.is_below_top(&stream, held.sequence).await;
                }
                let settled = Settled {
                    token: held.token.clone(),
                    sequence: held.sequence,
                    stored: record.stored,
                    revision: Some(revision),
                    left: Left::Message,
                };
                match before {
                    Before::Dead => self.removals.add_at_once(settled).await,
                    Before::Leased => self.removals.add(settled).await,
                }
            }
            State::Waiting if before == Before::Dead => {
                self.wake(&stream, &record.ack, Duration::from_millis(wait)).await;
            }
            State::Waiting => self.put_off(&held.ack, Duration::from_millis(wait)).await,
            State::Dead => self.put_off(&held.ack, DEAD_ALARM).await,
            State::Leased => {}
        }
    }

    /// Wakes the consumer's interest in a message that it may have offered to others since.
    async fn wake(&self, stream: &str, ack: &str, wait: Duration) {
        let newest = self.progress(stream).await.ok();
        let ack = newest.and_then(|newest| renewed(ack, newest.consumer_sequence));
        if let Some(ack) = ack {
            self.put_off(&ack, wait).await;
        }
    }

    /// Removes what crashed workers left: settled messages, and records of messages that are gone.
    pub(crate) async fn sweep(&self, endpoint: &str) -> Result<(), StoreError> {
        const SWEEP: &str = "sweep";
        let queue = self.queue(SWEEP, endpoint).await?;
        let now = self.clock.now().unix_ms();
        let records = self.records(SWEEP, Some(&queue.token), 0).await?;
        let mut loose = records;
        loose.retain(|lying| match lying.record.state {
            State::Done => true,
            State::Leased | State::Waiting => lying.record.until <= now,
            // A person decides.
            State::Dead => false,
        });
        loose.truncate(SWEPT_MAX);
        for some in loose.chunks(SWEPT_TOGETHER) {
            let sweeps = some.iter().map(|lying| self.sweep_one(&queue.stream, lying));
            let swept: Result<Vec<()>, Failed> = join_all(sweeps).await.into_iter().collect();
            swept.map_err(|failed| self.failed(SWEEP, failed))?;
        }
        self.sweep_gravestones(&queue.token).await.map_err(|failed| self.failed(SWEEP, failed))
    }

    async fn sweep_one(&self, stream: &str, lying: &Lying) -> Result<(), Failed> {
        let Lying { token, sequence, revision, record } = lying;
        let found = self.wire.get(stream, *sequence).await?;
        let is_done = record.state == State::Done;
        let left = match found {
            None if is_done => Left::Record,
            None => Left::Unknown,
            Some(found) if is_done && record.is_of(found.stored()) => Left::Message,
            Some(_) => return Ok(()),
        };
        self.is_below_top(stream, *sequence).await?;
        let (token, sequence, stored) = (token.clone(), *sequence, record.stored);
        let revision = Some(*revision);
        self.removals.add(Settled { token, sequence, stored, revision, left }).await;
        Ok(())
    }
}
