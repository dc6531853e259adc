//! Runs drawn from a seed, for worlds too large to exhaust; a violation is made as short as it
//! can be made by leaving moves out.

use super::{Choice, Explorer, Stop, halted};
use crate::judge::{self, Breach, Violation};
use crate::moves::Move;
use crate::state::State;
use crate::step;

/// How many of a hundred moves are faults, as long as the world has some left.
const FAULTS_PERCENT: u64 = 15;

/// A small generator of pseudo-random numbers (SplitMix64, Steele et al., OOPSLA 2014).
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `count`, which must not be zero.
    pub(super) fn below(&mut self, count: usize) -> usize {
        (self.next() % count as u64) as usize
    }

    fn percent(&mut self, chance: u64) -> bool {
        self.next() % 100 < chance
    }
}

/// A run so far: its moves by name and by position.
#[derive(Default)]
struct Walk {
    moves: Vec<Move>,
    choices: Vec<Choice>,
    /// Whether what it violates is found by taking turns from where it stopped.
    needs_turns: bool,
}

impl Explorer {
    pub(super) fn random(&mut self, seed: u64, runs: u64) -> Option<Stop> {
        let (mut dice, first) = (Dice::new(seed), step::beginning(&self.model));
        for _ in 0..runs {
            self.tasks.begin_anew();
            let (walk, violation) = self.walk(first.clone(), &mut dice);
            self.coverage.executions += 1;
            self.coverage.depth = self.coverage.depth.max(walk.moves.len() as u32);
            match violation {
                Some(violation) if walk.needs_turns => {
                    return Some(self.shorten(walk, violation));
                }
                Some(violation) => return Some(self.shrink(walk, violation)),
                None => {}
            }
        }
        None
    }

    /// One run from the beginning to an end, or to a violation.
    fn walk(&mut self, first: State, dice: &mut Dice) -> (Walk, Option<Violation>) {
        let (mut state, mut walk) = (first, Walk::default());
        while walk.moves.len() < self.model.bounds.depth as usize {
            self.coverage.states += 1;
            self.coverage.faults = self.coverage.faults.max(state.faults);
            if let Some(violation) = self.judge(&state) {
                return (walk, Some(violation));
            }
            let moves = self.moves_left(&state);
            if self.is_cut(&state) {
                return (walk, None);
            }
            if self.is_end(&state, &moves) {
                let violation = self.end(&state);
                return (walk, violation);
            }
            match self.draw(&state, &moves, dice) {
                Ok(Some((next, choice))) => {
                    walk.moves.push(moves[choice].0);
                    walk.choices.push(choice as Choice);
                    state = next;
                }
                // Nobody has a move, and it is no end: someone may wait for time to pass.
                Ok(None) => {
                    let violation = self.never_rests(&state).map(|(violation, _)| violation);
                    walk.needs_turns = violation.is_some();
                    return (walk, violation);
                }
                Err((choice, violation)) => {
                    walk.moves.push(moves[choice].0);
                    walk.choices.push(choice as Choice);
                    return (walk, Some(violation));
                }
            }
        }
        let violation = self.never_rests(&state).map(|(violation, _)| violation);
        walk.needs_turns = violation.is_some();
        if violation.is_none() {
            let depth = self.model.bounds.depth;
            self.cut.insert(format!("a run was cut off after {depth} moves"));
        }
        (walk, violation)
    }

    /// Makes one of the moves.
    fn draw(
        &mut self,
        state: &State,
        moves: &[(Move, u32)],
        dice: &mut Dice,
    ) -> Result<Option<(State, usize)>, (usize, Violation)> {
        let may_fail = state.faults < self.model.faults_max;
        let wants_fault = may_fail && dice.percent(FAULTS_PERCENT);
        // Those that are no faults come first.
        let (free, faults) = (0..moves.len()).partition(|at| moves[*at].1 == 0);
        let mut lists: [Vec<usize>; 2] = if wants_fault { [faults, free] } else { [free, faults] };
        // Not every move that is listed can be made.
        while let Some(from) = lists.iter_mut().find(|list| !list.is_empty()) {
            let choice = from.swap_remove(dice.below(from.len()));
            let (made, cost) = moves[choice];
            if self.is_idle_look(state, made) {
                continue;
            }
            match self.step(state, made, cost) {
                Ok(Some(next)) => return Ok(Some((next, choice))),
                Ok(None) => {}
                Err(halt) => return Err((choice, halted(halt))),
            }
        }
        Ok(None)
    }

    /// The beginning of a walk from which taking turns shows it: the shortest of those whose lengths
    /// double.
    fn shorten(&mut self, walk: Walk, violation: Violation) -> Stop {
        let mut state = step::beginning(&self.model);
        for (at, made) in walk.moves.iter().enumerate() {
            if (at == 0 || at.is_power_of_two())
                && let Some((violation, tail)) = self.never_rests(&state)
            {
                return Stop { violation, choices: walk.choices[..at].to_vec(), tail };
            }
            let listed = self.moves(&state);
            let cost =
                listed.iter().find(|(listed, _)| listed == made).map_or(0, |(_, cost)| *cost);
            match self.step(&state, *made, cost) {
                Ok(Some(next)) => state = next,
                _ => break,
            }
        }
        let tail = self.never_rests(&state).map(|(_, tail)| tail).unwrap_or_default();
        Stop { violation, choices: walk.choices, tail }
    }

    /// Leaves out what the violation does not need: large parts first, then single moves.
    fn shrink(&mut self, walk: Walk, violation: Violation) -> Stop {
        let (mut best, mut violation) = (walk, violation);
        let mut size = best.moves.len().div_ceil(2).max(1);
        loop {
            let mut at = 0;
            while at < best.moves.len() {
                let mut fewer = best.moves.clone();
                fewer.drain(at..(at + size).min(fewer.len()));
                match self.retrace(&fewer, &violation.breach) {
                    Some((walk, found)) if walk.moves.len() < best.moves.len() => {
                        (best, violation) = (walk, found);
                    }
                    _ => at += size,
                }
            }
            if size == 1 {
                break;
            }
            size = size.div_ceil(2);
        }
        Stop { violation, choices: best.choices, tail: Vec::new() }
    }

    /// Makes those of `moves` that can be made, then takes turns, until the same is violated.
    fn retrace(&mut self, moves: &[Move], breach: &Breach) -> Option<(Walk, Violation)> {
        let (mut state, mut walk) = (step::beginning(&self.model), Walk::default());
        let mut wanted = moves.iter();
        let mut turn = 0;
        while walk.moves.len() < self.model.bounds.depth as usize {
            let listed = self.moves(&state);
            let next = match wanted.next() {
                Some(wanted) => match listed.iter().position(|(listed, _)| listed == wanted) {
                    Some(choice) => self
                        .step(&state, *wanted, listed[choice].1)
                        .map(|next| next.map(|next| (next, choice))),
                    None => continue,
                },
                None => {
                    if self.is_cut(&state) {
                        return None;
                    }
                    if self.is_end(&state, &listed) {
                        let found = judge::finally(&self.model, &state)?;
                        return (found.breach == *breach).then_some((walk, found));
                    }
                    self.take_turn(&state, turn).map_err(|(_, halt)| halt).map(|taken| {
                        let (next, made, next_turn) = taken?;
                        turn = next_turn;
                        let choice = listed.iter().position(|(listed, _)| *listed == made)?;
                        Some((next, choice))
                    })
                }
            };
            match next {
                Ok(Some((next, choice))) => {
                    walk.moves.push(listed[choice].0);
                    walk.choices.push(choice as Choice);
                    state = next;
                    if state.faults > self.model.faults_max {
                        return None;
                    }
                }
                Ok(None) if wanted.len() == 0 => return None,
                Ok(None) => continue,
                Err(halt) => {
                    let found = halted(halt);
                    return (found.breach == *breach).then_some((walk, found));
                }
            }
            if let Some(found) = judge::always(&self.model, &state) {
                return (found.breach == *breach).then_some((walk, found));
            }
        }
        None
    }
}
