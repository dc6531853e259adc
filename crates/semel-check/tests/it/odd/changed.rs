//! Deployments that change more than what a handler decides, and messages that are given up while
//! another worker is still at them. What `docs/operations.md` says of both is so.

use semel_check::{Breach, Fault, Faults, Property, World, relational, relational_apart};
use semel_core::{Endpoint, Settings};

use super::cast::{Deposit, EVERY, Setup, deposit, holds, of, of_items, once, whole};

/// One endpoint, whose protocol is changed by a deployment.
fn changes(from: &Setup, to: &Setup) -> World {
    let accounts = |setup: &Setup| setup.dress(Endpoint::new("accounts").handle(deposit));
    let world = from.world(&format!("changed to {}", to.name));
    let mut kept =
        vec![Property::NoLostMessages, Property::NoLostEffects, Property::NoGhostEffects];
    kept.retain(|one| [from, to].iter().all(|setup| setup.protocol.promises().contains(one)));
    let world = world.endpoint(accounts(from)).deploy(accounts(to)).judge(&kept);
    world.send("d1", "accounts", of("alice", 5))
}

#[track_caller]
fn holds_or_refuses(world: World) {
    let report = world.check();
    let Some(found) = report.counterexample() else { return assert!(report.holds(), "{report}") };
    assert_eq!(found.violation.breach, Breach::Halted, "{report}");
    assert!(found.violation.detail.contains("it was written under"), "{report}");
}

/// It never takes the books of another for its own, nor what others have written down beside the
/// entity: not for a duplicate, and not for a letter that was parked before and is replayed after.
#[test]
fn another_protocol_refuses_by_name_or_begins_anew() {
    for store in [relational(), relational_apart()] {
        for (from, to) in EVERY.iter().flat_map(|from| EVERY.iter().map(move |to| (from, to))) {
            let (from, to) = (Setup::new(from, store), Setup::new(to, store));
            let deployment = Faults::only([Fault::Deployment]);
            let twice = changes(&from, &to).send("d1", "accounts", of("alice", 5));
            holds_or_refuses(twice.kinds(deployment).faults(1));
            let parked = deployment.with(Fault::HandlerFailure).with(Fault::Person);
            holds_or_refuses(changes(&from, &to).kinds(parked).faults(3));
        }
    }
}

/// A protocol that keeps its books elsewhere looks at the entity all the same: the token was consumed,
/// and the effects not sent yet.
#[test]
fn an_inbox_entry_of_another_protocol_is_no_proof_that_effects_are_out() {
    let (from, to) = (Setup::new("token", relational()), Setup::new("transactional", relational()));
    let kinds = Faults::only([Fault::Deployment, Fault::Crash]);
    holds_or_refuses(changes(&from, &to).kinds(kinds).faults(2));
}

/// Who remembers in the entity asks the one that the message is for now.
#[test]
fn a_message_that_is_for_another_entity_since_is_processed_there_again() {
    for setup in whole() {
        let by = |tail: &'static str| {
            let key = move |deposit: &Deposit| format!("{}{tail}", deposit.account);
            setup.dress(Endpoint::new("accounts").handle_by(key, deposit))
        };
        let world = setup.world("for another entity").endpoint(by("")).deploy(by(" the second"));
        let world = world.send("d1", "accounts", of("alice", 5)).faults(2);
        if setup.name.starts_with("transactional") {
            // Its inbox is asked by the message alone.
            holds(world);
            continue;
        }
        let report = world.judge(&[Property::AtMostOneStateChange]).check();
        assert!(report.counterexample().is_some(), "{report}");
    }
}

/// A worker that has lost its lease without hearing of it may commit when the message is a dead letter
/// already. All is well if it lives. If it dies, its effects wait for the person.
#[test]
fn whoever_commits_what_was_given_up_meanwhile_and_dies_leaves_effects_to_the_person() {
    let kinds = Faults::only([Fault::EarlyRedelivery, Fault::HandlerFailure]);
    let world = |setup: &Setup| {
        let accounts = setup.dress(Endpoint::new("accounts").handle(deposit));
        let world = setup.world("given up meanwhile").endpoint(accounts).workers(2);
        world.send("d1", "accounts", of("alice", 5)).kinds(kinds).faults(2)
    };
    for setup in of_items() {
        holds(world(&setup));
        let dies = world(&setup).with(Fault::Crash).faults(3);
        let report = dies.judge(&[Property::NoLostEffects]).check();
        assert!(report.counterexample().is_some(), "{report}");
    }
    // With the queue in the store, its batch fails; with the queue elsewhere, the finisher sends.
    let inside = whole().into_iter().find(|setup| setup.name == "transactional-inside");
    holds(world(&inside.expect("it is one")).with(Fault::Crash).faults(3));
}

/// The other exception beside handlers that decide otherwise: who could send its effects has ended
/// worker after worker.
#[test]
fn replay_parks_what_ends_its_workers_even_if_it_was_committed() {
    let settings = Settings { abandoned_max: 1, ..once() };
    for setup in of_items() {
        let accounts = setup.dress(Endpoint::new("accounts").handle(deposit)).settings(settings);
        let world = setup.world("abandoned").endpoint(accounts);
        let report = world.send("d1", "accounts", of("alice", 5)).faults(2).check();
        let lost = Some(&Breach::Property(Property::NoLostMessages));
        assert_eq!(report.breach(), lost.filter(|_| setup.name == "replay"), "{report}");
    }
}
