//! One move of the world.

use std::sync::Arc;
use std::time::Duration;

use semel_core::Property;
use semel_core::broker::Settlement;
use semel_core::store::{Keep, QueueHome};

use crate::hash;
use crate::model::{Conflicts, Model};
use crate::monitor::Wrote;
use crate::moves::{Move, Outcome};
use crate::parts::{Fate, Parts, Queued, Written};
use crate::state::{By, Flying, Round, Slot, State};
use crate::tag::WroteObject;
use crate::task::call::{Answer, Call, excerpt};
use crate::task::port::Surroundings;
use crate::task::{Diverged, End, Node, Start, Tasks};

/// A lease that nothing but a move ends.
const FOREVER_MS: i64 = i64::MAX;

/// Why the world cannot go on.
#[derive(Debug)]
pub(crate) enum Halt {
    /// The code under test did not do the same twice.
    Diverged(Box<Diverged>),
    /// A task ended in a way that no host survives.
    Ended { end: End, task: String },
}

impl From<Box<Diverged>> for Halt {
    fn from(diverged: Box<Diverged>) -> Self {
        Self::Diverged(diverged)
    }
}

/// The world at its beginning.
pub(crate) fn beginning(model: &Model) -> State {
    let mut parts = Parts::new(&model.routes, model.stale_reads());
    for (key, value) in &model.items {
        parts.items.put(key, value, Keep::Always, model.epoch.unix_ms());
    }
    for message in &model.messages {
        parts.queue.send(message, &model.routes, model.epoch.unix_ms());
    }
    State {
        parts,
        slots: vec![None; model.workers + 2],
        flying: Vec::new(),
        monitor: crate::monitor::Monitor::default(),
        now: model.epoch,
        deployed: vec![0; model.cast.sites.len()].into(),
        window_passed: false,
        draws: [0; 2],
        faults: 0,
    }
}

/// What the world looks like after a move; `None` if the move is not possible, or changes nothing
/// that another would not.
pub(crate) fn step(
    model: &Model,
    tasks: &mut Tasks,
    state: &State,
    choice: Move,
    cost: u32,
) -> Result<Option<State>, Halt> {
    let mut next = state.clone();
    next.faults += cost;
    let mut world = Stepping { model, tasks, state: &mut next };
    Ok(world.make(choice)?.map(|()| next))
}

struct Stepping<'a> {
    model: &'a Model,
    tasks: &'a mut Tasks,
    state: &'a mut State,
}

type Made = Result<Option<()>, Halt>;

impl Stepping<'_> {
    fn make(&mut self, choice: Move) -> Made {
        match choice {
            Move::Deliver { message, late } => {
                if late {
                    self.state.now = self.state.now.after(self.model.later_by);
                }
                self.deliver(message)
            }
            Move::Answer { slot, call, outcome } => self.answer(slot, call, outcome),
            Move::Crash { slot, in_flight } => Ok(self.crash(slot, in_flight)),
            Move::EndLease { message } => Ok(self.find(message).map(|at| {
                self.state.parts.queue.end_lease(at);
            })),
            Move::Land { write } => Ok(self.land(write)),
            Move::Lose { write } => Ok(self.take_flying(write).map(drop)),
            Move::Wait { times } => {
                self.wait(times);
                Ok(Some(()))
            }
            Move::Duplicate { message } => Ok(self.find(message).map(|at| {
                let carried = self.state.parts.queue.all()[at].carried.clone();
                let now_ms = self.state.now.unix_ms();
                self.state.parts.queue.put(carried, now_ms, now_ms);
            })),
            Move::PassWindow => {
                self.state.window_passed = true;
                self.state.now = self.state.now.after(Duration::from_secs(3_650 * 86_400));
                Ok(Some(()))
            }
            Move::Vanish { item } => Ok(self.vanish(item)),
            Move::Replay { message } => Ok(self.find(message).map(|at| {
                let receipt = self.state.parts.queue.all()[at].receipt();
                let replay = Settlement::Release { after: Duration::ZERO };
                self.state.parts.queue.settle(&receipt, &replay, self.state.now.unix_ms());
            })),
            Move::Discard { message } => self.discard(message),
            Move::Deploy { site } => {
                Arc::make_mut(&mut self.state.deployed)[site] += 1;
                Ok(Some(()))
            }
            Move::Finish { site } => {
                let slot = self.state.finisher();
                let version = usize::from(self.state.deployed[site]);
                self.begin_beside(slot, Start::Finish { site, version })
            }
        }
    }

    fn find(&self, message: hash::Print) -> Option<usize> {
        self.state.parts.queue.all().iter().position(|queued| queued.name == message)
    }

    fn surroundings(&self, epoch: u32) -> Surroundings {
        Surroundings { epoch, ..Surroundings::at(self.state.now) }
    }

    fn deliver(&mut self, message: hash::Print) -> Made {
        let workers = self.state.worker_count();
        let idle = self.state.slots[..workers].iter().position(Option::is_none);
        let (Some(slot), Some(at)) = (idle, self.find(message)) else { return Ok(None) };
        let queued = self.state.parts.queue.deliver(at, FOREVER_MS);
        let carried = &queued.carried;
        let was_committed = self.is_committed(&carried.endpoint, &carried.identity);
        let Some(site) = self.model.site(&carried.endpoint) else { return Ok(None) };
        let start = Start::Process {
            site,
            version: usize::from(self.state.deployed[site]),
            queued,
            attempts: 0,
        };
        let node = self.tasks.begin(start, self.surroundings(0))?;
        self.place(slot, node, Round { was_committed, ..Round::default() })
    }

    fn discard(&mut self, message: hash::Print) -> Made {
        let Some(at) = self.find(message) else { return Ok(None) };
        let queued = self.state.parts.queue.all()[at].clone();
        let Some(site) = self.model.site(&queued.carried.endpoint) else { return Ok(None) };
        let entity = match &queued.fate {
            Fate::Dead { entity, .. } => entity.clone(),
            _ => None,
        };
        let (message, receipt) = (queued.carried.clone(), queued.receipt());
        self.state.monitor.note_discarding(&message.endpoint, &message.identity);
        let version = usize::from(self.state.deployed[site]);
        let start = Start::Discard { site, version, message, entity, receipt };
        self.begin_beside(self.state.person(), start)
    }

    /// Begins a task of the finisher or the person. Its beginning does not tell it from the one
    /// before, so that is told by what that one drew.
    fn begin_beside(&mut self, slot: usize, start: Start) -> Made {
        let epoch = self.state.draws[slot - self.state.worker_count()];
        let node = self.tasks.begin(start, self.surroundings(epoch))?;
        self.place(slot, node, Round { epoch, ..Round::default() })
    }

    /// Puts a task that has moved on where it belongs, and draws the conclusions if it ended.
    fn place(&mut self, slot: usize, node: Arc<Node>, round: Round) -> Made {
        let task = Slot { node, round };
        if let (true, Some((endpoint, message))) = (task.node.uses.handler_failed, task.message()) {
            self.state.monitor.note_failed(endpoint, message);
        }
        for call in &task.node.dropped {
            if call.is_write() {
                self.state.flying.push(Flying::given_up(call.clone(), task.origin()));
            }
        }
        let workers = self.state.worker_count();
        if task.node.drew && slot >= workers {
            self.state.draws[slot - workers] = round.epoch + 1;
        }
        self.state.slots[slot] = None;
        match &task.node.end {
            None => self.state.slots[slot] = Some(task),
            Some(End::Over) => {}
            Some(End::Discarded) => {
                if let Some((endpoint, message)) = task.message()
                    && !self.is_committed(endpoint, message)
                {
                    self.state.monitor.note_discarded(endpoint, message);
                }
            }
            Some(End::Again { attempts }) => return self.again(slot, &task, *attempts),
            Some(end @ (End::Stopped(_) | End::Panicked(_) | End::Stuck)) => {
                let task = task.node.start.describe();
                return Err(Halt::Ended { end: end.clone(), task });
            }
        }
        Ok(Some(()))
    }

    fn is_committed(&self, endpoint: &str, message: &str) -> bool {
        self.state.parts.items.all().iter().any(|record| {
            record.trail.as_ref().is_some_and(|trail| trail.of(endpoint, message).is_some())
        })
    }

    /// Begins another round on the same delivery.
    fn again(&mut self, slot: usize, task: &Slot, failed: u32) -> Made {
        if task.round.has_heard {
            return Ok(Some(()));
        }
        let mut start = (*task.node.start).clone();
        if let Start::Process { attempts, .. } = &mut start {
            *attempts = failed;
        }
        let epoch = task.round.epoch + u32::from(task.node.drew);
        let node = self.tasks.begin(start, self.surroundings(epoch))?;
        if node.end.is_some() {
            // A round without a single call would begin anew forever.
            let (end, task) = (End::Stuck, task.node.start.describe());
            return Err(Halt::Ended { end, task });
        }
        self.place(slot, node, Round { epoch, ..task.round })
    }

    fn answer(&mut self, slot: usize, number: u32, outcome: Outcome) -> Made {
        let Some(task) = self.state.slots[slot].take() else { return Ok(None) };
        let Some(pending) = task.node.pending.iter().find(|call| call.number == number) else {
            return Ok(None);
        };
        let (call, by) = (pending.call.clone(), task.by());
        let answer = match outcome {
            Outcome::Normal | Outcome::HandlerFails => self.perform(&call, by),
            Outcome::Lost => Answer::Nothing,
            Outcome::ReplyLost => match self.perform(&call, by) {
                // A refusal is the same as a lost request.
                Answer::Written(Written::Refused(..)) => return Ok(None),
                _ => Answer::Nothing,
            },
            Outcome::Late => {
                self.state.flying.push(Flying::new(call, task.origin()));
                Answer::Nothing
            }
            Outcome::Repeated => {
                let answer = self.perform(&call, by);
                self.state.flying.push(Flying::new(call, task.origin()));
                answer
            }
            Outcome::RepeatedAtOnce => {
                let before = self.state.parts.print();
                self.perform(&call, by);
                if self.state.parts.print() == before {
                    // What was not applied is not repeated to any effect.
                    return Ok(None);
                }
                self.perform(&call, by)
            }
            Outcome::SentBut(lost) => match &*call {
                Call::Send(messages) => {
                    let mut rest = messages.clone();
                    rest.remove(lost);
                    self.perform(&Call::Send(rest), by);
                    Answer::Sent((0..messages.len()).map(|at| at != lost).collect())
                }
                _ => return Ok(None),
            },
            Outcome::Stale => match self.stale(&call) {
                Some(answer) => answer,
                None => return Ok(None),
            },
        };
        let handler_fails = outcome == Outcome::HandlerFails;
        let surroundings = Surroundings { handler_fails, ..self.surroundings(task.round.epoch) };
        let node = self.tasks.advance(&task.node, number, answer, surroundings)?;
        if handler_fails && !node.uses.handler {
            return Ok(None);
        }
        self.place(slot, node, task.round)
    }

    fn stale(&self, call: &Call) -> Option<Answer> {
        let Call::Read(key) = call else { return None };
        self.state.parts.items.stale(key).map(Answer::Item)
    }

    fn crash(&mut self, slot: usize, in_flight: bool) -> Option<()> {
        let task = self.state.slots[slot].take()?;
        if in_flight {
            for pending in task.node.pending.iter().filter(|pending| pending.call.is_write()) {
                self.state.flying.push(Flying::new(pending.call.clone(), task.origin()));
            }
        }
        Some(())
    }

    fn land(&mut self, write: hash::Print) -> Option<()> {
        let flying = self.take_flying(write)?;
        self.perform(&flying.call, flying.of.by());
        Some(())
    }

    fn take_flying(&mut self, write: hash::Print) -> Option<Flying> {
        let at = self.state.flying.iter().position(|flying| flying.print == write)?;
        Some(self.state.flying.swap_remove(at))
    }

    /// Time passes, and what is past its time vanishes.
    fn wait(&mut self, times: u32) {
        self.state.now = self.state.now.after(self.model.later_by.saturating_mul(times));
        let (now_ms, items) = (self.state.now.unix_ms(), &mut self.state.parts.items);
        let past = items.all().iter().filter(|record| record.may_vanish(now_ms));
        let keys: Vec<_> = past.map(|record| record.item.key.clone()).collect();
        keys.iter().for_each(|key| items.delete(key));
        // Whose lease is over hears of it in the end: not to hear of it is the worst case for what
        // must never happen, but nobody goes on like that forever.
        let is_leased = |queued: &&Arc<Queued>| matches!(queued.fate, Fate::Leased { .. });
        let leased = self.state.parts.queue.all().iter().filter(is_leased);
        let held: Vec<_> = leased.map(|queued| queued.delivery()).collect();
        for task in self.state.slots.iter_mut().flatten() {
            let delivery = task.node.start.delivery();
            task.round.has_heard |= delivery.is_some_and(|delivery| !held.contains(&delivery));
        }
    }

    fn vanish(&mut self, item: hash::Print) -> Option<()> {
        let items = &mut self.state.parts.items;
        let found = items.all().iter().find(|record| hash::key(&record.item.key) == item);
        let key = found?.item.key.clone();
        items.delete(&key);
        Some(())
    }

    /// How many copies of the message are dead letters.
    fn dead_copies(&self, by: By<'_>) -> usize {
        let Some((endpoint, message)) = by.message else { return 0 };
        let is_dead = |queued: &&Arc<Queued>| {
            matches!(queued.fate, Fate::Dead { .. })
                && queued.carried.identity == message
                && queued.carried.endpoint == endpoint
        };
        self.state.parts.queue.all().iter().filter(is_dead).count()
    }

    /// Where the queue lives in the store, parking can be refused at the moment of a commit.
    /// Elsewhere it must be refused by whoever has seen one, or came after it.
    fn judge_parking(&mut self, by: By<'_>) {
        let Some((endpoint, message)) = by.message else { return };
        if !self.remembers(endpoint) {
            return;
        }
        let is_inside = self.model.cast.store.queue == QueueHome::Inside;
        if by.knows || is_inside && self.is_committed(endpoint, message) {
            self.state.monitor.note_misparked(endpoint, message);
        }
    }

    /// Whether the endpoint's protocol can know what it has processed: one that promises no more
    /// than at-least-once need not.
    fn remembers(&self, endpoint: &str) -> bool {
        let Some(site) = self.model.site(endpoint) else { return false };
        let version = usize::from(self.state.deployed[site]);
        let protocol = self.model.cast.sites[site].versions[version].chosen_protocol();
        protocol.promises().contains(&Property::AtMostOneStateChange)
    }

    /// Does what a call asks for, and tells what comes of it.
    fn perform(&mut self, call: &Call, by: By<'_>) -> Answer {
        let dead_before = self.dead_copies(by);
        let answer = self.perform_alone(call, by);
        if self.dead_copies(by) > dead_before {
            self.judge_parking(by);
        }
        answer
    }

    fn perform_alone(&mut self, call: &Call, by: By<'_>) -> Answer {
        let now_ms = self.state.now.unix_ms();
        let (parts, monitor) = (&mut self.state.parts, &mut self.state.monitor);
        let routes = &self.model.routes;
        match call {
            Call::Read(key) => Answer::Item(parts.items.read(key).cloned()),
            Call::List(page) => Answer::Items(parts.items.list(page)),
            Call::Write(changes) => {
                let written = parts.write(changes, &self.model.cast.store, routes, now_ms);
                if let Written::Applied(_) = written {
                    for change in changes {
                        if let semel_core::store::Change::Enqueue(outgoing) = change {
                            monitor.see(outgoing);
                        }
                    }
                }
                match (written, self.model.conflicts) {
                    (Written::Conflict(_), Conflicts::Unnamed) => {
                        Answer::Written(Written::Conflict(Vec::new()))
                    }
                    (written, _) => Answer::Written(written),
                }
            }
            Call::Settle(receipt, settlement) => {
                Answer::Settled(parts.queue.settle(receipt, settlement, now_ms))
            }
            Call::Send(messages) => {
                for outgoing in messages {
                    parts.queue.send(outgoing, routes, now_ms);
                    monitor.see(outgoing);
                }
                Answer::Sent(vec![true; messages.len()])
            }
            Call::Get(name) => Answer::Object(parts.outside.get(name).cloned()),
            Call::Put(name, value) => {
                parts.outside.put(name, value.as_ref());
                if let (Some((endpoint, message)), Some(value)) = (by.message, value) {
                    monitor.note_written(Wrote {
                        endpoint: endpoint.to_owned(),
                        message: message.to_owned(),
                        object: WroteObject::new(name, value),
                        text: excerpt(value),
                    });
                }
                Answer::Done
            }
        }
    }
}
