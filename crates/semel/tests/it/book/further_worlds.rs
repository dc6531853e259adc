use semel::AtLeastOnce;

#[test]
fn at_least_once_books_a_deposit_twice() {
    let report = world(Endpoint::new("accounts").protocol(AtLeastOnce)).check();
    println!("{report}");
    report.assert_violated();
}

use semel::check::View;

fn balance(view: &View<'_>) -> i64 {
    view.entity::<Account>("accounts", "alice").map_or(0, |account| account.pence)
}

#[test]
fn two_deposits_add_up() {
    World::new("two deposits")
        .endpoint(Endpoint::new("accounts").handle(deposit))
        .send("d1", "accounts", Deposit { account: "alice".to_owned(), pence: 5 })
        .send("d2", "accounts", Deposit { account: "alice".to_owned(), pence: 7 })
        .workers(2)
        .faults(1)
        .sometimes("the second comes first", |view| balance(view) == 7)
        .always("there is no more than was paid in", |view| balance(view) <= 12)
        .finally("all of it is there", |view| balance(view) == 12)
        .finally("the audit is told twice", |view| view.sent::<Booked>().len() == 2)
        .check()
        .assert_holds();
}

use semel::check::relational_apart;

fn enter(book: &mut Vec<i64>, message: Booked, _: &mut Context) {
    book.push(message.balance);
}

#[test]
fn a_deposit_is_in_the_book_once() {
    world(Endpoint::new("accounts"))
        .endpoint(Endpoint::new("audit").handle_by(|_| "book".to_owned(), enter))
        .store(relational_apart())
        .finally("it is in the book once", |view| {
            view.entity::<Vec<i64>>("audit", "book").is_some_and(|book| book == [5])
        })
        .check()
        .assert_holds();
}

use semel::check::handler;

#[test]
fn a_deposit_needs_protection() {
    let report = handler(deposit)
        .message(Deposit { account: "alice".to_owned(), pence: 5 })
        .message(Deposit { account: "alice".to_owned(), pence: 7 })
        .check();
    println!("{report}");
    assert!(!report.is_idempotent.is_yes());
}

use async_trait::async_trait;
use semel::check::{Property, items_only};
use semel::core::broker::BrokerLimits;
use semel::core::operator::DeadLetter;
use semel::core::protocols::{Outcome, Places, Processed, Protocol, Work};
use semel::core::store::StoreLimits;
use semel::{Envelope, StoreError, core::Store};

/// Settles before it works, so that nothing is done twice.
#[derive(Debug)]
struct AtMostOnce;

#[async_trait]
impl Protocol for AtMostOnce {
    fn name(&self) -> &'static str {
        "at-most-once"
    }

    fn check(&self, _: &StoreLimits, _: &BrokerLimits) -> Result<(), String> {
        Ok(())
    }

    async fn process(&self, work: &Work<'_>) -> Outcome {
        match work.ack(Outcome::Processed).await {
            Outcome::Processed => AtLeastOnce.process(work).await,
            unsure => unsure,
        }
    }

    async fn processed(
        &self,
        _: &str,
        _: &Envelope,
        _: Option<&str>,
        _: &dyn Store,
    ) -> Result<Processed, StoreError> {
        Ok(Processed::Unknown)
    }

    async fn finish(&self, _: &str, _: Places<'_>) -> Result<usize, StoreError> {
        Ok(0)
    }

    async fn discard(&self, dead: &DeadLetter, places: Places<'_>) -> Outcome {
        AtLeastOnce.discard(dead, places).await
    }
}

#[test]
fn at_most_once_loses_messages() {
    let world = world(Endpoint::new("accounts").protocol(AtMostOnce)).store(items_only());
    let report = world.judge(&[Property::NoLostMessages]).check();
    report.assert_violated();
}

#[test]
fn a_larger_world_is_sampled() {
    let report = world(Endpoint::new("accounts")).workers(3).faults(4).check_random(1, 1_000);
    assert!(report.counterexample().is_none(), "{report}");
}

#[test]
fn both_ways_to_cover_everything_agree() {
    let cross = world(Endpoint::new("accounts")).cross_check();
    assert!(cross.agree, "{}\n{}", cross.merged, cross.unmerged);
}
