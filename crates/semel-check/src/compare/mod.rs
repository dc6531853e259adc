//! Protocols beside each other: what holds under which faults, what is remembered, what it costs.
//!
//! Everything is found out, nothing is written down: a *yes* is an exploration that came to its end,
//! a *no* has its shortest run, and every number is counted while the real code runs.
//!
//! ```
//! use semel_check::Property;
//! use semel_check::compare::{FaultClass, Size, Verdict, judge, rows};
//!
//! let row = rows().into_iter().find(|row| row.name() == "inbox-table");
//! let judged = judge(&row.unwrap(), FaultClass::Crashes, Size::default());
//! let verdict = judged.verdict(Property::AtMostOneStateChange);
//! assert!(matches!(verdict, Some(Verdict::No(_))), "it dies between the work and the note of it");
//! ```

mod cast;
mod class;
mod cost;
mod count;
mod judge;
mod matrix;
mod place;
mod row;

pub use class::FaultClass;
pub use cost::Units;
pub use count::{Calls, Growth, Numbers, Remembered, count};
pub use judge::{Cell, Judged, Size, Verdict, judge};
pub use matrix::{Compared, Summary, faults};
pub use place::Books;
pub use row::{Kind, Place, Row, rows};

use crate::report::Report;

/// Makes one run again by its replay line, if it is of one of these rows under the same number of
/// faults. The error says what is wrong with the line.
pub fn replay(rows: &[Row], size: Size, line: &str) -> Result<Option<Report>, String> {
    for row in rows {
        for world in FaultClass::ALL.iter().flat_map(|class| class.worlds(row, size.faults)) {
            if world.is_replayed_by(line)? {
                return Ok(Some(world.replay(line)));
            }
        }
    }
    Ok(None)
}
