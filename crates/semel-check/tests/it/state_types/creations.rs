//! Creations: the same again, and two that differ.

use semel_core::designs::CreateOnce;
use semel_core::{Context, Failure};
use serde::{Deserialize, Serialize};

use super::{Refusal, YES, answers, lawful, message, print, refused, sound};

#[derive(Clone, PartialEq, Serialize, Deserialize)]
struct Open {
    owner: String,
}

message!(Open = "account.open");

fn by(owner: &str) -> Open {
    Open { owner: owner.to_owned() }
}

fn open(owner: &mut CreateOnce<String>, message: Open, _: &mut Context) {
    owner.create(message.owner);
}

#[test]
fn creations_that_agree_are_one() {
    sound("one creation sent twice", open, &[by("ann"), by("ann")]);
}

#[test]
fn creations_that_differ_are_a_conflict_in_every_order() {
    lawful(open, &[by("eve"), by("ann"), by("bob"), by("ann")]);
    sound("creations that differ", open, &[by("eve"), by("ann")]);
}

#[test]
fn a_creation_that_overwrites_is_refused() {
    fn overwrite(owner: &mut Option<String>, message: Open, _: &mut Context) {
        *owner = Some(message.owner);
    }
    refused(
        "a creation that overwrites",
        overwrite,
        &[by("ann"), by("bob")],
        &Refusal {
            idempotent: r#"NO
            no state + account.open {"owner":"bob"} → "bob"
            "bob" + account.open {"owner":"ann"} → "ann"
            a duplicate: "ann" + account.open {"owner":"bob"} → "bob""#,
            free_of_order: r#"NO
            no state + account.open {"owner":"ann"} → "ann"
            "ann" + account.open {"owner":"bob"} → "bob"
            but in the other order:
            no state + account.open {"owner":"bob"} → "bob"
            "bob" + account.open {"owner":"ann"} → "ann""#,
            ends_with: r#""ann""#,
            steps: 8,
            faults: 0,
        },
    );
}

#[test]
fn keeping_the_first_creation_is_idempotent_but_order_decides() {
    fn keep_first(owner: &mut Option<String>, message: Open, _: &mut Context) {
        owner.get_or_insert(message.owner);
    }
    refused(
        "the first creation wins",
        keep_first,
        &[by("ann"), by("bob")],
        &Refusal {
            idempotent: YES,
            free_of_order: r#"NO
            no state + account.open {"owner":"ann"} → "ann"
            "ann" + account.open {"owner":"bob"} → "ann"
            but in the other order:
            no state + account.open {"owner":"bob"} → "bob"
            "bob" + account.open {"owner":"ann"} → "bob""#,
            ends_with: r#""bob""#,
            steps: 8,
            faults: 0,
        },
    );
}

/// The conflict is known, and what the handler did about it is undone by its failure.
#[test]
fn refusing_the_other_creation_brings_order_back_in() {
    fn refuse(
        owner: &mut CreateOnce<String>,
        message: Open,
        _: &mut Context,
    ) -> Result<(), Failure> {
        owner.create(message.owner);
        owner.value().map(|_| ()).ok_or_else(|| Failure::dead_letter("created by two"))
    }
    let report = semel_check::handler(refuse).message(by("ann")).message(by("bob")).check();
    assert!(report.is_idempotent.is_yes(), "{report}");
    print(&report);
    answers(
        &report.is_free_of_order,
        r#"NO
            no state + account.open {"owner":"ann"} → ["ann"]
            ["ann"] + account.open {"owner":"bob"} → fails: created by two
            but in the other order:
            no state + account.open {"owner":"bob"} → ["bob"]
            ["bob"] + account.open {"owner":"ann"} → fails: created by two"#,
    );
}
