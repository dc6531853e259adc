//! The fields of one line into one line of an invoice.

use super::columns::Columns;
use super::fields::Fields;
use super::rejects::Reason;
use super::{InvoiceKind, Line};

/// The longest field.
const FIELD_BYTES_MAX: usize = 4 * 1024;
/// The most digits of an invoice number.
const INVOICE_DIGITS_MAX: usize = 20;
/// The most of one product on one line.
const QUANTITY_MAX: u32 = 1_000_000;
/// The dearest product: a million pounds.
const UNIT_PRICE_PENCE_MAX: i64 = 100_000_000;

/// A line that can be used, and what it says about its invoice.
#[derive(Debug)]
pub(super) struct OrderLine {
    /// The invoice's number.
    pub(super) number: String,
    /// The invoice's kind.
    pub(super) kind: InvoiceKind,
    /// The invoice's customer.
    pub(super) customer: Option<String>,
    /// The line.
    pub(super) line: Line,
}

/// Reads one line of an invoice; the first field that is wrong gives the reason.
pub(super) fn parse(fields: &Fields<'_>, columns: &Columns) -> Result<OrderLine, Reason> {
    if fields.len() != columns.count {
        return Err(Reason::FieldCount);
    }
    if fields.iter().any(|field| field.len() > FIELD_BYTES_MAX) {
        return Err(Reason::FieldTooLong);
    }
    let field = |at: usize| fields.get(at).map_or("", |field| field.trim());
    let (number, kind) = invoice_number(field(columns.invoice)).ok_or(Reason::InvoiceNumber)?;
    let sku = field(columns.sku);
    if sku.is_empty() {
        return Err(Reason::StockCodeBlank);
    }
    Ok(OrderLine {
        number,
        kind,
        line: Line {
            sku: sku.to_owned(),
            description: field(columns.description).to_owned(),
            quantity: quantity(field(columns.quantity), kind)?,
            unit_price_pence: price_pence(field(columns.unit_price))?,
        },
        customer: customer(field(columns.customer)),
    })
}

/// The number as it is stored, and the kind it stands for: digits, or `C` and digits.
pub(super) fn invoice_number(text: &str) -> Option<(String, InvoiceKind)> {
    let (kind, digits) = match text.strip_prefix(['C', 'c']) {
        Some(digits) => (InvoiceKind::CreditNote, digits),
        None => (InvoiceKind::Order, text),
    };
    let fits = (1..=INVOICE_DIGITS_MAX).contains(&digits.len()) && all_digits(digits);
    fits.then(|| (text.to_ascii_uppercase(), kind))
}

/// How many: above zero in an order, below zero in a credit note, stored above zero.
fn quantity(text: &str, kind: InvoiceKind) -> Result<u32, Reason> {
    let (is_negative, digits) = signed(without_zero_fraction(text));
    if digits.is_empty() || !all_digits(digits) {
        return Err(Reason::QuantityNotWhole);
    }
    // All digits, so that the only way to fail is to be too large.
    let quantity: u32 = digits.parse().map_err(|_| Reason::QuantityTooLarge)?;
    match quantity {
        0 => Err(Reason::QuantityZero),
        _ if is_negative != (kind == InvoiceKind::CreditNote) => Err(Reason::QuantitySign),
        1..=QUANTITY_MAX => Ok(quantity),
        _ => Err(Reason::QuantityTooLarge),
    }
}

/// A price such as `2.55` in pence, by digits alone: a float would lose pence.
fn price_pence(text: &str) -> Result<i64, Reason> {
    let (is_negative, digits) = signed(text);
    let (pounds, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if pounds.len() + fraction.len() == 0 || !all_digits(pounds) || !all_digits(fraction) {
        return Err(Reason::PriceNotANumber);
    }
    let fraction = fraction.trim_end_matches('0');
    if is_negative || (fraction.is_empty() && pounds.trim_start_matches('0').is_empty()) {
        return Err(Reason::PriceNotAboveZero);
    }
    if fraction.len() > 2 {
        return Err(Reason::PriceNotWholePence);
    }
    let pence: i64 =
        format!("{pounds}{fraction:0<2}").parse().map_err(|_| Reason::PriceTooLarge)?;
    match pence {
        ..=UNIT_PRICE_PENCE_MAX => Ok(pence),
        _ => Err(Reason::PriceTooLarge),
    }
}

/// The customer, if one is named. Spreadsheets write the number 17850 as `17850.0`.
fn customer(text: &str) -> Option<String> {
    let customer = match text.split_once('.') {
        Some((digits, _)) if all_digits(digits) => without_zero_fraction(text),
        _ => text,
    };
    (!customer.is_empty()).then(|| customer.to_owned())
}

/// The text without a trailing `.0`, `.00` and so on.
fn without_zero_fraction(text: &str) -> &str {
    match text.split_once('.') {
        Some((whole, zeros)) if !zeros.is_empty() && zeros.bytes().all(|byte| byte == b'0') => {
            whole
        }
        _ => text,
    }
}

/// Whether the number is negative, and its digits.
fn signed(text: &str) -> (bool, &str) {
    match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    }
}

/// Whether no other character stands in the text; so it is for the empty text.
fn all_digits(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}
