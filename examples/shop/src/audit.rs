//! The audit: what went in against what the ledgers say.
//!
//! It knows the input and the books, and nothing of the framework's own counters.

use std::collections::BTreeMap;

use shop_services::marketing::COUPON_FROM_PENCE;
use shop_services::orders::Status;

use crate::books::Books;
use crate::input::InvoiceKind;

/// An invoice that the shop accepted.
#[derive(Clone, Debug)]
pub struct Accepted {
    /// What the shop called it.
    pub id: String,
    /// What the customer calls it.
    pub reference: String,
    pub kind: InvoiceKind,
    pub customer: Option<String>,
    pub total_pence: i64,
    pub pieces: u64,
    /// Whether the customer asked to cancel it; that may have come too late.
    pub cancel_asked: bool,
}

/// The result of the audit.
#[derive(Debug, Default)]
pub struct Audit {
    pub orders: u64,
    pub charged: u64,
    pub shipped: u64,
    pub cancelled: u64,
    pub refunded: u64,
    pub credit_notes: u64,
    pub paid_out: u64,
    pub coupons: u64,
    pub coupons_due: u64,
    pub charged_pence: i64,
    /// Each thing that should be and is not.
    pub lost: Vec<String>,
    /// Each thing that is there more than once.
    pub duplicated: Vec<String>,
    /// Each thing that should not be.
    pub ghosts: Vec<String>,
}

impl Audit {
    /// Whether the books balance.
    pub fn is_balanced(&self) -> bool {
        self.lost.is_empty() && self.duplicated.is_empty() && self.ghosts.is_empty()
    }

    /// Compares the books with what was accepted.
    pub fn of(accepted: &[Accepted], books: &Books) -> Self {
        let mut audit = Self::default();
        for invoice in accepted {
            match invoice.kind {
                InvoiceKind::Order => audit.order(invoice, books),
                InvoiceKind::CreditNote => audit.credit_note(invoice, books),
            }
        }
        audit.customers(accepted, books);
        audit.strangers(accepted, books);
        audit
    }

    fn order(&mut self, invoice: &Accepted, books: &Books) {
        self.orders += 1;
        let name = format!("order {} ({})", invoice.reference, invoice.id);
        let Some(order) = books.orders.get(&invoice.id).filter(|order| order.placements > 0) else {
            return self.lost.push(format!("{name} was never placed"));
        };
        self.once(order.placements as usize, || format!("{name} was placed"));
        let is_as_asked = (&order.reference, &order.customer, order.total_pence, order.pieces)
            == (&invoice.reference, &invoice.customer, invoice.total_pence, invoice.pieces);
        if !is_as_asked {
            self.ghosts.push(format!("{name} was placed with other content"));
        }
        let account = books.accounts.get(&invoice.id).cloned().unwrap_or_default();
        let (charges, refunds) = (account.charges.len(), account.refunds.len());
        for booking in account.charges.iter().chain(&account.refunds) {
            if booking.pence != invoice.total_pence {
                self.ghosts.push(format!("{name}: {} p booked", booking.pence));
            }
        }
        let parcels = books.consignments.get(&invoice.id).map_or(&[][..], |found| &found.parcels);
        if parcels.iter().any(|parcel| parcel.pieces != invoice.pieces) {
            self.ghosts.push(format!("{name}: a parcel holds other pieces"));
        }
        self.charged += u64::from(charges > 0);
        self.refunded += u64::from(refunds > 0);
        self.shipped += u64::from(!parcels.is_empty());
        self.charged_pence += account.charges.iter().map(|booking| booking.pence).sum::<i64>();
        if order.status == Status::Cancelled {
            self.cancelled_order(&name, invoice, [charges, refunds, parcels.len()]);
        } else {
            self.once(charges, || format!("{name} was charged"));
            self.once(parcels.len(), || format!("{name} was shipped"));
            if refunds > 0 {
                self.ghosts.push(format!("{name} was refunded, but not cancelled"));
            }
            if order.status != Status::Shipped {
                self.lost.push(format!("{name} never heard that it was shipped"));
            }
        }
    }

    fn cancelled_order(
        &mut self,
        name: &str,
        invoice: &Accepted,
        [charges, refunds, parcels]: [usize; 3],
    ) {
        self.cancelled += 1;
        if !invoice.cancel_asked {
            self.ghosts.push(format!("{name} was cancelled, nobody asked"));
        }
        if parcels > 0 {
            self.ghosts.push(format!("{name} was shipped, but it is cancelled"));
        }
        if charges > 1 || refunds > 1 {
            let what = format!("{name} is cancelled: {charges} charges, {refunds} refunds");
            self.duplicated.push(what);
        } else if refunds < charges {
            self.lost.push(format!("{name} is cancelled, its money was not returned"));
        } else if refunds > charges {
            self.ghosts.push(format!("{name} was refunded without a charge"));
        }
    }

    fn credit_note(&mut self, invoice: &Accepted, books: &Books) {
        self.credit_notes += 1;
        let name = format!("credit note {} ({})", invoice.reference, invoice.id);
        let payouts = books.accounts.get(&invoice.id).map_or(&[][..], |found| &found.payouts);
        self.paid_out += u64::from(!payouts.is_empty());
        self.once(payouts.len(), || format!("{name} was paid out"));
        if payouts.iter().any(|booking| booking.pence != invoice.total_pence) {
            self.ghosts.push(format!("{name}: another amount was paid out"));
        }
    }

    /// A coupon for each customer whose charged orders come to the threshold. Credit notes do not
    /// count, nor do refunds.
    fn customers(&mut self, accepted: &[Accepted], books: &Books) {
        let mut paid: BTreeMap<String, i64> = BTreeMap::new();
        for invoice in accepted.iter().filter(|invoice| invoice.kind == InvoiceKind::Order) {
            let was_charged =
                books.accounts.get(&invoice.id).is_some_and(|account| !account.charges.is_empty());
            if let (Some(customer), true) = (&invoice.customer, was_charged) {
                *paid.entry(format!("customer {customer}")).or_default() += invoice.total_pence;
            }
        }
        for (name, due_pence) in &paid {
            let customer = books.customers.get(name).cloned().unwrap_or_default();
            match customer.paid_pence.cmp(due_pence) {
                std::cmp::Ordering::Less => {
                    self.lost.push(format!("{name}: Marketing missed a payment"));
                }
                std::cmp::Ordering::Equal => {}
                std::cmp::Ordering::Greater => {
                    self.duplicated.push(format!("{name}: Marketing counted a payment twice"));
                }
            }
            self.coupons += customer.coupons.len() as u64;
            if *due_pence >= COUPON_FROM_PENCE {
                self.coupons_due += 1;
                self.once(customer.coupons.len(), || format!("{name} got a coupon"));
            } else if !customer.coupons.is_empty() {
                self.ghosts.push(format!("{name} got a coupon too early"));
            }
        }
        for (name, customer) in &books.customers {
            if !paid.contains_key(name) && !customer.coupons.is_empty() {
                self.coupons += customer.coupons.len() as u64;
                self.ghosts.push(format!("{name} got a coupon and never paid"));
            }
        }
    }

    /// Whatever stands in the books and was never asked for.
    fn strangers(&mut self, accepted: &[Accepted], books: &Books) {
        let known: std::collections::BTreeSet<&str> =
            accepted.iter().map(|invoice| invoice.id.as_str()).collect();
        let orders = books.orders.iter().filter(|(_, order)| order.placements > 0);
        let ids = orders.map(|(id, _)| id).chain(books.accounts.keys());
        for id in ids.chain(books.consignments.keys()) {
            if !known.contains(id.as_str()) {
                self.ghosts.push(format!("{id} stands in the books, nobody submitted it"));
            }
        }
    }

    fn once(&mut self, times: usize, what: impl FnOnce() -> String) {
        match times {
            0 => self.lost.push(format!("{}: never", what())),
            1 => {}
            times => self.duplicated.push(format!("{} {times} times", what())),
        }
    }
}

#[cfg(test)]
mod tests;
