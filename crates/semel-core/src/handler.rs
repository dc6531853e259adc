//! Handlers: the user's functions, and how they are called.
//!
//! A handler is a plain function on state and message. [`HandlerFn`] is implemented for every
//! function of these shapes, where `R` is `()` or a `Result<(), E>` whose error becomes a
//! [`Failure`]:
//!
//! ```text
//! fn(&mut State, Message, &mut Context) -> R
//! async fn(&mut State, Message, &mut Context) -> R
//! ```

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::context::{Context, Effect};
use crate::{Envelope, Failure, HandlerResult, Message, Order};

/// A future on the heap, as object-safe traits need it.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What the state of an entity must be able to do. Every type that can, is one.
pub trait State: Default + Serialize + DeserializeOwned + Send + 'static {}

impl<S: Default + Serialize + DeserializeOwned + Send + 'static> State for S {}

/// How a handler spends its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// It returns without waiting; it is called on a thread where it may also block.
    Plain,
    /// It waits for other futures and must not block its thread.
    Async,
}

/// What an attempt decided: nothing of it has happened yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The entity's new state, encoded.
    pub state: Bytes,
    /// What shall be done outside, in the order declared.
    pub effects: Vec<Effect>,
}

/// A handler without its types, as endpoints hold it.
pub trait Handler: fmt::Debug + Send + Sync + 'static {
    /// The stable name of the message type it handles.
    fn kind(&self) -> &'static str;

    /// Whether messages of that type keep their order.
    fn order(&self) -> Order;

    /// How it spends its time.
    fn style(&self) -> Style;

    /// The key of the entity that the message is for, or why its data is not such a message.
    fn entity_key(&self, envelope: &Envelope) -> Result<String, String>;

    /// Runs one attempt on an entity's state (`None` where it has none yet).
    fn run<'a>(
        &'a self,
        state: Option<&'a [u8]>,
        envelope: &'a Envelope,
        context: Context,
    ) -> BoxFuture<'a, Result<Decision, Failure>>;
}

/// A function that can be a handler. `Kind` only tells the two shapes apart; it is inferred.
pub trait HandlerFn<Kind>: Send + Sync + 'static {
    /// The state it changes.
    type State: State;
    /// The message it handles.
    type Message: Message;
    /// How it spends its time.
    const STYLE: Style;

    /// Calls it.
    fn call<'a>(
        &'a self,
        state: &'a mut Self::State,
        message: Self::Message,
        context: &'a mut Context,
    ) -> BoxFuture<'a, Result<(), Failure>>;
}

/// Marks plain functions.
#[derive(Debug)]
pub struct PlainFn<S, M, R>(PhantomData<fn(S, M) -> R>);

impl<F, S, M, R> HandlerFn<PlainFn<S, M, R>> for F
where
    F: Fn(&mut S, M, &mut Context) -> R + Send + Sync + 'static,
    S: State,
    M: Message,
    R: HandlerResult,
{
    type State = S;
    type Message = M;
    const STYLE: Style = Style::Plain;

    fn call<'a>(
        &'a self,
        state: &'a mut S,
        message: M,
        context: &'a mut Context,
    ) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async move { self(state, message, context).into_result() })
    }
}

/// Marks async functions.
#[derive(Debug)]
pub struct AsyncFn<S, M>(PhantomData<fn(S, M)>);

/// An async function for one lifetime of its borrows. Implemented for all of them.
pub trait AsyncHandlerFn<'a, S, M>: Send + Sync + 'static {
    /// What it returns.
    type Output: HandlerResult;
    /// The future it returns.
    type Future: Future<Output = Self::Output> + Send + 'a;

    /// Calls it.
    fn call(&self, state: &'a mut S, message: M, context: &'a mut Context) -> Self::Future;
}

impl<'a, F, Fut, S, M> AsyncHandlerFn<'a, S, M> for F
where
    F: Fn(&'a mut S, M, &'a mut Context) -> Fut + Send + Sync + 'static,
    Fut: Future + Send + 'a,
    Fut::Output: HandlerResult,
    S: State,
{
    type Output = Fut::Output;
    type Future = Fut;

    fn call(&self, state: &'a mut S, message: M, context: &'a mut Context) -> Fut {
        self(state, message, context)
    }
}

impl<F, S, M> HandlerFn<AsyncFn<S, M>> for F
where
    F: for<'a> AsyncHandlerFn<'a, S, M>,
    S: State,
    M: Message,
{
    type State = S;
    type Message = M;
    const STYLE: Style = Style::Async;

    fn call<'a>(
        &'a self,
        state: &'a mut S,
        message: M,
        context: &'a mut Context,
    ) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(
            async move { AsyncHandlerFn::call(self, state, message, context).await.into_result() },
        )
    }
}

/// A function with its key, as a [`Handler`].
pub(crate) struct TypedHandler<F, Kind, K> {
    function: F,
    key: K,
    kind: PhantomData<fn(Kind)>,
}

impl<F, Kind, K> TypedHandler<F, Kind, K> {
    pub(crate) fn new(function: F, key: K) -> Self {
        Self { function, key, kind: PhantomData }
    }
}

impl<F: HandlerFn<Kind>, Kind, K> fmt::Debug for TypedHandler<F, Kind, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "handler of `{}`", F::Message::TYPE)
    }
}

impl<F, Kind, K> Handler for TypedHandler<F, Kind, K>
where
    F: HandlerFn<Kind>,
    Kind: 'static,
    K: Fn(&F::Message) -> String + Send + Sync + 'static,
{
    fn kind(&self) -> &'static str {
        F::Message::TYPE
    }

    fn order(&self) -> Order {
        F::Message::ORDER
    }

    fn style(&self) -> Style {
        F::STYLE
    }

    fn entity_key(&self, envelope: &Envelope) -> Result<String, String> {
        decode_message(envelope).map(|message| (self.key)(&message))
    }

    fn run<'a>(
        &'a self,
        state: Option<&'a [u8]>,
        envelope: &'a Envelope,
        mut context: Context,
    ) -> BoxFuture<'a, Result<Decision, Failure>> {
        Box::pin(async move {
            let mut state = decode_state::<F::State>(state)?;
            let message = decode_message(envelope).map_err(Failure::dead_letter)?;
            self.function.call(&mut state, message, &mut context).await?;
            Ok(Decision { state: encode_state(&state)?, effects: context.into_effects()? })
        })
    }
}

fn decode_message<M: Message>(envelope: &Envelope) -> Result<M, String> {
    serde_json::from_slice(&envelope.data)
        .map_err(|error| format!("the data is not a `{}`: {error}", M::TYPE))
}

fn decode_state<S: State>(state: Option<&[u8]>) -> Result<S, Failure> {
    let Some(state) = state else { return Ok(S::default()) };
    serde_json::from_slice(state).map_err(|error| {
        let wanted = std::any::type_name::<S>();
        Failure::retry(format!(
            "the entity's state cannot be read as {wanted}: {error}; deploy a version that can"
        ))
    })
}

fn encode_state<S: State>(state: &S) -> Result<Bytes, Failure> {
    serde_json::to_vec(state).map(Bytes::from).map_err(|error| {
        Failure::dead_letter(format!("the entity's state cannot be written as JSON: {error}"))
    })
}
