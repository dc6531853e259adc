//! `semel dead-letters replay` and `discard`: the letters chosen, one after the other.

use std::collections::BTreeSet;

use semel::Backend;
use semel::core::operator::DeadLetter;

use super::fate::{self, Deed, Fate, Mode};
use super::tally::Tally;
use super::{none_text, page};
use crate::args::Choice;
use crate::failure::{Exit, Failure};
use crate::output::{Format, Output};
use crate::place::Place;

/// How many letters to look at in one go.
const PAGE: usize = 100;

/// Treats the letters chosen and says what became of each.
///
/// A store that fails ends the run; what was done until then is told first.
pub(super) async fn run(
    place: &Place,
    choice: Choice,
    deed: Deed,
    mode: Mode,
    output: &mut Output,
) -> Result<Exit, Failure> {
    let backend = place.open().await?;
    let mut tally = Tally::new(deed, mode);
    let numbers = match &choice {
        Choice::Numbers(numbers) => distinct(numbers),
        Choice::All { endpoint } => all(&backend, endpoint.as_deref()).await?,
    };
    let treated = treat(&backend, &choice, &numbers, &mut tally, output).await;
    match (output.format(), &choice) {
        (Format::Json, _) => output.json(&tally.to_json())?,
        (Format::Human, Choice::All { endpoint }) if numbers.is_empty() => {
            output.line(&none_text(&backend, endpoint.as_deref()).await?)?;
        }
        (Format::Human, _) => tally.summary().map_or(Ok(()), |text| output.line(&text))?,
    }
    treated?;
    tally.end()
}

async fn treat(
    backend: &Backend,
    choice: &Choice,
    numbers: &[i64],
    tally: &mut Tally,
    output: &mut Output,
) -> Result<(), Failure> {
    for &number in numbers {
        let dead = backend.operator().dead_letter(number).await?;
        let fate = match (&dead, choice) {
            (Some(dead), _) => treat_one(dead, backend, tally).await?,
            (None, Choice::Numbers(_)) => Fate::NotFound,
            // It was there when the program started.
            (None, Choice::All { .. }) => Fate::Gone,
        };
        tally.add(number, dead.as_ref(), &fate, output)?;
    }
    Ok(())
}

async fn treat_one(dead: &DeadLetter, backend: &Backend, tally: &Tally) -> Result<Fate, Failure> {
    match (tally.mode(), tally.deed()) {
        (Mode::Rehearse, deed) => Ok(fate::rehearse(dead, deed)),
        (Mode::Act, Deed::Replay) => fate::replay(dead, backend).await,
        (Mode::Act, Deed::Discard) => fate::discard(dead, backend).await,
    }
}

/// The numbers of all letters that are there now. A letter that is replayed and dies again gets a
/// new number, so it is treated once.
async fn all(backend: &Backend, endpoint: Option<&str>) -> Result<Vec<i64>, Failure> {
    let mut numbers = Vec::new();
    loop {
        let after = numbers.last().copied().unwrap_or(0);
        let letters = page(backend, endpoint, after, PAGE).await?;
        numbers.extend(letters.iter().map(|dead| dead.number));
        if letters.len() < PAGE {
            return Ok(numbers);
        }
    }
}

/// The numbers in the order given, each once.
fn distinct(numbers: &[i64]) -> Vec<i64> {
    let mut seen = BTreeSet::new();
    numbers.iter().copied().filter(|number| seen.insert(*number)).collect()
}
