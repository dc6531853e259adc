//! Semel's queues on RabbitMQ 3.10 or later, with quorum queues and nothing but AMQP 0.9.1: no
//! plugin, no management interface.
//!
//! # What lies where
//! Names begin with [`Options::prefix`], here `semel`.
//!
//! | name | kind | holds |
//! |---|---|---|
//! | `semel.endpoint.NAME` | quorum queue | messages of the endpoint `NAME` that can be received |
//! | `semel.wait.MS.NAME` | quorum queue with a time to live | its messages that wait: delayed ones and retries |
//! | `semel.dead.NAME` | quorum queue | its dead letters |
//! | `semel.events` | direct exchange | a binding for each subscription; the key is the type |
//! | `semel.book` | quorum queue, one message | which endpoints, subscriptions and queues there are |
//! | `semel.handles`, `semel.everyone`, `semel.handle.ID` | classic queue, fanout exchange, queue of one connection | what handles ask each other |
//! | `semel.lock.book`, `semel.lock.dead.NAME` | queue of one connection | for moments: the lock of whoever reads the book or dead letters |
//! | `semel.last.ID` | quorum queue | nothing; for moments, when another queue was made before |
//!
//! They are made when they are first needed. One of another kind under such a name is an error that
//! says so, and touches nothing. A queue that somebody deletes is made again, empty; messages that
//! waited for it come within three minutes. An exchange is made again when a handle connects, and its
//! bindings when an endpoint is first used or registered in a process. The exchange `semel.events` is
//! made when the book is there to stay.
//!
//! The user needs the permissions to configure, write and read all names under the prefix, and to
//! write to the default exchange `amq.default`: `^(semel\.|amq\.default).*` for all three.
//!
//! # Messages
//! An envelope is a CloudEvent in the binary mode of the AMQP binding: attributes are headers
//! `cloudEvents:NAME` (`cloudEvents_NAME` is read too), `datacontenttype` is the property
//! `content_type`, the data is the body. A message whose content type is
//! `application/cloudevents+json` is read as a whole event. Any client may publish to the default
//! exchange with the key `semel.endpoint.NAME`, or to `semel.events` with the event's type as key.
//! It should publish with `delivery_mode` 2 and wait for the confirmation; what is sent to an
//! endpoint, with `mandatory` too. Headers `x-semel-…` hold a message's history.
//!
//! # What becomes of what
//! | Semel | RabbitMQ |
//! |---|---|
//! | send | published persistent and `mandatory`; `Sent` once the server confirmed it, and did not return it. What the server rejects, as a queue without a leader does, is published again for two seconds |
//! | receive | `basic.get`, and for more than a few a consumer whose prefetch is what was asked for, which ends with the receive. Nothing is fetched ahead |
//! | lease | the delivery is not acknowledged. The handle counts the time, and gives it back when it ends |
//! | `Ack` | acknowledged, and then a question to the queue's leader that is answered after it |
//! | `Release`, `Retry` | a copy with its history is published and confirmed; then the original is acknowledged |
//! | `DeadLetter` | the same, into `semel.dead.NAME` |
//! | delay | a queue whose time to live is the delay, rounded up by at most an eighth. What expires goes to the endpoint's queue with the strategy *at-least-once*. Longer delays than a minute take several steps, and are right to some seconds |
//! | replay, removal of a dead letter | under a lock: all dead letters of the endpoint are taken, one is decided, the others are given back |
//!
//! Whatever is cut between two of those steps ends with a message too many, never with one too few.
//! Protocols take that: duplicates are what they are for.
//!
//! # A server that is killed
//! What it confirmed is there when it is back, but for one case, seen with version 3.10 and known of
//! later ones: a quorum queue that was made less than half a second before, or up to three, has
//! forgotten its messages and stays without a leader for ever. So Semel puts nothing into a queue
//! before it is there to stay; that costs another queue, made and removed, some 40 ms for each of its
//! queues once. What a kill in between left is made again when the queue is needed. Who makes such a
//! queue himself, or writes to one that was just made, does not have that. A power cut of all
//! servers may still take a queue that was made in the last second.
//!
//! # Encryption
//! An address that begins with `amqps://` is encrypted, on port 5671 unless it names another. The
//! server's certificate must be valid for the host as it is written there, and come from an
//! authority of the system or of [`Options::root_certificates`].
//!
//! # A server that is short of memory or disk
//! It raises an alarm, and takes no message until that is over. A send then waits as long as
//! [`Options::patience`] for its end, and says which alarm it is. A message that was on its way when
//! the alarm began is unknown, for it may be queued when the alarm ends. Nothing that was confirmed is lost, and
//! receiving and acknowledging go on.
//!
//! # Limits
//! - **No order.** A message that is released or retried goes to the end of the queue.
//! - **Leases end on time only while the process and its runtime run.** The server knows none: a process that was
//!   stopped, or cut off, holds its messages until two to three heartbeats were missed
//!   ([`Options::heartbeat`]). Its receipts are `Stale` or `Unknown` afterwards, and change nothing.
//! - **No lease is longer than the server's `consumer_timeout`**, 30 minutes unless set otherwise,
//!   however often it is extended: then the server takes back what the endpoint's channel holds.
//! - **A receipt belongs to the connection that received.** Another handle may settle with it: it
//!   asks the one that holds the message. Where that lives no more, the receipt is `Stale`.
//! - **An acknowledgement is not confirmed by AMQP.** A server that loses its power in the same
//!   moment may forget one that was `Settled`: the message comes again.
//! - **Looking at dead letters reads all of an endpoint's.** It is meant for hundreds, not millions.
//!   Looking waits for others who look; it holds up no worker, and no dead letter is lost if it is
//!   cut. A replay that is cut may leave a message both replayed and dead.
//! - **What waits when its server dies may come three minutes late.** A server that starts hands on the
//!   messages whose wait is over before it has recovered its exchanges, finds none, and tries again
//!   after `dead_letter_worker_publisher_confirm_timeout` (of `rabbit`, in `advanced.config`; 180000 ms
//!   unless set; seen with version 3.10.8, whose log says `Cannot forward any dead-letter messages`).
//!   Until then it is in no count, also not in `semel inspect`. Set it to some seconds.
//! - **Long waits grow by the backlog.** A message that waits longer than a minute comes to its
//!   endpoint's queue after each step, some twenty of them in a week; how long it lies there until a
//!   worker sends it on is added.
//! - **While the server's alarm lasts, such a message cannot be sent on**: a handle that receives
//!   holds up to a hundred of them meanwhile, and other messages come past them. With more of them at
//!   the head of the queue a receive takes up to [`Options::patience`] longer.
//! - **Clocks**: waits and leases are counted, by the server and by the handles; nobody compares
//!   clocks. `dead_since` goes by the clocks of the handles. Numbers of dead letters begin with the time, and two handles draw the same number in
//!   one millisecond with a chance of 1 to 4096; receipts never stand for another's.
//! - [`Broker::subscribers`](semel_core::Broker::subscribers) reads the book under its lock, some
//!   milliseconds each; so does sending a delayed message to subscribers.
//! - Attributes travel as headers, 64 KiB of them; texts in the history of failures are shortened
//!   where they would exceed 32 KiB.
//! - [`EndpointReport::oldest`](semel_core::operator::EndpointReport::oldest) is not told: AMQP shows
//!   nobody a message without delivering it, and counts that. `in_flight` is what the living handles
//!   answer; one that does not answer in two seconds is left out, with a warning.
//! - Each step of a delay is a queue: up to a hundred for an endpoint whose delays take every value
//!   between 16 ms and a minute.

#![warn(missing_docs, clippy::print_stdout, clippy::print_stderr)]

mod book;
mod broker;
mod error;
mod graves;
mod history;
mod lane;
mod letters;
mod link;
mod making;
mod message;
mod names;
mod operator;
mod place;
mod publish;
mod sending;
mod settling;
mod taking;
mod topology;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use semel_core::{Clock, StoreError, SystemClock};

use place::Place;

/// How to use the server.
#[derive(Clone, Debug)]
pub struct Options {
    /// What the names of all queues and exchanges begin with: up to 40 letters, digits, `-`, `_`.
    pub prefix: String,
    /// How long a call waits for the server's answer. Most calls ask one to three things of it, one
    /// after the other.
    pub patience: Duration,
    /// How often client and server tell each other that they live, in whole seconds. What a
    /// process held that was stopped or cut off is given back after two to three times as long.
    pub heartbeat: Duration,
    /// The largest message, in bytes. The server's own `max_message_size` must not be smaller.
    pub message_bytes_max: usize,
    /// A file of root certificates (PEM) against which the certificate of an `amqps://` server is
    /// checked, besides those of the system.
    pub root_certificates: Option<PathBuf>,
    /// Tells since when a message is dead and an endpoint is registered. Waits and leases are counted
    /// without it.
    pub clock: Arc<dyn Clock>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            prefix: "semel".to_owned(),
            patience: Duration::from_secs(10),
            heartbeat: Duration::from_secs(10),
            message_bytes_max: 4 * 1024 * 1024,
            root_certificates: None,
            clock: Arc::new(SystemClock),
        }
    }
}

/// The queues under one prefix of a RabbitMQ server.
///
/// ```no_run
/// # async fn example(store: std::sync::Arc<dyn semel_core::Store>) -> Result<(), semel_core::StoreError> {
/// use std::sync::Arc;
///
/// use semel_rabbitmq::{Options, RabbitMq};
///
/// let address = "amqp://guest:guest@127.0.0.1:5672/%2f";
/// let queues = RabbitMq::connect(address, Options::default()).await?;
/// let backend = semel_core::Backend::apart(store, Arc::new(queues));
/// # Ok(()) }
/// ```
pub struct RabbitMq {
    place: Arc<Place>,
}

impl RabbitMq {
    /// Connects, and makes what must be there before any endpoint is.
    pub async fn connect(address: &str, options: Options) -> Result<Self, StoreError> {
        let place = Arc::new(Place::new(address, &options)?);
        place.station().await?;
        place.sends.connect().await?;
        let changed = place.held_changed.clone();
        tokio::spawn(lane::end_leases(Arc::downgrade(&place), changed));
        Ok(Self { place })
    }
}

impl fmt::Debug for RabbitMq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rabbitmq:{}", self.place.server.place)
    }
}
