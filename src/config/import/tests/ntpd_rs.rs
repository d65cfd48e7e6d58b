//! Pure. Tests of each table of ntpd-rs.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;

use super::*;
use crate::server::policy::access::OnDeny;

fn toml(text: &str) -> ImportReport {
    imported(None, text)
}

const SERVER: &str = "[[server]]\nlisten = \"192.0.2.1:123\"\n";
const LISTENS: &str = "[[listener]] address = \"192.0.2.1:123\"";
const AGREE: &str = "[synchronization]\nminimum-agreeing-sources = 1\n";
const ONE: &str = "[clock] min-sources = 1";
/// The keys of the default intervals of ntpd-rs.
const POLLS: &str = "iburst = false minpoll = 4 maxpoll = 10";

/// The same of a pool.
const IN_POOL: &str = "pool = true iburst = false minpoll = 4 maxpoll = 10";

#[test]
fn sources() {
    let source = |keys: &str| toml(&format!("{SERVER}{AGREE}[[source]]\n{keys}\n"));
    let upstream =
        |address: &str, polls: &str| format!("{ONE} {LISTENS} [[upstream]] address = \"{address}\" {polls}");
    for (keys, address, polls) in [
        ("mode = \"server\"\naddress = \"a.example\"", "a.example", POLLS),
        (
            "mode = \"server\"\naddress = \"a.example:1123\"",
            "a.example:1123",
            POLLS,
        ),
        (
            "mode = \"server\"\naddress = \"[2001:db8::1]:123\"",
            "2001:db8::1",
            POLLS,
        ),
        (
            "mode = \"server\"\naddress = \"a.example\"\nntp-version = 4\npoll-interval-limits = { min = 5 }",
            "a.example",
            "iburst = false minpoll = 5 maxpoll = 10",
        ),
        ("mode = \"pool\"\naddress = \"a.example\"", "a.example", IN_POOL),
        (
            "mode = \"pool\"\naddress = \"a.example\"\ncount = 4",
            "a.example",
            IN_POOL,
        ),
        (
            "mode = \"pool\"\naddress = \"a.example\"\ncount = 6",
            "a.example",
            "pool = true count = 6 iburst = false minpoll = 4 maxpoll = 10",
        ),
    ] {
        whole(&source(keys), &upstream(address, polls));
    }
    for (keys, address, polls, why) in [
        (
            "mode = \"pool\"\naddress = \"a.example\"\ncount = 17",
            "a.example",
            IN_POOL,
            "1 to 16",
        ),
        (
            "mode = \"pool\"\naddress = \"a.example\"\nignore = [\"192.0.2.7\"]",
            "a.example",
            IN_POOL,
            "nothing here is like it",
        ),
        (
            "mode = \"server\"\naddress = \"a.example\"\nntp-version = \"auto\"",
            "a.example",
            POLLS,
            "version 4",
        ),
        (
            "mode = \"server\"\naddress = \"a.example\"\nwings = 2",
            "a.example",
            POLLS,
            "no such key",
        ),
        (
            "mode = \"server\"\naddress = \"a.example\"\npoll-interval-limits = { min = 0 }",
            "a.example",
            "iburst = false",
            "in this order",
        ),
        (
            "mode = \"server\"\naddress = \"a.example\"\ninitial-poll-interval = 5",
            "a.example",
            POLLS,
            "begins with the shortest",
        ),
    ] {
        in_part(&source(keys), &upstream(address, polls), why);
    }
    for (keys, why) in [
        (
            "mode = \"nts\"\naddress = \"a.example\"\ncertificate-authority = \"ca.pem\"",
            "no absolute path",
        ),
        (
            "mode = \"nts-pool\"\naddress = \"a.example\"",
            "can't authenticate",
        ),
        (
            "mode = \"sock\"\npath = \"/run/a\"\nprecision = 1e-3",
            "reads no clocks",
        ),
        (
            "mode = \"pps\"\npath = \"/dev/pps0\"\nprecision = 1e-7",
            "reads no clocks",
        ),
        ("mode = \"wings\"", "no such mode"),
        ("mode = \"server\"", "the address of the server is missing"),
        ("mode = \"server\"\naddress = \"a..example\"", "is not"),
    ] {
        in_part(&source(keys), &format!("{ONE} {LISTENS}"), why);
    }
    let defaults = "[source-defaults]\npoll-interval-limits = { min = 6, max = 7 }\n";
    let text = format!("{SERVER}{AGREE}[[source]]\nmode = \"server\"\naddress = \"a.example\"\n{defaults}");
    whole(
        &toml(&text),
        &upstream("a.example", "iburst = false minpoll = 6 maxpoll = 7"),
    );
}

#[test]
fn how_many_must_agree() {
    let text = |count: usize, more: &str| {
        let source = |number| format!("[[source]]\nmode = \"server\"\naddress = \"a{number}.example\"\n");
        (0..count)
            .map(source)
            .fold(format!("{SERVER}{more}"), |text, source| text + &source)
    };
    for (count, more, least) in [(3, "", 3), (5, "", 3), (4, AGREE, 1)] {
        let report = toml(&text(count, more));
        assert_eq!(
            (loaded(&report).config.clock.min_sources, report.result),
            (least, ImportResult::Whole),
            "{}",
            report.remarks
        );
    }
    // ntpd-rs would serve no client at all: here all of them must agree, and a remark tells that.
    for count in [1, 2] {
        let report = toml(&text(count, ""));
        let least = usize::from(loaded(&report).config.clock.min_sources);
        assert_eq!(
            (least, report.result),
            (count, ImportResult::InPart),
            "{}",
            report.configuration
        );
        assert!(
            report.remarks.contains("3 sources that must agree"),
            "{}",
            report.remarks
        );
    }
}

#[test]
fn servers() {
    let server = |keys: &str| toml(&format!("{AGREE}{SERVER}{keys}\n"));
    for (keys, expected) in [
        ("", ""),
        ("rate-limiting-cutoff-ms = 500", ""),
        ("rate-limiting-cache-size = 500", ""),
        ("require-nts = false", ""),
        (
            "allowlist = { filter = [\"10.1.2.3/8\", \"2001:db8::/32\"], action = \"ignore\" }",
            " access.default = \"deny\" access.allow = [\"10.0.0.0/8\", \"2001:db8::/32\"]",
        ),
        (
            "denylist = { filter = [\"::ffff:192.0.2.0/120\"], action = \"deny\" }",
            " access.deny = [\"192.0.2.0/24\"] access.on-deny = \"kiss\"",
        ),
        // In ntpd-rs the denylist wins, with prefixes of any length.
        (
            "denylist = { filter = [\"10.0.0.0/8\"], action = \"ignore\" }\n\
             allowlist = { filter = [\"10.1.0.0/16\", \"0.0.0.0/0\"], action = \"ignore\" }",
            " access.default = \"deny\" access.allow = [\"0.0.0.0/0\"] access.deny = [\"10.0.0.0/8\"]",
        ),
    ] {
        whole(&server(keys), &format!("{ONE} {LISTENS}{expected}"));
    }
    let limit = "limit.mode = \"on\" limit.interval = 0.5 limit.burst = 8 limit.leak = 0.01 limit.kiss = 1.0";
    let closed = "access.default = \"deny\"";
    for (keys, expected, why) in [
        (
            "rate-limiting-cutoff-ms = 500\nrate-limiting-cache-size = 32",
            limit.to_owned(),
            "the mean",
        ),
        (
            "rate-limiting-cutoff-ms = 90000\nrate-limiting-cache-size = 100000",
            limit.replace("0.5", "64.0") + " limit.clients = 100000",
            "64 s at most",
        ),
        ("require-nts = true", closed.to_owned(), "no client is answered"),
        (
            "require-nts = \"deny\"",
            format!("{closed} access.on-deny = \"kiss\""),
            "no client is answered",
        ),
        (
            "denylist = { filter = [\"10.0.0.0/8\", \"a.example\"], action = \"ignore\" }",
            closed.to_owned(),
            "no prefix",
        ),
        (
            "denylist = { action = \"ignore\" }",
            closed.to_owned(),
            "no client is answered there",
        ),
        (
            "allowlist = { filter = [\"10.0.0.0/8\", \"10\"], action = \"ignore\" }",
            format!("{closed} access.allow = [\"10.0.0.0/8\"]"),
            "no prefix",
        ),
        (
            "allowlist = { filter = [\"0.0.0.0/0\"], action = \"ignore\" }\n\
             denylist = { filter = [\"10.0.0.0/8\"], action = \"deny\" }",
            format!("{closed} access.allow = [\"0.0.0.0/0\"] access.deny = [\"10.0.0.0/8\"]"),
            "none gets DENY",
        ),
    ] {
        in_part(&server(keys), &format!("{ONE} {LISTENS} {expected}"), why);
    }
    in_part(
        &server("accept-ntp-versions = [4]"),
        &format!("{ONE} {LISTENS}"),
        "versions 1 to 4",
    );
}

#[test]
fn where_it_listens() {
    // ntpd-rs has one socket for both families.
    whole(
        &toml(&format!(
            "{AGREE}[[server]]\nlisten = \"[::]:1123\"\nallowlist = {{ filter = [], action = \"ignore\" }}"
        )),
        &format!(
            "{ONE} [[listener]] address = \"[::]:1123\" access.default = \"deny\" \
             [[listener]] address = \"0.0.0.0:1123\" access.default = \"deny\""
        ),
    );
    for text in [
        "",
        "[[server]]\nlisten = \"123\"\n",
        "[[server]]\nlisten = \"224.0.0.1:123\"\n",
    ] {
        in_part(
            &toml(&format!("{AGREE}{text}")),
            &format!("{ONE} {ONLY_THIS_HOST}"),
            "only this host",
        );
    }
}

#[test]
fn all_else() {
    let level = |level: &str| format!("[log] level = \"{level}\" {ONE} {LISTENS}");
    let text = |more: &str| toml(&format!("{AGREE}{SERVER}{more}"));
    whole(&text("[observability]\nlog-level = \"warn\""), &level("warn"));
    whole(
        &text("[observability]\nmetrics-exporter-listen = \"127.0.0.1:9975\""),
        &format!("[metrics] listen = \"127.0.0.1:9975\" {ONE} {LISTENS}"),
    );
    for (more, expected, why) in [
        (
            "[observability]\nobservation-path = \"/run/a\"",
            format!("{ONE} {LISTENS}"),
            "control.socket",
        ),
        (
            "[observability]\nlog-level = \"loud\"",
            format!("{ONE} {LISTENS}"),
            "no such level",
        ),
        (
            "[keyset]\nstale-key-count = 3",
            format!("{ONE} {LISTENS}"),
            "no keys are established",
        ),
        (
            "[[nts-ke-server]]\nlisten = \"[::]:4460\"",
            format!("{ONE} {LISTENS}"),
            "certificate-chain-path: no absolute path",
        ),
        ("[wings]\na = 1", format!("{ONE} {LISTENS}"), "no such key"),
    ] {
        in_part(&text(more), &expected, why);
    }
    for (key, why) in [
        ("single-step-panic-threshold = 1800", "never touches"),
        ("local-stratum = 7", "enabled = true, stratum = 7"),
        ("reference-id = \"GPS\"", "without an upstream"),
        ("algorithm = { step-threshold = 1.0 }", "rules of its own"),
        ("wings = 1", "no such key"),
    ] {
        in_part(
            &toml(&format!("{SERVER}{AGREE}{key}")),
            &format!("{ONE} {LISTENS}"),
            why,
        );
    }
    whole(
        &toml(&format!("{SERVER}{AGREE}local-stratum = 16")),
        &format!("{ONE} {LISTENS}"),
    );
}

#[test]
fn a_wrong_guess_is_told() {
    let file = |name: &str, text: &str| (PathBuf::from(name), Some(text.to_owned()));
    let (theirs, other) = (
        file("a.toml", SERVER),
        file("b.conf", "allow\nserver a.example iburst"),
    );
    let ours = file("c.toml", "[[upstream]]\naddress = \"a.example\"");
    let spoilt = file("d.toml", "[[server]]\nlisten = 192.0.2.1");
    for (dialect, files, why) in [
        (
            Some(Dialect::Chrony),
            std::slice::from_ref(&theirs),
            "a.toml is a file of ntpd-rs",
        ),
        (
            Some(Dialect::NtpdRs),
            std::slice::from_ref(&other),
            "b.conf has no table",
        ),
        (None, &[theirs.clone(), other.clone()], "import them one by one"),
        (None, &[ours], "c.toml is a configuration of ntpfront's own"),
        (None, &[spoilt], "d.toml:2: listen = 192.0.2.1: no TOML"),
    ] {
        let report = import(dialect, files);
        assert_eq!(
            (report.configuration.as_str(), report.result),
            ("", ImportResult::Nothing),
            "{why}"
        );
        assert!(report.remarks.contains(why), "{why}: {}", report.remarks);
    }
    let report = ntp("server a.example iburst\nmakestep 1 3");
    assert!(
        report.remarks.contains("it is one of chronyd's (--from chrony)"),
        "{}",
        report.remarks
    );
}

#[test]
fn remarks_name_their_lines() {
    let text = format!("{AGREE}\n[[source]]\nmode = \"nts-pool\"\naddress = \"a\"\n\n{SERVER}wings = 2\n");
    let report = toml(&text);
    let places: Vec<&str> = report
        .remarks
        .lines()
        .filter_map(|line| line.split(": ").next())
        .collect();
    assert_eq!(places, ["f:4", "f:10"], "{}", report.remarks);
}

fn nets() -> impl Strategy<Value = Vec<(u8, u8, u8)>> {
    prop::collection::vec((0_u8..3, 0_u8..3, prop::sample::select(vec![0, 8, 12, 16])), 0..4)
}

proptest! {
    /// An address is answered if it is in the allowlist, if any, and not in the denylist.
    #[test]
    fn lists_mean_the_same(
        allow in prop::option::of(nets()),
        deny in prop::option::of(nets()),
        told in any::<bool>(),
        asked in (0_u8..3, 0_u8..3),
    ) {
        let action = if told { "deny" } else { "ignore" };
        let list = |key: &str, nets: &Option<Vec<(u8, u8, u8)>>| match nets {
            None => String::new(),
            Some(nets) => {
                let nets: Vec<String> = nets.iter().map(|(a, b, bits)| format!("\"{a}.{b}.0.0/{bits}\"")).collect();
                format!("{key} = {{ filter = [{}], action = \"{action}\" }}\n", nets.join(", "))
            }
        };
        let report = toml(&format!("{SERVER}{}{}", list("allowlist", &allow), list("denylist", &deny)));
        let address = Ipv4Addr::new(asked.0, asked.1, 0, 0);
        let has = |nets: &Vec<(u8, u8, u8)>| nets.iter().any(|(a, b, bits)| {
            let net: IpNet = format!("{a}.{b}.0.0/{bits}").parse().unwrap();
            net.trunc().contains(&IpAddr::from(address))
        });
        let expected = allow.as_ref().is_none_or(has) && !deny.as_ref().is_some_and(has);
        let config = loaded(&report).config;
        let access = &config.listeners[0].policy.access;
        prop_assert_eq!(access.allows(address.into()), expected, "{}", report.configuration);
        let refuses = allow.is_some() || deny.is_some_and(|deny| !deny.is_empty());
        prop_assert_eq!(access.on_deny == OnDeny::Kiss, refuses && told, "{}", report.configuration);
    }

    /// Any tables become a configuration without a fault.
    #[test]
    fn what_is_made_is_sound(
        tables in prop::collection::vec((
            prop::sample::select(vec!["[[source]]", "[[server]]", "[synchronization]", "[observability]", "[keyset]", "[[nts-ke-server]]",
                "[x]"]),
            prop::collection::vec((
                prop::sample::select(vec![
                    "mode", "address", "listen", "count", "allowlist", "denylist", "require-nts", "log-level",
                    "minimum-agreeing-sources", "local-stratum", "rate-limiting-cutoff-ms", "rate-limiting-cache-size",
                    "poll-interval-limits", "metrics-exporter-listen", "ntp-version", "certificate-chain-path",
                    "private-key-path", "key-exchange-timeout-ms", "concurrent-connections", "ntp-server", "ntp-port",
                    "stale-key-count", "key-rotation-interval", "key-storage-path", "accept-ntp-versions",
                ]),
                prop::sample::select(vec![
                    "\"server\"", "\"pool\"", "\"nts\"", "\"a.example\"", "\"[::]:123\"", "\"0.0.0.0:123\"", "7", "-3", "true",
                    "99999999999", "\"\\n\"", "[]", "{}", "{ filter = [\"10.0.0.0/8\", 3], action = \"deny\" }",
                    "{ filter = [\"::/0\"] }", "{ min = 3, max = 2 }", "\"info\"", "\"/a/b\"", "1e400", "1979-05-27",
                ]),
            ), 0..9),
        ), 0..6),
    ) {
        let text: String = tables.into_iter().map(|(head, keys)| {
            let mut seen: Vec<&str> = Vec::new();
            keys.into_iter().fold(format!("{head}\n"), |text, (key, value)| {
                if seen.contains(&key) { return text; }
                seen.push(key);
                text + &format!("{key} = {value}\n")
            })
        }).collect();
        let report = toml(&text);
        if report.result == ImportResult::Nothing {
            prop_assert!(report.configuration.is_empty() && !report.remarks.is_empty());
        } else {
            let loaded = load(&report);
            prop_assert!(loaded.is_ok(), "{:?}\n{}", loaded, report.configuration);
            prop_assert_eq!(report.result != ImportResult::Whole, !report.remarks.is_empty());
        }
        for line in report.remarks.lines().chain(report.configuration.lines()) {
            prop_assert!(!line.contains(char::is_control), "{:?}", line);
        }
    }
}

#[test]
fn sources_with_nts_are_asked_with_it() {
    for (keys, expected) in [
        ("address = \"a.example\"", String::new()),
        ("address = \"a.example:4460\"", String::new()),
        ("address = \"a.example:4461\"", " ke-port = 4461".to_owned()),
        ("address = \"a.example:123\"", " ke-port = 123".to_owned()),
        (
            "address = \"a.example\"\ncertificate-authority = \"/etc/a.pem\"",
            " ca = \"/etc/a.pem\"".to_owned(),
        ),
    ] {
        let report = toml(&format!("{SERVER}{AGREE}[[source]]\nmode = \"nts\"\n{keys}\n"));
        let upstream = format!("[[upstream]] address = \"a.example\" {POLLS} nts = true{expected}");
        whole(&report, &format!("{ONE} {LISTENS} {upstream}"));
    }
}
