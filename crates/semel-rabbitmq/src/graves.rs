//! Dead letters: looked at without being consumed for good, and decided once.
//!
//! AMQP shows nobody a message without giving it to him. Whoever looks at an endpoint's dead letters
//! holds a lock, takes them all, and gives all back before he leaves it; so that nobody else finds
//! less than there is. Parking another dead letter needs no lock.

use std::sync::Arc;

use lapin::Channel;
use lapin::options::{BasicAckOptions, BasicGetOptions};
use semel_core::StoreError;
use semel_core::broker::{Receipt, SettleOutcome, Settlement};
use semel_core::operator::{DeadLetter, DeadLetterFilter};

use crate::book::{Book, Page};
use crate::history::{COPY, Death, History};
use crate::message::{self, Raw};
use crate::place::{Place, Shelf};
use crate::topology::short;

/// The receipt of a dead letter begins with this. A handle's name does not.
const DEAD: &str = "dead";

/// Which dead letter a receipt stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Grave {
    number: i64,
    /// The identity of the parked copy: a message that dies again has another.
    copy: String,
    endpoint: String,
}

impl Grave {
    pub(crate) fn of(receipt: &Receipt) -> Option<Self> {
        let mut parts = receipt.as_str().splitn(4, '.');
        if parts.next() != Some(DEAD) {
            return None;
        }
        let number = parts.next()?.parse().ok()?;
        let (copy, endpoint) = (parts.next()?.to_owned(), parts.next()?.to_owned());
        Some(Self { number, copy, endpoint })
    }

    fn receipt(&self) -> Receipt {
        Receipt::new(format!("{DEAD}.{}.{}.{}", self.number, self.copy, self.endpoint))
    }
}

/// A dead letter as it was taken from its queue.
struct Body {
    tag: u64,
    raw: Raw,
    death: Death,
}

/// All dead letters of an endpoint, in hand.
struct Exhumed {
    channel: Channel,
    queue: String,
    bodies: Vec<Body>,
    messages: u32,
}

impl Place {
    /// The dead letters that a filter names, by number.
    pub(crate) async fn list_dead(
        self: &Arc<Self>,
        filter: &DeadLetterFilter,
    ) -> Result<Vec<DeadLetter>, StoreError> {
        let mut letters = Vec::new();
        for (endpoint, page) in self.read_book().await?.endpoints {
            let wanted = filter.endpoint.as_ref().is_none_or(|wanted| *wanted == endpoint);
            if wanted && page.has_dead {
                letters.extend(self.look_at(endpoint, page, filter.after, filter.limit).await?);
            }
        }
        letters.sort_by_key(|letter| letter.number);
        letters.truncate(filter.limit);
        Ok(letters)
    }

    /// One dead letter.
    pub(crate) async fn find_dead(
        self: &Arc<Self>,
        number: i64,
    ) -> Result<Option<DeadLetter>, StoreError> {
        let Some(after) = number.checked_sub(1) else { return Ok(None) };
        let filter = DeadLetterFilter { endpoint: None, after, limit: 1 };
        let found = self.list_dead(&filter).await?.pop();
        Ok(found.filter(|letter| letter.number == number))
    }

    /// The first of an endpoint's dead letters after a number.
    async fn look_at(
        self: &Arc<Self>,
        endpoint: String,
        page: Page,
        after: i64,
        limit: usize,
    ) -> Result<Vec<DeadLetter>, StoreError> {
        let (place, lock) = (self.clone(), format!("dead.{endpoint}"));
        let work = async move {
            let mut exhumed = place.exhume(&endpoint, |death| death.number > after, limit).await?;
            exhumed.bodies.sort_by_key(|body| body.death.number);
            let first = exhumed.bodies.iter().take(limit);
            let letters = first.map(|body| body.letter(&endpoint, &page)).collect();
            place.lay_back(&exhumed.channel, &exhumed.queue, exhumed.messages).await?;
            Ok(letters)
        };
        self.locked(&lock, work).await
    }

    /// Takes all dead letters of an endpoint, and keeps in memory the first few that are asked for.
    async fn exhume(
        self: &Arc<Self>,
        endpoint: &str,
        wanted: impl Fn(&Death) -> bool,
        keep: usize,
    ) -> Result<Exhumed, StoreError> {
        let queue = self.names.dead(endpoint);
        let channel = self.take_channel("list dead letters").await?;
        let mut exhumed = Exhumed { channel, queue, bodies: Vec::new(), messages: 0 };
        let name = short(self, &exhumed.queue)?;
        loop {
            let getting = exhumed.channel.basic_get(name.clone(), BasicGetOptions::default());
            let got = self.server.within("list dead letters", getting).await;
            let Some(message) = got.inspect_err(|_| {
                self.known().remove(&exhumed.queue);
            })?
            else {
                return Ok(exhumed);
            };
            exhumed.messages += 1;
            let delivery = message.delivery;
            let raw = Raw { properties: delivery.properties, data: delivery.data.into() };
            match Death::of(&raw) {
                Some(death) if wanted(&death) => {
                    exhumed.bodies.push(Body { tag: delivery.delivery_tag, raw, death });
                    if exhumed.bodies.len() / 2 > keep {
                        exhumed.bodies.sort_by_key(|body| body.death.number);
                        exhumed.bodies.truncate(keep);
                    }
                }
                Some(_) => {}
                None => tracing::warn!(endpoint, "a message among the dead letters is not Semel's"),
            }
        }
    }

    /// Decides a dead letter's fate: `Ack` removes it, `Release` replays it.
    pub(crate) async fn decide(
        self: &Arc<Self>,
        grave: Grave,
        settlement: Settlement,
    ) -> SettleOutcome {
        let replay = match settlement {
            Settlement::Ack => None,
            Settlement::Release { after } => Some(after),
            Settlement::Retry { .. } | Settlement::DeadLetter { .. } => {
                return SettleOutcome::Stale;
            }
        };
        if let Some(wait) = replay {
            // Before the lock is taken, for it takes one too.
            let shelf = if wait.is_zero() { Shelf::Ready } else { Shelf::Wait(wait) };
            if let Err(error) = self.shelf(&grave.endpoint, shelf).await {
                return SettleOutcome::Unknown(error);
            }
        }
        match self.has_dead(&grave.endpoint).await {
            Ok(true) => {}
            Ok(false) => return SettleOutcome::Stale,
            Err(error) => return SettleOutcome::Unknown(error),
        }
        let (place, lock) = (self.clone(), format!("dead.{}", grave.endpoint));
        let work = async move { place.decide_alone(&grave, replay).await };
        match self.locked(&lock, work).await {
            Ok(true) => SettleOutcome::Settled,
            Ok(false) => SettleOutcome::Stale,
            Err(error) => SettleOutcome::Unknown(error),
        }
    }

    async fn has_dead(self: &Arc<Self>, endpoint: &str) -> Result<bool, StoreError> {
        if self.known().contains(&self.names.dead(endpoint)) {
            return Ok(true);
        }
        let Book { endpoints } = self.read_book().await?;
        Ok(endpoints.get(endpoint).is_some_and(|page| page.has_dead))
    }

    /// Whether there was such a dead letter, whose fate is now decided.
    async fn decide_alone(
        self: &Arc<Self>,
        grave: &Grave,
        replay: Option<std::time::Duration>,
    ) -> Result<bool, StoreError> {
        let exhumed =
            self.exhume(&grave.endpoint, |death| death.number == grave.number, usize::MAX).await?;
        let mut left = exhumed.messages;
        let body = exhumed.bodies.iter().find(|it| it.raw.text(COPY).as_ref() == Some(&grave.copy));
        if let Some(body) = body {
            if let Some(after) = replay {
                // All its tries again, and its history.
                let failures = History::of_copy(&body.raw).failures;
                let history = History { failures, ..History::default() };
                let (shelf, copy) = self.later(&body.raw, &history, after);
                let published = self.queue(&grave.endpoint, shelf, &copy).await;
                if let Some(error) = self.not_queued(published) {
                    self.close(&exhumed.channel).await;
                    return Err(error);
                }
            }
            let removing = exhumed.channel.basic_ack(body.tag, BasicAckOptions::default());
            self.server.within("settle", removing).await?;
            // The server answers what comes after.
            self.ready_count(&exhumed.channel, &exhumed.queue).await?;
            left -= 1;
        }
        self.lay_back(&exhumed.channel, &exhumed.queue, left).await?;
        Ok(body.is_some())
    }
}

impl Body {
    fn letter(&self, endpoint: &str, page: &Page) -> DeadLetter {
        let history = History::of_copy(&self.raw);
        let grave = Grave {
            number: self.death.number,
            copy: self.raw.text(COPY).unwrap_or_default(),
            endpoint: endpoint.to_owned(),
        };
        DeadLetter {
            number: self.death.number,
            endpoint: endpoint.to_owned(),
            protocol: page.protocol.clone(),
            envelope: message::decode(&self.raw),
            entity: self.death.entity.clone(),
            raw: self.raw.data.clone(),
            reason: self.death.reason,
            dead_since: self.death.since,
            deliveries: history.deliveries,
            failures: history.failures,
            receipt: grave.receipt(),
        }
    }
}
