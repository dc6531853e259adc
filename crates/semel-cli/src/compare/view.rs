//! The JSON document of `compare`.

use semel_check::Counterexample;
use semel_check::compare::{
    Books, Calls, Compared, FaultClass, Judged, Numbers, Remembered, Size, Verdict, faults,
};
use serde::Serialize;

use super::words;
use crate::check::view::TraceView;

/// The whole document.
#[derive(Debug, Serialize)]
pub(super) struct Document<'a> {
    faults: u32,
    states_max: usize,
    classes: Vec<ClassView>,
    rows: Vec<RowView<'a>>,
}

#[derive(Debug, Serialize)]
struct ClassView {
    name: &'static str,
    letter: char,
    says: &'static str,
    promised: bool,
}

#[derive(Debug, Serialize)]
struct RowView<'a> {
    name: &'static str,
    about: &'static str,
    kind: &'static str,
    place: &'static str,
    promises: Vec<&'static str>,
    assumes: Option<AssumptionView>,
    broken: Vec<BrokenView>,
    cells: Vec<CellView<'a>>,
    numbers: Option<NumbersView>,
}

#[derive(Debug, Serialize)]
struct AssumptionView {
    class: &'static str,
    what: &'static str,
}

#[derive(Debug, Serialize)]
struct BrokenView {
    property: &'static str,
    class: &'static str,
}

#[derive(Debug, Serialize)]
struct CellView<'a> {
    property: &'static str,
    class: &'static str,
    verdict: &'static str,
    states: u64,
    steps: Option<usize>,
    faults: Option<usize>,
    breach: Option<String>,
    detail: Option<&'a str>,
    cut: &'a [String],
    replay: Option<&'a str>,
    trace: Option<TraceView<'a>>,
}

#[derive(Debug, Serialize)]
struct NumbersView {
    outside: CallsView,
    outside_again: CallsView,
    inside: CallsView,
    inside_again: CallsView,
    of_outside: RememberedView,
    of_inside: RememberedView,
    death_blocks: bool,
}

#[derive(Debug, Serialize)]
struct CallsView {
    reads: usize,
    items_read: usize,
    lists: usize,
    writes: usize,
    items_written: usize,
    bytes_written: usize,
    broker: usize,
    rcu: Option<u64>,
    wcu: Option<u64>,
    ru: Option<f64>,
}

#[derive(Debug, Serialize)]
struct RememberedView {
    growth: &'static str,
    messages: usize,
    after: BooksView,
    after_twice: BooksView,
    past: BooksView,
    past_twice: BooksView,
    peak_bytes: usize,
}

#[derive(Debug, Serialize)]
struct BooksView {
    items: usize,
    bytes: usize,
}

impl<'a> Document<'a> {
    pub(super) fn of(all: &'a [Compared], size: Size) -> Self {
        let class = |class: FaultClass| ClassView {
            name: class.name(),
            letter: class.letter(),
            says: class.says(),
            promised: class.is_promised(),
        };
        Self {
            faults: size.faults,
            states_max: size.states_max,
            classes: FaultClass::ALL.into_iter().map(class).collect(),
            rows: all.iter().map(RowView::of).collect(),
        }
    }
}

impl<'a> RowView<'a> {
    fn of(compared: &'a Compared) -> Self {
        let row = &compared.row;
        let broken = compared
            .broken()
            .into_iter()
            .map(|(property, class)| BrokenView { property: property.name(), class: class.name() });
        Self {
            name: row.name(),
            about: row.about(),
            kind: words::kind(row.kind()),
            place: row.place().says(),
            promises: row.promises().iter().map(|property| property.name()).collect(),
            assumes: row
                .assumption()
                .map(|(class, what)| AssumptionView { class: class.name(), what }),
            broken: broken.collect(),
            cells: compared.judged.iter().flat_map(CellView::all).collect(),
            numbers: compared.numbers.as_ref().map(NumbersView::of),
        }
    }
}

impl<'a> CellView<'a> {
    fn all(judged: &'a Judged) -> impl Iterator<Item = Self> {
        judged.cells.iter().map(move |cell| {
            let found: Option<&'a Counterexample> = match &cell.verdict {
                Verdict::No(found) | Verdict::Stopped(found) => Some(found),
                Verdict::Yes | Verdict::NotExhausted | Verdict::Unusable(_) => None,
            };
            let reason = match &cell.verdict {
                Verdict::Unusable(reason) => Some(reason.as_str()),
                _ => None,
            };
            Self {
                property: cell.property.name(),
                class: judged.class.name(),
                verdict: verdict(&cell.verdict),
                states: judged.states,
                steps: found.map(|found| found.trace.steps.len()),
                faults: found.map(faults),
                breach: found.map(|found| found.violation.breach.to_string()),
                detail: found.map(|found| found.violation.detail.as_str()).or(reason),
                cut: match cell.verdict {
                    Verdict::NotExhausted => &judged.cut,
                    _ => &[],
                },
                replay: found.map(|found| found.replay.as_str()),
                trace: found.map(|found| TraceView::of(&found.trace)),
            }
        })
    }
}

fn verdict(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Yes => "yes",
        Verdict::No(_) => "no",
        Verdict::NotExhausted => "not_exhausted",
        Verdict::Stopped(_) => "stopped",
        Verdict::Unusable(_) => "unusable",
    }
}

impl NumbersView {
    fn of(numbers: &Numbers) -> Self {
        Self {
            outside: CallsView::of(&numbers.outside),
            outside_again: CallsView::of(&numbers.outside_again),
            inside: CallsView::of(&numbers.inside),
            inside_again: CallsView::of(&numbers.inside_again),
            of_outside: RememberedView::of(&numbers.of_outside),
            of_inside: RememberedView::of(&numbers.of_inside),
            death_blocks: numbers.death_blocks,
        }
    }
}

impl CallsView {
    fn of(calls: &Calls) -> Self {
        Self {
            reads: calls.reads,
            items_read: calls.items_read,
            lists: calls.lists,
            writes: calls.writes,
            items_written: calls.items_written,
            bytes_written: calls.bytes_written,
            broker: calls.broker,
            rcu: calls.units.rcu,
            wcu: calls.units.wcu,
            ru: calls.units.ru_hundredths.map(|hundredths| hundredths as f64 / 100.0),
        }
    }
}

impl RememberedView {
    fn of(kept: &Remembered) -> Self {
        Self {
            growth: kept.growth.says(),
            messages: kept.messages,
            after: BooksView::of(kept.after),
            after_twice: BooksView::of(kept.after_twice),
            past: BooksView::of(kept.past),
            past_twice: BooksView::of(kept.past_twice),
            peak_bytes: kept.peak,
        }
    }
}

impl BooksView {
    fn of(books: Books) -> Self {
        Self { items: books.items, bytes: books.bytes }
    }
}
