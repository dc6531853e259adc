//! A run of a world, told such that a person can follow it.

pub(crate) mod apart;
mod changes;
pub(crate) mod labels;
mod mermaid;
pub(crate) mod phrases;
mod recorder;
mod rows;
mod svg;
mod tell;
mod text;
mod words;

use std::fmt;

/// Who takes part in a run: a column of its diagram.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lane {
    /// Its name, such as `worker 1` or `store`.
    pub name: String,
    /// Whether it acts or is acted on.
    pub kind: LaneKind,
}

/// What a lane stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LaneKind {
    /// A worker, the finisher, or a person.
    Actor,
    /// The store, the queue, or objects outside.
    Place,
}

/// What an arrow of the diagram stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrow {
    /// A call that is answered.
    Answered,
    /// A call that is applied, but its answer is lost.
    ReplyLost,
    /// A call that is not applied and not answered.
    RequestLost,
    /// A call that is still under way when its caller goes on.
    Delayed,
    /// Something arrives that was under way.
    Arrives,
    /// A delivery: from the queue to a worker.
    Delivery,
}

/// How serious a step is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// What happens on a good day.
    Normal,
    /// A fault.
    Fault,
}

/// Something that a step changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// The lane of the place where it changed.
    pub lane: usize,
    /// What changed, after a `+` for new, `-` for gone, `~` for other.
    pub what: String,
}

/// One step of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The lane that acts.
    pub from: usize,
    /// The lane that is acted on, and by what kind of arrow; `None` where it acts by itself.
    pub to: Option<(usize, Arrow)>,
    /// The protocol's label of the step, such as `CommitState`.
    pub label: Option<String>,
    /// What is done, in a few words.
    pub what: String,
    /// How it turned out, such as `conflict` or `reply lost`.
    pub outcome: Option<String>,
    /// Whether it is a fault.
    pub weight: Weight,
    /// What it changed in the places.
    pub changes: Vec<Changed>,
    /// What the handler made of it, a line each.
    pub notes: Vec<String>,
    /// The lanes that are at work once it is over.
    pub busy: Vec<usize>,
}

impl Step {
    /// What is done, after the name of the protocol's step.
    pub(crate) fn deed(&self) -> String {
        match &self.label {
            Some(label) => format!("{label}: {}", self.what),
            None => self.what.clone(),
        }
    }

    /// Whose handler the notes are about.
    fn worker(&self) -> usize {
        match self.to {
            Some((to, Arrow::Delivery)) => to,
            _ => self.from,
        }
    }
}

/// A run of a world.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    /// The name of the world.
    pub world: String,
    /// Who takes part.
    pub lanes: Vec<Lane>,
    /// What happens, in order.
    pub steps: Vec<Step>,
    /// What is wrong after the last step.
    pub verdict: Option<String>,
}

impl Trace {
    /// The run as a Mermaid sequence diagram.
    pub fn to_mermaid(&self) -> String {
        mermaid::draw(self)
    }

    /// The run as a picture.
    pub fn to_svg(&self) -> String {
        svg::draw(self)
    }
}

/// The run as a sequence diagram in text.
impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        text::draw(self, f)
    }
}
