//! Impure. `ntpfront query`: one query to one server, or several (NTP Pool, interleaved mode).

use std::fmt::Display;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::process::ExitCode;

use serde::Serialize;
use tokio::runtime;

use super::output::{FAILURE, FAULT, fail, print};
use crate::cli::Query;
use crate::config::address;
use crate::host::limits;
use crate::nts::ke::PORT as KE_PORT;
use crate::observe::pool::{PoolCheck, SAMPLES};
use crate::upstream::interleaved::InterleavedQuestions;
use crate::upstream::nts::trusted::{OF_SYSTEM, TrustedCertificates};
use crate::upstream::query::{query, query_interleaved, query_nts, samples};
use crate::upstream::{KeServer, Role, Upstream};
use crate::wire::NTP_PORT;

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
    if asked.nts {
        let ke_server = match ke_server(asked) {
            Ok(ke_server) => ke_server,
            Err(why) => return fail("query", &why, FAULT),
        };
        let server = Upstream {
            port: NTP_PORT,
            ..server
        };
        let findings = runtime.block_on(query_nts(&server, &ke_server));
        return show(asked, &findings, findings.usable);
    }
    if asked.interleaved {
        let findings = runtime.block_on(query_interleaved(&server));
        return show(asked, &findings, findings.findings.usable && findings.interleaved);
    }
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
        interleaved: InterleavedQuestions::Auto,
        pooling: crate::upstream::Pooling::One,
        key: None,
        nts: None,
    })
}

/// The server of key establishment, or the reason why its certificate can't be checked.
fn ke_server(asked: &Query) -> Result<KeServer, String> {
    let server = server(&asked.server)?;
    // The port of NTP is the default of a name without one.
    let says_port = asked.server.ends_with(&format!(":{NTP_PORT}"));
    let is_default = server.port == NTP_PORT && !says_port;
    let read = |path: &Path| {
        let file = File::open(path).map_err(|error| format!("cannot open: {error}"));
        file.and_then(|file| TrustedCertificates::read(&mut BufReader::new(file)))
            .map_err(|why| format!("{}: {why}", path.display()))
    };
    let trusted = match &asked.ca {
        Some(path) => read(path),
        None => {
            let [first, second] = OF_SYSTEM.map(Path::new);
            read(first).or_else(|why| read(second).map_err(|other| format!("{why}; {other}")))
        }
    }?;
    Ok(KeServer {
        port: if is_default { KE_PORT } else { server.port },
        ca: asked.ca.clone(),
        trusted,
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
