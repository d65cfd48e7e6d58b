//! Interfaces as hosts have them: ports of bridges, macvlans, large packets, names with wildcards.

use crate::common::daemon::Reload;
use crate::common::network::{in_own_network, ip};
use crate::common::{SOON, wait_until};
use crate::network::{Load, Pair, SERVER4, SERVER6, has_ethtool};

/// The addresses of `near` go to another interface.
fn addresses_to(device: &str) {
    ip("addr flush dev near");
    ip(&format!("addr add 192.0.2.1/24 dev {device}"));
    ip(&format!("addr add 2001:db8::1/64 dev {device} nodad"));
    ip(&format!("link set {device} up"));
}

fn bridge() {
    ip("link add br0 type bridge");
    ip("link set near master br0");
    addresses_to("br0");
}

fn macvlan() {
    ip("link add mac0 link near type macvlan mode bridge");
    addresses_to("mac0");
}

/// Both families are answered by the program, and counted at the interface of this name.
fn answers_at(pair: &Pair, name: &str, mode: &str) {
    for server in [SERVER4, SERVER6] {
        pair.becomes_fast_at(server);
    }
    let interface = pair.interface(name);
    assert_eq!(interface["mode"], mode, "{interface}");
    for family in ["ipv4", "ipv6"] {
        assert!(interface[family]["answered"].as_u64() > Some(0), "{interface}");
        assert!(interface[family]["why_none"].is_null(), "{interface}");
    }
}

#[test]
fn a_port_of_a_bridge_answers_for_the_bridge() {
    if !has_ethtool() {
        return;
    }
    for mode in ["native", "generic"] {
        in_own_network(|| answers_at(&Pair::shaped(|_| bridge(), "[\"near\"]", mode), "near", mode));
    }
}

#[test]
fn a_macvlan_answers_and_so_does_the_interface_below_it() {
    if !has_ethtool() {
        return;
    }
    in_own_network(|| {
        answers_at(
            &Pair::shaped(|_| macvlan(), "[\"mac0\"]", "generic"),
            "mac0",
            "generic",
        )
    });
    for mode in ["native", "generic"] {
        in_own_network(|| answers_at(&Pair::shaped(|_| macvlan(), "[\"near\"]", mode), "near", mode));
    }
}

#[test]
fn large_packets_are_no_obstacle() {
    if !has_ethtool() {
        return;
    }
    in_own_network(|| {
        let large = |neighbor: &crate::common::neighbor::Neighbor| {
            ip("link set near mtu 9000");
            // The program of the other end takes packets of several pages, too.
            neighbor.run(|| ip("link set far mtu 9000"));
        };
        answers_at(&Pair::shaped(large, "[\"near\"]", "native"), "near", "native");
    });
}

#[test]
fn names_may_have_wildcards() {
    if !has_ethtool() {
        return;
    }
    in_own_network(|| {
        let pair = Pair::shaped(|_| macvlan(), "[\"n?a*\", \"mac*\"]", "auto");
        answers_at(&pair, "near", "native");
        // It is on top of the other one.
        assert!(pair.interface("mac0").is_null());
        ip("link add nzar type veth peer name other");
        wait_until("a new interface", SOON, || {
            (!pair.interface("nzar").is_null()).then_some(())
        });
        ip("link del nzar");
        wait_until("its end", SOON, || pair.interface("nzar").is_null().then_some(()));
        answers_at(&pair, "near", "native");
    });
}

#[test]
fn the_status_says_why_none_was_answered() {
    if !has_ethtool() {
        return;
    }
    in_own_network(|| {
        let shape = |_: &_| {
            ip("addr flush dev near");
            ip("addr add 192.0.2.1/24 dev near");
        };
        let pair = Pair::shaped(shape, "[\"near\", \"none\"]", "auto");
        assert_eq!(pair.interface("near")["ipv4"]["why_none"], "no plain request yet");
        assert_eq!(
            pair.interface("near")["ipv6"]["why_none"],
            "no address of this host there"
        );
        let absent = pair.interface("none");
        assert_eq!(absent["ipv4"]["why_none"], "it is not attached");
        assert!(
            absent["fault"].as_str().unwrap().contains("no such interface"),
            "{absent}"
        );
        pair.becomes_fast();
        assert!(pair.interface("near")["ipv4"]["why_none"].is_null());
    });
}

/// Under load the program is attached, given up and attached in another way, live; a refused reload changes nothing.
#[test]
fn a_reload_attaches_and_detaches() {
    if !has_ethtool() {
        return;
    }
    in_own_network(|| {
        let pair = Pair::shaped(|_| (), "[\"near\"]", "native");
        pair.becomes_fast();
        let load = pair.neighbor.run(Load::start);
        // Twice without an interface: it is not forgotten that the program is there.
        for round in 0..10 {
            let (interfaces, mode) = [
                ("[\"n*\"]", "generic"),
                ("[\"lo\"]", "auto"),
                ("[]", "auto"),
                ("[]", "native"),
                ("[\"near\"]", "native"),
            ][round % 5];
            let reload = pair.reattach(interfaces, mode);
            assert!(matches!(reload, Reload::Done), "{interfaces} {mode}: {reload:?}");
            let is_there = !pair.interface("near").is_null();
            assert_eq!(is_there, interfaces.contains('n'), "{interfaces}");
        }
        let (sent, answered) = load.stop();
        assert!(sent > 100 && sent == answered, "{sent} sent, {answered} answered");
        answers_at(&pair, "near", "native");
        // The loopback interface has no driver that could.
        let refused = pair.reattach("[\"lo\", \"near\"]", "native");
        assert!(!matches!(refused, Reload::Done), "{refused:?}");
        answers_at(&pair, "near", "native");
    });
}

/// The log says once what the answers go past.
#[test]
fn the_start_names_what_is_gone_past() {
    if !has_ethtool() {
        return;
    }
    in_own_network(|| {
        let shape = |_: &_| {
            ip("rule add from 198.51.100.0/24 table 100");
            std::fs::write("/proc/sys/net/ipv4/conf/near/rp_filter", "1").unwrap();
        };
        let pair = Pair::shaped(shape, "[\"near\"]", "auto");
        for words in ["rp_filter (near)", "policy routing (1 rules)"] {
            assert_eq!(pair.log().matches(words).count(), 1, "{}", pair.log());
        }
        assert!(!pair.log().contains("rules of nf_tables"), "{}", pair.log());
        let _done = pair.reattach("[\"n*\"]", "auto");
        assert_eq!(pair.log().matches("policy routing").count(), 1, "{}", pair.log());
    });
}

/// `ntpfront clients` has the clients of the fast path, with the number of their requests.
#[test]
fn the_census_has_the_clients_of_the_fast_path() {
    if !has_ethtool() {
        return;
    }
    in_own_network(|| {
        let pair = Pair::shaped(|_| (), "[\"near\"]", "native");
        pair.becomes_fast();
        let (fast, _) = pair.counts();
        for _ in 0..20 {
            pair.becomes_fast_at(SERVER6);
        }
        let asked = pair.counts().0 - fast;
        wait_until("the census", SOON, || {
            let clients = pair.clients();
            let top = clients["addresses"]["top"].as_array().unwrap();
            let client = top.iter().find(|one| one["who"] == "2001:db8::2")?;
            (client["at_least"].as_u64() >= Some(asked)).then_some(())
        });
        let clients = pair.clients();
        assert_eq!(
            (clients["one_of"].as_u64(), clients["packets_one_of"].as_u64()),
            (Some(1), Some(1)),
            "{clients}"
        );
        // 192.0.2.2, 2001:db8::2, and 127.0.0.1 at the start.
        assert_eq!(clients["clients"].as_u64(), Some(3), "{clients}");
        assert_eq!(
            clients["requests"],
            pair.status()["requests"]["received"],
            "{clients}"
        );
    });
}

/// Numbers of listeners that are gone are given to new ones, however often that happens; their counts stay.
#[test]
fn numbers_of_listeners_are_given_back() {
    if !has_ethtool() {
        return;
    }
    in_own_network(|| {
        let pair = Pair::shaped(|_| (), "[\"near\"]", "native");
        pair.becomes_fast();
        let before = pair.verdict("answered-client");
        for round in 1..4_u16 {
            let listeners: Vec<String> = (0..30)
                .map(|number| {
                    let port = match number {
                        0 => 123,
                        number => round * 1000 + number,
                    };
                    format!("[[listener]]\naddress = \"192.0.2.1:{port}\"\nworkers = 1\n")
                })
                .collect();
            assert_eq!(pair.reload_with(&listeners.concat()), Reload::Done);
        }
        assert!(!pair.log().contains("is left to the sockets"), "{}", pair.log());
        pair.becomes_fast();
        pair.becomes_fast_at("192.0.2.1:3001");
        assert!(pair.verdict("answered-client") > before);
    });
}
