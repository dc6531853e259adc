//! Whether the checker understands what a protocol writes: if it does not, what it finds means nothing.

use semel_core::store::{Change, Space};

use super::Explorer;
use crate::judge::{Breach, Violation};
use crate::moves::Move;
use crate::state::State;
use crate::step;
use crate::tag;
use crate::task::call::Call;
use semel_core::Property;

/// How many moves a look may take.
const MOVES_MAX: usize = 3_000;

/// What was seen in a run without faults.
#[derive(Debug, Default)]
struct Seen {
    /// Items of entities, and whether a state was recognised in any.
    has_entities: bool,
    has_states: bool,
    /// Messages that were sent, such that nobody can tell whose effects they are.
    has_strangers: bool,
    has_effects: bool,
}

impl Explorer {
    /// Why a violation may be none: in a run without faults nothing is recognised of what it is
    /// about.
    pub(super) fn not_understood(&mut self, violation: &Violation) -> Option<String> {
        let Breach::Property(property) = violation.breach else { return None };
        let advice = "see \"How your bytes are understood\" in docs/checking.md";
        match property {
            Property::NoGhostEffects | Property::NoLostMessages => {
                let seen = self.look_once();
                (seen.has_entities && !seen.has_states).then(|| {
                    format!(
                        "the checker recognises no state in any entity's item, so it cannot tell \
                         what was committed; {advice}"
                    )
                })
            }
            Property::NoLostEffects => {
                let seen = self.look_once();
                (seen.has_strangers && !seen.has_effects).then(|| {
                    format!(
                        "the checker recognises no effect in any message that is sent, because its \
                         data is not what the handler declared; {advice}"
                    )
                })
            }
            _ => None,
        }
    }

    /// Lets everyone take turns from the beginning.
    fn look_once(&mut self) -> Seen {
        let (mut state, mut turn) = (step::beginning(&self.model), 0);
        let mut seen = Seen::default();
        for _ in 0..MOVES_MAX {
            let Ok(Some((next, made, next_turn))) = self.take_turn(&state, turn) else { break };
            seen.has_strangers |= sends_strangers(&state, made);
            (state, turn) = (next, next_turn);
            let items = state.parts.items.all().iter();
            let mut entities = items.filter(|record| record.item.key.space == Space::Entity);
            seen.has_entities |= entities.clone().next().is_some();
            seen.has_states |= entities.any(|record| record.trail.is_some());
        }
        seen.has_effects = !state.monitor.visible().is_empty();
        seen
    }
}

/// Whether a move sends a message that carries no effect's name.
fn sends_strangers(state: &State, made: Move) -> bool {
    let Move::Answer { slot, call, .. } = made else { return false };
    let task = state.slots.get(slot).and_then(Option::as_ref);
    let pending = task.and_then(|task| task.node.pending.iter().find(|one| one.number == call));
    match pending.map(|pending| &*pending.call) {
        Some(Call::Send(messages)) => {
            messages.iter().any(|message| tag::untag(&message.envelope).is_none())
        }
        Some(Call::Write(changes)) => changes.iter().any(|change| match change {
            Change::Enqueue(message) => tag::untag(&message.envelope).is_none(),
            _ => false,
        }),
        _ => false,
    }
}
