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
        for round in 0..6 {
            let (interfaces, mode) = [
                ("[\"n*\"]", "generic"),
                ("[\"lo\"]", "auto"),
                ("[\"near\"]", "native"),
            ][round % 3];
            let reload = pair.reattach(interfaces, mode);
            assert!(matches!(reload, Reload::Done), "{interfaces} {mode}: {reload:?}");
            let is_there = !pair.interface("near").is_null();
            assert_eq!(is_there, interfaces != "[\"lo\"]", "{interfaces}");
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
