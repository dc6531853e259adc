//! `semel dead-letters list`.

use semel::Timestamp;
use semel::core::operator::DeadLetter;
use serde::Serialize;

use super::view::LetterView;
use super::{none_text, page};
use crate::args::ListArgs;
use crate::failure::{Exit, Failure};
use crate::output::table::{Column, Table};
use crate::output::{Format, Output, age};

/// The JSON document of `list`.
#[derive(Debug, Serialize)]
struct View {
    dead_letters: Vec<LetterView>,
    next_after: Option<i64>,
}

/// Lists dead letters, a page of them.
pub(super) async fn run(args: &ListArgs, output: &mut Output) -> Result<Exit, Failure> {
    let backend = args.place.open().await?;
    let endpoint = args.endpoint.as_deref();
    // One more than asked tells whether there are more.
    let asked = args.limit.saturating_add(1);
    let mut letters = page(&backend, endpoint, args.after, asked).await?;
    let more = letters.len() > args.limit;
    letters.truncate(args.limit);
    let next_after = letters.last().filter(|_| more).map(|last| last.number);
    match output.format() {
        Format::Json => {
            let dead_letters = letters.iter().map(LetterView::new).collect();
            output.json(&View { dead_letters, next_after })?;
        }
        Format::Human if letters.is_empty() && args.after > 0 => {
            output.line(&format!("No dead letters after number {}.", args.after))?;
        }
        Format::Human if letters.is_empty() => {
            output.line(&none_text(&backend, endpoint).await?)?;
        }
        Format::Human => {
            output.line(&table(&letters, backend.clock().now(), output.width()))?;
            if let Some(after) = next_after {
                output.line(&format!("\nThere are more: {}", next_command(args, after)))?;
            }
        }
    }
    Ok(Exit::Fine)
}

fn table(letters: &[DeadLetter], now: Timestamp, width: Option<u16>) -> String {
    let columns = [
        Column::Number("number"),
        Column::Text("endpoint"),
        Column::Text("type"),
        Column::Text("subject"),
        Column::Text("entity"),
        Column::Text("reason"),
        Column::Name("dead for"),
        Column::Story("last failure"),
    ];
    let mut table = Table::new(&columns, width);
    for dead in letters {
        let letter = LetterView::new(dead);
        let last_failure = letter.last_failure.map(|failure| failure.reason);
        table.row([
            letter.number.to_string(),
            letter.endpoint,
            letter.kind.unwrap_or_else(|| "(unreadable)".to_owned()),
            letter.subject.unwrap_or_else(|| "–".to_owned()),
            letter.entity.unwrap_or_else(|| "–".to_owned()),
            letter.reason.to_owned(),
            age::span(now.since(dead.dead_since)),
            last_failure.unwrap_or_else(|| "–".to_owned()),
        ]);
    }
    table.render()
}

fn next_command(args: &ListArgs, after: i64) -> String {
    let mut command = format!("semel dead-letters list {}", args.place.words());
    if let Some(endpoint) = &args.endpoint {
        command.push_str(&format!(" --endpoint {endpoint}"));
    }
    format!("{command} --limit {} --after {after}", args.limit)
}
