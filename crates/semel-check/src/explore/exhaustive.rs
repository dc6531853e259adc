//! Breadth-first, with states merged, and the number of faults raised one by one: the first
//! counterexample has the fewest faults, and among these the fewest moves.

use std::collections::BTreeMap;

use super::{Choice, Explorer, Stop, halted};
use crate::hash::{ByPrint, Print, Prints};
use crate::judge::Violation;
use crate::state::State;
use crate::step;

/// No state came before the first.
const ROOT: u32 = u32::MAX;

/// A state that was come upon, or what stopped the world there.
struct Found {
    what: Result<State, Violation>,
    key: Print,
    parent: u32,
    choice: Choice,
}

/// The states come upon but not yet looked at, by their depth.
#[derive(Default)]
struct Layer {
    by_depth: BTreeMap<u32, Vec<Found>>,
    /// The depth at which each state was come upon, the shallowest so far.
    depths: ByPrint<u32>,
    states: usize,
}

impl Layer {
    fn add(&mut self, depth: u32, found: Found) {
        let known = self.depths.get(&found.key);
        if found.what.is_err() || known.is_none_or(|known| depth < *known) {
            self.depths.insert(found.key, depth);
            self.states += 1;
            self.by_depth.entry(depth).or_default().push(found);
        }
    }
}

/// How each state was first reached.
#[derive(Default)]
struct Ways {
    visited: Prints,
    came: Vec<(u32, Choice)>,
}

impl Ways {
    fn choices(&self, mut at: u32) -> Vec<Choice> {
        let mut choices = Vec::new();
        while let Some((parent, choice)) = self.came.get(at as usize) {
            if *parent == ROOT {
                break;
            }
            choices.push(*choice);
            at = *parent;
        }
        choices.reverse();
        choices
    }
}

impl Explorer {
    pub(super) fn exhaustive(&mut self) -> Option<Stop> {
        let first = step::beginning(&self.model);
        let (mut ways, mut layer) = (Ways::default(), Layer::default());
        layer.add(0, Found { key: first.key(), what: Ok(first), parent: ROOT, choice: 0 });
        for faults in 0..=self.model.faults_max {
            self.coverage.faults = faults;
            let mut next = Layer::default();
            while let Some((depth, level)) = layer.by_depth.pop_first() {
                self.coverage.depth = self.coverage.depth.max(depth);
                for found in level {
                    layer.states -= 1;
                    if self.is_too_large(ways.visited.len(), layer.states + next.states) {
                        return None;
                    }
                    if let Some(stop) = self.look_at(found, depth, &mut ways, &mut layer, &mut next)
                    {
                        return Some(stop);
                    }
                }
            }
            layer = next;
        }
        None
    }

    /// Whether a bound ends the exploration; if so, which is noted.
    fn is_too_large(&mut self, visited: usize, waiting: usize) -> bool {
        let bounds = self.model.bounds;
        let cut = if waiting > bounds.waiting {
            format!(
                "{} states wait to be looked at, which is about what memory holds: make the world \
                 smaller, or use `check_random`",
                bounds.waiting
            )
        } else if visited >= bounds.states {
            format!("{} states were explored (see `states_max`)", bounds.states)
        } else {
            return false;
        };
        self.cut.insert(cut);
        true
    }

    fn look_at(
        &mut self,
        found: Found,
        depth: u32,
        ways: &mut Ways,
        layer: &mut Layer,
        next: &mut Layer,
    ) -> Option<Stop> {
        let Found { what, key, parent, choice } = found;
        if what.is_ok() && !ways.visited.insert(key) {
            return None;
        }
        let at = u32::try_from(ways.came.len()).unwrap_or(ROOT);
        ways.came.push((parent, choice));
        let stop = |violation, ways: &Ways| {
            Some(Stop { violation, choices: ways.choices(at), tail: Vec::new() })
        };
        let state = match what {
            Ok(state) => state,
            Err(violation) => return stop(violation, ways),
        };
        self.coverage.states += 1;
        if let Some(violation) = self.judge(&state) {
            return stop(violation, ways);
        }
        if self.is_cut(&state) {
            return None;
        }
        let moves = self.moves_left(&state);
        if self.is_end(&state, &moves) {
            self.coverage.executions += 1;
            if let Some(violation) = self.end(&state) {
                return stop(violation, ways);
            }
        } else if let Some((violation, tail)) = self.never_rests_at(&state, key) {
            return Some(Stop { violation, choices: ways.choices(at), tail });
        }
        for (choice, (step, cost)) in moves.into_iter().enumerate() {
            if self.is_idle_look(&state, step) {
                continue;
            }
            let what = match self.step(&state, step, cost) {
                Ok(None) => continue,
                Ok(Some(state)) => Ok(state),
                Err(halt) => Err(halted(halt)),
            };
            let key = what.as_ref().map_or(0, State::key);
            if what.is_ok() && ways.visited.contains(&key) {
                continue;
            }
            let found = Found { what, key, parent: at, choice: choice as Choice };
            let into = if cost == 0 { &mut *layer } else { &mut *next };
            into.add(depth + 1, found);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use semel_core::{Context, Endpoint, Message};
    use serde::{Deserialize, Serialize};

    use super::Explorer;
    use crate::report::Strategy;
    use crate::watch::Watch;
    use crate::world::World;

    #[derive(Serialize, Deserialize)]
    struct Tick;

    impl Message for Tick {
        const TYPE: &'static str = "tick";
    }

    fn count(ticks: &mut u32, _: Tick, _: &mut Context) {
        *ticks += 1;
    }

    #[test]
    fn more_states_than_memory_holds_are_no_proof() {
        let clock = Endpoint::new("clock").handle_by(|_| "hall".to_owned(), count);
        let world = World::new("ticks").endpoint(clock).send("t1", "clock", Tick);
        let mut model = world.workers(2).faults(1).model().unwrap();
        model.bounds.waiting = 5;
        let explorer = Explorer::new(Arc::new(model), Strategy::Exhaustive, Watch::default());
        let report = explorer.run();
        assert!(!report.holds() && report.counterexample().is_none(), "{report}");
        let cut = &report.coverage.cut;
        assert!(cut.iter().any(|cut| cut.starts_with("5 states wait to be looked at")), "{cut:?}");
    }
}
