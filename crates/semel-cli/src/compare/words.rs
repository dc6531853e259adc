//! What is said in every kind of output.

use semel_check::Property;
use semel_check::compare::{
    Calls, Compared, FaultClass, Growth, Kind, Numbers, Place, Size, Summary,
};

use crate::output::text::count;

/// A short heading for a property.
pub(super) const fn heading(property: Property) -> &'static str {
    match property {
        Property::AtMostOneStateChange => "one change",
        Property::AtMostOneEffect => "one effect",
        Property::ConsistentStateAndEffects => "consistent",
        Property::NoGhostEffects => "no ghosts",
        Property::NoLostMessages => "no lost msg",
        Property::NoLostEffects => "no lost eff",
        Property::NoGarbage => "no garbage",
    }
}

/// What the headings stand for.
pub(super) fn headings() -> String {
    let one = |property| format!("\"{}\" is {property}", heading(property));
    format!("Columns: {}.", Property::ALL.map(one).join(", "))
}

/// The letters of classes.
pub(super) fn letters(classes: &[FaultClass]) -> String {
    classes.iter().map(|class| class.letter()).collect()
}

/// A property of a row, in a few letters: `yes`, `no CR`, `yes, not X`, `no R, ?CL`.
pub(super) fn summary(summary: &Summary) -> String {
    let of = |classes: &[FaultClass], promised: bool| -> String {
        let classes = classes.iter().copied().filter(|class| class.is_promised() == promised);
        letters(&classes.collect::<Vec<_>>())
    };
    let no = if summary.is_yes() { &summary.not_past } else { &summary.no };
    let is_promised = !summary.is_yes();
    let parts = [
        ("", if summary.is_yes() { "yes".to_owned() } else { String::new() }),
        (if is_promised { "no " } else { "not " }, letters(no)),
        ("?", of(&summary.unsure, is_promised)),
        ("!", of(&summary.stopped, is_promised)),
    ];
    let parts = parts.iter().filter(|(_, letters)| !letters.is_empty());
    parts.map(|(sign, letters)| format!("{sign}{letters}")).collect::<Vec<_>>().join(", ")
}

/// What a class of faults means, as a line.
pub(super) fn class(class: FaultClass) -> String {
    format!("{} {}: {}", class.letter(), class.name(), class.says())
}

/// What the entries of the first table mean.
pub(super) const MEANING: [&str; 5] = [
    "yes: it holds in every run, under all faults that a protocol has to survive",
    "no CR: under crashes, and under redelivery, there is a run that violates it",
    "not X: it is violated by faults past every promise",
    "?L: no counterexample was found among the states looked at, and not all were looked at",
    "!X: it stopped and called for a person, or never came to rest",
];

/// The size of what was explored, as a sentence.
pub(super) fn size(size: Size) -> String {
    format!(
        "Worlds: one message and two workers with up to {} a run; two messages for one entity, \
         and two endpoints, with one less; where people act, one worker with one more. Up to {} states \
         each.",
        count(usize::try_from(size.faults).unwrap_or(usize::MAX), "fault"),
        size.states_max
    )
}

/// Whether a row is for use.
pub(super) const fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Ships => "ships",
        Kind::Model => "model",
    }
}

/// A store by one word.
pub(super) const fn place(place: Place) -> &'static str {
    match place {
        Place::Database => "database",
        Place::DatabaseAndBroker => "database + broker",
        Place::ItemsAndBroker => "items + broker",
    }
}

/// What is remembered, of messages from outside and from another endpoint.
pub(super) fn growth(numbers: &Numbers) -> String {
    let (outside, inside) = (numbers.of_outside.growth, numbers.of_inside.growth);
    match outside == inside {
        true => outside.says().to_owned(),
        false => format!("{}; inside {}", outside.says(), inside.says()),
    }
}

/// How much is remembered of each message, while it is.
pub(super) fn bytes_each(numbers: &Numbers) -> String {
    let kept = numbers.of_outside;
    let bytes = match kept.growth {
        Growth::Grows => kept.past_twice.bytes.saturating_sub(kept.past.bytes) / kept.messages,
        Growth::Window => kept.after_twice.bytes.saturating_sub(kept.after.bytes) / kept.messages,
        Growth::None | Growth::InFlight | Growth::PerEntity => 0,
    };
    bytes.to_string()
}

/// Reads, writes and calls on the broker: `1 + 2 + 1`.
pub(super) fn calls(calls: &Calls) -> String {
    let looks = if calls.lists > 0 { "*" } else { "" };
    format!("{} + {} + {}{looks}", calls.reads, calls.writes, calls.broker)
}

/// Items written, and their bytes: `2, 614 B`.
pub(super) fn written(calls: &Calls) -> String {
    format!("{}, {} B", calls.items_written, calls.bytes_written)
}

/// Units of DynamoDB: `2 + 3`.
pub(super) fn dynamo(calls: &Calls) -> String {
    match (calls.units.rcu, calls.units.wcu) {
        (Some(rcu), Some(wcu)) => format!("{rcu} + {wcu}"),
        _ => "-".to_owned(),
    }
}

/// Units of Cosmos DB: `7.95`.
pub(super) fn cosmos(calls: &Calls) -> String {
    match calls.units.ru_hundredths {
        Some(ru) => format!("{}.{:02}", ru / 100, ru % 100),
        None => "-".to_owned(),
    }
}

/// The headings of the second table.
pub(super) const NUMBERS: [&str; 9] =
    ["protocol", "runs on", "memory", "bytes each", "calls", "again", "written", "RCU + WCU", "RU"];

/// The cells of the second table, after the name.
pub(super) fn numbers(compared: &Compared) -> Vec<String> {
    let place = place(compared.row.place()).to_owned();
    let Some(numbers) = &compared.numbers else {
        return std::iter::once(place).chain(vec!["?".to_owned(); NUMBERS.len() - 2]).collect();
    };
    let Numbers { inside, inside_again, .. } = numbers;
    vec![
        place,
        growth(numbers),
        bytes_each(numbers),
        calls(inside),
        calls(inside_again),
        written(inside),
        dynamo(inside),
        cosmos(inside),
    ]
}

/// What the entries of the second table mean.
pub(super) const MEANING_OF_NUMBERS: [&str; 6] = [
    "memory: how what is kept beside the states grows; bytes each: for each message, while it is kept",
    "calls: reads + writes + calls on the broker for a message with one effect, without its receipt",
    "again: the same for a duplicate of it; *: and a look of the finisher, which many share",
    "written: items and their bytes",
    "RCU + WCU: units of DynamoDB; RU: units of Cosmos DB; -: these calls cannot be made there",
    "All of it is for a message that another endpoint sent; `--json` has those from outside too",
];

/// Which rows keep an entity waiting for a dead worker.
pub(super) fn blocking(all: &[Compared]) -> String {
    let is_blocked =
        |compared: &&Compared| compared.numbers.is_some_and(|numbers| numbers.death_blocks);
    let names: Vec<&str> =
        all.iter().filter(is_blocked).map(|compared| compared.row.name()).collect();
    match names.is_empty() {
        true => "A dead worker keeps no entity waiting.".to_owned(),
        false => format!(
            "A dead worker can keep its entity waiting until someone cleans up: {}.",
            names.join(", ")
        ),
    }
}

/// What rows assume of those who use them; empty if they assume nothing.
pub(super) fn assumptions(all: &[Compared]) -> String {
    let of = |compared: &Compared| {
        let (class, what) = compared.row.assumption()?;
        let name = compared.row.name();
        Some(format!("Under {}, `{name}` promises all this for {what} only.", class.name()))
    };
    all.iter().filter_map(of).collect::<Vec<_>>().join(" ")
}

/// The broken promises of protocols that ship; empty if there are none.
pub(super) fn broken(all: &[Compared]) -> String {
    let mut lines = Vec::new();
    for compared in all {
        for (property, class) in compared.broken() {
            let name = compared.row.name();
            lines.push(format!(
                "BROKEN PROMISE: `{name}` promises {property}, and breaks it under {}.",
                class.name()
            ));
        }
    }
    lines.join("\n")
}
