//! Pure. The snapshot for people: the summary and the tables that `status` and `top` show.

use super::advice::{Advice, Severity};
use super::clock_status::ClockStatus;
use super::listeners_text::listeners;
use super::pool::PoolScore;
use super::screen::{
    Line, Lines, RowOrder, Screen, ScreenColumn, ScreenRow, ScreenTable, ScreenWanted, Tone, plain_cell,
};
use super::snapshot::{Snapshot, Traffic};
use super::units::{Brief, Length, ShortTime, reference};
use super::upstream_status::UpstreamStatus;
use super::upstreams_text::{details, standing_tone};
use super::{command_text, fast_path_text, interleaved_text, mac_text, nts_text, pools_text};
use crate::server::Verdict;
use crate::upstream::system_process::State;

/// The most advice that is shown; more is counted.
const MOST_ADVICE: usize = 6;

/// Makes the screen that is wanted of the snapshot.
pub fn screen(snapshot: &Snapshot, wanted: &ScreenWanted) -> Screen {
    let width = wanted.columns();
    Screen {
        state: state(snapshot, width),
        more: more(snapshot, width),
        upstreams: upstreams(snapshot, wanted),
        listeners: listeners(snapshot, wanted),
        details: details(snapshot, width),
    }
}

impl Screen {
    /// Returns the lines of `status`: all parts except the details.
    pub fn status(self) -> Vec<Line> {
        let head = [self.state, self.more].concat();
        let parts = [head, self.upstreams, self.listeners];
        let parts: Vec<Vec<Line>> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        parts.join(&Line::new())
    }
}

fn state(snapshot: &Snapshot, width: usize) -> Vec<Line> {
    let mut lines = Lines::new(width);
    let (version, uptime) = (snapshot.version, Length(snapshot.uptime));
    lines.text(&format!("ntpfront {version}, up {uptime}"), Tone::Heading);
    clock_state(&mut lines, &snapshot.clock_status);
    advice(&mut lines, &snapshot.advice);
    error_bound(&mut lines, &snapshot.clock_status);
    traffic(&mut lines, &snapshot.requests);
    lines.into_lines()
}

fn more(snapshot: &Snapshot, width: usize) -> Vec<Line> {
    let mut lines = Lines::new(width);
    refused(&mut lines, &snapshot.requests);
    if let Some(clients) = snapshot.clients {
        let (minutes, hour) = (clients.last_minutes, clients.last_hour);
        lines.field(
            "clients",
            &format!("{minutes} in the last minutes, {hour} in the last hour"),
        );
    }
    if let Some(budget) = snapshot.budget {
        let (mode, asked, allowed) = (budget.mode, budget.asked, budget.allowed);
        lines.field(
            "budget",
            &format!("{mode}: {asked:.0}/s asked for, {allowed:.0}/s allowed"),
        );
    }
    announced(&mut lines, snapshot);
    pool(&mut lines, snapshot.pool);
    lines.field("leap seconds", &snapshot.leap_seconds.to_string());
    for (name, text) in snapshot.fast_path.iter().flat_map(fast_path_text::lines) {
        lines.field(name, &text);
    }
    let of_nts = snapshot.nts.iter().flat_map(nts_text::keys);
    for (name, text) in of_nts.chain(command_text::lines(snapshot)) {
        lines.field(name, &text);
    }
    let reloads = &snapshot.reloads;
    if reloads.done + reloads.refused > 0 {
        let tone = if reloads.fault.is_some() {
            Tone::Warning
        } else {
            Tone::Plain
        };
        lines.toned(
            "reloads",
            &format!("{} done, {} refused", reloads.done, reloads.refused),
            tone,
        );
    }
    if let Some(history) = &snapshot.history {
        let tone = if history.fault.is_some() {
            Tone::Warning
        } else {
            Tone::Plain
        };
        lines.toned("history", &history.line(), tone);
    }
    for (text, tone) in pools_text::lines(&snapshot.upstream_pools) {
        lines.toned("pool", &text, tone);
    }
    lines.into_lines()
}

fn clock_state(lines: &mut Lines, clock: &ClockStatus) {
    let tone = match clock.state {
        State::Synchronized => Tone::Good,
        _ if !clock.usable => Tone::Bad,
        State::Holdover | State::Local | State::Init | State::Unsynchronized | State::Disputed => {
            Tone::Warning
        }
    };
    let rest = format!(" for {}, {} clock", Length(clock.state_age), clock.clock.name());
    lines.toned_field("state", clock.state.name(), &rest, tone);
}

/// The reason and the remedy of each state that is not good, before all else.
fn advice(lines: &mut Lines, all: &[Advice]) {
    for one in all.iter().take(MOST_ADVICE) {
        let tone = one.severity.tone();
        let about = if one.about == "state" { "why" } else { one.about };
        lines.toned(about, &one.why, tone);
        if let Some(remedy) = &one.remedy {
            lines.field("  what to do", remedy);
        }
    }
    let more = all.len().saturating_sub(MOST_ADVICE);
    if more > 0 {
        let worst = all.iter().skip(MOST_ADVICE).map(|one| one.severity).min();
        let tone = worst.unwrap_or(Severity::Notice).tone();
        lines.toned(
            "and more",
            &format!("{more}: see advice in ntpfront status --json"),
            tone,
        );
    }
}

fn error_bound(lines: &mut Lines, clock: &ClockStatus) {
    let announced = &clock.reference;
    match announced.root_distance {
        None => lines.toned("error bound", "none: clients get no time", Tone::Bad),
        Some(distance) => {
            let (delay, dispersion) = (
                ShortTime(announced.root_delay),
                ShortTime(announced.root_dispersion),
            );
            let distance = ShortTime(distance);
            lines.field(
                "error bound",
                &format!("{distance} (root delay {delay}, dispersion {dispersion})"),
            );
            let checked = announced.age.map(|age| format!("{} ago", Length(age)));
            let good_for = announced
                .good_for
                .map(|rest| format!("good for {}", Length(rest)));
            let both: Vec<String> = checked.into_iter().chain(good_for).collect();
            if !both.is_empty() {
                lines.field("checked", &both.join(", "));
            }
        }
    }
}

fn announced(lines: &mut Lines, snapshot: &Snapshot) {
    let announced = &snapshot.clock_status.reference;
    let addresses = snapshot.upstreams.iter().filter_map(|one| one.address);
    let id = reference(
        &announced.reference_id,
        addresses.map(|address| address.ip().to_canonical()),
    );
    let leap = match announced.leap {
        0 => "no leap second",
        1 => "a second is inserted today",
        2 => "a second is deleted today",
        _ => "not synchronized (leap 3)",
    };
    let stratum = announced.stratum;
    lines.field("announced", &format!("stratum {stratum}, reference {id}, {leap}"));
}

fn pool(lines: &mut Lines, score: PoolScore) {
    let (verdict, tone) = match score.handed_out {
        true => ("handed out", Tone::Plain),
        false => ("not handed out", Tone::Warning),
    };
    let text = format!(
        "score {:.1} at worst, by its own error bound: {verdict}",
        score.score
    );
    lines.toned("NTP Pool", &text, tone);
}

fn traffic(lines: &mut Lines, requests: &Traffic) {
    let counts = &requests.counts;
    let (received, answered) = (counts.received(), counts.answered());
    let rate = format!(
        "{:.0}/s, {received} received, {answered} answered",
        requests.per_second
    );
    lines.field("requests", &rate);
    let (queue, send, receive) = (requests.queue_dropped, counts.unsent(), counts.receive_failed);
    let tone = if queue + send + receive > 0 {
        Tone::Warning
    } else {
        Tone::Plain
    };
    let lost = format!("{queue} in full queues, {send} not sent, {receive} failures to receive");
    lines.toned("lost", &lost, tone);
}

fn refused(lines: &mut Lines, requests: &Traffic) {
    let counts = &requests.counts;
    let refused = Verdict::all().filter(|&verdict| !verdict.is_answered() && counts.of(verdict) > 0);
    let name = |verdict: Verdict| verdict.name().strip_prefix("refused-").unwrap_or(verdict.name());
    let refused: Vec<String> = refused
        .map(|verdict| format!("{} {}", counts.of(verdict), name(verdict)))
        .collect();
    if !refused.is_empty() {
        lines.field("refused", &refused.join(", "));
    }
    let more = [
        ("NTS", nts_text::packets(counts)),
        ("MAC", mac_text::of(counts)),
        ("interleaved", interleaved_text::of_responses(counts)),
        // What limits let pass, and what rules on trial would have refused.
        (
            "remarked",
            Some(counts.annotations()).filter(|remarks| !remarks.is_empty()),
        ),
    ];
    for (name, text) in more {
        if let Some(text) = text {
            lines.field(name, &text);
        }
    }
}

fn upstreams(snapshot: &Snapshot, wanted: &ScreenWanted) -> Vec<Line> {
    if snapshot.upstreams.is_empty() {
        return Vec::new();
    }
    let mut sorted: Vec<&UpstreamStatus> = snapshot.upstreams.iter().collect();
    let offset = |one: &UpstreamStatus| {
        one.measured
            .as_ref()
            .map_or(0.0, |measured| measured.offset.abs())
    };
    let by_offset = |one: &&UpstreamStatus, other: &&UpstreamStatus| offset(other).total_cmp(&offset(one));
    match wanted.order {
        RowOrder::Configured => {}
        RowOrder::Worst => sorted.sort_by(|one, other| {
            let tones = standing_tone(other.standing).cmp(&standing_tone(one.standing));
            tones.then_with(|| by_offset(one, other))
        }),
        RowOrder::Largest => sorted.sort_by(by_offset),
    }
    let mut lines = Lines::new(wanted.columns());
    lines.table(&ScreenTable {
        columns: vec![
            ScreenColumn::words("UPSTREAM", 11, u8::MAX),
            ScreenColumn::words("STANDING", 11, u8::MAX),
            ScreenColumn::numbers("REACH", 0, 6),
            ScreenColumn::numbers("LAST", 0, 7),
            ScreenColumn::numbers("OFFSET", 8, u8::MAX),
            ScreenColumn::numbers("+/-", 7, 5),
            ScreenColumn::numbers("DELAY", 7, 4),
            ScreenColumn::numbers("JITTER", 7, 2),
            ScreenColumn::numbers("POLL", 0, 3),
            ScreenColumn::numbers("ST", 0, 1),
        ],
        rows: sorted.into_iter().map(upstream_row).collect(),
    });
    lines.into_lines()
}

fn upstream_row(one: &UpstreamStatus) -> ScreenRow {
    let measured = one.measured.as_ref();
    let time = |seconds: Option<f64>| {
        plain_cell(seconds.map_or_else(|| "-".to_owned(), |time| ShortTime(time).to_string()))
    };
    let brief = |seconds: Option<f64>| {
        plain_cell(seconds.map_or_else(|| "-".to_owned(), |time| Brief(time).to_string()))
    };
    let tone = standing_tone(one.standing);
    let cells = vec![
        (one.name.clone(), Tone::Plain),
        (one.standing.name().to_owned(), tone),
        plain_cell(format!("{:03o}", one.reach)),
        brief(one.last_answer),
        plain_cell(measured.map_or_else(|| "-".to_owned(), |of| format!("{:+}", ShortTime(of.offset)))),
        time(measured.map(|of| of.max_error)),
        time(measured.map(|of| of.delay)),
        time(measured.map(|of| of.jitter)),
        brief(one.poll),
        plain_cell(measured.map_or_else(|| "-".to_owned(), |of| of.stratum.to_string())),
    ];
    let refused = one
        .reason
        .map(|reason| (format!("last answer refused: {reason}"), Tone::Warning));
    let fault = one
        .fault
        .map(|fault| (format!("not polled: {fault}"), Tone::Warning));
    ScreenRow {
        cells,
        below: refused.into_iter().chain(fault).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::advisor;
    use super::super::screen::{self, USUAL_WIDTH};
    use super::super::snapshot::example;
    use super::*;
    use crate::observe::snapshot::DrainStatus;
    use crate::server::Counters;

    fn wanted(width: u16) -> ScreenWanted {
        ScreenWanted {
            width,
            workers: false,
            order: RowOrder::Configured,
        }
    }

    fn text(snapshot: &Snapshot, wanted: &ScreenWanted) -> String {
        screen::plain(&screen(snapshot, wanted).status())
    }

    /// The text of the example, in this width, with the advice on it.
    fn advised(width: u16) -> String {
        let mut snapshot = example();
        snapshot.advice = advisor::advice(&snapshot);
        text(&snapshot, &wanted(width))
    }

    #[test]
    fn the_status_is_one_screen() {
        let expected = include_str!("../../tests/golden/status-80.txt");
        assert_eq!(advised(80), expected);
    }

    #[test]
    fn a_narrow_screen_has_what_matters() {
        let expected = include_str!("../../tests/golden/status-60.txt");
        assert_eq!(advised(60), expected);
    }

    #[test]
    fn workers_have_rows_on_request() {
        let mut wanted = wanted(USUAL_WIDTH);
        let count = |wanted: &ScreenWanted| text(&example(), wanted).matches(" #").count();
        assert_eq!(count(&wanted), 0);
        wanted.workers = true;
        assert_eq!(count(&wanted), 3);
    }

    #[test]
    fn a_drained_listener_is_seen() {
        let mut snapshot = example();
        let by_file = DrainStatus {
            by: "configuration",
            begins_in: None,
            ends_in: None,
        };
        (snapshot.listeners[0].drain, snapshot.listeners[1].drain) = (Some(by_file), None);
        snapshot.listeners[1].policy.limit = "dry-run";
        snapshot.listeners[1].policy.smear = true;
        let lines = screen(&snapshot, &wanted(80)).listeners;
        let drained: Vec<&Line> = lines
            .iter()
            .filter(|line| line.iter().any(|span| span.text.starts_with("DRAINED")))
            .collect();
        assert_eq!(drained.len(), 1);
        assert_eq!(drained[0].last().unwrap().tone, Tone::Warning);
        assert!(screen::plain(&lines).contains("limit (dry-run), smears leap seconds\n"));
    }

    #[test]
    fn rows_are_in_the_order_that_is_wanted() {
        let mut snapshot = example();
        let mut near = snapshot.upstreams[0].clone();
        near.name = "near".to_owned();
        near.measured.as_mut().unwrap().offset = 1e-9;
        snapshot.upstreams.insert(0, near);
        let names = |order| {
            let lines = screen(&snapshot, &ScreenWanted { order, ..wanted(80) }).upstreams;
            let rows = lines.iter().skip(1).map(|line| line[0].text.trim().to_owned());
            rows.filter(|name| !name.is_empty()).collect::<Vec<_>>()
        };
        let (near, far, refused) = ("near", "time.example:123", "[2001:db8::1]:123");
        assert_eq!(names(RowOrder::Configured), [near, far, refused]);
        assert_eq!(names(RowOrder::Worst), [refused, far, near]);
        assert_eq!(names(RowOrder::Largest), [far, near, refused]);
    }

    #[test]
    fn nts_has_a_line_once_there_was_a_request_with_it() {
        let said = |answered: u16, naks: u16, malformed: u16| {
            let counters = Counters::default();
            let count = |verdict, times| (0..times).for_each(|_| counters.count(&[35], verdict));
            count(Verdict::AnsweredClient, 1);
            count(Verdict::AnsweredNts, answered);
            count(Verdict::KissedNtsNak, naks);
            count(Verdict::RefusedNtsMalformed, malformed);
            (0..naks).for_each(|_| counters.nts.count_nak(crate::server::NakReason::Name));
            let mut snapshot = example();
            snapshot.requests.counts = counters.snapshot();
            let text = text(&snapshot, &wanted(80));
            let mut lines = text.lines();
            lines.find_map(|line| line.strip_prefix("NTS          ").map(str::to_owned))
        };
        for (counts, expected) in [
            ((0, 0, 0), None),
            ((2, 0, 0), Some("2 answered (66.6 %), 0 NAKs (0.0 %)")),
            ((999, 1, 0), Some("999 answered (99.9 %), 1 NAKs (0.1 %): 1 name")),
            ((0, 3, 1), Some("0 answered (0.0 %), 3 NAKs (100.0 %): 3 name")),
            ((0, 0, 1), Some("0 answered (0.0 %), 0 NAKs (0.0 %)")),
        ] {
            assert_eq!(said(counts.0, counts.1, counts.2).as_deref(), expected);
        }
    }

    #[test]
    fn nothing_is_wider_than_the_screen() {
        let mut snapshot = example();
        let much = 9_999_999_999_999_999_999_f64;
        snapshot.upstreams[0].name = format!("{}:123", "long.".repeat(40));
        snapshot.upstreams[0].poll = Some(131_072.0);
        let measured = snapshot.upstreams[0].measured.as_mut().unwrap();
        (measured.offset, measured.delay, measured.jitter) = (-9999.9, 9999.9, 9999.9);
        snapshot.reloads.fault = Some(format!("{} {}", "x".repeat(300), "two words ".repeat(30)));
        snapshot.clock_status.reference.root_delay = much;
        snapshot.requests.queue_dropped = u64::MAX / 2;
        snapshot.advice = advisor::advice(&snapshot);
        for width in 0..=220 {
            let wanted = ScreenWanted {
                workers: true,
                ..wanted(width)
            };
            let screen = screen(&snapshot, &wanted);
            let details = screen::plain(&screen.details);
            for line in (screen::plain(&screen.status()) + &details).lines() {
                assert!(
                    line.chars().count() <= usize::from(width.clamp(40, 200)),
                    "{line}"
                );
            }
        }
    }
}
