//! What the day came to, for a person to read.

use std::collections::BTreeMap;
use std::sync::Arc;

use semel::core::protocols::Protocol;

use crate::audit::Audit;
use crate::input::rejects::RejectSummary;
use crate::protocol;

/// How many examples of each kind of damage are named.
const EXAMPLES: usize = 5;

/// Everything there is to say about a day.
pub(crate) struct Report {
    pub(crate) audit: Audit,
    pub(crate) accepted: usize,
    /// Invoices that the shop refused, with the reason.
    pub(crate) refused: Vec<String>,
    pub(crate) not_fed: usize,
    /// Lines read and what was rejected of them, where a file was read.
    pub(crate) rejects: Option<(u64, RejectSummary)>,
    pub(crate) faults: BTreeMap<String, u64>,
    pub(crate) protocol: Arc<dyn Protocol>,
    pub(crate) queued: u64,
    /// Tokens of messages that the edge sent.
    pub(crate) tokens: u64,
    pub(crate) dead_letters: u64,
    pub(crate) seconds: u64,
    /// Whether the services had worked off everything.
    pub(crate) is_quiet: bool,
    /// Processes that someone else killed, and that were started again.
    pub(crate) killed_by_others: u64,
}

impl Report {
    /// Whether the books balance and nothing is left over.
    pub(crate) fn is_balanced(&self) -> bool {
        self.audit.is_balanced() && self.is_quiet && self.dead_letters == 0 && self.tokens == 0
    }

    pub(crate) fn print(&self) {
        self.print_input();
        self.print_faults();
        self.print_audit();
    }

    fn print_input(&self) {
        println!("\ninput");
        if let Some((lines, rejects)) = &self.rejects {
            line("lines read", *lines);
            line("lines rejected", rejects.lines);
            for (reason, count) in &rejects.by_reason {
                println!("    {reason}: {count}");
            }
            line("invoices without a usable line", rejects.unusable_invoices);
            if let Some(file) = &rejects.file {
                println!("  rejects with line and reason: {}", file.display());
            }
        }
        line("invoices accepted by the shop", self.accepted as u64);
        line("invoices refused by the shop", self.refused.len() as u64);
        examples(&self.refused);
        if self.not_fed > 0 {
            line("invoices not fed: the time was over", self.not_fed as u64);
        }
    }

    fn print_faults(&self) {
        println!("\nfaults injected");
        if self.faults.is_empty() {
            println!("  none");
        }
        for fault in crate::chaos::Fault::ALL {
            if let Some(count) = self.faults.get(fault.name()) {
                line(&fault.name().replace('_', " "), *count);
            }
        }
        if self.killed_by_others > 0 {
            line("processes killed from outside", self.killed_by_others);
        }
    }

    fn print_audit(&self) {
        let audit = &self.audit;
        let (name, seconds) = (self.protocol.name(), self.seconds);
        println!("\naudit of the ledgers against the input, under `{name}` ({seconds} s)");
        line("orders in", audit.orders);
        line("charged", audit.charged);
        line("shipped", audit.shipped);
        line("cancelled", audit.cancelled);
        line("refunded", audit.refunded);
        line("credit notes in", audit.credit_notes);
        line("paid out", audit.paid_out);
        line("coupons due", audit.coupons_due);
        line("coupons", audit.coupons);
        println!(
            "  {:<38}{:>10}.{:02}",
            "pounds charged",
            audit.charged_pence / 100,
            audit.charged_pence % 100
        );
        line("lost", audit.lost.len() as u64);
        examples(&audit.lost);
        line("duplicated", audit.duplicated.len() as u64);
        examples(&audit.duplicated);
        line("ghosts", audit.ghosts.len() as u64);
        examples(&audit.ghosts);
        line("dead letters", self.dead_letters);
        if !self.is_quiet {
            line("messages still queued", self.queued);
        }
        if self.tokens > 0 {
            line("tokens that nobody consumed", self.tokens);
        }
        println!("\n{}", self.verdict());
    }

    fn verdict(&self) -> String {
        let name = self.protocol.name();
        match (self.is_balanced(), protocol::missing(&*self.protocol)) {
            (true, None) => format!("the books balance under `{name}`: every order exactly once"),
            (true, Some(missing)) => format!(
                "the books balance this time; `{name}` does not promise that: it lacks {missing}"
            ),
            (false, None) => format!("damage: the books do not balance under `{name}`"),
            (false, Some(missing)) => {
                format!("damage: the books do not balance; `{name}` lacks {missing}")
            }
        }
    }
}

fn line(what: &str, count: u64) {
    println!("  {what:<38}{count:>10}");
}

fn examples(all: &[String]) {
    for example in all.iter().take(EXAMPLES) {
        println!("      {example}");
    }
    if all.len() > EXAMPLES {
        println!("      … and {} more", all.len() - EXAMPLES);
    }
}
