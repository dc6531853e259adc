//! A handler of the user, wrapped such that what it decides can be recognised.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt as _;
use semel_core::context::Effect;
use semel_core::handler::{BoxFuture, Decision, Handler, Style};
use semel_core::host::contain;
use semel_core::protocols::message_key;
use semel_core::{Context, Envelope, Failure, Order};

use super::port::{self, Note};
use crate::tag::{self, EffectName, Mark, Trail};
use crate::trace::phrases;

/// A handler whose states carry a trail and whose effects carry their names.
#[derive(Debug)]
pub(crate) struct Tagging {
    pub(crate) endpoint: String,
    pub(crate) handler: Arc<dyn Handler>,
}

impl Handler for Tagging {
    fn kind(&self) -> &'static str {
        self.handler.kind()
    }

    fn order(&self) -> Order {
        self.handler.order()
    }

    fn style(&self) -> Style {
        self.handler.style()
    }

    fn entity_key(&self, envelope: &Envelope) -> Result<String, String> {
        self.handler.entity_key(&tag::plain(envelope))
    }

    fn run<'a>(
        &'a self,
        state: Option<&'a [u8]>,
        envelope: &'a Envelope,
        context: Context,
    ) -> BoxFuture<'a, Result<Decision, Failure>> {
        Box::pin(async move {
            if port::enter_handler() {
                port::handler_failed();
                port::note(|| Note::Handler("fails".to_owned()));
                return Err(Failure::retry("the world made it fail"));
            }
            let decision = self.decide(state, envelope, context).await;
            if let Err(failure) = &decision {
                port::handler_failed();
                port::note_failure(&self.endpoint, &message_key(envelope), failure.reason());
                port::note(|| Note::Handler(format!("fails: {}", failure.reason())));
            }
            decision
        })
    }
}

impl Tagging {
    async fn decide(
        &self,
        state: Option<&[u8]>,
        envelope: &Envelope,
        context: Context,
    ) -> Result<Decision, Failure> {
        let plain = tag::plain(envelope);
        let (mut trail, before) = match state.map(|state| (state, Trail::detach(state))) {
            None => (Trail::default(), None),
            Some((_, Some((trail, state)))) => (trail, Some(state)),
            // Not what a handler of this world returned: the handler will tell.
            Some((state, None)) => (Trail::default(), Some(bytes::Bytes::copy_from_slice(state))),
        };
        let run = AssertUnwindSafe(self.handler.run(before.as_deref(), &plain, context));
        let mut decision = contain(run.catch_unwind().await)??;
        port::note(|| Note::Handler(phrases::decision(before.as_deref(), &decision)));

        let message = message_key(envelope);
        let mut contents = Vec::with_capacity(decision.effects.len());
        for (position, effect) in decision.effects.iter_mut().enumerate() {
            let Effect::Message(effect) = effect else { continue };
            let declared = tag::declared(effect);
            port::name_content(declared.content, effect);
            let is_published = declared.published.is_some();
            contents.push(declared);
            let (endpoint, message) = (self.endpoint.as_str().into(), message.as_str().into());
            EffectName { endpoint, message, position, is_published }.tag(effect);
        }
        let is_change = before.as_deref() != Some(&*decision.state);
        let endpoint = self.endpoint.clone();
        let objects = port::take_objects();
        // A handler that cannot tell has not come so far.
        let entity = self.handler.entity_key(&plain).unwrap_or_default();
        trail.add(Mark { endpoint, message, entity, effects: contents, objects }, is_change);
        decision.state = trail.attach(&decision.state);
        Ok(decision)
    }
}
