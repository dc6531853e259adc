//! `semel check`: the worlds that come with the program, explored.

mod catalogue;
mod diagram;
mod lines;
mod shop;
mod verdict;
pub(crate) mod view;

use std::io::BufReader;
use std::time::Instant;

use semel_check::worlds::{BuiltIn, Manner};
use semel_check::{Report, World};

use crate::args::CheckArgs;
use crate::failure::{Exit, Failure};
use crate::output::{Format, Output};
use diagram::Diagram;
use verdict::{Size, Verdict};

/// A world, and what came of exploring it.
#[derive(Debug)]
struct Checked {
    built_in: BuiltIn,
    report: Report,
    verdict: Verdict,
    seconds: f64,
    size: Size,
    /// With how many workers, and up to how many faults.
    workers: usize,
    faults: u32,
}

/// Lists the worlds, explores them, or makes one run of one of them.
pub(crate) fn run(args: &CheckArgs, output: &mut Output) -> Result<Exit, Failure> {
    let diagram = Diagram::asked(args, output.format())?;
    if let Some(line) = &args.replay {
        let checked = replay(line, args)?;
        return end(&[checked], diagram.as_ref(), output);
    }
    if let Some(name) = &args.play {
        let checked = play(name, args)?;
        if checked.verdict == Verdict::Sampled {
            output.line(&lines::played(&checked))?;
            return Ok(Exit::Fine);
        }
        return end(&[checked], None, output);
    }
    let chosen = catalogue::choose(&args.names)?;
    if args.list {
        list(&chosen, output)?;
        return Ok(Exit::Fine);
    }
    let has_lines =
        output.format() == Format::Human && !diagram.as_ref().is_some_and(Diagram::is_alone);
    let all = if has_lines {
        check_aloud(&chosen, args, output)?
    } else {
        chosen.iter().map(|built_in| check(built_in, args)).collect()
    };
    end(&all, diagram.as_ref(), output)
}

/// Explores the worlds, and tells about each as soon as it is done, until nobody reads.
fn check_aloud(
    chosen: &[BuiltIn],
    args: &CheckArgs,
    output: &mut Output,
) -> Result<Vec<Checked>, Failure> {
    output.line(&lines::heading(chosen))?;
    let mut all = Vec::new();
    for built_in in chosen {
        let checked = check(built_in, args);
        output.line(&lines::of(&checked, chosen))?;
        all.push(checked);
        if output.reader_left() {
            break;
        }
    }
    Ok(all)
}

fn list(worlds: &[BuiltIn], output: &mut Output) -> Result<(), Failure> {
    match output.format() {
        Format::Json => output.json(&view::List::of(worlds)),
        Format::Human => output.line(&lines::list(worlds)),
    }
}

/// Explores a world as asked, or else as usual.
fn check(built_in: &BuiltIn, args: &CheckArgs) -> Checked {
    let world = resized(built_in, args);
    let manner = match args.random {
        Some(seed) => Manner::Random { seed, runs: args.runs },
        None => built_in.manner(),
    };
    let is_usual = args.workers.is_none() && args.faults.is_none() && args.random.is_none();
    let size = if is_usual { Size::Usual } else { Size::Asked };
    judged(built_in, args, size, move || match manner {
        Manner::Exhaustive => world.check(),
        Manner::Random { seed, runs } => world.check_random(seed, runs),
    })
}

fn resized(built_in: &BuiltIn, args: &CheckArgs) -> World {
    let (workers, faults) = counts(built_in, args);
    built_in.world().workers(workers).faults(faults)
}

/// How many workers a world has, and up to how many faults: as asked, or else as usual.
fn counts(built_in: &BuiltIn, args: &CheckArgs) -> (usize, u32) {
    let workers = args.workers.unwrap_or(built_in.worker_count());
    (workers, args.faults.unwrap_or(built_in.faults_max()))
}

fn judged(
    built_in: &BuiltIn,
    args: &CheckArgs,
    size: Size,
    explore: impl FnOnce() -> Report,
) -> Checked {
    let start = Instant::now();
    let report = explore();
    let (workers, faults) = counts(built_in, args);
    Checked {
        size,
        workers,
        faults,
        verdict: Verdict::of(built_in.expected(), &report, size),
        seconds: start.elapsed().as_secs_f64(),
        built_in: built_in.clone(),
        report,
    }
}

/// Lets a person decide what happens in a world.
fn play(name: &str, args: &CheckArgs) -> Result<Checked, Failure> {
    let chosen = catalogue::choose(&[name.to_owned()])?;
    let [built_in] = &chosen[..] else {
        let names: Vec<&str> = chosen.iter().map(BuiltIn::name).collect();
        return Err(Failure::new(
            Exit::Usage,
            format!("several worlds begin with `{name}`, and only one can be played"),
            format!("Name one of them: {}.", names.join(", ")),
        ));
    };
    let world = resized(built_in, args);
    let input = BufReader::new(std::io::stdin());
    Ok(judged(built_in, args, Size::Played, || world.play(input, std::io::stdout())))
}

/// Makes the run of a replay line, in the world that it is of.
fn replay(line: &str, args: &CheckArgs) -> Result<Checked, Failure> {
    for built_in in catalogue::all() {
        let world = resized(&built_in, args);
        let is_its = world.is_replayed_by(line).map_err(|reason| {
            let help = "`semel check` prints the line below the run: copy it whole.";
            Failure::new(Exit::Usage, reason, help)
        })?;
        if is_its {
            return Ok(judged(&built_in, args, Size::Replayed, || world.replay(line)));
        }
    }
    Err(Failure::new(
        Exit::Usage,
        "the replay line is of no world here",
        "A line from a run with `--workers` needs the same `--workers` again. One from another \
         version of a world cannot be replayed: check that world again. One from a test of your own \
         is replayed by that test: set SEMEL_CHECK_REPLAY to the line.",
    ))
}

/// Says what the lines did not, draws what is to be drawn, and decides how the run ends.
fn end(all: &[Checked], diagram: Option<&Diagram>, output: &mut Output) -> Result<Exit, Failure> {
    match (output.format(), diagram) {
        (Format::Json, _) => output.json(&view::Document::of(all))?,
        (Format::Human, Some(diagram)) if diagram.is_alone() => {}
        (Format::Human, _) => output.line(&lines::reports(all))?,
    }
    if let Some(diagram) = diagram {
        diagram.draw(all, output)?;
    }
    let is_fine = all.iter().all(|checked| checked.verdict.is_fine());
    Ok(if is_fine { Exit::Fine } else { Exit::NotAll })
}
