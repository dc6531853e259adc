//! The made-up orders.

use std::collections::{BTreeMap, BTreeSet};

use super::super::{CATALOGUE, Invoice, InvoiceKind, christmas_orders};

/// How many customers bought something, and how many of them for more than £200 in all.
fn customers(invoices: &[Invoice]) -> (usize, usize) {
    let mut paid = BTreeMap::<&str, i64>::new();
    for invoice in invoices.iter().filter(|invoice| invoice.kind == InvoiceKind::Order) {
        if let Some(customer) = &invoice.customer {
            *paid.entry(customer).or_default() += invoice.total_pence();
        }
    }
    (paid.len(), paid.values().filter(|paid| **paid > 20_000).count())
}

#[test]
fn a_seed_gives_the_same_orders_again() {
    assert_eq!(christmas_orders(7, 300), christmas_orders(7, 300));
    assert_ne!(christmas_orders(7, 300), christmas_orders(8, 300));
    assert_eq!(christmas_orders(7, 0), []);
}

#[test]
fn a_seed_gives_the_same_orders_in_every_version() {
    let pence: i64 = christmas_orders(7, 100).iter().map(Invoice::total_pence).sum();
    assert_eq!(pence, 1_538_865);
}

#[test]
fn made_up_invoices_are_like_those_of_a_file() {
    let invoices = christmas_orders(1, 2000);
    let numbers: BTreeSet<&str> =
        invoices.iter().map(|invoice| invoice.number.trim_start_matches('C')).collect();
    assert_eq!((invoices.len(), numbers.len()), (2000, 2000));
    for invoice in &invoices {
        let is_credit_note = invoice.number.starts_with('C');
        assert_eq!(invoice.kind == InvoiceKind::CreditNote, is_credit_note);
        assert!((1..=12).contains(&invoice.lines.len()));
        assert!(invoice.lines.iter().all(|line| line.quantity > 0 && line.unit_price_pence > 0));
    }
}

#[test]
fn some_of_everything_happens() {
    for seed in 0..20 {
        let invoices = christmas_orders(seed, 1000);
        let count = |is: fn(&&Invoice) -> bool| invoices.iter().filter(is).count();
        let credit_notes = count(|invoice| invoice.kind == InvoiceKind::CreditNote);
        assert!((20..=70).contains(&credit_notes), "seed {seed}: {credit_notes} credit notes");
        let guests = count(|invoice| invoice.customer.is_none());
        assert!((50..=120).contains(&guests), "seed {seed}: {guests} guests");
        let large = count(|invoice| invoice.total_pence() > 100_000);
        assert!((5..=80).contains(&large), "seed {seed}: {large} large orders");
    }
}

#[test]
fn some_customers_pass_two_hundred_pounds_and_some_do_not() {
    for seed in 0..20 {
        for count in [50, 200, 1000] {
            let (all, passed) = customers(&christmas_orders(seed, count));
            assert!(0 < passed && passed < all, "seed {seed}: {passed} of {all}");
        }
    }
}

#[test]
fn a_credit_note_gives_back_no_more_than_was_ordered() {
    let invoices = christmas_orders(3, 2000);
    for (place, note) in invoices.iter().enumerate() {
        let gives_back = |order: &Invoice| {
            order.kind == InvoiceKind::Order
                && order.customer == note.customer
                && note.lines.iter().all(|back| {
                    let is_same = |line: &&super::Line| line.sku == back.sku;
                    order
                        .lines
                        .iter()
                        .find(is_same)
                        .is_some_and(|line| line.quantity >= back.quantity)
                })
        };
        if note.kind == InvoiceKind::CreditNote {
            assert!(invoices[..place].iter().any(gives_back), "{}", note.number);
        }
    }
}

#[test]
fn each_product_has_a_stock_code_of_its_own() {
    let codes: BTreeSet<&str> = CATALOGUE.iter().map(|product| product.sku).collect();
    assert_eq!(codes.len(), CATALOGUE.len());
    assert!(CATALOGUE.iter().all(|product| product.unit_price_pence > 0));
}
