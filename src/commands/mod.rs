//! The subcommands, one per file: what each requests, its output and its exit status.
//!
//! `output` prints and has the exit statuses, `running` sends requests to the running server, `paint` gives lines their
//! colors.

mod act;
mod check;
mod client;
mod clients;
mod config;
mod health;
mod health_watch;
mod history;
mod hook;
mod import;
mod leap;
mod leap_list;
mod nts_secret;
mod output;
mod paint;
mod query;
mod rehearse;
mod report;
mod running;
mod serve;
mod status;
mod top;
mod upstreams;
mod wait;

use std::process::ExitCode;

use crate::cli::{self, Command, Invocation};

/// Runs the subcommand, or the server, to its end.
pub fn run(invocation: &Invocation) -> ExitCode {
    let flags = &invocation.flags;
    match &invocation.command {
        Command::Serve => serve::run(flags),
        Command::Check {
            against_running: false,
        } => check::run(flags),
        Command::Check {
            against_running: true,
        } => check::run_against_running(flags),
        Command::Config => config::run(flags),
        Command::NtsSecret => nts_secret::run(),
        Command::Version => version(),
        Command::Query(query) => query::run(query),
        Command::Import(import) => import::run(import),
        Command::Status { server, workers } => status::run(server, flags, *workers),
        Command::Upstreams(server) => upstreams::run(server, flags),
        Command::Top(server) => top::run(server, flags),
        Command::Clients { server, query } => clients::run(server, flags, query),
        Command::Client { server, query } => client::run(server, flags, query),
        Command::Act { act, server } => act::run(act, server, flags),
        Command::Wait {
            server,
            timeout,
            max_distance,
        } => wait::run(server, flags, *timeout, *max_distance),
        Command::History(query) => history::run(query, flags),
        Command::Report(query) => report::run(query, flags),
        Command::Leap(query) => leap::run(query, flags),
        Command::Rehearse(query) => rehearse::run(query, flags),
        Command::Health { server, query } => health::run(server, flags, query),
    }
}

/// The same line as `--version`.
fn version() -> ExitCode {
    output::print(&cli::definition().render_version());
    ExitCode::SUCCESS
}
