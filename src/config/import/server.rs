//! Pure. The lines that chrony.conf and ntp.conf share: `server`, `pool` and `peer`.

use std::collections::BTreeSet;
use std::net::Ipv6Addr;

use super::draft::{Draft, DraftNts, DraftUpstream};
use super::{SourceLine, is_absolute, number};
use crate::config::address::host_and_port;
use crate::config::fault::excerpt;
use crate::symmetric::KeyId;
use crate::upstream::Host;
use crate::wire::NTP_PORT;

pub(super) const AUTHENTICATED: &str = "ntpfront can't authenticate servers in this way, so it doesn't ask this one: let chronyd or ntpd ask it, \
     beside ntpfront on port 11123, and name that as an upstream";
/// The largest number of members of a pool.
pub(super) const LARGEST_POOL: u8 = 16;
const PEER: &str = "it is polled as a server is: there is no symmetric mode here";
const LONGEST_POLL: i8 = 17;

/// The meaning of an option of such a line.
#[derive(Clone, Copy, Debug)]
pub(super) enum Choice {
    Iburst,
    Minpoll,
    Maxpoll,
    Port,
    /// A key of ours, true or false.
    Role(&'static str),
    /// The server is asked with NTS.
    Nts,
    /// The port of its key establishment.
    KePort,
    /// The number of the certificates that are trusted for it.
    CertificateSet,
    /// The file with the certificates that are trusted for it.
    Authority,
    /// The symmetric key that it is asked with.
    Key,
    /// The number of servers of a pool.
    Count,
    /// The server has to be authenticated in a way that is not here; with the number of words after the option.
    Proof(usize),
    /// No key of ours; with the number of words after the option.
    Foreign(usize),
}

/// Carries such a line; `choices` are the options that may follow the host.
pub(super) fn carry(
    draft: &mut Draft,
    line: &SourceLine<'_>,
    choices: &[(&str, Choice)],
) -> Result<(), String> {
    draft.has_sources = true;
    let (host, options) = line
        .words
        .split_first()
        .ok_or("the address of the server is missing")?;
    let mut wanted = Wanted {
        is_pool: line.keyword == "pool",
        ..Wanted::default()
    };
    let mut left = Vec::new();
    let mut options = options.iter();
    while let Some(option) = options.next() {
        let name = option.to_ascii_lowercase();
        match choices.iter().find(|(known, _)| *known == name) {
            Some((_, choice)) => {
                let outcome = wanted.take(*choice, &mut options);
                left.extend(outcome.err().map(|why| format!("{}: {why}", excerpt(option))));
            }
            None => {
                left.push(format!("{}: no such option is known here", excerpt(option)));
                break;
            }
        }
    }
    if wanted.proof || (wanted.has_nts && wanted.key.is_some()) {
        return Err(AUTHENTICATED.to_owned());
    }
    let upstream = wanted.upstream(host, line, &mut left)?;
    draft.ask(upstream)?;
    if line.keyword == "peer" {
        left.push(PEER.to_owned());
    }
    left.iter().for_each(|why| draft.leave(line, why));
    Ok(())
}

#[derive(Default)]
struct Wanted {
    iburst: bool,
    minpoll: Option<i8>,
    maxpoll: Option<i8>,
    port: Option<u16>,
    roles: BTreeSet<&'static str>,
    proof: bool,
    has_nts: bool,
    key: Option<KeyId>,
    nts: DraftNts,
    is_pool: bool,
    count: Option<u8>,
}

impl Wanted {
    /// Takes an option, with its values from `more`.
    fn take<'a>(
        &mut self,
        choice: Choice,
        more: &mut impl Iterator<Item = &'a &'a str>,
    ) -> Result<(), String> {
        let mut value = || more.next().copied().unwrap_or_default();
        match choice {
            Choice::Iburst => self.iburst = true,
            Choice::Minpoll => self.minpoll = Some(number(value(), 0, LONGEST_POLL)?),
            Choice::Maxpoll => self.maxpoll = Some(number(value(), 0, LONGEST_POLL)?),
            Choice::Port => self.port = Some(number(value(), 1, u16::MAX)?),
            Choice::Role(role) => {
                self.roles.insert(role);
            }
            Choice::Nts => self.has_nts = true,
            Choice::KePort => self.nts.port = Some(number(value(), 1, u16::MAX)?),
            Choice::CertificateSet => self.nts.set = number(value(), 0, u32::MAX)?,
            Choice::Authority => {
                let path = value().trim_matches('"');
                // Without the file others would be trusted.
                self.proof |= !is_absolute(path);
                self.nts.ca = Some(path.to_owned());
            }
            Choice::Key => {
                self.key = value().parse().ok();
                // Without the key it would be asked plain.
                self.proof |= self.key.is_none();
            }
            Choice::Count => {
                let count = value();
                if !self.is_pool {
                    return Err("it means nothing for a single server".to_owned());
                }
                self.count = Some(number(count, 1, LARGEST_POOL)?);
            }
            Choice::Proof(words) => {
                self.proof = true;
                more.take(words).for_each(drop);
            }
            Choice::Foreign(words) => {
                more.take(words).for_each(drop);
                return Err("not carried: nothing here is like it".to_owned());
            }
        }
        Ok(())
    }

    /// Returns the upstream; options that don't go together are added to `left`.
    fn upstream(
        mut self,
        host: &str,
        line: &SourceLine<'_>,
        left: &mut Vec<String>,
    ) -> Result<DraftUpstream, String> {
        let (host, port) = address(host, self.port)?;
        let is_loopback = host.is_loopback();
        let shortest = if is_loopback { 0 } else { 1 };
        let polls = [self.minpoll, self.maxpoll];
        let too_short = polls.iter().flatten().any(|poll| *poll < shortest);
        let crossed = matches!(polls, [Some(min), Some(max)] if min > max);
        if too_short || crossed {
            left.push(format!(
                "minpoll and maxpoll: {shortest} to {LONGEST_POLL} in this order; the defaults apply"
            ));
            (self.minpoll, self.maxpoll) = (None, None);
        }
        if self.roles.contains("noselect") && self.roles.remove("require") {
            left.push("require: a server that is only monitored (noselect) can't be required".to_owned());
        }
        let shown = line.shown();
        // An address is one server.
        let has_pool = self.is_pool && matches!(host, Host::Name(_)) && !is_loopback;
        Ok(DraftUpstream {
            pool: has_pool.then_some(self.count),
            host,
            port,
            iburst: self.iburst,
            minpoll: self.minpoll,
            maxpoll: self.maxpoll,
            roles: self.roles,
            nts: self.has_nts.then_some(self.nts),
            key: self.key,
            origin: shown,
        })
    }
}

/// Reads a host: in such a line the port is a word of its own, and an IPv6 address has no brackets.
fn address(host: &str, port: Option<u16>) -> Result<(Host, u16), String> {
    let port = port.unwrap_or(NTP_PORT);
    let bare = host.split('%').next().unwrap_or_default();
    let text = match bare.parse::<Ipv6Addr>() {
        Ok(_) => format!("[{host}]:{port}"),
        Err(_) => format!("{host}:{port}"),
    };
    host_and_port(&text).map_err(|refusal| {
        let hint = refusal.hint.map(|hint| format!(" ({hint})")).unwrap_or_default();
        format!("\"{}\" is not {}{hint}", excerpt(host), refusal.expected)
    })
}
