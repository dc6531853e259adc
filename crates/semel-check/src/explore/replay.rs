//! The line that replays a run.

use std::fmt;
use std::str::FromStr;

use super::{Choice, Explorer, Stop, halted};
use crate::hash::{self, Ink};
use crate::judge;
use crate::model::Model;
use crate::report::{Finding, Report};
use crate::step;
use crate::world::WorldError;

/// The version of the format and of the order in which moves are listed.
const VERSION: u32 = 1;

/// A run, as the positions of its moves in the lists of moves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    /// Which world, by a print of how it is set up.
    world: u32,
    choices: Vec<Choice>,
    /// Whether fair turns follow.
    fair: bool,
}

/// A short print of how a world is set up.
pub(crate) fn print_of(model: &Model) -> u32 {
    let mut ink = Ink::new(30).with((&model.name, model.workers, format!("{:?}", model.faults)));
    ink.add((format!("{:?}", model.cast.store), model.cast.broker.message_bytes_max));
    ink.add((model.later_by, model.routes.ordered, model.bounds.deliveries, model.conflicts));
    ink.add(&model.items);
    for endpoint in model.cast.sites.iter().flat_map(|site| &site.versions) {
        let kinds: Vec<&str> = endpoint.handlers().keys().copied().collect();
        let settings = format!("{:?}", endpoint.chosen_settings());
        ink.add((endpoint.name(), endpoint.chosen_protocol().name(), kinds, settings));
    }
    for message in &model.messages {
        hash::outgoing(&mut ink, message);
    }
    ink.print() as u32
}

impl Line {
    pub(crate) fn new(model: &Model, choices: &[Choice], tail: usize) -> Self {
        Self { world: print_of(model), choices: choices.to_vec(), fair: tail > 0 }
    }

    /// Whether the line is of this world.
    pub(crate) fn is_of(&self, model: &Model) -> bool {
        self.world == print_of(model)
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{VERSION}-{:08x}-", self.world)?;
        let choices: Vec<String> =
            self.choices.iter().map(|choice| format!("{choice:x}")).collect();
        f.write_str(&choices.join("."))?;
        if self.fair { f.write_str("-fair") } else { Ok(()) }
    }
}

impl FromStr for Line {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad =
            || format!("`{text}` is no replay line; it looks like {VERSION}-0123abcd-0.1.0.3");
        let mut parts = text.trim().split('-');
        let mut next = || parts.next().ok_or_else(bad);
        let version: u32 = next()?.parse().map_err(|_| bad())?;
        if version != VERSION {
            return Err(format!(
                "the replay line is of version {version}, and this program replays version \
                 {VERSION}: check the world again to get a new line"
            ));
        }
        let world = u32::from_str_radix(next()?, 16).map_err(|_| bad())?;
        let choices = next()?;
        let fair = match parts.next() {
            None => false,
            Some("fair") if parts.next().is_none() => true,
            Some(_) => return Err(bad()),
        };
        let number = |digits: &str| Choice::from_str_radix(digits, 16).map_err(|_| bad());
        let choices = choices.split('.').filter(|digits| !digits.is_empty());
        Ok(Self { world, choices: choices.map(number).collect::<Result<_, _>>()?, fair })
    }
}

impl Explorer {
    /// Runs one line, and judges what it comes to.
    pub(crate) fn replay(mut self, line: &Line) -> Report {
        if !line.is_of(&self.model) {
            return self.not_this_world();
        }
        let mut state = step::beginning(&self.model);
        let mut stop = None;
        for (at, choice) in line.choices.iter().enumerate() {
            let moves = self.moves(&state);
            let made = moves.get(usize::from(*choice)).copied();
            let made = made.map(|(step, cost)| self.step(&state, step, cost));
            let so_far = || line.choices[..=at].to_vec();
            let violation = match made {
                Some(Ok(Some(next))) => {
                    state = next;
                    judge::always(&self.model, &state)
                }
                Some(Err(halt)) => Some(halted(halt)),
                Some(Ok(None)) | None => return self.diverged(at),
            };
            if violation.is_some() && at + 1 < line.choices.len() {
                let surplus = line.choices.len() - at - 1;
                return self.unusable(format!(
                    "after move {} of the replay line something is violated already, and {surplus} \
                     more follow: the code has changed since the line was printed",
                    at + 1
                ));
            }
            if let Some(violation) = violation {
                stop = Some(Stop { violation, choices: so_far(), tail: Vec::new() });
                break;
            }
        }
        self.coverage.states = line.choices.len() as u64;
        self.coverage.executions = 1;
        self.coverage.faults = state.faults;
        self.coverage.depth = line.choices.len() as u32;
        if stop.is_none() {
            stop = self.end_of(line, &state);
        }
        if stop.is_none() {
            let moves = self.moves(&state);
            let end = match self.is_end(&state, &moves) {
                true => "to its end",
                false => "as far as the line goes, which is not its end: is the line whole?",
            };
            self.cut.insert(format!("one run was replayed {end}, and violated nothing"));
        }
        self.report(stop)
    }

    fn end_of(&mut self, line: &Line, state: &crate::state::State) -> Option<Stop> {
        let choices = line.choices.clone();
        let moves = self.moves(state);
        if self.is_cut(state) {
            return None;
        }
        if self.is_end(state, &moves) {
            let violation = judge::finally(&self.model, state)?;
            return Some(Stop { violation, choices, tail: Vec::new() });
        }
        let (violation, tail) = self.never_rests(state).filter(|_| line.fair)?;
        Some(Stop { violation, choices, tail })
    }

    fn not_this_world(self) -> Report {
        let reason =
            "the replay line is of another world, or this one was set up differently when \
                      it was printed: other endpoints, messages, workers, faults or limits"
                .to_owned();
        self.unusable(reason)
    }

    fn diverged(self, at: usize) -> Report {
        self.unusable(format!(
            "move {} of the replay line cannot be made: the code has changed since the line was \
             printed, or does not always do the same",
            at + 1
        ))
    }

    fn unusable(self, reason: String) -> Report {
        let world = self.model.name.clone();
        let finding = Finding::Unusable(WorldError { world: world.clone(), reason });
        Report { world, finding, coverage: self.coverage }
    }
}
