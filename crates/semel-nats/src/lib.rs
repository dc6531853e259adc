//! Semel's queues on NATS JetStream.
//!
//! ```no_run
//! # async fn connect(store: std::sync::Arc<dyn semel_core::Store>) -> Result<(), semel_core::StoreError> {
//! use std::sync::Arc;
//!
//! use semel_nats::{Nats, Options};
//!
//! let nats = Nats::connect("nats://localhost:4222", Options::default()).await?;
//! let backend = semel_core::Backend::apart(store, Arc::new(nats));
//! # Ok(()) }
//! ```
//!
//! It wants a server with JetStream, 2.9 or newer, and uses nothing newer than 2.9.
//!
//! # What lies where
//! `P` is [`Options::prefix`], `E` the endpoint's name with every byte but letters, digits and `-`
//! as `=XY` (`orders.eu` becomes `orders=2Eeu`), `N` the sequence of a message in its stream.
//!
//! | what | name | subject | settings |
//! |---|---|---|---|
//! | the messages of an endpoint | stream `P_queue_E` | `P.queue.E` | work queue, file, unlimited |
//! | who gives them out | durable consumer `workers` on it | | pull, explicit ack, no `max_deliver`, `max_ack_pending` -1 |
//! | the record of a message in work | stream `P_state` | `P.state.E.N` | limits, file, one message a subject |
//! | which messages were removed a short while ago | stream `P_state` | `P.state.E=gone.ID` | one for all that went together |
//! | what endpoints registered | stream `P_state` | `P.endpoints` | one JSON document |
//!
//! What is missing is made; what is found is checked, and what would lose messages or break the
//! rules is refused with what is wrong about it. Limits of a stream (`max_bytes`) may be set by hand
//! where `discard` is `new`: a full stream refuses sends, which are tried again later.
//!
//! # How it works
//! A message never moves: it lies in its endpoint's stream until it is acknowledged or a person
//! removes it. Its *record* says what it is in: `leased` until when, `waiting` until when, `dead` why
//! and for which entity, or `done`; with the deliveries and failures so far. Records change by
//! compare-and-set alone (`Nats-Expected-Last-Subject-Sequence`), so of two workers who claim or
//! settle a message, one does, and a receipt whose message went to another settles nothing. The
//! consumer is the alarm clock that offers a message again; it is never the judge, for JetStream
//! takes a word about a message from anybody who ever got it, and answers before its replicas know.
//!
//! | Semel | NATS |
//! |---|---|
//! | send | publish with confirmation by the stream, one copy for each endpoint; never `Nats-Msg-Id` |
//! | delayed send | the header `Semel-Due`; whoever is offered it early puts it off, uncounted |
//! | subscribers | read from `P.endpoints` by the sender, once a message; copies are made by it |
//! | receive with a lease | pull; put the record `leased`; `-NAK` with the lease as delay, which makes the lease the consumer's timer |
//! | extend | put the record with its new end; `-NAK` with the new lease as delay (`+WPI` knows the consumer's one `ack_wait` alone) |
//! | `Ack` | put the record `done`; in the background remove the message, and with it the consumer's memory of it; put a gravestone, for many; remove the record |
//! | `Release`, `Retry` | put the record `waiting`, with the failure; `-NAK` with the wait as delay |
//! | `DeadLetter` | put the record `dead`; the consumer puts the message off again and again |
//! | replay | put the record `waiting` with counts of zero; `-NAK` |
//! | number of a dead letter | the sequence of its record in `P_state` |
//!
//! A settlement is decided when its record is kept, and that is when it is `Settled`. What is left
//! to do then (removing a message, for one) its worker does in the background, again and again; should
//! it die, it is done by whoever is offered the message next. Registering an endpoint sweeps up what
//! nobody is offered any more.
//!
//! A server notes a removal in its files up to two minutes later: killed before, it has the message
//! again. So a settled message is removed, then a *gravestone* names it and the others that were
//! removed in the same moment, and only then its record goes. Gravestones stay for five minutes in which
//! there is a server, and every handle reads them after a cut, when the server may have been killed, and
//! after a receive that failed: nobody gets what they name.
//!
//! The highest message of a queue stays in its stream when it is done, with its record, until there
//! is a higher one: see below what a server does else. Nobody is offered or shown it again.
//!
//! A message costs one request to send it and four from its receipt to its end, two of which somebody
//! waits for: its record, and `done`; then, in the background, the removal of the message and of the
//! record. The consumer is told of the lease without waiting for its word. Extending a lease is two.
//!
//! # Other languages
//! Messages are CloudEvents in the binary mode of the NATS binding: attributes as headers `ce-…`,
//! data as payload. Anybody may publish to `P.queue.E`, with a JetStream publish, so that it is
//! confirmed; the structured JSON mode (`content-type: application/cloudevents+json`) is read as
//! well. Anybody may serve an endpoint by pulling from `workers` and acknowledging. Headers of
//! ours that others may ignore: `Semel-Hints` (which extension attributes are no text) and
//! `Semel-Due`. A message that is no CloudEvent is delivered as undecodable, its bytes kept; so is
//! one whose headers our client cannot even read, which is found after it has cut the connection.
//!
//! # Permissions
//! The user subscribes to `_INBOX.>` and publishes to these; `S` is `P_state` and each `P_queue_E`:
//!
//! | subject | for |
//! |---|---|
//! | `P.>` | messages, records, registrations |
//! | `$JS.API.INFO`, `$JS.API.STREAM.INFO.S` | checking what is there |
//! | `$JS.API.STREAM.CREATE.S`, `$JS.API.CONSUMER.DURABLE.CREATE.S.workers` | making what is missing; not needed where all is made by hand |
//! | `$JS.API.STREAM.MSG.GET.S`, `$JS.API.STREAM.MSG.DELETE.S` | reading and removing messages and records |
//! | `$JS.API.CONSUMER.INFO.S.workers`, `$JS.API.CONSUMER.MSG.NEXT.S.workers`, `$JS.ACK.S.>`, `$JS.API.CONSUMER.DELETE.S.workers` | receiving; the last, after a cut, for a consumer that forgot messages |
//! | `$JS.API.STREAM.NAMES`, `$JS.API.CONSUMER.CREATE.P_state`, `$JS.API.CONSUMER.MSG.NEXT.P_state.*`, `$JS.API.CONSUMER.DELETE.P_state.*` | receiving, to read gravestones; the server's time, inspecting, dead letters, and the sweep of a registration |
//!
//! A server does not answer what it forbids; the error then quotes its complaint.
//!
//! # Limits and weaknesses
//! - **Durability is the server's.** It confirms a message when it is written, and forces it to the
//!   disk every two minutes (`sync_interval`): a single server survives its own death, not a power
//!   cut. Use three replicas ([`Options::replicas`]); a confirmed send then survives the loss of any
//!   one server.
//! - **A server of version 2.9 that is killed while the highest message of a stream is removed counts
//!   on from a lower sequence.** It then loses messages that it confirms later: they lie under the
//!   numbers of removed ones, and are gone at once, or are never offered to a consumer that is further
//!   than that. Seen with 2.9.10 and a plain client that erases the only message: within some ten
//!   kills. A plain acknowledgement of the highest message takes the sequence back as well. Semel
//!   therefore never removes the highest message or record that it knows of (`tops.rs`); a plain client
//!   that did the same lost nothing in some 160 kills. Whoever serves an endpoint by acknowledging in another
//!   language has no such protection; of what it brings about, Semel notices a consumer that is ahead of
//!   its stream, and makes that anew.
//! - No order per partition key ([`Ordering::None`](semel_core::broker::Ordering::None)).
//! - A message may have the server's `max_payload` less 64 KiB, and 63 KiB of attributes; what is
//!   larger is refused before it is sent. Reasons of failures are cut at 8 KiB.
//! - A copy for each subscriber is a publish of its own. Where one of them is not confirmed, the
//!   send is unknown, and is sent again to all.
//! - A request that was cut may land late: a lost publish is unknown, and may be there twice.
//! - Leases and delays go by the server's clock: each handle asks once a minute, and after each cut,
//!   how far its own is from it, and minds what is half a second or more. A clock that jumps is off
//!   until then: messages are taken too early, and the fence of their records holds; or later.
//! - A server that notes removals less often than every five minutes (`sync_interval`), and is killed,
//!   may offer once more what was settled before that: protocols with an inbox recognise it.
//! - The records of all endpoints of a place share one stream. Where its leader is the bottleneck,
//!   use several prefixes.
//! - The consumer walks over all messages in work, delayed and dead whenever a timer ends: many
//!   ten thousands of them cost it time.
//! - Inspecting reads all records.
//! - Server 2.9.10 was seen to die (a nil pointer in `jsMsgGetRequest`) when it was asked for the
//!   last message of a subject after it had been killed before; Semel therefore asks for the first
//!   of one. Newer servers are the better choice.
//! - Each lease shows as a `-NAK` in JetStream's advisories and counts of redeliveries, which
//!   therefore tell nothing about failures; `semel inspect` and the dead letters do.
//! - Deleting `P_state` by hand forgets leases, histories and which messages are dead: dead letters
//!   are then delivered again. Back up and restore all streams of a place together.

#![warn(missing_docs, clippy::print_stdout, clippy::print_stderr)]

mod broker;
mod clock;
mod connect;
mod error;
mod gravestone;
mod message;
mod names;
mod operator;
mod options;
mod quarantine;
mod receipt;
mod receive;
mod record;
mod registry;
mod removal;
mod send;
mod settle;
mod stored;
mod topology;
mod tops;
mod wire;

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use semel_core::StoreError;
use semel_core::store::Trouble;

use clock::ServerClock;
use message::HEADER_BYTES_MAX;
use names::Names;
use removal::{Removals, Remover};
use topology::Queue;
use tops::Tops;
use wire::Wire;

pub use options::{Encryption, Login, Options};

/// The most deliveries of one receive.
const RECEIVE_MAX: usize = 256;

/// A place for queues on a NATS server or cluster with JetStream.
pub struct Nats {
    wire: Wire,
    names: Names,
    options: Options,
    /// How the place is called in errors and messages, without secrets.
    place: String,
    clock: ServerClock,
    /// The queues that are known to be there.
    known: Mutex<HashMap<String, Arc<Queue>>>,
    /// The highest message of each stream that we know of.
    tops: Arc<Tops>,
    /// Settled messages that are still to be removed.
    removals: Arc<Removals>,
    _remover: Remover,
    /// The newest revision of the registrations that we know of.
    registry_seen: AtomicU64,
}

impl Nats {
    /// Connects to `nats://host:4222`; several servers of a cluster with commas between.
    ///
    /// Fails where no server answers, where it does not let us in, where JetStream is off, and
    /// where something else lies under our names.
    pub async fn connect(address: &str, options: Options) -> Result<Self, StoreError> {
        let addresses: Vec<&str> = address.split(',').map(str::trim).collect();
        let place = format!("nats:{}/{}", without_secrets(&addresses), options.prefix);
        let Some(names) = Names::new(&options.prefix) else {
            let reason = format!("`{}` cannot begin the name of a stream", options.prefix);
            let help = "Choose a prefix of up to 60 letters, digits and `-`.";
            return Err(error::new(&place, Trouble::Unsupported, "connect", reason, help));
        };
        let wire = connect::connect(&place, &addresses, &options).await?;
        let clock = ServerClock::new(options.clock.clone());
        let tops = Arc::new(Tops::default());
        let removals = Removals::new(wire.clone(), names.clone(), place.clone(), tops.clone());
        let removals = Arc::new(removals);
        let remover = removals.start();
        let nats = Self {
            wire,
            names,
            options,
            place,
            clock,
            known: Mutex::default(),
            tops,
            removals,
            _remover: remover,
            registry_seen: AtomicU64::new(0),
        };
        nats.ensure_state().await?;
        nats.set_clock().await;
        Ok(nats)
    }

    /// The first part of the names of this place.
    pub fn prefix(&self) -> &str {
        self.names.prefix()
    }

    /// The most bytes that one message may have on the wire, headers included.
    fn payload_max(&self) -> usize {
        self.wire.client.max_payload()
    }

    /// What is left for an envelope beside its headers.
    fn message_bytes_max(&self) -> usize {
        let payload = self.payload_max();
        payload.saturating_sub(HEADER_BYTES_MAX + 1024).max(payload / 2)
    }

    fn queues(&self) -> MutexGuard<'_, HashMap<String, Arc<Queue>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Nats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.place)
    }
}

/// Addresses without user and password.
fn without_secrets(addresses: &[&str]) -> String {
    let hosts = addresses.iter().map(|address| {
        let host = address.rsplit_once('@').map_or(*address, |(_, host)| host);
        host.strip_prefix("nats://").or(host.strip_prefix("tls://")).unwrap_or(host)
    });
    hosts.collect::<Vec<_>>().join(",")
}
