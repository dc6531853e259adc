//! A row with everything that was found about it.

use semel_core::Property;

use super::class::FaultClass;
use super::count::Numbers;
use super::judge::{Judged, Verdict};
use super::row::Row;
use crate::report::Counterexample;

/// A row, compared.
#[derive(Clone, Debug)]
pub struct Compared {
    /// The row.
    pub row: Row,
    /// What was judged, in the order of [`FaultClass::ALL`].
    pub judged: Vec<Judged>,
    /// What was counted; nothing if the protocol did not come to an end.
    pub numbers: Option<Numbers>,
}

/// One property of a row under all classes of faults, in short.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Where it is violated, though a protocol has to survive these faults without saying so.
    pub no: Vec<FaultClass>,
    /// Where it is violated by faults past every promise.
    pub not_past: Vec<FaultClass>,
    /// Where no counterexample was found, and not all was looked at.
    pub unsure: Vec<FaultClass>,
    /// Where the code went wrong in another way: it stopped, or never came to rest.
    pub stopped: Vec<FaultClass>,
}

impl Summary {
    /// Whether it holds wherever it may be promised, and all of that was looked at.
    pub fn is_yes(&self) -> bool {
        let mut open = self.unsure.iter().chain(&self.stopped);
        self.no.is_empty() && !open.any(|class| class.is_promised())
    }
}

impl Compared {
    /// A property under all classes, in short.
    pub fn summary(&self, property: Property) -> Summary {
        let mut summary = Summary::default();
        for judged in &self.judged {
            let class = judged.class;
            match judged.verdict(property) {
                Some(Verdict::Yes) => {}
                Some(Verdict::No(_)) if class.is_promised() => summary.no.push(class),
                Some(Verdict::No(_)) => summary.not_past.push(class),
                Some(Verdict::NotExhausted) | None => summary.unsure.push(class),
                Some(Verdict::Stopped(_) | Verdict::Unusable(_)) => summary.stopped.push(class),
            }
        }
        summary
    }

    /// The shortest run that violates a property, and under which class of faults: fewest faults
    /// first, and where it is promised before where it is not.
    pub fn shortest(&self, property: Property) -> Option<(FaultClass, &Counterexample)> {
        let runs = self.judged.iter().filter_map(|judged| match judged.verdict(property) {
            Some(Verdict::No(found)) => Some((judged.class, &**found)),
            _ => None,
        });
        runs.min_by_key(|(class, found)| {
            (!class.is_promised(), faults(found), found.trace.steps.len())
        })
    }

    /// The promises that are broken: a property under a class of faults that a protocol has to
    /// survive without saying so, and about which its documentation assumes nothing.
    pub fn broken(&self) -> Vec<(Property, FaultClass)> {
        let of = |property: Property| {
            let Summary { no, stopped, .. } = self.summary(property);
            let assumed = self.row.assumption().map(|(class, _)| class);
            let stopped = stopped.into_iter().filter(|class| class.is_promised());
            let broken = no.into_iter().chain(stopped);
            broken.filter(move |class| Some(*class) != assumed).map(move |class| (property, class))
        };
        self.row.promises().iter().copied().flat_map(of).collect()
    }
}

/// How many faults a run has.
pub fn faults(found: &Counterexample) -> usize {
    let is_fault = |step: &&crate::trace::Step| step.weight == crate::trace::Weight::Fault;
    found.trace.steps.iter().filter(is_fault).count()
}
