//! The run as a picture: one file without anything from elsewhere, readable on light and dark
//! pages.

use std::fmt::{self, Write as _};

use super::rows::{self, Drawing, Line, Mark, Reach, Row, Stroke, Tone};
use super::words::{Room, plain, wrap};
use super::{LaneKind, Step, Trace, Weight};

/// Around everything.
const MARGIN: usize = 28;
/// For the numbers of the steps.
const GUTTER: usize = 44;
/// From one line of words to the next.
const ROW: usize = 20;
/// Between two steps.
const GAP: usize = 14;
/// The words at the right, in letters and in pixels.
const WORDS: usize = 78;
const WORDS_WIDTH: usize = 610;
const HEADER: usize = 46;
/// The names of the lanes are repeated after so many steps, unless the end is near.
const STEPS_PER_HEADER: usize = 15;
const STEPS_LEFT_MIN: usize = 4;
/// Half the bar of whoever is at work.
const BAR: usize = 4;

const STYLE: &str = "\
svg{font-family:system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue',Arial,sans-serif;\
font-size:13px}\
.page{fill:#ffffff}.ink{fill:#1e293b}.soft{fill:#64748b}\
.title{font-size:19px;font-weight:600}\
.words{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace;\
font-size:12.5px}\
.deed{fill:#1e293b}.label{fill:#1d4ed8;font-weight:600}.change{fill:#0f766e}\
.outcome{fill:#475569}.note{fill:#6d28d9}.fault{fill:#c2410c;font-weight:600}\
.lane{stroke:#cbd5e1;stroke-width:1.5}.actor{stroke-dasharray:2 4}\
.bar{fill:#93c5fd}\
.head{fill:#f1f5f9;stroke:#94a3b8}.headactor{fill:#dbeafe;stroke:#60a5fa}\
.plain,.dashed,.bold{fill:none;stroke:#334155;stroke-width:1.6}\
.dashed{stroke-dasharray:5 4;stroke:#64748b}.bold{stroke:#2563eb;stroke-width:3}\
.tipplain{fill:#334155}.tipdashed{fill:#64748b}.tipbold{fill:#2563eb}\
.warm{fill:#ffedd5}.warmedge{fill:#ea580c}.cross{fill:none;stroke:#dc2626;stroke-width:2.6}\
.ring{fill:#ffffff;stroke:#ea580c;stroke-width:2}\
.diamond{fill:#0d9488}.dot{fill:#475569}\
.number{fill:#e2e8f0}.numberfault{fill:#ea580c}.numberlast{fill:#dc2626}.onnumber{fill:#ffffff}\
.verdict{fill:#fef2f2;stroke:#dc2626;stroke-width:1.5}.verdicthead{fill:#b91c1c;font-weight:700}\
@media (prefers-color-scheme:dark){\
.page{fill:#0f172a}.ink,.deed{fill:#e2e8f0}.soft{fill:#94a3b8}.note{fill:#c4b5fd}.label{fill:#93c5fd}\
.change{fill:#5eead4}.outcome{fill:#cbd5e1}.fault{fill:#fdba74}.lane{stroke:#475569}\
.bar{fill:#2563eb}.head{fill:#1e293b;stroke:#64748b}\
.headactor{fill:#172554;stroke:#3b82f6}.plain{stroke:#cbd5e1}.dashed{stroke:#94a3b8}\
.bold{stroke:#60a5fa}.tipplain{fill:#cbd5e1}.tipdashed{fill:#94a3b8}.tipbold{fill:#60a5fa}\
.warm{fill:#431407}.ring{fill:#0f172a}.cross{stroke:#f87171}.diamond{fill:#2dd4bf}\
.dot{fill:#cbd5e1}.number{fill:#334155}.verdict{fill:#450a0a;stroke:#f87171}\
.verdicthead{fill:#fca5a5}}";

pub(super) fn draw(trace: &Trace) -> String {
    let mut picture = Picture::new(trace);
    // A string takes whatever is written to it.
    let _ = picture.draw();
    picture.finish()
}

struct Picture<'a> {
    trace: &'a Trace,
    /// From lane to lane.
    pitch: usize,
    /// How far down it is drawn.
    y: usize,
    /// Behind everything, and drawn once the height is known: lanes, bars, warm bands.
    back: String,
    front: String,
}

impl<'a> Picture<'a> {
    fn new(trace: &'a Trace) -> Self {
        let pitch = (480 / trace.lanes.len().max(1)).clamp(74, 104);
        let (back, front) = (String::new(), String::new());
        Self { trace, pitch, y: MARGIN, back, front }
    }

    fn lane(&self, lane: usize) -> usize {
        MARGIN + GUTTER + self.pitch / 2 + lane * self.pitch
    }

    fn words_x(&self) -> usize {
        MARGIN + GUTTER + self.trace.lanes.len() * self.pitch + 18
    }

    fn width(&self) -> usize {
        self.words_x() + WORDS_WIDTH + MARGIN
    }

    fn draw(&mut self) -> fmt::Result {
        self.title()?;
        self.legend()?;
        self.header()?;
        let top = self.y;
        self.y += GAP;
        for (number, step) in self.trace.steps.iter().enumerate() {
            let is_due = number > 0 && number.is_multiple_of(STEPS_PER_HEADER);
            if is_due && self.trace.steps.len() - number >= STEPS_LEFT_MIN {
                self.header_between(number)?;
            }
            self.step(number, step)?;
        }
        self.lifelines(top)?;
        self.header()?;
        self.verdict()
    }

    fn finish(self) -> String {
        let (width, height) = (self.width(), self.y + MARGIN);
        let title = escape(&self.trace.world);
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
             viewBox=\"0 0 {width} {height}\" role=\"img\">\n<title>{title}</title>\n\
             <style>{STYLE}</style>\n<rect class=\"page\" width=\"{width}\" height=\"{height}\"/>\n\
             {}{}</svg>\n",
            self.back, self.front
        )
    }

    fn title(&mut self) -> fmt::Result {
        for line in wrap(&self.trace.world, Room::new(90, 2)) {
            self.y += 22;
            text(&mut self.front, MARGIN, self.y, "ink title", &line)?;
        }
        let faults = self.trace.steps.iter().filter(|step| step.weight == Weight::Fault).count();
        let line = format!("Steps: {}. Faults: {faults}.", self.trace.steps.len());
        self.y += 22;
        text(&mut self.front, MARGIN, self.y, "soft", &line)?;
        self.y += 14;
        Ok(())
    }

    /// Each kind of line between two points, and what it means.
    fn legend(&mut self) -> fmt::Result {
        let mut x = MARGIN;
        self.y += 14;
        for (drawing, meaning) in rows::legend(self.trace) {
            if x > MARGIN && x + 54 + meaning.len() * 7 > self.width() - MARGIN {
                x = MARGIN;
                self.y += 22;
            }
            let y = self.y;
            let end = match drawing {
                Drawing::Nothing => x,
                Drawing::Line(line) => {
                    let (left, right) = (x, x + 46);
                    let ends = if line.from < line.to { (left, right) } else { (right, left) };
                    connect(&mut self.front, line, ends, y)?;
                    right
                }
                Drawing::Mark(_, kind) => {
                    mark(&mut self.front, kind, x + 6, y)?;
                    x + 12
                }
            };
            text(&mut self.front, end + 8, y + 4, "soft", meaning)?;
            x = end + 26 + meaning.len() * 7;
        }
        self.y += 24;
        Ok(())
    }

    /// The names of the lanes.
    fn header(&mut self) -> fmt::Result {
        for (number, lane) in self.trace.lanes.iter().enumerate() {
            let (x, width) = (self.lane(number), self.pitch - 12);
            let class = if lane.kind == LaneKind::Actor { "headactor" } else { "head" };
            let radius = if lane.kind == LaneKind::Actor { 16 } else { 4 };
            writeln!(
                self.front,
                "<rect class=\"{class}\" x=\"{}\" y=\"{}\" width=\"{width}\" height=\"{}\" \
                 rx=\"{radius}\"/>",
                x - width / 2,
                self.y,
                HEADER - 8,
            )?;
            let names = wrap(&lane.name, Room::new(width / 8, 2));
            for (at, name) in names.iter().enumerate() {
                let y = self.y + 24 + at * 15 - (names.len() - 1) * 8;
                centred(&mut self.front, x, y, "ink", name)?;
            }
        }
        self.y += HEADER - 8;
        Ok(())
    }

    /// The names once more; whoever is at work has its bar behind them.
    fn header_between(&mut self, number: usize) -> fmt::Result {
        let top = self.y - GAP / 2;
        self.header()?;
        self.y += GAP;
        for lane in 0..self.trace.lanes.len() {
            if self.trace.steps[number - 1].busy.contains(&lane) {
                self.bar(lane, top, self.y - GAP / 2)?;
            }
        }
        Ok(())
    }

    fn step(&mut self, number: usize, step: &Step) -> fmt::Result {
        let top = self.y;
        let first = top + ROW / 2 + 4;
        let mut last = first;
        for (at, row) in rows::rows(step).iter().enumerate() {
            last = self.y + ROW / 2 + 4;
            self.drawing(row.drawing, last)?;
            self.words(step, row, at == 0)?;
        }
        let bottom = self.y + GAP / 2;
        self.y = bottom + GAP / 2;
        if step.weight == Weight::Fault {
            self.band(top, bottom)?;
        }
        self.number(number, step, first)?;
        self.bars(number, step, (top - GAP / 2, first), (last, bottom))
    }

    fn band(&mut self, top: usize, bottom: usize) -> fmt::Result {
        let (x, y, height) = (MARGIN - 10, top - 3, bottom - top + 2);
        let width = self.width() - 2 * x;
        writeln!(
            self.back,
            "<rect class=\"warm\" x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" rx=\"4\"/>\
             <rect class=\"warmedge\" x=\"{x}\" y=\"{y}\" width=\"4\" height=\"{height}\" rx=\"2\"/>"
        )
    }

    /// The number of a step in a disc: red where it violates something.
    fn number(&mut self, number: usize, step: &Step, y: usize) -> fmt::Result {
        let is_last = number + 1 == self.trace.steps.len() && self.trace.verdict.is_some();
        let (disc, digits) = match (is_last, step.weight) {
            (true, _) => ("numberlast", "onnumber"),
            (_, Weight::Fault) => ("numberfault", "onnumber"),
            _ => ("number", "ink"),
        };
        let x = MARGIN + 16;
        writeln!(self.front, "<circle class=\"{disc}\" cx=\"{x}\" cy=\"{y}\" r=\"13\"/>")?;
        centred(&mut self.front, x, y + 4, digits, &(number + 1).to_string())
    }

    /// Whoever is at work has a bar on the lane.
    fn bars(
        &mut self,
        number: usize,
        step: &Step,
        (top, first): (usize, usize),
        (last, bottom): (usize, usize),
    ) -> fmt::Result {
        let before = number.checked_sub(1).and_then(|before| self.trace.steps.get(before));
        for lane in 0..self.trace.lanes.len() {
            if !rows::is_busy(self.trace, number, lane) {
                continue;
            }
            let was = before.is_some_and(|before| before.busy.contains(&lane));
            let from = if was { top } else { first };
            let to = if step.busy.contains(&lane) { bottom } else { last.max(from + 4) };
            self.bar(lane, from, to)?;
        }
        Ok(())
    }

    fn bar(&mut self, lane: usize, from: usize, to: usize) -> fmt::Result {
        writeln!(
            self.back,
            "<rect class=\"bar\" x=\"{}\" y=\"{from}\" width=\"{}\" height=\"{}\"/>",
            self.lane(lane) - BAR,
            2 * BAR,
            to - from
        )
    }

    fn drawing(&mut self, drawing: Drawing, y: usize) -> fmt::Result {
        match drawing {
            Drawing::Nothing => Ok(()),
            Drawing::Mark(lane, kind) => {
                let x = self.lane(lane);
                mark(&mut self.front, kind, x, y)
            }
            Drawing::Line(line) => {
                let (from, to) = (self.lane(line.from), self.lane(line.to));
                let gap = BAR + 1;
                let ends = if from < to { (from + gap, to - gap) } else { (from - gap, to + gap) };
                // Something that arrives may come from the lane it arrives at.
                let ends = if from == to { (from - 2 * gap, to - gap) } else { ends };
                connect(&mut self.front, line, ends, y)
            }
        }
    }

    fn words(&mut self, step: &Step, row: &Row, is_first: bool) -> fmt::Result {
        let (class, sign, indent, lines_max) = match row.tone {
            Tone::Deed => ("deed", "", 0, 4),
            Tone::Change => ("change", "", 2, 3),
            Tone::Outcome => ("outcome", "→ ", 2, 3),
            Tone::Fault if is_first => ("fault", "FAULT: ", 0, 4),
            Tone::Fault => ("fault", "✗ FAULT: ", 2, 4),
            Tone::Note => ("note", "» ", 2, 3),
        };
        let room = Room { first: WORDS - indent, rest: WORDS - indent - 2, lines_max };
        let label = step.label.as_deref().filter(|_| row.tone == Tone::Deed).unwrap_or("");
        for (at, line) in wrap(&format!("{sign}{}", row.words), room).into_iter().enumerate() {
            let letters = indent + if at == 0 { 0 } else { 2 };
            let (x, y) = (self.words_x() + letters * 15 / 2, self.y + ROW / 2 + 8);
            let rest = line.strip_prefix(label).filter(|_| at == 0 && !label.is_empty());
            write!(self.front, "<text class=\"words {class}\" x=\"{x}\" y=\"{y}\">")?;
            match rest {
                Some(rest) => {
                    let label = escape(label);
                    write!(self.front, "<tspan class=\"label\">{label}</tspan>{}", escape(rest))?;
                }
                None => self.front.push_str(&escape(&line)),
            }
            self.front.push_str("</text>\n");
            self.y += ROW;
        }
        Ok(())
    }

    fn lifelines(&mut self, top: usize) -> fmt::Result {
        let mut lines = String::new();
        for (number, lane) in self.trace.lanes.iter().enumerate() {
            let class = if lane.kind == LaneKind::Actor { "lane actor" } else { "lane" };
            let (x, bottom) = (self.lane(number), self.y);
            writeln!(
                lines,
                "<line class=\"{class}\" x1=\"{x}\" y1=\"{top}\" x2=\"{x}\" y2=\"{bottom}\"/>"
            )?;
        }
        // Bands lie below the lanes, bars above.
        let (bars, bands): (Vec<&str>, Vec<&str>) =
            self.back.lines().partition(|line| line.contains("class=\"bar\""));
        self.back = [bands.join("\n"), lines, bars.join("\n"), String::new()].join("\n");
        Ok(())
    }

    fn verdict(&mut self) -> fmt::Result {
        let Some(verdict) = &self.trace.verdict else { return Ok(()) };
        let lines = wrap(verdict, Room::new((self.width() - 4 * MARGIN) / 8, 8));
        self.y += GAP;
        let (width, height) = (self.width() - 2 * MARGIN, 42 + lines.len() * ROW);
        writeln!(
            self.front,
            "<rect class=\"verdict\" x=\"{MARGIN}\" y=\"{}\" width=\"{width}\" \
             height=\"{height}\" rx=\"6\"/>",
            self.y
        )?;
        let head = format!("VIOLATED after step {}", self.trace.steps.len());
        text(&mut self.front, MARGIN + 16, self.y + 25, "verdicthead", &head)?;
        for (at, line) in lines.iter().enumerate() {
            text(&mut self.front, MARGIN + 16, self.y + 47 + at * ROW, "ink", line)?;
        }
        self.y += height;
        Ok(())
    }
}

/// A line from the first of `ends` to the second.
fn connect(out: &mut String, line: Line, (from, to): (usize, usize), y: usize) -> fmt::Result {
    let class = match line.stroke {
        Stroke::Plain => "plain",
        Stroke::Dashed => "dashed",
        Stroke::Bold => "bold",
    };
    let is_left = to < from;
    let before = |pixels: usize| if is_left { to + pixels } else { to.saturating_sub(pixels) };
    let start = if line.reach == Reach::AtLast { before(40) } else { from };
    let end = match line.reach {
        Reach::Arrives | Reach::AtLast => before(6),
        Reach::Lost => before(16),
        Reach::Underway => before(24),
    };
    writeln!(out, "<path class=\"{class}\" d=\"M{start} {y}H{end}\"/>")?;
    match line.reach {
        Reach::Arrives => tip(out, class, to, before(9), y),
        Reach::Lost => mark(out, Mark::Breaks, end, y),
        Reach::Underway => ring(out, end, y),
        Reach::AtLast => {
            ring(out, start, y)?;
            tip(out, class, to, before(9), y)
        }
    }
}

fn tip(out: &mut String, class: &str, to: usize, base: usize, y: usize) -> fmt::Result {
    let (above, below) = (y - 5, y + 5);
    writeln!(out, "<path class=\"tip{class}\" d=\"M{to} {y}L{base} {above}V{below}Z\"/>")
}

fn ring(out: &mut String, x: usize, y: usize) -> fmt::Result {
    writeln!(out, "<circle class=\"ring\" cx=\"{x}\" cy=\"{y}\" r=\"5\"/>")
}

fn mark(out: &mut String, mark: Mark, x: usize, y: usize) -> fmt::Result {
    match mark {
        Mark::Happens => writeln!(out, "<circle class=\"dot\" cx=\"{x}\" cy=\"{y}\" r=\"5\"/>"),
        Mark::Breaks => {
            let (left, top) = (x - 6, y - 6);
            writeln!(out, "<path class=\"cross\" d=\"M{left} {top}l12 12m0 -12l-12 12\"/>")
        }
        Mark::Changes => {
            let top = y - 6;
            writeln!(out, "<path class=\"diamond\" d=\"M{x} {top}l6 6l-6 6l-6 -6Z\"/>")
        }
    }
}

fn text(out: &mut String, x: usize, y: usize, class: &str, words: &str) -> fmt::Result {
    writeln!(out, "<text class=\"{class}\" x=\"{x}\" y=\"{y}\">{}</text>", escape(words))
}

fn centred(out: &mut String, x: usize, y: usize, class: &str, words: &str) -> fmt::Result {
    let words = escape(words);
    writeln!(
        out,
        "<text class=\"{class}\" x=\"{x}\" y=\"{y}\" text-anchor=\"middle\">{words}</text>"
    )
}

fn escape(words: &str) -> String {
    let mut escaped = String::with_capacity(words.len());
    for letter in plain(words).chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            letter => escaped.push(letter),
        }
    }
    escaped
}
