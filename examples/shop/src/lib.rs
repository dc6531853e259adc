//! A shop on Semel: orders, payments, shipping and marketing, and a day of chaos.
//!
//! It is a program; the parts that are public serve other programs that put the same shop on other
//! stores and brokers, and audit it.
//!
//! `shop serve` opens the shop for people; `shop day` runs a day by itself, with faults, and audits
//! the books at the end.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "printing is what this program does")]

pub mod audit;
pub mod books;
pub mod chaos;
mod day;
pub mod feeder;
pub mod history;
pub mod input;
mod place;
mod processes;
pub mod protocol;
mod report;
pub mod seeded;
mod server;
mod shop;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// A shop whose services talk by messages only.
#[derive(Parser, Debug)]
#[command(version, about)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Opens the shop: the web pages, and the services behind them.
    Serve(shop::ServeArgs),
    /// Runs the services alone.
    Worker(shop::WorkerArgs),
    /// Runs a day with faults on two worker processes, and audits the books.
    Day(day::DayArgs),
    /// Lists the protocols that the services can run under, and what each promises.
    Protocols,
}

/// Ends the program: what went wrong, and its exit code.
#[derive(Debug)]
pub struct Stop {
    code: u8,
    reason: String,
}

impl std::fmt::Display for Stop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.reason)
    }
}

impl Stop {
    /// The input or the options cannot be used.
    pub fn usage(reason: impl ToString) -> Self {
        Self { code: 2, reason: reason.to_string() }
    }

    /// The program could not do its work.
    pub fn trouble(reason: impl ToString) -> Self {
        Self { code: 3, reason: reason.to_string() }
    }
}

/// Runs the program with these arguments, the first of which is its name.
pub async fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let filter = tracing_subscriber::EnvFilter::try_from_env("SHOP_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("error"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let result = match Args::parse_from(args).command {
        Command::Serve(args) => shop::serve(args).await.map(|()| ExitCode::SUCCESS),
        Command::Worker(args) => shop::work(args).await.map(|()| ExitCode::SUCCESS),
        Command::Day(args) => day::run(args).await,
        Command::Protocols => {
            print!("{}", protocol::list());
            Ok(ExitCode::SUCCESS)
        }
    };
    result.unwrap_or_else(|stop| {
        eprintln!("shop: {}", stop.reason);
        ExitCode::from(stop.code)
    })
}
