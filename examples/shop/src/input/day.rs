//! A file of order lines into the invoices of a day.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use serde::Serialize;

use super::Invoice;
use super::columns::{Columns, no_header};
use super::error::InputError;
use super::fields::{Fields, split};
use super::lines::{Content, Lines, RawLine};
use super::order_line::{OrderLine, invoice_number, parse};
use super::rejects::{Counts, Reason, RejectSummary, Rejects};

/// The most that one invoice may come to: a billion pounds.
const INVOICE_PENCE_MAX: i64 = 100_000_000_000;

/// The orders of a day.
#[derive(Debug, Serialize)]
pub(crate) struct DayInput {
    /// The invoices that have a usable line, in the order in which they first appear.
    pub(crate) invoices: Vec<Invoice>,
    /// The lines read, without the column names and without blank lines: each is a line of an
    /// invoice above or was rejected.
    pub(crate) lines_read: u64,
    /// What could not be used.
    pub(crate) rejects: RejectSummary,
}

/// Reads the orders at `path`; what cannot be used goes to `rejects_path`, which is written only
/// when there is something to write.
///
/// The lines of one invoice need not stand together. An invoice of which some lines are rejected
/// keeps the others.
pub(crate) fn read_orders(path: &Path, rejects_path: &Path) -> Result<DayInput, InputError> {
    if path.is_dir() {
        let path = path.to_path_buf();
        return Err(InputError::Directory { path });
    }
    let file = File::open(path).map_err(|error| InputError::reading(path, error))?;
    let mut lines = Lines::new(without_mark(path, BufReader::new(file))?);
    let columns = read_header(path, &mut lines)?;
    let mut day = Day {
        rejects: Rejects::begin(path, rejects_path)?,
        columns,
        lines_read: 0,
        drafts: BTreeMap::new(),
    };
    while let Some(line) = next_line(path, &mut lines)? {
        day.take(&line)?;
    }
    if day.lines_read == 0 {
        let path = path.to_path_buf();
        return Err(InputError::HeaderOnly { path });
    }
    day.finish()
}

/// Passes over the mark that some programs put before UTF-8 text, and refuses UTF-16.
fn without_mark<R: BufRead>(path: &Path, mut reader: R) -> Result<R, InputError> {
    let start = reader.fill_buf().map_err(|error| InputError::reading(path, error))?;
    match start {
        [0xFF, 0xFE, ..] | [0xFE, 0xFF, ..] => {
            let path = path.to_path_buf();
            return Err(InputError::Utf16 { path });
        }
        [0xEF, 0xBB, 0xBF, ..] => reader.consume(3),
        _ => (),
    }
    Ok(reader)
}

/// Finds the columns in the first line that is not blank.
fn read_header<R: BufRead>(path: &Path, lines: &mut Lines<R>) -> Result<Columns, InputError> {
    let text = loop {
        match next_line(path, lines)?.map(|line| line.content) {
            Some(Content::Blank) => continue,
            Some(Content::Whole(text)) => break text,
            Some(Content::TooLong(_)) => {
                return Err(no_header(path, "it is longer than 64 KiB"));
            }
            None => {
                let path = path.to_path_buf();
                return Err(InputError::Empty { path });
            }
        }
    };
    if text.contains('\r') {
        return Err(no_header(path, "lines end with CR alone, not with LF"));
    }
    match split(&text) {
        Ok(names) => Columns::find(path, &names),
        Err(_) => Err(no_header(path, "a quote is not closed")),
    }
}

/// The next line of the file.
fn next_line<R: BufRead>(path: &Path, lines: &mut Lines<R>) -> Result<Option<RawLine>, InputError> {
    lines.next_line().map_err(|error| InputError::reading(path, error))
}

/// The day as far as it has been read.
#[derive(Debug)]
struct Day {
    /// Where each field stands.
    columns: Columns,
    /// The lines read so far.
    lines_read: u64,
    /// The invoices by number.
    drafts: BTreeMap<String, Draft>,
    /// Where the other lines go.
    rejects: Rejects,
}

/// An invoice as far as it has been read.
#[derive(Debug)]
struct Draft {
    /// The line where it first stood.
    first_line: u64,
    /// Itself, once it has a usable line.
    invoice: Option<Invoice>,
    /// What it comes to so far; never more than [`INVOICE_PENCE_MAX`].
    total_pence: i64,
    /// Its rejected lines.
    rejected: Counts,
}

impl Day {
    /// Takes in one line: into its invoice, or to the rejects.
    fn take(&mut self, line: &RawLine) -> Result<(), InputError> {
        self.lines_read += u64::from(!matches!(line.content, Content::Blank));
        match &line.content {
            Content::Blank => Ok(()),
            Content::Whole(text) => self.take_text(line.number, text),
            Content::TooLong(start) => {
                self.rejects.line(line.number, "", Reason::LineTooLong, start)
            }
        }
    }

    /// See [`Self::take`].
    fn take_text(&mut self, line: u64, text: &str) -> Result<(), InputError> {
        match split(text) {
            Ok(fields) => parse(&fields, &self.columns)
                .and_then(|parsed| self.draft(&parsed.number, line).add(parsed))
                .or_else(|reason| self.reject(line, &fields, reason, text)),
            Err(broken) => self.reject(line, &broken.before, Reason::BrokenQuote, text),
        }
    }

    /// Records a rejected line, in the file and with its invoice.
    fn reject(
        &mut self,
        line: u64,
        fields: &Fields<'_>,
        reason: Reason,
        text: &str,
    ) -> Result<(), InputError> {
        let number = self.number_of(fields);
        if !number.is_empty() {
            let draft = self.draft(&number, line);
            *draft.rejected.entry(reason).or_default() += 1;
        }
        self.rejects.line(line, &number, reason, text)
    }

    /// The invoice that a rejected line belongs to; empty where it does not tell.
    fn number_of(&self, fields: &Fields<'_>) -> String {
        let field = fields.get(self.columns.invoice);
        let text = field.map_or("", |field| field.trim());
        match invoice_number(text) {
            Some((number, _)) => number,
            // In a line of the wrong shape, anything may stand in this place.
            None if fields.len() != self.columns.count => String::new(),
            None => text.to_owned(),
        }
    }

    /// The invoice of this number, begun on `line` if it is new.
    fn draft(&mut self, number: &str, line: u64) -> &mut Draft {
        self.drafts.entry(number.to_owned()).or_insert_with(|| Draft {
            first_line: line,
            invoice: None,
            total_pence: 0,
            rejected: Counts::new(),
        })
    }

    /// Hands out the invoices, after a note of those without a usable line.
    fn finish(mut self) -> Result<DayInput, InputError> {
        let mut drafts: Vec<_> = self.drafts.into_iter().collect();
        drafts.sort_by_key(|(_, draft)| draft.first_line);
        let mut invoices = Vec::new();
        for (number, draft) in drafts {
            match draft.invoice {
                Some(invoice) => invoices.push(invoice),
                None => self.rejects.invoice(draft.first_line, &number, &draft.rejected)?,
            }
        }
        Ok(DayInput { invoices, lines_read: self.lines_read, rejects: self.rejects.finish()? })
    }
}

impl Draft {
    /// Adds a line, if it goes with those before.
    fn add(&mut self, line: OrderLine) -> Result<(), Reason> {
        let total_pence = self.total_pence.saturating_add(line.line.total_pence());
        if total_pence > INVOICE_PENCE_MAX {
            return Err(Reason::TotalTooLarge);
        }
        let invoice = self.invoice.get_or_insert_with(|| Invoice {
            number: line.number,
            kind: line.kind,
            customer: None,
            lines: Vec::new(),
        });
        match (&invoice.customer, line.customer) {
            (Some(known), Some(other)) if *known != other => return Err(Reason::OtherCustomer),
            (None, named) => invoice.customer = named,
            _ => (),
        }
        self.total_pence = total_pence;
        invoice.lines.push(line.line);
        Ok(())
    }
}
