//! Pure. The tables of ntpd-rs about clients with NTS, `[[nts-ke-server]]` and `[keyset]`, by its manual (1.0 to 1.9).

use std::net::{Ipv4Addr, SocketAddr};

use toml::de::DeValue;

use super::super::draft::Draft;
use super::super::is_absolute;
use super::super::placed_table::{PlacedTable, whole};
use super::{NOT_WRITTEN, ntp_server, rotation, sessions};
use crate::config::address::listener;
use crate::config::fault::excerpt;

const POOLS: &str = "requests of NTS pools are not answered here";
const VERSIONS: &str = "keys are for NTP version 4";
const ANOTHER: &str = "all addresses of [nts] have the same certificates, NTP server and limits here: name its certificate with nts.certificate \
     and nts.key beside the first, and its address with nts.listen";
const ABSENT: &str = "without an [[nts-ke-server]] that is carried, no keys are established here";

/// Carries over a table `[[nts-ke-server]]`, and returns whether keys are established at its address.
pub(in super::super) fn key_server(draft: &mut Draft, table: &PlacedTable<'_, '_>) -> bool {
    let read = address(table).and_then(|at| Ok((at, pair(table)?, server(table)?)));
    let (at, [certificate, key], ntp) = match read {
        Ok(read) => read,
        Err(why) => {
            table.leave(draft, &why);
            return false;
        }
    };
    let port = table
        .get("ntp-port")
        .and_then(whole)
        .and_then(|port| u16::try_from(port).ok());
    let (timeout, cut) = timeout(table);
    let wanted = table.get("concurrent-connections").and_then(whole);
    let wanted = wanted.and_then(|count| u64::try_from(count).ok());
    let (count, differs) = wanted.map(sessions).unzip();
    let nts = &mut draft.nts_server;
    if nts.establishes() {
        let same = (&nts.certificates[..], &nts.keys[..]) == (&[certificate], &[key]);
        let same = same && (&nts.ntp_server, nts.ntp_port) == (&ntp, port);
        if !same || (nts.timeout, nts.sessions) != (timeout, count) {
            table.leave(draft, ANOTHER);
            return false;
        }
    } else {
        (nts.certificates, nts.keys) = (vec![certificate], vec![key]);
        (nts.ntp_server, nts.ntp_port) = (ntp, port);
        (nts.timeout, nts.sessions) = (timeout, count);
    }
    let both = at.ip().is_unspecified() && at.is_ipv6();
    let v4 = both.then(|| SocketAddr::from((Ipv4Addr::UNSPECIFIED, at.port())));
    for at in v4.into_iter().chain([at]) {
        if !nts.listen.contains(&at) {
            nts.listen.push(at);
        }
    }
    for (key, why) in [
        ("key-exchange-timeout-ms", cut),
        ("concurrent-connections", differs.flatten()),
    ] {
        if let Some(why) = why {
            table.leave_key(draft, key, &why);
        }
    }
    leave_others(draft, table);
    true
}

fn leave_others(draft: &mut Draft, table: &PlacedTable<'_, '_>) {
    let known = [
        "listen",
        "certificate-chain-path",
        "private-key-path",
        "key-exchange-timeout-ms",
        "concurrent-connections",
        "ntp-port",
        "ntp-server",
    ];
    let versions = table.get("accept-ntp-versions").and_then(DeValue::as_array);
    let is_four = versions.is_some_and(|all| all.iter().all(|one| whole(one.get_ref()) == Some(4)));
    let more = if is_four {
        &["accept-ntp-versions"][..]
    } else {
        &[]
    };
    let left = [
        ("longlived-connections", POOLS),
        ("accepted-pool-authentication-tokens", POOLS),
        ("accept-ntp-versions", VERSIONS),
    ];
    table.leave_others(draft, &[&known[..], more].concat(), &left);
}

fn address(table: &PlacedTable<'_, '_>) -> Result<SocketAddr, String> {
    let text = table.text("listen").ok_or("where to listen is missing")?;
    listener(text).map_err(|refusal| format!("\"{}\" is not {}", excerpt(text), refusal.expected))
}

/// Returns the files of the certificate and of its key.
fn pair(table: &PlacedTable<'_, '_>) -> Result<[String; 2], String> {
    let file = |key: &str| {
        let path = table.text(key).filter(|path| is_absolute(path));
        path.map(str::to_owned).ok_or(format!("{key}: no absolute path"))
    };
    Ok([file("certificate-chain-path")?, file("private-key-path")?])
}

fn server(table: &PlacedTable<'_, '_>) -> Result<Option<String>, String> {
    match table.get("ntp-server") {
        None => Ok(None),
        Some(value) => ntp_server(value.as_str().unwrap_or_default()).map(Some),
    }
}

/// Returns the seconds of `key-exchange-timeout-ms`, with a remark if they are not possible here.
fn timeout(table: &PlacedTable<'_, '_>) -> (Option<f64>, Option<String>) {
    let Some(wanted) = table.get("key-exchange-timeout-ms").and_then(whole) else {
        return (None, None);
    };
    let nearest = u16::try_from(wanted.clamp(500, 60_000)).map_or(60.0, |wanted| f64::from(wanted) / 1000.0);
    let differs = !(500..=60_000).contains(&wanted);
    let remark = differs.then(|| format!("0.5 to 60 s are possible here: {nearest}"));
    (Some(nearest), remark)
}

/// Carries over `[keyset]`, and returns whether anything of it is carried over.
pub(in super::super) fn keyset(draft: &mut Draft, table: &PlacedTable<'_, '_>) -> bool {
    if !draft.nts_server.establishes() {
        table.leave(draft, ABSENT);
        return false;
    }
    let natural = |key| {
        table
            .get(key)
            .and_then(whole)
            .and_then(|count| u64::try_from(count).ok())
    };
    let (rotate, differs) = natural("key-rotation-interval").map(rotation).unzip();
    let kept = natural("stale-key-count");
    let keep = kept.map(|count| u32::try_from(count.clamp(1, 64)).unwrap_or(64));
    (draft.nts_server.rotate, draft.nts_server.keep) = (rotate, keep);
    if let Some(why) = differs.flatten() {
        table.leave_key(draft, "key-rotation-interval", &why);
    }
    if let (Some(kept), Some(keep)) = (kept, keep)
        && kept != u64::from(keep)
    {
        let why = format!("1 to 64 old keys are possible here: {keep}");
        table.leave_key(draft, "stale-key-count", &why);
    }
    let known = [
        rotate.map(|_| "key-rotation-interval"),
        keep.map(|_| "stale-key-count"),
    ];
    let known: Vec<&str> = known.into_iter().flatten().collect();
    table.leave_others(draft, &known, &[("key-storage-path", NOT_WRITTEN)]);
    !known.is_empty()
}
