//! What counted calls would cost in the units of two cloud stores.

use super::place::{Call, Touched};
use crate::practice::BROKER;

/// What the calls on the store cost.
///
/// - DynamoDB counts a write as one unit (WCU) for each KB of the item, the larger one of before and
///   after, rounded up; twice that in a transaction, which is any batch of two items or more. It
///   counts a strongly consistent read as one unit (RCU) for each 4 KB, rounded up, and an item that
///   is not there as one. (Amazon DynamoDB Developer Guide, "DynamoDB read and write operations".)
/// - Cosmos DB publishes request units (RU) by the size of the document: 1 for a point read of 1 KB,
///   4.95 for a write of 1 KB, and so on; here the size is rounded up to the next one of that table.
///   (Microsoft Learn, "Understand request unit consumption in Azure Cosmos DB".) The table is for
///   session consistency; accounts with strong consistency pay twice for reads. A batch costs what its
///   writes cost.
///
/// Key and value are counted as the size. An adapter may add a few bytes, for example for a nonce.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Units {
    /// DynamoDB: read units; nothing where these calls cannot be made there.
    pub rcu: Option<u64>,
    /// DynamoDB: write units; nothing where these calls cannot be made there.
    pub wcu: Option<u64>,
    /// Cosmos DB: hundredths of request units; nothing where these calls cannot be made there.
    pub ru_hundredths: Option<u64>,
}

/// The most items of one transaction of DynamoDB, and of one batch of Cosmos DB.
const BATCH_MAX: usize = 100;
const KB: usize = 1_024;

/// Size in KB, and hundredths of RU for reading and for writing a document up to that size.
const RU: [(usize, u64, u64); 12] = [
    (1, 100, 495),
    (2, 104, 629),
    (4, 114, 667),
    (8, 133, 704),
    (16, 167, 952),
    (32, 219, 1_123),
    (64, 476, 2_267),
    (128, 995, 4_819),
    (256, 2_028, 9_829),
    (512, 4_095, 18_457),
    (1_024, 14_590, 62_500),
    (2_048, 29_180, 125_000),
];

impl Units {
    /// What `calls` cost.
    pub(super) fn of(calls: &[Call]) -> Self {
        let reads = || {
            calls.iter().filter_map(|call| match call {
                Call::Read(sizes) => Some(sizes.as_slice()),
                _ => None,
            })
        };
        let batches: Vec<Vec<(&str, usize)>> = calls.iter().filter_map(items).collect();
        let in_dynamo = calls.iter().all(is_plain);
        let in_cosmos = in_dynamo && batches.iter().all(|batch| is_of_one_partition(batch));
        let rcu = reads().flatten().map(|bytes| units(*bytes, 4 * KB)).sum();
        let wcu = batches.iter().map(|batch| wcu(batch)).sum();
        let read_ru: Option<u64> = reads().flatten().map(|bytes| Some(ru(*bytes)?.0)).sum();
        let write_ru: Option<u64> =
            batches.iter().flatten().map(|(_, bytes)| Some(ru(*bytes)?.1)).sum();
        Self {
            rcu: in_dynamo.then_some(rcu),
            wcu: in_dynamo.then_some(wcu),
            ru_hundredths: read_ru.zip(write_ru).filter(|_| in_cosmos).map(|(r, w)| r + w),
        }
    }
}

/// The items of a batch, each with its partition; nothing for what only concerns the broker.
fn items(call: &Call) -> Option<Vec<(&str, usize)>> {
    let Call::Write(touched) = call else { return None };
    if is_of_broker(touched) {
        return None;
    }
    let items = touched.iter().filter_map(|touched| match touched {
        Touched::Item { key, bytes } => Some((key.partition.as_str(), *bytes)),
        Touched::Queue => None,
    });
    Some(items.collect())
}

/// Whether a batch is about the queue, and what the broker remembers, alone.
pub(super) fn is_of_broker(touched: &[Touched]) -> bool {
    touched.iter().all(|touched| match touched {
        Touched::Item { key, .. } => key.partition.starts_with(BROKER),
        Touched::Queue => true,
    })
}

/// Whether a call needs neither a query nor the queue in one batch with items.
fn is_plain(call: &Call) -> bool {
    match call {
        Call::List => false,
        Call::Write(touched) => {
            let is_queue = |touched: &Touched| matches!(touched, Touched::Queue);
            let is_split = is_of_broker(touched) || !touched.iter().any(is_queue);
            is_split && touched.len() <= BATCH_MAX
        }
        Call::Read(_) | Call::Send | Call::Settle => true,
    }
}

fn is_of_one_partition(batch: &[(&str, usize)]) -> bool {
    batch.windows(2).all(|two| two[0].0 == two[1].0)
}

fn wcu(batch: &[(&str, usize)]) -> u64 {
    let once: u64 = batch.iter().map(|(_, bytes)| units(*bytes, KB)).sum();
    if batch.len() > 1 { 2 * once } else { once }
}

/// How many units of `step` bytes; one at least.
fn units(bytes: usize, step: usize) -> u64 {
    bytes.div_ceil(step).max(1) as u64
}

/// What reading and writing a document costs; nothing for one that is too large.
fn ru(bytes: usize) -> Option<(u64, u64)> {
    let row = RU.iter().find(|(kb, _, _)| bytes <= kb * KB)?;
    Some((row.1, row.2))
}

#[cfg(test)]
mod tests {
    use semel_core::store::{ItemKey, Space};

    use super::{Call, Touched, Units};

    fn item(partition: &str, bytes: usize) -> Touched {
        Touched::Item { key: ItemKey::new(Space::Entity, partition, "key"), bytes }
    }

    fn units(calls: &[Call]) -> (Option<u64>, Option<u64>, Option<u64>) {
        let Units { rcu, wcu, ru_hundredths } = Units::of(calls);
        (rcu, wcu, ru_hundredths)
    }

    #[test]
    fn sizes_are_rounded_up() {
        let calls = [Call::Read(vec![0, 4_097]), Call::Write(vec![item("a", 1_025)]), Call::Settle];
        assert_eq!(units(&calls), (Some(3), Some(2), Some(100 + 133 + 629)));
    }

    #[test]
    fn a_transaction_costs_twice_and_needs_one_partition_at_cosmos() {
        let batch = |other| [Call::Write(vec![item("a", 10), item(other, 10)])];
        assert_eq!(units(&batch("a")), (Some(0), Some(4), Some(990)));
        assert_eq!(units(&batch("b")), (Some(0), Some(4), None));
    }

    #[test]
    fn a_query_or_a_queue_in_the_batch_is_neither() {
        assert_eq!(units(&[Call::List]), (None, None, None));
        let batch = [Call::Write(vec![item("a", 10), Touched::Queue])];
        assert_eq!(units(&batch), (None, None, None));
    }

    #[test]
    fn what_a_broker_remembers_costs_the_store_nothing() {
        let batch = [Call::Write(vec![item("broker of a", 10), Touched::Queue])];
        assert_eq!(units(&batch), (Some(0), Some(0), Some(0)));
    }
}
