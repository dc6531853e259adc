//! The items of a store.

use std::sync::Arc;

use bytes::Bytes;
use semel_core::store::{Expect, Item, ItemKey, Keep, Page, Version};

use crate::hash::{self, Ink, Print};
use crate::memo::Memo;
use crate::tag::{self, Trail};

thread_local! {
    static RECORDS: Memo<Record> = Memo::default();
}

/// An item with what the checker knows of it.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) item: Item,
    pub(crate) number: u64,
    /// When the store may drop it.
    pub(crate) kept_until_ms: Option<i64>,
    /// The messages that the entity's state stems from.
    pub(crate) trail: Option<Trail>,
    /// What tells the entity's state from others, whatever its protocol keeps beside it.
    pub(crate) looks: Print,
    /// What tells its content from others, however often it was written.
    pub(crate) content: Print,
    /// What stood here before, for stale reads.
    pub(crate) before: Option<Arc<Record>>,
    pub(crate) print: Print,
}

/// All items, sorted by key. Cheap to copy.
#[derive(Clone, Debug, Default)]
pub(crate) struct Items(Arc<Inner>);

#[derive(Clone, Debug, Default)]
struct Inner {
    records: Vec<Arc<Record>>,
    /// How often each key was ever put: versions do not repeat, deleted or not.
    puts: Vec<(Print, u64)>,
    /// What was deleted last under each key, where reads may be stale.
    gone: Vec<Arc<Record>>,
    print: Print,
    /// Whether a record remembers the one before it.
    history: bool,
}

/// The version of one write of one item: no other write has it.
fn version(key: &ItemKey, number: u64) -> Version {
    Version::new(format!("{number}{OF_KEY}{:x}", hash::key(key) as u32))
}

/// What stands between the number of a version and the name of its item.
const OF_KEY: char = '-';

/// The number of a version, for a reader.
pub(crate) fn number_of(version: &Version) -> &str {
    version.as_str().split(OF_KEY).next().unwrap_or_default()
}

impl Items {
    /// No items, in a store whose reads may be stale.
    pub(crate) fn with_history() -> Self {
        Self(Arc::new(Inner { history: true, ..Inner::default() }))
    }

    pub(crate) fn print(&self) -> Print {
        self.0.print
    }

    pub(crate) fn all(&self) -> &[Arc<Record>] {
        &self.0.records
    }

    pub(crate) fn read(&self, key: &ItemKey) -> Option<&Arc<Record>> {
        let at = self.0.records.binary_search_by(|record| record.item.key.cmp(key)).ok()?;
        self.0.records.get(at)
    }

    pub(crate) fn list(&self, page: &Page) -> Vec<Arc<Record>> {
        let in_page = |record: &&Arc<Record>| {
            record.item.key.space == page.space
                && page.after.as_ref().is_none_or(|after| record.item.key > *after)
        };
        self.0.records.iter().filter(in_page).take(page.limit).cloned().collect()
    }

    pub(super) fn allows(&self, key: &ItemKey, expect: &Expect) -> bool {
        let record = self.read(key);
        match expect {
            Expect::Anything => true,
            Expect::Absent => record.is_none(),
            Expect::Version(wanted) => record.is_some_and(|record| record.item.version == *wanted),
        }
    }

    pub(crate) fn put(&mut self, key: &ItemKey, value: &Bytes, keep: Keep, now_ms: i64) -> Version {
        let before = self.take(key);
        let inner = Arc::make_mut(&mut self.0);
        let number = inner.count_put(key);
        let record =
            Record::new(key, value, number, keep, now_ms, before.filter(|_| inner.history));
        let version = record.item.version.clone();
        inner.insert(record);
        version
    }

    /// Removes a record, by a write or because it is past its time.
    pub(crate) fn delete(&mut self, key: &ItemKey) {
        let Some(record) = self.take(key).filter(|_| self.0.history) else { return };
        let inner = Arc::make_mut(&mut self.0);
        inner.print = inner.print.wrapping_add(hash::print(43, record.print));
        inner.gone.push(record);
    }

    /// What tells them from others but for how often they were written.
    pub(crate) fn likeness(&self) -> Print {
        self.0.records.iter().fold(0, |sum, record| sum.wrapping_add(record.content))
    }

    /// What a stale read finds; `None` where nothing was written that it could miss.
    pub(crate) fn stale(&self, key: &ItemKey) -> Option<Option<Arc<Record>>> {
        match self.read(key) {
            Some(record) => Some(record.before.clone()),
            None => self.0.gone.iter().find(|gone| gone.item.key == *key).cloned().map(Some),
        }
    }

    /// The print made from nothing but what is there now.
    #[cfg(test)]
    pub(super) fn print_anew(&self) -> Print {
        let records = self.0.records.iter().map(|record| record.print_anew());
        let puts = self.0.puts.iter().map(|(name, count)| counted(*name, *count));
        let gone = self.0.gone.iter().map(|record| hash::print(43, record.print));
        records.chain(puts).chain(gone).fold(0, Print::wrapping_add)
    }

    fn take(&mut self, key: &ItemKey) -> Option<Arc<Record>> {
        let at = self.0.records.binary_search_by(|record| record.item.key.cmp(key)).ok()?;
        let inner = Arc::make_mut(&mut self.0);
        let record = inner.records.remove(at);
        inner.print = inner.print.wrapping_sub(record.print);
        Some(record)
    }
}

impl Inner {
    fn count_put(&mut self, key: &ItemKey) -> u64 {
        let name = hash::key(key);
        let at = match self.puts.iter().position(|(known, _)| *known == name) {
            Some(at) => at,
            None => {
                self.puts.push((name, 0));
                self.puts.len() - 1
            }
        };
        let (_, count) = &mut self.puts[at];
        self.print = self.print.wrapping_sub(counted(name, *count));
        *count += 1;
        self.print = self.print.wrapping_add(counted(name, *count));
        *count
    }

    fn insert(&mut self, record: Arc<Record>) {
        if let Some(at) = self.gone.iter().position(|gone| gone.item.key == record.item.key) {
            let gone = self.gone.remove(at);
            self.print = self.print.wrapping_sub(hash::print(43, gone.print));
        }
        self.print = self.print.wrapping_add(record.print);
        let key = &record.item.key;
        let at = self.records.partition_point(|other| other.item.key < *key);
        self.records.insert(at, record);
    }
}

fn counted(name: Print, count: u64) -> Print {
    if count == 0 { 0 } else { hash::print(2, (name, count)) }
}

impl Record {
    fn new(
        key: &ItemKey,
        value: &Bytes,
        number: u64,
        keep: Keep,
        now_ms: i64,
        before: Option<Arc<Record>>,
    ) -> Arc<Self> {
        let kept_until_ms = match keep {
            Keep::Always => None,
            Keep::For(span) => {
                Some(now_ms.saturating_add(i64::try_from(span.as_millis()).unwrap_or(i64::MAX)))
            }
        };
        let before = before.map(Self::without_history);
        let print = print_of(key, value, number, kept_until_ms, before.as_deref());
        let make = || {
            let found = tag::state_of(key, value);
            let state = found.as_ref().map(|(trail, state)| (key, trail, &**state));
            Self {
                item: Item {
                    key: key.clone(),
                    value: value.clone(),
                    version: version(key, number),
                },
                number,
                kept_until_ms,
                looks: hash::print(46, state),
                content: hash::print(48, (key, &**value)),
                trail: found.map(|(trail, _)| trail),
                before,
                print,
            }
        };
        RECORDS.with(|records| records.get(print, make))
    }

    /// One value back is as stale as a read gets here: older ones only add to the worlds.
    fn without_history(record: Arc<Self>) -> Arc<Self> {
        if record.before.is_none() {
            return record;
        }
        let Item { key, value, .. } = &record.item;
        let print = print_of(key, value, record.number, record.kept_until_ms, None);
        let alone = Self {
            item: record.item.clone(),
            trail: record.trail.clone(),
            before: None,
            print,
            ..*record
        };
        Arc::new(alone)
    }

    #[cfg(test)]
    fn print_anew(&self) -> Print {
        let Item { key, value, .. } = &self.item;
        print_of(key, value, self.number, self.kept_until_ms, self.before.as_deref())
    }

    /// Whether the store may drop it now.
    pub(crate) fn may_vanish(&self, now_ms: i64) -> bool {
        self.kept_until_ms.is_some_and(|until| now_ms >= until)
    }
}

/// Everything about a record that can matter later. What it is made of is in it, the trail included.
fn print_of(
    key: &ItemKey,
    value: &Bytes,
    number: u64,
    kept_until_ms: Option<i64>,
    before: Option<&Record>,
) -> Print {
    let ink = Ink::new(3).with((key, number, kept_until_ms));
    ink.with((&**value, before.map(|before| before.print))).print()
}
