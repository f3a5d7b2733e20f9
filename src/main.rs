//! `weir`: the flow history of a cluster.
//!
//! This file parses, builds and waits; each command has a module of its own.

#![forbid(unsafe_code)]

mod auth;
mod cli;
mod client;
mod config;
mod demo;
mod inspect;
mod listen;
mod naming;
mod openapi;
mod own_metrics;
mod serve;
mod sources;
mod table;
mod up;

use std::io::IsTerminal;
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use tikv_jemallocator::Jemalloc;
use tracing_subscriber::EnvFilter;

use crate::cli::{Cli, Command};

/// Rows are allocated by the threads that receive them and freed by those that write them to files,
/// in blocks of every size: the system's allocator spends a fifth of the server's time on that.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    // Our own crates tell what they do; libraries only what is wrong.
    let filter =
        EnvFilter::try_from_env("WEIR_LOG").unwrap_or_else(|_| EnvFilter::new("warn,weir=info"));
    let stderr = std::io::stderr;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(stderr().is_terminal())
        .with_writer(stderr)
        .init();
    match run(cli.command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("weir: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> anyhow::Result<ExitCode> {
    // Two cryptography providers are compiled in by dependencies; TLS wants to be told which.
    let _ = rustls::crypto::ring::default_provider().install_default();
    match command {
        Command::Inspect(options) => return Ok(runtime()?.block_on(inspect::run(&options))),
        Command::Query(query) => client::query(&query)?,
        Command::Sql(sql) => client::sql(&sql)?,
        Command::Up(options) => runtime()?.block_on(up::up(&options))?,
        Command::Serve(options) => runtime()?.block_on(serve::serve(&options))?,
        Command::Demo(options) => runtime()?.block_on(demo::demo(&options))?,
        Command::DemoPart(part) => runtime()?.block_on(demo::part(&part))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("threads for the server cannot be started")
}
