//! Mutants of `outbox`.

use super::Mutant;

pub(super) const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "outbox_without_id_check",
        of: "outbox",
        file: "outbox",
        find: "if entity.books.done.contains(&case.message()) {
publish",
        replace: "if false {
publish",
        breaks: "a duplicate changes the state again",
    },
    Mutant {
        name: "outbox_dispatches_before_commit",
        of: "outbox",
        file: "outbox",
        find: "work.begin(Step::CommitState);",
        replace: "case.dispatch(Kept::outgoing(&messages)?).await?;
work.begin(Step::CommitState);",
        breaks: "effects are visible before the state that justifies them",
    },
    Mutant {
        name: "outbox_acks_before_commit",
        of: "outbox",
        file: "outbox",
        find: "work.begin(Step::CommitState);",
        replace: "let _ = work.ack(Outcome::Processed).await;
work.begin(Step::CommitState);",
        breaks: "a message that is settled before its commit is lost with the worker",
    },
    Mutant {
        name: "outbox_acks_before_dispatch",
        of: "outbox",
        file: "outbox",
        find: "entity.save(&case).await?;",
        replace: "entity.save(&case).await?;
let _ = work.ack(Outcome::Processed).await;",
        breaks: "nobody comes back for effects that were not sent",
    },
    Mutant {
        name: "outbox_clears_before_dispatch",
        of: "outbox",
        file: "outbox",
        find: "case.dispatch(Kept::outgoing(&messages)?).await?;
case.begin(Step::ClearOutbox);
entity.save(case).await",
        replace: "case.begin(Step::ClearOutbox);
entity.save(case).await?;
case.dispatch(Kept::outgoing(&messages)?).await",
        breaks: "effects that are cleared before they are sent are lost with the worker",
    },
    Mutant {
        name: "outbox_never_clears",
        of: "outbox",
        file: "outbox",
        find: "case.begin(Step::ClearOutbox);
entity.save(case).await",
        replace: "Ok(())",
        breaks: "effects stay in the entity for good",
    },
    Mutant {
        name: "outbox_keeps_no_effects",
        of: "outbox",
        file: "outbox",
        find: "entity.books.pending.insert(case.message(), messages);",
        replace: "",
        breaks: "a committed attempt has no effects",
    },
    Mutant {
        name: "outbox_duplicate_finishes_nothing",
        of: "outbox",
        file: "outbox",
        find: "publish(&case, entity).await?;
return",
        replace: "return",
        breaks: "a duplicate settles what the committed attempt has not sent",
    },
    Mutant {
        name: "outbox_parks_without_finishing",
        of: "outbox",
        file: "outbox",
        find: "publish(case, entity).await?;
Ok(true)",
        replace: "Ok(true)",
        breaks: "a parked message settles what its committed attempt has not sent",
    },
    Mutant {
        name: "outbox_parks_what_is_done",
        of: "outbox",
        file: "outbox",
        find: "publish(case, entity).await?;
Ok(true)",
        replace: "publish(case, entity).await?;
Ok(false)",
        breaks: "a message that was processed is dead-lettered",
    },
    Mutant {
        name: "outbox_renounces_nothing",
        of: "outbox",
        file: "outbox",
        find: "if entity.books.done.insert(case.message()) {
return entity.save(case).await;
}
publish(case, entity).await",
        replace: "Ok(())",
        breaks: "a copy of a discarded message is processed",
    },
];
