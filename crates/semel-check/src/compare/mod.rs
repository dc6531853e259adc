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

use semel_core::Property;

use crate::report::Report;
use crate::world::World;

/// Makes one run again by its replay line, if it is of one of these rows under the same number of
/// faults. The error says what is wrong with the line.
pub fn replay(rows: &[Row], size: Size, line: &str) -> Result<Option<Report>, String> {
    for row in rows {
        for world in FaultClass::ALL.iter().flat_map(|class| class.worlds(row, size.faults)) {
            if world.is_replayed_by(line)? {
                return Ok(Some(replay_in(&world, line)));
            }
        }
    }
    Ok(None)
}

/// A line ends where the property is violated that it was printed for: another one may be violated
/// before, and must not be judged.
fn replay_in(world: &World, line: &str) -> Report {
    let alone = |property| world.clone().judge(&[property]).replay(line);
    let violated = Property::ALL.into_iter().map(alone).find(|report| report.breach().is_some());
    violated.unwrap_or_else(|| world.clone().replay(line))
}
