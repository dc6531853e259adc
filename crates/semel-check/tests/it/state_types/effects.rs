//! Where such a state is not enough: effects and decisions that depend on it.

use semel_check::{Breach, Property};
use semel_core::Context;
use semel_core::designs::GrowOnlySet;
use serde::{Deserialize, Serialize};

use super::{alone, answers, broken, message, print, world};

#[derive(Clone, Serialize, Deserialize)]
struct Join {
    guest: String,
}

message!(Join = "party.join");

#[derive(Serialize, Deserialize)]
struct Welcome {
    guest: String,
}

message!(Welcome = "party.welcome");

fn join(guest: &str) -> Join {
    Join { guest: guest.to_owned() }
}

const EFFECTS_TOO: &[Property] = &[
    Property::AtMostOneEffect,
    Property::NoGhostEffects,
    Property::NoLostMessages,
    Property::NoLostEffects,
    Property::NoGarbage,
];

/// Sent again under the same identity, with the same content.
#[test]
fn effects_of_the_message_alone_are_kept() {
    fn welcome(guests: &mut GrowOnlySet<String>, message: Join, ctx: &mut Context) {
        guests.insert(message.guest.clone());
        ctx.send("post", Welcome { guest: message.guest });
    }
    let messages = [join("ann"), join("bob")];
    let report = alone(welcome, &messages);
    assert!(report.is_idempotent.is_yes() && report.is_free_of_order.is_yes(), "{report}");
    world("a welcome each time", welcome, &messages).judge(EFFECTS_TOO).check().assert_holds();
}

#[test]
fn an_effect_only_where_something_was_new_is_lost() {
    fn welcome(guests: &mut GrowOnlySet<String>, message: Join, ctx: &mut Context) {
        if !guests.contains(&message.guest) {
            ctx.send("post", Welcome { guest: message.guest.clone() });
        }
        guests.insert(message.guest);
    }
    let messages = [join("ann"), join("bob")];
    let report = alone(welcome, &messages);
    print(&report);
    answers(
        &report.is_idempotent,
        r#"NO
            no state + party.join {"guest":"ann"} → ["ann"]; sends party.welcome {"guest":"ann"} to post
            a duplicate: ["ann"] + party.join {"guest":"ann"} → ["ann"]"#,
    );
    let lost = Breach::Property(Property::NoLostEffects);
    broken(world("a welcome once", welcome, &messages).judge(EFFECTS_TOO), &lost, [11, 1]);
}

#[test]
fn a_decision_that_depends_on_the_others_depends_on_order() {
    /// There is room for one.
    fn admit(guests: &mut GrowOnlySet<String>, message: Join, _: &mut Context) {
        if guests.is_empty() {
            guests.insert(message.guest);
        }
    }
    let report = alone(admit, &[join("ann"), join("bob")]);
    print(&report);
    assert!(report.is_idempotent.is_yes(), "{report}");
    answers(
        &report.is_free_of_order,
        r#"NO
            no state + party.join {"guest":"ann"} → ["ann"]
            ["ann"] + party.join {"guest":"bob"} → ["ann"]
            but in the other order:
            no state + party.join {"guest":"bob"} → ["bob"]
            ["bob"] + party.join {"guest":"ann"} → ["bob"]"#,
    );
}
