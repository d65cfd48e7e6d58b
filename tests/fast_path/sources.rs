//! Requests whose source is no host's address: neither the program nor the sockets answer them, and both count them.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use crate::common::client::{exchange, receive, request, socket};
use crate::common::network::{in_own_network, ip};
use crate::common::{SOON, wait_until};
use crate::network::{Pair, has_ethtool};

/// The broadcast address of our network, for which the far end has a longer one; and one that no network may have.
const ODD: [Ipv4Addr; 2] = [Ipv4Addr::new(192, 0, 2, 255), Ipv4Addr::new(240, 0, 0, 1)];
const SERVER: ([u8; 4], u16) = ([192, 0, 2, 1], 123);

#[test]
fn neither_the_program_nor_the_sockets_answer_who_is_no_host() {
    if !has_ethtool() {
        return;
    }
    for mode in ["", "native", "generic"] {
        in_own_network(|| {
            let pair = match mode {
                "" => Pair::of_sockets(),
                mode => Pair::start(mode, ""),
            };
            // So that the kernel doesn't turn them away by itself.
            for device in ["all", "near"] {
                std::fs::write(format!("/proc/sys/net/ipv4/conf/{device}/rp_filter"), "0").unwrap();
            }
            ip("route add 240.0.0.0/8 dev near");
            pair.neighbor.run(|| {
                ip("addr del 192.0.2.2/24 dev far");
                ip("addr add 192.0.2.2/16 dev far");
                ip("addr add 192.0.2.255/16 dev far");
                ip("addr add 240.0.0.1/8 dev far");
            });
            if !mode.is_empty() {
                pair.becomes_fast();
            }
            let before = (pair.verdict("refused-source-address"), pair.unsent());
            assert_eq!(pair.neighbor.run(ask_from_odd), [false; 2], "{mode}");
            let refused = wait_until("both are counted", SOON, || {
                let after = (pair.verdict("refused-source-address"), pair.unsent());
                let new = (after.0 - before.0, after.1 - before.1);
                (new.0 + new.1 >= 2).then_some(new)
            });
            // The kernel doesn't let a socket send to a broadcast address.
            let expected = if mode.is_empty() { (1, 1) } else { (2, 0) };
            assert_eq!(refused, expected, "{mode}");
        });
    }
}

/// Which of them is answered, before a host that asks behind them is.
fn ask_from_odd() -> [bool; 2] {
    let server = SocketAddr::from(SERVER);
    let odd = ODD.map(|source| socket((source, 0)));
    for one in &odd {
        one.send_to(&request(4, 3), server).unwrap();
    }
    let host = socket(([192, 0, 2, 2], 0));
    exchange(&host, server, &request(4, 3), SOON).expect("a host is answered");
    odd.map(|one| receive(&one, Duration::from_millis(50)).is_some())
}
