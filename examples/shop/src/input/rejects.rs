//! The lines that cannot be used: counted, and written to a file of their own with the reason, so
//! that nothing is dropped silently.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::error::InputError;

/// Why a line cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Reason {
    /// The line is longer than 64 KiB.
    LineTooLong,
    /// A quote is not closed on its line, or closed in the middle of a field.
    BrokenQuote,
    /// More or fewer fields than columns.
    FieldCount,
    /// A field is longer than 4 KiB.
    FieldTooLong,
    /// Neither digits nor `C` and digits.
    InvoiceNumber,
    /// No stock code.
    StockCodeBlank,
    /// Not a whole number.
    QuantityNotWhole,
    /// None of the product.
    QuantityZero,
    /// Below zero in an order, or above zero in a credit note.
    QuantitySign,
    /// More than a million.
    QuantityTooLarge,
    /// Not a number.
    PriceNotANumber,
    /// Zero or below.
    PriceNotAboveZero,
    /// A fraction of a penny.
    PriceNotWholePence,
    /// More than a million pounds.
    PriceTooLarge,
    /// Earlier lines of the invoice name another customer.
    OtherCustomer,
    /// The invoice would come to more than a billion pounds.
    TotalTooLarge,
}

impl fmt::Display for Reason {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::LineTooLong => "the line is longer than 64 KiB",
            Self::BrokenQuote => "a quote is not closed on its line, or closes inside a field",
            Self::FieldCount => "more or fewer fields than columns",
            Self::FieldTooLong => "a field is longer than 4 KiB",
            Self::InvoiceNumber => "the invoice number is neither digits nor C and digits",
            Self::StockCodeBlank => "the stock code is blank",
            Self::QuantityNotWhole => "the quantity is not a whole number",
            Self::QuantityZero => "the quantity is zero",
            Self::QuantitySign => {
                "the quantity is below zero in an order, or above zero in a credit note"
            }
            Self::QuantityTooLarge => "the quantity is above a million",
            Self::PriceNotANumber => "the price is not a number",
            Self::PriceNotAboveZero => "the price is zero or below",
            Self::PriceNotWholePence => "the price is not in whole pence",
            Self::PriceTooLarge => "the price is above a million pounds",
            Self::OtherCustomer => "earlier lines of the invoice name another customer",
            Self::TotalTooLarge => "the invoice would come to more than a billion pounds",
        })
    }
}

/// How many lines were rejected for which reason.
pub(super) type Counts = BTreeMap<Reason, u64>;

/// What could not be used of a file of orders.
#[derive(Debug, Default, Serialize)]
pub(crate) struct RejectSummary {
    /// The lines rejected, for all reasons together.
    pub(crate) lines: u64,
    /// The lines rejected, for each reason.
    pub(crate) by_reason: Counts,
    /// The invoices of which no line was left.
    pub(crate) unusable_invoices: u64,
    /// Where to read of each of them; `None` when nothing was rejected.
    pub(crate) file: Option<PathBuf>,
}

/// Writes the rejects; makes the file when there is a first one.
#[derive(Debug)]
pub(super) struct Rejects {
    /// Where the file goes.
    path: PathBuf,
    /// The file, once it is there.
    writer: Option<csv::Writer<File>>,
    /// The counts so far.
    summary: RejectSummary,
}

impl Rejects {
    /// Begins without a file; one that an earlier run left at the path is removed, since it would
    /// speak of other orders.
    pub(super) fn begin(orders: &Path, path: &Path) -> Result<Self, InputError> {
        if is_same_file(orders, path) {
            let path = orders.to_path_buf();
            return Err(InputError::RejectsOverOrders { path });
        }
        let rejects =
            Self { path: path.to_path_buf(), writer: None, summary: RejectSummary::default() };
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(rejects.failed(error)),
            _ => Ok(rejects),
        }
    }

    /// Records a line; `invoice` is empty where the line does not tell.
    pub(super) fn line(
        &mut self,
        line: u64,
        invoice: &str,
        reason: Reason,
        text: &str,
    ) -> Result<(), InputError> {
        self.summary.lines += 1;
        *self.summary.by_reason.entry(reason).or_default() += 1;
        self.write(line, invoice, &reason.to_string(), text)
    }

    /// Records an invoice of which no line was left; `line` is where it first stood.
    pub(super) fn invoice(
        &mut self,
        line: u64,
        invoice: &str,
        reasons: &Counts,
    ) -> Result<(), InputError> {
        self.summary.unusable_invoices += 1;
        let reasons: Vec<String> =
            reasons.iter().map(|(reason, lines)| format!("{lines} × {reason}")).collect();
        let text = format!("lines rejected: {}", reasons.join("; "));
        self.write(line, invoice, "the invoice has no usable line", &text)
    }

    /// Closes the file and hands out the counts.
    pub(super) fn finish(mut self) -> Result<RejectSummary, InputError> {
        if let Some(mut writer) = self.writer.take() {
            writer.flush().map_err(|error| self.failed(error))?;
            self.summary.file = Some(self.path);
        }
        Ok(self.summary)
    }

    /// Writes one row, after the column names if it is the first.
    fn write(
        &mut self,
        line: u64,
        invoice: &str,
        reason: &str,
        text: &str,
    ) -> Result<(), InputError> {
        self.try_write([&line.to_string(), invoice, reason, text])
            .map_err(|error| self.failed(error))
    }

    /// See [`Self::write`].
    fn try_write(&mut self, row: [&str; 4]) -> io::Result<()> {
        let writer = match &mut self.writer {
            Some(writer) => writer,
            none => {
                let mut writer = csv::Writer::from_path(&self.path)?;
                writer.write_record(["line", "invoice", "reason", "text"])?;
                none.insert(writer)
            }
        };
        Ok(writer.write_record(row)?)
    }

    /// The error for a file that cannot be written.
    fn failed(&self, source: io::Error) -> InputError {
        let path = self.path.clone();
        InputError::Rejects { path, source }
    }
}

/// Whether both paths lead to one file that is there.
fn is_same_file(one: &Path, other: &Path) -> bool {
    match (one.canonicalize(), other.canonicalize()) {
        (Ok(one), Ok(other)) => one == other,
        _ => false,
    }
}
