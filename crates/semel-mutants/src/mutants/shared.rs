//! Mutants of the files that protocols stand on.

use super::Mutant;

pub(super) const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "grant_remembers_for_good",
        of: "token",
        file: "grant",
        find: "let (expect, keep) = (Expect::Anything, Keep::For(window));",
        replace: "let (expect, keep) = (Expect::Anything, { let _ = window; Keep::Always });",
        breaks: "the inbox remembers for good",
    },
    Mutant {
        name: "grant_keeps_member",
        of: "token",
        file: "grant",
        find: "sender.books.tokens.remove(&member(case.endpoint, case.envelope));",
        replace: "",
        breaks: "a token outlives its message",
    },
    Mutant {
        name: "grant_holds_without_token",
        of: "token",
        file: "grant",
        find: "Ok(sender.filter(|sender| sender.books.tokens.contains(&member(endpoint, envelope))))",
        replace: "let _ = (endpoint, envelope);
Ok(sender)",
        breaks: "a duplicate changes the state again",
    },
    Mutant {
        name: "grant_keeps_item",
        of: "token",
        file: "grant",
        find: "case.write(Change::Delete { key: key.clone(), expect }).await?;",
        replace: "",
        breaks: "a token of the edge outlives its message",
    },
    Mutant {
        name: "staging_prunes_rivals",
        of: "detached_outbox",
        file: "staging",
        find: "let is_live = staged.number >= number;",
        replace: "let is_live = staged.number > number;",
        breaks: "an attempt drops the effects of one that began with the same version",
    },
    Mutant {
        name: "staging_forgets_pruned_parts",
        of: "detached_outbox",
        file: "staging",
        find: "left.extend(staged.parts().filter(|_| !is_live).cloned());",
        replace: "",
        breaks: "nobody knows the parts of attempts that lost",
    },
    Mutant {
        name: "staging_counts_no_parts",
        of: "detached_outbox",
        file: "staging",
        find: "left.iter().cloned().chain(apart).collect()",
        replace: "{ drop(apart); left.clone() }",
        breaks: "nobody knows the parts of attempts",
    },
    Mutant {
        name: "entity_saves_anyhow",
        of: "outbox",
        file: "entity",
        find: "expect: self.expect.clone(), keep: Keep::Always",
        replace: "expect: Expect::Anything, keep: Keep::Always",
        breaks: "an attempt overwrites what another one has committed",
    },
    Mutant {
        name: "pending_clears_first",
        of: "transactional",
        file: "pending",
        find: "work.begin(Step::Dispatch);
if let Err(error) = dispatch(work.places.broker, messages).await {
return error.into();
}
if let Some(version) = version {
work.begin(Step::ClearOutbox);
if let Err(error) = clear(work.places.store, key, version).await {
return error.into();
}
}",
        replace: "if let Some(version) = version {
work.begin(Step::ClearOutbox);
if let Err(error) = clear(work.places.store, key, version).await {
return error.into();
}
}
work.begin(Step::Dispatch);
if let Err(error) = dispatch(work.places.broker, messages).await {
return error.into();
}",
        breaks: "effects that are cleared before they are sent are lost with the worker",
    },
    Mutant {
        name: "pending_finisher_clears_first",
        of: "transactional",
        file: "pending",
        find: "dispatch(places.broker, read(&record)?).await?;
clear(places.store, record.key, record.version).await",
        replace: "let messages = read(&record)?;
clear(places.store, record.key, record.version).await?;
dispatch(places.broker, messages).await",
        breaks: "effects that the finisher clears before it sends them are lost with it",
    },
    Mutant {
        name: "pending_finisher_clears_nothing",
        of: "transactional",
        file: "pending",
        find: "dispatch(places.broker, read(&record)?).await?;
clear(places.store, record.key, record.version).await",
        replace: "dispatch(places.broker, read(&record)?).await",
        breaks: "the finisher sends the same again and again",
    },
    Mutant {
        name: "pending_trusts_the_first",
        of: "outbox",
        file: "pending",
        find: "SendOutcome::Sent => {}",
        replace: "SendOutcome::Sent => return Ok(()),",
        breaks: "one message that was sent stands for all",
    },
    Mutant {
        name: "case_parks_without_asking",
        of: "outbox",
        file: "case",
        find: "Some(case) => protocol.conclude(&case).await,",
        replace: "Some(_) => Ok(false),",
        breaks: "a message that was processed is dead-lettered",
    },
    Mutant {
        name: "case_discards_without_renouncing",
        of: "outbox",
        file: "case",
        find: "&& let Err(outcome) = protocol.renounce(&case).await",
        replace: "&& let Err(outcome) = Ok::<_, Outcome>(drop((case, protocol)))",
        breaks: "a copy of a discarded message is processed",
    },
    Mutant {
        name: "staging_prunes_nothing",
        of: "detached_outbox",
        file: "staging",
        find: "let is_live = staged.number >= number;",
        replace: "let is_live = true;",
        breaks: "nothing but space: attempts that lost stay in the record until it is done",
    },
];
