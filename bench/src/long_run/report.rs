//! The table, the figures as CSV, and what is flat.

use std::fmt;

use comfy_table::Table;

use super::look::{MEASURES, Record};

/// How far two quarters of something flat may lie apart.
const TOLERANCE: f64 = 0.1;

/// What became of a measure: its last quarter, compared with its second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Trend {
    /// It stays where it is.
    Flat(f64),
    /// The last quarter, and how many times the second it is.
    Changes(f64, f64),
}

impl Trend {
    pub(super) fn of(line: &[(f64, f64)]) -> Self {
        let quarter = line.len() / 4;
        let mean = |part: &[(f64, f64)]| {
            part.iter().map(|(_, value)| value).sum::<f64>() / part.len().max(1) as f64
        };
        let second = mean(line.get(quarter..2 * quarter).unwrap_or_default());
        let last = mean(line.get(line.len() - quarter..).unwrap_or_default());
        if (last - second).abs() <= TOLERANCE * second.abs() {
            Self::Flat(last)
        } else {
            Self::Changes(last, last / second)
        }
    }
}

impl fmt::Display for Trend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Flat(value) => write!(f, "flat, {}", short(value)),
            Self::Changes(value, ratio) => write!(f, "× {ratio:.2}, {}", short(value)),
        }
    }
}

fn short(value: f64) -> String {
    match value {
        value if value >= 1e6 => format!("{:.1} M", value / 1e6),
        value if value >= 1e4 => format!("{:.0} k", value / 1e3),
        value if value >= 10.0 || value == 0.0 => format!("{value:.0}"),
        value => format!("{value:.2}"),
    }
}

/// Prints a row for each measure, and a column for each protocol.
pub(super) fn print(records: &[Record]) {
    let mut table = Table::new();
    let names = records.iter().map(|record| record.protocol.as_str());
    table.set_header(std::iter::once("last quarter to second").chain(names));
    for measure in &MEASURES {
        let trends = records.iter().map(|record| Trend::of(&record.line(measure)).to_string());
        table.add_row(std::iter::once(measure.title()).chain(trends));
    }
    println!("{table}");
}

/// A line for each look.
pub(super) fn csv(records: &[Record]) -> String {
    let mut measures: Vec<_> = MEASURES.iter().map(|measure| (measure.name, measure.of)).collect();
    measures.sort_by_key(|(name, _)| *name);
    measures.dedup_by_key(|(name, _)| *name);
    let names = measures.iter().map(|(name, _)| name.replace(',', "").replace(' ', "_"));
    let fixed = ["protocol", "phase", "messages", "messages_per_second"].map(str::to_owned);
    let mut csv = fixed.into_iter().chain(names).collect::<Vec<_>>().join(",") + "\n";
    for record in records {
        for look in &record.looks {
            let fixed = [
                record.protocol.clone(),
                look.phase.name().to_owned(),
                look.messages.to_string(),
                format!("{:.0}", look.messages_per_second),
            ];
            let values = measures.iter().map(|(_, of)| format!("{:.3}", of(look)));
            csv += &(fixed.into_iter().chain(values).collect::<Vec<_>>().join(",") + "\n");
        }
    }
    csv
}

#[cfg(test)]
mod tests {
    use super::Trend;

    fn trend(values: [f64; 8]) -> Trend {
        Trend::of(&values.map(|value| (0.0, value)))
    }

    #[test]
    fn the_last_quarter_is_compared_with_the_second() {
        assert_eq!(trend([1.0, 5.0, 100.0, 100.0, 7.0, 7.0, 105.0, 109.0]), Trend::Flat(107.0));
        assert_eq!(trend([0.0; 8]), Trend::Flat(0.0));
        let grows = trend([0.0, 0.0, 10.0, 10.0, 0.0, 0.0, 20.0, 30.0]);
        assert_eq!(grows, Trend::Changes(25.0, 2.5));
        let shrinks = trend([0.0, 0.0, 10.0, 10.0, 0.0, 0.0, 5.0, 5.0]);
        assert_eq!(shrinks, Trend::Changes(5.0, 0.5));
    }
}
