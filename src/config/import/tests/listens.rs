//! Pure. Tests of the listeners of ntpd's `interface` lines; tests/import_daemons.rs asks a real ntpd.

use super::*;

#[test]
fn the_last_line_about_an_address_decides() {
    let here = |more: &[&str]| {
        let more = more
            .iter()
            .map(|address| format!(" [[listener]] address = \"{address}:123\""));
        more.fold(ONLY_THIS_HOST.to_owned(), |text, more| text + &more)
    };
    for (lines, more) in [
        ("listen 192.0.2.1", &["192.0.2.1"][..]),
        (
            "ignore wildcard\nlisten 192.0.2.1\nlisten 2001:db8::1",
            &["192.0.2.1", "[2001:db8::1]"],
        ),
        ("listen 192.0.2.1\nignore wildcard", &["192.0.2.1"]),
        ("ignore all\nlisten 192.0.2.1", &["192.0.2.1"]),
        ("listen 192.0.2.1\nlisten 127.0.0.1", &["192.0.2.1"]),
        (
            "listen 192.0.2.1\nlisten 192.0.2.2\nignore 192.0.2.1",
            &["192.0.2.2"],
        ),
        ("ignore 192.0.2.1\nlisten 192.0.2.1", &["192.0.2.1"]),
    ] {
        whole(&ntp(&interface(lines)), &here(more));
    }
    for lines in [
        "listen all",
        "ignore all\nlisten all",
        "listen 192.0.2.1\nlisten all\nlisten 192.0.2.2",
    ] {
        whole(&ntp(&interface(lines)), "");
    }
    for (lines, why) in [
        ("ignore all", "only this host"),
        ("ignore wildcard", "only this host"),
        ("ignore 192.0.2.1", "only this host"),
        ("listen 192.0.2.1\nignore all", "only this host"),
        ("listen 192.0.2.1\nignore 192.0.2.1", "only this host"),
        ("listen 192.0.2.1\nignore eth0", "name a [[listener]]"),
        ("listen 192.0.2.1\nignore 192.0.2.0/24", "name a [[listener]]"),
        ("listen all\nignore 192.0.2.1", "name a [[listener]]"),
        ("listen eth0", "only an address"),
        ("listen 0.0.0.0", "only an address"),
    ] {
        in_part(&ntp(&interface(lines)), ONLY_THIS_HOST, why);
    }
}

/// A family is also ignored on the loopback interface, but never both families.
///
/// Without a listener there would be our default ones.
#[test]
fn a_family_that_is_ignored_is_not_listened_on() {
    let [v4, v6] = ["127.0.0.1", "[::1]"].map(|here| format!("[[listener]] address = \"{here}:123\""));
    for (lines, here) in [
        ("ignore ipv6", &v4),
        ("listen all\ndrop ipv6", &v4),
        ("ignore ipv4", &v6),
        ("ignore ipv4\nignore ipv6", &v6),
    ] {
        in_part(&ntp(&interface(lines)), here, "name a [[listener]]");
    }
}

fn interface(lines: &str) -> String {
    let lines: Vec<String> = lines.lines().map(|line| format!("interface {line}")).collect();
    format!("discard average 3\n{}", lines.join("\n"))
}
