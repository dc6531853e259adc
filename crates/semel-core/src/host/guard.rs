//! Runs a handler such that its panics and its slowness stay its own.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;

use super::contain;
use super::threads::Threads;
use crate::handler::{BoxFuture, Decision, Handler, Style};
use crate::protocols::Business;
use crate::{Context, Envelope, Failure};

/// A handler with one message, under a deadline.
pub(super) struct Guard {
    pub(super) handler: Arc<dyn Handler>,
    pub(super) envelope: Arc<Envelope>,
    pub(super) deadline: Duration,
    pub(super) threads: Arc<Threads>,
}

impl Business for Guard {
    fn run(
        &self,
        state: Option<Bytes>,
        context: Context,
    ) -> BoxFuture<'_, Result<Decision, Failure>> {
        match self.handler.style() {
            Style::Plain => self.run_plain(state, context),
            Style::Async => self.run_async(state, context),
        }
    }
}

impl Guard {
    fn run_plain(
        &self,
        state: Option<Bytes>,
        context: Context,
    ) -> BoxFuture<'_, Result<Decision, Failure>> {
        let (handler, envelope) = (self.handler.clone(), self.envelope.clone());
        let call = move || {
            // A plain handler's future is ready when it is first polled.
            handler.run(state.as_deref(), &envelope, context).now_or_never()
        };
        let call = move || contain(std::panic::catch_unwind(AssertUnwindSafe(call)));
        let (begun, answer) = self.threads.call(call);
        Box::pin(async move {
            // Waiting for a thread is no fault of this handler: its time begins with the call.
            let _ = begun.await;
            match self.in_time(answer).await? {
                Ok(Ok(Some(result))) => result,
                Ok(Err(failure)) => Err(failure),
                Ok(Ok(None)) | Err(_) => Err(Failure::retry("the handler ended without a result")),
            }
        })
    }

    fn run_async(
        &self,
        state: Option<Bytes>,
        context: Context,
    ) -> BoxFuture<'_, Result<Decision, Failure>> {
        Box::pin(async move {
            let attempt = self.handler.run(state.as_deref(), &self.envelope, context);
            contain(self.in_time(AssertUnwindSafe(attempt).catch_unwind()).await?)?
        })
    }

    async fn in_time<T>(&self, attempt: impl Future<Output = T>) -> Result<T, Failure> {
        tokio::time::timeout(self.deadline, attempt).await.map_err(|_| self.too_slow())
    }

    fn too_slow(&self) -> Failure {
        let deadline = self.deadline;
        Failure::retry(format!("the {:?} did not return within {deadline:?}", self.handler))
    }
}
