// What the files of the core's `protocols` find in their parent module: its public part is the
// core's own, its private part is here. Included once for each family.

use std::future::Future;

pub(super) use ::semel_core::protocols::{
    Outcome, Parking, Places, Processed, Protocol, Step, WINDOW, Work, message_key,
};

use ::semel_core::broker::{SettleOutcome, Settlement};
use ::semel_core::handler::Decision;
use ::semel_core::store::{ItemKey, Space};
use ::semel_core::{Context, Envelope, Timestamp};

fn inbox_key(endpoint: &str, envelope: &Envelope) -> ItemKey {
    ItemKey::new(Space::Inbox, endpoint, message_key(envelope))
}

fn outbox_key(endpoint: &str, envelope: &Envelope) -> ItemKey {
    ItemKey::new(Space::Outbox, endpoint, message_key(envelope))
}

/// The private methods of a piece of work. Those of the core are not seen from here.
trait Attempting {
    fn case(&self) -> case::Case<'_>;
    fn decide_at(
        &self,
        state: Option<bytes::Bytes>,
        at: Timestamp,
    ) -> impl Future<Output = Result<Decision, Outcome>> + Send;
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

    async fn settle(&self, settlement: Settlement, outcome: Outcome) -> Outcome {
        self.begin(Step::Settle);
        match self.places.broker.settle(self.receipt, settlement).await {
            SettleOutcome::Settled | SettleOutcome::Stale => outcome,
            SettleOutcome::Unknown(error) => Outcome::from(error),
        }
    }
}
