//! What a check found, and what it covered.

use std::fmt;

use crate::judge::{Breach, Violation};
use crate::trace::Trace;
use crate::world::WorldError;

/// How a world was explored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Strategy {
    /// Breadth-first, with states merged: the first counterexample is a shortest one with the
    /// fewest faults.
    Exhaustive,
    /// Every order of dependent moves, nothing merged (sleep sets).
    Unmerged,
    /// Runs drawn from a seed.
    Random {
        /// The seed.
        seed: u64,
        /// How many runs.
        runs: u64,
    },
    /// One run by its replay line, or by hand.
    OneRun,
}

/// A message that no run processed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unprocessed {
    /// Which message, at which endpoint.
    pub name: String,
    /// Why its handler failed last, if it did by itself.
    pub failure: Option<String>,
}

impl fmt::Display for Unprocessed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} was processed in no run", self.name)?;
        match &self.failure {
            Some(reason) => {
                write!(f, "; its handler never succeeded, and failed last with: {reason}")
            }
            None => Ok(()),
        }
    }
}

/// What was covered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coverage {
    /// How the world was explored.
    pub strategy: Strategy,
    /// Different states seen; where nothing is merged, states visited.
    pub states: u64,
    /// Moves made.
    pub moves: u64,
    /// Runs that came to an end.
    pub executions: u64,
    /// How often the code under test was run from its beginning.
    pub code_runs: u64,
    /// The longest run, in moves.
    pub depth: u32,
    /// The most faults of a run.
    pub faults: u32,
    /// Different ends: states in which nothing is left to do.
    pub ends: u64,
    /// How often each `sometimes` condition was seen, in the order they were given.
    pub sometimes: Vec<(String, u64)>,
    /// Messages from outside that were processed in no end of any run.
    pub never_processed: Vec<Unprocessed>,
    /// Endpoints that are not in this world, each with a type of message that was sent to it.
    pub went_outside: Vec<String>,
    /// Why it is not everything; empty where it is.
    pub cut: Vec<String>,
    /// Whether the exploration came to its end, neither cut short nor stopped by a violation.
    pub is_whole: bool,
}

impl Coverage {
    pub(crate) fn new(strategy: Strategy) -> Self {
        Self {
            strategy,
            states: 0,
            moves: 0,
            executions: 0,
            code_runs: 0,
            depth: 0,
            faults: 0,
            ends: 0,
            sometimes: Vec::new(),
            never_processed: Vec::new(),
            went_outside: Vec::new(),
            cut: Vec::new(),
            is_whole: false,
        }
    }

    /// Whether every run within the number of faults was covered.
    pub fn is_complete(&self) -> bool {
        self.cut.is_empty() && matches!(self.strategy, Strategy::Exhaustive | Strategy::Unmerged)
    }
}

/// What a check found.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Finding {
    /// Everything was covered, and all of it holds.
    Holds,
    /// What was covered holds, but it was not everything.
    NotExhausted,
    /// Something was violated.
    Violated(Box<Counterexample>),
    /// The world cannot be checked.
    Unusable(WorldError),
}

/// A run that violates something.
#[derive(Clone, Debug)]
pub struct Counterexample {
    /// What was violated, and how.
    pub violation: Violation,
    /// The run.
    pub trace: Trace,
    /// The one line that replays it.
    pub replay: String,
}

/// The result of a check.
#[derive(Clone, Debug)]
pub struct Report {
    /// The name of the world.
    pub world: String,
    /// What was found.
    pub finding: Finding,
    /// What was covered.
    pub coverage: Coverage,
}

impl Report {
    /// Whether everything was covered, and all of it holds.
    pub fn holds(&self) -> bool {
        matches!(self.finding, Finding::Holds)
    }

    /// The run that violates something, if there is one.
    pub fn counterexample(&self) -> Option<&Counterexample> {
        match &self.finding {
            Finding::Violated(counterexample) => Some(counterexample),
            _ => None,
        }
    }

    /// What was violated, if anything was.
    pub fn breach(&self) -> Option<&Breach> {
        self.counterexample().map(|counterexample| &counterexample.violation.breach)
    }

    /// # Panics
    /// With the whole report, unless everything was covered and holds.
    #[track_caller]
    pub fn assert_holds(&self) {
        assert!(self.holds(), "{self}");
    }

    /// # Panics
    /// With the whole report, unless something was violated; returns what was.
    #[expect(clippy::panic, reason = "this is how a test fails")]
    #[track_caller]
    pub fn assert_violated(&self) -> &Counterexample {
        match self.counterexample() {
            Some(counterexample) => counterexample,
            None => panic!("expected a violation, but\n{self}"),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.finding {
            Finding::Holds => writeln!(f, "{}: holds.", self.world)?,
            Finding::NotExhausted => {
                writeln!(
                    f,
                    "{}: no violation found, NOT exhausted: this is no proof.",
                    self.world
                )?;
            }
            Finding::Violated(counterexample) => {
                writeln!(f, "{}: VIOLATED.\n\n{counterexample}", self.world)?;
            }
            Finding::Unusable(error) => return writeln!(f, "{error}"),
        }
        write!(f, "{}", self.coverage)
    }
}

/// The run and what it violates. `{:#}` leaves out how a test replays it.
impl fmt::Display for Counterexample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.violation.breach)?;
        if let Breach::Property(property) = self.violation.breach {
            writeln!(f, "  promises: {}.", property.says())?;
        }
        writeln!(f, "  but here: {}", self.violation.detail)?;
        // What never happened has no run; neither has what is so from the beginning.
        if self.trace.steps.is_empty() {
            return Ok(());
        }
        writeln!(f, "\n{}", self.trace)?;
        if f.alternate() {
            return Ok(());
        }
        writeln!(
            f,
            "Replay it by this line, set as SEMEL_CHECK_REPLAY for a test that calls `check`, or \
             given to `World::replay`:\n  {}",
            self.replay
        )
    }
}

impl Violation {
    /// What was violated and how, in one go, as it stands below a trace.
    pub(crate) fn verdict(&self) -> String {
        match &self.breach {
            Breach::Property(property) => {
                format!("{property} promises: {}. But here: {}", property.says(), self.detail)
            }
            breach => format!("{breach}: {}", self.detail),
        }
    }
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = match self.strategy {
            Strategy::Exhaustive if self.is_whole => "Covered every state",
            Strategy::Unmerged if self.is_whole => "Covered every order of dependent moves",
            Strategy::Exhaustive | Strategy::Unmerged => "Looked at",
            Strategy::Random { .. } => "Made random runs",
            Strategy::OneRun => "Made one run",
        };
        writeln!(
            f,
            "{how}: {} states, {} moves, {} runs, up to {} moves and {} faults a run, {} different \
             ends.",
            self.states, self.moves, self.executions, self.depth, self.faults, self.ends
        )?;
        if let Strategy::Random { seed, .. } = self.strategy {
            writeln!(f, "The seed was {seed}.")?;
        }
        for (name, seen) in &self.sometimes {
            writeln!(f, "\"{name}\" was seen in {seen} states.")?;
        }
        for left in &self.went_outside {
            writeln!(f, "Sent to an endpoint outside this world: {left}.")?;
        }
        for message in &self.never_processed {
            writeln!(f, "Mind: {message}.")?;
        }
        for cut in &self.cut {
            writeln!(f, "Not everything: {cut}.")?;
        }
        Ok(())
    }
}
