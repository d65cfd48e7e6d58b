//! Pure. Curves for people: a screen of text, 60 to 80 columns wide, with small curves of blocks.

use std::fmt::{self, Write};

use super::curves::{CurvePoint, Curves, state_word};
use super::printable::printable;
use super::stamp::Stamp;

/// The columns around a small curve.
const AROUND: usize = 20;
/// The columns around one in the table of upstreams.
const AROUND_IN_TABLE: usize = 56;
/// Blocks, the lowest first.
const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// The events on a screen, at most.
const MOST_EVENTS: usize = 12;

/// Returns a screen of this width about a time, with these events. Below 60 it is taken for 60, above 80 for 80.
pub fn overview(curves: &Curves, since: Stamp, until: Stamp, events: &[String], width: usize) -> String {
    let mut text = String::new();
    let span = ShownSpan {
        since,
        until,
        width: width.clamp(60, 80),
    };
    // Nothing can go wrong with writing to a text.
    let _written = write_overview(&mut text, curves, span, events);
    text
}

fn write_overview(f: &mut String, curves: &Curves, span: ShownSpan, events: &[String]) -> fmt::Result {
    let ShownSpan { since, until, .. } = span;
    let step = curves.step.max(1);
    writeln!(f, "{since} to {until}, {step} s a point")?;
    let length = until.since(since).max(1.0);
    let recorded = (recorded(curves).count() as f64) * f64::from(curves.step);
    writeln!(f, "recorded     {:.1} %", (100.0 * recorded / length).min(100.0))?;
    if recorded <= 0.0 {
        return write_events(f, events);
    }
    writeln!(f, "state        {}", states(curves))?;
    write_bound(f, curves, span)?;
    write_answers(f, curves, span)?;
    write_upstreams(f, curves, span)?;
    write_events(f, events)
}

/// A time on a line.
#[derive(Clone, Copy)]
struct ShownSpan {
    since: Stamp,
    until: Stamp,
    /// The width of the screen in columns.
    width: usize,
}

/// The shares of the states, the largest first.
fn states(curves: &Curves) -> String {
    let all = recorded(curves).count().max(1);
    let mut counts = [0_usize; 256];
    for point in recorded(curves) {
        if let Some(count) = counts.get_mut(usize::from(point.state)) {
            *count += 1;
        }
    }
    let places = (0..=u8::MAX).zip(counts);
    let mut found: Vec<(u8, usize)> = places.filter(|(_, count)| *count > 0).collect();
    found.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let shares = found.iter().map(|(place, count)| {
        let share = 100.0 * (*count as f64) / (all as f64);
        format!("{} {share:.1} %", state_word(*place))
    });
    shares.collect::<Vec<_>>().join(", ")
}

fn recorded(curves: &Curves) -> impl Iterator<Item = &CurvePoint> {
    curves.points.iter().filter(|point| point.records > 0)
}

fn write_bound(f: &mut String, curves: &Curves, span: ShownSpan) -> fmt::Result {
    let bounds = || recorded(curves).filter_map(|point| Some((point.time, f64::from(point.bound?))));
    let mut sorted: Vec<f64> = bounds().map(|(_, bound)| bound).collect();
    sorted.sort_unstable_by(f64::total_cmp);
    let worst = bounds().max_by(|one, other| one.1.total_cmp(&other.1));
    match (sorted.get(sorted.len() / 2), worst) {
        (Some(middle), Some((time, worst))) => {
            let when = Stamp::from_seconds(time);
            writeln!(
                f,
                "error bound  {} in the middle, {} at most, at {when}",
                brief(*middle),
                brief(worst)
            )?;
            writeln!(
                f,
                "             {}",
                spark(bounds(), span, span.width - AROUND, Some(0.0))
            )
        }
        _ => writeln!(f, "error bound  none: no time was told"),
    }
}

fn write_answers(f: &mut String, curves: &Curves, span: ShownSpan) -> fmt::Result {
    let step = f64::from(curves.step);
    let rates = || recorded(curves).map(|point| (point.time, (point.answered as f64) / step));
    let most = rates().map(|(_, rate)| rate).fold(0.0, f64::max);
    let sum = |of: fn(&CurvePoint) -> u64| recorded(curves).map(of).fold(0, u64::saturating_add);
    let (answered, refused, lost) = (
        sum(|one| one.answered),
        sum(|one| one.refused),
        sum(|one| one.lost),
    );
    writeln!(
        f,
        "requests     {answered} answered, at most {most:.0}/s; {refused} refused, {lost} lost"
    )?;
    if answered > 0 {
        writeln!(
            f,
            "             {}",
            spark(rates(), span, span.width - AROUND, Some(0.0))
        )?;
    }
    Ok(())
}

fn write_upstreams(f: &mut String, curves: &Curves, span: ShownSpan) -> fmt::Result {
    if curves.upstreams.is_empty() {
        return Ok(());
    }
    let narrow = span.width - AROUND_IN_TABLE;
    writeln!(
        f,
        "\n{:28} {:narrow$} {:>8} {:>8} {:>8}",
        "UPSTREAM", "OFFSET", "LEAST", "MOST", "LAST"
    )?;
    for (index, name) in curves.upstreams.iter().enumerate() {
        let offsets: Vec<(i64, f64)> = curves.offsets(index).collect();
        let values = || offsets.iter().map(|(_, offset)| *offset);
        let (least, most) = (
            values().fold(f64::INFINITY, f64::min),
            values().fold(f64::NEG_INFINITY, f64::max),
        );
        let Some(last) = values().next_back() else {
            continue;
        };
        let name: String = printable(name).chars().take(28).collect();
        let spark = spark(offsets.iter().copied(), span, narrow, None);
        writeln!(
            f,
            "{name:28} {spark} {:>8} {:>8} {:>8}",
            signed(least),
            signed(most),
            signed(last)
        )?;
    }
    Ok(())
}

fn write_events(f: &mut String, events: &[String]) -> fmt::Result {
    if events.is_empty() {
        return Ok(());
    }
    writeln!(f)?;
    let hidden = events.len().saturating_sub(MOST_EVENTS);
    if hidden > 0 {
        writeln!(f, "({hidden} earlier events: --events)")?;
    }
    events
        .iter()
        .skip(hidden)
        .try_for_each(|event| writeln!(f, "{event}"))
}

/// Draws values as blocks: each column has the largest one of its time, and a blank where there is none.
///
/// The lowest block is `least`, or the smallest value.
fn spark(
    values: impl Iterator<Item = (i64, f64)>,
    span: ShownSpan,
    columns: usize,
    least: Option<f64>,
) -> String {
    let length = span.until.since(span.since).max(1.0);
    let mut slots: Vec<Option<f64>> = vec![None; columns];
    for (time, value) in values {
        let part = Stamp::from_seconds(time).since(span.since) / length;
        let slot = slots.get_mut(place(part, columns));
        if let Some(slot) = slot {
            *slot = Some(slot.map_or(value, |before: f64| before.max(value)));
        }
    }
    let all = || slots.iter().flatten().copied();
    let low = least.unwrap_or_else(|| all().fold(f64::INFINITY, f64::min));
    let high = all().fold(f64::NEG_INFINITY, f64::max);
    let block = |value: f64| {
        let part = if high > low {
            (value - low) / (high - low)
        } else {
            0.0
        };
        BLOCKS.get(place(part, BLOCKS.len())).copied().unwrap_or(' ')
    };
    slots.iter().map(|slot| slot.map_or(' ', block)).collect()
}

/// Returns the place of a part, from 0 to 1, in this many.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "limited to a count"
)]
fn place(part: f64, count: usize) -> usize {
    let most = count.saturating_sub(1);
    (part.clamp(0.0, 1.0) * (count as f64)).floor().min(most as f64) as usize
}

/// Returns seconds in their best unit, with three digits.
pub fn brief(seconds: f64) -> String {
    // Not "-0".
    let seconds = if seconds == 0.0 { 0.0 } else { seconds };
    let (value, unit) = match seconds.abs() {
        size if size < 1e-6 => (seconds * 1e9, "ns"),
        size if size < 1e-3 => (seconds * 1e6, "us"),
        size if size < 1.0 => (seconds * 1e3, "ms"),
        _ => (seconds, "s"),
    };
    // As it is once rounded: not "10.00".
    let digits = match value.abs() {
        size if size < 9.995 => 2,
        size if size < 99.95 => 1,
        _ => 0,
    };
    format!("{value:.digits$}{unit}")
}

fn signed(seconds: f64) -> String {
    let brief = brief(seconds);
    if brief.starts_with('-') {
        brief
    } else {
        format!("+{brief}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::curves::CurveMaker;
    use crate::history::line::tests::{served, stamp};
    use crate::history::line::{HistoryLine, Note, SampleNote};

    #[test]
    fn an_hour_on_a_screen() {
        let start = stamp("2026-11-27T11:00:00Z");
        let mut maker = CurveMaker::new(start, start.plus(3600));
        for second in 0..3600 {
            let time = start.plus(second);
            if (1200..1800).contains(&second) {
                maker.add(&served(time, "disputed", None));
            } else if second < 3000 {
                maker.add(&served(time, "synchronized", Some(1e-5 + 1e-7 * second as f64)));
            }
            if second % 64 == 0 {
                for (upstream, offset) in [("a", 2e-6), ("time1.example:123", -1e-6 * second as f64)] {
                    let note = Note::Sample(SampleNote {
                        upstream: upstream.to_owned(),
                        offset: Some(offset),
                        ..SampleNote::default()
                    });
                    maker.add(&HistoryLine { time, note });
                }
            }
        }
        let events: Vec<String> = (0..20).map(|number| format!("event {number}")).collect();
        let text = overview(&maker.finish(), start, start.plus(3600), &events, 80);
        for line in [
            "2026-11-27T11:00:00.000Z to 2026-11-27T12:00:00.000Z, 5 s a point",
            "recorded     83.3 %",
            "state        synchronized 80.0 %, disputed 20.0 %",
            "error bound  190us in the middle, 310us at most, at 2026-11-27T11:49:55.000Z",
            "requests     60342000 answered, at most 20114/s; 9000 refused, 0 lost",
            "a                            ▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁  +2.00us  +2.00us  +2.00us",
            "(8 earlier events: --events)",
            "event 19",
        ] {
            assert!(text.lines().any(|is| is == line), "{line}\n{text}");
        }
        let bound = text.lines().nth(4).unwrap();
        assert!(
            bound.contains("▄          ▆") && bound.ends_with("          "),
            "{bound}"
        );
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    }

    #[test]
    fn without_records_it_says_so() {
        let start = stamp("2026-11-27T11:00:00Z");
        let text = overview(&Curves::default(), start, start.plus(60), &[], 80);
        assert!(text.ends_with("recorded     0.0 %\n"), "{text}");
    }

    #[test]
    fn seconds_have_their_unit() {
        for (seconds, expected) in [
            (0.0, "0.00ns"),
            (1.78e-5, "17.8us"),
            (-4.12e-4, "-412us"),
            (0.0123, "12.3ms"),
            (2.0, "2.00s"),
            (-0.009_999_999, "-10.0ms"),
            (0.099_96, "100ms"),
        ] {
            assert_eq!(brief(seconds), expected);
        }
    }
}
