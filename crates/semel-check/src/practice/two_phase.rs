//! A model of two-phase commit across a database and a broker. Not for use.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join;
use semel_core::protocols::{Kept, Outcome, Places, Step, Work};
use semel_core::store::{Change, Expect, Item, ItemKey, Keep, Page, Space, Version};
use semel_core::{StoreError, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::BROKER;
use super::kit;

/// How many transactions recovery looks at in one go.
const PAGE: usize = 100;
/// How long what was decided, and what was consumed, is remembered.
const LOG: Duration = Duration::from_secs(7 * 86_400);
/// After how long recovery takes the coordinator of a transaction for dead.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A model of two-phase commit (XA), not for use. The database prepares the state and locks its row,
/// the broker prepares the messages and the consumption of the delivery, the coordinator writes its
/// decision, and then both commit, in any order. Who dies in between leaves a row that is locked
/// until the coordinator is back: nothing is lost, and nobody else can change that row.
///
/// Simplified: coordinator, prepared state and prepared messages are items of one store. The returned
/// coordinator is the finisher; it ends transactions that are a minute old. Votes
/// against are conflicts. The handler runs before the row is locked, and a row that has changed
/// since is a vote against. A transaction is named by the version of its lock. The broker has no memory of ids: what a sender sends twice is processed twice.
#[derive(Clone, Copy, Debug)]
pub struct TwoPhase;

kit::model!(TwoPhase = "two-phase-commit", needs Queue {
    async fn finish(&self, endpoint: &str, places: Places<'_>) -> Result<usize, StoreError> {
        let mut ended = 0;
        let page = Page { space: Space::Token, after: None, limit: PAGE };
        let items = places.store.list(&page).await?;
        let owners = [locks(endpoint).partition, prepared(endpoint).partition];
        for item in items.iter().filter(|item| owners.contains(&item.key.partition)) {
            match recover(endpoint, places, item).await {
                Ok(()) => ended += 1,
                Err(Outcome::Unavailable(error) | Outcome::Broken(error)) => return Err(error),
                // Someone else ends it.
                Err(_) => {}
            }
        }
        Ok(ended)
    }
});

/// What one of the two has promised to be able to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Prepared {
    /// Its name, at the broker.
    transaction: Option<String>,
    began_ms: i64,
    entity: String,
    /// The new state, at the database.
    state: Option<Box<RawValue>>,
    /// Which version of the entity it replaces.
    replaces: Option<String>,
    /// The messages, at the broker.
    messages: Vec<Kept>,
    /// Which copy of the message it consumes.
    copy: String,
}

impl TwoPhase {
    async fn attempt(&self, work: &Work<'_>) -> Result<Outcome, Outcome> {
        let places = work.places;
        let staged = ItemKey { key: kit::copy_of(work).to_owned(), ..prepared(work.endpoint) };
        if places.store.read(&staged).await?.is_some() {
            return Err(kit::busy("the delivery is part of another transaction"));
        }
        let (before, expect) = kit::load(work).await?;
        let (state, messages) = kit::decide(work, before).await?;
        let transaction = Prepared {
            transaction: None,
            began_ms: places.clock.now().unix_ms(),
            entity: work.entity.to_owned(),
            state: Some(raw(&state)?),
            replaces: match expect {
                Expect::Version(version) => Some(version.as_str().to_owned()),
                Expect::Absent | Expect::Anything => None,
            },
            messages: Kept::all(&messages)?,
            copy: kit::copy_of(work).to_owned(),
        };

        work.begin(Step::StageEffects);
        let at_store = Prepared { messages: Vec::new(), ..transaction.clone() };
        let lock = ItemKey { key: work.entity.to_owned(), ..locks(work.endpoint) };
        let lock =
            prepare(places, lock, &at_store, None).await.map_err(|outcome| match outcome {
                Outcome::Conflict => kit::busy("the row is locked"),
                outcome => outcome,
            })?;
        if !is_as_it_was(places, &work.entity_key(), &at_store).await? {
            give_up(places, &lock).await?;
            return Err(Outcome::Conflict);
        }
        let name = lock.1.as_str().to_owned();
        let at_broker = Prepared { state: None, transaction: Some(name.clone()), ..transaction };
        let unless = consumed(work.endpoint, &at_broker.copy);
        let staged = match prepare(places, staged, &at_broker, Some(unless)).await {
            Ok(staged) => staged,
            Err(Outcome::Conflict) => {
                give_up(places, &lock).await?;
                return self.unless_consumed(work).await;
            }
            Err(outcome) => return Err(outcome),
        };

        work.begin(Step::CommitState);
        decide(places, log(work.endpoint, work.entity, &name), COMMIT).await?;
        let (at_store, at_broker) = join(
            commit_at_store(work.endpoint, places, &lock, &at_store),
            commit_at_broker(work.endpoint, places, &staged, &at_broker),
        )
        .await;
        at_store.and(at_broker)?;
        Ok(work.ack(Outcome::Processed).await)
    }

    /// A broker would not have delivered again what is consumed.
    async fn unless_consumed(&self, work: &Work<'_>) -> Result<Outcome, Outcome> {
        work.begin(Step::CheckInbox);
        let consumed = consumed(work.endpoint, kit::copy_of(work));
        match work.places.store.read(&consumed).await? {
            Some(_) => Ok(work.ack(Outcome::Duplicate).await),
            None => Err(kit::busy("the delivery is part of another transaction")),
        }
    }
}

const COMMIT: &str = "commit";
const ABORT: &str = "abort";

/// Writes the decision down: the first one counts.
async fn decide(places: Places<'_>, key: ItemKey, decision: &'static str) -> Result<(), Outcome> {
    let value = Bytes::from_static(decision.as_bytes());
    let put = Change::Put { key, value, expect: Expect::Absent, keep: Keep::For(LOG) };
    places.write(vec![put]).await.map(drop)
}

/// Ends what a coordinator left: as it was decided, or else by giving it up.
async fn recover(endpoint: &str, places: Places<'_>, item: &Item) -> Result<(), Outcome> {
    let left: Prepared = kit::read(item)?;
    let began = Timestamp::from_unix_ms(left.began_ms);
    if places.clock.now().since(began) < TIMEOUT {
        return Ok(());
    }
    let handle = (item.key.clone(), item.version.clone());
    let name = left.transaction.as_deref().unwrap_or(item.version.as_str());
    let log = log(endpoint, &left.entity, name);
    let mut decision = places.store.read(&log).await?;
    if decision.is_none() {
        match decide(places, log.clone(), ABORT).await {
            Ok(()) | Err(Outcome::Conflict) => decision = places.store.read(&log).await?,
            Err(outcome) => return Err(outcome),
        }
    }
    if decision.is_none_or(|decision| decision.value != COMMIT) {
        return places.write(vec![delete(&handle)]).await.map(drop);
    }
    match left.transaction {
        Some(_) => commit_at_broker(endpoint, places, &handle, &left).await,
        None => commit_at_store(endpoint, places, &handle, &left).await,
    }
}

/// The database makes the state visible and opens its lock.
async fn commit_at_store(
    endpoint: &str,
    places: Places<'_>,
    lock: &(ItemKey, Version),
    of: &Prepared,
) -> Result<(), Outcome> {
    let state = of.state.as_deref().map_or("null", RawValue::get);
    let put = Change::Put {
        key: ItemKey::new(Space::Entity, endpoint, &*of.entity),
        value: Bytes::copy_from_slice(state.as_bytes()),
        expect: of
            .replaces
            .clone()
            .map_or(Expect::Absent, |version| Expect::Version(Version::new(version))),
        keep: Keep::Always,
    };
    places.write(vec![put, delete(lock)]).await.map(drop)
}

/// The broker makes the messages visible and forgets the delivery.
async fn commit_at_broker(
    endpoint: &str,
    places: Places<'_>,
    staged: &(ItemKey, Version),
    of: &Prepared,
) -> Result<(), Outcome> {
    let consume = Change::Put {
        key: consumed(endpoint, &of.copy),
        value: Bytes::from_static(b"consumed"),
        expect: Expect::Anything,
        keep: Keep::For(LOG),
    };
    let mut changes = vec![delete(staged), consume];
    changes.extend(Kept::outgoing(&of.messages)?.into_iter().map(Change::Enqueue));
    places.write(changes).await.map(drop)
}

async fn is_as_it_was(
    places: Places<'_>,
    entity: &ItemKey,
    of: &Prepared,
) -> Result<bool, Outcome> {
    let now = places.store.read(entity).await?;
    Ok(now.as_ref().map(|item| item.version.as_str()) == of.replaces.as_deref())
}

/// Writes down what one of the two promises, unless it has promised something else already, or there
/// is the item `unless`.
async fn prepare(
    places: Places<'_>,
    key: ItemKey,
    of: &Prepared,
    unless: Option<ItemKey>,
) -> Result<(ItemKey, Version), Outcome> {
    let value = kit::bytes(of)?;
    let put = Change::Put { key: key.clone(), value, expect: Expect::Absent, keep: Keep::Always };
    let is_absent = |key| Change::Delete { key, expect: Expect::Absent };
    let changes = [put].into_iter().chain(unless.map(is_absent)).collect();
    let versions = places.write(changes).await?;
    let version = versions.into_iter().flatten().next().ok_or(Outcome::Conflict)?;
    Ok((key, version))
}

/// A vote against: the row is open again.
async fn give_up(places: Places<'_>, lock: &(ItemKey, Version)) -> Result<(), Outcome> {
    places.write(vec![delete(lock)]).await.map(drop)
}

fn raw(state: &[u8]) -> Result<Box<RawValue>, Outcome> {
    serde_json::from_slice(state).map_err(|error| kit::unreadable(&error))
}

fn delete((key, version): &(ItemKey, Version)) -> Change {
    Change::Delete { key: key.clone(), expect: Expect::Version(version.clone()) }
}

/// The rows that transactions have locked at the database: the first of their names.
fn locks(endpoint: &str) -> ItemKey {
    ItemKey::new(Space::Token, endpoint, "")
}

/// What the broker has prepared: the first of the names.
fn prepared(endpoint: &str) -> ItemKey {
    ItemKey::new(Space::Token, format!("{BROKER}{endpoint}"), "")
}

fn consumed(endpoint: &str, copy: &str) -> ItemKey {
    ItemKey::new(Space::Inbox, format!("{BROKER}{endpoint}"), copy)
}

fn log(endpoint: &str, entity: &str, transaction: &str) -> ItemKey {
    ItemKey::new(Space::Reply, endpoint, format!("{entity} {transaction}"))
}
