//! Mutants of `inbox`.

use super::Mutant;

pub(super) const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "inbox_without_id_check",
        of: "inbox",
        file: "inbox",
        find: "let is_new = entity.books.done.insert(case.message());",
        replace: "entity.books.done.insert(case.message());
let is_new = true;",
        breaks: "a duplicate changes the state again",
    },
    Mutant {
        name: "inbox_acks_before_commit",
        of: "inbox",
        file: "inbox",
        find: "work.begin(Step::CommitState);",
        replace: "let _ = work.ack(Outcome::Processed).await;
work.begin(Step::CommitState);",
        breaks: "a message that is settled before its commit is lost with the worker",
    },
    Mutant {
        name: "inbox_parks_what_is_done",
        of: "inbox",
        file: "inbox",
        find: "let is_done = entity.books.done.contains(&case.message());",
        replace: "let is_done = false;",
        breaks: "a message that was processed is dead-lettered",
    },
    Mutant {
        name: "inbox_renounces_nothing",
        of: "inbox",
        file: "inbox",
        find: "entity.books.done.insert(case.message());
entity.save(case).await",
        replace: "Ok(())",
        breaks: "a copy of a discarded message is processed",
    },
];
