//! The audit must be able to fail: each kind of damage, one by one, on books that balance.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use shop_services::marketing::{Coupon, Customer};
use shop_services::orders::{Order, Status};
use shop_services::payments::{Account, Booking};
use shop_services::shipping::{Consignment, Parcel};

use super::{Accepted, Audit};
use crate::books::Books;
use crate::input::InvoiceKind;

fn booking(pence: i64) -> Booking {
    Booking { pence, at: "2026-12-24T12:00:00Z".to_owned() }
}

fn parcel(pieces: u64) -> Parcel {
    Parcel { tracking: "T".to_owned(), pieces, at: "2026-12-24T12:00:00Z".to_owned() }
}

fn coupon(order: &str) -> Coupon {
    Coupon { order: order.to_owned(), at: "2026-12-24T12:00:00Z".to_owned() }
}

fn accepted(id: &str, kind: InvoiceKind, cancel_asked: bool) -> Accepted {
    Accepted {
        id: id.to_owned(),
        reference: format!("ref-{id}"),
        kind,
        customer: Some("ann".to_owned()),
        total_pence: 15_000,
        pieces: 3,
        cancel_asked,
    }
}

fn order(id: &str, status: Status) -> Order {
    Order {
        reference: format!("ref-{id}"),
        customer: Some("ann".to_owned()),
        total_pence: 15_000,
        pieces: 3,
        status,
        placements: 1,
    }
}

/// Two orders that were shipped, one that was cancelled after its charge, one credit note; the
/// customer has passed the threshold.
fn day() -> (Vec<Accepted>, Books) {
    let invoices = vec![
        accepted("a", InvoiceKind::Order, false),
        accepted("b", InvoiceKind::Order, false),
        accepted("c", InvoiceKind::Order, true),
        accepted("n", InvoiceKind::CreditNote, false),
    ];
    let mut books = Books::default();
    for (id, status) in [("a", Status::Shipped), ("b", Status::Shipped), ("c", Status::Cancelled)] {
        books.orders.insert(id.to_owned(), order(id, status));
        let account = Account { charges: vec![booking(15_000)], ..Account::default() };
        books.accounts.insert(id.to_owned(), account);
    }
    books.accounts.get_mut("c").unwrap().refunds.push(booking(15_000));
    for id in ["a", "b"] {
        books.consignments.insert(id.to_owned(), Consignment { parcels: vec![parcel(3)] });
    }
    let note = Account { payouts: vec![booking(15_000)], ..Account::default() };
    books.accounts.insert("n".to_owned(), note);
    let ann = Customer { paid_pence: 45_000, payments: 3, coupons: vec![coupon("b")] };
    books.customers.insert("customer ann".to_owned(), ann);
    (invoices, books)
}

/// Damages the books of a day, and says how much was found: lost, duplicated, ghosts.
fn check(damage: impl FnOnce(&mut Books), expected: [usize; 3]) {
    let (invoices, mut books) = day();
    damage(&mut books);
    let audit = Audit::of(&invoices, &books);
    let found = [audit.lost.len(), audit.duplicated.len(), audit.ghosts.len()];
    assert_eq!(found, expected, "{audit:#?}");
    assert_eq!(audit.is_balanced(), expected == [0, 0, 0]);
}

#[test]
fn books_that_balance_are_found_to_balance() {
    check(|_| {}, [0, 0, 0]);
    let (invoices, books) = day();
    let audit = Audit::of(&invoices, &books);
    let counts = [audit.orders, audit.charged, audit.shipped, audit.cancelled, audit.refunded];
    assert_eq!(counts, [3, 3, 2, 1, 1]);
    let counts = [audit.credit_notes, audit.paid_out, audit.coupons_due, audit.coupons];
    assert_eq!(counts, [1, 1, 1, 1]);
    assert_eq!(audit.charged_pence, 45_000);
}

#[test]
fn what_is_missing_is_lost() {
    check(|books| drop(books.orders.remove("a")), [1, 0, 0]);
    check(|books| books.accounts.get_mut("a").unwrap().charges.clear(), [1, 1, 0]);
    check(|books| drop(books.consignments.remove("a")), [1, 0, 0]);
    check(|books| books.accounts.get_mut("c").unwrap().refunds.clear(), [1, 0, 0]);
    check(|books| books.accounts.get_mut("n").unwrap().payouts.clear(), [1, 0, 0]);
    check(|books| books.customers.get_mut("customer ann").unwrap().coupons.clear(), [1, 0, 0]);
    check(|books| drop(books.customers.remove("customer ann")), [2, 0, 0]);
    check(|books| books.orders.get_mut("a").unwrap().status = Status::Charged, [1, 0, 0]);
}

#[test]
fn what_is_there_twice_is_duplicated() {
    check(|books| books.orders.get_mut("a").unwrap().placements = 2, [0, 1, 0]);
    check(|books| books.accounts.get_mut("a").unwrap().charges.push(booking(15_000)), [0, 1, 0]);
    check(|books| books.consignments.get_mut("a").unwrap().parcels.push(parcel(3)), [0, 1, 0]);
    check(|books| books.accounts.get_mut("c").unwrap().refunds.push(booking(15_000)), [0, 1, 0]);
    check(|books| books.accounts.get_mut("n").unwrap().payouts.push(booking(15_000)), [0, 1, 0]);
    let ann = |books: &mut Books, change: fn(&mut Customer)| {
        change(books.customers.get_mut("customer ann").unwrap());
    };
    check(|books| ann(books, |ann| ann.coupons.push(coupon("c"))), [0, 1, 0]);
    check(|books| ann(books, |ann| ann.paid_pence += 15_000), [0, 1, 0]);
}

#[test]
fn what_nobody_asked_for_is_a_ghost() {
    check(|books| drop(books.orders.insert("x".into(), order("x", Status::Placed))), [0, 0, 1]);
    check(|books| drop(books.accounts.insert("x".into(), Account::default())), [0, 0, 1]);
    check(|books| drop(books.consignments.insert("x".into(), Consignment::default())), [0, 0, 1]);
    check(|books| books.accounts.get_mut("a").unwrap().charges[0].pence = 1, [0, 0, 1]);
    check(|books| books.accounts.get_mut("n").unwrap().payouts[0].pence = 1, [0, 0, 1]);
    check(|books| books.consignments.get_mut("a").unwrap().parcels[0].pieces = 4, [0, 0, 1]);
    check(|books| books.orders.get_mut("a").unwrap().total_pence = 1, [0, 0, 1]);
    check(|books| books.accounts.get_mut("a").unwrap().refunds.push(booking(15_000)), [0, 0, 1]);
    let parcels = || Consignment { parcels: vec![parcel(3)] };
    check(|books| drop(books.consignments.insert("c".into(), parcels())), [0, 0, 1]);
    let stranger = || Customer { coupons: vec![coupon("a")], ..Customer::default() };
    check(|books| drop(books.customers.insert("customer eve".into(), stranger())), [0, 0, 1]);
}

#[test]
fn a_coupon_before_the_threshold_is_a_ghost() {
    let (mut invoices, mut books) = day();
    invoices.truncate(1);
    books.orders.retain(|id, _| id == "a");
    books.accounts.retain(|id, _| id == "a");
    books.consignments.retain(|id, _| id == "a");
    books.customers.get_mut("customer ann").unwrap().paid_pence = 15_000;
    let audit = Audit::of(&invoices, &books);
    assert_eq!((audit.ghosts.len(), audit.coupons_due), (1, 0), "{audit:#?}");
}

#[test]
fn a_cancellation_that_nobody_asked_for_is_a_ghost() {
    let (mut invoices, books) = day();
    invoices[2].cancel_asked = false;
    assert_eq!(Audit::of(&invoices, &books).ghosts.len(), 1);
}
