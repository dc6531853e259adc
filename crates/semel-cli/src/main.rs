//! The semel program: see and repair what is queued, in flight and dead; check what is promised.

mod args;
mod check;
mod compare;
mod dead_letters;
mod failure;
mod inspect;
mod output;
mod place;

use std::process::ExitCode;

use args::{Args, Verb};
use clap::Parser as _;
use failure::{Exit, Failure};
use output::{Format, Output};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => return refuse(&error),
    };
    let format = args.format();
    let mut output = Output::new(format);
    let exit = match run(args.verb, &mut output).await {
        Ok(exit) => exit,
        Err(failure) => {
            let exit = failure.exit();
            output::complain(&failure.render(format));
            exit
        }
    };
    ExitCode::from(exit.code())
}

async fn run(verb: Verb, output: &mut Output) -> Result<Exit, Failure> {
    match verb {
        Verb::Inspect(args) => inspect::run(&args, output).await,
        Verb::DeadLetters(verb) => dead_letters::run(verb, output).await,
        Verb::Check(args) => check::run(&args, output),
        Verb::Compare(args) => compare::run(&args, output),
    }
}

/// Ends a run whose arguments make no sense, or only ask for help.
fn refuse(error: &clap::Error) -> ExitCode {
    if error.use_stderr() && std::env::args_os().any(|argument| argument == "--json") {
        let failure = Failure::usage(&error.render().to_string());
        output::complain(&failure.render(Format::Json));
    } else {
        // Help that nobody reads is no failure: `semel --help | head -1`.
        let _ = error.print();
    }
    ExitCode::from(if error.use_stderr() { Exit::Usage.code() } else { Exit::Fine.code() })
}
