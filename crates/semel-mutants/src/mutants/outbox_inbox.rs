//! Mutants of `outbox_inbox`.

use super::Mutant;

pub(super) const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "outbox_inbox_reads_inbox_first",
        of: "outbox_inbox",
        file: "outbox_inbox",
        find: "let mut entity = Entity::<Books>::load(&case, NAME).await?;
if entity.books.pending.contains_key(&case.message()) {
self.publish(&case, entity).await?;
return Ok(work.ack(Outcome::Duplicate).await);
}
if is_remembered(&case).await? {",
        replace: "let is_known = is_remembered(&case).await?;
let mut entity = Entity::<Books>::load(&case, NAME).await?;
if entity.books.pending.contains_key(&case.message()) {
self.publish(&case, entity).await?;
return Ok(work.ack(Outcome::Duplicate).await);
}
if is_known {",
        breaks: "the inbox is read before the entity (trap 1)",
    },
    Mutant {
        name: "outbox_inbox_without_inbox_check",
        of: "outbox_inbox",
        file: "outbox_inbox",
        find: "if is_remembered(&case).await? {",
        replace: "if false {",
        breaks: "a duplicate changes the state again",
    },
    Mutant {
        name: "outbox_inbox_clears_before_inbox",
        of: "outbox_inbox",
        file: "outbox_inbox",
        find: "self.remember(case).await?;
entity.save(case).await",
        replace: "entity.save(case).await?;
self.remember(case).await",
        breaks: "the entity forgets before the inbox knows (trap 5)",
    },
    Mutant {
        name: "outbox_inbox_never_remembers",
        of: "outbox_inbox",
        file: "outbox_inbox",
        find: "self.remember(case).await?;
entity.save(case).await",
        replace: "entity.save(case).await",
        breaks: "nothing remembers a message that is done",
    },
    Mutant {
        name: "outbox_inbox_without_window",
        of: "outbox_inbox",
        file: "outbox_inbox",
        find: "let keep = Keep::For(self.window);",
        replace: "let keep = Keep::Always;",
        breaks: "the inbox remembers for good",
    },
    Mutant {
        name: "outbox_inbox_never_clears",
        of: "outbox_inbox",
        file: "outbox_inbox",
        find: "self.remember(case).await?;
entity.save(case).await",
        replace: "self.remember(case).await",
        breaks: "effects stay in the entity for good",
    },
    Mutant {
        name: "outbox_inbox_dispatches_before_commit",
        of: "outbox_inbox",
        file: "outbox_inbox",
        find: "work.begin(Step::CommitState);",
        replace: "case.dispatch(Kept::outgoing(&messages)?).await?;
work.begin(Step::CommitState);",
        breaks: "effects are visible before the state that justifies them",
    },
    Mutant {
        name: "outbox_inbox_acks_before_commit",
        of: "outbox_inbox",
        file: "outbox_inbox",
        find: "work.begin(Step::CommitState);",
        replace: "let _ = work.ack(Outcome::Processed).await;
work.begin(Step::CommitState);",
        breaks: "a message that is settled before its commit is lost with the worker",
    },
    Mutant {
        name: "outbox_inbox_clears_before_dispatch",
        of: "outbox_inbox",
        file: "outbox_inbox",
        find: "case.dispatch(Kept::outgoing(&messages)?).await?;
case.begin(Step::ClearOutbox);
self.remember(case).await?;
entity.save(case).await",
        replace: "case.begin(Step::ClearOutbox);
self.remember(case).await?;
entity.save(case).await?;
case.dispatch(Kept::outgoing(&messages)?).await",
        breaks: "effects that are cleared before they are sent are lost with the worker",
    },
    Mutant {
        name: "outbox_inbox_parks_without_finishing",
        of: "outbox_inbox",
        file: "outbox_inbox",
        find: "self.publish(case, entity).await?;
Ok(true)",
        replace: "Ok(true)",
        breaks: "a parked message settles what its committed attempt has not sent",
    },
    Mutant {
        name: "outbox_inbox_parks_what_is_done",
        of: "outbox_inbox",
        file: "outbox_inbox",
        find: "let is_done = is_remembered(case).await?;",
        replace: "let is_done = false;",
        breaks: "a message that was processed is dead-lettered",
    },
    Mutant {
        name: "outbox_inbox_renounces_nothing",
        of: "outbox_inbox",
        file: "outbox_inbox",
        find: "async fn renounce(&self, case: &Case<'_>) -> Result<(), Outcome> {
self.remember(case).await?;",
        replace: "async fn renounce(&self, case: &Case<'_>) -> Result<(), Outcome> {",
        breaks: "a copy of a discarded message is processed",
    },
];
