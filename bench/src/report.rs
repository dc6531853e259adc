//! The figures, as a table and as JSON.

use comfy_table::Table;
use hdrhistogram::Histogram;
use serde::Serialize;

/// One contender in one round.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Sample {
    /// Messages per second.
    pub(crate) messages_per_second: f64,
    /// Durable commits per message.
    pub(crate) commits_per_message: f64,
}

impl Sample {
    /// The figures of `messages` done in `seconds` with `commits`.
    pub(crate) fn new(messages: usize, seconds: f64, commits: u64) -> Self {
        Self {
            messages_per_second: messages as f64 / seconds,
            commits_per_message: commits as f64 / messages as f64,
        }
    }
}

/// Every contender once.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Round {
    /// The loop without a framework.
    pub(crate) by_hand: Sample,
    /// Semel under `transactional`.
    pub(crate) exactly_once: Sample,
    /// Semel under `at_least_once`.
    pub(crate) at_least_once: Sample,
}

/// Times from due until the effect arrived.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Latency {
    /// The rate it was measured at.
    pub(crate) rate_per_second: u32,
    /// Over how many messages.
    pub(crate) messages: u64,
    /// The median.
    pub(crate) p50_ms: f64,
    /// 99 of 100 are faster.
    pub(crate) p99_ms: f64,
    /// 999 of 1000 are faster.
    pub(crate) p999_ms: f64,
    /// The slowest.
    pub(crate) max_ms: f64,
}

impl Latency {
    /// Reads times in microseconds.
    pub(crate) fn new(rate_per_second: u32, times: &Histogram<u64>) -> Self {
        let ms = |quantile: f64| times.value_at_quantile(quantile) as f64 / 1_000.0;
        Self {
            rate_per_second,
            messages: times.len(),
            p50_ms: ms(0.5),
            p99_ms: ms(0.99),
            p999_ms: ms(0.999),
            max_ms: times.max() as f64 / 1_000.0,
        }
    }

    /// What came of it, in words.
    pub(crate) fn words(&self) -> String {
        let Self { p50_ms, p99_ms, p999_ms, max_ms, .. } = self;
        format!("p50 {p50_ms:.1} ms, p99 {p99_ms:.1} ms, p99.9 {p999_ms:.1} ms, max {max_ms:.1} ms")
    }
}

/// Resident memory over time.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Memory {
    /// Messages between two looks.
    pub(crate) messages_per_look: usize,
    /// What each look saw.
    pub(crate) resident_mib: Vec<f64>,
    /// The highest of the second half to the highest of the first.
    pub(crate) growth: f64,
}

impl Memory {
    /// Compares the halves of `resident_mib`.
    pub(crate) fn new(resident_mib: Vec<f64>, messages_per_look: usize) -> Self {
        let highest = |part: &[f64]| part.iter().copied().fold(0.0, f64::max);
        let (first, second) = resident_mib.split_at(resident_mib.len() / 2);
        let growth = highest(second) / highest(first);
        Self { messages_per_look, resident_mib, growth }
    }
}

/// Everything.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    messages_per_round: usize,
    rounds: Vec<Round>,
    /// Median of the ratios, round by round.
    exactly_once_to_at_least_once: f64,
    /// Median of the ratios, round by round.
    exactly_once_to_by_hand: f64,
    latency: Option<Latency>,
    memory: Option<Memory>,
}

impl Report {
    /// Computes the ratios.
    pub(crate) fn new(
        messages_per_round: usize,
        rounds: Vec<Round>,
        latency: Option<Latency>,
        memory: Option<Memory>,
    ) -> Self {
        let ratio = |to: fn(&Round) -> Sample| {
            median(rounds.iter().map(|round| {
                round.exactly_once.messages_per_second / to(round).messages_per_second
            }))
        };
        Self {
            messages_per_round,
            exactly_once_to_at_least_once: ratio(|round| round.at_least_once),
            exactly_once_to_by_hand: ratio(|round| round.by_hand),
            rounds,
            latency,
            memory,
        }
    }

    /// Prints the tables.
    pub(crate) fn print(&self) {
        let mut table = Table::new();
        table.set_header([
            "contender",
            "messages/s (median)",
            "commits/message",
            "exactly-once to it",
        ]);
        type Pick = fn(&Round) -> Sample;
        let contenders: [(&str, Pick, f64); 3] = [
            ("exactly once", |round| round.exactly_once, 1.0),
            ("at least once", |round| round.at_least_once, self.exactly_once_to_at_least_once),
            ("loop by hand, 100 a commit", |round| round.by_hand, self.exactly_once_to_by_hand),
        ];
        for (name, sample, ratio) in contenders {
            let speed = median(self.rounds.iter().map(|round| sample(round).messages_per_second));
            let commits = median(self.rounds.iter().map(|round| sample(round).commits_per_message));
            table.add_row([
                name.to_owned(),
                format!("{speed:.0}"),
                format!("{commits:.4}"),
                format!("{ratio:.2}"),
            ]);
        }
        println!("{table}");
        if let Some(latency) = &self.latency {
            let (rate, words) = (latency.rate_per_second, latency.words());
            println!("latency at {rate}/s over two hops: {words}");
        }
        if let Some(memory) = &self.memory {
            let last = memory.resident_mib.last().copied().unwrap_or(0.0);
            let messages = memory.messages_per_look * memory.resident_mib.len();
            println!(
                "memory after {messages} messages: {last:.0} MiB, second half to first: {:.2}",
                memory.growth
            );
        }
    }
}

/// The middle of some values.
pub(crate) fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
