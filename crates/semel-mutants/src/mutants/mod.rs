//! The list of mutants. The build reads it too.

mod detached_outbox;
mod inbox;
mod outbox;
mod outbox_inbox;
mod replay;
mod shared;
mod token;
mod transactional;

/// A shipping protocol with one edit.
#[derive(Clone, Copy, Debug)]
pub struct Mutant {
    /// Its name, which is also that of its module.
    pub name: &'static str,
    /// The protocol that it makes wrong, by the name of its file.
    pub of: &'static str,
    /// The file that is edited.
    pub file: &'static str,
    /// What occurs there exactly once; indentation does not matter.
    pub find: &'static str,
    /// What stands there instead.
    pub replace: &'static str,
    /// What is broken, as a sentence without its full stop.
    pub breaks: &'static str,
}

/// Every mutant, by protocol.
pub fn all() -> impl Iterator<Item = &'static Mutant> {
    let lists = [
        inbox::MUTANTS,
        outbox::MUTANTS,
        outbox_inbox::MUTANTS,
        detached_outbox::MUTANTS,
        token::MUTANTS,
        replay::MUTANTS,
        transactional::MUTANTS,
        shared::MUTANTS,
    ];
    lists.into_iter().flatten()
}
