//! `semel dead-letters show`.

use std::collections::BTreeMap;

use semel::Timestamp;
use semel::core::Extension;
use semel::core::operator::DeadLetter;
use serde::Serialize;
use serde_json::value::RawValue;

use super::fate;
use super::view::{FailureView, LetterView};
use crate::args::ShowArgs;
use crate::failure::{Exit, Failure};
use crate::output::data::{Claim, Data};
use crate::output::{Format, Output, age, text};

/// How far labels reach.
const LABEL_COLUMNS: usize = 16;

/// Shows one dead letter.
pub(super) async fn run(args: &ShowArgs, output: &mut Output) -> Result<Exit, Failure> {
    let backend = args.place.open().await?;
    let Some(dead) = backend.operator().dead_letter(args.number).await? else {
        return Err(not_found(args));
    };
    if args.raw {
        output.bytes(&dead.raw)?;
        return Ok(Exit::Fine);
    }
    let claim = match &dead.envelope {
        Ok(envelope) if !envelope.holds_json() => Claim::Other,
        _ => Claim::Json,
    };
    let data = Data::of(&dead.raw, claim);
    let is_processed = fate::is_processed(&dead, &backend).await;
    match output.format() {
        Format::Json => output.json(&View::new(&dead, &data, is_processed)?)?,
        Format::Human => {
            let rows = head(&dead, is_processed, backend.clock().now());
            output.line(&page(&dead, &data, rows, args))?;
        }
    }
    Ok(Exit::Fine)
}

fn not_found(args: &ShowArgs) -> Failure {
    Failure::new(
        Exit::NotAll,
        format!("there is no dead letter {}: it may have been replayed or discarded", args.number),
        format!("`semel dead-letters list {}` shows which there are.", args.place.words()),
    )
}

/// The JSON document of `show`.
#[derive(Debug, Serialize)]
struct View {
    #[serde(flatten)]
    letter: LetterView,
    processed: Option<bool>,
    time: Option<String>,
    content_type: Option<String>,
    schema: Option<String>,
    extensions: BTreeMap<String, serde_json::Value>,
    failures: Vec<FailureView>,
    data_bytes: usize,
    data_format: &'static str,
    data: Option<Box<RawValue>>,
}

impl View {
    fn new(dead: &DeadLetter, data: &Data, processed: Option<bool>) -> Result<Self, Failure> {
        let envelope = dead.envelope.as_ref().ok();
        let extension = |value: &Extension| match value {
            Extension::Boolean(value) => (*value).into(),
            Extension::Integer(value) => (*value).into(),
            Extension::Text(value) => value.as_str().into(),
        };
        let extensions = envelope.map(|envelope| &envelope.extensions).into_iter().flatten();
        Ok(Self {
            letter: LetterView::new(dead),
            processed,
            time: envelope.and_then(|envelope| envelope.time).map(|time| time.to_string()),
            content_type: envelope.and_then(|envelope| envelope.content_type.clone()),
            schema: envelope.and_then(|envelope| envelope.schema.clone()),
            extensions: extensions.map(|(name, value)| (name.clone(), extension(value))).collect(),
            failures: dead.failures.iter().map(FailureView::new).collect(),
            data_bytes: dead.raw.len(),
            data_format: data.name(),
            data: data.to_json().map_err(std::io::Error::from)?,
        })
    }
}

fn page(dead: &DeadLetter, data: &Data, head: Vec<(String, String)>, args: &ShowArgs) -> String {
    let mut lines =
        format!("Dead letter {} at `{}`\n\n", dead.number, text::one_line(&dead.endpoint));
    for (label, value) in head.into_iter().chain(attributes(dead)) {
        lines.push_str(&labelled(&label, &text::one_line(&value)));
    }
    lines.push_str(&failures(dead));
    lines.push_str(&format!("\nData ({})\n", describe(dead, data)));
    if !matches!(data, Data::Empty) {
        lines.push_str(&format!("  {}\n", text::hang(&data.to_lines(), 2)));
    }
    let place = args.place.words();
    let number = dead.number;
    lines.push_str(&format!(
        "\nTo process it again:  semel dead-letters replay {place} {number}\n\
         To give it up:        semel dead-letters discard {place} {number}"
    ));
    lines
}

fn labelled(label: &str, value: &str) -> String {
    format!("  {label:LABEL_COLUMNS$} {}\n", text::hang(value, LABEL_COLUMNS + 3))
}

fn head(dead: &DeadLetter, is_processed: Option<bool>, now: Timestamp) -> Vec<(String, String)> {
    let dead_since =
        format!("{} ({})", age::point(dead.dead_since), age::ago(now, dead.dead_since));
    let protocol =
        dead.protocol.as_deref().unwrap_or("none: no worker has registered the endpoint");
    let processed = is_processed.map(|is_processed| match is_processed {
        true => "yes, it or a copy of it: replaying it changes no state",
        false => "no, as far as the protocol remembers",
    });
    let known = [
        ("reason", Some(dead.reason.name().to_owned())),
        ("dead since", Some(dead_since)),
        ("deliveries", Some(dead.deliveries.to_string())),
        ("protocol", Some(protocol.to_owned())),
        ("processed", processed.map(str::to_owned)),
        ("entity", dead.entity.clone()),
    ];
    known.into_iter().filter_map(|(label, value)| Some((label.to_owned(), value?))).collect()
}

fn attributes(dead: &DeadLetter) -> Vec<(String, String)> {
    let envelope = match &dead.envelope {
        Ok(envelope) => envelope,
        Err(error) => return vec![("unreadable".to_owned(), error.to_string())],
    };
    let known = [
        ("type", Some(envelope.kind.clone())),
        ("subject", envelope.subject.clone()),
        ("source", Some(envelope.source.clone())),
        ("id", Some(envelope.id.clone())),
        ("time", envelope.time.map(|time| time.to_string())),
        ("content type", envelope.content_type.clone()),
        ("schema", envelope.schema.clone()),
    ];
    let known = known.into_iter().filter_map(|(label, value)| Some((label.to_owned(), value?)));
    let more = envelope.extensions.iter().map(|(name, value)| (name.clone(), value.to_string()));
    known.chain(more).collect()
}

fn failures(dead: &DeadLetter) -> String {
    let mut lines = match dead.failures.len() {
        0 => "\nFailures: none on record\n".to_owned(),
        1 => "\nFailure\n".to_owned(),
        count => format!("\nFailures ({count}, oldest first)\n"),
    };
    for failure in &dead.failures {
        let worker = text::one_line(&failure.worker);
        let reason = text::hang(&text::lines(&failure.reason), 4);
        lines.push_str(&format!("  {}, {worker}\n    {reason}\n", failure.at));
    }
    lines
}

fn describe(dead: &DeadLetter, data: &Data) -> String {
    let size = text::count(dead.raw.len(), "byte");
    match data {
        Data::Empty => "none".to_owned(),
        Data::Json(_) => format!("{size}, JSON"),
        Data::Text(_) => format!("{size}, text"),
        Data::Binary(_) => format!("{size}, binary"),
    }
}
