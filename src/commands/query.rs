//! Impure. `ntpfront query`: one query to one server, or as many as the NTP Pool's monitor makes.

use std::fmt::Display;
use std::process::ExitCode;

use serde::Serialize;
use tokio::runtime;

use super::output::{FAILURE, FAULT, fail, print};
use crate::cli::Query;
use crate::config::address;
use crate::host::limits;
use crate::observe::pool::{PoolCheck, SAMPLES};
use crate::upstream::query::{query, samples};
use crate::upstream::{Role, Upstream};

pub(super) fn run(asked: &Query) -> ExitCode {
    let server = match server(&asked.server) {
        Ok(server) => server,
        Err(why) => return fail("query", &why, FAULT),
    };
    let runtime = match runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let why = format!("cannot start: {}", limits::explain(&error));
            return fail("query", &why, FAILURE);
        }
    };
    if asked.pool {
        let check = PoolCheck::of(runtime.block_on(samples(&server, SAMPLES)));
        show(asked, &check, check.handed_out)
    } else {
        let findings = runtime.block_on(query(&server));
        show(asked, &findings, findings.usable)
    }
}

/// The server of this name, or the reason why there is none.
fn server(name: &str) -> Result<Upstream, String> {
    let (host, port) = address::host_and_port(name).map_err(|refusal| {
        let hint = refusal.hint.map(|hint| format!(" ({hint})")).unwrap_or_default();
        format!("{name:?} is not {}{hint}", refusal.expected)
    })?;
    Ok(Upstream {
        host,
        port,
        iburst: false,
        minpoll: 1,
        maxpoll: 1,
        role: Role::default(),
        key: None,
    })
}

fn show(asked: &Query, findings: &(impl Serialize + Display), is_good: bool) -> ExitCode {
    let text = if asked.json {
        serde_json::to_string(findings)
            .map(|json| json + "\n")
            .unwrap_or_default()
    } else {
        findings.to_string()
    };
    print(&text);
    if is_good {
        ExitCode::SUCCESS
    } else {
        FAILURE.into()
    }
}
