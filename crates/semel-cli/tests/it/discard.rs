//! `semel dead-letters discard`.

use serde_json::json;

use crate::rig::{Bank, Shop, fine, semel};

#[tokio::test]
async fn discarding_needs_a_yes() {
    let (shop, number) = Shop::with_a_dead_letter().await;
    let run = semel(&["dead-letters", "discard", &shop.url(), &number.to_string()]);
    assert_eq!(run.code, 2);
    assert_eq!(run.stdout, format!("{number}: would discard `payment.charge` at `payments`\n"));
    assert!(run.error_line().contains("nothing was discarded"), "{run:?}");
    assert!(run.error_line().contains("Run the same command again with `--yes`"), "{run:?}");
    assert_eq!(shop.numbers(), [number]);
}

#[tokio::test]
async fn a_copy_of_a_discarded_message_is_not_processed() {
    let (shop, number) = Shop::with_a_dead_letter().await;
    let said = fine(&["dead-letters", "discard", &shop.url(), &number.to_string(), "--yes"]);
    assert!(said.contains("recorded as processed, so that copies of it are dropped"), "{said}");
    assert!(shop.numbers().is_empty());

    shop.charge(1).await;
    shop.charge(2).await;
    shop.work(Bank::Open).await;
    assert_eq!((shop.charges(1).await, shop.charges(2).await), (0, 1));
}

#[tokio::test]
async fn programs_are_told_the_protocol_and_the_record() {
    let (shop, number) = Shop::with_a_dead_letter().await;
    let run = semel(&["dead-letters", "discard", &shop.url(), "--all", "--yes", "--json"]);
    assert_eq!(run.code, 0);
    assert_eq!(
        run.json(),
        json!({
            "dry_run": false,
            "results": [{
                "number": number, "endpoint": "payments", "type": "payment.charge",
                "result": "discarded", "protocol": "transactional", "recorded": true,
                "error": null, "help": null,
            }],
            "discarded": 1, "not_found": 0, "gone": 0, "refused": 0,
        })
    );
}

#[tokio::test]
async fn a_protocol_that_remembers_nothing_says_so() {
    let shop = Shop::new();
    shop.charge(1).await;
    shop.work_forgetfully(Bank::Closed).await;
    let said = fine(&["dead-letters", "discard", &shop.url(), "--all", "--yes"]);
    assert!(said.contains("`at-least-once` remembers nothing"), "{said}");
    shop.charge(1).await;
    shop.work_forgetfully(Bank::Open).await;
    assert_eq!(shop.charges(1).await, 1);
}

#[tokio::test]
async fn without_a_registration_the_message_is_recorded_as_processed() {
    let (shop, _) = Shop::with_a_dead_letter().await;
    shop.sql("DELETE FROM endpoint");
    let said = fine(&["dead-letters", "discard", &shop.url(), "--all", "--yes"]);
    assert!(said.contains("recorded as processed"), "{said}");
    assert!(said.contains("no worker has registered the endpoint"), "{said}");
    shop.charge(1).await;
    shop.work(Bank::Open).await;
    assert_eq!(shop.charges(1).await, 0);
}

/// What it remembers, and where, only the protocol itself knows.
#[tokio::test]
async fn a_letter_of_an_unknown_protocol_is_left_alone() {
    let (shop, number) = Shop::with_a_dead_letter().await;
    shop.sql("UPDATE endpoint SET protocol = 'hopeful'");
    let (url, number) = (shop.url(), number.to_string());
    for more in [&["--yes"][..], &[]] {
        let run = semel(&[&["dead-letters", "discard", &url, &number], more].concat());
        assert_eq!((run.code, run.stdout.as_str()), (1, ""), "{run:?}");
        let said = run.error_line();
        assert!(said.contains("does not know `hopeful`, the protocol of `payments`"), "{said}");
        assert!(said.contains("Run a `semel` that is as new as the endpoint's workers"), "{said}");
        assert_eq!(shop.numbers().len(), 1);
    }
    let run = semel(&["dead-letters", "discard", &url, "--all", "--yes", "--json"]);
    let view = run.json();
    let told = (run.code, &view["discarded"], &view["refused"], &view["results"][0]["result"]);
    assert_eq!(told, (1, &json!(0), &json!(1), &json!("refused")));
    let help = view["results"][0]["help"].as_str().unwrap();
    assert!(help.contains("`Protocol::discard`"), "{help}");
    fine(&["dead-letters", "replay", &url, &number]);
}

#[tokio::test]
async fn an_unreadable_message_is_discarded_without_a_record() {
    let (shop, _) = Shop::with_a_dead_letter().await;
    shop.sql("UPDATE dead_letter SET message_id = ''");
    let run = semel(&["dead-letters", "discard", &shop.url(), "--all", "--yes", "--json"]);
    assert_eq!(run.code, 0);
    assert_eq!(run.json()["results"][0]["recorded"], false);
    assert!(shop.numbers().is_empty());
}

#[test]
fn nothing_to_discard_needs_no_yes() {
    let shop = Shop::new();
    assert_eq!(fine(&["dead-letters", "discard", &shop.url(), "--all"]), "No dead letters.\n");
}
