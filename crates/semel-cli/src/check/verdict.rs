//! What a finding means, given what was expected.

use semel_check::worlds::Expected;
use semel_check::{Breach, Finding, Report, Strategy};

/// Whether a world was explored as its expectation assumes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Size {
    /// In its usual size and manner.
    Usual,
    /// As someone asked: it may be too small for what is expected.
    Asked,
    /// One run of it, by its replay line: a line is printed only where something is violated.
    Replayed,
    /// One run of it, by hand.
    Played,
}

/// What a finding means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Everything holds.
    Holds,
    /// The expected violation was found.
    AsExpected,
    /// Not everything was to be covered; what was, holds.
    Sampled,
    /// A condition never came true in a world that someone changed.
    TooSmall,
    /// Something is violated.
    Violated,
    /// The expected violation was not found.
    Missing,
    /// Not everything was covered, though it should have been.
    Cut,
    /// The world cannot be checked.
    Unusable,
}

impl Verdict {
    /// What `report` means for a world of which this is expected.
    pub(super) fn of(expected: Expected, report: &Report, size: Size) -> Self {
        match (&report.finding, expected) {
            (Finding::Violated(found), _) if expected.is(&found.violation.breach) => {
                Self::AsExpected
            }
            (Finding::Violated(found), _) => match (&found.violation.breach, size) {
                (Breach::NeverHappened(_), Size::Asked) => Self::TooSmall,
                _ => Self::Violated,
            },
            (Finding::Holds | Finding::NotExhausted, Expected::Violated(_))
                if matches!(size, Size::Usual | Size::Replayed) =>
            {
                Self::Missing
            }
            (Finding::Holds, _) => Self::Holds,
            (Finding::NotExhausted, _) => match report.coverage.strategy {
                Strategy::Random { .. } | Strategy::OneRun => Self::Sampled,
                _ => Self::Cut,
            },
            _ => Self::Unusable,
        }
    }

    /// Whether all is well.
    pub(super) fn is_fine(self) -> bool {
        match self {
            Self::Holds | Self::AsExpected | Self::Sampled | Self::TooSmall => true,
            Self::Violated | Self::Missing | Self::Cut | Self::Unusable => false,
        }
    }

    /// For programs.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Holds => "holds",
            Self::AsExpected => "as_expected",
            Self::Sampled => "sampled",
            Self::TooSmall => "too_small",
            Self::Violated => "violated",
            Self::Missing => "missing",
            Self::Cut => "cut",
            Self::Unusable => "unusable",
        }
    }

    /// For people; in capitals where something is wrong.
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::Holds => "holds",
            Self::AsExpected => "as expected",
            Self::Sampled => "sampled",
            Self::TooSmall => "too small",
            Self::Violated => "VIOLATED",
            Self::Missing => "MISSING",
            Self::Cut => "CUT",
            Self::Unusable => "UNUSABLE",
        }
    }
}
