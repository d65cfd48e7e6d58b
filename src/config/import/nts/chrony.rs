//! Pure. The directives of chrony.conf about clients with NTS, by its manual (chrony 4.0 to 4.8).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::super::draft::{BESIDE, Draft};
use super::super::{SourceLine, number, path};
use super::{NOT_WRITTEN, rotation, sessions};
use crate::nts::aead::Algorithm;
use crate::nts::ke::PORT;
use crate::wire::NTP_PORT;

const ABSENT: &str = "without ntsservercert and ntsserverkey chronyd establishes no keys";
const EXTERNAL: &str = "with ntsrotate 0 several servers share the keys of one: make a file with `ntpfront nts-secret`, copy it to all, and name it \
     with nts.secret beside nts.certificate and nts.key. Until then no keys are established here";
const NO_PATH: &str = "not all of its files have an absolute path: no keys are established here";
const NO_SERVER: &str = "ntsntpserver is no name or address: no keys are established here";
const NO_AEAD: &str = "of ntsaeads, 15 and 30 are known here: no keys are established here";
const TO_ALL: &str =
    "# Other than there, keys are given to all clients; the time, to those that [access] allows.\n";
/// chronyd's number of old keys that still open cookies.
const OLD_KEYS: u32 = 2;

pub(in super::super) const KEPT: &str = NOT_WRITTEN;
pub(in super::super) const LIMITED: &str = "there a client gets keys once in 64 s, or in the interval that is said; here nts.client-burst and \
     nts.client-interval limit all hosts behind one address together: set these";

/// Notes a line that has a meaning only where keys are established.
fn note<'d>(draft: &'d mut Draft, line: &SourceLine<'_>) -> &'d mut super::DraftNtsServer {
    draft.nts_server.lines.push(line.shown());
    &mut draft.nts_server
}

/// Carries over a path; without it certificates and keys are no pairs.
fn file(draft: &mut Draft, line: &SourceLine<'_>) -> Option<String> {
    let path = path(line).ok();
    let server = note(draft, line);
    if path.is_none() {
        server.refuse(NO_PATH);
    }
    path
}

/// Carries over `ntsservercert FILE`, of which there may be several, in the order of their keys.
pub(in super::super) fn certificate(draft: &mut Draft, line: &SourceLine<'_>) -> Result<(), String> {
    let path = file(draft, line);
    draft.nts_server.certificates.extend(path);
    Ok(())
}

/// Carries over `ntsserverkey FILE`.
pub(in super::super) fn key(draft: &mut Draft, line: &SourceLine<'_>) -> Result<(), String> {
    let path = file(draft, line);
    draft.nts_server.keys.extend(path);
    Ok(())
}

pub(in super::super) fn port(draft: &mut Draft, line: &SourceLine<'_>) -> Result<(), String> {
    let port = number(line.value()?, 1, u16::MAX)?;
    note(draft, line).port = Some(port);
    Ok(())
}

/// Carries over `ntsprocesses NUMBER`; with 0 the main process has the sessions, here a thread.
pub(in super::super) fn processes(draft: &mut Draft, line: &SourceLine<'_>) -> Result<(), String> {
    let count: u16 = number(line.value()?, 0, 64)?;
    note(draft, line).threads = Some(count.max(1));
    Ok(())
}

/// Carries over `maxntsconnections NUMBER`, which is for each process.
pub(in super::super) fn connections(draft: &mut Draft, line: &SourceLine<'_>) -> Result<(), String> {
    let count = number(line.value()?, 1, u32::MAX)?;
    note(draft, line).connections = Some((u64::from(count), line.shown()));
    Ok(())
}

/// Carries over `ntsrotate SECONDS`, with chronyd's number of old keys.
pub(in super::super) fn rotate(draft: &mut Draft, line: &SourceLine<'_>) -> Result<(), String> {
    let seconds: u64 = number(line.value()?, 0, u64::from(u32::MAX))?;
    let (hours, differs) = rotation(seconds);
    let server = note(draft, line);
    server.is_external = seconds == 0;
    (server.rotate, server.keep) = (Some(hours), Some(OLD_KEYS));
    match differs {
        Some(why) if seconds > 0 => draft.leave(line, &why),
        Some(_) | None => {}
    }
    Ok(())
}

pub(in super::super) fn ntp_server(draft: &mut Draft, line: &SourceLine<'_>) -> Result<(), String> {
    let server = super::ntp_server(line.value()?);
    let noted = note(draft, line);
    match server {
        Ok(server) => noted.ntp_server = Some(server),
        // Other keys would be asked for than the server has.
        Err(_) => noted.refuse(NO_SERVER),
    }
    Ok(())
}

/// Carries over `ntsaeads NUMBER…`: those that are known here.
pub(in super::super) fn algorithms(draft: &mut Draft, line: &SourceLine<'_>) -> Result<(), String> {
    let numbers = line.words.iter().map(|word| number(word, 0, u16::MAX));
    let numbers = numbers.collect::<Result<Vec<u16>, String>>()?;
    let known: Vec<Algorithm> = Algorithm::ALL
        .into_iter()
        .filter(|algorithm| numbers.contains(&algorithm.id()))
        .collect();
    if known.is_empty() {
        draft.nts_server.refuse(NO_AEAD);
    }
    if numbers.iter().any(|number| Algorithm::from_id(*number).is_none()) {
        draft.leave(line, "of these, 15 and 30 are known here");
    }
    draft.nts_server.algorithms = known;
    draft.nts_server.aeads = Some(line.shown());
    Ok(())
}

/// Completes the draft of `[nts]`, once the listeners are known.
pub(in super::super) fn finish(draft: &mut Draft) {
    if draft.nts_server.is_external {
        draft.nts_server.refuse(EXTERNAL);
    }
    if let Some(line) = draft.nts_server.aeads.take() {
        let asks = draft.upstreams.iter().any(|one| one.nts.is_some());
        match asks && draft.nts_server.algorithms != Algorithm::ALL {
            true => draft
                .remarks
                .push(format!("{line}: upstreams are asked for 15 and for 30")),
            false => draft.nts_server.lines.push(line),
        }
    }
    let remarks = draft.nts_server.complete(ABSENT);
    draft.remarks.extend(remarks);
    if !draft.nts_server.establishes() {
        return;
    }
    let port = draft.nts_server.port.unwrap_or(PORT);
    let has_port = draft.nts_server.port.is_some();
    // chronyd takes the addresses and the port of its NTP server for both.
    let ntp_port = draft.port.filter(|port| ![NTP_PORT, BESIDE.1].contains(port));
    let mut listen: Vec<SocketAddr> = draft.listeners.clone();
    listen.iter_mut().for_each(|at| at.set_port(port));
    if listen.is_empty() && has_port {
        let all: [IpAddr; 2] = [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()];
        listen = all.map(|ip| SocketAddr::from((ip, port))).to_vec();
    }
    let server = &mut draft.nts_server;
    server.listen = listen;
    server.comment = TO_ALL;
    if server.ntp_server.is_some() {
        server.ntp_port = ntp_port;
    }
    if let Some((count, line)) = server.connections.take() {
        let (sessions, differs) = sessions(count * u64::from(server.threads.unwrap_or(1)));
        server.sessions = Some(sessions);
        draft.remarks.extend(differs.map(|why| format!("{line}: {why}")));
    }
    if draft.port == Some(BESIDE.1) {
        let why = format!(
            "ntsservercert: chronyd beside ntpfront would listen on TCP port {port}, too: take its lines about NTS servers out of its file"
        );
        draft.remarks.push(why);
    }
}
