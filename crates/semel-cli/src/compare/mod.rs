//! `semel compare`: the protocols beside each other.

mod into;
mod lines;
mod markdown;
mod page;
mod progress;
mod view;
mod words;

use std::path::Path;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};

use semel_check::compare::{self, Compared, FaultClass, Judged, Row, Size};

use crate::args::CompareArgs;
use crate::failure::{Exit, Failure};
use crate::output::{Format, Output};
use progress::Progress;

/// More threads than this only take memory from each other.
const THREADS_MAX: usize = 8;

/// Compares, prints what was found, and says loudly if a promise is broken.
pub(crate) fn run(args: &CompareArgs, output: &mut Output) -> Result<Exit, Failure> {
    let rows = choose(&args.protocols)?;
    let size = Size { faults: args.faults, ..Size::default() };
    if let Some(line) = &args.replay {
        return replay(&rows, size, line, output);
    }
    let all = compare_all(&rows, size);
    let exit = match &args.into {
        Some(path) => into::write(path, &all, args, output)?,
        None => {
            print(&all, size, args, output)?;
            Exit::Fine
        }
    };
    if let Some(path) = &args.page {
        write(path, &page::of(&all, size))?;
    }
    let broken = words::broken(&all);
    if broken.is_empty() {
        return Ok(exit);
    }
    let help = "`semel compare --protocol NAME` lists the runs that show it.";
    Err(Failure::new(Exit::NotAll, broken, help))
}

fn print(
    all: &[Compared],
    size: Size,
    args: &CompareArgs,
    output: &mut Output,
) -> Result<(), Failure> {
    match output.format() {
        Format::Json => output.json(&view::Document::of(all, size)),
        Format::Human if args.markdown => output.line(&markdown::whole(all, size)),
        Format::Human => output.line(&lines::of(all, size)),
    }
}

/// The rows with these names, or whose names begin so; all if there are no names.
fn choose(names: &[String]) -> Result<Vec<Row>, Failure> {
    let mut rows = compare::rows();
    let known: Vec<&str> = rows.iter().map(Row::name).collect();
    let means = |name: &str, row: &str| match known.contains(&name) {
        true => row == name,
        false => !name.is_empty() && row.starts_with(name),
    };
    if let Some(name) = names.iter().find(|name| !known.iter().any(|row| means(name, row))) {
        return Err(Failure::new(
            Exit::Usage,
            format!("no protocol is called `{name}`, and no name begins with it"),
            format!("Name one of these: {}.", known.join(", ")),
        ));
    }
    let is_meant = |row: &str| names.is_empty() || names.iter().any(|name| means(name, row));
    let chosen: Vec<bool> = known.iter().map(|row| is_meant(row)).collect();
    let mut chosen = chosen.into_iter();
    rows.retain(|_| chosen.next().unwrap_or(false));
    Ok(rows)
}

/// Every row under every class of faults, on as many threads as there are processors.
fn compare_all(rows: &[Row], size: Size) -> Vec<Compared> {
    let jobs: Vec<(usize, FaultClass)> = (0..rows.len())
        .flat_map(|row| FaultClass::ALL.into_iter().map(move |class| (row, class)))
        .collect();
    let progress = Progress::new(jobs.len());
    let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(THREADS_MAX);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some((row, class)) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    progress.begin(rows[*row].name(), *class);
                    let judged = compare::judge(&rows[*row], *class, size);
                    done.lock().unwrap_or_else(PoisonError::into_inner).push((*row, judged));
                    progress.end();
                }
            });
        }
    });
    progress.clear();
    let mut done: Vec<(usize, Judged)> = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(row, judged)| (*row, judged.class));
    let compared = |(at, row): (usize, &Row)| Compared {
        row: row.clone(),
        judged: done.iter().filter(|(row, _)| *row == at).map(|(_, one)| one.clone()).collect(),
        numbers: compare::count(row),
    };
    rows.iter().enumerate().map(compared).collect()
}

fn replay(rows: &[Row], size: Size, line: &str, output: &mut Output) -> Result<Exit, Failure> {
    let report = compare::replay(rows, size, line).map_err(|reason| {
        let help = "`semel compare --json` has a line for each run: copy it whole.";
        Failure::new(Exit::Usage, reason, help)
    })?;
    let Some(report) = report else {
        return Err(Failure::new(
            Exit::Usage,
            "the replay line is of no world here",
            "A line needs the same `--faults` again. One from `semel check` is for that command.",
        ));
    };
    match report.counterexample() {
        Some(found) => output.line(&format!("{}\n\n{found:#}", report.world))?,
        None => output.line(&report.to_string())?,
    }
    Ok(Exit::Fine)
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    std::fs::write(path, text).map_err(|error| {
        Failure::new(
            Exit::Output,
            format!("the page cannot be written to `{}`: {error}", path.display()),
            "Name a file in a folder that is there and that you may write to.",
        )
    })
}
