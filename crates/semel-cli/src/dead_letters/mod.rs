//! `semel dead-letters`: messages that are parked for a person.

mod fate;
mod list;
mod settle;
mod show;
mod tally;
mod view;

use semel::Backend;
use semel::core::operator::{DeadLetter, DeadLetterFilter};

use crate::args::DeadLettersVerb;
use crate::failure::{Exit, Failure};
use crate::output::Output;
use fate::{Deed, Mode};

/// Runs one of the verbs.
pub(crate) async fn run(verb: DeadLettersVerb, output: &mut Output) -> Result<Exit, Failure> {
    match verb {
        DeadLettersVerb::List(args) => list::run(&args, output).await,
        DeadLettersVerb::Show(args) => show::run(&args, output).await,
        DeadLettersVerb::Replay(args) => {
            let mode = if args.dry_run { Mode::Rehearse } else { Mode::Act };
            settle::run(&args.place, args.letters.into(), Deed::Replay, mode, output).await
        }
        DeadLettersVerb::Discard(args) => {
            let mode = if args.yes { Mode::Act } else { Mode::Rehearse };
            settle::run(&args.place, args.letters.into(), Deed::Discard, mode, output).await
        }
    }
}

/// One page of dead letters.
async fn page(
    backend: &Backend,
    endpoint: Option<&str>,
    after: i64,
    limit: usize,
) -> Result<Vec<DeadLetter>, Failure> {
    let filter = DeadLetterFilter { endpoint: endpoint.map(str::to_owned), after, limit };
    Ok(backend.operator().dead_letters(&filter).await?)
}

/// Says that there are none; a misspelt endpoint is told from one that is well.
async fn none_text(backend: &Backend, endpoint: Option<&str>) -> Result<String, Failure> {
    let Some(endpoint) = endpoint else {
        return Ok("No dead letters.".to_owned());
    };
    let report = backend.operator().inspect().await?;
    if report.endpoints.contains_key(endpoint) {
        return Ok(format!("No dead letters at `{endpoint}`."));
    }
    let known: Vec<&str> = report.endpoints.keys().map(String::as_str).collect();
    Ok(match known.as_slice() {
        [] => format!("No dead letters at `{endpoint}`; this store knows no endpoint yet."),
        _ => format!(
            "No dead letters at `{endpoint}`, which this store does not know. It knows: {}.",
            known.join(", ")
        ),
    })
}
