//! Impure. What the kernel says about lost packets: of this network namespace, and of sockets of ours.

use std::collections::HashSet;
use std::fs;
use std::net::UdpSocket;
use std::os::fd::AsFd;

use nix::sys::stat::fstat;

use crate::report::Kernel;

impl Kernel {
    /// The counters as they are now.
    pub(crate) fn now() -> Self {
        let (four, six) = (ipv4_counters(), ipv6_counters());
        Self {
            no_ports: find(&four, "NoPorts") + find(&six, "Udp6NoPorts"),
            queue_full: find(&four, "RcvbufErrors") + find(&six, "Udp6RcvbufErrors"),
        }
    }

    /// What was counted since `before`.
    pub(crate) fn since(self, before: Self) -> Self {
        Self {
            no_ports: self.no_ports - before.no_ports,
            queue_full: self.queue_full - before.queue_full,
        }
    }
}

type Counters = Vec<(String, u64)>;

fn find(counters: &Counters, name: &str) -> u64 {
    let found = counters.iter().find(|(found, _)| found == name);
    // A kernel without IPv6 has no file for it.
    found.map_or(0, |(_, value)| *value)
}

/// A line of names, and one of values.
fn ipv4_counters() -> Counters {
    let text = fs::read_to_string("/proc/self/net/snmp").expect("/proc/self/net/snmp");
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("Udp: "));
    let (names, values) = (lines.next().unwrap_or(""), lines.next().unwrap_or(""));
    let pairs = names.split_whitespace().zip(values.split_whitespace());
    pairs.filter_map(pair).collect()
}

/// A name and its value a line.
fn ipv6_counters() -> Counters {
    let text = fs::read_to_string("/proc/self/net/snmp6").unwrap_or_default();
    let pairs = text
        .lines()
        .filter_map(|line| line.split_once(char::is_whitespace));
    pairs.filter_map(pair).collect()
}

fn pair((name, value): (&str, &str)) -> Option<(String, u64)> {
    Some((name.to_owned(), value.trim().parse().ok()?))
}

/// How many packets these sockets dropped since they are open: the last column of `/proc/net/udp`.
pub(crate) fn drops<'a>(sockets: impl Iterator<Item = &'a UdpSocket>) -> u64 {
    let inodes: HashSet<String> = sockets
        .map(|socket| fstat(socket.as_fd()).expect("a socket").st_ino.to_string())
        .collect();
    let tables = ["udp", "udp6"].map(|table| fs::read_to_string(format!("/proc/self/net/{table}")));
    let lines = tables.iter().flatten().flat_map(|text| text.lines());
    lines
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .filter(|words| words.get(9).is_some_and(|inode| inodes.contains(*inode)))
        .filter_map(|words| words.last()?.parse::<u64>().ok())
        .sum()
}
