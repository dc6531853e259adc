//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgGroup, Args as ClapArgs, Parser, Subcommand};

use crate::output::Format;
use crate::place::Place;

/// What stands below the help of the program.
const EXAMPLES: &str = "\
Examples:
  semel inspect sqlite:shop.db                       what waits, what is stuck
  semel inspect sqlite:shop.db --watch               the same, again and again
  semel inspect sqlite:shop.db --broker nats://HOST  the same, with the queues elsewhere
  semel dead-letters list sqlite:shop.db             what waits for a person
  semel dead-letters show sqlite:shop.db 7           everything about one of them
  semel dead-letters replay sqlite:shop.db 7         give it back to its endpoint
  semel dead-letters discard sqlite:shop.db 7 --yes  never process it
  semel check                                        whether the protocols keep their promises
  semel compare                                      the protocols beside each other

URL says where the store is:
  sqlite:PATH      a SQLite file: `sqlite:shop.db` in this folder, `sqlite:/var/lib/shop.db`
  postgres://…     a PostgreSQL database: `postgres://USER:PASSWORD@HOST/DATABASE?schema=semel`
--broker says where the queues are, if they are not in the store:
  nats://…         NATS JetStream: `nats://HOST:4222?prefix=semel`, or `tls://…`
  amqp://…         RabbitMQ: `amqp://USER:PASSWORD@HOST:5672/%2f?prefix=semel`, or `amqps://…`

Exit codes:
  0  all that was asked is done; `check`: every world is as expected;
     `compare`: no protocol that ships breaks a promise
  1  there is no such dead letter, or not all of them could be treated;
     `check`: a world is not as expected, or there is no run to draw;
     `compare`: a protocol that ships breaks a promise, or a page is out of date
  2  the command line makes no sense, `--yes` is missing, or no world or protocol has
     that name or replay line
  3  the store or the broker cannot be opened or used
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
  tokens     tokens of messages in flight
  entities   entities with state

Examples:
  semel inspect sqlite:shop.db
  semel inspect sqlite:shop.db --watch=10
  semel inspect sqlite:shop.db --json | jq '.totals.dead_letters'
  semel inspect sqlite:shop.db --broker 'amqp://HOST/%2f?prefix=shop'

With --json: { store, broker, at, endpoints: [{ endpoint, protocol, registered_at,
subscriptions: [], ready, delayed, in_flight, oldest, oldest_age_ms, dead_letters,
finisher_backlog, inbox, tokens, entities }], totals: { the same numbers, oldest,
oldest_age_ms } }. `broker` is null without --broker, `protocol` and `registered_at`
where no worker has registered the endpoint, `oldest…` where no message waits or the
broker does not tell. With --watch, one document a line.";

/// What stands below the help of `dead-letters list`.
const LIST_HELP: &str = "\
Examples:
  semel dead-letters list sqlite:shop.db
  semel dead-letters list sqlite:shop.db --endpoint payments --limit 10
  semel dead-letters list sqlite:shop.db --json | jq '.dead_letters[].number'

With --json: { dead_letters: [{ number, endpoint, protocol, source, id, type,
subject, entity, reason, dead_since, deliveries, last_failure: { at, worker, reason },
unreadable }], next_after }. Where the message cannot be read, `unreadable` says why
and the attributes are null. `entity` is null where no handler could tell which
entity the message is for. `next_after` is null, or the number to give to --after
for the next page.";

/// What stands below the help of `dead-letters show`.
const SHOW_HELP: &str = "\
Examples:
  semel dead-letters show sqlite:shop.db 7
  semel dead-letters show sqlite:shop.db 7 --raw > data.bin

With --json: as an entry of `list`, and { processed, time, content_type, schema,
extensions: {}, failures: [{ at, worker, reason }], data_bytes, data_format, data }.
`processed` says whether it or a copy of it was processed, as far as the endpoint's
protocol remembers (null: cannot be told). `data_format` is `json` (data is that
value), `text` or `base64` (data is a string) or `none`.";

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
--yes it only says what it would do, and ends with exit code 2. A letter whose
endpoint's protocol this program does not know is refused, and left as it is.

Examples:
  semel dead-letters discard sqlite:shop.db 7
  semel dead-letters discard sqlite:shop.db 7 --yes
  semel dead-letters discard sqlite:shop.db --all --endpoint payments --yes

With --json: { dry_run, results: [{ number, endpoint, type, result, protocol,
recorded, error, help }], discarded, not_found, gone, refused }. `result` is
`discarded`, `would_discard`, `not_found`, `gone` (someone else replayed or discarded
it meanwhile) or `refused`. `protocol` is the one whose discard step was taken;
`recorded` says whether the message is now recorded as processed (null: not known).";

/// What stands below the help of `check`.
const CHECK_HELP: &str = "\
A world is a few messages, the real handlers and protocol, some workers, and faults:
crashes, lost replies, late writes, redeliveries, duplicates and more. Every order of
events is tried, with every fault at every place, and judged by what the protocol
promises. Some worlds show where a promise ends: there a violation is expected.

Findings:
  holds        everything was covered, and all of it holds
  as expected  violated, and it is known that and why
  sampled      random runs, and none of them violated anything
  too small    a condition never came true in a world made smaller: nothing is proved
  VIOLATED     a promise is broken; the run that shows it is printed
  MISSING      no violation, though one was expected, or by the run that was replayed
  CUT          not everything was covered; the report says why
  UNUSABLE     the world cannot be checked; the report says why

Examples:
  semel check
  semel check --list
  semel check transactional shop-order      what begins like this
  semel check transactional-window          alone, so with its run
  semel check shop --faults 2 --workers 1
  semel check shop-cancel --random 7 --runs 50000 --faults 4
  semel check transactional-window --svg run.svg
  semel check --replay 1-0123abcd-0.0.3
  semel check --play shop-cancel            you are the scheduler

Your own handlers are checked from a test: see the crate `semel-check`.

With --json: { worlds: [{ name, about, workers, faults, verdict, finding, breach, detail,
expected, as_expected, coverage: { strategy, seed, states, moves, runs, code_runs, depth,
faults, ends, sometimes: [{ name, states }], never_processed: [{ message, failure }],
went_outside: [], cut: [] }, seconds,
replay, trace: { lanes: [{ name, kind }], steps: [{ from, to, arrow, label, what, outcome,
fault, changes: [], notes: [] }] } }] }. `verdict` is the finding as above, with `_` for
a space and in small letters; `as_expected` is false for those that are in capitals
there. `finding` is `holds`, `not_exhausted`, `violated` or `unusable`; `expected` is
`holds` or the property that is violated. `workers` and `faults` are what was asked for,
`coverage.faults` the most faults of a run. `from` and `to` are positions in `lanes`. What is not
there is null. With --list: { worlds: [{ name, about, workers, faults, manner,
expected }] }.";

/// What stands below the help of `compare`.
const COMPARE_HELP: &str = "\
Each row is a protocol that ships, or a model of what teams use today. Each is run
through small worlds, under one class of faults after the other, and judged by all
seven properties. Then the calls that it makes are counted. Nothing is written down
by hand.

With --json: { faults, states_max, classes: [{ name, letter, says, promised }], rows:
[{ name, about, kind, place, promises: [], assumes: { class, what }, broken:
[{ property, class }], cells: [{ property, class, verdict, states, steps, faults, breach, detail, cut: [], replay,
trace }], numbers: { outside, outside_again, inside, inside_again, of_outside,
of_inside, death_blocks } }] }. `kind` is `ships` or `model`; `verdict` is `yes`, `no`,
`not_exhausted`, `stopped` (the code went wrong in another way) or `unusable`. The
first four numbers are what a message costs, from outside or from another endpoint,
and when it comes again: { reads, items_read, lists, writes, items_written,
bytes_written, broker, rcu, wcu, ru }. The next two are what is remembered: { growth,
messages, after, after_twice, past, past_twice, peak_bytes }. `trace` is as that of
`check`.

Examples:
  semel compare
  semel compare --protocol inbox-table          alone, so with what breaks it
  semel compare --faults 1 --markdown
  semel compare --page compare.html
  semel compare --into docs/choosing.md         write the tables into a page
  semel compare --into docs/choosing.md --dry-run  exit code 1 if they are others";

/// See and repair what is queued, in flight and dead; check what is promised.
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
    /// Check in small worlds, in every order and with every fault, that promises are kept
    #[command(after_help = CHECK_HELP)]
    Check(CheckArgs),
    /// Compare protocols: what holds under which faults, what is kept, what it costs
    #[command(after_help = COMPARE_HELP)]
    Compare(CompareArgs),
}

/// What `compare` is asked.
#[derive(Debug, ClapArgs)]
pub(crate) struct CompareArgs {
    /// Only this protocol, by its name or what its name begins with; can be given several times
    #[arg(long = "protocol", value_name = "NAME")]
    pub(crate) protocols: Vec<String>,
    /// With up to so many faults a run in the smallest world; the larger ones have one less
    #[arg(long, value_name = "COUNT", default_value_t = 2, value_parser = faults)]
    pub(crate) faults: u32,
    /// Print the tables as Markdown, with the shortest runs below
    #[arg(long, conflicts_with_all = ["json", "into", "replay"])]
    pub(crate) markdown: bool,
    /// Write a page with the tables and the shortest runs as pictures
    #[arg(long, value_name = "FILE", conflicts_with = "replay")]
    pub(crate) page: Option<PathBuf>,
    /// Write the tables between the marks of a Markdown page
    #[arg(long, value_name = "FILE", conflicts_with_all = ["json", "replay"])]
    pub(crate) into: Option<PathBuf>,
    /// With --into: change nothing, and say whether the tables there are the same
    #[arg(long, requires = "into")]
    pub(crate) dry_run: bool,
    /// Make one run by its replay line, under the same --faults
    #[arg(long, value_name = "LINE", conflicts_with = "json")]
    pub(crate) replay: Option<String>,
}

/// What `check` is asked.
#[derive(Debug, ClapArgs)]
pub(crate) struct CheckArgs {
    /// Which worlds: their names, or what their names begin with; all if there are none
    #[arg(value_name = "NAME")]
    pub(crate) names: Vec<String>,
    /// List the worlds, and check none
    #[arg(long)]
    pub(crate) list: bool,
    /// With so many workers
    #[arg(long, value_name = "COUNT", value_parser = workers)]
    pub(crate) workers: Option<usize>,
    /// With up to so many faults a run
    #[arg(long, value_name = "COUNT", value_parser = faults)]
    pub(crate) faults: Option<u32>,
    /// At random, from this seed
    #[arg(long, value_name = "SEED", value_parser = seed)]
    pub(crate) random: Option<u64>,
    /// With --random: how many runs of each world
    #[arg(long, value_name = "COUNT", default_value_t = 10_000, requires = "random", value_parser = runs)]
    pub(crate) runs: u64,
    /// Make the one run that a report ends with
    #[arg(long, value_name = "LINE", conflicts_with_all = ["names", "list", "faults", "random"])]
    pub(crate) replay: Option<String>,
    /// Decide yourself what happens in this world
    #[arg(
        long,
        value_name = "NAME",
        conflicts_with_all = ["names", "list", "random", "replay", "mermaid", "svg", "json"],
    )]
    pub(crate) play: Option<String>,
    /// Write the first violating run as a Mermaid diagram; `-` is the standard output, alone
    #[arg(long, value_name = "FILE", conflicts_with = "list")]
    pub(crate) mermaid: Option<PathBuf>,
    /// Write the first violating run as a picture; `-` is the standard output, alone
    #[arg(long, value_name = "FILE", conflicts_with_all = ["list", "mermaid"])]
    pub(crate) svg: Option<PathBuf>,
}

/// What `inspect` is asked.
#[derive(Debug, ClapArgs)]
pub(crate) struct InspectArgs {
    #[command(flatten)]
    pub(crate) place: Place,
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
    #[command(flatten)]
    pub(crate) place: Place,
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
    #[command(flatten)]
    pub(crate) place: Place,
    /// Its number, as `list` shows it
    pub(crate) number: i64,
    /// Write only the data, byte for byte as it came
    #[arg(long, conflicts_with = "json")]
    pub(crate) raw: bool,
}

/// What `dead-letters replay` is asked.
#[derive(Debug, ClapArgs)]
pub(crate) struct ReplayArgs {
    #[command(flatten)]
    pub(crate) place: Place,
    #[command(flatten)]
    pub(crate) letters: Letters,
    /// Say what would be done, and do nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// What `dead-letters discard` is asked.
#[derive(Debug, ClapArgs)]
pub(crate) struct DiscardArgs {
    #[command(flatten)]
    pub(crate) place: Place,
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

/// More workers than this cannot be waited for: states multiply with each.
const WORKERS_MAX: usize = 8;
/// The same for faults; random runs stand more of them than exploring does.
const FAULTS_MAX: u32 = 16;

fn workers(text: &str) -> Result<usize, String> {
    let is_fine = |workers: &usize| (1..=WORKERS_MAX).contains(workers);
    let number = text.parse().ok().filter(is_fine);
    number.ok_or_else(|| format!("write a whole number from 1 to {WORKERS_MAX}"))
}

fn faults(text: &str) -> Result<u32, String> {
    let number = text.parse().ok().filter(|faults| *faults <= FAULTS_MAX);
    number.ok_or_else(|| format!("write a whole number from 0 to {FAULTS_MAX}"))
}

fn seed(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("write a whole number from 0 to {}", u64::MAX))
}

fn runs(text: &str) -> Result<u64, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err("write a whole number, from 1".to_owned()),
        Ok(runs) => Ok(runs),
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
