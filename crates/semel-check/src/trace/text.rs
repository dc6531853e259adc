//! The run as a sequence diagram in text: narrow lanes at the left, words at the right.

use std::fmt;

use super::rows::{self, Drawing, Line, Mark, Reach, Row, Stroke, Tone};
use super::words::{Room, width, wrap};
use super::{LaneKind, Step, Trace, Weight};

/// A line takes no more columns than this, as long as the lanes leave room for words.
const COLUMNS: usize = 108;
/// Words get at least so many.
const WORDS_MIN: usize = 44;
/// The names of the lanes are repeated after so many lines: whoever reads in the middle of a long
/// run sees them without scrolling.
const LINES_PER_HEADER: usize = 40;

pub(super) fn draw(trace: &Trace, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    if trace.steps.is_empty() {
        return Ok(());
    }
    let grid = Grid::new(trace);
    grid.title(f)?;
    grid.legend(f)?;
    let mut since_header = LINES_PER_HEADER;
    for (number, step) in trace.steps.iter().enumerate() {
        if since_header >= LINES_PER_HEADER {
            since_header = 0;
            writeln!(f)?;
            grid.header(f)?;
        }
        grid.line(f, number, "", Drawing::Nothing, "")?;
        since_header += 1 + grid.step(f, number, step)?;
    }
    grid.verdict(f)
}

/// Where everything stands.
struct Grid<'a> {
    trace: &'a Trace,
    /// Columns before the lanes: a pointer, the number, a sign for faults.
    gutter: usize,
    /// Columns from lane to lane.
    pitch: usize,
}

impl<'a> Grid<'a> {
    fn new(trace: &'a Trace) -> Self {
        let digits = trace.steps.len().to_string().len().max(2);
        let gutter = digits + 3;
        let room = COLUMNS.saturating_sub(gutter + 1 + WORDS_MIN);
        let pitch = (room / trace.lanes.len().max(1)).clamp(7, 10);
        Self { trace, gutter, pitch }
    }

    /// The column of a lane.
    fn column(&self, lane: usize) -> usize {
        self.gutter + self.pitch / 2 + lane * self.pitch
    }

    fn lanes_end(&self) -> usize {
        self.gutter + self.trace.lanes.len() * self.pitch
    }

    fn words_columns(&self) -> usize {
        COLUMNS.saturating_sub(self.lanes_end() + 1).max(WORDS_MIN)
    }

    fn title(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let faults = self.trace.steps.iter().filter(|step| step.weight == Weight::Fault).count();
        let count = |count: usize, thing: &str| match count {
            1 => format!("1 {thing}"),
            count => format!("{count} {thing}s"),
        };
        let (steps, faults) = (count(self.trace.steps.len(), "step"), count(faults, "fault"));
        for line in wrap(&format!("{}: {steps}, {faults}", self.trace.world), Room::new(COLUMNS, 3))
        {
            writeln!(f, "{line}")?;
        }
        Ok(())
    }

    /// What the lines mean, drawn between two short lanes.
    fn legend(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut entries: Vec<String> = rows::legend(self.trace)
            .into_iter()
            .map(|(drawing, meaning)| format!("{} {meaning}", sample(drawing)))
            .collect();
        if self.trace.steps.iter().any(|step| !step.busy.is_empty()) {
            entries.push("┃ at work".to_owned());
        }
        let mut line = String::new();
        for entry in entries {
            if width(&line) + 3 + width(&entry) > COLUMNS {
                writeln!(f, "{line}")?;
                line.clear();
            }
            line.push_str(if line.is_empty() { "  " } else { "   " });
            line.push_str(&entry);
        }
        if line.is_empty() { Ok(()) } else { writeln!(f, "{line}") }
    }

    /// The names of the lanes, each above its line.
    fn header(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<Vec<String>> = self
            .trace
            .lanes
            .iter()
            .map(|lane| wrap(&lane.name, Room::new(self.pitch - 1, 2)))
            .collect();
        let height = names.iter().map(Vec::len).max().unwrap_or(0);
        for row in 0..height {
            let mut line = String::new();
            for (lane, name) in names.iter().enumerate() {
                // Short names stand right above their lane.
                let Some(text) = (row + name.len()).checked_sub(height).and_then(|at| name.get(at))
                else {
                    continue;
                };
                let start = self.column(lane).saturating_sub(width(text) / 2);
                line.push_str(&" ".repeat(start.saturating_sub(width(&line))));
                line.push_str(text);
            }
            writeln!(f, "{line}")?;
        }
        Ok(())
    }

    /// Draws a step, and tells how many lines it took.
    fn step(
        &self,
        f: &mut fmt::Formatter<'_>,
        number: usize,
        step: &Step,
    ) -> Result<usize, fmt::Error> {
        let mut lines = 0;
        let mut margin = self.margin(number, step);
        for (at, row) in rows::rows(step).iter().enumerate() {
            let mut drawing = row.drawing;
            for words in self.words(row, at == 0) {
                self.line(f, number, &margin, drawing, &words)?;
                (margin, drawing) = (String::new(), Drawing::Nothing);
                lines += 1;
            }
        }
        Ok(lines)
    }

    /// The number of a step; a fault is marked, and so is the last step of a violation.
    fn margin(&self, number: usize, step: &Step) -> String {
        let is_last = number + 1 == self.trace.steps.len() && self.trace.verdict.is_some();
        let pointer = if is_last { "►" } else { " " };
        let flag = if step.weight == Weight::Fault { "!" } else { " " };
        format!("{pointer}{:>digits$}{flag}", number + 1, digits = self.gutter - 3)
    }

    fn words(&self, row: &Row, is_first: bool) -> Vec<String> {
        let (first, rest, lines_max) = match row.tone {
            Tone::Deed => ("", "    ", 5),
            Tone::Change => ("  ", "      ", 3),
            Tone::Outcome => ("  → ", "    ", 3),
            Tone::Fault if is_first => ("✗ FAULT: ", "    ", 4),
            Tone::Fault => ("  ✗ FAULT: ", "      ", 4),
            Tone::Note => ("  » ", "    ", 3),
        };
        let columns = self.words_columns();
        let (first_columns, rest_columns) = (columns - width(first), columns - width(rest));
        let room = Room { first: first_columns, rest: rest_columns, lines_max };
        let begin = |(at, line): (usize, String)| {
            let indent = if at == 0 { first } else { rest };
            format!("{indent}{line}")
        };
        wrap(&row.words, room).into_iter().enumerate().map(begin).collect()
    }

    /// One line: margin, lanes with a drawing on them, words.
    fn line(
        &self,
        f: &mut fmt::Formatter<'_>,
        number: usize,
        margin: &str,
        drawing: Drawing,
        words: &str,
    ) -> fmt::Result {
        let mut cells = vec![' '; self.lanes_end()];
        for (cell, letter) in cells.iter_mut().zip(margin.chars()) {
            *cell = letter;
        }
        let is_between = margin.is_empty() && words.is_empty();
        for lane in 0..self.trace.lanes.len() {
            put(&mut cells, self.column(lane), self.lifeline(lane, number, is_between));
        }
        match drawing {
            Drawing::Nothing => {}
            Drawing::Line(line) => self.connect(&mut cells, line),
            Drawing::Mark(lane, mark) => put(&mut cells, self.column(lane), sign(mark)),
        }
        let lanes: String = cells.into_iter().collect();
        writeln!(f, "{}", format!("{lanes} {words}").trim_end())
    }

    /// A worker at its work has a bold line, an idle one a faint one.
    fn lifeline(&self, lane: usize, number: usize, is_between: bool) -> char {
        let before = number.checked_sub(1).and_then(|before| self.trace.steps.get(before));
        let is_busy = if is_between {
            before.is_some_and(|step| step.busy.contains(&lane))
        } else {
            rows::is_busy(self.trace, number, lane)
        };
        match self.trace.lanes[lane].kind {
            LaneKind::Actor if is_busy => '┃',
            LaneKind::Actor => '┊',
            LaneKind::Place => '│',
        }
    }

    fn connect(&self, cells: &mut [char], line: Line) {
        let is_left = line.to < line.from;
        let (from, to) = (self.column(line.from), self.column(line.to));
        // Counted from the end of the line: how far before it a column lies.
        let before_end = |back: usize| if is_left { to + back } else { to.saturating_sub(back) };
        if line.reach == Reach::AtLast {
            for (back, letter) in [(4, '◌'), (3, '╌'), (2, '╌'), (1, tip(is_left))] {
                put(cells, before_end(back), letter);
            }
            return;
        }
        let end = match line.reach {
            Reach::Arrives | Reach::AtLast => 1,
            Reach::Lost => 3,
            Reach::Underway => 4,
        };
        let (low, high) = (from.min(before_end(end)), from.max(before_end(end)));
        for column in low..=high {
            if let Some(cell) = cells.get_mut(column) {
                *cell = cross(*cell, line.stroke);
            }
        }
        if let Some(cell) = cells.get_mut(from) {
            *cell = depart(*cell, line.stroke, is_left);
        }
        let letter = match line.reach {
            Reach::Arrives | Reach::AtLast => tip(is_left),
            Reach::Lost => '✗',
            Reach::Underway => '◌',
        };
        put(cells, before_end(end), letter);
    }

    fn verdict(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(verdict) = &self.trace.verdict else { return Ok(()) };
        let head = format!("══► VIOLATED after step {} ", self.trace.steps.len());
        writeln!(f, "\n{head}{}", "═".repeat(COLUMNS.saturating_sub(width(&head))))?;
        for line in wrap(verdict, Room::new(COLUMNS - 4, 8)) {
            writeln!(f, "    {line}")?;
        }
        Ok(())
    }
}

fn put(cells: &mut [char], column: usize, letter: char) {
    if let Some(cell) = cells.get_mut(column) {
        *cell = letter;
    }
}

fn tip(is_left: bool) -> char {
    if is_left { '◄' } else { '►' }
}

fn sign(mark: Mark) -> char {
    match mark {
        Mark::Happens => '●',
        Mark::Breaks => '✗',
        Mark::Changes => '◆',
    }
}

/// A line over what is there.
fn cross(there: char, stroke: Stroke) -> char {
    match (there, stroke) {
        ('┃', Stroke::Bold) => '╋',
        ('┃', _) => '╂',
        ('│' | '┊', Stroke::Bold) => '┿',
        ('│' | '┊', _) => '┼',
        (_, Stroke::Plain) => '─',
        (_, Stroke::Dashed) => '╌',
        (_, Stroke::Bold) => '━',
    }
}

/// The beginning of a line on its lane, which a line has already been drawn over.
fn depart(there: char, stroke: Stroke, is_left: bool) -> char {
    let is_busy = matches!(there, '╋' | '╂');
    match (is_busy, stroke, is_left) {
        (true, Stroke::Bold, false) => '┣',
        (true, Stroke::Bold, true) => '┫',
        (true, _, false) => '┠',
        (true, _, true) => '┨',
        (false, Stroke::Bold, false) => '┝',
        (false, Stroke::Bold, true) => '┥',
        (false, _, false) => '├',
        (false, _, true) => '┤',
    }
}

/// A drawing of the legend.
fn sample(drawing: Drawing) -> &'static str {
    match drawing {
        Drawing::Nothing => "",
        Drawing::Mark(_, Mark::Happens) => "●",
        Drawing::Mark(_, Mark::Breaks) => "✗",
        Drawing::Mark(_, Mark::Changes) => "◆",
        Drawing::Line(line) => match (line.stroke, line.reach) {
            (Stroke::Bold, _) => "◄━━",
            (_, Reach::AtLast) => "◌╌►",
            (_, Reach::Underway) => "─◌",
            (Stroke::Plain, Reach::Lost) => "─✗",
            (Stroke::Dashed, Reach::Lost) => "✗╌",
            (Stroke::Plain, Reach::Arrives) => "──►",
            (Stroke::Dashed, Reach::Arrives) => "◄╌╌",
        },
    }
}
