//! A task that writes: it commits whatever was asked meanwhile as one transaction.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use semel_core::broker::Outgoing;
use semel_core::store::{Change, Trouble, Version, WriteOutcome};
use semel_core::{Envelope, Extension, StoreError};

use crate::error::{self, Certainty, Fault};
use crate::group::{Brings, Group, Mode, Names};
use crate::lane::{Asked, Requests};
use crate::place::Place;
use crate::session::Kind;
use crate::{BYTES_MAX, row};

/// The most changes in one batch.
pub(crate) const CHANGES_MAX: usize = 10_000;
/// How many batches share one transaction at most.
const GROUP_MAX: usize = 512;
/// How many bytes they carry at most, beyond the first of them.
const GROUP_BYTES_MAX: usize = 8 << 20;
/// How often a group is tried that the server undid for the sake of another.
const TRIES: u32 = 8;

/// A batch to be written.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) changes: Vec<Change>,
    pub(crate) operation: &'static str,
    /// What it names: see [`crate::group::names`].
    pub(crate) names: Names,
}

type Pending = Asked<Batch, WriteOutcome>;

/// Writes until nobody can ask any more.
pub(crate) async fn serve(place: Arc<Place>, mut requests: Requests<Batch, WriteOutcome>) {
    loop {
        let mut names: BTreeSet<u64> = BTreeSet::new();
        let (mut count, mut bytes) = (0, 0);
        let group = requests
            .gather(|batch| {
                // Once one has to wait, so must those after it that name the same.
                let is_free = !batch.names.iter().any(|name| names.contains(name));
                names.extend(&batch.names);
                bytes += size(&batch.changes);
                count += 1;
                is_free && count <= GROUP_MAX && (count == 1 || bytes <= GROUP_BYTES_MAX)
            })
            .await;
        let Some(group) = group else { return };
        write(&place, group).await;
    }
}

fn size(changes: &[Change]) -> usize {
    let bytes = |change: &Change| match change {
        Change::Put { value, .. } => value.len(),
        Change::Enqueue(message) => message.envelope.size(),
        Change::Delete { .. } | Change::Settle { .. } => 0,
    };
    changes.iter().map(|change| bytes(change) + 64).sum()
}

/// Answers every batch of a group.
async fn write(place: &Place, mut group: Vec<Pending>) {
    for round in 0..TRIES {
        if group.is_empty() {
            return;
        }
        let fault = match attempt(place, &group, Mode::Require).await {
            Ok(applied) => return hand_out(group, applied.version),
            // Which condition it was, a trial tells.
            Err(Fault::Condition) => match attempt(place, &group, Mode::Tell).await {
                Ok(told) => {
                    group = answer_conflicts(group, &told.failed);
                    continue;
                }
                Err(fault) => fault,
            },
            Err(fault) => fault,
        };
        if let Some(failed) = pause(place, &group, fault, round).await {
            return fail(place, group, failed).await;
        }
    }
    let reason = format!("{TRIES} times in a row, others came first");
    let help = "Look for long transactions in `pg_stat_activity`; work goes on by itself.";
    let error = error::new(&place.server.place, Trouble::Unavailable, "write", reason, help);
    fail(place, group, Failed::surely(error)).await;
}

/// An attempt that is over.
struct Failed {
    error: StoreError,
    certainty: Certainty,
    /// Whether one request of many may be to blame.
    may_be_one: bool,
}

impl Failed {
    /// What failed for the sake of one request, and surely was not applied.
    fn surely(error: StoreError) -> Self {
        Self { error, certainty: Certainty::NotApplied, may_be_one: true }
    }
}

/// Waits a little if it makes sense to try again; else says why not.
async fn pause(place: &Place, group: &[Pending], fault: Fault, round: u32) -> Option<Failed> {
    match fault {
        Fault::Again(error) if round + 1 < TRIES => {
            tracing::debug!(%error, batches = group.len(), "the server undid a group; once more");
            let jitter = place.random().unsigned_abs() % 8;
            tokio::time::sleep(Duration::from_millis((2 << round) + jitter)).await;
            None
        }
        Fault::Again(error) | Fault::Locked(error) => Some(Failed::surely(error)),
        Fault::Failed { error, certainty } => {
            // A server that cannot be reached is nobody's fault.
            let may_be_one = error.trouble != Trouble::Unavailable;
            Some(Failed { error, certainty, may_be_one })
        }
        fault @ Fault::Condition => {
            let error = fault.into_error(&place.server.place, "write");
            Some(Failed::surely(error))
        }
    }
}

/// Answers those whose condition did not hold, and returns the others.
fn answer_conflicts(group: Vec<Pending>, failed: &BTreeSet<(usize, usize)>) -> Vec<Pending> {
    let mut others = Vec::new();
    for (batch, pending) in group.into_iter().enumerate() {
        let at: Vec<usize> =
            failed.iter().filter(|(of, _)| *of == batch).map(|(_, at)| *at).collect();
        if at.is_empty() {
            others.push(pending);
        } else {
            pending.answer(WriteOutcome::Conflict(at));
        }
    }
    others
}

fn hand_out(group: Vec<Pending>, version: i64) {
    let version = Version::new(version.to_string());
    for pending in group {
        let versions = pending.question.changes.iter().map(|change| match change {
            Change::Put { .. } => Some(version.clone()),
            Change::Delete { .. } | Change::Enqueue(_) | Change::Settle { .. } => None,
        });
        let versions = versions.collect();
        pending.answer(WriteOutcome::Applied(versions));
    }
}

/// Answers all with what went wrong. If it surely was not applied and one of many may be to blame,
/// each gets a transaction of its own, so that this one fails alone.
async fn fail(place: &Place, group: Vec<Pending>, failed: Failed) {
    let Failed { error, certainty, may_be_one } = failed;
    let is_sure = certainty == Certainty::NotApplied;
    if is_sure && group.len() > 1 && may_be_one {
        for pending in group {
            Box::pin(write(place, vec![pending])).await;
        }
        return;
    }
    for pending in group {
        let error = StoreError { operation: pending.question.operation, ..error.clone() };
        pending.answer(if is_sure && !error.is_passing() {
            WriteOutcome::Refused(error)
        } else {
            WriteOutcome::Unknown(error)
        });
    }
}

/// What an attempt on a group found.
struct Attempt {
    /// The version of everything that it put.
    version: i64,
    /// The changes whose condition did not hold.
    failed: BTreeSet<(usize, usize)>,
}

async fn attempt(place: &Place, group: &[Pending], mode: Mode) -> Result<Attempt, Fault> {
    let batches = group.iter().map(|pending| &*pending.question.changes).enumerate();
    let grouped = Group::of(batches);
    let (asks, brings): (Vec<_>, Vec<_>) = grouped
        .parts(&place.schema, mode, &|| place.now())
        .into_iter()
        .map(|part| (part.ask, part.brings))
        .unzip();
    let first = format!("SELECT nextval('{}.item_version')", place.schema);
    let kind = match mode {
        Mode::Require => Kind::Durable,
        Mode::Tell => Kind::Trial,
    };
    let answers = place.server.transact("write", kind, &first, &asks).await?;
    let mut failed = BTreeSet::new();
    for (rows, brings) in answers.rows.iter().zip(&brings) {
        match brings {
            Brings::Done(origins) if mode == Mode::Tell => {
                let done: BTreeSet<i64> = rows.iter().filter_map(|row| row::get(row, 0)).collect();
                let is_undone = |at: usize| !done.contains(&(at as i64 + 1));
                failed.extend((0..origins.len()).filter(|at| is_undone(*at)).map(|at| origins[at]));
            }
            Brings::Endpoints if mode == Mode::Require => {
                for endpoint in rows.iter().filter_map(|row| row::text(row, 0)) {
                    place.bells.queued(&endpoint);
                }
            }
            Brings::Done(_) | Brings::Endpoints | Brings::Nothing => {}
        }
    }
    if mode == Mode::Require && grouped.gives_back() {
        place.bells.ring_all();
    }
    let version = answers.number.ok_or_else(|| Fault::Failed {
        error: place.defect("write", "the sequence of versions gave no number"),
        certainty: Certainty::Unknown,
    })?;
    Ok(Attempt { version, failed })
}

/// Why a batch can never be written.
pub(crate) fn refusal(place: &Place, changes: &[Change]) -> Option<StoreError> {
    let refuse = |trouble, reason: String, help: &str| {
        Some(error::new(&place.server.place, trouble, "write", reason, help))
    };
    let too_large = |what: String, bytes: usize| {
        let reason = format!("{what} takes {bytes} bytes, the limit is {BYTES_MAX}");
        refuse(Trouble::TooLarge, reason, "Store or send less in one piece.")
    };
    if changes.len() > CHANGES_MAX {
        let reason = format!("{} changes, the limit is {CHANGES_MAX}", changes.len());
        return refuse(Trouble::TooLarge, reason, "Let one message do less.");
    }
    let mut keys = BTreeSet::new();
    for change in changes {
        match change {
            Change::Put { key, .. } | Change::Delete { key, .. } => {
                if !keys.insert(key) {
                    let reason = format!("two changes of one batch name the item {key}");
                    return refuse(Trouble::Unsupported, reason, "Make one change of them.");
                }
                if has_nul(&key.partition) || has_nul(&key.key) {
                    let reason = format!("the key {key:?} holds a NUL character");
                    let help = "PostgreSQL keeps no such text: choose another key.";
                    return refuse(Trouble::Unsupported, reason, help);
                }
            }
            Change::Enqueue(_) | Change::Settle { .. } => {}
        }
        match change {
            Change::Put { key, value, .. } if value.len() > BYTES_MAX => {
                return too_large(format!("the item {key}"), value.len());
            }
            Change::Enqueue(message) => {
                if let Some(error) = message_refusal(place, message) {
                    return Some(error);
                }
            }
            _ => {}
        }
    }
    None
}

/// Why a message can never be queued.
pub(crate) fn message_refusal(place: &Place, message: &Outgoing) -> Option<StoreError> {
    message_refusal_at(&place.server.place, message)
}

/// The same for whoever has only the place's name.
pub(crate) fn message_refusal_at(place: &str, message: &Outgoing) -> Option<StoreError> {
    let envelope = &message.envelope;
    let size = envelope.size();
    let kind = &envelope.kind;
    if size > BYTES_MAX {
        let reason = format!("a `{kind}` takes {size} bytes, the limit is {BYTES_MAX}");
        let help = "Store or send less in one piece.";
        return Some(error::new(place, Trouble::TooLarge, "send", reason, help));
    }
    if texts(envelope).any(has_nul) {
        let reason = format!("an attribute of a `{kind}` holds a NUL character");
        let help = "PostgreSQL keeps no such text: mend what the message is made of.";
        return Some(error::new(place, Trouble::Unsupported, "send", reason, help));
    }
    None
}

fn texts(envelope: &Envelope) -> impl Iterator<Item = &str> {
    let optional = [&envelope.subject, &envelope.content_type, &envelope.schema];
    let extensions = envelope.extensions.iter().flat_map(|(name, value)| {
        let text = match value {
            Extension::Text(text) => text.as_str(),
            Extension::Boolean(_) | Extension::Integer(_) => "",
        };
        [name.as_str(), text]
    });
    [&*envelope.id, &*envelope.source, &*envelope.kind]
        .into_iter()
        .chain(optional.into_iter().flatten().map(String::as_str))
        .chain(extensions)
}

fn has_nul(text: &str) -> bool {
    text.contains('\0')
}
