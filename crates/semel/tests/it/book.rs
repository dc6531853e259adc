//! `docs/checking.md`: every program on it is compiled and run, and what it is said to print is what
//! it prints.

use crate::page::Page;

// As one text, because each program on the page goes on from the ones before it.
include!("book/first_world.rs");
include!("book/further_worlds.rs");

const PAGE: Page = Page {
    name: "docs/checking.md",
    text: include_str!("../../../../docs/checking.md"),
    programs: &[include_str!("book/first_world.rs"), include_str!("book/further_worlds.rs")],
};

#[test]
fn the_programs_on_the_page_are_compiled() {
    assert_eq!(PAGE.blocks("rust")[0], PAGE.programs[0]);
    PAGE.is_compiled();
}

#[test]
fn the_first_world_prints_what_the_page_says() {
    PAGE.says(0, &world(Endpoint::new("accounts")).check());
    PAGE.says(1, &world(Endpoint::new("accounts").protocol(AtLeastOnce)).check());
}

#[test]
fn the_questions_about_a_handler_are_answered_as_the_page_says() {
    let message = |pence| Deposit { account: "alice".to_owned(), pence };
    PAGE.says(2, &handler(deposit).message(message(5)).message(message(7)).check());
}
