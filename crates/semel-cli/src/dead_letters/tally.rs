//! What became of each dead letter, for people and for programs.

use semel::core::operator::DeadLetter;
use serde::Serialize;

use super::fate::{Deed, Discarded, Fate, Mode, Record, Whose};
use crate::failure::{Exit, Failure};
use crate::output::{self, Format, Output, text};

/// The results of one run.
#[derive(Debug)]
pub(super) struct Tally {
    deed: Deed,
    mode: Mode,
    results: Vec<LetterResult>,
    counts: Counts,
}

#[derive(Clone, Copy, Debug, Default, Serialize)]
struct Counts {
    #[serde(skip)]
    done: usize,
    not_found: usize,
    gone: usize,
    refused: usize,
}

/// What became of one letter, as JSON.
#[derive(Debug, Serialize)]
struct LetterResult {
    number: i64,
    endpoint: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    result: &'static str,
    #[serde(flatten)]
    discard: Option<DiscardView>,
    error: Option<String>,
    help: Option<String>,
}

/// What only a discard tells.
#[derive(Debug, Default, Serialize)]
struct DiscardView {
    protocol: Option<&'static str>,
    recorded: Option<bool>,
}

/// The JSON document of `replay` and `discard`.
#[derive(Debug, Serialize)]
pub(super) struct View<'a> {
    dry_run: bool,
    results: &'a [LetterResult],
    #[serde(skip_serializing_if = "Option::is_none")]
    replayed: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    discarded: Option<usize>,
    #[serde(flatten)]
    counts: Counts,
}

impl Tally {
    /// No results yet.
    pub(super) fn new(deed: Deed, mode: Mode) -> Self {
        Self { deed, mode, results: Vec::new(), counts: Counts::default() }
    }

    /// What is done.
    pub(super) fn deed(&self) -> Deed {
        self.deed
    }

    /// Whether it is done.
    pub(super) fn mode(&self) -> Mode {
        self.mode
    }

    /// Records what became of a letter, and tells a person at once.
    pub(super) fn add(
        &mut self,
        number: i64,
        dead: Option<&DeadLetter>,
        fate: &Fate,
        output: &mut Output,
    ) -> Result<(), Failure> {
        let counted = match fate {
            Fate::Replayed | Fate::Discarded(_) | Fate::Rehearsed => &mut self.counts.done,
            Fate::NotFound => &mut self.counts.not_found,
            Fate::Gone => &mut self.counts.gone,
            Fate::Refused(_) => &mut self.counts.refused,
        };
        *counted += 1;
        match (output.format(), fate) {
            (Format::Json, _) => self.results.push(self.result(number, dead, fate)),
            (Format::Human, Fate::NotFound | Fate::Gone | Fate::Refused(_)) => {
                output::complain(&self.sentence(number, dead, fate));
            }
            (Format::Human, _) => output.line(&self.sentence(number, dead, fate))?,
        }
        Ok(())
    }

    fn result(&self, number: i64, dead: Option<&DeadLetter>, fate: &Fate) -> LetterResult {
        let error = match fate {
            Fate::Refused(error) => Some(error),
            _ => None,
        };
        LetterResult {
            number,
            endpoint: dead.map(|dead| dead.endpoint.clone()),
            kind: dead.and_then(|dead| Some(dead.envelope.as_ref().ok()?.kind.clone())),
            result: match (fate, self.deed) {
                (Fate::Replayed, _) => "replayed",
                (Fate::Discarded(_), _) => "discarded",
                (Fate::Rehearsed, Deed::Replay) => "would_replay",
                (Fate::Rehearsed, Deed::Discard) => "would_discard",
                (Fate::NotFound, _) => "not_found",
                (Fate::Gone, _) => "gone",
                (Fate::Refused(_), _) => "refused",
            },
            discard: (self.deed == Deed::Discard).then(|| discard_view(fate)),
            error: error.map(|error| error.reason.clone()),
            help: error.map(|error| error.help.clone()),
        }
    }

    fn sentence(&self, number: i64, dead: Option<&DeadLetter>, fate: &Fate) -> String {
        let what = dead.map(describe).unwrap_or_default();
        match fate {
            Fate::Replayed => format!("{number}: replayed {what}"),
            Fate::Discarded(how) => format!("{number}: discarded {what}; {}", consequence(how)),
            Fate::Rehearsed => match self.deed {
                Deed::Replay => format!("{number}: would replay {what}"),
                Deed::Discard => format!("{number}: would discard {what}"),
            },
            Fate::NotFound => format!("{number}: there is no such dead letter"),
            Fate::Gone => format!(
                "{number}: not {}: it is gone; someone else replayed or discarded it meanwhile",
                self.done()
            ),
            Fate::Refused(error) => {
                format!("{number}: not {}: {}. {}", self.done(), error.reason, error.help)
            }
        }
    }

    fn done(&self) -> &'static str {
        match self.deed {
            Deed::Replay => "replayed",
            Deed::Discard => "discarded",
        }
    }

    /// The last line for people; `None` where the lines before say it all.
    pub(super) fn summary(&self) -> Option<String> {
        let Counts { done, not_found, gone, refused } = self.counts;
        if done + not_found + gone + refused < 2 {
            return None;
        }
        let would = match self.mode {
            Mode::Act => "",
            Mode::Rehearse => "would be ",
        };
        let mut summary = format!("{} {would}{}", text::count(done, "dead letter"), self.done());
        let rest = [(not_found, "not found"), (gone, "gone"), (refused, "refused")];
        for (count, what) in rest.into_iter().filter(|(count, _)| *count > 0) {
            summary.push_str(&format!(", {count} {what}"));
        }
        Some(summary)
    }

    /// The document for programs.
    pub(super) fn to_json(&self) -> View<'_> {
        let done = match self.mode {
            Mode::Act => self.counts.done,
            Mode::Rehearse => 0,
        };
        View {
            dry_run: self.mode == Mode::Rehearse,
            results: &self.results,
            replayed: (self.deed == Deed::Replay).then_some(done),
            discarded: (self.deed == Deed::Discard).then_some(done),
            counts: self.counts,
        }
    }

    /// How the run ends.
    pub(super) fn end(&self) -> Result<Exit, Failure> {
        let Counts { done, not_found, gone, refused } = self.counts;
        match (self.deed, self.mode) {
            (Deed::Discard, Mode::Rehearse) if done > 0 => Err(Failure::new(
                Exit::Usage,
                "nothing was discarded: this cannot be undone, so it needs `--yes`",
                "Run the same command again with `--yes` at its end.",
            )),
            _ if not_found + gone + refused > 0 => Ok(Exit::NotAll),
            _ => Ok(Exit::Fine),
        }
    }
}

fn discard_view(fate: &Fate) -> DiscardView {
    let Fate::Discarded(how) = fate else { return DiscardView::default() };
    let recorded = match how.record {
        Record::Written => Some(true),
        Record::None | Record::Unreadable => Some(false),
        Record::Unclear => None,
    };
    DiscardView { protocol: Some(how.protocol), recorded }
}

fn describe(dead: &DeadLetter) -> String {
    let endpoint = text::one_line(&dead.endpoint);
    match &dead.envelope {
        Ok(envelope) => format!("`{}` at `{endpoint}`", text::one_line(&envelope.kind)),
        Err(_) => format!("an unreadable message at `{endpoint}`"),
    }
}

/// What a discard means for copies of the message.
fn consequence(how: &Discarded) -> String {
    let protocol = how.protocol;
    let copies = match how.record {
        Record::Written => "recorded as processed, so that copies of it are dropped".to_owned(),
        Record::None => {
            format!("`{protocol}` remembers nothing: a copy that still comes is processed")
        }
        Record::Unreadable => "nothing in it could be recorded to recognise copies by".to_owned(),
        Record::Unclear => "the store did not say whether it is recorded as processed".to_owned(),
    };
    match how.whose {
        Whose::Endpoint => copies,
        Whose::Default => {
            format!("{copies} (as `{protocol}` does: no worker has registered the endpoint)")
        }
    }
}
