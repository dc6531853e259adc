//! Mutants of `replay`.

use super::Mutant;

pub(super) const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "replay_runs_on_current_state",
        of: "replay",
        file: "replay",
        find: "let messages = rerun(work, version).await?;",
        replace: "let before = entity.state.as_ref().map(Data::from);
let messages = rerun(work, &Version { before, ..version.clone() }).await?;",
        breaks: "a duplicate runs on the state after its first run",
    },
    Mutant {
        name: "replay_keeps_state_after",
        of: "replay",
        file: "replay",
        find: "let before = entity.state.replace(decision.state);",
        replace: "entity.state = Some(decision.state);
let before = entity.state.clone();",
        breaks: "the state after a run is recorded as the one before",
    },
    Mutant {
        name: "replay_without_recorded_time",
        of: "replay",
        file: "replay",
        find: "let at = Timestamp::from_unix_ms(version.at_ms);",
        replace: "let at = work.places.clock.now();",
        breaks: "a duplicate runs at another time than its first run",
    },
    Mutant {
        name: "replay_without_hash",
        of: "replay",
        file: "replay",
        find: "if hash(&messages)? != *effects {",
        replace: "if false {",
        breaks: "what a later version of the handler decides is sent",
    },
    Mutant {
        name: "replay_records_no_version",
        of: "replay",
        file: "replay",
        find: "self.append(&mut entity.books, &case, before, now, Some(hash(&messages)?));",
        replace: "",
        breaks: "nothing remembers a message that is done",
    },
    Mutant {
        name: "replay_drops_versions_at_once",
        of: "replay",
        file: "replay",
        find: "position > surplus && !is_old(version)",
        replace: "false",
        breaks: "nothing remembers a message that is done",
    },
    Mutant {
        name: "replay_keeps_versions_past_window",
        of: "replay",
        file: "replay",
        find: "position > surplus && !is_old(version)",
        replace: "position > surplus",
        breaks: "versions stay past the window",
    },
    Mutant {
        name: "replay_duplicate_sends_nothing",
        of: "replay",
        file: "replay",
        find: "let messages = rerun(work, version).await?;
case.dispatch(messages).await?;",
        replace: "",
        breaks: "a duplicate settles what the committed attempt has not sent",
    },
    Mutant {
        name: "replay_dispatches_before_commit",
        of: "replay",
        file: "replay",
        find: "work.begin(Step::CommitState);",
        replace: "case.dispatch(messages.clone()).await?;
work.begin(Step::CommitState);",
        breaks: "effects are visible before the state that justifies them",
    },
    Mutant {
        name: "replay_acks_before_commit",
        of: "replay",
        file: "replay",
        find: "work.begin(Step::CommitState);",
        replace: "let _ = work.ack(Outcome::Processed).await;
work.begin(Step::CommitState);",
        breaks: "a message that is settled before its commit is lost with the worker",
    },
    Mutant {
        name: "replay_parks_what_is_done",
        of: "replay",
        file: "replay",
        find: "Ok(true) if parking.reason == DeadReason::HandlerFailed => {",
        replace: "Ok(true) if parking.reason != parking.reason => {",
        breaks: "a message that was processed is dead-lettered",
    },
    Mutant {
        name: "replay_park_settles_unsent",
        of: "replay",
        file: "replay",
        find: "Settlement::Retry { after: UNREPEATABLE, failure }",
        replace: "drop(failure);
Settlement::Ack",
        breaks: "a parked message settles what its committed attempt has not sent",
    },
    Mutant {
        name: "replay_renounces_nothing",
        of: "replay",
        file: "replay",
        find: "self.append(&mut entity.books, case, before, case.places.clock.now(), None);",
        replace: "",
        breaks: "a copy of a discarded message is processed",
    },
];
