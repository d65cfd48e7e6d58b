//! Pure. Tests of the number of upstreams that must agree.

use super::*;

/// Our own default is stricter from three upstreams on: a comment says so, with the way back.
#[test]
fn how_many_must_agree_is_as_it_was_or_stricter() {
    let servers = |count: usize| {
        (0..count).fold(String::new(), |text, number| {
            text + &format!("server a{number}.example iburst\n")
        })
    };
    for (made, said, whose) in [
        (chrony as fn(&str) -> ImportReport, "minsources", "chronyd"),
        (ntp, "tos minsane", "ntpd"),
    ] {
        for (count, more, least, is_stricter) in [
            (2, "", 1, false),
            (3, "", 2, true),
            (5, "", 2, true),
            (3, " 1", 1, false),
            (4, " 3", 3, false),
        ] {
            let more = if more.is_empty() {
                String::new()
            } else {
                format!("{said}{more}\n")
            };
            let report = made(&format!("{}{more}", servers(count)));
            assert_eq!(
                loaded(&report).config.clock.min_sources,
                least,
                "{}",
                report.configuration
            );
            assert_eq!(
                report.configuration.contains("#min-sources = 1"),
                is_stricter,
                "{}",
                report.configuration
            );
            assert_eq!(
                report.configuration.contains(&format!("enough for {whose}")),
                is_stricter,
                "{}",
                report.configuration
            );
            assert_eq!(report.result, ImportResult::Whole, "{}", report.remarks);
        }
        let report = made(&format!("{}{said} 4\n", servers(2)));
        assert_eq!(
            (loaded(&report).config.clock.min_sources, report.result),
            (2, ImportResult::InPart),
            "{}",
            report.remarks
        );
    }
}
