//! Impure. `ntpfront query`: one query to each of several servers; several to one (NTP Pool, interleaved mode).

use std::fmt::Display;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::process::ExitCode;

use serde::Serialize;
use tokio::runtime;
use tokio::task::JoinSet;

use super::output::{FAILURE, FAULT, fail, print};
use super::paint::{fitted, print_lines, terminal_width};
use crate::cli::Query;
use crate::config::address;
use crate::host::limits;
use crate::nts::ke::PORT as KE_PORT;
use crate::observe::pool::{PoolCheck, SAMPLES};
use crate::observe::query_table::QueryTable;
use crate::upstream::findings::Findings;
use crate::upstream::interleaved::InterleavedQuestions;
use crate::upstream::nts::trusted::{OF_SYSTEM, TrustedCertificates};
use crate::upstream::query::{QueryFamily, QueryLimits, query, query_interleaved, query_nts, samples};
use crate::upstream::{KeServer, Role, Upstream};
use crate::wire::NTP_PORT;

/// The width of a table where no terminal limits it: all columns have room.
const WIDE: u16 = 200;

pub(super) fn run(asked: &Query) -> ExitCode {
    let servers: Result<Vec<Upstream>, String> = asked.servers.iter().map(|name| server(name)).collect();
    let servers = match servers {
        Ok(servers) => servers,
        Err(why) => return fail("query", &why, FAULT),
    };
    let runtime = match runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let why = format!("cannot start: {}", limits::explain(&error));
            return fail("query", &why, FAILURE);
        }
    };
    let limits = limits_of(asked);
    match (servers.as_slice(), asked.servers.as_slice()) {
        ([server], [name]) => runtime.block_on(query_one(asked, server, name, limits)),
        (_, _) => {
            let table = QueryTable::of(runtime.block_on(query_all(servers, limits)));
            if asked.json {
                print_json(&table);
            } else {
                print_lines(&table.lines(terminal_width().unwrap_or(WIDE).into()));
            }
            exit_status(table.are_all_usable())
        }
    }
}

fn limits_of(asked: &Query) -> QueryLimits {
    let family = match (asked.ipv4, asked.ipv6) {
        (true, _) => Some(QueryFamily::Ipv4),
        (false, true) => Some(QueryFamily::Ipv6),
        (false, false) => None,
    };
    QueryLimits {
        family,
        within: asked.timeout,
    }
}

async fn query_one(asked: &Query, server: &Upstream, name: &str, limits: QueryLimits) -> ExitCode {
    if asked.nts {
        let ke_server = match ke_server(name, asked.ca.as_deref()) {
            Ok(ke_server) => ke_server,
            Err(why) => return fail("query", &why, FAULT),
        };
        let server = Upstream {
            port: NTP_PORT,
            ..server.clone()
        };
        let findings = query_nts(&server, &ke_server, limits).await;
        show(asked, &findings, findings.usable)
    } else if asked.interleaved {
        let findings = query_interleaved(server, limits).await;
        show(asked, &findings, findings.findings.usable && findings.interleaved)
    } else if asked.pool {
        let check = PoolCheck::of(samples(server, SAMPLES, limits).await);
        show(asked, &check, check.handed_out)
    } else {
        let findings = query(server, limits).await;
        show(asked, &findings, findings.usable)
    }
}

/// Queries all at the same time, and returns the findings in the order of the servers.
async fn query_all(servers: Vec<Upstream>, limits: QueryLimits) -> Vec<Findings> {
    let mut tasks = JoinSet::new();
    for (place, server) in servers.into_iter().enumerate() {
        tasks.spawn(async move { (place, query(&server, limits).await) });
    }
    // A panic of one has ended the process.
    let mut found = tasks.join_all().await;
    found.sort_by_key(|(place, _)| *place);
    found.into_iter().map(|(_, findings)| findings).collect()
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
fn ke_server(name: &str, ca: Option<&Path>) -> Result<KeServer, String> {
    let server = server(name)?;
    // The port of NTP is the default of a name without one.
    let says_port = name.ends_with(&format!(":{NTP_PORT}"));
    let is_default = server.port == NTP_PORT && !says_port;
    let read = |path: &Path| {
        let file = File::open(path).map_err(|error| format!("cannot open: {error}"));
        file.and_then(|file| TrustedCertificates::read(&mut BufReader::new(file)))
            .map_err(|why| format!("{}: {why}", path.display()))
    };
    let trusted = match ca {
        Some(path) => read(path),
        None => {
            let [first, second] = OF_SYSTEM.map(Path::new);
            read(first).or_else(|why| read(second).map_err(|other| format!("{why}; {other}")))
        }
    }?;
    Ok(KeServer {
        port: if is_default { KE_PORT } else { server.port },
        ca: ca.map(Path::to_owned),
        trusted,
    })
}

fn show(asked: &Query, findings: &(impl Serialize + Display), is_good: bool) -> ExitCode {
    if asked.json {
        print_json(findings);
    } else {
        print(&fitted(findings.to_string()));
    }
    exit_status(is_good)
}

fn print_json(findings: &impl Serialize) {
    // All of it are texts, numbers and words: nothing can go wrong.
    print(&(serde_json::to_string(findings).unwrap_or_default() + "\n"));
}

fn exit_status(is_good: bool) -> ExitCode {
    if is_good {
        ExitCode::SUCCESS
    } else {
        FAILURE.into()
    }
}
