//! The `weir-agent` command.

use clap::Parser;
use weir_agent::cli::{Cli, log_to_stderr};

fn main() -> anyhow::Result<()> {
    weir_agent::run::share_one_heap();
    let cli = Cli::parse();
    log_to_stderr();
    cli.execute()
}
