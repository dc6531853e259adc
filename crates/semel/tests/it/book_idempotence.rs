//! `docs/idempotence.md`: every program on it is compiled and run, and what it is said to print is
//! what it prints.

use crate::page::Page;

// As one text, because each program on the page goes on from the ones before it.
include!("book/idempotence.rs");

const PAGE: Page = Page {
    name: "docs/idempotence.md",
    text: include_str!("../../../../docs/idempotence.md"),
    programs: &[include_str!("book/idempotence.rs")],
};

#[test]
fn the_programs_on_the_page_are_compiled() {
    PAGE.is_compiled();
}

#[test]
fn the_reports_are_what_the_page_says() {
    PAGE.says(0, &handler(naive).message(add()).message(remove()).check());
    PAGE.says(1, &handler(with_tombstones).message(add()).message(remove()).check());
    PAGE.says(2, &handler(tells_once).message(Add { line: "l1".to_owned() }).check());
}
