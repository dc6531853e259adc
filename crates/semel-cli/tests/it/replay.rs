//! `semel dead-letters replay`.

use serde_json::json;

use crate::rig::{Bank, Riddle, Shop, fine, semel};

#[tokio::test]
async fn a_replayed_message_is_processed_once() {
    let (shop, number) = Shop::with_a_dead_letter().await;
    let said = fine(&["dead-letters", "replay", &shop.url(), &number.to_string()]);
    assert_eq!(said, format!("{number}: replayed `payment.charge` at `payments`\n"));
    assert!(shop.numbers().is_empty());

    shop.work(Bank::Open).await;
    shop.charge(1).await;
    shop.work(Bank::Open).await;
    assert_eq!(shop.charges(1).await, 1);
}

#[tokio::test]
async fn a_replayed_message_may_die_again_and_keeps_its_history() {
    let (shop, number) = Shop::with_a_dead_letter().await;
    fine(&["dead-letters", "replay", &shop.url(), &number.to_string()]);
    shop.work(Bank::Closed).await;
    let again = shop.numbers();
    assert!(again[0] > number, "{again:?}");
    let show = ["dead-letters", "show", &shop.url(), &again[0].to_string(), "--json"];
    assert_eq!(semel(&show).json()["failures"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_dry_run_changes_nothing() {
    let (shop, number) = Shop::with_a_dead_letter().await;
    let run = semel(&["dead-letters", "replay", &shop.url(), "--all", "--dry-run", "--json"]);
    assert_eq!(run.code, 0);
    assert_eq!(
        run.json(),
        json!({
            "dry_run": true,
            "results": [{
                "number": number, "endpoint": "payments", "type": "payment.charge",
                "result": "would_replay", "error": null, "help": null,
            }],
            "replayed": 0, "not_found": 0, "gone": 0, "refused": 0,
        })
    );
    assert_eq!(shop.numbers(), [number]);
}

#[tokio::test]
async fn all_means_all_that_were_there_at_the_start() {
    let shop = Shop::new();
    shop.charge_all(1..=120).await;
    shop.work(Bank::Closed).await;
    // Each one dies again in the very moment it is replayed.
    shop.sql(
        "CREATE TABLE mortal AS SELECT * FROM dead_letter;
         CREATE TRIGGER dies_again AFTER DELETE ON dead_letter BEGIN
             UPDATE mortal SET number = number + 100000 WHERE number = OLD.number;
             INSERT INTO dead_letter SELECT * FROM mortal WHERE number = OLD.number + 100000;
         END",
    );
    let view = semel(&["dead-letters", "replay", &shop.url(), "--all", "--json"]).json();
    assert_eq!(view["replayed"], 120);
    assert_eq!(view["results"].as_array().unwrap().len(), 120);
    assert!(shop.numbers().iter().all(|&number| number > 100_000));
}

#[tokio::test]
async fn one_endpoint_can_be_replayed_alone() {
    let (shop, number) = Shop::with_a_dead_letter().await;
    shop.sql("UPDATE dead_letter SET endpoint = 'shipping'");
    shop.charge(2).await;
    shop.work(Bank::Closed).await;
    let url = shop.url();
    let view =
        semel(&["dead-letters", "replay", &url, "--all", "--endpoint", "payments", "--json"]);
    assert_eq!(view.json()["replayed"], 1);
    assert_eq!(shop.numbers(), [number]);
}

#[tokio::test]
async fn a_number_that_is_not_there_spoils_only_the_exit_code() {
    let (shop, number) = Shop::with_a_dead_letter().await;
    let number = number.to_string();
    let run = semel(&["dead-letters", "replay", &shop.url(), "99999", &number, &number]);
    assert_eq!(run.code, 1);
    assert_eq!(run.stderr, "99999: there is no such dead letter\n");
    assert!(run.stdout.starts_with(&format!("{number}: replayed")), "{run:?}");
    assert!(run.stdout.ends_with("1 dead letter replayed, 1 not found\n"), "{run:?}");
}

#[tokio::test]
async fn a_letter_that_someone_else_took_is_no_success() {
    let (shop, _) = Shop::with_a_dead_letter().await;
    shop.sql("CREATE TRIGGER taken BEFORE DELETE ON dead_letter BEGIN SELECT RAISE(IGNORE); END");
    let run = semel(&["dead-letters", "replay", &shop.url(), "--all"]);
    assert_eq!(run.code, 1);
    assert!(run.stderr.contains("not replayed: it is gone"), "{run:?}");
    let run = semel(&["dead-letters", "discard", &shop.url(), "--all", "--yes", "--json"]);
    assert_eq!(run.code, 1);
    assert_eq!(run.json()["results"][0]["result"], "gone");
    assert_eq!(run.json()["discarded"], 0);
}

#[tokio::test]
async fn a_store_that_fails_ends_the_run_after_telling_what_was_done() {
    let (shop, number) = Shop::with_a_dead_letter().await;
    for order in ["2", "3"] {
        let riddle = Riddle { order: order.to_owned() };
        shop.backend().send_as(order, "payments", riddle).await.unwrap();
    }
    shop.work(Bank::Open).await;
    shop.sql(
        "CREATE TRIGGER broken BEFORE DELETE ON dead_letter WHEN OLD.type = 'payment.riddle' \
         BEGIN SELECT RAISE(ABORT, 'the disk is on fire'); END",
    );
    let run = semel(&["dead-letters", "replay", &shop.url(), "--all", "--json"]);
    assert_eq!(run.code, 3);
    assert_eq!(run.json()["results"][0]["number"], number);
    assert_eq!(run.json()["results"].as_array().unwrap().len(), 1);
    let error = run.error_json()["error"].to_string();
    assert!(error.contains("may or may not have been replayed"), "{error}");
    assert!(error.contains("the disk is on fire"), "{error}");
}

#[test]
fn nothing_to_replay_is_fine() {
    let shop = Shop::new();
    assert_eq!(fine(&["dead-letters", "replay", &shop.url(), "--all"]), "No dead letters.\n");
}
