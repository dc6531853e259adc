//! Mutants of `detached_outbox`.

use super::Mutant;

pub(super) const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "detached_unstages_in_doubt",
        of: "detached_outbox",
        file: "detached_outbox",
        find: "entity.save(&case).await?;",
        replace: "if let Err(outcome) = entity.save(&case).await {
if matches!(outcome, Outcome::Unavailable(_)) {
let (key, expect) = (record_key(case.endpoint, &message), Expect::Version(version));
case.write(::semel_core::store::Change::Delete { key, expect }).await?;
}
return Err(outcome);
}",
        breaks: "staged effects go because a commit gave no sure answer (trap 2)",
    },
    Mutant {
        name: "detached_unstages_on_conflict",
        of: "detached_outbox",
        file: "detached_outbox",
        find: "entity.save(&case).await?;",
        replace: "if let Err(outcome) = entity.save(&case).await {
if matches!(outcome, Outcome::Conflict) {
let (key, expect) = (record_key(case.endpoint, &message), Expect::Version(version));
case.write(::semel_core::store::Change::Delete { key, expect }).await?;
}
return Err(outcome);
}",
        breaks: "staged effects go because of a conflict that a repeated write may have had with itself (trap 2)",
    },
    Mutant {
        name: "detached_renames_previous",
        of: "detached_outbox",
        file: "detached_outbox",
        find: "case.dispatch(messages).await?;
self.end(case, last, record, item.version).await",
        replace: "let mut messages = messages;
for (position, message) in messages.iter_mut().enumerate() {
message.envelope.id = ids::derive_effect_id(case.endpoint, case.envelope, position).to_string();
}
case.dispatch(messages).await?;
self.end(case, last, record, item.version).await",
        breaks: "effects of the previous message go out under the identity of the current one (trap 3)",
    },
    Mutant {
        name: "detached_looks_for_current",
        of: "detached_outbox",
        file: "detached_outbox",
        find: "case.begin(Step::CheckInbox);
let key = record_key(case.endpoint, &last.message);",
        replace: "case.begin(Step::CheckInbox);
let key = record_key(case.endpoint, &case.message());",
        breaks: "the record of the current message is taken for that of the previous one (trap 3)",
    },
    Mutant {
        name: "detached_ends_current",
        of: "detached_outbox",
        file: "detached_outbox",
        find: "case.dispatch(messages).await?;
self.end(case, last, record, item.version).await",
        replace: "case.dispatch(messages).await?;
let own = record_key(case.endpoint, &case.message());
case.write(Record::done().to_put(own, Expect::Anything, Keep::For(self.window))?).await?;
Ok(Left::Nothing)",
        breaks: "the end of the previous message is recorded for the current one (trap 3)",
    },
    Mutant {
        name: "detached_overwrites_field",
        of: "detached_outbox",
        file: "detached_outbox",
        find: "let left = self.finish(&case, last).await?;
if last.message == message {",
        replace: "if last.message == message {
let left = self.finish(&case, last).await?;",
        breaks: "the field is overwritten before its message is done (trap 5)",
    },
    Mutant {
        name: "detached_commits_unstaged",
        of: "detached_outbox",
        file: "detached_outbox",
        find: "WriteOutcome::Refused(error) | WriteOutcome::Unknown(error) => return Err(error.into()),",
        replace: r#"WriteOutcome::Unknown(_) => Some(Version::new("unknown")),
WriteOutcome::Refused(error) => return Err(error.into()),"#,
        breaks: "a commit follows staging of which nobody knows, and a missing record counts as finished (trap 6)",
    },
    Mutant {
        name: "detached_shares_slot",
        of: "detached_outbox",
        file: "detached_outbox",
        find: "let attempt = ids::mint(work.places.clock, work.places.entropy).to_string();",
        replace: r#"let attempt = "the only one".to_owned();"#,
        breaks: "all attempts stage in one place (trap 7)",
    },
    Mutant {
        name: "detached_deletes_done",
        of: "detached_outbox",
        file: "staging",
        find: "let put = Record::done().to_put(key, Expect::Version(version), Keep::For(window))?;",
        replace: "let _ = window;
let put = Change::Delete { key, expect: Expect::Version(version) };",
        breaks: "a late create revives the record of what is done (trap 10)",
    },
    Mutant {
        name: "detached_window_never_begins",
        of: "detached_outbox",
        file: "staging",
        find: "let put = Record::done().to_put(key, Expect::Version(version), Keep::For(window))?;",
        replace: "let _ = window;
let put = Record::done().to_put(key, Expect::Version(version), Keep::Always)?;",
        breaks: "what is done is remembered for good",
    },
    Mutant {
        name: "detached_window_begins_too_early",
        of: "detached_outbox",
        file: "detached_outbox",
        find: "let put = record.to_put(key.clone(), Expect::Absent, Keep::Always)?;",
        replace: "let put = record.to_put(key.clone(), Expect::Absent, Keep::For(self.window))?;",
        breaks: "effects may vanish before they are sent",
    },
    Mutant {
        name: "detached_dispatches_before_commit",
        of: "detached_outbox",
        file: "detached_outbox",
        find: "work.begin(Step::CommitState);",
        replace: "case.dispatch(messages.clone()).await?;
work.begin(Step::CommitState);",
        breaks: "effects are visible before the state that justifies them",
    },
    Mutant {
        name: "detached_acks_before_commit",
        of: "detached_outbox",
        file: "detached_outbox",
        find: "work.begin(Step::CommitState);",
        replace: "let _ = work.ack(Outcome::Processed).await;
work.begin(Step::CommitState);",
        breaks: "a message that is settled before its commit is lost with the worker",
    },
    Mutant {
        name: "detached_done_before_dispatch",
        of: "detached_outbox",
        file: "detached_outbox",
        find: "case.dispatch(messages).await?;
let left = self.end(&case, &last, record, version).await?;",
        replace: "let left = self.end(&case, &last, record, version).await?;
case.dispatch(messages).await?;",
        breaks: "effects that are dropped before they are sent are lost with the worker",
    },
    Mutant {
        name: "detached_finish_without_dispatch",
        of: "detached_outbox",
        file: "detached_outbox",
        find: "case.dispatch(messages).await?;
self.end(case",
        replace: "self.end(case",
        breaks: "what the previous attempt left is dropped, and not sent",
    },
    Mutant {
        name: "detached_stages_over_done",
        of: "detached_outbox",
        file: "detached_outbox",
        find: "if let Record::Done { .. } = record {
return Ok(Stage::Done",
        replace: "if let Record::Done { .. } = record {
record = Record::nothing();
}
if false {
return Ok(Stage::Done",
        breaks: "a duplicate stages anew although the message is done",
    },
    Mutant {
        name: "detached_parks_without_finishing",
        of: "detached_outbox",
        file: "detached_outbox",
        find: "let is_last = self.finish_own(case, &entity).await?;
let (record, expect) = Record::load(case).await?;
if is_last ||",
        replace:
            "let own = entity.books.last.as_ref().filter(|last| last.message == case.message());
let is_last = own.is_some();
let (record, expect) = Record::load(case).await?;
if is_last ||",
        breaks: "a parked message settles what its committed attempt has not sent",
    },
    Mutant {
        name: "detached_parks_what_is_done",
        of: "detached_outbox",
        file: "detached_outbox",
        find: "if is_last || matches!(record, Record::Done { .. }) {",
        replace: "if is_last {",
        breaks: "a message that was processed is dead-lettered",
    },
    Mutant {
        name: "detached_renounces_nothing",
        of: "detached_outbox",
        file: "detached_outbox",
        find: "entity.save(case).await?;
}
record.replace(case, Record::done(), expect, self.window).await",
        replace: "entity.save(case).await?;
}
drop((record, expect));
Ok(())",
        breaks: "a copy of a discarded message is processed",
    },
    Mutant {
        name: "detached_renounces_beside_attempts",
        of: "detached_outbox",
        file: "detached_outbox",
        find: "if !is_last {
entity.save(case).await?;
}",
        replace: "let _ = (is_last, &mut entity);",
        breaks: "an attempt that has staged is committed after the message was discarded",
    },
    Mutant {
        name: "detached_parts_before_registration",
        of: "detached_outbox",
        file: "detached_outbox",
        find: "let put = record.to_put(key.clone(), Expect::Absent, Keep::Always)?;",
        replace: "write_parts(case, attempt, std::mem::take(&mut parts)).await?;
let put = record.to_put(key.clone(), Expect::Absent, Keep::Always)?;",
        breaks: "parts are written that no record names yet",
    },
    Mutant {
        name: "detached_parts_deleted_before_done",
        of: "detached_outbox",
        file: "staging",
        find: "let version = case.write(put).await?.ok_or(Outcome::Conflict)?;
for parts in &left {
parts.delete(case).await?;
}",
        replace: "for parts in &left {
parts.delete(case).await?;
}
let version = case.write(put).await?.ok_or(Outcome::Conflict)?;",
        breaks: "parts go while the record still counts on them",
    },
    Mutant {
        name: "detached_parts_never_swept",
        of: "detached_outbox",
        file: "staging",
        find: "Ok(Left::Parts(lateness))",
        replace: "let _ = lateness;
Ok(Left::Nothing)",
        breaks: "nobody comes back for what slow attempts leave",
    },
    Mutant {
        name: "detached_sweeps_nothing",
        of: "detached_outbox",
        file: "staging",
        find: "for parts in left {
parts.delete(case).await?;
}",
        replace: "",
        breaks: "the record of parts is closed, and the parts stay",
    },
    Mutant {
        name: "detached_sweeps_at_once",
        of: "detached_outbox",
        file: "staging",
        find: "left.iter().all(|parts| parts.attempt == attempt)",
        replace: "{ let _ = attempt; true }",
        breaks: "slow attempts write parts after the record of them is closed",
    },
    Mutant {
        name: "detached_done_keeps_parts",
        of: "detached_outbox",
        file: "staging",
        find: "for parts in &left {
parts.delete(case).await?;
}",
        replace: "",
        breaks: "the parts of the committed attempt stay",
    },
];
