//! One class of faults for one row: which properties hold, and the shortest run in which one does
//! not.

use semel_core::Property;

use super::class::FaultClass;
use super::row::Row;
use crate::judge::Breach;
use crate::report::{Counterexample, Finding};
use crate::world::World;

/// How much of the worlds is explored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// The most faults of a run in the world with one message; the larger worlds have one less.
    pub faults: u32,
    /// After how many states of a world the checker gives up, saying so.
    pub states_max: usize,
}

impl Default for Size {
    fn default() -> Self {
        Self { faults: 2, states_max: 700_000 }
    }
}

/// What was found about a property.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// It holds in every run of these worlds.
    Yes,
    /// It is violated, and this is the shortest run that shows it.
    No(Box<Counterexample>),
    /// No counterexample was found, and not all was looked at.
    NotExhausted,
    /// The code went wrong in another way, so that nothing more can be said.
    Stopped(Box<Counterexample>),
    /// A world could not be explored, and why.
    Unusable(String),
}

/// One property of one row under one class of faults.
#[derive(Clone, Debug)]
pub struct Cell {
    /// Which property.
    pub property: Property,
    /// What was found.
    pub verdict: Verdict,
}

/// One row under one class of faults.
#[derive(Clone, Debug)]
pub struct Judged {
    /// Which class.
    pub class: FaultClass,
    /// A cell for each property, in the order of [`Property::ALL`].
    pub cells: Vec<Cell>,
    /// How many states were seen until all was said.
    pub states: u64,
    /// Why not everything was covered, where it was not.
    pub cut: Vec<String>,
}

impl Judged {
    /// What was found about a property.
    pub fn verdict(&self, property: Property) -> Option<&Verdict> {
        self.cells.iter().find(|cell| cell.property == property).map(|cell| &cell.verdict)
    }
}

/// Judges all properties of a row under one class of faults.
///
/// All are judged at once. What is violated first is noted with its run, and the others are judged
/// again, until those that are left hold. So each run is a shortest one for its property, and those
/// that hold share one exploration.
pub fn judge(row: &Row, class: FaultClass, size: Size) -> Judged {
    let mut open = Open::new(class);
    for world in class.worlds(row, size.faults) {
        open.look_at(&world.states_max(size.states_max));
    }
    open.close()
}

/// What is not settled yet.
struct Open {
    judged: Judged,
    left: Vec<Property>,
    is_cut: bool,
}

impl Open {
    fn new(class: FaultClass) -> Self {
        let judged = Judged { class, cells: Vec::new(), states: 0, cut: Vec::new() };
        Self { judged, left: Property::ALL.to_vec(), is_cut: false }
    }

    fn look_at(&mut self, world: &World) {
        while !self.left.is_empty() {
            let report = world.clone().judge(&self.left).check_whole();
            self.judged.states += report.coverage.states;
            match report.finding {
                Finding::Holds => return,
                Finding::NotExhausted => {
                    self.is_cut = true;
                    self.judged.cut.extend(report.coverage.cut);
                    return;
                }
                Finding::Violated(found) => match found.violation.breach {
                    Breach::Property(property) => self.settle(property, Verdict::No(found)),
                    _ => self.settle_all(&Verdict::Stopped(found)),
                },
                Finding::Unusable(error) => self.settle_all(&Verdict::Unusable(error.reason)),
            }
        }
    }

    fn settle(&mut self, property: Property, verdict: Verdict) {
        self.left.retain(|left| *left != property);
        self.judged.cells.push(Cell { property, verdict });
    }

    fn settle_all(&mut self, verdict: &Verdict) {
        for property in std::mem::take(&mut self.left) {
            self.settle(property, verdict.clone());
        }
    }

    fn close(mut self) -> Judged {
        let verdict = if self.is_cut { Verdict::NotExhausted } else { Verdict::Yes };
        self.settle_all(&verdict);
        self.judged.cells.sort_by_key(|cell| cell.property);
        self.judged.cut.sort();
        self.judged.cut.dedup();
        self.judged
    }
}
