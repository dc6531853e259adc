//! Handlers with SQL of their own, in PostgreSQL.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use semel::postgres::{InTransaction, Options, Postgres};
use semel::prelude::*;
use semel_servers::{Kind, address};
use serde_json::json;

use crate::rig::{CLOSED, Charge, semel};

/// Serves the endpoint `payments` in the transaction of each message; how many were processed.
async fn work(schema: &str, is_open: bool) -> u32 {
    let options = Options { schema: schema.to_owned(), ..Options::default() };
    let database = Postgres::connect_with(&address(Kind::Postgres).unwrap(), options).await;
    let database = Arc::new(database.unwrap());
    let processed = Arc::new(AtomicU32::new(0));
    let count = processed.clone();
    let charge = move |_: &mut (), _: Charge, _: &mut Context| {
        if !is_open {
            return Err(Failure::dead_letter(CLOSED));
        }
        count.fetch_add(1, Ordering::SeqCst);
        Ok(())
    };
    let backend = Backend::in_one(database.clone());
    let message = Charge { order: "1".to_owned(), pence: 250 };
    backend.send_as("1", "payments", message).await.unwrap();
    let payments = Endpoint::new("payments").handle(charge).protocol(InTransaction::on(&database));
    Host::new(backend).endpoint(payments).run_until_idle().await.unwrap();
    processed.load(Ordering::SeqCst)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_letter_of_a_handler_with_its_own_sql_is_discarded_for_good() {
    let mark = std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos();
    let schema = format!("cli{mark}");
    assert_eq!(work(&schema, false).await, 0);
    let url = format!("{}?schema={schema}", address(Kind::Postgres).unwrap());
    let list = semel(&["dead-letters", "list", &url, "--json"]).json();
    let letter = &list["dead_letters"][0];
    assert_eq!((&letter["type"], &letter["entity"]), (&json!("payment.charge"), &json!("1")));
    let number = letter["number"].to_string();
    let done = semel(&["dead-letters", "discard", &url, &number, "--yes", "--json"]).json();
    assert_eq!((&done["discarded"], &done["results"][0]["recorded"]), (&json!(1), &json!(true)));
    assert_eq!(work(&schema, true).await, 0, "a copy of it was processed");
    let view = semel(&["inspect", &url, "--json"]).json();
    assert_eq!((&view["totals"]["ready"], &view["totals"]["dead_letters"]), (&json!(0), &json!(0)));
}
