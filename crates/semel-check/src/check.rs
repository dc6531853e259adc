//! The ways to check a world.

use std::collections::BTreeSet;
use std::io::{BufRead, Write};
use std::sync::Arc;

use crate::explore::{Explorer, Line};
use crate::hash::Print;
use crate::report::{Coverage, Finding, Report, Strategy};
use crate::watch::{Watch, watched};
use crate::world::{World, WorldError};

/// The environment variable that makes a test replay one run instead.
const REPLAY: &str = "SEMEL_CHECK_REPLAY";

impl World {
    /// Explores every state within the number of faults, merging those that are the same.
    ///
    /// With `SEMEL_CHECK_REPLAY` set to the replay line of this world, that run is made instead.
    pub fn check(self) -> Report {
        match std::env::var(REPLAY) {
            Ok(line) => match line.parse::<Line>() {
                Ok(line) if self.clone().model().is_ok_and(|model| line.is_of(&model)) => {
                    self.explore(Strategy::OneRun, move |explorer| explorer.replay(&line))
                }
                Ok(_) => self.explore(Strategy::Exhaustive, Explorer::run),
                Err(reason) => self.unusable(Strategy::OneRun, format!("{REPLAY}: {reason}")),
            },
            Err(_) => self.explore(Strategy::Exhaustive, Explorer::run),
        }
    }

    /// The same, whatever the environment says.
    pub(crate) fn check_whole(self) -> Report {
        self.explore(Strategy::Exhaustive, Explorer::run)
    }

    /// Explores every order of moves that depend on each other, without merging: slower, and
    /// independent of what [`check`](Self::check) rests on.
    pub fn check_unmerged(self) -> Report {
        self.explore(Strategy::Unmerged, Explorer::run)
    }

    /// Makes `runs` runs drawn from `seed`, for worlds too large to exhaust. A violation is made as
    /// short as it can be made by leaving moves out.
    pub fn check_random(self, seed: u64, runs: u64) -> Report {
        self.explore(Strategy::Random { seed, runs }, Explorer::run)
    }

    /// Explores the world in both ways that cover everything, and compares the ends they find.
    pub fn cross_check(self) -> CrossCheck {
        let merged = self.clone().explore(Strategy::Exhaustive, Explorer::ends_of);
        let unmerged = self.explore(Strategy::Unmerged, Explorer::ends_of);
        let agree = merged.0 == unmerged.0 && !merged.0.is_empty();
        CrossCheck { agree, merged: merged.1, unmerged: unmerged.1 }
    }

    /// Makes one run by its replay line.
    pub fn replay(self, line: &str) -> Report {
        match line.parse::<Line>() {
            Ok(line) => self.explore(Strategy::OneRun, move |explorer| explorer.replay(&line)),
            Err(reason) => self.unusable(Strategy::OneRun, reason),
        }
    }

    /// Lets a person be the scheduler: shows the world and what can happen next on `output`, and
    /// reads from `input` what shall.
    pub fn play(
        self,
        mut input: impl BufRead + Send + 'static,
        mut output: impl Write + Send + 'static,
    ) -> Report {
        self.explore(Strategy::OneRun, move |explorer| explorer.play(&mut input, &mut output))
    }

    /// Whether a replay line is of this world, as it is set up. The error says what is wrong with
    /// the line.
    pub fn is_replayed_by(&self, line: &str) -> Result<bool, String> {
        let line: Line = line.parse()?;
        Ok(self.clone().model().is_ok_and(|model| line.is_of(&model)))
    }

    fn explore<T: From<Report> + Send + 'static>(
        self,
        strategy: Strategy,
        work: impl FnOnce(Explorer) -> T + Send + 'static,
    ) -> T {
        let (name, patience, forgets) =
            (self.name().to_owned(), self.patience_of(), self.forgets());
        let model = match self.model() {
            Ok(model) => Arc::new(model),
            Err(error) => return unusable(error, strategy).into(),
        };
        let work = move |watch: Watch| {
            let explorer = Explorer::new(model, strategy, watch);
            work(if forgets { explorer.forgetful() } else { explorer })
        };
        match watched(patience, work) {
            Ok(done) => done,
            Err(reason) => unusable(WorldError { world: name, reason }, strategy).into(),
        }
    }

    fn unusable(self, strategy: Strategy, reason: String) -> Report {
        unusable(WorldError { world: self.name().to_owned(), reason }, strategy)
    }
}

fn unusable(error: WorldError, strategy: Strategy) -> Report {
    Report {
        world: error.world.clone(),
        finding: Finding::Unusable(error),
        coverage: Coverage::new(strategy),
    }
}

/// One world explored in two ways that rest on different ideas: merged states, and orders of moves.
#[derive(Clone, Debug)]
pub struct CrossCheck {
    /// Whether both found the same ends, and any at all.
    pub agree: bool,
    /// What the exploration with merged states found.
    pub merged: Report,
    /// What the exploration without found.
    pub unmerged: Report,
}

/// An exploration with the prints of the ends it found.
type Ends = (BTreeSet<Print>, Report);

impl From<Report> for Ends {
    fn from(report: Report) -> Self {
        (BTreeSet::new(), report)
    }
}
