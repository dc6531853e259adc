//! `outbox`: state, processed ids and pending effects in one document of the entity.

use std::collections::{BTreeMap, BTreeSet};

use semel_core::broker::SendOutcome;
use semel_core::ids;
use semel_core::protocols::{Outcome, Step, Work, message_key};
use semel_core::store::Expect;
use serde::{Deserialize, Serialize};

use super::kit::{self, Kept, Raw};

/// What is wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mutant {
    /// Nothing.
    Correct,
    /// A message is processed whether its id is known or not.
    ForgetsIds,
    /// Messages get a new id each time they are dispatched.
    MintsAtDispatch,
    /// Messages are dispatched before the commit, while they are at hand.
    DispatchesFirst,
    /// The delivery is settled before the commit, so that it does not come again.
    AcksFirst,
    /// The pending effects are cleared first, so that nobody dispatches them twice.
    ClearsFirst,
    /// Of a batch that is sent, one answer is taken for all: that of the first message.
    TrustsFirst,
    /// The same, with that of the last one.
    TrustsLast,
}

/// Budget: 1 read, 2 writes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outbox(pub(crate) Mutant);

kit::protocol!(Outbox = "outbox");

#[derive(Default, Serialize, Deserialize)]
struct Document {
    state: Option<Raw>,
    done: BTreeSet<String>,
    pending: BTreeMap<String, Vec<Kept>>,
}

impl Outbox {
    async fn attempt(&self, work: &Work<'_>) -> Result<Outcome, Outcome> {
        let message = message_key(work.envelope);
        if self.0 == Mutant::AcksFirst {
            let _ = work.ack(Outcome::Processed).await;
        }

        let (mut document, expect) = kit::load::<Document>(work).await?;
        if document.done.contains(&message) && self.0 != Mutant::ForgetsIds {
            return self.publish(work, document, expect, Outcome::Duplicate).await;
        }

        let (state, messages) = kit::decide(work, document.state.as_ref()).await?;
        if self.0 == Mutant::DispatchesFirst {
            kit::dispatch(work, &messages).await?;
        }

        work.begin(Step::CommitState);
        document.state = Some(state);
        document.done.insert(message.clone());
        document.pending.insert(message, messages);
        let expect = kit::put_entity(work, &document, expect).await?;

        self.publish(work, document, expect, Outcome::Processed).await
    }

    /// Dispatches what a committed attempt left pending, and ends the delivery.
    async fn publish(
        &self,
        work: &Work<'_>,
        mut document: Document,
        expect: Expect,
        outcome: Outcome,
    ) -> Result<Outcome, Outcome> {
        let Some(mut messages) = document.pending.remove(&message_key(work.envelope)) else {
            return Ok(work.ack(outcome).await);
        };
        if self.0 == Mutant::MintsAtDispatch {
            messages = messages.iter().map(|message| renamed(work, message)).collect();
        }
        match self.0 {
            Mutant::ClearsFirst => {}
            Mutant::TrustsFirst | Mutant::TrustsLast => self.trust(work, &messages).await?,
            _ => kit::dispatch(work, &messages).await?,
        }

        work.begin(Step::ClearOutbox);
        kit::put_entity(work, &document, expect).await?;

        if self.0 == Mutant::ClearsFirst {
            kit::dispatch(work, &messages).await?;
        }
        Ok(work.ack(outcome).await)
    }
}

impl Outbox {
    async fn trust(&self, work: &Work<'_>, messages: &[Kept]) -> Result<(), Outcome> {
        work.begin(Step::Dispatch);
        let sent = work.places.broker.send(messages.iter().map(Kept::outgoing).collect()).await;
        let one = if self.0 == Mutant::TrustsFirst { sent.first() } else { sent.last() };
        match one {
            None | Some(SendOutcome::Sent) => Ok(()),
            Some(SendOutcome::Unknown(error) | SendOutcome::Refused(error)) => {
                Err(error.clone().into())
            }
        }
    }
}

fn renamed(work: &Work<'_>, message: &Kept) -> Kept {
    let mut outgoing = message.outgoing();
    outgoing.envelope.id = ids::mint(work.places.clock, work.places.entropy).to_string();
    outgoing.into()
}
