//! `docs/checking.md`: every program on it is compiled and run, and what it is said to print is what
//! it prints.

// As one text, because each program on the page goes on from the ones before it.
include!("book/first_world.rs");
include!("book/further_worlds.rs");

const PAGE: &str = include_str!("../../../../docs/checking.md");
const PROGRAMS: [&str; 2] =
    [include_str!("book/first_world.rs"), include_str!("book/further_worlds.rs")];

/// The blocks of the page in this language, in order.
fn blocks(language: &str) -> Vec<String> {
    let fence = format!("\n```{language}\n");
    let after = PAGE.split(&fence).skip(1).filter_map(|text| text.split_once("\n```\n"));
    after.map(|(block, _)| format!("{block}\n")).collect()
}

/// `SEMEL_BOOK=print cargo test -p semel --features check book -- --nocapture` prints what is to
/// stand there.
#[track_caller]
fn stands_there(number: usize, report: &impl std::fmt::Display) {
    let printed = format!("{}\n", report.to_string().trim_end());
    if std::env::var_os("SEMEL_BOOK").is_some() {
        println!("{printed}");
        return;
    }
    assert_eq!(blocks("text").get(number), Some(&printed), "block {number} of docs/checking.md");
}

#[test]
fn the_programs_on_the_page_are_compiled() {
    let on_page = blocks("rust");
    assert_eq!(on_page[0], PROGRAMS[0]);
    for program in on_page {
        assert!(PROGRAMS.iter().any(|compiled| compiled.contains(&program)), "{program}");
    }
}

#[test]
fn the_first_world_prints_what_the_page_says() {
    stands_there(0, &world(Endpoint::new("accounts")).check());
    stands_there(1, &world(Endpoint::new("accounts").protocol(AtLeastOnce)).check());
}

#[test]
fn the_questions_about_a_handler_are_answered_as_the_page_says() {
    let message = |pence| Deposit { account: "alice".to_owned(), pence };
    stands_there(2, &handler(deposit).message(message(5)).message(message(7)).check());
}
