//! Group commit: many requests, few commits, and each answer is that of a request alone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bytes::Bytes;
use rusqlite::params;
use semel_core::broker::{Outgoing, Receipt, SendOutcome, SettleOutcome, Settlement};
use semel_core::store::{Change, Expect, ItemKey, Space, Version, WriteOutcome};
use semel_core::{Broker, Store};
use semel_sqlite::Sqlite;

use crate::model::{Ask, BYTES_MAX, Model, Record, Told, Versioned};
use crate::rig::{
    LEASE, RELEASE, Rig, Scatter, applied, dead_letter, entity, failure, inbox, list,
};
use crate::rig::{message, put, put_if, queued, take};

/// Asks all in this order, while another holds the lock, so that they share a transaction.
async fn ask_together(rig: &Rig, file: &Arc<Sqlite>, asks: &[Ask]) -> Vec<Seen> {
    let lock = rig.lock();
    let begun = Arc::new(AtomicUsize::new(0));
    let asked: Vec<_> = asks
        .iter()
        .map(|ask| {
            let (file, ask, begun) = (file.clone(), ask.clone(), begun.clone());
            tokio::spawn(async move {
                begun.fetch_add(1, Ordering::SeqCst);
                put_to(&file, ask).await
            })
        })
        .collect();
    // This runtime has one thread and keeps the order; what has begun has been put.
    while begun.load(Ordering::SeqCst) < asks.len() {
        tokio::task::yield_now().await;
    }
    drop(lock);
    let mut seen = Vec::new();
    for asked in asked {
        seen.push(asked.await.unwrap());
    }
    seen
}

/// What the file answered, and the versions in it.
type Seen = (Told, Vec<Option<Version>>);

async fn put_to(file: &Sqlite, ask: Ask) -> Seen {
    let told = match ask {
        Ask::Write(changes) => match file.write(changes).await {
            WriteOutcome::Applied(versions) => {
                let left = versions.iter().map(|version| match version {
                    Some(_) => Versioned::Yes,
                    None => Versioned::No,
                });
                return (Told::Applied(left.collect()), versions);
            }
            WriteOutcome::Conflict(at) => Told::Conflict(at),
            WriteOutcome::Refused(error) => Told::Refused(error.trouble),
            WriteOutcome::Unknown(error) => panic!("{error}"),
        },
        Ask::Send(messages) => Told::Sent(
            file.send(messages)
                .await
                .into_iter()
                .map(|outcome| match outcome {
                    SendOutcome::Sent => Ok(()),
                    SendOutcome::Refused(error) => Err(error.trouble),
                    SendOutcome::Unknown(error) => panic!("{error}"),
                })
                .collect(),
        ),
        Ask::Settle(receipt, settlement) => match file.settle(&receipt, settlement).await {
            SettleOutcome::Settled => Told::Settled,
            SettleOutcome::Stale => Told::Stale,
            SettleOutcome::Unknown(error) => panic!("{error}"),
        },
        Ask::Extend(receipts) => Told::Leases(file.extend(&receipts, LEASE).await.unwrap()),
    };
    (told, Vec::new())
}

#[tokio::test]
async fn requests_that_queue_up_share_a_commit() {
    let rig = Rig::new();
    let file = Arc::new(rig.open());
    let asks: Vec<Ask> =
        (0..500).map(|n| Ask::Write(vec![put(entity(n.to_string()), "1")])).collect();
    let before = file.commits();
    for (told, _) in ask_together(&rig, &file, &asks).await {
        assert_eq!(told, Told::Applied(vec![Versioned::Yes]));
    }
    let commits = file.commits() - before;
    assert!((1..=2).contains(&commits), "{commits}");
    assert_eq!(rig.ask::<i64>("SELECT count(*) FROM entity"), 500);
}

#[tokio::test]
async fn one_group_may_hold_every_kind_of_answer() {
    let rig = Rig::new();
    let file = Arc::new(rig.open());
    let old = applied(file.write(vec![put(entity("alice"), "1")]).await).remove(0).unwrap();
    let current = applied(file.write(vec![put(entity("alice"), "2")]).await).remove(0).unwrap();
    for id in ["a", "b"] {
        crate::rig::send(&file, id).await;
    }
    let held = take(&file, 2).await;
    let stale = held[0].receipt.clone();
    assert!(matches!(file.settle(&stale, Settlement::Ack).await, SettleOutcome::Settled));
    let alice = |expect| put_if(entity("alice"), "3", Expect::Version(expect));
    let settle = |receipt: &Receipt| Change::Settle {
        receipt: receipt.clone(),
        settlement: Settlement::Ack,
    };
    let asks = [
        Ask::Write(vec![put(entity("bob"), "1")]),
        Ask::Write(vec![put(entity("carol"), "1"), alice(old)]),
        Ask::Write(vec![put(entity("dave"), "1"), put(entity("large"), LARGE.clone())]),
        Ask::Write(vec![put(entity("erin"), "1"), settle(&stale)]),
        Ask::Settle(stale.clone(), RELEASE),
        Ask::Write(vec![alice(current.clone()), settle(&held[1].receipt)]),
        Ask::Write(vec![alice(current)]),
        Ask::Settle(held[1].receipt.clone(), Settlement::Ack),
        Ask::Extend(vec![stale, held[1].receipt.clone()]),
    ];
    let before = file.commits();
    let seen = ask_together(&rig, &file, &asks).await;
    let told: Vec<Told> = seen.into_iter().map(|(told, _)| told).collect();
    let expected = [
        Told::Applied(vec![Versioned::Yes]),
        Told::Conflict(vec![1]),
        Told::Refused(semel_core::store::Trouble::TooLarge),
        Told::Conflict(vec![1]),
        Told::Stale,
        Told::Applied(vec![Versioned::Yes, Versioned::No]),
        Told::Conflict(vec![0]),
        Told::Stale,
        Told::Leases(vec![semel_core::broker::Lease::Lost; 2]),
    ];
    assert_eq!(told, expected);
    assert!(file.commits() - before <= 2);
    let names = list(&rig.path(), "SELECT entity_id || '=' || state FROM entity");
    assert_eq!(names, ["alice=3", "bob=1"]);
    assert_eq!(rig.ask::<i64>("SELECT count(*) FROM queue"), 0);
}

/// One byte too many. Shared, for it is large.
static LARGE: LazyLock<Bytes> = LazyLock::new(|| vec![b'7'; BYTES_MAX + 1].into());

/// Draws requests over a few keys, with what earlier answers taught.
struct Draw {
    scatter: Scatter,
    versions: Vec<Version>,
    receipts: Vec<Receipt>,
    messages: usize,
}

impl Draw {
    fn pick<T: Clone>(&mut self, from: &[T]) -> Option<T> {
        if from.is_empty() { None } else { from.get(self.scatter.below(from.len())).cloned() }
    }

    fn key(&mut self) -> ItemKey {
        let name = format!("k{}", self.scatter.below(4));
        if self.scatter.below(2) == 0 { entity(name) } else { inbox(name) }
    }

    /// Mostly one that holds or may hold; the newest versions are the likeliest to be current.
    fn expect(&mut self, model: &Model, key: &ItemKey) -> Expect {
        let current = model.items.get(key).and_then(|record| record.version.clone());
        let versions = self.versions.clone();
        match (self.scatter.below(8), current) {
            (0 | 1, _) => Expect::Anything,
            (2 | 3, _) | (4..=6, None) => Expect::Absent,
            (4..=6, Some(current)) => Expect::Version(current),
            _ => self.pick(&versions).map_or(Expect::Anything, Expect::Version),
        }
    }

    fn message(&mut self) -> Outgoing {
        self.messages += 1;
        let mut envelope = message(format!("m-{}", self.messages));
        if self.scatter.below(12) == 0 {
            envelope.data = LARGE.clone();
        }
        queued(envelope)
    }

    fn settlement(&mut self) -> Settlement {
        match self.scatter.below(4) {
            0 => Settlement::Ack,
            1 => RELEASE,
            2 => Settlement::Retry { after: Duration::ZERO, failure: failure() },
            _ => dead_letter(),
        }
    }

    fn receipt(&mut self) -> Option<Receipt> {
        let receipts = self.receipts.clone();
        self.pick(&receipts)
    }

    fn change(&mut self, model: &Model) -> Change {
        let key = self.key();
        let expect = self.expect(model, &key);
        let receipt = self.receipt();
        match (self.scatter.below(10), receipt) {
            (0, _) => Change::Enqueue(self.message()),
            (1 | 2, Some(receipt)) => Change::Settle { receipt, settlement: self.settlement() },
            (3 | 4, _) => Change::Delete { key, expect },
            (5, _) if self.scatter.below(3) == 0 => put_if(key, LARGE.clone(), expect),
            _ => put_if(key, format!("v{}", self.scatter.below(1_000)), expect),
        }
    }

    fn ask(&mut self, model: &Model) -> Ask {
        let receipt = self.receipt();
        match (self.scatter.below(8), receipt) {
            (0, _) => Ask::Send((0..self.scatter.below(4)).map(|_| self.message()).collect()),
            (1, Some(receipt)) => Ask::Settle(receipt, self.settlement()),
            (2, Some(receipt)) => Ask::Extend(vec![receipt]),
            _ => Ask::Write((0..=self.scatter.below(4)).map(|_| self.change(model)).collect()),
        }
    }
}

/// Runs groups of requests against the file and the model at once.
async fn compare(seed: u64, model: &mut Model) {
    let rig = Rig::new();
    let file = Arc::new(rig.open());
    let mut draw =
        Draw { scatter: Scatter(seed), versions: Vec::new(), receipts: Vec::new(), messages: 0 };
    for group in 0..5 {
        let asks: Vec<Ask> = (0..12).map(|_| draw.ask(model)).collect();
        let before = file.commits();
        let seen = ask_together(&rig, &file, &asks).await;
        assert!(file.commits() - before <= 2, "seed {seed}, group {group}");
        for (at, (ask, (told, versions))) in asks.iter().zip(seen).enumerate() {
            assert_eq!(told, model.apply(ask), "seed {seed}, group {group}, request {at}: {ask:?}");
            learn(model, ask, &versions);
            draw.versions.extend(versions.into_iter().flatten());
        }
        assert_same(&rig, model, &format!("seed {seed}, group {group}"));
        for delivery in take(&file, 3).await {
            let id = delivery.envelope.unwrap().id;
            assert_eq!(model.queue.insert(id, Some(delivery.receipt.clone())), Some(None));
            draw.receipts.push(delivery.receipt);
        }
    }
    let distinct: BTreeSet<&str> = draw.versions.iter().map(Version::as_str).collect();
    assert_eq!(distinct.len(), draw.versions.len(), "seed {seed}: a version came twice");
}

/// The model gets the versions that the file gave to an applied batch.
fn learn(model: &mut Model, ask: &Ask, versions: &[Option<Version>]) {
    let Ask::Write(changes) = ask else { return };
    for (change, version) in changes.iter().zip(versions) {
        if let Change::Put { key, .. } = change {
            model.items.get_mut(key).unwrap().version = version.clone();
        }
    }
}

fn assert_same(rig: &Rig, model: &Model, place: &str) {
    let shell = rig.shell();
    let mut items = BTreeMap::new();
    for (space, table, key) in
        [(Space::Entity, "entity", "entity_id"), (Space::Inbox, "inbox", "message")]
    {
        let value = if space == Space::Entity { "state" } else { "entity_id" };
        let sql = format!("SELECT endpoint, {key}, CAST({value} AS TEXT), version FROM {table}");
        let mut statement = shell.prepare(&sql).unwrap();
        let mut rows = statement.query(()).unwrap();
        while let Some(row) = rows.next().unwrap() {
            let (partition, key): (String, String) = (row.get(0).unwrap(), row.get(1).unwrap());
            let value: String = row.get(2).unwrap();
            let version = Version::new(row.get::<_, i64>(3).unwrap().to_string());
            let record = Record { value: value.into(), version: Some(version) };
            items.insert(ItemKey::new(space, partition, key), record);
        }
    }
    assert_eq!(items, model.items, "{place}");
    let ids = |sql: &str| -> Vec<String> {
        let mut statement = shell.prepare(sql).unwrap();
        statement.query_map(params![], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    };
    let queued: Vec<&String> = model.queue.keys().collect();
    assert_eq!(ids("SELECT message_id FROM queue ORDER BY 1").iter().collect::<Vec<_>>(), queued);
    let dead: Vec<&String> = model.dead.iter().collect();
    let found = ids("SELECT message_id FROM dead_letter ORDER BY 1");
    assert_eq!(found.iter().collect::<Vec<_>>(), dead, "{place}");
}

#[tokio::test]
async fn groups_of_any_requests_answer_and_leave_what_the_model_says() {
    let (mut early, mut late, mut dead) = (0, 0, 0);
    for seed in 0..40 {
        let mut model = Model::default();
        compare(seed, &mut model).await;
        early += model.rejected_early;
        late += model.rejected_late;
        dead += model.dead.len();
    }
    // Groups that need savepoints, groups with rejections that need none, and dead letters.
    assert!(early > 100 && late > 100 && dead > 20, "{early} {late} {dead}");
}
