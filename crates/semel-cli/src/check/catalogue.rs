//! Which worlds there are, and which of them are meant.

use semel_check::worlds::{self, BuiltIn};

use super::shop;
use crate::failure::{Exit, Failure};

/// How many names are suggested for one that is unknown.
const SUGGESTIONS_MAX: usize = 3;

/// Every world: those of the protocols, and those of the shop.
pub(super) fn all() -> Vec<BuiltIn> {
    worlds::all().into_iter().chain(shop::all()).collect()
}

/// The worlds with these names, or whose names begin so; all if there are no names.
///
/// A name in full means that world alone, even where another name begins with it.
pub(super) fn choose(names: &[String]) -> Result<Vec<BuiltIn>, Failure> {
    let all = all();
    let mut chosen = vec![names.is_empty(); all.len()];
    for name in names {
        let is_whole = all.iter().any(|world| world.name() == name);
        let means = |world: &BuiltIn| match is_whole {
            true => world.name() == name,
            false => !name.is_empty() && world.name().starts_with(name.as_str()),
        };
        let meant: Vec<usize> = (0..all.len()).filter(|at| means(&all[*at])).collect();
        if meant.is_empty() {
            return Err(unknown(name, &all));
        }
        meant.into_iter().for_each(|at| chosen[at] = true);
    }
    Ok(all.into_iter().zip(chosen).filter_map(|(world, chosen)| chosen.then_some(world)).collect())
}

fn unknown(name: &str, all: &[BuiltIn]) -> Failure {
    let message = format!("no world is called `{name}`, and no name begins with it");
    let suggestions = similar(name, all);
    let help = match suggestions.is_empty() {
        true => "`semel check --list` names them all.".to_owned(),
        false => {
            format!("Did you mean {}? `semel check --list` names them all.", suggestions.join(", "))
        }
    };
    Failure::new(Exit::Usage, message, help)
}

/// The names that share most words with `name`; of those, the ones that begin most like it.
fn similar(name: &str, all: &[BuiltIn]) -> Vec<String> {
    let likeness = |other: &str| {
        let shares = |word: &&str| word.len() > 1 && other.contains(*word);
        let begin = name.chars().zip(other.chars()).take_while(|(one, other)| one == other);
        (name.split('-').filter(shares).count(), begin.count())
    };
    let mut names: Vec<&str> = all.iter().map(BuiltIn::name).collect();
    names.retain(|other| likeness(other) > (0, 2));
    names.sort_by_key(|other| std::cmp::Reverse(likeness(other)));
    names.iter().take(SUGGESTIONS_MAX).map(|name| format!("`{name}`")).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{all, choose};

    fn chosen(names: &[&str]) -> Vec<String> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        choose(&names).unwrap().iter().map(|world| world.name().to_owned()).collect()
    }

    #[test]
    fn names_are_unlike_and_in_the_same_manner() {
        let names: BTreeSet<String> = all().iter().map(|world| world.name().to_owned()).collect();
        assert_eq!(names.len(), all().len());
        let is_plain = |c: char| c.is_ascii_lowercase() || c == '-';
        assert!(names.iter().all(|name| name.chars().all(is_plain)), "{names:?}");
    }

    #[test]
    fn a_name_means_itself_or_all_that_begin_with_it() {
        assert_eq!(chosen(&[]).len(), all().len());
        assert_eq!(chosen(&["shop-order"]), ["shop-order"]);
        assert_eq!(chosen(&["shop-order", "shop-o"]), ["shop-order"]);
        assert!(chosen(&["transactional-apart"]).len() > 5);
    }

    #[test]
    fn an_unknown_name_brings_up_its_neighbours() {
        let failure = choose(&["shop-ordre".to_owned()]).unwrap_err();
        let text = failure.render(crate::output::Format::Json);
        assert!(text.contains("`shop-order`"), "{text}");
        let failure = choose(&["zzz".to_owned()]).unwrap_err();
        assert!(failure.render(crate::output::Format::Json).contains("--list"));
    }
}
