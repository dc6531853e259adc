// What the files of the core's `protocols` find in their parent module: its public part is the
// core's own, its private part is here. Included once for each family.

use std::future::Future;
use std::time::Duration;

pub(super) use ::semel_core::protocols::{
    Outcome, Parking, Places, Processed, Protocol, Step, Work, message_key,
};

use ::semel_core::broker::{Outgoing, SettleOutcome, Settlement};
use ::semel_core::context::{Effect, outgoing};
use ::semel_core::handler::Decision;
use ::semel_core::store::{ItemKey, Space};
use ::semel_core::{Context, Envelope, StoreError, Timestamp};

const WINDOW: Duration = Duration::from_secs(7 * 24 * 60 * 60);

fn inbox_key(endpoint: &str, envelope: &Envelope) -> ItemKey {
    ItemKey::new(Space::Inbox, endpoint, message_key(envelope))
}

fn outbox_key(endpoint: &str, envelope: &Envelope) -> ItemKey {
    ItemKey::new(Space::Outbox, endpoint, message_key(envelope))
}

/// The private methods of a piece of work. Those of the core are not seen from here.
trait Attempting {
    fn case(&self) -> case::Case<'_>;
    fn decide(
        &self,
        state: Option<bytes::Bytes>,
    ) -> impl Future<Output = Result<Decision, Outcome>> + Send;
    fn decide_at(
        &self,
        state: Option<bytes::Bytes>,
        at: Timestamp,
    ) -> impl Future<Output = Result<Decision, Outcome>> + Send;
    fn messages(&self, effects: Vec<Effect>) -> Result<Vec<Outgoing>, StoreError>;
    fn settle(
        &self,
        settlement: Settlement,
        outcome: Outcome,
    ) -> impl Future<Output = Outcome> + Send;
}

impl Attempting for Work<'_> {
    fn case(&self) -> case::Case<'_> {
        let Work { endpoint, envelope, entity, places, .. } = *self;
        case::Case { endpoint, envelope, entity, places }
    }

    async fn decide(&self, state: Option<bytes::Bytes>) -> Result<Decision, Outcome> {
        self.decide_at(state, self.places.clock.now()).await
    }

    async fn decide_at(
        &self,
        state: Option<bytes::Bytes>,
        at: Timestamp,
    ) -> Result<Decision, Outcome> {
        self.begin(Step::RunHandler);
        let scope = format!("{}\n{}", self.endpoint, message_key(self.envelope));
        let context = Context::new(scope, at);
        self.handler.run(state, context).await.map_err(Outcome::HandlerFailed)
    }

    fn messages(&self, effects: Vec<Effect>) -> Result<Vec<Outgoing>, StoreError> {
        let messages = outgoing(self.endpoint, self.envelope, effects, self.places.clock.now());
        pending::check_sizes(self.places.broker, &messages)?;
        Ok(messages)
    }

    async fn settle(&self, settlement: Settlement, outcome: Outcome) -> Outcome {
        self.begin(Step::Settle);
        match self.places.broker.settle(self.receipt, settlement).await {
            SettleOutcome::Settled | SettleOutcome::Stale => outcome,
            SettleOutcome::Unknown(error) => Outcome::from(error),
        }
    }
}
