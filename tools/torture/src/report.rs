//! What a run came to, for a person to read and for a program.

use std::collections::BTreeMap;

use serde::Serialize;
use shop::audit::{Accepted, Audit};

use crate::books::Leftovers;
use crate::histories::Findings;
use crate::storm::Aftermath;

/// How many examples of each kind of damage are named.
const EXAMPLES: usize = 8;

/// The outcome of one stack.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) stack: String,
    pub(crate) seed: u64,
    pub(crate) protocol: String,
    /// For how long customers bought, in seconds.
    pub(crate) seconds: u64,
    pub(crate) orders: usize,
    pub(crate) refused: usize,
    /// Faults by name.
    pub(crate) faults: BTreeMap<String, u64>,
    /// Processes that were killed from outside.
    pub(crate) killed_by_others: u64,
    /// Processes that ended by themselves, and were started again.
    pub(crate) ended: Vec<String>,
    /// How long everything took to be worked off after healing, in milliseconds.
    pub(crate) drained_in_ms: u128,
    pub(crate) entities: usize,
    pub(crate) operations: usize,
    pub(crate) attempts: usize,
    pub(crate) pounds_charged: i64,
    /// Everything that must not be, by kind.
    pub(crate) damage: BTreeMap<&'static str, Vec<String>>,
}

impl Report {
    /// Holds everything against each other.
    pub(crate) fn new(
        name: &str,
        seed: u64,
        protocol: &str,
        aftermath: Aftermath,
        audit: Audit,
        findings: Findings,
        left: &Leftovers,
    ) -> Self {
        let cancellations = wrong_cancellations(&aftermath.accepted, &findings);
        let mut damage = BTreeMap::from([
            ("lost", audit.lost),
            ("duplicated", audit.duplicated),
            ("ghosts", audit.ghosts),
            ("histories without an order", findings.violations),
            ("processes that panicked", aftermath.panics),
            ("processes that crashed", aftermath.crashed),
            ("complaints of customers", aftermath.complaints),
            ("cancellations that did not arrive once", cancellations),
            ("orders refused", aftermath.refused.clone()),
        ]);
        // At the end, and not only when patience ended: workers went on until then.
        if let Some(left) = aftermath.stuck.as_ref().or(Some(left).filter(|it| !it.is_nothing())) {
            let messages = left.messages.iter().map(|(name, count)| format!("{count} for {name}"));
            let others = [("effects not sent", left.outbox), ("tokens not consumed", left.tokens)];
            let others = others.into_iter().filter(|(_, count)| *count > 0);
            let others = others.map(|(what, count)| format!("{count} {what}"));
            damage.insert("stuck", messages.chain(others).collect());
        }
        if left.dead_letters > 0 {
            damage.insert("dead letters", vec![format!("{} in all", left.dead_letters)]);
        }
        damage.retain(|_, examples| !examples.is_empty());
        Self {
            stack: name.to_owned(),
            seed,
            protocol: protocol.to_owned(),
            seconds: aftermath.bought_for.as_secs(),
            orders: aftermath.accepted.len(),
            refused: aftermath.refused.len(),
            faults: aftermath.faults,
            killed_by_others: aftermath.killed_by_others,
            ended: aftermath.ended,
            drained_in_ms: aftermath.drained_in.as_millis(),
            entities: findings.entities,
            operations: findings.operations,
            attempts: findings.attempts,
            pounds_charged: audit.charged_pence / 100,
            damage,
        }
    }

    /// Whether every message counted exactly once.
    pub(crate) fn is_clean(&self) -> bool {
        self.damage.is_empty()
    }

    pub(crate) fn print(&self) {
        println!("\n{} under `{}`, seed {}", self.stack, self.protocol, self.seed);
        println!("  faults injected");
        for (name, count) in &self.faults {
            line(name, *count);
        }
        if self.killed_by_others > 0 {
            line("process killed from outside", self.killed_by_others);
        }
        println!(
            "  processes that ended by themselves, and were started again: {}",
            self.ended.len()
        );
        examples(&self.ended, 3);
        println!("  books");
        line("orders and credit notes accepted", self.orders as u64);
        line("messages counted at entities", self.operations as u64);
        line("attempts at them", self.attempts as u64);
        line("entities whose history was checked", self.entities as u64);
        println!("    pounds charged: {}", self.pounds_charged);
        println!("    worked off {:.1} s after healing", self.drained_in_ms as f64 / 1_000.0);
        for (kind, found) in &self.damage {
            println!("  {kind}: {}", found.len());
            examples(found, EXAMPLES);
        }
        match self.is_clean() {
            true => println!("  every message counted exactly once"),
            false => println!("  DAMAGE"),
        }
    }
}

/// Orders whose cancellation did not reach them once, if it was asked for, and never otherwise. The
/// books cannot tell: one that came too late leaves nothing in them.
fn wrong_cancellations(accepted: &[Accepted], findings: &Findings) -> Vec<String> {
    let is_wrong = |invoice: &&Accepted| {
        let reached = findings.cancellations.get(&invoice.id).copied().unwrap_or_default();
        reached != usize::from(invoice.cancel_asked)
    };
    let name = |invoice: &Accepted| format!("of order {} ({})", invoice.reference, invoice.id);
    accepted.iter().filter(is_wrong).map(name).collect()
}

fn line(what: &str, count: u64) {
    println!("    {what:<38}{count:>8}");
}

fn examples(all: &[String], most: usize) {
    for example in all.iter().take(most) {
        println!("      {example}");
    }
    if all.len() > most {
        println!("      … and {} more", all.len() - most);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::time::Duration;

    use super::*;
    use crate::stack::{Ground, Stack};

    /// The report of a run in which nothing happened but what `harm` does.
    fn report(harm: impl FnOnce(&mut Aftermath)) -> Report {
        let folder = tempfile::tempdir().unwrap();
        let mut aftermath = Aftermath {
            ground: Ground::start(Stack::Sqlite, folder.path()).unwrap(),
            accepted: Vec::new(),
            refused: Vec::new(),
            faults: BTreeMap::new(),
            stuck: None,
            drained_in: Duration::ZERO,
            killed_by_others: 3,
            ended: vec!["edge: nothing said".to_owned()],
            panics: Vec::new(),
            crashed: Vec::new(),
            complaints: Vec::new(),
            planned: 0,
            bought_for: Duration::ZERO,
        };
        harm(&mut aftermath);
        let (audit, findings) = (Audit::default(), Findings::default());
        Report::new("sqlite", 1, "token", aftermath, audit, findings, &Leftovers::default())
    }

    #[test]
    fn a_crash_a_panic_and_a_complaint_are_damage_and_an_end_is_none() {
        let told = || vec!["edge: signal 6".to_owned()];
        assert!(report(|_| {}).is_clean());
        assert!(!report(|aftermath| aftermath.crashed = told()).is_clean());
        assert!(!report(|aftermath| aftermath.panics = told()).is_clean());
        assert!(!report(|aftermath| aftermath.complaints = told()).is_clean());
        assert!(!report(|aftermath| aftermath.refused = told()).is_clean());
        let stuck = Leftovers { outbox: 1, ..Leftovers::default() };
        assert!(!report(|aftermath| aftermath.stuck = Some(stuck)).is_clean());
    }
}
