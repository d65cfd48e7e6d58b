//! Impure. The needs of the fast path, as far as a host shows them without privileges: for `ntpfront check`.

use std::fs;

use nix::net::if_::if_nametoindex;
use nix::sys::utsname::uname;

use super::bypass::Bypassed;
use super::devices::chosen;
use super::pattern::is_pattern;
use crate::host::addresses::{self, Interface};
use crate::host::netlink;
use crate::host::netlink::message::{ListRequest, priority};

/// The oldest Linux that it is tried on. (A program has links since 5.9, and reads `CLOCK_BOOTTIME` since 5.8.)
const OLDEST: (u32, u32) = (5, 10);
/// The first Linux in which a program's maps don't count as locked memory.
const WITHOUT_LOCKED_MEMORY: (u32, u32) = (5, 11);

/// Returns the reason why this host can't have it; `None` if nothing is known against it.
///
/// Only a start can tell whether the kernel takes the program, and which privileges there will be.
pub fn impossible() -> Option<String> {
    let release = uname().ok()?.release().to_str()?.to_owned();
    let is_old = number(&release)? < OLDEST;
    is_old.then(|| {
        format!(
            "it needs Linux {}.{} or newer, and this is {release}",
            OLDEST.0, OLDEST.1
        )
    })
}

/// Returns whether a program's maps count as locked memory here, for which the process may have a limit.
pub fn locks_memory() -> bool {
    let release = uname().ok();
    let release = release.as_ref().and_then(|name| name.release().to_str());
    release
        .and_then(number)
        .is_some_and(|version| version < WITHOUT_LOCKED_MEMORY)
}

/// Returns the major and minor version of a release such as "6.1.0-18-amd64".
fn number(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

/// Returns what the requests that are answered at these interfaces (names and patterns) go past on this host.
pub fn bypassed(names: &[String]) -> Bypassed {
    let host = addresses::linked_interfaces().unwrap_or_default();
    let interfaces = chosen(names, &host);
    let named = |is_meant: &dyn Fn(&Interface) -> bool| {
        let meant = interfaces.iter().filter(|one| is_meant(one));
        meant.map(|one| one.name.clone()).collect()
    };
    Bypassed {
        filter_rules: filter_rules(),
        legacy_tables: legacy_tables(),
        checked_sources: named(&|one| checks_sources("all") || checks_sources(&one.name)),
        routing_rules: [ListRequest::RULES4, ListRequest::RULES6]
            .iter()
            .map(routing_rules)
            .sum(),
        programs: named(&|one| one.link.program.is_some()),
    }
}

fn filter_rules() -> Option<u64> {
    let mut rules = 0;
    let counted = netlink::list(&ListRequest::FILTER_RULES, |_| rules += 1);
    match counted {
        Ok(()) => Some(rules),
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => None,
        // There is no packet filter in this kernel.
        Err(_) => Some(0),
    }
}

fn legacy_tables() -> Vec<String> {
    let files = ["/proc/net/ip_tables_names", "/proc/net/ip6_tables_names"];
    let texts = files.iter().filter_map(|file| fs::read_to_string(file).ok());
    let mut tables: Vec<String> = texts
        .flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>())
        .collect();
    tables.sort();
    tables.dedup();
    tables
}

fn checks_sources(interface: &str) -> bool {
    let value = fs::read_to_string(format!("/proc/sys/net/ipv4/conf/{interface}/rp_filter"));
    value.is_ok_and(|value| value.trim() != "0")
}

/// The number of rules beside those for the tables local, main and default.
fn routing_rules(family: &ListRequest<'_>) -> u64 {
    const OF_EVERY_HOST: [u32; 3] = [0, 32_766, 32_767];
    let mut rules = 0;
    let _unknown = netlink::list(family, |entry| {
        rules += u64::from(!OF_EVERY_HOST.contains(&priority(entry)));
    });
    rules
}

/// Returns those of these interfaces that are not there now.
pub fn absent(interfaces: &[String]) -> Vec<&str> {
    let is_absent = |name: &&String| !is_pattern(name) && if_nametoindex(name.as_str()).is_err();
    interfaces.iter().filter(is_absent).map(String::as_str).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_compared_as_numbers() {
        for (release, expected) in [
            ("6.1.0-18-amd64", Some((6, 1))),
            ("5.10.0", Some((5, 10))),
            ("6.18.44-fc-v657", Some((6, 18))),
            ("7.0", Some((7, 0))),
            ("odd", None),
        ] {
            assert_eq!(number(release), expected, "{release}");
        }
        assert!(number("5.9.16") < Some(OLDEST) && number("5.10.0-38") == Some(OLDEST));
        assert!(Some(OLDEST) < number("6.1"));
    }

    #[test]
    fn what_is_not_there_is_named() {
        let names = ["lo", "none-such", "e*"].map(str::to_owned);
        assert_eq!(absent(&names), ["none-such"]);
    }
}
