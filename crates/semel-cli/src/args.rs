//! The command line.

use std::time::Duration;

use clap::{ArgGroup, Args as ClapArgs, Parser, Subcommand};

use crate::output::Format;

/// What stands below the help of the program.
const EXAMPLES: &str = "\
Examples:
  semel inspect sqlite:shop.db                       what waits, what is stuck
  semel inspect sqlite:shop.db --watch               the same, again and again
  semel dead-letters list sqlite:shop.db             what waits for a person
  semel dead-letters show sqlite:shop.db 7           everything about one of them
  semel dead-letters replay sqlite:shop.db 7         give it back to its endpoint
  semel dead-letters discard sqlite:shop.db 7 --yes  never process it

URL says where the store is:
  sqlite:PATH  a SQLite file: `sqlite:shop.db` in this folder, `sqlite:/var/lib/shop.db`

Exit codes:
  0  all that was asked is done
  1  there is no such dead letter, or not all of them could be treated
  2  the command line makes no sense, or `--yes` is missing
  3  the store cannot be opened or used
  4  the answer cannot be written";

/// What stands below the help of `inspect`.
const INSPECT_HELP: &str = "\
Columns:
  ready      messages that can be received now
  delayed    messages that wait for their time: delayed ones and retries
  in flight  messages that a worker holds
  oldest     how long ago the oldest of these was queued
  dead       messages that are parked for a person: see `semel dead-letters`
  backlog    effects of committed attempts that wait for their dispatch
  inbox      identities of processed messages that are remembered
  entities   entities with state

Examples:
  semel inspect sqlite:shop.db
  semel inspect sqlite:shop.db --watch=10
  semel inspect sqlite:shop.db --json | jq '.totals.dead_letters'

With --json: { store, at, endpoints: [{ endpoint, protocol, registered_at,
subscriptions: [], ready, delayed, in_flight, oldest, oldest_age_ms, dead_letters,
finisher_backlog, inbox, entities }], totals: { the same numbers, oldest,
oldest_age_ms } }. `protocol` and `registered_at` are null where no worker has
registered the endpoint, `oldest…` where no message waits. With --watch, one
document a line.";

/// What stands below the help of `dead-letters list`.
const LIST_HELP: &str = "\
Examples:
  semel dead-letters list sqlite:shop.db
  semel dead-letters list sqlite:shop.db --endpoint payments --limit 10
  semel dead-letters list sqlite:shop.db --json | jq '.dead_letters[].number'

With --json: { dead_letters: [{ number, endpoint, protocol, source, id, type,
subject, reason, dead_since, deliveries, last_failure: { at, worker, reason },
unreadable }], next_after }. Where the message cannot be read, `unreadable` says why
and the attributes are null. `next_after` is null, or the number to give to --after
for the next page.";

/// What stands below the help of `dead-letters show`.
const SHOW_HELP: &str = "\
Examples:
  semel dead-letters show sqlite:shop.db 7
  semel dead-letters show sqlite:shop.db 7 --raw > data.bin

With --json: as an entry of `list`, and { time, content_type, schema, extensions: {},
failures: [{ at, worker, reason }], data_bytes, data_format, data }. `data_format`
is `json` (data is that value), `text` or `base64` (data is a string) or `none`.";

/// What stands below the help of `dead-letters replay`.
const REPLAY_HELP: &str = "\
A replayed message starts anew, with all its tries. What was already processed is
recognised and not processed again, as far as the endpoint's protocol remembers.
Letters that die again meanwhile are left alone.

Examples:
  semel dead-letters replay sqlite:shop.db 7 9
  semel dead-letters replay sqlite:shop.db --all --endpoint payments --dry-run

With --json: { dry_run, results: [{ number, endpoint, type, result, error, help }],
replayed, not_found, gone, refused }. `result` is `replayed`, `would_replay`,
`not_found`, `gone` (someone else replayed or discarded it meanwhile) or `refused`.";

/// What stands below the help of `dead-letters discard`.
const DISCARD_HELP: &str = "\
The message is removed and, as far as the endpoint's protocol remembers, recorded as
processed, so that no copy of it is processed later. This cannot be undone. Without
--yes it only says what it would do, and ends with exit code 2.

Examples:
  semel dead-letters discard sqlite:shop.db 7
  semel dead-letters discard sqlite:shop.db 7 --yes
  semel dead-letters discard sqlite:shop.db --all --endpoint payments --yes

With --json: { dry_run, results: [{ number, endpoint, type, result, protocol,
recorded, error, help }], discarded, not_found, gone, refused }. `result` is
`discarded`, `would_discard`, `not_found`, `gone` (someone else replayed or discarded
it meanwhile) or `refused`. `protocol` is the one whose discard step was taken;
`recorded` says whether the message is now recorded as processed (null: not known).";

/// See and repair what is queued, in flight and dead.
#[derive(Debug, Parser)]
#[command(name = "semel", version, after_help = EXAMPLES, arg_required_else_help = true)]
pub(crate) struct Args {
    /// Print JSON; errors too, as `{ error, help }` on the standard error stream
    #[arg(long, global = true, display_order = 100)]
    json: bool,
    /// What to do.
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

impl Args {
    /// For whom the output is.
    pub(crate) fn format(&self) -> Format {
        if self.json { Format::Json } else { Format::Human }
    }
}

/// What the program can do.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Show each endpoint: what waits, what is in work, what is dead
    #[command(after_help = INSPECT_HELP)]
    Inspect(InspectArgs),
    /// See, replay and discard messages that are parked for a person
    #[command(subcommand)]
    DeadLetters(DeadLettersVerb),
}

/// What `inspect` is asked.
#[derive(Debug, ClapArgs)]
pub(crate) struct InspectArgs {
    /// Where the store is, for example `sqlite:shop.db`
    pub(crate) url: String,
    /// Show it again every so many seconds (2 if none are given), until Ctrl-C
    #[arg(
        long,
        value_name = "SECONDS",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "2",
        value_parser = seconds,
    )]
    pub(crate) watch: Option<Duration>,
}

/// What can be done with dead letters.
#[derive(Debug, Subcommand)]
pub(crate) enum DeadLettersVerb {
    /// List them by number
    #[command(after_help = LIST_HELP)]
    List(ListArgs),
    /// Show everything about one of them, its data included
    #[command(after_help = SHOW_HELP)]
    Show(ShowArgs),
    /// Give them back to their endpoints
    #[command(after_help = REPLAY_HELP, override_usage = "\
        semel dead-letters replay [OPTIONS] <URL> <NUMBER>...\n       \
        semel dead-letters replay [OPTIONS] <URL> --all [--endpoint <NAME>]")]
    Replay(ReplayArgs),
    /// Remove them for good
    #[command(after_help = DISCARD_HELP, override_usage = "\
        semel dead-letters discard [OPTIONS] <URL> <NUMBER>...\n       \
        semel dead-letters discard [OPTIONS] <URL> --all [--endpoint <NAME>]")]
    Discard(DiscardArgs),
}

/// What `dead-letters list` is asked.
#[derive(Debug, ClapArgs)]
pub(crate) struct ListArgs {
    /// Where the store is, for example `sqlite:shop.db`
    pub(crate) url: String,
    /// Only those of this endpoint
    #[arg(long, value_name = "NAME")]
    pub(crate) endpoint: Option<String>,
    /// How many at most
    #[arg(long, value_name = "COUNT", default_value_t = 50, value_parser = limit)]
    pub(crate) limit: usize,
    /// Only those with a larger number
    #[arg(long, value_name = "NUMBER", default_value_t = 0, hide_default_value = true)]
    pub(crate) after: i64,
}

/// What `dead-letters show` is asked.
#[derive(Debug, ClapArgs)]
pub(crate) struct ShowArgs {
    /// Where the store is, for example `sqlite:shop.db`
    pub(crate) url: String,
    /// Its number, as `list` shows it
    pub(crate) number: i64,
    /// Write only the data, byte for byte as it came
    #[arg(long, conflicts_with = "json")]
    pub(crate) raw: bool,
}

/// What `dead-letters replay` is asked.
#[derive(Debug, ClapArgs)]
pub(crate) struct ReplayArgs {
    /// Where the store is, for example `sqlite:shop.db`
    pub(crate) url: String,
    #[command(flatten)]
    pub(crate) letters: Letters,
    /// Say what would be done, and do nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// What `dead-letters discard` is asked.
#[derive(Debug, ClapArgs)]
pub(crate) struct DiscardArgs {
    /// Where the store is, for example `sqlite:shop.db`
    pub(crate) url: String,
    #[command(flatten)]
    pub(crate) letters: Letters,
    /// Really do it
    #[arg(long)]
    pub(crate) yes: bool,
}

/// Which dead letters.
#[derive(Debug, ClapArgs)]
#[command(group = ArgGroup::new("which").required(true).args(["numbers", "all"]))]
pub(crate) struct Letters {
    /// Their numbers, as `list` shows them
    #[arg(value_name = "NUMBER")]
    numbers: Vec<i64>,
    /// All that are there when the program starts
    #[arg(long)]
    all: bool,
    /// With --all: only those of this endpoint
    #[arg(long, value_name = "NAME", requires = "all", conflicts_with = "numbers")]
    endpoint: Option<String>,
}

/// Which dead letters to settle.
#[derive(Debug)]
pub(crate) enum Choice {
    /// These.
    Numbers(Vec<i64>),
    /// All, or all of one endpoint.
    All {
        /// That endpoint.
        endpoint: Option<String>,
    },
}

impl From<Letters> for Choice {
    fn from(letters: Letters) -> Self {
        if letters.all {
            Self::All { endpoint: letters.endpoint }
        } else {
            Self::Numbers(letters.numbers)
        }
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err("write a whole number of seconds, from 1".to_owned()),
        Ok(seconds) => Ok(Duration::from_secs(seconds)),
    }
}

fn limit(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err("write a whole number, from 1".to_owned()),
        Ok(limit) => Ok(limit),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        super::Args::command().debug_assert();
    }
}
