//! A run as rows: what to draw between the lanes, and the words beside it.
//!
//! Text and picture draw the same rows, so that whoever knows one can read the other.

use super::{Arrow, Step, Trace, Weight};

/// One row of a diagram.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) drawing: Drawing,
    pub(super) words: String,
    pub(super) tone: Tone,
}

/// What a row shows on the lanes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Drawing {
    /// The lanes alone.
    Nothing,
    Line(Line),
    Mark(usize, Mark),
}

/// A line from lane to lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) stroke: Stroke,
    pub(super) reach: Reach,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stroke {
    /// A call.
    Plain,
    /// An answer.
    Dashed,
    /// A delivery.
    Bold,
}

/// How far a line comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// All the way.
    Arrives,
    /// It is lost just before it arrives.
    Lost,
    /// It is still on its way.
    Underway,
    /// It was on its way, and arrives now.
    AtLast,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    /// Something happens here.
    Happens,
    /// Something breaks here.
    Breaks,
    /// Something changes here.
    Changes,
}

/// What the words of a row tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    /// What is done.
    Deed,
    /// What changes.
    Change,
    /// How it turns out.
    Outcome,
    /// What goes wrong.
    Fault,
    /// What the handler makes of it.
    Note,
}

/// The rows of one step, in the order in which things happen.
pub(super) fn rows(step: &Step) -> Vec<Row> {
    let is_fault = step.weight == Weight::Fault;
    let is_alone = is_fault && step.outcome.is_none();
    let (there, back) = lines(step);
    let row = |drawing, words: &str, tone| Row { drawing, words: words.to_owned(), tone };

    let mut rows = vec![row(there, &step.deed(), if is_alone { Tone::Fault } else { Tone::Deed })];
    for change in &step.changes {
        let mark = Drawing::Mark(change.lane, Mark::Changes);
        rows.push(row(mark, &change.what, Tone::Change));
    }
    let outcome = step.outcome.as_deref();
    if outcome.is_some() || back != Drawing::Nothing {
        let tone = if is_fault { Tone::Fault } else { Tone::Outcome };
        rows.push(row(back, outcome.unwrap_or("done"), tone));
    }
    for note in &step.notes {
        rows.push(row(Drawing::Nothing, note, Tone::Note));
    }
    rows
}

/// What is drawn for a step: there, and back.
fn lines(step: &Step) -> (Drawing, Drawing) {
    let from = step.from;
    let line = |from, to, stroke, reach| Drawing::Line(Line { from, to, stroke, reach });
    match step.to {
        Some((to, Arrow::Arrives)) => {
            (line(from, to, Stroke::Dashed, Reach::AtLast), Drawing::Nothing)
        }
        Some((to, arrow)) if to != from => {
            let there = |stroke, reach| line(from, to, stroke, reach);
            let back = |reach| line(to, from, Stroke::Dashed, reach);
            match arrow {
                Arrow::Answered => (there(Stroke::Plain, Reach::Arrives), back(Reach::Arrives)),
                Arrow::ReplyLost => (there(Stroke::Plain, Reach::Arrives), back(Reach::Lost)),
                Arrow::RequestLost => (there(Stroke::Plain, Reach::Lost), Drawing::Nothing),
                Arrow::Delayed => (there(Stroke::Plain, Reach::Underway), Drawing::Nothing),
                Arrow::Delivery | Arrow::Arrives => {
                    (there(Stroke::Bold, Reach::Arrives), Drawing::Nothing)
                }
            }
        }
        _ => {
            let is_fault = step.weight == Weight::Fault;
            let mark = if is_fault { Mark::Breaks } else { Mark::Happens };
            (Drawing::Mark(from, mark), Drawing::Nothing)
        }
    }
}

/// An entry of the legend: a drawing between two lanes, and what it means.
pub(super) type Meaning = (Drawing, &'static str);

/// What each kind of drawing in this run means.
pub(super) fn legend(trace: &Trace) -> Vec<Meaning> {
    let line = |from, to, stroke, reach| Drawing::Line(Line { from, to, stroke, reach });
    let all = [
        (line(1, 0, Stroke::Bold, Reach::Arrives), "delivery"),
        (line(0, 1, Stroke::Plain, Reach::Arrives), "call"),
        (line(1, 0, Stroke::Dashed, Reach::Arrives), "answer"),
        (line(1, 0, Stroke::Dashed, Reach::Lost), "answer lost"),
        (line(0, 1, Stroke::Plain, Reach::Lost), "call lost"),
        (line(0, 1, Stroke::Plain, Reach::Underway), "delayed"),
        (line(0, 1, Stroke::Dashed, Reach::AtLast), "arrives late"),
        (Drawing::Mark(0, Mark::Changes), "change (+ new, ~ other, - gone)"),
        (Drawing::Mark(0, Mark::Breaks), "fault"),
    ];
    let drawn: Vec<Drawing> = trace.steps.iter().flat_map(rows).map(|row| row.drawing).collect();
    let is_drawn = |(meaning, _): &Meaning| drawn.iter().any(|drawn| is_alike(meaning, drawn));
    all.into_iter().filter(is_drawn).collect()
}

fn is_alike(one: &Drawing, other: &Drawing) -> bool {
    match (one, other) {
        (Drawing::Line(one), Drawing::Line(other)) => {
            (one.stroke, one.reach) == (other.stroke, other.reach)
        }
        (Drawing::Mark(_, one), Drawing::Mark(_, other)) => one == other,
        _ => false,
    }
}

/// Whether a lane is at work before and after each step.
pub(super) fn is_busy(trace: &Trace, step: usize, lane: usize) -> bool {
    let at = |step: Option<&Step>| step.is_some_and(|step| step.busy.contains(&lane));
    let before = step.checked_sub(1).and_then(|before| trace.steps.get(before));
    at(before) || at(trace.steps.get(step))
}
