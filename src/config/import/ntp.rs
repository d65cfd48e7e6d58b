//! Pure. The directives of ntp.conf, by the manuals of ntpsec 1.2 and ntp 4.2.8.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

use super::Meaning::{Carried, Left};
use super::draft::{Draft, Limit, Local, all_addresses};
use super::nts::ntp as nts;
use super::server::{self, Choice};
use super::symmetric;
use super::{Keywords, SourceLine, nearest_interval, number, path};
use crate::config::address::listener;
use crate::config::fault::excerpt;
use crate::wire::NTP_PORT;

const CLOCK: &str = "ntpfront never touches the host's clock: leave that to a daemon beside it, such as chronyd with \"port 11123\"";
const NO_CLOCKS: &str = "ntpfront reads no clocks but the host's: leave that to a daemon beside it, such as chronyd with \"port 11123\"";
const PROOF: &str = "ntpfront has no Autokey: use NTS, or symmetric keys";
const FILES: &str =
    "other files aren't followed: name them after this one, and they are read as if they stood in it";
const OWN: &str = "a matter of ntpd's own files, log and process";
const TAKES_BACK: &str = "it takes back what another line says: take out both";
const MODES: &str = "ntpfront only answers clients: no broadcast, no multicast, no queries of management";

pub(super) const KEYWORDS: &Keywords = &[
    (&["server", "pool", "peer"], Carried(source)),
    (&["fudge"], Carried(fudge)),
    (&["restrict"], Carried(restrict)),
    (&["discard"], Carried(discard)),
    (&["tos"], Carried(tos)),
    (&["leapfile"], Carried(leapfile)),
    (&["interface", "nic"], Carried(interface)),
    (
        &["driftfile", "tinker", "calldelay", "leapsmearinterval"],
        Left(CLOCK),
    ),
    (&["refclock"], Carried(refclock)),
    (&["nts"], Carried(nts::nts)),
    (
        &["keysdir", "crypto", "ntpsigndsocket", "autokey", "revoke"],
        Left(PROOF),
    ),
    (&["keys"], Carried(symmetric::file)),
    (&["trustedkey"], Carried(symmetric::trustedkey)),
    (&["requestkey", "controlkey"], Left(MODES)),
    (&["includefile", "includedir"], Left(FILES)),
    (
        &[
            "logfile",
            "logconfig",
            "statsdir",
            "statistics",
            "filegen",
            "pidfile",
            "rlimit",
            "saveconfigdir",
            "phone",
            "setvar",
            "extra",
            "dscp",
            "mru",
            "mdnstries",
            "qos",
            "end",
            "checkhash",
        ],
        Left(OWN),
    ),
    (
        &[
            "broadcast",
            "broadcastclient",
            "broadcastdelay",
            "manycastclient",
            "manycastserver",
            "multicastclient",
            "trap",
            "ttl",
        ],
        Left(MODES),
    ),
    (&["limit"], Carried(rate)),
    (&["enable", "disable", "reset"], Left("nothing here is like it")),
    (&["unrestrict"], Carried(unrestrict)),
    (&["unpeer", "unconfig"], Left(TAKES_BACK)),
];

const CHOICES: [(&str, Choice); 25] = [
    ("iburst", Choice::Iburst),
    ("minpoll", Choice::Minpoll),
    ("maxpoll", Choice::Maxpoll),
    ("prefer", Choice::Role("prefer")),
    ("noselect", Choice::Role("noselect")),
    ("nts", Choice::Nts),
    ("autokey", Choice::Proof(0)),
    ("key", Choice::Key),
    ("ask", Choice::Proof(1)),
    ("require", Choice::Proof(1)),
    ("ca", Choice::Authority),
    ("cert", Choice::Proof(1)),
    ("aead", Choice::Foreign(1)),
    ("noval", Choice::Proof(0)),
    ("expire", Choice::Proof(0)),
    ("burst", Choice::Foreign(0)),
    ("true", Choice::Foreign(0)),
    ("preempt", Choice::Foreign(0)),
    ("dynamic", Choice::Foreign(0)),
    ("xleave", Choice::Foreign(0)),
    ("xmtnonce", Choice::Foreign(0)),
    ("version", Choice::Foreign(1)),
    ("mode", Choice::Foreign(1)),
    ("ttl", Choice::Foreign(1)),
    ("bias", Choice::Foreign(1)),
];

/// The start of the addresses of ntpd's driver for the host's own clock.
const LOCAL_DRIVER: &str = "127.127.1.";
/// The stratum of that driver, unless `fudge` says otherwise. ntpd is its client, so it announces one more.
const LOCAL_STRATUM: u8 = 5;
/// The least seconds until ntpd uses that driver, after its start or after the last server is lost.
///
/// `tos orphanwait` changes it (measured without: 322 s). A driver with `prefer` is used at once.
const ORPHAN_WAIT: u32 = 300;

/// Carries over `server [-4|-6] HOST …`; an address of 127.127 is a driver.
fn source(draft: &mut Draft, line: &SourceLine<'_>) -> Result<(), String> {
    let mut line = line.clone();
    if matches!(line.words.first(), Some(&("-4" | "-6"))) {
        let family = line.words.remove(0);
        draft.leave(&line, &format!("{family}: both families of a name are used"));
    }
    match line.words.first() {
        Some(host) if host.starts_with(LOCAL_DRIVER) => {
            let is_preferred = line.words.iter().any(|word| word.eq_ignore_ascii_case("prefer"));
            local_clock(draft, is_preferred);
            Ok(())
        }
        Some(host) if host.starts_with("127.127.") => {
            draft.has_sources = true;
            Err(NO_CLOCKS.to_owned())
        }
        Some(_) | None => server::carry(draft, &line, &CHOICES),
    }
}

fn local_clock(draft: &mut Draft, is_preferred: bool) {
    draft.local = Some(Local {
        stratum: LOCAL_STRATUM + 1,
        wait: is_preferred.then_some(0),
    });
}

/// Carries over ntpsec's `refclock local [unit 0] [stratum 5] [prefer]`; other drivers are left.
fn refclock(draft: &mut Draft, line: &SourceLine<'_>) -> Result<(), String> {
    let mut words = line.words.iter();
    if !words
        .next()
        .is_some_and(|driver| driver.eq_ignore_ascii_case("local"))
    {
        return Err(NO_CLOCKS.to_owned());
    }
    let mut is_preferred = false;
    while let Some(word) = words.next() {
        match word.to_ascii_lowercase().as_str() {
            "prefer" => is_preferred = true,
            "stratum" => draft.fudged = Some(number(words.next().copied().unwrap_or_default(), 0, 14)?),
            "unit" | "minpoll" | "maxpoll" => {
                words.next();
            }
            "iburst" => {}
            _ => draft.leave(line, &format!("{}: {ONLY_LOCAL}", excerpt(word))),
        }
    }
    local_clock(draft, is_preferred);
    Ok(())
}

/// Carries over `fudge 127.127.1.0 stratum 10`: only the driver of the host's clock is carried over.
fn fudge(draft: &mut Draft, line: &SourceLine<'_>) -> Result<(), String> {
    let Some((driver, options)) = line.words.split_first() else {
        return Err("of which driver is missing".to_owned());
    };
    if !driver.starts_with(LOCAL_DRIVER) {
        return Err(ONLY_LOCAL.to_owned());
    }
    for pair in options.chunks(2) {
        match pair {
            [option, stratum] if option.eq_ignore_ascii_case("stratum") => {
                // 15 would be announced as 16, which is no time.
                draft.fudged = Some(number(stratum, 0, 14)?);
            }
            [option, ..] => draft.leave(line, &format!("{}: {ONLY_LOCAL}", excerpt(option))),
            [] => {}
        }
    }
    Ok(())
}

const ONLY_LOCAL: &str = "only the stratum of the host's own clock (127.127.1.0) is carried";

/// Carries over `restrict [-4|-6] (default|source|ADDRESS[/BITS]) [mask MASK] FLAG…`: the longest prefix decides.
fn restrict(draft: &mut Draft, line: &SourceLine<'_>) -> Result<(), String> {
    let (nets, flags) = restricted(&line.words)?;
    let nets = match nets {
        Ok(nets) => nets,
        // Without a rule that denies or limits, its addresses would be answered, and unlimited. Without one that lets
        // in, fewer are answered.
        Err(why) => {
            if flags.iter().any(|flag| is_limited(flag)) {
                draft.limit.get_or_insert(LIMIT);
            }
            let is_denied = flags.iter().any(|flag| denies(flag));
            return Err(if is_denied { draft.close(&why) } else { why });
        }
    };
    let answered = !flags.iter().any(|flag| denies(flag));
    nets.iter().for_each(|net| draft.rule(*net, answered));
    if answered {
        limited(draft, line, &nets, flags.iter().any(|flag| is_limited(flag)));
    }
    for flag in flags {
        if let Some(why) = foreign(flag) {
            draft.leave(line, &format!("{}: {why}", excerpt(flag)));
        }
    }
    Ok(())
}

/// The limit of `limited` without `discard` and `limit`: that of the NTP Project's ntpd, which is the stricter one.
///
/// (Nothing leaks there, and here the least that is possible.)
const LIMIT: Limit = Limit {
    interval: 8.0,
    burst: Some(8),
    leak: Some(0.01),
};
/// The default limit of ntpsec's ntpd, as comments; the ntpd of the NTP Project has none.
const BY_DEFAULT: &str = "# If it is ntpsec's file: it answers a client 20 times at once and then once a second, whatever is said. As there:\n\
                          #[limit]\n#mode = \"on\"\n#interval = 1.0\n#burst = 20\n#leak = 0.01\n";

fn is_limited(flag: &str) -> bool {
    flag.eq_ignore_ascii_case("limited")
}

/// Carries over the limit for `nets`: here all addresses are limited or none.
///
/// So that no client gets more than from ntpd, all are limited if some are.
fn limited(draft: &mut Draft, line: &SourceLine<'_>, nets: &[IpNet], limited: bool) {
    let is_default = nets.iter().any(|net| net.prefix_len() == 0);
    let is_loopback = nets.iter().all(|net| net.addr().is_loopback());
    if limited {
        draft.limit.get_or_insert(LIMIT);
    }
    match (limited, is_default) {
        (true, false) => draft.leave(
            line,
            "limited: [limit] holds for all addresses of a listener: all are limited",
        ),
        (false, _) if !is_loopback => {
            let remark = format!("{}: it is limited, too, as all are", line.shown());
            draft.unlimited.push(remark);
        }
        (_, _) => {}
    }
}

/// Returns the reason why a flag of `restrict` isn't carried over; `None` if it is, or if it always holds here.
fn foreign(flag: &str) -> Option<&'static str> {
    match flag.to_ascii_lowercase().as_str() {
        "ignore" | "noserve" | "limited" => None,
        // There are no such queries here, and no host can make itself our peer.
        "nomodify" | "noquery" | "nopeer" | "noepeer" | "notrap" | "lowpriotrap" | "nomrulist" => None,
        "notrust" => Some(
            "it requires authentication, which is here for all clients of a listener (authentication): these addresses are not answered",
        ),
        "kod" => Some("no client is asked to poll less often, unless limit.kiss is set"),
        "mssntp" => Some("no answer is signed here"),
        _ => Some("nothing here is like it: so these addresses are not answered"),
    }
}

/// Whether addresses with this flag are not answered.
///
/// An unknown flag may deny some of their requests, so it counts as such a flag.
fn denies(flag: &str) -> bool {
    let only_restricts_others = ["limited", "kod", "mssntp"];
    let is_known = only_restricts_others
        .iter()
        .any(|known| known.eq_ignore_ascii_case(flag));
    let denies = ["ignore", "noserve"]
        .iter()
        .any(|known| known.eq_ignore_ascii_case(flag));
    denies || (!is_known && foreign(flag).is_some())
}

/// Answers no client, as the line takes back a rule, even if that is one that lets in.
fn unrestrict(draft: &mut Draft, _line: &SourceLine<'_>) -> Result<(), String> {
    Err(draft.close(TAKES_BACK))
}

/// The prefixes of a rule, or the reason why they can't be carried over, and its flags.
type Restricted<'a> = (Result<Vec<IpNet>, String>, &'a [&'a str]);

fn restricted<'a>(words: &'a [&'a str]) -> Result<Restricted<'a>, String> {
    let families = all_addresses();
    let (families, words) = match words {
        ["-4", rest @ ..] => (&families[..1], rest),
        ["-6", rest @ ..] => (&families[1..], rest),
        rest => (&families[..], rest),
    };
    let (nets, flags) = match words {
        [] => return Err("the address is missing".to_owned()),
        [host, flags @ ..] if host.eq_ignore_ascii_case("default") => (Ok(families.to_vec()), flags),
        [host, ..] if host.eq_ignore_ascii_case("source") => {
            return Err(
                "upstreams need no rule: only their answers to questions of ntpfront are read".to_owned(),
            );
        }
        [host, word, rest @ ..] if word.eq_ignore_ascii_case("mask") => {
            let (mask, flags) = match rest {
                [mask, flags @ ..] if address(mask).is_some() => (address(mask), flags),
                flags => (None, flags),
            };
            let pair = address(host).zip(mask);
            let pair = pair.filter(|(host, mask)| host.is_ipv4() == mask.is_ipv4());
            let net = pair.and_then(|(host, mask)| IpNet::with_netmask(host, mask).ok());
            let why = || format!("\"{}\" with this mask is no prefix", excerpt(host));
            (net.map(|net| vec![net]).ok_or_else(why), flags)
        }
        [host, flags @ ..] => (prefix(host).map(|net| vec![net]), flags),
    };
    Ok((nets, without_peers(flags)))
}

/// Returns the flags after `ippeerlimit NUMBER`, which is left out: no host can make itself our peer.
fn without_peers<'a>(flags: &'a [&'a str]) -> &'a [&'a str] {
    match flags {
        [word, _number, flags @ ..] if word.eq_ignore_ascii_case("ippeerlimit") => flags,
        flags => flags,
    }
}

fn address(text: &str) -> Option<IpAddr> {
    text.parse().ok()
}

fn prefix(text: &str) -> Result<IpNet, String> {
    let net = text.parse().ok().or_else(|| address(text).map(IpNet::from));
    net.ok_or_else(|| {
        format!(
            "\"{}\" is no address (names of hosts are not looked up)",
            excerpt(text)
        )
    })
}

/// Carries over `discard [average 3] [minimum 1] [monitor 3000]`.
fn discard(draft: &mut Draft, line: &SourceLine<'_>) -> Result<(), String> {
    for pair in line.words.chunks(2) {
        match pair {
            [option, value] if option.eq_ignore_ascii_case("average") => {
                draft.average = Some(nearest_interval(draft, line, value));
            }
            [option, ..] => draft.leave(line, &format!("{}: nothing here is like it", excerpt(option))),
            [] => {}
        }
    }
    Ok(())
}

/// Carries over ntpsec's `limit [average 1] [burst 20] [kod 0.5]`: answers per second, and answers at once.
///
/// It also applies without a flag of `restrict`.
fn rate(draft: &mut Draft, line: &SourceLine<'_>) -> Result<(), String> {
    let mut limit = Limit {
        interval: 1.0,
        burst: Some(20),
        ..LIMIT
    };
    for pair in line.words.chunks(2) {
        match pair {
            [option, value] if option.eq_ignore_ascii_case("average") => {
                limit.interval = 1.0 / number(value, 1.0 / 64.0, 10_000.0)?;
                draft.average = Some(limit.interval);
            }
            [option, value] if option.eq_ignore_ascii_case("burst") => {
                // The smallest bucket here has 8.
                limit.burst = Some(number(value, 8, u8::MAX)?);
            }
            [option, ..] => draft.leave(line, &format!("{}: nothing here is like it", excerpt(option))),
            [] => {}
        }
    }
    draft.limit = Some(limit);
    Ok(())
}

/// Carries over `tos [minsane 1] [maxdist 1.5] …`.
fn tos(draft: &mut Draft, line: &SourceLine<'_>) -> Result<(), String> {
    for pair in line.words.chunks(2) {
        match pair {
            [option, value] if option.eq_ignore_ascii_case("minsane") => {
                draft.min_sources = Some(number(value, 1, u8::MAX)?);
            }
            [option, value] if option.eq_ignore_ascii_case("maxdist") => {
                draft.max_distance = Some(number(value, 0.0001, 16.0)?);
            }
            [option, value] if option.eq_ignore_ascii_case("orphanwait") => {
                draft.orphan_wait = Some(number(value, 0, 86_400)?);
            }
            [option, ..] => draft.leave(line, &format!("{}: nothing here is like it", excerpt(option))),
            [] => {}
        }
    }
    Ok(())
}

fn leapfile(draft: &mut Draft, line: &SourceLine<'_>) -> Result<(), String> {
    // Some lines have a second word: whether to check the file.
    let only = SourceLine {
        words: line.words.iter().take(1).copied().collect(),
        ..line.clone()
    };
    draft.leap_seconds = Some(path(&only)?);
    Ok(())
}

/// Carries over `interface listen ADDRESS`: the last line about an address decides.
///
/// As soon as there is such a line, ntpd listens on no other address, except those of the loopback interface. A line
/// that can't be carried over makes that narrower, never wider.
fn interface(draft: &mut Draft, line: &SourceLine<'_>) -> Result<(), String> {
    let lowercase: Vec<String> = line.words.iter().map(|word| word.to_ascii_lowercase()).collect();
    let words: Vec<&str> = lowercase.iter().map(String::as_str).collect();
    match words.as_slice() {
        [how @ ("listen" | "ignore" | "drop"), "all"] => {
            draft.is_bound = *how != "listen";
            draft.is_unbound = !draft.is_bound;
            draft.bound.clear();
            Ok(())
        }
        // If ntpd listens on all addresses, this is one of them.
        ["listen", _] | ["ignore" | "drop", "wildcard"] if draft.is_unbound => Ok(()),
        ["listen", text] => {
            draft.is_bound = true;
            let address = address(text).filter(|address| !address.is_unspecified());
            let address = address.ok_or("only an address of this host can be carried")?;
            listener(&SocketAddr::from((address, NTP_PORT)).to_string())
                .map_err(|refusal| refusal.hint.unwrap_or(refusal.expected))?;
            if !draft.bound.contains(&address) {
                draft.bound.push(address);
            }
            Ok(())
        }
        // That is its socket for all addresses, which answers no client.
        ["ignore" | "drop", "wildcard"] => {
            draft.is_bound = true;
            Ok(())
        }
        ["ignore" | "drop", text] if address(text).is_some() && !draft.is_unbound => {
            let ignored = address(text);
            draft.is_bound = true;
            draft.bound.retain(|bound| Some(*bound) != ignored);
            Ok(())
        }
        // The line may be about an address that is named above. (A family is also ignored on the loopback interface.)
        other => {
            match other {
                ["ignore" | "drop", "ipv4"] => draft.ignores_ipv4 = true,
                ["ignore" | "drop", "ipv6"] => draft.ignores_ipv6 = true,
                _ => {}
            }
            (draft.is_bound, draft.is_unbound) = (true, false);
            draft.bound.clear();
            Err("name a [[listener]] for each address that is to answer".to_owned())
        }
    }
}

/// Completes the draft once all lines are read: the listeners, the local clock, and the limit.
pub(super) fn finish(draft: &mut Draft) {
    symmetric::finish(draft, false);
    draft.default_min_sources = "one source is enough for ntpd (tos minsane 1)";
    bind(draft);
    nts::finish(draft);
    let fudged = draft.fudged.map(|stratum| stratum + 1);
    match &mut draft.local {
        Some(local) => {
            local.stratum = fudged.unwrap_or(local.stratum);
            local.wait.get_or_insert(draft.orphan_wait.unwrap_or(ORPHAN_WAIT));
        }
        None if fudged.is_some() => {
            let why = "fudge: no line asks that clock (server 127.127.1.0), so ntpd doesn't either";
            draft.remarks.push(why.to_owned());
        }
        None => {}
    }
    if draft.limit.is_none() {
        draft.preface = BY_DEFAULT;
    }
    if let Some(limit) = &mut draft.limit {
        limit.interval = draft.average.unwrap_or(limit.interval);
        draft.remarks.append(&mut draft.unlimited);
    }
}

/// Listens on the addresses that are named, and on the loopback interface, which no such line takes from ntpd.
fn bind(draft: &mut Draft) {
    if !draft.is_bound {
        return;
    }
    draft.listen_here(NTP_PORT);
    // A family has to stay: without a listener there would be our default ones.
    let (ignores_ipv4, ignores_ipv6) = (draft.ignores_ipv4, draft.ignores_ipv6 && !draft.ignores_ipv4);
    draft.listeners.retain(|here| {
        !(if here.is_ipv4() {
            ignores_ipv4
        } else {
            ignores_ipv6
        })
    });
    if draft.bound.is_empty() {
        let why = "interface: no address is named that is to answer: only this host is answered, unless you name a [[listener]]";
        return draft.remarks.push(why.to_owned());
    }
    let named = draft.bound.iter().filter(|address| !address.is_loopback());
    let named = named.map(|address| SocketAddr::from((*address, NTP_PORT)));
    draft.listeners.extend(named);
}
