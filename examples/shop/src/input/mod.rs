//! What the shop is given to work on: the orders of a day, read from a CSV file or made up.

pub(crate) mod catalogue;
mod christmas;
mod columns;
pub(crate) mod day;
pub(crate) mod error;
mod fields;
mod lines;
mod order_line;
pub(crate) mod rejects;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

pub(crate) use catalogue::CATALOGUE;
pub use christmas::christmas_orders;
pub(crate) use day::read_orders;

/// One invoice of the input: an order, or a credit note for goods that came back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invoice {
    /// Its number: digits for an order, `C` and digits for a credit note.
    pub number: String,
    /// Which of the two it is.
    pub kind: InvoiceKind,
    /// The customer's number or name; `None` is a guest.
    pub customer: Option<String>,
    /// At least one line, in the order of the input. A line that stands twice is meant twice.
    pub lines: Vec<Line>,
}

/// What an invoice asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InvoiceKind {
    /// Goods go out, money comes in.
    Order,
    /// Goods came back, money goes out.
    CreditNote,
}

/// One line of an invoice: so many of one product.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// The product's stock code.
    pub sku: String,
    /// The product in words; may be empty.
    pub description: String,
    /// How many; at least one, on a credit note too.
    pub quantity: u32,
    /// The price of one, in pence; above zero.
    pub unit_price_pence: i64,
}

impl Invoice {
    /// The sum of the lines in pence: above zero, for a credit note too.
    ///
    /// Saturates, so that an invoice that did not come from this module cannot overflow it.
    pub fn total_pence(&self) -> i64 {
        let totals = self.lines.iter().map(Line::total_pence);
        totals.fold(0, i64::saturating_add)
    }
}

impl Line {
    /// Quantity times price, in pence.
    fn total_pence(&self) -> i64 {
        self.unit_price_pence.saturating_mul(i64::from(self.quantity))
    }
}
