//! A person as the scheduler.

use std::io::{Cursor, Write};
use std::sync::{Arc, Mutex};

use semel_check::{Breach, Fault, Objects, Property, Report, World};
use semel_core::protocols::AtLeastOnce;
use semel_core::{Context, Endpoint, Failure};

use crate::bank::{Account, Deposit, accounts, one};

/// What the person sees.
#[derive(Clone, Default)]
struct Screen(Arc<Mutex<Vec<u8>>>);

impl Write for Screen {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn play(world: World, keys: &str) -> (Report, String) {
    let screen = Screen::default();
    let report = world.play(Cursor::new(keys.to_owned()), screen.clone());
    let seen = screen.0.lock().unwrap().clone();
    (report, String::from_utf8(seen).unwrap())
}

#[test]
fn the_world_the_moves_and_what_each_would_change_are_shown() {
    let (report, seen) = play(one(accounts()).faults(1), "1\n1\nq\n");
    assert!(seen.contains("account.deposit d1 at accounts waits"), "{seen}");
    assert!(seen.contains("What can happen next (1 fault left, marked !)"), "{seen}");
    assert!(seen.contains("is with worker 1"), "{seen}");
    assert!(seen.contains("worker 1 is processing account.deposit d1 at accounts, about to: read"));
    assert!(seen.contains(r#"{"pence":5}"#), "what the handler would decide: {seen}");
    assert!(!report.holds() && report.counterexample().is_none(), "a game proves nothing");
}

#[test]
fn turns_are_taken_to_the_end_and_moves_are_taken_back() {
    let (_, seen) = play(one(accounts()), "f\nu\nu\nu\nu\nu\n");
    assert!(seen.contains("all is done, and nothing was violated"), "{seen}");
    assert!(seen.contains("This is the beginning."), "{seen}");
}

#[test]
fn a_violation_ends_the_game_until_it_is_taken_back() {
    let world = || {
        let world = one(accounts().protocol(AtLeastOnce)).faults(1);
        world.without(Fault::HandlerFailure)
    };
    // The shortest way: a lost reply of the commit. Its moves are in the replay line.
    let found = world().check();
    let line = &found.assert_violated().replay;
    let keys: Vec<&str> = line.rsplit('-').next().unwrap().split('.').collect();
    let mut typed = String::new();
    for key in keys {
        // All moves are possible here, so that positions are numbers.
        typed.push_str(&format!("{}\n", u32::from_str_radix(key, 16).unwrap() + 1));
    }
    let (report, seen) = play(world(), &format!("{typed}t\nq\n"));
    let breach = Breach::Property(Property::AtMostOneStateChange);
    assert_eq!(report.breach(), Some(&breach), "{seen}");
    assert!(seen.contains("VIOLATED: AtMostOneStateChange"), "{seen}");
    let (report, _) = play(world(), &format!("{typed}u\nq\n"));
    assert_eq!(report.breach(), None);
}

#[test]
fn what_is_typed_wrongly_is_told_so_and_the_world_is_not_shown_again() {
    let (_, seen) = play(one(accounts()), "99\n0\nwhat\nt\n");
    assert!(seen.contains("There is no move 99: they go from 1 to "), "{seen}");
    assert!(seen.contains("There is no move 0"), "{seen}");
    assert_eq!(seen.matches("takes the last move back").count(), 2, "{seen}");
    assert_eq!(seen.matches("The world:").count(), 1, "{seen}");
    let (_, seen) = play(one(accounts()), "\n");
    assert_eq!(seen.matches("The world:").count(), 2, "{seen}");
    let (_, seen) = play(one(accounts()), "f\n1\n");
    assert!(seen.contains("Nothing is left to do"), "{seen}");
}

#[test]
fn moves_have_the_names_of_their_steps_and_objects_are_shown() {
    async fn writes(_: &mut Account, _: Deposit, _: &mut Context) -> Result<(), Failure> {
        Objects.put("invoice", "paid").await?;
        Ok(())
    }
    let (_, seen) = play(one(Endpoint::new("accounts").handle(writes)).faults(0), "1\nf\n");
    assert!(seen.contains("worker 1: LoadEntity: read entity accounts/alice"), "{seen}");
    assert!(seen.contains("object invoice = paid"), "{seen}");
    assert!(seen.contains("What can happen next (no faults left):"), "{seen}");
}
