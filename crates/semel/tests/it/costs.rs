//! One message under a protocol, with every call that it costs.

use std::fmt;

use bytes::Bytes;
use semel::core::broker::Delivery;
use semel::core::handler::{BoxFuture, Decision};
use semel::core::protocols::{Business, Outcome, Protocol};
use semel::core::store::Change;
use semel::{Backend, Context, Failure};

use crate::bank::{Account, Deposited, to};
use crate::by_hand::{LEASE, attempt_for, dies_at, take_one};
use crate::fault::{Call, Fault, Tap};
use crate::rig::{Home, Rig, put};

/// Whom the measured messages are for.
const RECEIVER: [&str; 2] = ["accounts", "alice"];

/// What one message costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cost {
    /// Reads of the store.
    pub(crate) reads: u64,
    /// Batches for the store.
    pub(crate) writes: u64,
    /// Changes in those batches.
    pub(crate) changes: u64,
    /// The values that they put, and the messages that they queue.
    pub(crate) bytes: u64,
    /// Questions to the broker, who subscribes.
    pub(crate) subscribers: u64,
    /// Calls of the broker to send.
    pub(crate) sends: u64,
    /// Calls of the broker to settle.
    pub(crate) settles: u64,
}

impl Cost {
    pub(crate) fn columns(self) -> [u64; 7] {
        let Self { reads, writes, changes, bytes, subscribers, sends, settles } = self;
        [reads, writes, changes, bytes, subscribers, sends, settles]
    }

    fn seen_by(tap: &Tap) -> Self {
        let changes = tap.written().concat();
        Self {
            reads: tap.count(Call::Read),
            writes: tap.count(Call::Write),
            changes: changes.len() as u64,
            bytes: changes.iter().map(bytes).sum::<usize>() as u64,
            subscribers: tap.count(Call::Subscribers),
            sends: tap.count(Call::Send),
            settles: tap.count(Call::Settle),
        }
    }
}

fn bytes(change: &Change) -> usize {
    match change {
        Change::Put { value, .. } => value.len(),
        Change::Enqueue(message) => message.envelope.size(),
        Change::Delete { .. } | Change::Settle { .. } => 0,
    }
}

/// Where a message comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    Outside,
    AnotherEntity,
    Itself,
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Path {
    /// The first message of its entity; it sends one.
    First,
    /// A later one, which sends so many.
    Later(usize),
    /// A later one, which publishes one message to two subscribers.
    Published,
    /// An exact copy of a message that was settled.
    Duplicate,
    /// The same, after the entity had another message.
    LateDuplicate,
    /// The delivery after a worker died right after its commit.
    Finish,
}

impl Path {
    pub(crate) const ALL: [Self; 8] = [
        Self::First,
        Self::Later(0),
        Self::Later(1),
        Self::Later(3),
        Self::Published,
        Self::Duplicate,
        Self::LateDuplicate,
        Self::Finish,
    ];
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::First => write!(f, "first of its entity, sends 1"),
            Self::Later(sends) => write!(f, "later, sends {sends}"),
            Self::Published => write!(f, "later, publishes 1 to 2"),
            Self::Duplicate => write!(f, "duplicate"),
            Self::LateDuplicate => write!(f, "duplicate, one later"),
            Self::Finish => write!(f, "again after a crash"),
        }
    }
}

/// A protocol, and where its messages come from and lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Scene {
    pub(crate) protocol: &'static str,
    pub(crate) origin: Origin,
    pub(crate) home: Home,
}

impl Scene {
    pub(crate) fn protocol(&self) -> std::sync::Arc<dyn Protocol> {
        semel::core::protocols::by_name(self.protocol).unwrap()
    }

    /// The write with which an attempt counts, from 1.
    pub(crate) fn commit(&self) -> u64 {
        if self.protocol == "detached-outbox" { 2 } else { 1 }
    }

    /// Whether there is such a path.
    pub(crate) fn has(&self, path: Path) -> bool {
        match path {
            // It has sent the message.
            Path::First => self.origin != Origin::Itself,
            // Its commit settles the delivery, which does not come again.
            Path::Finish => self.protocol != "transactional" || self.home == Home::Apart,
            // Only these ask who subscribes.
            Path::Published => self.protocol == "token",
            _ => true,
        }
    }

    /// What the measured delivery costs.
    pub(crate) async fn cost(&self, path: Path) -> Cost {
        let rig = Rig::at(self.home);
        let backend = rig.backend();
        if path != Path::First {
            self.receive(&backend, Origin::Outside, &Sends::notes(1)).await;
        }
        match path {
            Path::First => self.measure(&backend, &Sends::notes(1)).await,
            Path::Later(sends) => self.measure(&backend, &Sends::notes(sends)).await,
            Path::Published => {
                subscribe(&backend, &["audit", "press"]).await;
                self.measure(&backend, &Sends::Published).await
            }
            Path::Duplicate | Path::LateDuplicate => {
                let copy = self.receive(&backend, self.origin, &Sends::notes(1)).await;
                if path == Path::LateDuplicate {
                    self.receive(&backend, Origin::Outside, &Sends::notes(1)).await;
                }
                put(&backend, RECEIVER[0], copy.envelope.unwrap()).await;
                let again = take_one(&backend, RECEIVER[0]).await;
                self.count(&backend, &again, &Sends::notes(1)).await
            }
            Path::Finish => {
                let delivery = self.arrival(&backend, self.origin).await;
                let commit = self.commit();
                let tap = Tap::new(move |call, nth| match call {
                    Call::Write if nth == commit => Fault::DiesAfter,
                    _ => Fault::None,
                });
                let tapped = tap.on(backend.clone());
                let (protocol, handler) = (self.protocol(), Sends::notes(1));
                let attempt = attempt_for(RECEIVER, &tapped, &*protocol, &delivery, &handler);
                dies_at(attempt, tap.dead()).await;
                rig.advance(LEASE);
                let again = take_one(&backend, RECEIVER[0]).await;
                self.count(&backend, &again, &handler).await
            }
        }
    }

    async fn measure(&self, backend: &Backend, handler: &Sends) -> Cost {
        let delivery = self.arrival(backend, self.origin).await;
        self.count(backend, &delivery, handler).await
    }

    async fn count(&self, backend: &Backend, delivery: &Delivery, handler: &Sends) -> Cost {
        let tap = Tap::counting();
        self.run(&tap.on(backend.clone()), RECEIVER, delivery, handler).await;
        Cost::seen_by(&tap)
    }

    /// Processes one message for the receiver.
    async fn receive(&self, backend: &Backend, origin: Origin, handler: &Sends) -> Delivery {
        let delivery = self.arrival(backend, origin).await;
        self.run(backend, RECEIVER, &delivery, handler).await;
        delivery
    }

    /// A message for the receiver, taken and not processed.
    async fn arrival(&self, backend: &Backend, origin: Origin) -> Delivery {
        let sender = match origin {
            Origin::Outside => {
                backend.send(RECEIVER[0], to(RECEIVER[1], 7)).await.unwrap();
                return take_one(backend, RECEIVER[0]).await;
            }
            Origin::AnotherEntity => ["branches", "soho"],
            Origin::Itself => RECEIVER,
        };
        backend.send(sender[0], to(sender[1], 7)).await.unwrap();
        let cause = take_one(backend, sender[0]).await;
        self.run(backend, sender, &cause, &Sends::Deposit).await;
        take_one(backend, RECEIVER[0]).await
    }

    async fn run(&self, backend: &Backend, to: [&str; 2], delivery: &Delivery, handler: &Sends) {
        let outcome = attempt_for(to, backend, &*self.protocol(), delivery, handler).await;
        assert!(
            matches!(outcome, Outcome::Processed | Outcome::Duplicate),
            "{self:?}: {outcome:?}"
        );
    }
}

async fn subscribe(backend: &Backend, endpoints: &[&str]) {
    for endpoint in endpoints {
        let registration = semel::core::broker::Registration {
            endpoint: (*endpoint).to_owned(),
            protocol: "token".to_owned(),
            subscriptions: vec!["account.deposited".to_owned()],
        };
        backend.broker().register(&registration).await.unwrap();
    }
}

/// A handler that pays in seven pence and sends what it is told to.
#[derive(Clone, Copy, Debug)]
enum Sends {
    /// So many notes to the audit.
    Notes(usize),
    /// One note to all who subscribe.
    Published,
    /// A deposit for the receiver.
    Deposit,
}

impl Sends {
    fn notes(count: usize) -> Self {
        Self::Notes(count)
    }
}

impl Business for Sends {
    fn run(
        &self,
        state: Option<Bytes>,
        mut context: Context,
    ) -> BoxFuture<'_, Result<Decision, Failure>> {
        Box::pin(async move {
            let mut account: Account = match state {
                Some(state) => serde_json::from_slice(&state)?,
                None => Account::default(),
            };
            account.pence += 7;
            account.deposits += 1;
            let note = Deposited { account: "alice".to_owned(), pence: 7, balance: account.pence };
            match self {
                Self::Notes(count) => {
                    (0..*count).for_each(|_| context.send("audit", note.clone()));
                }
                Self::Published => context.publish(note),
                Self::Deposit => context.send(RECEIVER[0], to(RECEIVER[1], 7)),
            }
            let state = serde_json::to_vec(&account)?.into();
            Ok(Decision { state, effects: context.into_effects()? })
        })
    }
}
