//! Pure. Tests of restrictions that can't be carried over: the result is stricter then, never wider.

use super::*;

/// The settings that answer no client.
const CLOSED: &str = "[access] default = \"deny\"";

#[test]
fn who_is_denied_without_being_known_is_denied_with_all_others() {
    for (lines, why) in [
        ("allow\ndeny some.example", "not looked up"),
        ("deny some.example\nallow", "not looked up"),
        ("allow all\ndeny all some.example", "not looked up"),
        ("allow\ndeny 10/64", "no subnet"),
        ("allow\ndeny 10/x", "no number"),
        ("allow\ndeny 10 # not ours", "one subnet"),
        ("allow\nport 0", "answers no client"),
    ] {
        in_part(&chrony(lines), CLOSED, why);
    }
    for (line, why) in [
        ("restrict a.example ignore", "not looked up"),
        ("restrict -6 a.example NOSERVE", "not looked up"),
        ("restrict a.example notrust", "not looked up"),
        ("restrict a.example version", "not looked up"),
        ("restrict 10.0.0.0/40 ignore", "no address"),
        ("restrict 10.0.0.0 mask 255.0.255.0 ignore", "no prefix"),
        ("restrict 10.0.0.0 mask 255.0.0 nomodify ignore", "no prefix"),
        ("restrict 10.0.0.0 mask ffff:: ignore", "no prefix"),
        ("restrict 10.0.0.0 mask ignore", "no prefix"),
        ("unrestrict 10.0.0.0/8", "takes back"),
    ] {
        let open = format!("restrict default nomodify\n{line}\nrestrict 127.0.0.1");
        in_part(&ntp(&open), CLOSED, why);
    }
    // The configuration also gives the reason.
    let report = chrony("allow\ndeny some.example");
    assert!(
        report.configuration.contains("could not be carried"),
        "{}",
        report.configuration
    );
}

#[test]
fn who_is_let_in_without_being_known_is_not() {
    in_part(
        &chrony("deny\nallow some.example\nallow 10"),
        "[access] default = \"deny\" allow = [\"10.0.0.0/8\"]",
        "not looked up",
    );
    for line in [
        "restrict a.example",
        "restrict a.example ippeerlimit 3 nomodify",
        "restrict 10.0.0.0 mask 255.0.255.0 kod",
    ] {
        let report = ntp(&format!("restrict default ignore\nrestrict 127.0.0.1\n{line}"));
        assert_eq!(
            settings(&report),
            "[access] default = \"deny\" allow = [\"127.0.0.1/32\"]",
            "{line}"
        );
    }
    whole(
        &ntp("restrict default ippeerlimit 5 nomodify\nrestrict 10.0.0.0/8 nomrulist"),
        "",
    );
}

#[test]
fn a_flag_that_is_not_known_may_be_a_restriction() {
    for flag in ["version", "ntpport", "flake", "wings"] {
        let text = format!("restrict default nomodify\nrestrict 10.0.0.0/8 {flag}");
        in_part(&ntp(&text), "[access] deny = [\"10.0.0.0/8\"]", flag);
    }
}

#[test]
fn a_limit_that_is_not_the_same_is_a_limit() {
    let limit = |interval: &str, burst: u8, leak: &str| {
        format!("[limit] mode = \"on\" interval = {interval} burst = {burst} leak = {leak}")
    };
    for (line, expected, why) in [
        (
            "ratelimit interval 12",
            limit("64.0", 8, "0.25"),
            "no number from -13 to 6",
        ),
        (
            "ratelimit interval -19",
            limit("0.0001220703125", 8, "0.25"),
            "nearest",
        ),
        ("ratelimit interval x", limit("8.0", 8, "0.25"), "no number"),
        (
            "ratelimit burst 4 leak 3",
            limit("8.0", 8, "0.125"),
            "no number from 8",
        ),
        (
            "ratelimit interval 1 kod 2",
            limit("2.0", 8, "0.25"),
            "kod: nothing",
        ),
        ("ratelimit interval", limit("8.0", 8, "0.25"), "lacks its value"),
    ] {
        in_part(&chrony(&format!("{OPEN}{line}")), &expected, why);
    }
    let all = "[limit] mode = \"on\" interval = ";
    for (lines, interval, why) in [
        ("restrict 192.0.2.0/24 limited", "8.0", "all are limited"),
        ("restrict a.example limited", "8.0", "not looked up"),
        ("restrict default limited\ndiscard average 9", "64.0", "nearest"),
    ] {
        in_part(
            &ntp(&format!("restrict default nomodify\n{lines}")),
            &format!("{all}{interval} burst = 8 leak = 0.01"),
            why,
        );
    }
}

#[test]
fn where_it_listens_is_this_host_alone_if_it_can_t_be_said() {
    for line in [
        "bindaddress 224.0.0.1",
        "bindaddress a.example",
        "binddevice eth0",
        "bindaddress 192.0.2.1\nbinddevice eth0",
    ] {
        in_part(
            &chrony(&format!("{OPEN}{line}")),
            ONLY_THIS_HOST,
            "only this host",
        );
    }
    let other = ONLY_THIS_HOST.replace(":123", ":1123");
    in_part(
        &chrony(&format!("{OPEN}binddevice eth0\nport 1123")),
        &other,
        "only this host",
    );
}

proptest! {
    /// An address that is answered with a rule spoilt is also answered with the rule intact.
    #[test]
    fn a_rule_that_is_spoilt_lets_in_no_client(
        rules in prop::collection::vec((any::<bool>(), 0_u8..=3, 0_u8..3, 0_u8..3), 1..8),
        which in any::<prop::sample::Index>(),
        how in prop::sample::select(vec!["a.example", "10.0.0.0/77", "no-subnet/8"]),
        asked in (0_u8..3, 0_u8..3),
        is_chrony in any::<bool>(),
    ) {
        let spoilt = which.index(rules.len());
        let text = |spoilt: Option<usize>| {
            let line = |(index, (allowed, parts, a, b)): (usize, &(bool, u8, u8, u8))| {
                let [a, b] = [(1, a), (2, b)].map(|(least, value)| if *parts >= least { *value } else { 0 });
                let subnet = if spoilt == Some(index) { how.to_owned() } else { format!("{a}.{b}.0.0/{}", parts * 8) };
                match (is_chrony, *allowed) {
                    (true, true) => format!("allow {subnet}\n"),
                    (true, false) => format!("deny {subnet}\n"),
                    (false, true) => format!("restrict {subnet} nomodify\n"),
                    (false, false) => format!("restrict {subnet} ignore\n"),
                }
            };
            // So a line is carried over in any case.
            let first = if is_chrony { "minsources 1\n" } else { "tos minsane 1\n" };
            rules.iter().enumerate().map(line).fold(first.to_owned(), |text, line| text + &line)
        };
        let answered = |text: &str| {
            let report = if is_chrony { chrony(text) } else { ntp(text) };
            let config = loaded(&report).config;
            let policy = &config.listeners[0].policy;
            policy.access.allows([asked.0, asked.1, 0, 0].into())
        };
        let (whole, part) = (answered(&text(None)), answered(&text(Some(spoilt))));
        // A spoilt rule that lets in may have let in addresses that another one denies; never the other way round.
        prop_assert!(whole || !part, "{}{}", text(None), text(Some(spoilt)));
    }
}
