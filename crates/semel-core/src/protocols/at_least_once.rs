//! `at_least_once`: the baseline. No deduplication at all.

use async_trait::async_trait;

use super::{Outcome, Places, Processed, Protocol, Step, Work, case, entity, pending};
use crate::broker::BrokerLimits;
use crate::context::outgoing;
use crate::operator::DeadLetter;
use crate::store::{Change, Keep, StoreLimits, WriteOutcome};
use crate::{Envelope, Property, Store, StoreError};

const NAME: &str = "at-least-once";

/// Commit the state, send the effects, settle: each on its own.
///
/// For handlers that are idempotent by themselves. A duplicate, or a crash between any two of the
/// writes, repeats the state change, and the effects as the handler then decides them: it promises
/// only `NoLostMessages` and `NoGarbage`. Where effects depend on nothing but the message, none is
/// lost either: they wait at most until the message is delivered again.
///
/// Budget: 1 read, 1 write.
#[derive(Clone, Copy, Debug, Default)]
pub struct AtLeastOnce;

#[async_trait]
impl Protocol for AtLeastOnce {
    fn name(&self) -> &'static str {
        NAME
    }

    fn check(&self, _: &StoreLimits, _: &BrokerLimits) -> Result<(), String> {
        Ok(())
    }

    fn promises(&self) -> &'static [Property] {
        &[Property::NoLostMessages, Property::NoGarbage]
    }

    async fn process(&self, work: &Work<'_>) -> Outcome {
        let Places { store, broker, clock, .. } = work.places;

        work.begin(Step::LoadEntity);
        let entity = match store.read(&work.entity_key()).await {
            Ok(entity) => entity,
            Err(error) => return error.into(),
        };
        let (state, expect) = match entity::with_version(entity, NAME) {
            Ok(loaded) => loaded,
            Err(error) => return error.into(),
        };

        work.begin(Step::RunHandler);
        let decision = match work.handler.run(state, work.context()).await {
            Ok(decision) => decision,
            Err(failure) => return Outcome::HandlerFailed(failure),
        };

        let messages = outgoing(work.endpoint, work.envelope, decision.effects, clock.now());
        if let Err(error) = work.places.check_sizes(&messages) {
            return error.into();
        }

        work.begin(Step::CommitState);
        let key = work.entity_key();
        let put = Change::Put { key, value: decision.state, expect, keep: Keep::Always };
        match store.write(vec![put]).await {
            WriteOutcome::Applied(_) => {}
            WriteOutcome::Conflict(_) => return Outcome::Conflict,
            WriteOutcome::Refused(error) | WriteOutcome::Unknown(error) => return error.into(),
        }

        work.begin(Step::Dispatch);
        if let Err(error) = pending::dispatch(broker, messages).await {
            return error.into();
        }

        work.ack(Outcome::Processed).await
    }

    async fn processed(
        &self,
        _: &str,
        _: &Envelope,
        _: Option<&str>,
        _: &dyn Store,
    ) -> Result<Processed, StoreError> {
        Ok(Processed::Unknown)
    }

    async fn finish(&self, _: &str, _: Places<'_>) -> Result<usize, StoreError> {
        Ok(0)
    }

    async fn discard(&self, dead: &DeadLetter, places: Places<'_>) -> Outcome {
        case::remove(dead, places).await
    }
}
