//! Two protocols as steps of a model, written down anew.

use crate::stateright_model::{Answer, Call, Delivery, Entity};

/// How much each message deposits.
pub(crate) const PENCE: [u8; 2] = [5, 7];

/// Which protocol, on which places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// State, effects and settlement each on its own.
    AtLeastOnce,
    /// All in one batch, with an inbox.
    TransactionalInside,
}

/// A worker at a delivery.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Task {
    pub(crate) delivery: Delivery,
    message: u8,
    step: Step,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Step {
    LoadEntity,
    CheckInbox { seen: Option<Entity> },
    CommitState { seen: Option<Entity> },
    CheckInboxAgain,
    Dispatch { pence: u8 },
    Settle,
}

/// Whether a task goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    GoOn,
    Over,
}

impl Task {
    pub(crate) fn new(delivery: Delivery, message: u8) -> Self {
        Self { delivery, message, step: Step::LoadEntity }
    }

    fn pence_after(&self, seen: Option<Entity>) -> u8 {
        seen.map_or(0, |(pence, _)| pence) + PENCE[usize::from(self.message)]
    }
}

impl Style {
    /// What a task waits for.
    pub(crate) fn call(self, task: &Task) -> Call {
        let Task { delivery, message, .. } = *task;
        match task.step {
            Step::LoadEntity => Call::ReadEntity,
            Step::CheckInbox { .. } | Step::CheckInboxAgain => Call::ReadInbox(message),
            Step::CommitState { seen } => {
                let pence = task.pence_after(seen);
                match self {
                    Self::AtLeastOnce => Call::Put { seen, pence },
                    Self::TransactionalInside => Call::PutAll { seen, pence, delivery, message },
                }
            }
            Step::Dispatch { pence } => Call::Send { message, pence },
            Step::Settle => Call::Ack(delivery),
        }
    }

    /// Takes a task to its next step.
    pub(crate) fn go_on(self, task: &mut Task, answer: Answer) -> Then {
        let next = match self {
            Self::AtLeastOnce => at_least_once(task, answer),
            Self::TransactionalInside => transactional_inside(task, answer),
        };
        match next {
            Some(step) => {
                task.step = step;
                Then::GoOn
            }
            None => Then::Over,
        }
    }
}

fn at_least_once(task: &Task, answer: Answer) -> Option<Step> {
    match (&task.step, answer) {
        (Step::LoadEntity, Answer::Entity(seen)) => Some(Step::CommitState { seen }),
        (Step::CommitState { seen }, Answer::Applied) => {
            Some(Step::Dispatch { pence: task.pence_after(*seen) })
        }
        (Step::Dispatch { .. }, Answer::Done) => Some(Step::Settle),
        (Step::Settle, Answer::Done) => None,
        // A conflict, or no answer: again from the beginning.
        _ => Some(Step::LoadEntity),
    }
}

fn transactional_inside(task: &Task, answer: Answer) -> Option<Step> {
    match (&task.step, answer) {
        (Step::LoadEntity, Answer::Entity(seen)) => Some(Step::CheckInbox { seen }),
        (Step::CheckInbox { seen }, Answer::Inbox(false)) => {
            Some(Step::CommitState { seen: *seen })
        }
        (Step::CommitState { .. }, Answer::Applied) => None,
        (Step::CommitState { .. }, Answer::Conflict { lease_lost: true }) => None,
        (Step::CommitState { .. }, Answer::Conflict { .. }) => Some(Step::CheckInboxAgain),
        // An earlier attempt had committed.
        (_, Answer::Inbox(true)) => Some(Step::Settle),
        (Step::Settle, Answer::Done) => None,
        _ => Some(Step::LoadEntity),
    }
}
