//! Mutants of `token`.

use super::Mutant;

pub(super) const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "token_reads_token_first",
        of: "token",
        file: "token",
        find: "let mut entity = Entity::<Books>::load(&case, NAME).await?;
if entity.books.pending.contains_key(&case.message()) {
self.publish(&case, entity, None).await?;
return Ok(work.settle(Settlement::Ack, Outcome::Duplicate).await);
}
let Some(sender) = self.proof(&case, &right, &entity).await? else {",
        replace: "let may_process = right.holds(&case).await?;
let mut entity = Entity::<Books>::load(&case, NAME).await?;
if entity.books.pending.contains_key(&case.message()) {
self.publish(&case, entity, None).await?;
return Ok(work.settle(Settlement::Ack, Outcome::Duplicate).await);
}
let Some(sender) = may_process.then_some(None::<Entity<Books>>) else {",
        breaks: "the token is read before the entity (trap 1)",
    },
    Mutant {
        name: "token_without_check",
        of: "token",
        file: "token",
        find: "let Some(sender) = self.proof(&case, &right, &entity).await? else {",
        replace: "let _ = &right;
let Some(sender) = Some(None::<Entity<Books>>) else {",
        breaks: "a duplicate changes the state again",
    },
    Mutant {
        name: "token_duplicate_reads_once",
        of: "token",
        file: "token",
        find: "self.publish(&case, Entity::load(&case, NAME).await?, None).await?;",
        replace: "",
        breaks: "a duplicate settles what the committed attempt has not sent",
    },
    Mutant {
        name: "token_clears_before_consuming",
        of: "token",
        file: "token",
        find: "match self.right(case) {
Right::Member(key) if key == case.entity_key() => {
entity.books.tokens.remove(&grant::member(case.endpoint, case.envelope));
}
right => right.consume(case, self.window, sender).await?,
}
case.dispatch(Kept::outgoing(&messages)?).await?;
case.begin(Step::ClearOutbox);
entity.save(case).await",
        replace: "case.dispatch(Kept::outgoing(&messages)?).await?;
case.begin(Step::ClearOutbox);
match self.right(case) {
Right::Member(key) if key == case.entity_key() => {
entity.books.tokens.remove(&grant::member(case.endpoint, case.envelope));
entity.save(case).await
}
right => {
entity.save(case).await?;
right.consume(case, self.window, sender).await
}
}",
        breaks: "the entity forgets before the token is gone (trap 5)",
    },
    Mutant {
        name: "token_clears_before_dispatch",
        of: "token",
        file: "token",
        find: "case.dispatch(Kept::outgoing(&messages)?).await?;
case.begin(Step::ClearOutbox);
entity.save(case).await",
        replace: "case.begin(Step::ClearOutbox);
entity.save(case).await?;
case.dispatch(Kept::outgoing(&messages)?).await",
        breaks: "effects that are cleared before they are sent are lost with the worker",
    },
    Mutant {
        name: "token_never_consumes",
        of: "token",
        file: "token",
        find: "right => right.consume(case, self.window, sender).await?,",
        replace: "_ => drop(sender),",
        breaks: "a token outlives its message",
    },
    Mutant {
        name: "token_consumes_before_commit",
        of: "token",
        file: "token",
        find: "self.commit(work, &mut entity, decision).await?;",
        replace: "right.consume(&case, self.window, None).await?;
self.commit(work, &mut entity, decision).await?;",
        breaks: "a message whose token is gone before its commit is lost with the worker",
    },
    Mutant {
        name: "token_creates_none",
        of: "token",
        file: "token",
        find: "entity.books.tokens.insert(grant::member(endpoint, &message.envelope));",
        replace: "",
        breaks: "a message is sent whose token does not exist",
    },
    Mutant {
        name: "token_marks_none",
        of: "token",
        file: "token",
        find: "grant::mark(&case, &self.realm, message);",
        replace: "",
        breaks: "the receiver takes the message for one from outside, and its token stays",
    },
    Mutant {
        name: "token_keeps_own",
        of: "token",
        file: "token",
        find: "entity.books.tokens.remove(&grant::member(case.endpoint, case.envelope));",
        replace: "",
        breaks: "the token of a message that an entity sent to itself stays",
    },
    Mutant {
        name: "token_dispatches_before_commit",
        of: "token",
        file: "token",
        find: "work.begin(Step::CommitState);",
        replace: "case.dispatch(messages.clone()).await?;
work.begin(Step::CommitState);",
        breaks: "effects are visible before the state that justifies them",
    },
    Mutant {
        name: "token_acks_before_commit",
        of: "token",
        file: "token",
        find: "work.begin(Step::CommitState);",
        replace: "let _ = work.settle(Settlement::Ack, Outcome::Processed).await;
work.begin(Step::CommitState);",
        breaks: "a message that is settled before its commit is lost with the worker",
    },
    Mutant {
        name: "token_parks_without_finishing",
        of: "token",
        file: "token",
        find: "self.publish(case, entity, None).await?;
Ok(true)",
        replace: "Ok(true)",
        breaks: "a parked message settles what its committed attempt has not sent",
    },
    Mutant {
        name: "token_parks_what_is_done",
        of: "token",
        file: "token",
        find: "entity = Entity::load(case, NAME).await?;
}
self.publish",
        replace: "return Ok(false);
}
self.publish",
        breaks: "a message that was processed is dead-lettered",
    },
    Mutant {
        name: "token_parks_reading_once",
        of: "token",
        file: "token",
        find: "entity = Entity::load(case, NAME).await?;",
        replace: "",
        breaks: "a parked message settles what was committed after its entity was read",
    },
    Mutant {
        name: "token_renounces_nothing",
        of: "token",
        file: "token",
        find: "self.right(case).consume(case, self.window, None).await?;",
        replace: "",
        breaks: "a copy of a discarded message is processed",
    },
    Mutant {
        name: "token_consumes_own_apart",
        of: "token",
        file: "token",
        find: "Right::Member(key) if key == case.entity_key() => {",
        replace: "Right::Member(key) if key == case.entity_key() && false => {",
        breaks: "nothing but time: the entity is saved twice, meets itself in change, and is tried again",
    },
];
