//! A made-up day before Christmas: the same orders for the same seed.
//!
//! A few customers come back again and again and most come once or twice, so that whatever is
//! promised above a sum paid is due to some of them and not to others.

use super::catalogue::{CATALOGUE, Product};
use super::{Invoice, InvoiceKind, Line};
use crate::seeded::Seeded;

/// The number of the first invoice.
const NUMBER_FIRST: u64 = 900_001;
/// The most lines of an order.
const LINES_MAX: u32 = 12;
/// Of a hundred invoices, so many are credit notes,
const CREDIT_NOTES_PERCENT: usize = 4;
/// so many orders come from guests,
const GUESTS_PERCENT: usize = 8;
/// and so many from somebody who buys for a whole firm.
const LARGE_PERCENT: usize = 5;

/// Names of customers: each of these with each surname.
const FIRST_NAMES: [&str; 16] = [
    "alba", "bertram", "clem", "dora", "edwin", "flora", "gwen", "harold", "ivy", "jasper",
    "kitty", "leo", "mabel", "noel", "olive", "percy",
];
/// See [`FIRST_NAMES`].
const SURNAMES: [&str; 15] = [
    "ashdown",
    "birch",
    "cole",
    "drummond",
    "elder",
    "frost",
    "garland",
    "hollis",
    "inglenook",
    "jolly",
    "kettle",
    "larkspur",
    "mistle",
    "nightingale",
    "oakes",
];

/// Makes up `count` invoices.
pub fn christmas_orders(seed: u64, count: usize) -> Vec<Invoice> {
    let mut day =
        Day { random: Seeded::new(seed), customers: (count / 3).max(6), creditable: Vec::new() };
    (NUMBER_FIRST..).take(count).map(|number| day.invoice(number)).collect()
}

/// The day as far as it has been made up.
#[derive(Debug)]
struct Day {
    /// Where all choices come from.
    random: Seeded,
    /// How many customers know the shop.
    customers: usize,
    /// The orders for which no credit note has been made out.
    creditable: Vec<Invoice>,
}

impl Day {
    /// The next invoice.
    fn invoice(&mut self, number: u64) -> Invoice {
        if self.random.percent(CREDIT_NOTES_PERCENT)
            && let Some(credit_note) = self.credit_note(number)
        {
            return credit_note;
        }
        let order = self.order(number);
        self.creditable.push(order.clone());
        order
    }

    /// An order of some products, each on one line.
    fn order(&mut self, number: u64) -> Invoice {
        let customer = self.customer();
        let is_large = self.random.percent(LARGE_PERCENT);
        let lines_max = self.random.within(1, LINES_MAX);
        let lines = self.random.within(1, lines_max);
        let products = self.products(lines as usize).into_iter();
        let lines = products.map(|product| self.line(product, is_large)).collect();
        Invoice { number: number.to_string(), kind: InvoiceKind::Order, customer, lines }
    }

    /// Goods of an earlier order that came back; `None` if there is no such order.
    fn credit_note(&mut self, number: u64) -> Option<Invoice> {
        let open = self.creditable.len();
        (open > 0).then(|| {
            let order = self.creditable.swap_remove(self.random.below(open));
            let kept = self.random.below(order.lines.len());
            let returned = order
                .lines
                .into_iter()
                .skip(kept)
                .map(|line| Line { quantity: self.random.within(1, line.quantity), ..line });
            Invoice {
                number: format!("C{number}"),
                kind: InvoiceKind::CreditNote,
                customer: order.customer,
                lines: returned.collect(),
            }
        })
    }

    /// Somebody, or a guest. The bound is drawn too, which favours the first of the customers.
    fn customer(&mut self) -> Option<String> {
        if self.random.percent(GUESTS_PERCENT) {
            return None;
        }
        let bound = self.random.below(self.customers) + 1;
        Some(name(self.random.below(bound)))
    }

    /// So many different products: the front of a shelf that is shuffled only that far.
    fn products(&mut self, count: usize) -> Vec<Product> {
        let mut shelf = CATALOGUE.to_vec();
        let count = count.min(shelf.len());
        for place in 0..count {
            let other = place + self.random.below(shelf.len() - place);
            shelf.swap(place, other);
        }
        shelf.truncate(count);
        shelf
    }

    /// One product, and how many of it.
    fn line(&mut self, product: Product, is_large: bool) -> Line {
        let quantity = if is_large {
            self.random.within(12, 60)
        } else {
            // Most people want one or two.
            let most = self.random.within(1, 4);
            self.random.within(1, most)
        };
        Line {
            sku: product.sku.to_owned(),
            description: product.description.to_owned(),
            quantity,
            unit_price_pence: product.unit_price_pence,
        }
    }
}

/// The name of a customer. After the last of them the first come again, as the second of the name.
fn name(customer: usize) -> String {
    let names = FIRST_NAMES.len() * SURNAMES.len();
    let (generation, place) = (customer / names, customer % names);
    // 16 and 15 have no common divisor, so that the pairs do not repeat.
    let first = FIRST_NAMES[place % FIRST_NAMES.len()];
    let surname = SURNAMES[place % SURNAMES.len()];
    match generation {
        0 => format!("{first}.{surname}"),
        _ => format!("{first}.{surname}.{}", generation + 1),
    }
}
