//! The first line of the file: which column holds what.

use std::path::Path;

use super::error::InputError;
use super::fields::Fields;

/// The columns that the shop reads. Others may be there and are passed over.
const NEEDED: [&str; 6] =
    ["InvoiceNo", "StockCode", "Description", "Quantity", "UnitPrice", "CustomerID"];

/// How many column names, and how much of each, an error message repeats.
const SHOWN_NAMES: usize = 12;
/// See [`SHOWN_NAMES`].
const SHOWN_CHARS: usize = 40;

/// Where each needed field stands in a line.
#[derive(Debug)]
pub(super) struct Columns {
    /// How many fields each line has.
    pub(super) count: usize,
    /// `InvoiceNo`.
    pub(super) invoice: usize,
    /// `StockCode`.
    pub(super) sku: usize,
    /// `Description`.
    pub(super) description: usize,
    /// `Quantity`.
    pub(super) quantity: usize,
    /// `UnitPrice`.
    pub(super) unit_price: usize,
    /// `CustomerID`.
    pub(super) customer: usize,
}

impl Columns {
    /// Finds the needed columns by name: in any order, in upper or lower case.
    pub(super) fn find(path: &Path, names: &Fields<'_>) -> Result<Self, InputError> {
        let mut places = [0; NEEDED.len()];
        let mut missing = Vec::new();
        for (place, needed) in places.iter_mut().zip(NEEDED) {
            let mut found = (0..names.len()).filter(|at| is_named(names, *at, needed));
            match (found.next(), found.next()) {
                (Some(at), None) => *place = at,
                (None, _) => missing.push(needed),
                (Some(_), Some(_)) => {
                    let path = path.to_path_buf();
                    return Err(InputError::DuplicateColumn { path, name: needed });
                }
            }
        }
        if !missing.is_empty() {
            return Err(InputError::MissingColumns {
                path: path.to_path_buf(),
                missing: missing.join(", "),
                found: shown(names),
            });
        }
        let [invoice, sku, description, quantity, unit_price, customer] = places;
        Ok(Self { count: names.len(), invoice, sku, description, quantity, unit_price, customer })
    }
}

/// The error for a first line that cannot be split.
pub(super) fn no_header(path: &Path, why: &'static str) -> InputError {
    InputError::Header { path: path.to_path_buf(), why, needed: NEEDED.join(",") }
}

/// Whether the column at `at` has the name `needed`.
fn is_named(names: &Fields<'_>, at: usize, needed: &str) -> bool {
    let name = names.get(at).map(|name| name.trim());
    name.is_some_and(|name| name.eq_ignore_ascii_case(needed))
}

/// The names for a message, with nothing in them that a terminal would obey.
fn shown(names: &Fields<'_>) -> String {
    let short = |name: &str| name.chars().take(SHOWN_CHARS).collect::<String>();
    let mut shown: Vec<String> = names
        .iter()
        .take(SHOWN_NAMES)
        .map(|name| short(name.trim()).escape_debug().to_string())
        .collect();
    if names.len() > SHOWN_NAMES {
        shown.push("…".to_owned());
    }
    shown.join(", ")
}
