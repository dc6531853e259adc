//! Mutants of `transactional`.

use super::Mutant;

pub(super) const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "transactional_inside_without_inbox_entry",
        of: "transactional",
        file: "transactional",
        find: "let changes = [settle, inbox, state].into_iter().chain(sends).collect();",
        replace: "drop(inbox);
let changes = [settle, state].into_iter().chain(sends).collect();",
        breaks: "nothing remembers a message that is done",
    },
    Mutant {
        name: "transactional_apart_without_inbox_entry",
        of: "transactional",
        file: "transactional",
        find: "let mut changes = vec![inbox, state];",
        replace: "drop(inbox);
let mut changes = vec![state];",
        breaks: "nothing remembers a message that is done",
    },
    Mutant {
        name: "transactional_without_inbox_check",
        of: "transactional",
        file: "transactional",
        find: "if entry.is_some() {
return self.finish_duplicate(work).await;
}",
        replace: "",
        breaks: "nothing: the inbox entry expects to be absent, in the batch of the commit",
    },
    Mutant {
        name: "transactional_without_window",
        of: "transactional",
        file: "transactional",
        find: "keep: Keep::For(protocol.window),",
        replace: "keep: Keep::Always,",
        breaks: "the inbox remembers for good",
    },
    Mutant {
        name: "transactional_sends_apart_from_commit",
        of: "transactional",
        file: "transactional",
        find: "let sends = messages.into_iter().map(Change::Enqueue);",
        replace: "let sends = messages.into_iter().map(Change::Enqueue).take(0);",
        breaks: "the messages of a committed attempt are not queued with it",
    },
    Mutant {
        name: "transactional_without_outbox_record",
        of: "transactional",
        file: "transactional",
        find: "if !messages.is_empty() {",
        replace: "if false {",
        breaks: "effects that wait for nobody are lost with the worker",
    },
    Mutant {
        name: "transactional_dispatches_before_commit",
        of: "transactional",
        file: "transactional",
        find: "match work.places.store.write(commit.changes).await {",
        replace: "if let Then::Dispatch(_, messages) = &commit.then {
let _ = pending::dispatch(work.places.broker, messages.clone()).await;
}
match work.places.store.write(commit.changes).await {",
        breaks: "effects are visible before the state that justifies them",
    },
    Mutant {
        name: "transactional_acks_before_commit",
        of: "transactional",
        file: "transactional",
        find: "match work.places.store.write(commit.changes).await {",
        replace: "let _ = work.ack(Outcome::Processed).await;
match work.places.store.write(commit.changes).await {",
        breaks: "a message that is settled before its commit is lost with the worker",
    },
    Mutant {
        name: "transactional_parks_in_two_steps",
        of: "transactional",
        file: "transactional",
        find: "let receipt = parking.receipt.clone();
let settle = Change::Settle",
        replace: "if true {
return parking.unless_processed(self).await;
}
let receipt = parking.receipt.clone();
let settle = Change::Settle",
        breaks: "a message is dead-lettered that another copy of it has committed meanwhile",
    },
    Mutant {
        name: "transactional_parks_without_condition",
        of: "transactional",
        file: "transactional",
        find: ".write(vec![settle, not_processed])",
        replace: ".write(vec![settle])",
        breaks: "a message that was processed is dead-lettered",
    },
    Mutant {
        name: "transactional_never_finishes",
        of: "transactional",
        file: "transactional",
        find: "if places.queue == QueueHome::Inside {
return Ok(0);
}",
        replace: "if true {
return Ok(0);
}",
        breaks: "nobody sends what crashed workers left of a message that was parked",
    },
    Mutant {
        name: "transactional_discards_nothing",
        of: "transactional",
        file: "transactional",
        find: "if let Ok(envelope) = &dead.envelope {",
        replace: "if let Ok(envelope) = &dead.envelope
&& false
{",
        breaks: "a copy of a discarded message is processed",
    },
    Mutant {
        name: "transactional_overwrites_state",
        of: "transactional",
        file: "transactional",
        find: "value: decision.state,
expect,",
        replace: "value: decision.state,
expect: { drop(expect); Expect::Anything },",
        breaks: "an attempt overwrites what another one has committed",
    },
    Mutant {
        name: "transactional_reads_inbox_first",
        of: "transactional",
        file: "transactional",
        find: "let mut items = match work.places.store.read_all(&keys).await {
Ok(items) => items.into_iter(),
Err(error) => return error.into(),
};
let (entity, entry) = (items.next().flatten(), items.next().flatten());",
        replace: "let [entity, entry] = keys;
let entry = match work.places.store.read(&entry).await {
Ok(entry) => entry,
Err(error) => return error.into(),
};
let entity = match work.places.store.read(&entity).await {
Ok(entity) => entity,
Err(error) => return error.into(),
};",
        breaks: "nothing: the inbox entry expects to be absent, in the batch of the commit",
    },
    Mutant {
        name: "transactional_commits_over_inbox",
        of: "transactional",
        file: "transactional",
        find: "expect: Expect::Absent,
keep: Keep::For(protocol.window),",
        replace: "expect: Expect::Anything,
keep: Keep::For(protocol.window),",
        breaks: "nothing: the entity is read before the inbox, and the commit expects its version",
    },
];
