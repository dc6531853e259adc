//! Records are dropped when their window is over, in portions, and nothing else is.

use std::time::Duration;

use semel_core::Store;
use semel_core::operator::Operator as _;
use semel_core::store::{Change, Expect, Keep};
use semel_sqlite::Sqlite;

use crate::rig::{Rig, applied, entity, inbox, put};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3_600);

fn kept(key: semel_core::store::ItemKey, keep: Keep) -> Change {
    Change::Put { key, value: "1".into(), expect: Expect::Anything, keep }
}

/// Something to do, after which the writer looks for what is past its window.
async fn work(file: &Sqlite) {
    applied(file.write(vec![put(entity("work"), "1")]).await);
}

fn wait_until(mut is_so: impl FnMut() -> bool) {
    while !is_so() {
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[tokio::test]
async fn what_is_past_its_window_goes_and_nothing_else() {
    let rig = Rig::new();
    let file = rig.open();
    let keeps = [("short", Keep::For(SECOND)), ("long", Keep::For(HOUR)), ("ever", Keep::Always)];
    let changes = keeps
        .iter()
        .flat_map(|(name, keep)| [kept(entity(*name), *keep), kept(inbox(*name), *keep)]);
    applied(file.write(changes.collect()).await);
    let put_again = vec![kept(inbox("put again"), Keep::For(SECOND))];
    applied(file.write(put_again).await);
    applied(file.write(vec![kept(inbox("put again"), Keep::Always)]).await);

    rig.clock.advance(20 * SECOND);
    work(&file).await;
    wait_until(|| rig.ask::<i64>("SELECT count(*) FROM inbox WHERE message = 'short'") == 0);
    let names = |sql| crate::rig::list(&rig.path(), sql);
    assert_eq!(names("SELECT message FROM inbox ORDER BY 1"), ["ever", "long", "put again"]);
    assert_eq!(names("SELECT entity_id FROM entity ORDER BY 1"), ["ever", "long", "work"]);

    rig.clock.advance(2 * HOUR);
    work(&file).await;
    wait_until(|| rig.ask::<i64>("SELECT count(*) FROM inbox WHERE message = 'long'") == 0);
    assert_eq!(names("SELECT message FROM inbox ORDER BY 1"), ["ever", "put again"]);
    assert_eq!(names("SELECT entity_id FROM entity ORDER BY 1"), ["ever", "work"]);
}

/// A record lives until its last millisecond.
#[tokio::test]
async fn what_is_within_its_window_stays() {
    let rig = Rig::new();
    let file = rig.open();
    applied(file.write(vec![kept(inbox("a"), Keep::For(20 * SECOND))]).await);
    rig.clock.advance(20 * SECOND);
    // The second answer comes after the dropping that followed the first.
    work(&file).await;
    work(&file).await;
    assert_eq!(rig.ask::<i64>("SELECT count(*) FROM inbox"), 1);
}

#[tokio::test]
async fn many_records_go_in_portions_until_none_is_left() {
    let rig = Rig::new();
    let file = rig.open();
    let changes = (0..1_800).map(|n| kept(inbox(n.to_string()), Keep::For(SECOND))).collect();
    applied(file.write(changes).await);
    rig.clock.advance(20 * SECOND);
    let shell = rig.shell();
    let mut seen = vec![1_800];
    work(&file).await;
    wait_until(|| {
        let left: i64 =
            shell.query_row("SELECT count(*) FROM inbox", (), |row| row.get(0)).unwrap();
        seen.push(left);
        left == 0
    });
    // Each look sees whole portions.
    assert!(seen.iter().all(|left| [1_800, 1_300, 800, 300, 0].contains(left)), "{seen:?}");
}

#[tokio::test]
async fn whoever_only_looks_drops_nothing() {
    let rig = Rig::new();
    let file = rig.open();
    applied(file.write(vec![kept(inbox("a"), Keep::For(SECOND))]).await);
    drop(file);
    rig.clock.advance(HOUR);
    let file = rig.open();
    for _ in 0..3 {
        assert_eq!(file.inspect().await.unwrap().endpoints["shop"].inbox, 1);
    }
    drop(file);
    assert_eq!(rig.ask::<i64>("SELECT count(*) FROM inbox"), 1);
}
