//! Pure. Tests of each kind of line, and properties of any text.

use proptest::prelude::*;

mod agreement;
mod chrony_conf;
mod listens;
mod ntpd_rs;
mod nts_servers;
mod stricter;

use super::*;
use crate::cli::Flags;
use crate::config::{Fault, Loaded, NamedFiles, load_with};

fn imported(dialect: Option<Dialect>, text: &str) -> ImportReport {
    import(dialect, &[(PathBuf::from("f"), Some(text.to_owned()))])
}

fn chrony(text: &str) -> ImportReport {
    imported(Some(Dialect::Chrony), text)
}

fn ntp(text: &str) -> ImportReport {
    imported(Some(Dialect::Ntp), text)
}

/// Returns the configuration on one line, without comments and empty lines.
fn settings(report: &ImportReport) -> String {
    let lines = report
        .configuration
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.collect::<Vec<_>>().join(" ")
}

fn loaded(report: &ImportReport) -> Loaded {
    load(report).unwrap_or_else(|faults| panic!("{faults:?}\n{}", report.configuration))
}

fn load(report: &ImportReport) -> Result<Loaded, Vec<Fault>> {
    // The certificates of the system, or of a file that it names.
    let certificates = |_: &Path| {
        let pem = &b"-----BEGIN CERTIFICATE-----\nAQID\n-----END CERTIFICATE-----\n"[..];
        Ok(Box::new(pem) as Box<dyn std::io::BufRead>)
    };
    let files = NamedFiles {
        sources: None,
        lists: &certificates,
        private: None,
        asked: &[],
    };
    load_with(
        &Flags::default(),
        Some((Path::new("made"), &report.configuration)),
        &[],
        files,
    )
}

/// Asserts that the import is whole and has the `expected` settings.
fn whole(report: &ImportReport, expected: &str) {
    assert_eq!(
        (report.remarks.as_str(), report.result),
        ("", ImportResult::Whole),
        "{}",
        report.configuration
    );
    assert_eq!(settings(report), expected);
    loaded(report);
}

/// Asserts that the import is partial, has the `expected` settings, and gives the reason `why`.
fn in_part(report: &ImportReport, expected: &str, why: &str) {
    assert_eq!(
        report.result,
        ImportResult::InPart,
        "{}{}",
        report.configuration,
        report.remarks
    );
    assert_eq!(settings(report), expected, "{}", report.remarks);
    assert!(report.remarks.contains(why), "{why}: {}", report.remarks);
    loaded(report);
}

/// The first line of a chrony.conf that answers all clients.
const OPEN: &str = "allow\n";

#[test]
fn ntpd() {
    for (lines, expected) in [
        (
            "server a.example iburst prefer # why",
            "[[upstream]] address = \"a.example\" prefer = true",
        ),
        ("restrict default nomodify noquery nopeer notrap", ""),
        (
            "restrict default ignore\nrestrict 10.0.0.0 mask 255.0.0.0 nomodify",
            "[access] default = \"deny\" allow = [\"10.0.0.0/8\"]",
        ),
        (
            "restrict -6 default ignore",
            "[access] default = \"deny\" allow = [\"0.0.0.0/0\"]",
        ),
        (
            "restrict 192.0.2.0/24 noserve\nrestrict ::1",
            "[access] deny = [\"192.0.2.0/24\"]",
        ),
        (
            "restrict default limited\nrestrict 127.0.0.1",
            "[limit] mode = \"on\" interval = 8.0 burst = 8 leak = 0.01",
        ),
        (
            "discard average 1\nrestrict default limited",
            "[limit] mode = \"on\" interval = 2.0 burst = 8 leak = 0.01",
        ),
        ("discard average 1", ""),
        (
            "limit average 4 burst 30\nrestrict default limited",
            "[limit] mode = \"on\" interval = 0.25 burst = 30 leak = 0.01",
        ),
        (
            "server 127.127.1.0\nfudge 127.127.1.0 stratum 12",
            "upstream = [] [local] enabled = true stratum = 13 wait = 300",
        ),
        (
            "server 127.127.1.0 prefer",
            "upstream = [] [local] enabled = true stratum = 6 wait = 0",
        ),
        (
            "tos orphanwait 20\nrefclock local unit 0 stratum 9",
            "upstream = [] [local] enabled = true stratum = 10 wait = 20",
        ),
        (
            "tos minsane 1 maxdist 0.5",
            "[clock] min-sources = 1 max-distance = 0.5",
        ),
        ("leapfile /a/b ignorehash", "[clock] leap-seconds = \"/a/b\""),
    ] {
        whole(&ntp(lines), expected);
    }
    for (lines, expected, why) in [
        ("server 127.127.28.0", "", "reads no clocks"),
        (
            "server -4 a.example iburst",
            "[[upstream]] address = \"a.example\"",
            "-4",
        ),
        ("server a.example key 3", "", "can't authenticate"),
        (
            "restrict default kod limited",
            "[limit] mode = \"on\" interval = 8.0 burst = 8 leak = 0.01",
            "kod",
        ),
        (
            "restrict default limited\nrestrict 192.0.2.0/24",
            "[limit] mode = \"on\" interval = 8.0 burst = 8 leak = 0.01",
            "limited, too",
        ),
        (
            "restrict 10.0.0.0/8 notrust",
            "[access] deny = [\"10.0.0.0/8\"]",
            "notrust",
        ),
        ("restrict source nomodify", "", "upstreams need no rule"),
        (
            "server 127.127.1.0\nfudge 127.127.1.0 time1 0.1 stratum 9 refid LCL",
            "upstream = [] [local] enabled = true stratum = 10 wait = 300",
            "refid: only the stratum",
        ),
        ("fudge 127.127.1.0 stratum 3", "", "no line asks that clock"),
        ("fudge 127.127.1.0 stratum 15", "", "no number from 0 to 14"),
        ("tinker panic 0", "", "never touches"),
        ("driftfile /a", "", "never touches"),
    ] {
        in_part(&ntp(&format!("discard average 3\n{lines}")), expected, why);
    }
}

const ONLY_THIS_HOST: &str = "[[listener]] address = \"127.0.0.1:123\" [[listener]] address = \"[::1]:123\"";

#[test]
fn an_empty_result_is_not_written() {
    let given = |files: &[(&str, Option<&str>)]| {
        let file = |(path, text): &(&str, Option<&str>)| (PathBuf::from(path), text.map(str::to_owned));
        import(None, &files.iter().map(file).collect::<Vec<_>>())
    };
    for (files, why) in [
        (&[("a/*.conf", None)][..], "no file says anything"),
        (
            &[("a", Some("")), ("b", Some("# only\n\n"))],
            "no file says anything",
        ),
        (
            &[("a", Some("rtcsync\nmakestep 1 3"))],
            "nothing of it is for ntpfront",
        ),
        (&[("a", Some("server a.example nts"))], "this could be either"),
        (
            &[("a", Some("server a.example key 7\nrtcsync"))],
            "nothing of it is for ntpfront",
        ),
        (
            &[("a", Some("[[source]]\nmode = \"server\""))],
            "nothing of it is for ntpfront",
        ),
    ] {
        let report = given(files);
        assert_eq!(
            (report.configuration.as_str(), report.result),
            ("", ImportResult::Nothing),
            "{files:?}"
        );
        assert!(report.remarks.contains(why), "{why}: {}", report.remarks);
        assert!(
            report.remarks.ends_with("nothing is written\n"),
            "{}",
            report.remarks
        );
    }
    let report = given(&[("a", Some("allow")), ("b/*.conf", None)]);
    assert_eq!(
        (settings(&report).as_str(), report.result),
        ("", ImportResult::Whole),
        "{}",
        report.remarks
    );
    assert!(!report.configuration.is_empty());
    let named = given(&[("a", Some("allow")), ("b.conf", None)]);
    assert_eq!(named.result, ImportResult::InPart, "{}", named.remarks);
    assert_eq!(report.remarks, "b/*.conf: there is no such file: passed over\n");
}

#[test]
fn each_remark_names_its_line_and_files_follow_one_another() {
    let files = [
        ("a", "allow\nserver a.example iburst\n\nrtcsync"),
        ("d/b", "server b.example iburst\nmakestep 1 3"),
    ];
    let files = files.map(|(path, text)| (PathBuf::from(path), Some(text.to_owned())));
    let report = import(None, &files);
    let places: Vec<&str> = report
        .remarks
        .lines()
        .filter_map(|line| line.split(": ").next())
        .collect();
    assert_eq!(places, ["a:4", "d/b:2"], "{}", report.remarks);
    assert_eq!(
        loaded(&report).config.upstreams.len(),
        2,
        "{}",
        report.configuration
    );
    assert!(
        report
            .configuration
            .starts_with("# Made by `ntpfront import` from a, d/b.\n"),
        "{}",
        report.configuration
    );
}

#[test]
fn whose_words_they_are_is_seen_or_asked() {
    for (text, result) in [
        ("server a.example iburst\nallow", ImportResult::Whole),
        (
            "server a.example iburst\nrestrict default nomodify",
            ImportResult::Whole,
        ),
        ("server a.example iburst", ImportResult::Nothing),
        ("", ImportResult::Nothing),
        ("[Time]\nNTP=a.example", ImportResult::Nothing),
    ] {
        let report = imported(None, text);
        assert_eq!(report.result, result, "{text}: {}", report.remarks);
        assert_eq!(
            report.configuration.is_empty(),
            result == ImportResult::Nothing,
            "{text}"
        );
    }
}

#[test]
fn no_directive_is_told_twice() {
    for keywords in [chrony::KEYWORDS, ntp::KEYWORDS] {
        let mut names: Vec<&str> = keywords
            .iter()
            .flat_map(|(names, _)| names.iter().copied())
            .collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}

/// Texts of valid lines, of invalid lines, and of lines in between.
fn text() -> impl Strategy<Value = String> {
    let all = chrony::KEYWORDS.iter().chain(ntp::KEYWORDS);
    let keywords: Vec<&str> = all.flat_map(|(names, _)| names.iter().copied()).collect();
    let keyword = prop_oneof![
        3 => prop::sample::select(vec!["server", "allow", "deny", "restrict", "local", "port", "bindaddress", "interface"]),
        2 => prop::sample::select(keywords),
    ];
    let known = prop::sample::select(vec![
        "a.example",
        "b.example",
        "127.0.0.1",
        "::1",
        "192.0.2.1",
        "2001:db8::1",
        "fe80::1",
        "0.0.0.0",
        "::",
        "127.127.1.0",
        "10/8",
        "10",
        "all",
        "default",
        "-6",
        "mask",
        "255.0.0.0",
        "ignore",
        "limited",
        "notrust",
        "listen",
        "iburst",
        "minpoll",
        "maxpoll",
        "port",
        "prefer",
        "noselect",
        "require",
        "trust",
        "key",
        "nts",
        "cert",
        "enable",
        "ca",
        "cookie",
        "30",
        "604800",
        "stratum",
        "interval",
        "burst",
        "leak",
        "average",
        "minsane",
        "maxdist",
        "waitunsynced",
        "0",
        "1",
        "7",
        "11123",
        "123",
        "-3",
        "0.3",
        "1e99",
        "NaN",
        "/a/b",
        "\"/c\"",
        "#",
    ]);
    let word = prop_oneof![8 => known.prop_map(str::to_owned), 1 => any::<String>()];
    let line = (keyword, prop::collection::vec(word, 0..7))
        .prop_map(|(keyword, words)| format!("{keyword} {}", words.join(" ")));
    let line = prop_oneof![9 => line, 1 => any::<String>()];
    prop::collection::vec(line, 0..24).prop_map(|lines| lines.join("\n"))
}

proptest! {
    /// Any text becomes a configuration without a fault.
    ///
    /// Each remark is one line, harmless to a terminal.
    #[test]
    fn what_is_made_is_sound(text in text(), is_chrony in any::<bool>()) {
        let report = if is_chrony { chrony(&text) } else { ntp(&text) };
        let loaded = load(&report);
        prop_assert!(loaded.is_ok(), "{:?}\n{}", loaded, report.configuration);
        prop_assert_eq!(report.result != ImportResult::Whole, !report.remarks.is_empty());
        prop_assert_eq!(report.result == ImportResult::Nothing, report.configuration.is_empty());
        for line in report.remarks.lines().chain(report.configuration.lines()) {
            prop_assert!(!line.contains(char::is_control), "{:?}", line);
        }
    }

    /// An address is answered if chronyd answers it, by the manual of chrony.
    #[test]
    fn access_means_the_same(
        rules in prop::collection::vec((any::<bool>(), any::<bool>(), 0_u8..=4, 0_u8..3, 0_u8..3), 1..8),
        asked in (0_u8..3, 0_u8..3),
    ) {
        let (first, second) = asked;
        let address = [first, second, 0, 0];
        let mut text = String::new();
        // The rules in effect: prefix, allowed.
        let mut table: Vec<(Vec<u8>, bool)> = vec![(Vec::new(), false)];
        for (allowed, for_all, parts, a, b) in rules {
            let prefix: Vec<u8> = [a, b, 0, 0].into_iter().take(parts.into()).collect();
            let words: Vec<String> = prefix.iter().map(u8::to_string).collect();
            let subnet = if prefix.is_empty() { "0/0".to_owned() } else { words.join(".") };
            let verb = if allowed { "allow" } else { "deny" };
            let all = if for_all { "all " } else { "" };
            text += &format!("{verb} {all}{subnet}\n");
            table.retain(|(known, _)| *known != prefix && !(for_all && known.starts_with(&prefix)));
            table.push((prefix, allowed));
        }
        let longest = table.iter().filter(|(prefix, _)| address.starts_with(prefix)).max_by_key(|(prefix, _)| prefix.len());
        let expected = longest.is_some_and(|(_, allowed)| *allowed);
        let config = loaded(&chrony(&text)).config;
        let policy = &config.listeners[0].policy;
        prop_assert_eq!(policy.access.allows(address.into()), expected, "{}", text);
    }
}
