//! argv in, exit code out.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    sitewright::cli::main(std::env::args_os()).await
}
