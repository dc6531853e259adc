//! The run as a Mermaid sequence diagram, for pages that draw them.

use std::fmt::Write as _;

use super::words::{Room, plain, wrap};
use super::{Arrow, LaneKind, Step, Trace, Weight};

/// Behind faults: warm, and seen on light and dark pages.
const WARM: &str = "rgba(234, 88, 12, 0.18)";

pub(super) fn draw(trace: &Trace) -> String {
    let mut text = String::from("sequenceDiagram\n");
    for (number, lane) in trace.lanes.iter().enumerate() {
        let kind = match lane.kind {
            LaneKind::Actor => "actor",
            LaneKind::Place => "participant",
        };
        let _ = writeln!(text, "    {kind} L{number} as {}", escape(&lane.name));
    }
    for (number, step) in trace.steps.iter().enumerate() {
        let before = number.checked_sub(1).and_then(|before| trace.steps.get(before));
        draw_step(&mut text, number, step, before);
    }
    // Mermaid wants every bar to end.
    for lane in trace.steps.last().map(|step| step.busy.as_slice()).unwrap_or_default() {
        let _ = writeln!(text, "    deactivate L{lane}");
    }
    if let (Some(verdict), Some(last)) = (&trace.verdict, trace.lanes.len().checked_sub(1)) {
        let over = if last > 0 { format!("L0,L{last}") } else { "L0".to_owned() };
        let steps = trace.steps.len();
        let verdict = wrapped(verdict, 90);
        let _ = writeln!(text, "    Note over {over}: VIOLATED after step {steps}<br/>{verdict}");
    }
    text
}

fn draw_step(text: &mut String, number: usize, step: &Step, before: Option<&Step>) {
    let is_fault = step.weight == Weight::Fault;
    if is_fault {
        let _ = writeln!(text, "    rect {WARM}");
    }
    let label = step.label.as_deref().map(|label| format!("{label}: ")).unwrap_or_default();
    let what = format!("{}. {label}{}", number + 1, step.what);
    let fault = if is_fault { "FAULT: " } else { "" };
    let outcome = step.outcome.as_deref().map(|outcome| format!("{fault}{outcome}"));
    let from = step.from;
    match step.to {
        Some((to, arrow)) if to != from => {
            let _ = writeln!(text, "    L{from}{}L{to}: {}", there(arrow), lines(&what));
            note_changes(text, step);
            match (back(arrow), outcome) {
                (Some(back), outcome) => {
                    let outcome = lines(outcome.as_deref().unwrap_or("done"));
                    let _ = writeln!(text, "    L{to}{back}L{from}: {outcome}");
                }
                (None, Some(outcome)) => note(text, to, &[outcome]),
                (None, None) => {}
            }
        }
        _ => {
            let alone = [format!("{fault}{what}")].into_iter().chain(step.outcome.clone());
            note(text, from, &alone.collect::<Vec<_>>());
            note_changes(text, step);
        }
    }
    note(text, step.worker(), &step.notes);
    if is_fault {
        text.push_str("    end\n");
    }
    activate(text, step, before);
}

/// A bar for whoever is at work. Mermaid wants each to end once, and none that has not begun.
fn activate(text: &mut String, step: &Step, before: Option<&Step>) {
    let was = before.map(|before| before.busy.as_slice()).unwrap_or_default();
    for lane in step.busy.iter().filter(|lane| !was.contains(lane)) {
        let _ = writeln!(text, "    activate L{lane}");
    }
    for lane in was.iter().filter(|lane| !step.busy.contains(lane)) {
        let _ = writeln!(text, "    deactivate L{lane}");
    }
}

/// What changed, over the lane of each place.
fn note_changes(text: &mut String, step: &Step) {
    for changes in step.changes.chunk_by(|one, other| one.lane == other.lane) {
        let words: Vec<String> = changes.iter().map(|change| change.what.clone()).collect();
        note(text, changes[0].lane, &words);
    }
}

fn note(text: &mut String, lane: usize, texts: &[String]) {
    if !texts.is_empty() {
        let texts: Vec<String> = texts.iter().map(|text| lines(text)).collect();
        let _ = writeln!(text, "    Note over L{lane}: {}", texts.join("<br/>"));
    }
}

fn there(arrow: Arrow) -> &'static str {
    match arrow {
        Arrow::Answered | Arrow::ReplyLost | Arrow::Delivery => "->>",
        Arrow::RequestLost => "-x",
        Arrow::Delayed => "-)",
        Arrow::Arrives => "--)",
    }
}

fn back(arrow: Arrow) -> Option<&'static str> {
    match arrow {
        Arrow::Answered => Some("-->>"),
        Arrow::ReplyLost => Some("--x"),
        Arrow::RequestLost | Arrow::Delayed | Arrow::Arrives | Arrow::Delivery => None,
    }
}

/// Long texts would push the lanes apart.
fn lines(text: &str) -> String {
    wrapped(text, 46)
}

fn wrapped(text: &str, columns: usize) -> String {
    let lines = wrap(text, Room::new(columns, 6));
    lines.iter().map(|line| escape(line)).collect::<Vec<_>>().join("<br/>")
}

/// Whatever could mean something to Mermaid, or to the page around it, by its number.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in plain(text).chars() {
        let is_harmless = letter.is_alphanumeric()
            || !letter.is_ascii()
            || matches!(
                letter,
                ' ' | '.'
                    | ','
                    | '\''
                    | '_'
                    | '-'
                    | '/'
                    | '('
                    | ')'
                    | '='
                    | '!'
                    | '{'
                    | '}'
                    | '['
                    | ']'
                    | '+'
            );
        if is_harmless {
            escaped.push(letter);
        } else {
            let _ = write!(escaped, "#{};", letter as u32);
        }
    }
    // Mermaid reads a text to its end, but a name that is empty is none.
    if escaped.trim().is_empty() { "-".to_owned() } else { escaped }
}
