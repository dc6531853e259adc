//! The JSON documents of `check`.

use semel_check::trace::{Arrow, LaneKind, Step, Trace, Weight};
use semel_check::worlds::{BuiltIn, Expected, Manner};
use semel_check::{Coverage, Finding, Strategy, Unprocessed};
use serde::Serialize;

use super::Checked;

/// The document of `check --list`.
#[derive(Debug, Serialize)]
pub(super) struct List<'a> {
    worlds: Vec<Listed<'a>>,
}

#[derive(Debug, Serialize)]
struct Listed<'a> {
    name: &'a str,
    about: &'a str,
    workers: usize,
    faults: u32,
    manner: &'static str,
    expected: &'static str,
}

impl<'a> List<'a> {
    pub(super) fn of(worlds: &'a [BuiltIn]) -> Self {
        let listed = |world: &'a BuiltIn| Listed {
            name: world.name(),
            about: world.about(),
            workers: world.worker_count(),
            faults: world.faults_max(),
            manner: match world.manner() {
                Manner::Exhaustive => "exhaustive",
                Manner::Random { .. } => "random",
            },
            expected: expected(world.expected()),
        };
        Self { worlds: worlds.iter().map(listed).collect() }
    }
}

/// The document of `check`.
#[derive(Debug, Serialize)]
pub(super) struct Document<'a> {
    worlds: Vec<CheckedView<'a>>,
}

#[derive(Debug, Serialize)]
struct CheckedView<'a> {
    name: &'a str,
    about: &'a str,
    workers: usize,
    faults: u32,
    verdict: &'static str,
    finding: &'static str,
    breach: Option<String>,
    detail: Option<&'a str>,
    expected: &'static str,
    as_expected: bool,
    coverage: CoverageView<'a>,
    seconds: f64,
    replay: Option<&'a str>,
    trace: Option<TraceView<'a>>,
}

#[derive(Debug, Serialize)]
struct CoverageView<'a> {
    strategy: &'static str,
    seed: Option<u64>,
    states: u64,
    moves: u64,
    runs: u64,
    code_runs: u64,
    depth: u32,
    faults: u32,
    ends: u64,
    sometimes: Vec<SometimesView<'a>>,
    never_processed: Vec<UnprocessedView<'a>>,
    went_outside: &'a [String],
    cut: &'a [String],
}

#[derive(Debug, Serialize)]
struct SometimesView<'a> {
    name: &'a str,
    states: u64,
}

#[derive(Debug, Serialize)]
struct UnprocessedView<'a> {
    message: &'a str,
    failure: Option<&'a str>,
}

impl<'a> UnprocessedView<'a> {
    fn of(message: &'a Unprocessed) -> Self {
        Self { message: &message.name, failure: message.failure.as_deref() }
    }
}

/// A run, step by step.
#[derive(Debug, Serialize)]
pub(crate) struct TraceView<'a> {
    lanes: Vec<LaneView<'a>>,
    steps: Vec<StepView<'a>>,
}

#[derive(Debug, Serialize)]
struct LaneView<'a> {
    name: &'a str,
    kind: &'static str,
}

#[derive(Debug, Serialize)]
struct StepView<'a> {
    from: usize,
    to: Option<usize>,
    arrow: Option<&'static str>,
    label: Option<&'a str>,
    what: &'a str,
    outcome: Option<&'a str>,
    fault: bool,
    changes: Vec<&'a str>,
    notes: &'a [String],
}

impl<'a> Document<'a> {
    pub(super) fn of(all: &'a [Checked]) -> Self {
        Self { worlds: all.iter().map(CheckedView::of).collect() }
    }
}

impl<'a> CheckedView<'a> {
    fn of(checked: &'a Checked) -> Self {
        let found = checked.report.counterexample();
        let run = found.filter(|found| !found.trace.steps.is_empty());
        let (finding, reason) = match &checked.report.finding {
            Finding::Holds => ("holds", None),
            Finding::NotExhausted => ("not_exhausted", None),
            Finding::Violated(_) => ("violated", None),
            Finding::Unusable(error) => ("unusable", Some(error.reason.as_str())),
            _ => ("unknown", None),
        };
        Self {
            name: checked.built_in.name(),
            about: checked.built_in.about(),
            workers: checked.workers,
            faults: checked.faults,
            verdict: checked.verdict.name(),
            finding,
            breach: found.map(|found| found.violation.breach.to_string()),
            detail: found.map(|found| found.violation.detail.as_str()).or(reason),
            expected: expected(checked.built_in.expected()),
            as_expected: checked.verdict.is_fine(),
            coverage: CoverageView::of(&checked.report.coverage),
            seconds: checked.seconds,
            replay: run.map(|run| run.replay.as_str()),
            trace: run.map(|run| TraceView::of(&run.trace)),
        }
    }
}

fn expected(expected: Expected) -> &'static str {
    match expected {
        Expected::Holds => "holds",
        Expected::Violated(property) => property.name(),
    }
}

impl<'a> CoverageView<'a> {
    fn of(coverage: &'a Coverage) -> Self {
        let sometimes = coverage.sometimes.iter();
        Self {
            strategy: match coverage.strategy {
                Strategy::Exhaustive => "exhaustive",
                Strategy::Unmerged => "unmerged",
                Strategy::Random { .. } => "random",
                Strategy::OneRun => "one_run",
                _ => "unknown",
            },
            seed: match coverage.strategy {
                Strategy::Random { seed, .. } => Some(seed),
                _ => None,
            },
            states: coverage.states,
            moves: coverage.moves,
            runs: coverage.executions,
            code_runs: coverage.code_runs,
            depth: coverage.depth,
            faults: coverage.faults,
            ends: coverage.ends,
            sometimes: sometimes
                .map(|(name, states)| SometimesView { name, states: *states })
                .collect(),
            never_processed: coverage.never_processed.iter().map(UnprocessedView::of).collect(),
            went_outside: &coverage.went_outside,
            cut: &coverage.cut,
        }
    }
}

impl<'a> TraceView<'a> {
    pub(crate) fn of(trace: &'a Trace) -> Self {
        let lanes = trace.lanes.iter().map(|lane| LaneView {
            name: &lane.name,
            kind: match lane.kind {
                LaneKind::Actor => "actor",
                LaneKind::Place => "place",
            },
        });
        Self { lanes: lanes.collect(), steps: trace.steps.iter().map(StepView::of).collect() }
    }
}

impl<'a> StepView<'a> {
    fn of(step: &'a Step) -> Self {
        Self {
            from: step.from,
            to: step.to.map(|(to, _)| to),
            arrow: step.to.map(|(_, arrow)| match arrow {
                Arrow::Answered => "answered",
                Arrow::ReplyLost => "reply_lost",
                Arrow::RequestLost => "request_lost",
                Arrow::Delayed => "delayed",
                Arrow::Arrives => "arrives",
                Arrow::Delivery => "delivery",
            }),
            label: step.label.as_deref(),
            what: &step.what,
            outcome: step.outcome.as_deref(),
            fault: step.weight == Weight::Fault,
            changes: step.changes.iter().map(|change| change.what.as_str()).collect(),
            notes: &step.notes,
        }
    }
}
