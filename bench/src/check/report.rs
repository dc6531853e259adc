//! The figures of the checker, as tables and as JSON.

use comfy_table::Table;
use serde::Serialize;

use super::shared;
use super::sizes::Figures;
use crate::report::median;

/// How much of a world was covered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Extent {
    /// All of it.
    Everything,
    /// What was drawn, or what came first.
    Part,
}

/// One explorer in one round.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Sample {
    /// Runs of the world that came to an end.
    pub(crate) executions: u64,
    /// Moves made; with shuttle, calls on the places.
    pub(crate) moves: u64,
    /// How often the code under test was run from its beginning.
    pub(crate) code_runs: u64,
    /// Different states; where nothing is merged, states visited. Shuttle knows none.
    pub(crate) states: Option<u64>,
    /// How much was covered.
    pub(crate) extent: Extent,
    /// How long one exploration took.
    pub(crate) seconds: f64,
}

impl Sample {
    fn executions_per_second(&self) -> f64 {
        self.executions as f64 / self.seconds
    }

    fn moves_per_second(&self) -> f64 {
        self.moves as f64 / self.seconds
    }
}

/// Every explorer once.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Round {
    /// Every state, merged.
    pub(crate) merged: Sample,
    /// Every order of dependent moves.
    pub(crate) unmerged: Sample,
    /// Random runs, remembering what the code does.
    pub(crate) random: Sample,
    /// Random runs, the code run anew in each.
    pub(crate) forgetful: Sample,
    /// Shuttle, depth-first.
    pub(crate) shuttle_depth_first: Sample,
    /// Shuttle, at random.
    pub(crate) shuttle_random: Sample,
}

type Pick = fn(&Round) -> Sample;

const EXPLORERS: [(&str, Pick); 6] = [
    ("semel, states merged", |round| round.merged),
    ("semel, orders of dependent moves", |round| round.unmerged),
    ("semel, random, remembering", |round| round.random),
    ("semel, random, code run anew", |round| round.forgetful),
    ("shuttle, depth-first", |round| round.shuttle_depth_first),
    ("shuttle, random", |round| round.shuttle_random),
];

/// One world, explored by all.
#[derive(Debug, Serialize)]
pub(crate) struct Scene {
    world: String,
    /// Median of the ratios of executions per second, round by round.
    code_run_anew_to_shuttle_depth_first: f64,
    rounds: Vec<Round>,
}

impl Scene {
    /// Computes the ratios.
    pub(crate) fn new(scene: shared::Scene, rounds: Vec<Round>) -> Self {
        let ratio = to_shuttle(&rounds, |round| round.forgetful);
        Self { world: scene.to_string(), code_run_anew_to_shuttle_depth_first: ratio, rounds }
    }

    fn print(&self) {
        let mut table = Table::new();
        table.set_header([
            self.world.as_str(),
            "executions/s",
            "to shuttle depth-first",
            "moves/s",
            "executions",
            "moves each",
            "code runs each",
            "states",
            "seconds",
            "covers",
        ]);
        for (name, pick) in EXPLORERS {
            let Some(last) = self.rounds.last().map(pick) else { continue };
            let of_each = |count: u64| format!("{:.1}", count as f64 / last.executions as f64);
            let middle = |figure: fn(&Sample) -> f64| {
                median(self.rounds.iter().map(|round| figure(&pick(round))))
            };
            table.add_row([
                name.to_owned(),
                format!("{:.0}", middle(Sample::executions_per_second)),
                format!("{:.2}", to_shuttle(&self.rounds, pick)),
                format!("{:.0}", middle(Sample::moves_per_second)),
                last.executions.to_string(),
                of_each(last.moves),
                of_each(last.code_runs),
                last.states.map_or_else(|| "–".to_owned(), |states| states.to_string()),
                format!("{:.4}", middle(|sample| sample.seconds)),
                if last.extent == Extent::Everything { "everything" } else { "a part" }.to_owned(),
            ]);
        }
        println!("{table}");
        println!("(medians of {} rounds; with shuttle, calls count as moves)", self.rounds.len());
    }
}

fn to_shuttle(rounds: &[Round], pick: Pick) -> f64 {
    median(rounds.iter().map(|round| {
        let other = round.shuttle_depth_first.executions_per_second();
        pick(round).executions_per_second() / other
    }))
}

/// Everything.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) scenes: Vec<Scene>,
    pub(crate) sizes: Vec<Figures>,
}

impl Report {
    /// Prints the tables.
    pub(crate) fn print(&self) {
        self.scenes.iter().for_each(Scene::print);
        if self.sizes.is_empty() {
            return;
        }
        let mut table = Table::new();
        table.set_header(["world", "states", "moves", "seconds", "peak MiB", "covers"]);
        for size in &self.sizes {
            table.add_row([
                size.world.clone(),
                size.states.to_string(),
                size.moves.to_string(),
                format!("{:.1}", size.seconds),
                format!("{:.0}", size.peak_mib),
                if size.complete { "everything" } else { "a part" }.to_owned(),
            ]);
        }
        println!("{table}");
    }
}
