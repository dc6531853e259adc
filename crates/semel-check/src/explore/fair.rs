//! Liveness: from every state, with faults switched off, taking turns comes to an end.
//!
//! A component of the graph of states that nothing leads out of consists of states that are looked
//! at like all others: if it holds no end, the turns taken from its own states never reach one. So
//! this finds bottom components without ends as well as livelocks that only an unfair order leaves.

use super::{Explorer, halted};
use crate::hash::{self, ByPrint, Print, Prints};
use crate::judge::{Breach, Violation};
use crate::moves::{self, Move};
use crate::state::State;
use crate::step::Halt;

/// How many moves a fair run may have before it is cut off.
const FAIR_MOVES_MAX: usize = 5_000;
/// How many turns are taken before they are counted.
const A_FEW: usize = 4;
/// From how many moves on a fair run is looked at for what comes again but for counts that grow.
const LONG_RUN: usize = 200;
/// How often such states come again, beside the deliveries after which a message is given up.
const ALIKE_MAX: u32 = 40;
/// The same between one wait and the next: whoever gives up by deliveries has done so before.
const ALIKE_BETWEEN_WAITS: u32 = 3;
/// How long time is let pass for those who wait for it, one wait after the other, in late deliveries:
/// short ones first, for what waits for little must not see all windows pass.
const WAITS: [u32; 9] = [1, 1, 1, LONG_WAIT, LONG_WAIT, LONG_WAIT, 900, 900, 900];
/// A wait that nothing but windows outlasts.
pub(super) const LONG_WAIT: u32 = 30;
/// How a run goes on that comes to no state twice.
const GROWING: &str = "the same comes again and again, but for versions and counts that grow";

/// A turn that was taken: what the world looks like then, the move, and whose turn is next.
type Turn = (State, Move, usize);

/// A fair run under way.
#[derive(Default)]
struct Turns {
    passed: Prints,
    /// The merged states on the way.
    keys: Vec<Print>,
    made: Vec<Move>,
    /// How often states that look alike have come.
    alike: ByPrint<u32>,
    waits: usize,
    /// How many moves there were when the same state came again for the first time.
    first_again: Option<usize>,
}

impl Turns {
    /// A halt before any wait is found again, and reported, where the state itself is looked at.
    fn waited(self, violation: Violation) -> Option<(Violation, Vec<Move>)> {
        (self.waits > 0).then_some((violation, self.made))
    }

    /// The same comes again and again: the moves until it did so first.
    fn livelock(mut self, how: &str) -> (Violation, Vec<Move>) {
        let detail = format!("with faults switched off and everyone taking turns, {how}.");
        self.made.truncate(self.first_again.unwrap_or(self.made.len()));
        (Violation { breach: Breach::Livelock, detail }, self.made)
    }
}

impl Explorer {
    /// Takes turns until nothing is left to do; if that never comes, the moves that show it.
    pub(super) fn never_rests(&mut self, from: &State) -> Option<(Violation, Vec<Move>)> {
        self.never_rests_at(from, from.key())
    }

    /// The same for a state whose key is known.
    pub(super) fn never_rests_at(
        &mut self,
        from: &State,
        key: Print,
    ) -> Option<(Violation, Vec<Move>)> {
        if self.rests_soon(from, key) { None } else { self.turn_for_long(from) }
    }

    fn turn_for_long(&mut self, from: &State) -> Option<(Violation, Vec<Move>)> {
        let (mut state, mut turn, mut turns) = (from.clone(), 0, Turns::default());
        while turns.made.len() < FAIR_MOVES_MAX && !self.rests_not {
            // Whoever has come to rest from here took turns as well.
            let key = state.key();
            if self.restful.contains(&key) {
                break;
            }
            turns.keys.push(key);
            if !turns.passed.insert(hash::print(29, (state.key_by_worker(), turn))) {
                turns.first_again.get_or_insert(turns.made.len());
                match self.wait(&state, &mut turns) {
                    Some(later) => state = later,
                    None => return Some(turns.livelock("the same states come again and again")),
                }
                continue;
            }
            if turns.made.len() > LONG_RUN && self.comes_alike(&state, turn, &mut turns) {
                if turns.first_again.is_none() {
                    turns.first_again = Some(self.came_alike_at(from, &state, &turns.made));
                }
                // Whoever waits may count how often it has looked.
                match self.wait(&state, &mut turns) {
                    Some(later) => state = later,
                    None => return Some(turns.livelock(GROWING)),
                }
                continue;
            }
            match self.take_turn(&state, turn) {
                Ok(Some((next, choice, next_turn))) => {
                    turns.made.push(choice);
                    (state, turn) = (next, next_turn);
                }
                // A finisher may wait for what it finds to grow old.
                Ok(None) if self.is_waiting(&state) => match self.wait(&state, &mut turns) {
                    Some(later) => state = later,
                    None => break,
                },
                Ok(None) => break,
                Err((choice, halt)) => {
                    turns.made.push(choice);
                    return turns.waited(halted(halt));
                }
            }
            // No other way leads beyond a wait, so whoever goes there judges what is there.
            if turns.waits > 0
                && let Some(violation) = self.judge_beyond(&state)
            {
                return Some((violation, turns.made));
            }
        }
        if turns.made.len() == FAIR_MOVES_MAX {
            self.give_up_rest(&state);
        }
        self.restful.extend(turns.keys);
        None
    }

    /// Whether a few turns lead to a state that is known to rest, as they do from most.
    fn rests_soon(&mut self, from: &State, key: Print) -> bool {
        if self.restful.contains(&key) || self.rests_not {
            return true;
        }
        let (mut keys, mut next, mut turn) = ([key; A_FEW], None, 0);
        for at in 1..A_FEW {
            let state = next.as_ref().unwrap_or(from);
            let Ok(Some((after, _, next_turn))) = self.take_turn(state, turn) else { return false };
            keys[at] = after.key();
            if self.restful.contains(&keys[at]) {
                self.restful.extend(keys);
                return true;
            }
            (next, turn) = (Some(after), next_turn);
        }
        false
    }

    /// Whether a state has come too often, but for what only ever grows.
    fn comes_alike(&self, state: &State, turn: usize, turns: &mut Turns) -> bool {
        let times = turns.alike.entry(hash::print(51, (state.likeness(), turn))).or_default();
        *times += 1;
        if (1..WAITS.len()).contains(&turns.waits) {
            return *times > ALIKE_BETWEEN_WAITS;
        }
        let sites = self.model.cast.sites.iter().flat_map(|site| &site.versions);
        let deliveries = sites.map(|endpoint| endpoint.chosen_settings().abandoned_max).max();
        *times > ALIKE_MAX.saturating_add(2 * deliveries.unwrap_or(0))
    }

    /// After how many moves a state came that looks like this one, and had come before.
    fn came_alike_at(&mut self, from: &State, alike: &State, made: &[Move]) -> usize {
        let (likeness, mut state, mut times) = (alike.likeness(), from.clone(), 0);
        for (at, choice) in made.iter().enumerate() {
            times += u32::from(state.likeness() == likeness);
            if times > 1 {
                return at;
            }
            match self.step(&state, *choice, 0) {
                Ok(Some(next)) => state = next,
                _ => break,
            }
        }
        made.len()
    }

    /// One world that goes on for so long does so from each of its states.
    fn give_up_rest(&mut self, state: &State) {
        self.rests_not = true;
        let (messages, items) = (state.monitor.visible().len(), state.parts.items.all().len());
        self.cut.insert(format!(
            "everyone took turns for {FAIR_MOVES_MAX} moves without an end; by then {messages} \
             effects were visible and {items} items stored: does something multiply? Whether this \
             world comes to rest was not looked at further"
        ));
    }

    /// Lets time pass, unless all of it has passed in vain.
    fn wait(&mut self, state: &State, turns: &mut Turns) -> Option<State> {
        let wait = Move::Wait { times: *WAITS.get(turns.waits)? };
        turns.waits += 1;
        turns.alike.clear();
        turns.made.push(wait);
        self.step(state, wait, 0).ok().flatten()
    }

    /// Whether nobody has a move, and yet it is no end.
    fn is_waiting(&mut self, state: &State) -> bool {
        let moves = moves::free_moves(&self.model, state);
        !self.is_task_cut(state) && !self.is_end(state, &moves)
    }

    fn judge_beyond(&mut self, state: &State) -> Option<Violation> {
        let moves = moves::free_moves(&self.model, state);
        let violation = self.judge(state);
        if violation.is_none() && self.is_end(state, &moves) {
            self.coverage.executions += 1;
            return self.end(state);
        }
        violation
    }

    /// The move of the first who has one, from `turn` on; then it is the next one's turn.
    pub(super) fn take_turn(
        &mut self,
        state: &State,
        turn: usize,
    ) -> Result<Option<Turn>, (Move, Halt)> {
        let moves = moves::free_moves(&self.model, state);
        if self.is_task_cut(state) || self.is_end(state, &moves) {
            return Ok(None);
        }
        let actors = state.slots.len() + KINDS;
        for offset in 0..actors {
            let actor = (turn + offset) % actors;
            let of_actor = moves.iter().filter(|(choice, _)| actor_of(state, choice) == actor);
            let mut of_actor: Vec<Move> = of_actor.map(|(choice, _)| *choice).collect();
            // Of several messages the one that was delivered least.
            of_actor.sort_by_key(|choice| deliveries_of(state, choice));
            for choice in of_actor {
                if self.finds_nothing(state, choice) {
                    continue;
                }
                let next = self.step(state, choice, 0).map_err(|halt| (choice, halt))?;
                if let Some(next) = next {
                    return Ok(Some((next, choice, (actor + 1) % actors)));
                }
            }
        }
        Ok(None)
    }
}

/// Who moves beside the tasks.
const KINDS: usize = 5;

fn actor_of(state: &State, choice: &Move) -> usize {
    let kind = match choice {
        Move::Answer { slot, .. } | Move::Crash { slot, .. } => return *slot,
        Move::Deliver { .. } => 0,
        Move::EndLease { .. } => 1,
        Move::Land { .. } => 2,
        Move::Finish { .. } => 3,
        _ => 4,
    };
    state.slots.len() + kind
}

fn deliveries_of(state: &State, choice: &Move) -> (u32, Print) {
    let Move::Deliver { message, .. } = choice else { return (0, 0) };
    let mut queued = state.parts.queue.all().iter();
    let found = queued.find(|queued| queued.name == *message);
    (found.map_or(0, |queued| queued.receipts), *message)
}
