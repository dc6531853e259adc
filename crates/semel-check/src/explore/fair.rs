//! Liveness: from every state, with faults switched off, taking turns comes to an end.
//!
//! A component of the graph of states that nothing leads out of consists of states that are looked
//! at like all others: if it holds no end, the turns taken from its own states never reach one. So
//! this finds bottom components without ends as well as livelocks that only an unfair order leaves.

use super::Explorer;
use crate::hash::{self, Print};
use crate::judge::{Breach, Violation};
use crate::moves::{self, Move};
use crate::state::State;
use crate::step::Halt;

/// How many moves a fair run may have before it is cut off.
const FAIR_MOVES_MAX: usize = 10_000;

impl Explorer {
    /// Takes turns until nothing is left to do; if that never comes, the moves that show it.
    pub(super) fn never_rests(&mut self, from: &State) -> Option<(Violation, Vec<Move>)> {
        let mut state = from.clone();
        let (mut turn, mut passed, mut made) = (0, Vec::new(), Vec::new());
        let mut on_the_way = Vec::new();
        for _ in 0..FAIR_MOVES_MAX {
            // Whoever has come to rest from here took turns as well.
            let key = state.key();
            if self.restful.contains(&key) {
                break;
            }
            on_the_way.push(key);
            let here = hash::print(29, (state.key_by_worker(), turn));
            if passed.contains(&here) && wait(&mut state) {
                // Whoever waits for a record to pass its time waits no longer.
                continue;
            }
            if passed.contains(&here) {
                let detail = "with faults switched off and everyone taking turns, the same states \
                              come again and again."
                    .to_owned();
                return Some((Violation { breach: Breach::Livelock, detail }, made));
            }
            passed.push(here);
            match self.take_turn(&state, turn) {
                Ok(Some((next, choice, next_turn))) => {
                    made.push(choice);
                    (state, turn) = (next, next_turn);
                }
                Ok(None) => break,
                // Found again, and reported, where the state itself is looked at.
                Err(_) => break,
            }
            if made.len() + 1 == FAIR_MOVES_MAX {
                self.cut.insert(format!("a fair run was cut off after {FAIR_MOVES_MAX} moves"));
            }
        }
        self.restful.extend(on_the_way);
        None
    }

    /// The move of the first who has one, from `turn` on; then it is the next one's turn.
    pub(super) fn take_turn(
        &mut self,
        state: &State,
        turn: usize,
    ) -> Result<Option<(State, Move, usize)>, Halt> {
        let moves = moves::free_moves(&self.model, state);
        if self.is_cut(state) || self.is_end(state, &moves) {
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
                if let Some(next) = self.step(state, choice, 0)? {
                    return Ok(Some((next, choice, (actor + 1) % actors)));
                }
            }
        }
        Ok(None)
    }
}

/// Lets time pass until the next record is past its own, and that vanish; tells whether there was
/// one.
fn wait(state: &mut State) -> bool {
    let items = &mut state.parts.items;
    let Some(until_ms) = items.all().iter().filter_map(|record| record.kept_until_ms).min() else {
        return false;
    };
    state.now = state.now.max(semel_core::Timestamp::from_unix_ms(until_ms));
    let past = items.all().iter().filter(|record| record.may_vanish(state.now.unix_ms()));
    let keys: Vec<_> = past.map(|record| record.item.key.clone()).collect();
    keys.iter().for_each(|key| items.delete(key));
    true
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
