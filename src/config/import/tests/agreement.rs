//! Pure. How many upstreams must agree.

use super::*;

/// Our own default is stricter from three on: that is said, with the way back.
#[test]
fn how_many_must_agree_is_as_it_was_or_stricter() {
    let servers = |count: usize| {
        (0..count).fold(String::new(), |text, number| {
            text + &format!("server a{number}.example iburst\n")
        })
    };
    for (made, said, whose) in [
        (chrony as fn(&str) -> Answer, "minsources", "chronyd"),
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
            let answer = made(&format!("{}{more}", servers(count)));
            assert_eq!(loaded(&answer).config.clock.min_sources, least, "{}", answer.out);
            assert_eq!(
                answer.out.contains("#min-sources = 1"),
                is_stricter,
                "{}",
                answer.out
            );
            assert_eq!(
                answer.out.contains(&format!("enough for {whose}")),
                is_stricter,
                "{}",
                answer.out
            );
            assert_eq!(answer.status, 0, "{}", answer.err);
        }
        let answer = made(&format!("{}{said} 4\n", servers(2)));
        assert_eq!(
            (loaded(&answer).config.clock.min_sources, answer.status),
            (2, 1),
            "{}",
            answer.err
        );
    }
}
