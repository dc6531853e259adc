//! Requests of many tasks, gathered by one.

use std::collections::VecDeque;

use tokio::sync::{mpsc, oneshot};

/// A question, and who waits for its answer.
#[derive(Debug)]
pub(crate) struct Asked<Q, A> {
    pub(crate) question: Q,
    reply: oneshot::Sender<A>,
}

impl<Q, A> Asked<Q, A> {
    /// Hands the answer out.
    pub(crate) fn answer(self, answer: A) {
        // Whoever asked may have gone; what was done is done all the same.
        let _ = self.reply.send(answer);
    }
}

/// Where to ask.
#[derive(Debug)]
pub(crate) struct Lane<Q, A> {
    requests: mpsc::UnboundedSender<Asked<Q, A>>,
}

impl<Q, A> Lane<Q, A> {
    pub(crate) fn new() -> (Self, Requests<Q, A>) {
        let (requests, incoming) = mpsc::unbounded_channel();
        (Self { requests }, Requests { incoming, waiting: VecDeque::new() })
    }

    /// Asks, and waits for the answer; `None` if nobody answers any more.
    pub(crate) async fn ask(&self, question: Q) -> Option<A> {
        let (reply, answer) = oneshot::channel();
        self.requests.send(Asked { question, reply }).ok()?;
        answer.await.ok()
    }
}

/// What was asked.
#[derive(Debug)]
pub(crate) struct Requests<Q, A> {
    incoming: mpsc::UnboundedReceiver<Asked<Q, A>>,
    /// What came and did not fit into the group before, oldest first.
    waiting: VecDeque<Asked<Q, A>>,
}

impl<Q, A> Requests<Q, A> {
    /// All that was asked by now and that `fits` into one group, in the order it came. Waits for
    /// the first; `None` when nobody can ask any more.
    pub(crate) async fn gather(
        &mut self,
        mut fits: impl FnMut(&Q) -> bool,
    ) -> Option<Vec<Asked<Q, A>>> {
        if self.waiting.is_empty() {
            let first = self.incoming.recv().await?;
            self.waiting.push_back(first);
            // Whoever was woken together with the first asks now, and shares the round trip.
            tokio::task::yield_now().await;
        }
        while let Ok(next) = self.incoming.try_recv() {
            self.waiting.push_back(next);
        }
        let (group, rest) = std::mem::take(&mut self.waiting)
            .into_iter()
            .partition::<Vec<_>, _>(|asked| fits(&asked.question));
        self.waiting = rest.into();
        Some(group)
    }
}
