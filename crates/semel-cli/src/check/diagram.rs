//! The run that violates something, as a diagram in a file.

use std::path::{Path, PathBuf};

use semel_check::Counterexample;
use semel_check::trace::Trace;

use super::Checked;
use crate::args::CheckArgs;
use crate::failure::{Exit, Failure};
use crate::output::{Format, Output};

/// A diagram that was asked for.
#[derive(Debug)]
pub(super) struct Diagram {
    kind: Kind,
    place: Place,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Mermaid,
    Svg,
}

#[derive(Debug)]
enum Place {
    /// The standard output, with nothing else on it.
    Output,
    File(PathBuf),
}

impl Diagram {
    /// The diagram that the arguments ask for.
    pub(super) fn asked(args: &CheckArgs, format: Format) -> Result<Option<Self>, Failure> {
        let (kind, path) = match (&args.mermaid, &args.svg) {
            (Some(path), _) => (Kind::Mermaid, path),
            (None, Some(path)) => (Kind::Svg, path),
            (None, None) => return Ok(None),
        };
        let place = match (path == Path::new("-"), format) {
            (false, _) => Place::File(path.clone()),
            (true, Format::Human) => Place::Output,
            (true, Format::Json) => {
                return Err(Failure::new(
                    Exit::Usage,
                    "the standard output cannot hold both JSON and a diagram",
                    "Name a file instead of `-`, or leave out `--json`.",
                ));
            }
        };
        Ok(Some(Self { kind, place }))
    }

    /// Whether nothing else may be on the standard output.
    pub(super) fn is_alone(&self) -> bool {
        matches!(self.place, Place::Output)
    }

    /// Draws the first run that violates something; one that was not expected goes first.
    pub(super) fn draw(&self, all: &[Checked], output: &mut Output) -> Result<(), Failure> {
        let (expected, not): (Vec<&Checked>, Vec<&Checked>) =
            all.iter().partition(|checked| checked.verdict.is_fine());
        let found = not.iter().chain(&expected).find_map(|checked| run(checked));
        let Some(found) = found else {
            return Err(Failure::new(
                Exit::NotAll,
                "no run violated anything, so there is no run to draw",
                "Name a world in which a violation is expected: `semel check --list`.",
            ));
        };
        let text = self.text(&found.trace);
        match &self.place {
            Place::Output => output.bytes(text.as_bytes()),
            Place::File(path) => std::fs::write(path, text).map_err(|error| {
                Failure::new(
                    Exit::Output,
                    format!("the diagram cannot be written to `{}`: {error}", path.display()),
                    "Name a file in a folder that is there and that you may write to.",
                )
            }),
        }
    }

    fn text(&self, trace: &Trace) -> String {
        let mut text = match self.kind {
            Kind::Mermaid => trace.to_mermaid(),
            Kind::Svg => trace.to_svg(),
        };
        if !text.ends_with('\n') {
            text.push('\n');
        }
        text
    }
}

/// The run that violates something; what never happened has none.
fn run(checked: &Checked) -> Option<&Counterexample> {
    checked.report.counterexample().filter(|found| !found.trace.steps.is_empty())
}
