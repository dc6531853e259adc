//! What is left of many messages: whether anything grows that should not.
//!
//! Each protocol runs in a process of its own, so that its memory is its own. Time is the test's:
//! after each portion of messages it moves on by a part of the windows, so that these pass within the
//! run. Figures are taken twice a portion: while what was sent is in flight, and when all is done.

mod course;
mod look;
mod plot;
mod report;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Result;
use course::{Course, PORTIONS};
use look::{MEASURES, Record};

/// The protocol that the pace of all others is compared with.
const REFERENCE: &str = "transactional";

/// What to run.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Messages that each protocol processes; each sends another one.
    #[arg(long, default_value_t = 200_000)]
    messages: usize,
    /// Entities that the messages are spread over.
    #[arg(long, default_value_t = 10_000)]
    entities: usize,
    /// Only this protocol, and others that are named; `transactional` always runs, to compare with.
    #[arg(long)]
    protocol: Vec<String>,
    /// Run one protocol in this process, and print its figures as JSON.
    #[arg(long, hide = true)]
    alone: Option<String>,
    /// Where the table and the plots go, and the files while it runs.
    #[arg(long, default_value = "target/bench/long-run")]
    folder: PathBuf,
}

impl Args {
    fn course(&self) -> Course {
        let Self { messages, entities, .. } = *self;
        Course { messages, entities, portions: PORTIONS, versions_max: 100 }
    }

    /// The protocols to run, in their usual order.
    fn protocols(&self) -> Result<Vec<&'static str>> {
        let all = semel::core::protocols::all();
        let known: Vec<&str> = all.iter().map(|protocol| protocol.name()).collect();
        if let Some(unknown) = self.protocol.iter().find(|name| !known.contains(&name.as_str())) {
            let known = known.join(", ");
            return Err(format!("there is no protocol `{unknown}`; there are {known}").into());
        }
        let is_wanted = |name: &&str| {
            self.protocol.is_empty()
                || *name == REFERENCE
                || self.protocol.iter().any(|wanted| wanted == name)
        };
        Ok(known.into_iter().filter(is_wanted).collect())
    }
}

/// Runs the protocols, prints the table, and writes figures and plots.
pub(crate) async fn run(args: &Args) -> Result<()> {
    std::fs::create_dir_all(&args.folder)?;
    if let Some(name) = &args.alone {
        let record = args.course().run(&args.folder, name).await?;
        println!("{}", serde_json::to_string(&record)?);
        return Ok(());
    }
    let mut records = Vec::new();
    for name in args.protocols()? {
        eprintln!("{name}: {} messages", args.messages);
        records.push(alone(args, name)?);
    }
    look::compare_pace(&mut records, REFERENCE);
    report::print(&records);
    write(&args.folder, &records)
}

/// Runs one protocol in a process of its own.
fn alone(args: &Args, name: &str) -> Result<Record> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["long-run", "--alone", name, "--folder"]).arg(&args.folder);
    command.args(["--messages", &args.messages.to_string()]);
    let output = command.args(["--entities", &args.entities.to_string()]).output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn write(folder: &Path, records: &[Record]) -> Result<()> {
    std::fs::write(folder.join("long-run.csv"), report::csv(records))?;
    for measure in &MEASURES {
        let series = records.iter().map(|record| (record.protocol.as_str(), record.line(measure)));
        let plot = plot::draw(&measure.title(), &series.collect::<Vec<_>>());
        std::fs::write(folder.join(format!("{}.svg", measure.file_name())), plot)?;
    }
    println!("figures and plots: {}", folder.display());
    Ok(())
}
