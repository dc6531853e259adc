//! Publishing with confirmation.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::ShortString;
use lapin::{Channel, Confirmation};
use semel_core::StoreError;
use semel_core::store::Trouble;
use tokio::time::{Instant, timeout_at};

use crate::history::COPY;
use crate::link::{Link, Server};
use crate::message::Raw;

/// The most messages that wait for their confirmation at once, on one channel.
const BATCH_MAX: usize = 256;

/// How long to wait before a message that the server rejected is published again.
const REJECTED_PAUSES_MS: [u64; 4] = [20, 100, 500, 1000];

/// Where a message is published.
#[derive(Clone, Debug)]
pub(crate) enum Target {
    /// To one queue, which must exist.
    Queue(String),
    /// To whatever is bound to the exchange under this key; nothing will do.
    Exchange(String, String),
}

/// What became of a message.
#[derive(Debug)]
pub(crate) enum Published {
    /// It is written down in every queue that it was for.
    Confirmed,
    /// There is no such queue: it is nowhere.
    Returned,
    /// It is larger than this many bytes, which the server does not take: it is nowhere.
    TooLarge(usize),
    /// The server took no responsibility: a queue had no leader just then.
    Rejected(StoreError),
    /// It was not sent.
    NotSent(StoreError),
    /// Nobody knows.
    Unknown(StoreError),
}

/// Channels in confirm mode.
pub(crate) struct Publisher {
    server: Server,
    link: Link,
    idle: Mutex<Vec<Channel>>,
}

impl Publisher {
    pub(crate) fn new(server: Server) -> Self {
        let link = Link::new(server.clone(), "sends");
        Self { server, link, idle: Mutex::default() }
    }

    pub(crate) async fn connect(&self) -> Result<(), StoreError> {
        self.link.connection().await.map(drop)
    }

    pub(crate) async fn channel(&self, operation: &'static str) -> Result<Channel, StoreError> {
        // An alarm of a connection that was lost would never end.
        self.link.connection().await?;
        self.link.wait_for_calm(operation, Instant::now() + self.server.patience).await?;
        self.link.channel(operation).await
    }

    /// Waits until an alarm is on.
    pub(crate) async fn alarmed(&self) {
        self.link.wait_for_alarm().await;
    }

    /// Publishes one message.
    pub(crate) async fn publish(&self, target: Target, raw: Raw) -> Published {
        let answer = self.publish_all(&[(target, raw)]).await.pop();
        answer.unwrap_or_else(|| Published::NotSent(self.no_confirmation()))
    }

    /// Publishes messages in order. One answer for each.
    pub(crate) async fn publish_all(&self, messages: &[(Target, Raw)]) -> Vec<Published> {
        let mut answers = Vec::with_capacity(messages.len());
        for batch in messages.chunks(BATCH_MAX) {
            match self.idle_channel().await {
                Ok(channel) => answers.extend(self.publish_patiently(channel, batch).await),
                Err(error) => {
                    answers.extend(batch.iter().map(|_| Published::NotSent(error.clone())));
                }
            }
        }
        answers
    }

    /// Publishes a batch, and again what the server rejected: a queue that was just made, or is
    /// changing its leader, takes it a moment later. Should it have been queued after all, it comes
    /// twice.
    async fn publish_patiently(&self, channel: Channel, batch: &[(Target, Raw)]) -> Vec<Published> {
        let mut answers = self.publish_batch(channel, batch).await;
        for pause_ms in REJECTED_PAUSES_MS {
            let is_rejected = |answer: &Published| matches!(answer, Published::Rejected(_));
            let rejected: Vec<usize> =
                (0..batch.len()).filter(|at| answers.get(*at).is_some_and(is_rejected)).collect();
            if rejected.is_empty() {
                break;
            }
            tracing::info!(messages = rejected.len(), "the server rejected messages; once more");
            tokio::time::sleep(Duration::from_millis(pause_ms)).await;
            let Ok(channel) = self.idle_channel().await else { break };
            let again: Vec<(Target, Raw)> = rejected.iter().map(|at| batch[*at].clone()).collect();
            let retried = self.publish_batch(channel, &again).await;
            for (at, answer) in rejected.into_iter().zip(retried) {
                answers[at] = answer;
            }
        }
        answers
    }

    async fn idle_channel(&self) -> Result<Channel, StoreError> {
        loop {
            let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            match idle {
                Some(channel) if channel.status().connected() => return Ok(channel),
                Some(_) => {}
                None => break,
            }
        }
        let channel = self.channel("send").await?;
        let confirming = channel.confirm_select(ConfirmSelectOptions::default());
        self.server.within("send", confirming).await?;
        Ok(channel)
    }

    /// Publishes a batch on a channel that nobody else uses meanwhile.
    ///
    /// The client hands a returned message to whichever confirmation comes next, and that may be
    /// another message's. Within a batch whose confirmations have all come, the returned ones are
    /// therefore told by the identity of their copy.
    async fn publish_batch(&self, channel: Channel, batch: &[(Target, Raw)]) -> Vec<Published> {
        let deadline = Instant::now() + self.server.patience;
        // What is written while an alarm is on would land long after its sender has gone.
        if let Err(error) = self.link.wait_for_calm("send", deadline).await {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(channel);
            return batch.iter().map(|_| Published::NotSent(error.clone())).collect();
        }
        let mut waiting = Vec::with_capacity(batch.len());
        for (target, raw) in batch {
            let (exchange, key, mandatory) = match target {
                Target::Queue(queue) => ("", queue, true),
                Target::Exchange(exchange, key) => (exchange.as_str(), key, false),
            };
            let names = (ShortString::try_new(exchange), ShortString::try_new(key.as_str()));
            let (Ok(exchange), Ok(key)) = names else {
                let help = "Choose a shorter prefix or shorter names.";
                let reason = format!("a name is longer than AMQP's 255 bytes: {key}");
                let error = self.server.error(Trouble::TooLarge, "send", reason, help);
                waiting.push(Err(Published::NotSent(error)));
                continue;
            };
            let options = BasicPublishOptions { mandatory, immediate: false };
            let sending =
                channel.basic_publish(exchange, key, options, &raw.data, raw.properties.clone());
            let sent = match timeout_at(deadline, sending).await {
                Ok(Ok(confirm)) => Ok(confirm),
                Ok(Err(error)) => Err(Published::Unknown(self.translate(&error))),
                Err(_) => Err(Published::Unknown(self.no_answer())),
            };
            waiting.push(sent);
        }
        let mut answers = Vec::with_capacity(batch.len());
        let mut returned = BTreeSet::new();
        let mut is_whole = true;
        for sent in waiting {
            let answer = match sent {
                Err(answer) => answer,
                Ok(confirm) => match timeout_at(deadline, confirm).await {
                    Ok(Ok(confirmation)) => {
                        let answer = if confirmation.is_ack() {
                            Published::Confirmed
                        } else {
                            Published::Rejected(self.rejected())
                        };
                        if let Confirmation::Ack(Some(back)) | Confirmation::Nack(Some(back)) =
                            confirmation
                        {
                            let properties = back.delivery.properties;
                            let data = back.delivery.data.into();
                            returned.extend(Raw { properties, data }.text(COPY));
                        }
                        answer
                    }
                    Ok(Err(error)) => Published::Unknown(self.translate(&error)),
                    Err(_) => Published::Unknown(self.no_answer()),
                },
            };
            is_whole &= matches!(answer, Published::Confirmed | Published::Rejected(_));
            answers.push(answer);
        }
        if is_whole {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(channel);
        }
        for (answer, (_, raw)) in answers.iter_mut().zip(batch) {
            judge(answer, raw, &returned);
        }
        answers
    }

    fn translate(&self, error: &lapin::Error) -> StoreError {
        crate::error::translate(&self.server.place, "send", error)
    }

    fn no_answer(&self) -> StoreError {
        match self.link.alarm() {
            Some(reason) => crate::error::alarm(&self.server.place, "send", &reason),
            None => crate::error::no_answer(&self.server.place, "send"),
        }
    }

    fn no_confirmation(&self) -> StoreError {
        let help = "This is a defect in Semel; please report it.";
        self.server.error(Trouble::Broken, "send", "no confirmation was asked for", help)
    }

    fn rejected(&self) -> StoreError {
        let help = "Look at the queue and at the server's log; then send again.";
        self.server.error(Trouble::Unavailable, "send", "the server did not confirm", help)
    }
}

/// What is known once the whole batch is known.
fn judge(answer: &mut Published, raw: &Raw, returned: &BTreeSet<String>) {
    match answer {
        Published::Confirmed if raw.text(COPY).is_some_and(|copy| returned.contains(&copy)) => {
            *answer = Published::Returned;
        }
        Published::Unknown(error) => {
            if let Some(limit) = crate::error::size_limit(error)
                && raw.data.len() > limit
            {
                *answer = Published::TooLarge(limit);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{Published, judge};
    use crate::history::{self, COPY, History};
    use crate::message::Raw;

    /// The client hands a returned message to whichever confirmation comes next.
    #[test]
    fn a_message_is_returned_whose_own_copy_came_back() {
        let copy =
            || history::copy(&Raw::default(), &History::default(), std::time::Duration::ZERO, None);
        let (back, arrived) = (copy(), copy());
        let returned: BTreeSet<String> = back.text(COPY).into_iter().collect();
        let judged = |raw: &Raw| {
            let mut answer = Published::Confirmed;
            judge(&mut answer, raw, &returned);
            answer
        };
        assert!(matches!(judged(&back), Published::Returned));
        assert!(matches!(judged(&arrived), Published::Confirmed));
    }
}
