//! Pure. Tests of each kind of line of a chrony.conf.

use super::*;

#[test]
fn servers_of_chrony() {
    for (line, expected) in [
        ("server a.example iburst", "address = \"a.example\""),
        (
            "SERVER a.example IBURST minpoll 4 maxpoll 8",
            "address = \"a.example\" minpoll = 4 maxpoll = 8",
        ),
        ("server a.example", "address = \"a.example\" iburst = false"),
        (
            "server 192.0.2.1 iburst port 1123",
            "address = \"192.0.2.1:1123\"",
        ),
        (
            "server 2001:db8::1 iburst port 1123",
            "address = \"[2001:db8::1]:1123\"",
        ),
        (
            "server 2001:db8::1 iburst prefer trust",
            "address = \"2001:db8::1\" prefer = true trust = true",
        ),
        (
            "server a.example iburst require",
            "address = \"a.example\" require = true",
        ),
        (
            "server a.example iburst noselect",
            "address = \"a.example\" noselect = true",
        ),
        (
            "pool a.example iburst maxsources 2",
            "address = \"a.example\" pool = true count = 2",
        ),
        ("pool 192.0.2.1 iburst", "address = \"192.0.2.1\""),
        ("server fe80::1%eth0 iburst", "address = \"fe80::1%eth0\""),
        (
            "server fe80::1%eth0 iburst port 11123",
            "address = \"[fe80::1%eth0]:11123\"",
        ),
    ] {
        whole(
            &chrony(&format!("{OPEN}{line}")),
            &format!("[[upstream]] {expected}"),
        );
    }
}

#[test]
fn servers_of_chrony_that_are_carried_in_part() {
    for (line, expected, why) in [
        (
            "pool a.example iburst maxsources 40",
            "[clock] [[upstream]] address = \"a.example\" pool = true",
            "no number from 1 to 16",
        ),
        (
            "server a.example iburst maxsources 4",
            "[[upstream]] address = \"a.example\"",
            "a single server",
        ),
        (
            "peer a.example iburst",
            "[[upstream]] address = \"a.example\"",
            "symmetric",
        ),
        (
            "server a.example iburst xleave minpoll 4",
            "[[upstream]] address = \"a.example\" minpoll = 4",
            "xleave",
        ),
        (
            "server a.example iburst minpoll -2",
            "[[upstream]] address = \"a.example\"",
            "no number from 0 to 17",
        ),
        (
            "server a.example iburst minpoll 0",
            "[[upstream]] address = \"a.example\"",
            "1 to 17",
        ),
        (
            "server a.example iburst minpoll 9 maxpoll 8",
            "[[upstream]] address = \"a.example\"",
            "order",
        ),
        (
            "server a.example iburst wings 2",
            "[[upstream]] address = \"a.example\"",
            "wings: no such option",
        ),
        (
            "server a.example iburst noselect require",
            "[[upstream]] address = \"a.example\" noselect = true",
            "monitored",
        ),
        ("server a.example iburst key 7", "", "can't authenticate"),
        ("server a..example iburst", "", "dots"),
        ("server", "", "the address of the server is missing"),
        ("server 127.0.0.1", "", "ntpfront itself"),
        (
            "server A.example\nserver a.example.",
            "[[upstream]] address = \"A.example\" iburst = false",
            "polled already",
        ),
        ("refclock PPS /dev/pps0", "", "reads no clocks"),
        ("makestep 1 3", "", "never touches"),
        ("nonsense 1 2", "", "no such directive"),
        ("include /etc/x", "", "name them after this one"),
    ] {
        in_part(&chrony(&format!("{OPEN}{line}")), expected, why);
    }
}

#[test]
fn who_is_answered_by_chrony() {
    for (lines, expected) in [
        ("leapsectz right/UTC", "[access] default = \"deny\""),
        ("allow", ""),
        ("allow all", ""),
        ("allow 0/0\nallow ::/0", ""),
        ("allow 0/0", "[access] default = \"deny\" allow = [\"0.0.0.0/0\"]"),
        (
            "allow 192.0.2",
            "[access] default = \"deny\" allow = [\"192.0.2.0/24\"]",
        ),
        (
            "allow 192.0.2.7/24",
            "[access] default = \"deny\" allow = [\"192.0.2.0/24\"]",
        ),
        (
            "allow 2001:db8::/32\nallow 10",
            "[access] default = \"deny\" allow = [\"10.0.0.0/8\", \"2001:db8::/32\"]",
        ),
        // The longest prefix decides, in any order, and of equal ones the last.
        (
            "deny 10.1\nallow 10\ndeny 10.1",
            "[access] default = \"deny\" allow = [\"10.0.0.0/8\"] deny = [\"10.1.0.0/16\"]",
        ),
        ("allow\ndeny 10.1.1.1", "[access] deny = [\"10.1.1.1/32\"]"),
        ("allow\ndeny 10\nallow 10", ""),
        // "all" also replaces the rules of the parts.
        (
            "deny 10.1\nallow all 10",
            "[access] default = \"deny\" allow = [\"10.0.0.0/8\"]",
        ),
        ("deny 10.1\nallow all", ""),
        (
            "allow all\ndeny all 10\nallow 10.2",
            "[access] allow = [\"10.2.0.0/16\"] deny = [\"10.0.0.0/8\"]",
        ),
    ] {
        whole(&chrony(lines), expected);
    }
}

#[test]
fn all_else_of_chrony() {
    for (lines, expected) in [
        (
            "ratelimit",
            "[limit] mode = \"on\" interval = 8.0 burst = 8 leak = 0.25",
        ),
        (
            "ratelimit interval 1 burst 16 leak 3",
            "[limit] mode = \"on\" interval = 2.0 burst = 16 leak = 0.125",
        ),
        (
            "ratelimit interval -4",
            "[limit] mode = \"on\" interval = 0.0625 burst = 8 leak = 0.25",
        ),
        (
            "local",
            "upstream = [] [local] enabled = true stratum = 10 wait = 4",
        ),
        (
            "local stratum 8 waitunsynced 30",
            "upstream = [] [local] enabled = true stratum = 8 wait = 30",
        ),
        (
            "maxdistance 0.1\nlocal",
            "upstream = [] [clock] max-distance = 0.1 [local] enabled = true stratum = 10 wait = 4 distance = 0.1",
        ),
        (
            "port 1123",
            "[[listener]] address = \"0.0.0.0:1123\" [[listener]] address = \"[::]:1123\"",
        ),
        (
            "bindaddress 192.0.2.1",
            "[[listener]] address = \"192.0.2.1:123\" [[listener]] address = \"[::]:123\"",
        ),
        ("leapsectz right/UTC\nmaxjitter 0.5", "[clock] max-jitter = 0.5"),
        ("leapseclist /a/b", "[clock] leap-seconds = \"/a/b\""),
        (
            "minsources 1\nnoclientlog",
            "[clock] min-sources = 1 [census] enabled = false",
        ),
        ("# minsources 7\n! a\n% b\n ; c\n\n", ""),
    ] {
        whole(&chrony(&format!("{OPEN}{lines}")), expected);
    }
    for (lines, expected, why) in [
        (
            "local stratum 3 orphan",
            "upstream = [] [local] enabled = true stratum = 3 wait = 300",
            "orphan",
        ),
        ("minsources 3", "[clock] min-sources = 1", "3 sources"),
        ("leapseclist a", "", "absolute"),
        ("maxdistance 17", "", "no number"),
    ] {
        in_part(&chrony(&format!("{OPEN}{lines}")), expected, why);
    }
}

#[test]
fn a_chronyd_that_stands_beside_us_is_asked_first() {
    let report = chrony("server a.example iburst\nport 11123\nbindaddress 127.0.0.1\nallow 127.0.0.1");
    let expected = "[[upstream]] address = \"127.0.0.1:11123\" [[upstream]] address = \"a.example\"";
    in_part(&report, expected, "they are about that");
}

#[test]
fn servers_with_nts_are_asked_with_it() {
    let a = "[[upstream]] address = \"a.example\" nts = true";
    for (lines, expected) in [
        ("server a.example iburst nts", a.to_owned()),
        ("server a.example iburst nts ntsport 4460", a.to_owned()),
        (
            "server a.example iburst nts ntsport 4461",
            format!("{a} ke-port = 4461"),
        ),
        (
            "server a.example iburst nts certset 3\nntstrustedcerts 3 /etc/a.pem",
            format!("{a} ca = \"/etc/a.pem\""),
        ),
        (
            "nosystemcert\nntstrustedcerts /etc/a.pem\nserver a.example iburst nts",
            format!("[nts-client] roots = \"/etc/a.pem\" {a}"),
        ),
        (
            "ntsrefresh 604800\nnocerttimecheck 1\nserver a.example iburst nts",
            format!("[nts-client] refresh = \"7d\" {a}"),
        ),
        (
            "ntsrefresh 90000\nserver a.example iburst nts",
            format!("[nts-client] refresh = \"25h\" {a}"),
        ),
        ("authselectmode mix\nserver a.example iburst nts", a.to_owned()),
        (
            "authselectmode require\nserver a.example iburst nts",
            format!("[clock] authenticated = \"require\" {a}"),
        ),
        (
            "authselectmode prefer\nserver a.example iburst nts",
            format!("[clock] authenticated = \"require\" {a}"),
        ),
        (
            "authselectmode ignore\nserver a.example iburst nts",
            format!("[clock] authenticated = \"mix\" {a}"),
        ),
        (
            "authselectmode prefer\nserver a.example iburst",
            "[[upstream]] address = \"a.example\"".to_owned(),
        ),
    ] {
        whole(&chrony(&format!("{OPEN}{lines}\n")), &expected);
    }
    for (lines, why) in [
        // Fewer or other certificates would be trusted.
        (
            "server a.example iburst nts certset 3",
            "for set 3 that is not so",
        ),
        (
            "server a.example iburst nts\nntstrustedcerts /etc/a.pem",
            "for set 0 that is not so",
        ),
        (
            "server a.example iburst nts certset 3\nntstrustedcerts 3 /etc/a.pem\nntstrustedcerts 3 /etc/b.pem",
            "for set 3 that is not so",
        ),
        (
            "server a.example iburst nts certset 3\nntstrustedcerts 3 /etc/",
            "no absolute path of a file",
        ),
        ("server a.example iburst nts key 1", "can't authenticate"),
        (
            "authselectmode require\nserver a.example iburst",
            "none of these servers is authenticated",
        ),
    ] {
        in_part(&chrony(&format!("{OPEN}{lines}\n")), "", why);
    }
}
