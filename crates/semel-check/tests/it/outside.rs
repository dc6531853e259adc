//! Objects that handlers write by themselves: who may leave which behind.

use semel_check::{Breach, Fault, Faults, Objects, Property, World};
use semel_core::handler::HandlerFn;
use semel_core::{Context, Endpoint, Failure};

use crate::bank::{Account, Deposit, two};

fn world<Kind: 'static>(handler: impl HandlerFn<Kind, Message = Deposit>) -> World {
    two(Endpoint::new("accounts").handle(handler)).workers(2)
}

#[track_caller]
fn breaks(world: World, property: Property, detail: &str) {
    let report = world.judge(&[property]).check();
    let found = report.assert_violated();
    assert_eq!(found.violation.breach, Breach::Property(property), "{report}");
    assert!(found.violation.detail.contains(detail), "{report}");
}

/// The name is of the attempt, so that none overwrites another's.
async fn invoice_of_attempt(
    account: &mut Account,
    message: Deposit,
    _: &mut Context,
) -> Result<(), Failure> {
    account.pence += message.pence;
    let name = format!("invoice {} over {}", message.pence, account.pence);
    Objects.put(&name, "paid").await?;
    Ok(())
}

#[test]
fn what_a_losing_attempt_wrote_under_a_name_of_its_own_is_garbage() {
    let detail = "that wrote it is not the committed one";
    breaks(world(invoice_of_attempt), Property::NoGarbage, detail);
    // With nobody to lose against, and no fault, nothing is left behind.
    world(invoice_of_attempt).workers(1).check().assert_holds();
}

/// One name for all attempts, and a content for each.
async fn invoice_of_message(
    account: &mut Account,
    message: Deposit,
    _: &mut Context,
) -> Result<(), Failure> {
    account.pence += message.pence;
    let name = format!("invoice {}", message.pence);
    Objects.put(&name, format!("new balance {}", account.pence)).await?;
    Ok(())
}

#[test]
fn what_a_losing_attempt_overwrote_does_not_fit_the_state() {
    let world = || world(invoice_of_message);
    breaks(world(), Property::AtMostOneEffect, "wrote different contents to the object");
    let late = Faults::only([Fault::EarlyRedelivery]);
    let detail = "whose state is not the one that is durable at accounts";
    breaks(world().kinds(late).faults(1), Property::ConsistentStateAndEffects, detail);
}

/// Name and content follow from the message alone.
async fn receipt(account: &mut Account, message: Deposit, _: &mut Context) -> Result<(), Failure> {
    account.pence += message.pence;
    Objects.put(&format!("receipt {}", message.pence), message.pence.to_string()).await?;
    Ok(())
}

#[test]
fn an_object_that_follows_from_the_message_may_be_written_by_any_attempt() {
    world(receipt).faults(1).without(Fault::HandlerFailure).check().assert_holds();
}

/// Removes its draft before it is done.
async fn drafted(account: &mut Account, message: Deposit, _: &mut Context) -> Result<(), Failure> {
    account.pence += message.pence;
    let draft = format!("draft over {}", account.pence);
    Objects.put(&draft, "soon").await?;
    Objects.delete(&draft).await?;
    Ok(())
}

#[test]
fn what_was_removed_again_is_no_garbage_until_a_crash_leaves_it() {
    world(drafted).check().assert_holds();
    let world = world(drafted).kinds(Faults::only([Fault::Crash])).faults(1);
    // The next attempt decides the same, and removes it.
    world.workers(1).judge(&[Property::NoGarbage]).check().assert_violated();
}
