//! What reports tell of violations: where code panicked, what could be seen, what else is violated.

use semel_check::{Breach, Objects, Property, items_only};
use semel_core::protocols::{Outcome, Step, Work, message_key};
use semel_core::store::{Expect, ItemKey, Keep, Space};
use semel_core::{Context, Endpoint, Failure};

use crate::bank::{Account, Deposit, Note, accounts, one, two};
use crate::mutants::kit::{self, Raw, protocol};

#[test]
fn a_condition_that_panics_is_told_with_its_text_and_place() {
    let report = one(accounts()).sometimes("it is calm", |_| panic!("who knows")).check();
    assert_eq!(report.breach(), Some(&Breach::InvariantPanicked("it is calm".to_owned())));
    let detail = &report.assert_violated().violation.detail;
    assert!(detail.contains("it panicked: who knows (at "), "{report}");
    assert!(detail.contains("told.rs:"), "{report}");
}

/// Notes the small, files an invoice, and refuses the large.
async fn book(account: &mut Account, message: Deposit, ctx: &mut Context) -> Result<(), Failure> {
    if message.pence > 6 {
        return Err(Failure::dead_letter("too much"));
    }
    account.pence += message.pence;
    ctx.send("audit", Note { sum: account.pence });
    Objects.put("invoice", "paid").await?;
    Ok(())
}

#[test]
fn an_invariant_that_fails_is_told_with_all_it_could_see() {
    let world = two(Endpoint::new("accounts").handle(book)).workers(1);
    let report = world.finally("nothing happened", |_| false).check();
    let detail = &report.assert_violated().violation.detail;
    for wanted in [
        r#"accounts/alice = {"pence":5}; sent: account.note {"sum":5} "#,
        " to audit; dead letters: d2 at accounts (handler-failed); objects: invoice = ",
    ] {
        assert!(detail.contains(wanted), "{report}");
    }
}

/// Writes its effects down, and leaves it at that.
#[derive(Clone, Copy, Debug)]
struct NeverSends;

protocol!(NeverSends = "never-sends");

impl NeverSends {
    async fn attempt(&self, work: &Work<'_>) -> Result<Outcome, Outcome> {
        let (state, expect) = kit::load::<Option<Raw>>(work).await?;
        let (state, messages) = kit::decide(work, state.as_ref()).await?;
        let record = ItemKey::new(Space::Outbox, work.endpoint, message_key(work.envelope));
        let put = kit::to_put(record, &messages, Expect::Anything, Keep::Always);
        kit::write(work.places, put).await?;
        work.begin(Step::CommitState);
        kit::put_entity(work, &state, expect).await?;
        Ok(work.ack(Outcome::Processed).await)
    }
}

#[test]
fn all_that_is_violated_in_a_state_is_named() {
    let world = || one(accounts().protocol(NeverSends)).workers(1).store(items_only());
    let report = world().check();
    assert_eq!(report.breach(), Some(&Breach::Property(Property::NoLostEffects)), "{report}");
    let found = report.assert_violated();
    let wanted = "never becomes visible. Violated here as well: NoGarbage.";
    assert!(found.violation.detail.ends_with(wanted), "{report}");
    let report = world().judge(&[Property::NoLostEffects]).check();
    assert!(!report.to_string().contains("as well"), "{report}");
}
