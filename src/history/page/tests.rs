//! Impure. Tests of the page: what it says, that it is small, and that names can't break out of it.

use super::*;
use crate::history::curves::CurveMaker;
use crate::history::line::tests::{served, stamp};
use crate::history::line::{HistoryLine, Note, SampleNote};
use crate::observe::snapshot::example;
use crate::upstream::system_process::State;

/// As much as a busy server has: 16 upstreams, all the time.
fn curves(now: Stamp) -> [Curves; 3] {
    SPANS.map(|(_, _, seconds)| {
        let since = now.plus(-i64::from(seconds));
        let mut maker = CurveMaker::new(since, now);
        let step = if seconds == 3600 { 1 } else { 300 };
        for second in (0..i64::from(seconds)).step_by(step) {
            let time = since.plus(second);
            let wave = 1.0 + 0.3 * (second as f64 / 97.0).sin();
            maker.add(&served(time, "synchronized", Some(4e-4 * wave)));
            for index in 0..16 {
                let note = Note::Sample(SampleNote {
                    upstream: format!("time{index}.example:123"),
                    offset: Some(1e-4 * (f64::from(index) - 8.0) / 8.0 * wave),
                    ..SampleNote::default()
                });
                maker.add(&HistoryLine { time, note });
            }
        }
        maker.finish()
    })
}

/// Writes a page with its policy for browsers (`tests/page/run`), if they are to see it.
fn keep(name: &str, page: &HtmlPage) {
    if let Ok(directory) = std::env::var("NTPFRONT_PAGES") {
        let file = std::path::Path::new(&directory).join(name);
        std::fs::write(file.with_extension("html"), &page.text).unwrap();
        std::fs::write(file.with_extension("policy"), &page.policy).unwrap();
    }
}

#[test]
fn it_begins_with_the_state_in_a_sentence() {
    let now = stamp("2026-11-27T12:03:07Z");
    let mut snapshot = example();
    let text = |snapshot: &Snapshot| page(snapshot, Default::default(), now).text;
    let said = text(&snapshot);
    for part in [
        "<title>\u{2713} 1234/s ntpfront</title>",
        "<h1 class=\"good\"><span aria-hidden=\"true\">\u{2713}</span> Serving right time \u{b1} 750us, stratum 3</h1>",
        "<th scope=\"row\">time.example:123</th><td class=\"good\">system-peer</td>",
        "<td class=\"other\">refused: ",
        "192.0.2.7:123 (not served: ",
        "<dt>Certificate</dt><dd>time.example, ntp.example: 9 days left</dd>",
        "the last one was refused",
        "2026-11-27 12:03:07 UTC",
    ] {
        assert!(said.contains(part), "{part}\n{said}");
    }
    snapshot.clock_status.state = State::Disputed;
    snapshot.clock_status.state_reason = Some("1 of 3 upstreams agrees".to_owned());
    assert!(text(&snapshot).contains("<h1 class=\"weak\">"));
    snapshot.clock_status.usable = false;
    let said = text(&snapshot);
    assert!(
        said.contains("Announcing that there is no time: disputed: 1 of 3 upstreams agrees"),
        "{said}"
    );
    snapshot.clock_status.answers = false;
    assert!(text(&snapshot).contains("Not answering: disputed"));
}

#[test]
fn it_is_small_and_has_no_part_from_elsewhere() {
    let now = stamp("2026-11-27T12:03:07Z");
    let mut snapshot = example();
    let one = snapshot.upstreams[0].clone();
    snapshot.upstreams = vec![one; 100];
    let page = page(&snapshot, curves(now), now);
    keep("full", &page);
    assert!(page.text.len() <= 60_000, "{} bytes", page.text.len());
    let text = page.text.replace("http://www.w3.org/2000/svg", "");
    for part in ["http", "src=", "href=", "style=\"", "@import", "url("] {
        assert!(!text.contains(part), "{part}");
    }
    assert!(page.text.contains("and 76 more"));
    // Each curve has a colour of its own, also the eighth.
    let mut colors: Vec<&str> = page
        .text
        .split("stroke=\"#")
        .filter_map(|rest| rest.get(..6))
        .collect();
    colors.sort_unstable();
    colors.dedup();
    assert!(colors.len() >= UPSTREAMS, "{colors:?}");
}

/// Also where the standing alone is known: the word explains nothing to a reader.
#[test]
fn a_standing_has_its_reason() {
    let mut snapshot = example();
    snapshot.upstreams[0].standing = SelectionStatus::Falseticker;
    snapshot.upstreams[1].standing = SelectionStatus::Silent;
    snapshot.upstreams[1].fault = Some("no server listens there");
    let text = page(&snapshot, Default::default(), stamp("2026-11-27T12:03:07Z")).text;
    for part in [
        "falseticker: contradicts the majority, or there is none<",
        "silent: no server listens there<",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
}

/// A refresh replaces the header and the block after the choice of a curve, which stays as it is.
#[test]
fn the_script_finds_what_it_replaces() {
    let text = page(&example(), Default::default(), stamp("2026-11-27T12:03:07Z")).text;
    for part in [
        "</header><main><fieldset>",
        "</fieldset><div><figure id=\"c-hour\"",
        "</footer></div></main><script>",
    ] {
        assert_eq!(text.matches(part).count(), 1, "{part}\n{text}");
    }
    assert!(SCRIPT.contains("[\"header\",\"main>div\"]"), "{SCRIPT}");
}

/// Names come from configurations, and reasons from anywhere.
#[test]
fn hostile_names_stay_text() {
    let now = stamp("2026-11-27T12:03:07Z");
    let mut snapshot = example();
    let hostile = "<script>alert(1)</script>\"'&\u{1}";
    snapshot.upstreams[0].name = hostile.to_owned();
    snapshot.clock_status.state = State::Holdover;
    // Also one that has no place for the end of a line.
    snapshot.clock_status.state_reason = Some(hostile.to_owned() + &"x".repeat(100));
    snapshot.clock_status.reference.reference_id = hostile.to_owned();
    snapshot.reloads.fault = Some(hostile.to_owned());
    let mut maker = CurveMaker::new(now.plus(-10), now);
    let note = Note::Sample(SampleNote {
        upstream: hostile.to_owned(),
        offset: Some(1e-4),
        ..SampleNote::default()
    });
    let time = now.plus(-5);
    maker.add(&served(time, "synchronized", Some(1e-3)));
    maker.add(&HistoryLine { time, note });
    let page = page(
        &snapshot,
        [maker.finish(), Curves::default(), Curves::default()],
        now,
    );
    keep("hostile", &page);
    let text = page.text;
    assert_eq!(text.matches("<script").count(), 1, "{text}");
    assert!(!text.contains("alert(1)<") && !text.contains('\u{1}'), "{text}");
    assert!(text.matches("&lt;script&gt;").count() >= 4, "{text}");
}

#[test]
fn the_policy_permits_the_style_and_the_script_and_no_others() {
    let page = page(&example(), Default::default(), stamp("2026-11-27T12:03:07Z"));
    let inside = |element: &str| {
        let (_, rest) = page.text.split_once(&format!("<{element}>")).unwrap();
        rest.split_once(&format!("</{element}>")).unwrap().0.to_owned()
    };
    for (element, directive) in [("style", "style-src"), ("script", "script-src")] {
        let expected = format!("{directive} '{}';", hash(&inside(element)));
        assert!(page.policy.contains(&expected), "{expected}: {}", page.policy);
    }
    assert!(page.policy.starts_with("default-src 'none';"));
}
