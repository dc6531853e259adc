//! The edge itself.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use bytes::Bytes;
use semel_core::broker::Outgoing;
use semel_core::context::{Context, outgoing};
use semel_core::envelope::CONVERSATION;
use semel_core::protocols::{Step, grant};
use semel_core::store::{Change, Expect, ItemKey, Keep, QueueHome};
use semel_core::{Backend, Envelope, Store, ids};

use crate::attempt::{Attempt, Fate, Tries};
use crate::document::{Document, KeyRecord, Loaded, decode, encode, key_place};
use crate::outbox::{self, Finisher, Record};
use crate::turns::{Turn, Turns};
use crate::{DataSet, DataSetId, EdgeError, Problem, Reply, Settings, Submission, Tokens};

/// The outer, synchronous part of a system: private data sets, and what is done with each once.
///
/// ```
/// use std::sync::Arc;
///
/// use axum::extract::{Path, State};
/// use axum::http::StatusCode;
/// use axum::routing::post;
/// use semel_core::{Backend, Message};
/// use semel_http::*;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// struct Cart {
///     gifts: Vec<String>,
/// }
///
/// impl DataSet for Cart {
///     const KIND: &'static str = "cart";
/// }
///
/// #[derive(Serialize, Deserialize)]
/// struct PlaceOrder {
///     order: String,
///     gifts: Vec<String>,
/// }
///
/// impl Message for PlaceOrder {
///     const TYPE: &'static str = "order.place";
/// }
///
/// /// However often it is called for a cart: one order, and the same answer.
/// async fn order(
///     State(edge): State<Edge>,
///     Path(cart): Path<DataSetId>,
///     key: IdempotencyKey,
///     fingerprint: Fingerprint,
/// ) -> Result<Reply, Problem> {
///     let submission = Submission::new(key, fingerprint);
///     edge.act(&cart, "order", submission, |cart: &mut Cart, ctx| {
///         if cart.gifts.is_empty() {
///             return Err(Problem::new(StatusCode::CONFLICT, "The cart is empty."));
///         }
///         let order = ctx.new_id().to_string();
///         ctx.send("orders", PlaceOrder { order: order.clone(), gifts: cart.gifts.clone() });
///         Reply::json(StatusCode::CREATED, &order)
///     })
///     .await
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("shop.db");
/// let file = semel_sqlite::Sqlite::open(path)?;
/// let edge = Edge::new(Backend::in_one(Arc::new(file)))?;
/// let cart = edge.create(Cart { gifts: vec!["sledge".to_owned()] }).await?;
/// edge.change(&cart, |cart: &mut Cart| Ok(cart.gifts.push("kite".to_owned()))).await?;
/// assert_eq!(edge.read::<Cart>(&cart).await?.gifts, ["sledge", "kite"]);
///
/// let app: axum::Router =
///     axum::Router::new().route("/carts/{cart}/order", post(order)).with_state(edge);
/// # Ok(()) }
/// ```
///
/// # Promise
/// - An action happens to a data set once, whatever is sent twice, in parallel, through several
///   processes, or after a crash at any point: its messages are queued once, and everyone gets the
///   same [`Reply`]. Where the queue lives outside the store they are queued at least once, under
///   the same identity, soon after the answer: by any edge on the store, to the broker that it has.
///   So all edges on a store have one broker; and before a store is opened without it, let nothing
///   wait in its outbox (`semel inspect` shows that).
/// - Nothing is durable before the one batch, so a crash or a client that went away frees its key.
/// - An error answer other than [`OUTCOME_UNKNOWN`](crate::problem::OUTCOME_UNKNOWN) means that
///   the request changed nothing.
///
/// Dropping the future of any call is safe, as axum does when a client goes away; what it had given
/// to the store may still become durable. To bound a request as a whole, put a timeout around it.
#[derive(Clone, Debug)]
pub struct Edge {
    backend: Backend,
    settings: Settings,
    turns: Turns,
    /// Where the queue lives outside the store.
    finisher: Option<Arc<Finisher>>,
}

impl Edge {
    /// An edge with the default [`Settings`].
    pub fn new(backend: Backend) -> Result<Self, EdgeError> {
        Self::with(backend, Settings::default())
    }

    /// An edge that works as `settings` say.
    pub fn with(backend: Backend, settings: Settings) -> Result<Self, EdgeError> {
        EdgeError::check(&backend)?;
        let is_apart = backend.queue() == QueueHome::Elsewhere;
        let finisher = is_apart.then(|| Finisher::start(&backend, settings.finish_every));
        Ok(Self { backend, settings, turns: Turns::default(), finisher })
    }

    /// Keeps a new data set, under an id that nobody can guess.
    ///
    /// Where the outcome stays unknown, a data set may be left whose id nobody has.
    pub async fn create<S: DataSet>(&self, data: S) -> Result<DataSetId, Problem> {
        let document = Document { attempt: self.mint(), data, replies: Default::default() };
        let value = encode(&document)?;
        let mut tries = self.tries();
        while tries.take() {
            let id = DataSetId::new(self.mint());
            let place = id.place::<S>()?;
            let put = put_entity(&place, value.clone(), Expect::Absent);
            let attempt = Attempt { place, base: None, id: document.attempt, changes: vec![put] };
            match attempt.commit(self.store(), &mut tries).await? {
                Fate::Committed => return Ok(id),
                // The random source repeated itself: that id is someone else's.
                Fate::Lost | Fate::Overtaken => {}
                Fate::Unknown => {
                    let detail = "It is not known whether this was created. If it was, nobody has \
                                  its id: send the request again.";
                    return Err(Problem::outcome_unknown(detail));
                }
            }
        }
        Err(Problem::busy())
    }

    /// Reads a data set.
    pub async fn read<S: DataSet>(&self, id: &DataSetId) -> Result<S, Problem> {
        let loaded = self.load(&id.place::<S>()?).await?;
        Ok(loaded.document.data)
    }

    /// Changes a data set, and returns what `work` returns.
    ///
    /// `work` runs again where another process changed the data set meanwhile; what counts is its
    /// last run. It must not block. A [`Problem`] that it returns is the answer, and changes
    /// nothing.
    ///
    /// A change is not recognised when the client sends it again: make it one that may be repeated
    /// (set the quantity to 3), or an action.
    pub async fn change<S: DataSet, T: Send>(
        &self,
        id: &DataSetId,
        mut work: impl FnMut(&mut S) -> Result<T, Problem> + Send,
    ) -> Result<T, Problem> {
        let place = id.place::<S>()?;
        let _turn = self.turn(&place).await?;
        let mut tries = self.tries();
        while tries.take() {
            let Loaded { mut document, version } = self.load::<S>(&place).await?;
            let answer = contained(|| work(&mut document.data))?;
            document.attempt = self.mint();
            let put = put_entity(&place, encode(&document)?, Expect::Version(version.clone()));
            let attempt = Attempt {
                place: place.clone(),
                base: Some(version),
                id: document.attempt,
                changes: vec![put],
            };
            match attempt.commit(self.store(), &mut tries).await? {
                Fate::Committed => return Ok(answer),
                Fate::Lost => {}
                // Those who came later hide whether it had happened before them.
                Fate::Overtaken | Fate::Unknown => {
                    let detail = "It is not known whether this change took effect. Read the data, \
                                  and send the change again if it is missing.";
                    return Err(Problem::outcome_unknown(detail));
                }
            }
        }
        Err(Problem::busy())
    }

    /// Does something with a data set that is done once: `action` names it within the kind.
    ///
    /// The first time, `work` changes the data set, declares messages on the [`Context`], and
    /// returns the response; all three become durable in one batch. Every later time, whatever the
    /// key, the answer is that response, and `work` does not run. `work` runs again where another
    /// process changed the data set meanwhile; what counts is its last run. It must not block.
    ///
    /// A [`Problem`] that `work` returns is the answer, changes nothing, and frees the key: it
    /// speaks of the data set as it is now, and remembering it would keep the client from doing
    /// what was refused (an empty cart) once that is mended.
    ///
    /// The messages come from `/edge/KIND`. Their ids, and those of [`Context::new_id`], are
    /// derived from kind, id, action and position. All messages of a data set belong to one
    /// conversation, whose id is derived as well and tells nobody the id of the data set.
    pub async fn act<S: DataSet>(
        &self,
        id: &DataSetId,
        action: &str,
        submission: Submission,
        mut work: impl FnMut(&mut S, &mut Context) -> Result<Reply, Problem> + Send,
    ) -> Result<Reply, Problem> {
        let place = id.place::<S>()?;
        if let Some(finisher) = &self.finisher {
            finisher.ensure(&self.backend, self.settings.finish_every);
        }
        let request = Request { cause: cause::<S>(id, action), action, submission, place };
        let _turn = self.turn(&request.place).await?;
        let mut tries = self.tries();
        let mut in_doubt = false;
        while tries.take() {
            let loaded = match self.recall::<S>(&request).await {
                Ok(Recalled::Reply(reply)) => return Ok(reply),
                // The action has not happened to this version or any before.
                Ok(Recalled::Open(loaded)) => loaded,
                Err(problem) if in_doubt && problem.status().is_server_error() => break,
                Err(problem) => return Err(problem),
            };
            let Decided { attempt, reply, record } = self.decide(&request, loaded, &mut work)?;
            request.begin(Step::CommitState);
            match attempt.commit(self.store(), &mut tries).await? {
                Fate::Committed => {
                    if let Some(record) = record {
                        request.begin(Step::Dispatch);
                        record.dispatch(self.backend.clone());
                    }
                    return Ok(reply);
                }
                Fate::Lost => in_doubt = false,
                Fate::Overtaken => in_doubt = true,
                Fate::Unknown => {
                    in_doubt = true;
                    break;
                }
            }
        }
        if !in_doubt {
            return Err(Problem::busy());
        }
        let detail = "It is not known whether this was done. Send the same request again, \
                      unchanged: it is not done twice.";
        Err(Problem::outcome_unknown(detail))
    }

    /// What was answered before, or the data set that the action has not happened to.
    async fn recall<S: DataSet>(&self, request: &Request<'_>) -> Result<Recalled<S>, Problem> {
        // The data set first: a record that is written in between changes its version too, so that
        // the batch conflicts.
        request.begin(Step::LoadEntity);
        let mut loaded = self.load::<S>(&request.place).await?;
        request.begin(Step::CheckInbox);
        if let Some(key) = &request.submission.key
            && let Some(item) = self.store().read(&key_place(&request.place, key)).await?
        {
            let record: KeyRecord = decode(&item)?;
            let is_same = record.action == request.action
                && record.fingerprint == request.submission.fingerprint;
            return if is_same {
                Ok(Recalled::Reply(record.reply))
            } else {
                Err(Problem::key_reused())
            };
        }
        Ok(match loaded.document.replies.remove(request.action) {
            Some(reply) => Recalled::Reply(reply),
            None => Recalled::Open(loaded),
        })
    }

    /// Runs the user's function, and writes down what shall become durable together.
    fn decide<S: DataSet>(
        &self,
        request: &Request<'_>,
        loaded: Loaded<S>,
        work: &mut impl FnMut(&mut S, &mut Context) -> Result<Reply, Problem>,
    ) -> Result<Decided, Problem> {
        request.begin(Step::RunHandler);
        let Loaded { mut document, version } = loaded;
        let now = self.backend.clock().now();
        let mut context = Context::new(request.cause.id.clone(), now);
        let reply = contained(|| work(&mut document.data, &mut context))?;
        reply.check()?;
        let effects = context.into_effects().map_err(Problem::internal)?;

        document.attempt = self.mint();
        document.replies.insert(request.action.to_owned(), reply.clone());
        let value = encode(&document)?;
        let mut changes = vec![put_entity(&request.place, value, Expect::Version(version.clone()))];
        if let Some(key) = &request.submission.key {
            let record = KeyRecord {
                action: request.action.to_owned(),
                fingerprint: request.submission.fingerprint.clone(),
                reply: reply.clone(),
            };
            changes.push(Change::Put {
                key: key_place(&request.place, key),
                value: encode(&record)?,
                // A late copy is kept out by the version beside it.
                expect: Expect::Absent,
                keep: Keep::For(self.settings.window),
            });
        }
        let messages = outgoing(&outbox::partition(S::KIND), &request.cause, effects, now);
        let mut to_send = Vec::new();
        for message in messages {
            let (message, token) = self.granted(message);
            match self.backend.queue() {
                QueueHome::Inside => changes.push(Change::Enqueue(message)),
                QueueHome::Elsewhere => to_send.push(message),
            }
            changes.extend(token);
        }
        let mut record = None;
        if !to_send.is_empty() {
            let written = Record::new(S::KIND, &request.cause.id, to_send);
            changes.push(written.change(&self.backend)?);
            record = Some(written);
        }
        let place = request.place.clone();
        let attempt = Attempt { place, base: Some(version), id: document.attempt, changes };
        Ok(Decided { attempt, reply, record })
    }

    /// A message with the token that it comes with, if any, and the change that makes that token.
    ///
    /// Each attempt mints its tokens, and a late or repeated batch would revive one that was
    /// consumed. None can: beside it stands a change on condition of the data set's version, which
    /// never repeats. So of all batches of an action, whichever comes when, one is applied, once.
    fn granted(&self, message: Outgoing) -> (Outgoing, Option<Change>) {
        match &self.settings.tokens {
            Tokens::None => (message, None),
            Tokens::InRealm(realm) => {
                grant(message, realm, &**self.backend.clock(), &**self.backend.entropy())
            }
        }
    }

    async fn load<S: DataSet>(&self, place: &ItemKey) -> Result<Loaded<S>, Problem> {
        let item = self.store().read(place).await?.ok_or_else(Problem::unknown_id)?;
        Ok(Loaded { document: decode(&item)?, version: item.version })
    }

    async fn turn(&self, place: &ItemKey) -> Result<Turn, Problem> {
        self.turns.take(place, self.settings.wait_max).await.ok_or_else(Problem::in_progress)
    }

    fn tries(&self) -> Tries {
        Tries::new(self.settings.tries_max, self.settings.pause)
    }

    fn mint(&self) -> uuid::Uuid {
        ids::mint(&**self.backend.clock(), &**self.backend.entropy())
    }

    fn store(&self) -> &dyn Store {
        &**self.backend.store()
    }
}

/// A request for an action.
struct Request<'a> {
    /// The request as a message: what its effects are derived from.
    cause: Envelope,
    action: &'a str,
    submission: Submission,
    place: ItemKey,
}

impl Request<'_> {
    /// Marks the beginning of a step in the trace.
    fn begin(&self, step: Step) {
        let (action, request) = (self.action, &self.cause.id);
        tracing::trace!(target: "semel::step", step = ?step, action, request);
    }
}

/// What the user's function decided: nothing of it is durable yet.
struct Decided {
    attempt: Attempt,
    reply: Reply,
    /// The messages, where the queue lives outside the store.
    record: Option<Record>,
}

enum Recalled<S> {
    Reply(Reply),
    Open(Loaded<S>),
}

fn cause<S: DataSet>(id: &DataSetId, action: &str) -> Envelope {
    let identity = ids::derive(&["edge", S::KIND, id.as_str(), action]).to_string();
    let conversation = ids::derive(&["edge", S::KIND, id.as_str()]).to_string();
    let mut cause = Envelope::new(identity, format!("/edge/{}", S::KIND), action, Bytes::new());
    cause.set_text(CONVERSATION, conversation);
    cause
}

fn put_entity(place: &ItemKey, value: Bytes, expect: Expect) -> Change {
    Change::Put { key: place.clone(), value, expect, keep: Keep::Always }
}

/// Runs the user's function. If it panics, what it changed is thrown away, so that nothing broken
/// is seen after.
fn contained<T>(work: impl FnOnce() -> Result<T, Problem>) -> Result<T, Problem> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_| Err(Problem::internal("the function of a request panicked")))
}
