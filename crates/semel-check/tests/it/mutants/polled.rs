//! `polled`: state, inbox entry and effects in one batch; only a poller dispatches.
//!
//! The transactional outbox as it is usually built, over a database with its queue elsewhere.

use async_trait::async_trait;
use semel_core::broker::BrokerLimits;
use semel_core::operator::DeadLetter;
use semel_core::protocols::{Outcome, Places, Processed, Protocol, Step, Work, message_key};
use semel_core::store::{
    Change, Expect, Item, ItemKey, Keep, Page, Space, StoreLimits, WriteOutcome,
};
use semel_core::{Envelope, Failure, Store, StoreError, ids};

use super::kit::{self, Kept, Raw};

/// What is wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mutant {
    /// Nothing.
    Correct,
    /// The poller starts from the highest id it has seen (trap 8).
    HighWaterMark,
    /// No message is ever processed, and none is left over (trap 9).
    DeadLettersAll,
    /// A lost race counts as a failure of the handler (trap 9).
    BlamesHandler,
    /// Messages get a new id each time the poller dispatches them.
    MintsAtPoll,
}

/// Budget: 2 reads, 1 write.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Polled(pub(crate) Mutant);

#[async_trait]
impl Protocol for Polled {
    fn name(&self) -> &'static str {
        "polled"
    }

    fn check(&self, _: &StoreLimits, _: &BrokerLimits) -> Result<(), String> {
        Ok(())
    }

    async fn process(&self, work: &Work<'_>) -> Outcome {
        self.attempt(work).await.unwrap_or_else(|outcome| outcome)
    }

    async fn processed(
        &self,
        endpoint: &str,
        envelope: &Envelope,
        _: Option<&str>,
        store: &dyn Store,
    ) -> Result<Processed, StoreError> {
        let key = ItemKey::new(Space::Inbox, endpoint, message_key(envelope));
        Ok(store.read(&key).await?.map_or(Processed::Unknown, |_| Processed::Yes))
    }

    async fn finish(&self, endpoint: &str, places: Places<'_>) -> Result<usize, StoreError> {
        self.poll(endpoint, places).await
    }

    async fn discard(&self, dead: &DeadLetter, places: Places<'_>) -> Outcome {
        kit::discard(dead, places).await
    }
}

impl Polled {
    async fn attempt(&self, work: &Work<'_>) -> Result<Outcome, Outcome> {
        if self.0 == Mutant::DeadLettersAll {
            return Ok(Outcome::HandlerFailed(Failure::dead_letter("it would not have worked")));
        }

        work.begin(Step::LoadEntity);
        let keys = [work.entity_key(), kit::inbox_key(work)];
        let found: [Option<Item>; 2] =
            work.places.store.read_all(&keys).await?.try_into().expect("one for each key");
        let [entity, entry] = found;
        if entry.is_some() {
            return Ok(work.ack(Outcome::Duplicate).await);
        }
        let state: Option<Raw> = entity.as_ref().map(kit::read);
        let expect = entity.map_or(Expect::Absent, |item| Expect::Version(item.version));

        let (state, messages) = kit::decide(work, state.as_ref()).await?;

        work.begin(Step::CommitState);
        let id = ids::mint(work.places.clock, work.places.entropy).to_string();
        let outbox = ItemKey::new(Space::Outbox, work.endpoint, id);
        let changes = vec![
            kit::to_put(work.entity_key(), &state, expect, Keep::Always),
            kit::to_put(kit::inbox_key(work), &(), Expect::Absent, Keep::For(kit::WINDOW)),
            kit::to_put(outbox, &messages, Expect::Absent, Keep::Always),
        ];
        match work.places.store.write(changes).await {
            WriteOutcome::Applied(_) => Ok(work.ack(Outcome::Processed).await),
            WriteOutcome::Conflict(_) if self.0 == Mutant::BlamesHandler => {
                Err(Outcome::HandlerFailed(Failure::dead_letter("the entity has changed")))
            }
            WriteOutcome::Conflict(_) => Err(Outcome::Conflict),
            WriteOutcome::Refused(error) | WriteOutcome::Unknown(error) => Err(error.into()),
        }
    }

    /// Dispatches and deletes every record, from the first one or from the mark.
    async fn poll(&self, endpoint: &str, places: Places<'_>) -> Result<usize, StoreError> {
        let mark = ItemKey::new(Space::Reply, endpoint, "mark");
        let from = match self.0 {
            Mutant::HighWaterMark => places.store.read(&mark).await?.map(|item| kit::read(&item)),
            _ => None,
        };
        let after = ItemKey::new(Space::Outbox, endpoint, from.unwrap_or_else(String::new));
        let page = Page { space: Space::Outbox, after: Some(after), limit: 10 };
        let records = places.store.list(&page).await?;
        for record in &records {
            let messages: Vec<Kept> = kit::read(record);
            let mut messages: Vec<_> = messages.iter().map(Kept::outgoing).collect();
            if self.0 == Mutant::MintsAtPoll {
                for message in &mut messages {
                    message.envelope.id = ids::mint(places.clock, places.entropy).to_string();
                }
            }
            sure(kit::send(places, messages).await)?;
            let expect = Expect::Version(record.version.clone());
            let delete = Change::Delete { key: record.key.clone(), expect };
            sure(kit::write(places, delete).await.map(drop))?;
        }
        if let (Some(last), Mutant::HighWaterMark) = (records.last(), self.0) {
            let put = kit::to_put(mark, &last.key.key, Expect::Anything, Keep::Always);
            sure(kit::write(places, put).await.map(drop))?;
        }
        Ok(records.len())
    }
}

/// The poller comes again, whatever happened.
fn sure(step: Result<(), Outcome>) -> Result<(), StoreError> {
    match step {
        Err(Outcome::Unavailable(error) | Outcome::Refused(error) | Outcome::Broken(error)) => {
            Err(error)
        }
        _ => Ok(()),
    }
}
