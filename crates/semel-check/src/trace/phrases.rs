//! How states, items and messages are named to a reader.

use semel_core::broker::{Destination, Outgoing};
use semel_core::context::{Effect, MessageEffect};
use semel_core::handler::Decision;
use semel_core::store::{Change, Expect, ItemKey, Space};
use serde_json::{Map, Value};

use crate::parts::{Carried, Queued, number_of};
use crate::task::call::{beginning, describe_settlement, excerpt};

/// Two states that are together no longer than this are shown whole.
const WHOLE_MAX: usize = 64;

/// A batch of more changes is not told twice.
const TOLD_IN_FULL_MAX: usize = 2;

/// So many letters of an effect's data are kept to tell it by.
const DECLARED_MAX: usize = 240;

/// Records of protocols that are no longer than this are shown.
const BOOKKEEPING_MAX: usize = 40;

/// Items are named without what every reader knows.
pub(crate) fn item(key: &ItemKey) -> String {
    let ItemKey { space, partition, key } = key;
    match space {
        Space::Entity => format!("entity {partition}/{key}"),
        // Some begin with a space, to be told apart from entries.
        Space::Inbox => format!("inbox entry {partition}/{}", message(key.trim_start())),
        Space::Outbox => format!("outbox record {partition}/{}", message(key)),
        space => format!("{} {partition}/{key}", space.name()),
    }
}

/// A message, by source and id as protocols write them. The source `/outside` is that of every
/// message a world begins with; identities made by Semel differ in their last letters.
pub(crate) fn message(key: &str) -> String {
    match key.split_once(' ') {
        Some(("/outside", id)) => id.to_owned(),
        Some((_, id)) if is_uuid(id) => short_id(id),
        Some((source, id)) => format!("{id} of {source}"),
        None => short_id(key),
    }
}

/// The end of a long identity: those minted at one moment begin alike.
pub(crate) fn short_id(id: &str) -> String {
    match id.char_indices().rev().nth(7) {
        Some((at, _)) if is_uuid(id) => format!("…{}", &id[at..]),
        _ => id.to_owned(),
    }
}

fn is_uuid(id: &str) -> bool {
    let is_hex = |part: &str| part.chars().all(|letter| letter.is_ascii_hexdigit());
    id.len() == 36 && id.split('-').map(str::len).eq([8, 4, 4, 4, 12]) && id.split('-').all(is_hex)
}

/// An effect as a handler declared it. Where two are told apart by these words, an excerpt would
/// often be the same.
pub(crate) fn declared(effect: &MessageEffect) -> String {
    let data = beginning(&effect.data, DECLARED_MAX);
    let space = if data.is_empty() { "" } else { " " };
    format!("{}{space}{data} to {}", effect.kind, receiver(&effect.to))
}

/// What a protocol's own record says, where it is a short text.
pub(crate) fn bookkeeping(value: &[u8]) -> String {
    match std::str::from_utf8(value) {
        Ok(text) if (1..=BOOKKEEPING_MAX).contains(&text.len()) => format!(": {text}"),
        _ => String::new(),
    }
}

/// Which message it is; a doubled one also which copy.
pub(crate) fn queued(queued: &Queued) -> String {
    with_copy(message(&queued.carried.identity), queued)
}

/// The same where nothing else says what it is: an identity made by Semel says nothing to a reader.
pub(crate) fn queued_alone(queued: &Queued) -> String {
    with_copy(carried(&queued.carried), queued)
}

fn with_copy(name: String, queued: &Queued) -> String {
    if queued.copy > 1 { format!("{name} (copy {})", queued.copy) } else { name }
}

/// A message; one whose identity was made by Semel with its type.
pub(crate) fn carried(carried: &Carried) -> String {
    let name = message(&carried.identity);
    if name.starts_with('…') { format!("{} {name}", carried.envelope.kind) } else { name }
}

/// A message with its type and its data, without its receiver.
pub(crate) fn content(kind: &str, data: &[u8]) -> String {
    if data.is_empty() { kind.to_owned() } else { format!("{kind} {}", excerpt(data)) }
}

/// A message on its way, with the identity by which its receiver would know it again.
pub(crate) fn outgoing(outgoing: &Outgoing) -> String {
    let envelope = crate::tag::plain(&outgoing.envelope);
    let content = content(&envelope.kind, &envelope.data);
    format!("{content} (id {}) to {}", short_id(&envelope.id), receiver(&outgoing.to))
}

/// The same without its data, which its handler's decision has shown before.
pub(crate) fn posted(outgoing: &Outgoing) -> String {
    let envelope = &outgoing.envelope;
    format!("{} {} to {}", envelope.kind, short_id(&envelope.id), receiver(&outgoing.to))
}

/// A message that is in no queue of the world: whoever gets it there has it for good.
pub(crate) fn gone_out(outgoing: &Outgoing) -> String {
    let envelope = crate::tag::plain(&outgoing.envelope);
    let data = if envelope.data.is_empty() { String::new() } else { excerpt(&envelope.data) };
    let (kind, id, to) = (&envelope.kind, short_id(&envelope.id), receiver(&outgoing.to));
    format!("{kind} {id} is out, at {to}: {data}")
}

pub(crate) fn receiver(to: &Destination) -> &str {
    match to {
        Destination::Endpoint(name) => name,
        Destination::Subscribers => "its subscribers",
    }
}

/// Changes that are made together, or one alone. To delete what must not be there changes nothing:
/// it is how a batch says on what condition it is written.
pub(crate) fn batch(changes: &[Change]) -> String {
    let (deeds, conditions) = deeds_and_conditions(changes);
    let deeds: Vec<String> = deeds.into_iter().map(deed).collect();
    match (deeds.len(), conditions.is_empty()) {
        (0, _) => format!("make sure that {}", conditions.join(" and ")),
        (1, true) => deeds.concat(),
        (1, false) => format!("{}, and only if {}", deeds.concat(), conditions.join(" and ")),
        (_, true) => format!("all or nothing: {}", deeds.join(" + ")),
        (_, false) => {
            let conditions = conditions.join(" and ");
            format!("all or nothing: {}, and only if {conditions}", deeds.join(" + "))
        }
    }
}

/// The same, for where each change is told by itself.
pub(crate) fn batch_in_short(changes: &[Change]) -> String {
    let (deeds, mut conditions) = deeds_and_conditions(changes);
    if deeds.len() <= TOLD_IN_FULL_MAX {
        return batch(changes);
    }
    let count = deeds.len();
    conditions.splice(0..0, deeds.into_iter().filter_map(condition_of));
    match conditions.is_empty() {
        true => format!("all or nothing, {count} changes"),
        false => format!("all or nothing, {count} changes, if {}", conditions.join(" and ")),
    }
}

fn deeds_and_conditions(changes: &[Change]) -> (Vec<&Change>, Vec<String>) {
    let is_condition =
        |change: &&Change| matches!(change, Change::Delete { expect: Expect::Absent, .. });
    let (conditions, deeds): (Vec<&Change>, Vec<&Change>) = changes.iter().partition(is_condition);
    (deeds, conditions.into_iter().filter_map(condition_of).collect())
}

fn condition_of(change: &Change) -> Option<String> {
    let (Change::Put { key, expect, .. } | Change::Delete { key, expect }) = change else {
        return None;
    };
    match expect {
        Expect::Absent => Some(format!("there is no {}", item(key))),
        Expect::Version(version) => Some(format!("{} is still v{}", item(key), number_of(version))),
        Expect::Anything => None,
    }
}

fn deed(change: &Change) -> String {
    match change {
        Change::Put { key, expect, .. } => format!("write {}{}", item(key), condition(expect)),
        Change::Delete { key, expect } => format!("delete {}{}", item(key), condition(expect)),
        Change::Enqueue(message) => format!("send {}", posted(message)),
        Change::Settle { settlement, .. } => describe_settlement(settlement),
    }
}

fn condition(expect: &Expect) -> String {
    match expect {
        Expect::Absent => " if absent".to_owned(),
        Expect::Version(version) => format!(" if still v{}", number_of(version)),
        Expect::Anything => String::new(),
    }
}

/// What became of some bytes. Of long ones that are JSON, what is different.
pub(crate) fn difference(old: &[u8], new: &[u8]) -> String {
    if old == new {
        return format!("stays {}", excerpt(new));
    }
    let fields = |bytes| serde_json::from_slice::<Map<String, Value>>(bytes).ok();
    if old.len() + new.len() > WHOLE_MAX
        && let (Some(old), Some(new)) = (fields(old), fields(new))
    {
        return fields_changed(&old, &new);
    }
    format!("{} → {}", excerpt(old), excerpt(new))
}

fn fields_changed(old: &Map<String, Value>, new: &Map<String, Value>) -> String {
    let text = |value: Option<&Value>| match value {
        Some(value) => excerpt(value.to_string().as_bytes()),
        None => "nothing".to_owned(),
    };
    let gone = old.keys().filter(|name| !new.contains_key(*name));
    let changed: Vec<String> = gone
        .chain(new.keys())
        .filter(|name| old.get(*name) != new.get(*name))
        .map(|name| format!("{name}: {} → {}", text(old.get(name)), text(new.get(name))))
        .collect();
    changed.join(", ")
}

/// What a handler decided, a line each.
pub(crate) fn decision(before: Option<&[u8]>, decision: &Decision) -> String {
    let mut lines = match before {
        None => format!("nothing yet → {}", excerpt(&decision.state)),
        Some(before) => difference(before, &decision.state),
    };
    for effect in &decision.effects {
        if let Effect::Message(effect) = effect {
            let (content, to) = (content(effect.kind, &effect.data), receiver(&effect.to));
            lines.push_str(&format!("\nwants to send {content} to {to}"));
        }
    }
    lines
}
