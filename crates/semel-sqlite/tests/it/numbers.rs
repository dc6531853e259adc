//! Versions, receipts and the numbers of dead letters never repeat.

use std::collections::BTreeSet;
use std::path::Path;

use semel_core::broker::SettleOutcome;
use semel_core::operator::{DeadLetterFilter, Operator as _};
use semel_core::{Broker, Store};
use semel_sqlite::Sqlite;

use crate::child;
use crate::rig::{RELEASE, Rig, applied, dead_letter, entity, put, send, take};

const ROUNDS: usize = 20;

/// Everything that the file numbers, some of it deleted and made again at once.
async fn numbers(file: &Sqlite) -> Vec<String> {
    let mut numbers = Vec::new();
    for round in 0..ROUNDS {
        for change in [put(entity("alice"), "1"), put(entity("bob"), "1")] {
            let [version] = &applied(file.write(vec![change]).await)[..] else { panic!() };
            numbers.push(version.as_ref().unwrap().as_str().to_owned());
        }
        let delete = semel_core::store::Change::Delete {
            key: entity("alice"),
            expect: semel_core::store::Expect::Anything,
        };
        applied(file.write(vec![delete]).await);
        send(file, format!("m-{round}")).await;
        for settlement in [RELEASE, dead_letter()] {
            // Another process may have taken it, and given it back.
            for delivery in take(file, 1).await {
                let (_, receipt) = delivery.receipt.as_str().split_once('.').unwrap();
                numbers.push(receipt.to_owned());
                let outcome = file.settle(&delivery.receipt, settlement.clone()).await;
                assert!(matches!(outcome, SettleOutcome::Settled), "{outcome:?}");
            }
        }
    }
    numbers
}

/// In a child: tells the numbers that it got.
pub(crate) fn mint(path: &Path, _: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let file = Sqlite::open(path).unwrap();
    child::await_go();
    for number in runtime.block_on(numbers(&file)) {
        child::tell(&number);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_number_comes_twice_from_any_handle_process_or_opening() {
    let rig = Rig::new();
    // Leases go by the clock that the children have.
    let open = || Sqlite::open(rig.path()).unwrap();
    let (one, two) = (open(), open());
    let mut children = [(); 2].map(|()| child::spawn(&mut child::command("mint", &rig.path(), "")));
    child::let_go(&mut children);
    let (of_one, of_two) = tokio::join!(numbers(&one), numbers(&two));
    let mut all = [of_one, of_two].concat();
    for child in children {
        all.extend(child::finish(child));
    }
    drop((one, two));
    for _ in 0..3 {
        all.extend(numbers(&open()).await);
    }
    let filter = DeadLetterFilter { limit: usize::MAX, ..DeadLetterFilter::default() };
    let dead = open().dead_letters(&filter).await.unwrap();
    assert!(dead.len() > 4 * ROUNDS, "{}", dead.len());
    all.extend(dead.iter().map(|dead| dead.number.to_string()));
    assert!(all.len() > 7 * 3 * ROUNDS, "{}", all.len());
    let distinct: BTreeSet<&String> = all.iter().collect();
    assert_eq!(distinct.len(), all.len());
}
