//! The shop as a program: see `shop --help`.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    shop::run(std::env::args_os()).await
}
