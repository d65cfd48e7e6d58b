//! Pure. The window of `top`: a line of views, the view, and a line of keys.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line as StyledLine, Span as StyledSpan, Text};
use ratatui::widgets::Paragraph;

use super::state::{TopState, TopView};
use crate::history::curves::{CurvePoint, Curves};
use crate::observe::screen::{Line, Screen, Tone, TonedText};

/// The least window: columns, rows.
pub(super) const LEAST: (u16, u16) = (60, 15);
/// The width of the name before a curve, and of the text behind it.
const AROUND_CURVE: (usize, usize) = (13, 21);
/// Steps of a curve.
const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
const HELP: [&str; 15] = [
    "1  overview: state, reason and remedy, curves, upstreams, listeners",
    "2  upstreams, with all details",
    "3  listeners, with a row for each worker",
    "4  clients of the last hour",
    "",
    "t      time of the curves: 5 minutes, an hour, a day, 30 days",
    "s      order of rows: configured, worst first, largest first",
    "space  pause: the screen stays as it is",
    "arrows, page up, page down, home, end: scroll",
    "h      this help",
    "q      quit",
    "",
    "LAST: time since the last answer; OFFSET: how far the upstream is",
    "ahead of the served time; +/-: its maximum error",
    "See also: ntpfront status, upstreams, clients, history",
];

/// The answers of the server.
#[derive(Clone, Debug, Default)]
pub(super) struct TopContent {
    /// The lines.
    pub(super) screen: Screen,
    /// The curves of the last minutes.
    pub(super) curves: Curves,
    /// The census, or why there is none; only in its view.
    pub(super) clients: Vec<Line>,
}

/// Draws the window. `trouble` is the reason why `content` is not of this second.
pub(super) fn render(
    frame: &mut Frame<'_>,
    state: &mut TopState,
    content: &TopContent,
    trouble: Option<&str>,
    colored: bool,
) {
    let area = frame.area();
    if area.width < LEAST.0 || area.height < LEAST.1 {
        let text = format!(
            "The window is too small: {}x{}. It takes {}x{}; q quits.",
            area.width, area.height, LEAST.0, LEAST.1
        );
        let wrapped = Paragraph::new(text).wrap(ratatui::widgets::Wrap { trim: true });
        return frame.render_widget(wrapped, area);
    }
    let rows = [Constraint::Length(1), Constraint::Min(0), Constraint::Length(1)];
    let [head, body, foot] = Layout::vertical(rows).areas(area);
    let mut lines = Vec::new();
    if let Some(trouble) = trouble {
        lines.push(vec![toned(&format!("no answer: {trouble}"), Tone::Bad)]);
    }
    lines.extend(if state.help {
        help()
    } else {
        view(state.view, content, area.width)
    });
    let page = usize::from(body.height);
    state.fit(lines.len(), page);
    let more = lines.len().saturating_sub(state.scroll + page);
    frame.render_widget(Paragraph::new(tabs(state)), head);
    let shown = lines.iter().skip(state.scroll).take(page);
    let shown: Vec<_> = shown.map(|line| styled(line, colored)).collect();
    frame.render_widget(Paragraph::new(Text::from(shown)), body);
    frame.render_widget(Paragraph::new(keys(state, more, area.width)), foot);
}

fn toned(text: &str, tone: Tone) -> TonedText {
    TonedText {
        text: text.to_owned(),
        tone,
    }
}

fn help() -> Vec<Line> {
    HELP.iter().map(|line| vec![toned(line, Tone::Plain)]).collect()
}

fn view(view: TopView, content: &TopContent, width: u16) -> Vec<Line> {
    let Screen {
        state,
        more,
        upstreams,
        listeners,
        details,
    } = &content.screen;
    let width = usize::from(width);
    let (curves, offsets) = (curves(&content.curves, width), offsets(&content.curves, width));
    let parts: Vec<&[Line]> = match view {
        TopView::Overview => vec![state, &curves, upstreams, listeners, more],
        TopView::Upstreams => vec![upstreams, &offsets, details],
        TopView::Listeners => vec![listeners],
        TopView::Clients => vec![&content.clients],
    };
    let parts: Vec<&[Line]> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    parts.join(&Line::new())
}

/// The curves of requests and of the error bound, as wide as the window.
fn curves(curves: &Curves, width: usize) -> Vec<Line> {
    let room = width.saturating_sub(AROUND_CURVE.0 + AROUND_CURVE.1);
    let thin = fitting(curves, room, 0);
    let points = &thin.points;
    if points.is_empty() {
        return Vec::new();
    }
    let time = shown_time(curves);
    let rate = |point: &CurvePoint| {
        let packets = [point.answered, point.refused, point.lost]
            .iter()
            .fold(0_u64, |sum, one| sum.saturating_add(*one));
        let records = u64::from(point.records.max(1));
        (point.records > 0).then(|| packets.checked_div(records).unwrap_or(0) as f64)
    };
    let bound = |point: &CurvePoint| point.bound.map(f64::from);
    let of = |name: &str, values: Vec<Option<f64>>, unit: fn(f64) -> String| {
        let most = values.iter().flatten().copied().fold(0.0, f64::max);
        let text = format!("{name:<0$}{1:<room$} ", AROUND_CURVE.0, spark(&values, most));
        vec![
            toned(&text, Tone::Plain),
            toned(&format!("<= {} {time}", unit(most)), Tone::Plain),
        ]
    };
    vec![
        of("requests/s", points.iter().map(rate).collect(), |rate| {
            format!("{rate:.0}")
        }),
        of("error bound", points.iter().map(bound).collect(), bound_text),
    ]
}

/// The offset of each upstream, as wide as the window.
fn offsets(curves: &Curves, width: usize) -> Vec<Line> {
    const RANGE: usize = 32;
    let name_width = if width < 80 { 16 } else { 22 };
    let thin = fitting(curves, width.saturating_sub(name_width + RANGE), usize::MAX);
    let time = shown_time(curves);
    let of = |(index, name): (usize, &String)| {
        let offset = |point: &CurvePoint| point.offsets.get(index).copied().flatten().map(f64::from);
        let values: Vec<_> = thin.points.iter().map(offset).collect();
        let known = || values.iter().flatten().copied();
        let (least, most) = (known().reduce(f64::min)?, known().reduce(f64::max)?);
        // A new offset comes with each answer: it stays until the next one.
        let mut last = None;
        let held: Vec<_> = values
            .iter()
            .map(|value| {
                last = value.or(last);
                last.map(|value| value - least)
            })
            .collect();
        let name: String = name.chars().take(name_width - 1).collect();
        let spark = spark(&held, most - least);
        let range = format!(" {} to {} {time}", signed(least), signed(most));
        Some(vec![
            toned(&format!("{name:<name_width$}{spark}"), Tone::Plain),
            toned(&range, Tone::Plain),
        ])
    };
    let all: Vec<Line> = thin.upstreams.iter().enumerate().filter_map(of).collect();
    if all.is_empty() {
        return all;
    }
    let heading = vec![toned("OFFSET", Tone::Heading)];
    [vec![heading], all].concat()
}

/// Returns curves of at most this many points, the newest ones, and upstreams.
fn fitting(curves: &Curves, points: usize, upstreams: usize) -> Curves {
    let mut thin = curves.thinned(points, upstreams);
    let surplus = thin.points.len().saturating_sub(points);
    thin.points.drain(..surplus);
    thin
}

/// The time that curves show, in words.
fn shown_time(curves: &Curves) -> String {
    let ends = curves.points.first().zip(curves.points.last());
    let seconds = ends.map_or(0, |(first, last)| {
        last.time
            .saturating_sub(first.time)
            .saturating_add(curves.step.into())
    });
    match seconds {
        ..60 => format!("in {seconds} s"),
        60..7200 => format!("in {} min", (seconds + 30) / 60),
        7200..172_800 => format!("in {} h", (seconds + 1800) / 3600),
        172_800.. => format!("in {} days", (seconds + 43_200) / 86_400),
    }
}

/// An offset with its sign.
fn signed(seconds: f64) -> String {
    let sign = if seconds < 0.0 { '-' } else { '+' };
    format!("{sign}{}", bound_text(seconds.abs()))
}

/// A bound in at most seven characters.
fn bound_text(seconds: f64) -> String {
    match seconds {
        _ if seconds >= 1.0 => format!("{seconds:.1}s"),
        _ if seconds >= 1e-3 => format!("{:.1}ms", seconds * 1e3),
        _ => format!("{:.1}us", seconds * 1e6),
    }
}

/// A block for each value, the highest for `most`; a blank for none.
fn spark(values: &[Option<f64>], most: f64) -> String {
    let block = |value: &Option<f64>| {
        let Some(value) = *value else { return ' ' };
        let steps = BLOCKS.iter().enumerate();
        let mut reached = steps.filter(|(step, _)| {
            let level = u32::try_from(*step).map_or(0.0, f64::from) / 8.0;
            most > 0.0 && value > level * most
        });
        reached.next_back().map_or('▁', |(_, block)| *block)
    };
    values.iter().map(block).collect()
}

fn tabs(state: &TopState) -> StyledLine<'static> {
    let mut spans = vec![StyledSpan::raw("ntpfront ")];
    for (number, view) in TopView::ALL.into_iter().enumerate() {
        let text = format!(" {} {} ", number + 1, view.name());
        let is_shown = view == state.view && !state.help;
        let style = if is_shown {
            Style::new().add_modifier(Modifier::REVERSED)
        } else {
            Style::new()
        };
        spans.push(StyledSpan::styled(text, style));
    }
    if state.paused {
        spans.push(StyledSpan::styled(
            " PAUSED",
            Style::new().add_modifier(Modifier::BOLD),
        ));
    }
    StyledLine::from(spans)
}

fn keys(state: &TopState, more: usize, width: u16) -> StyledLine<'static> {
    let pause = if width < 72 { "" } else { "space pause  " };
    let order = state.order_name();
    let more = match more {
        0 => String::new(),
        more => format!("  {more} below"),
    };
    let text = format!("q quit  h help  {pause}t time  s sort: {order}{more}");
    StyledLine::styled(text, Style::new().add_modifier(Modifier::DIM))
}

fn styled(line: &Line, colored: bool) -> StyledLine<'_> {
    line.iter()
        .map(|span| StyledSpan::styled(span.text.as_str(), style(span.tone, colored)))
        .collect::<Vec<_>>()
        .into()
}

fn style(tone: Tone, colored: bool) -> Style {
    let bold = Style::new().add_modifier(Modifier::BOLD);
    match (tone, colored) {
        (Tone::Plain, _) | (Tone::Good, false) => Style::new(),
        (Tone::Heading, _) | (Tone::Warning | Tone::Bad, false) => bold,
        (Tone::Good, true) => Style::new().fg(Color::Green),
        (Tone::Warning, true) => Style::new().fg(Color::Yellow),
        (Tone::Bad, true) => bold.fg(Color::Red),
    }
}

#[cfg(test)]
mod tests {
    use super::super::state::PressedKey;
    use super::*;
    use proptest::prelude::*;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    fn lines(of: &str, number: usize) -> Vec<Line> {
        (0..number)
            .map(|line| vec![toned(&format!("{of} {line}"), Tone::Good)])
            .collect()
    }

    fn content(lengths: [usize; 4], points: u16) -> TopContent {
        let point = |second: u16| CurvePoint {
            answered: u64::from(second) * 10,
            bound: Some(f32::from(second) * 1e-6),
            records: 1,
            ..CurvePoint::empty(i64::from(second))
        };
        let [state, upstreams, listeners, clients] = lengths;
        TopContent {
            screen: Screen {
                state: lines("state", state),
                more: lines("more", state),
                upstreams: lines("upstream", upstreams),
                listeners: lines("listener", listeners),
                details: lines("detail", upstreams),
            },
            curves: Curves {
                step: 1,
                upstreams: Vec::new(),
                points: (0..points).map(point).collect(),
            },
            clients: lines("client", clients),
        }
    }

    fn drawn(size: (u16, u16), state: &mut TopState, content: &TopContent, trouble: Option<&str>) -> String {
        let mut terminal = Terminal::new(TestBackend::new(size.0, size.1)).unwrap();
        terminal
            .draw(|frame| render(frame, state, content, trouble, true))
            .unwrap();
        let rows = terminal
            .backend()
            .buffer()
            .content()
            .chunks(usize::from(size.0.max(1)));
        let row = |row: &[ratatui::buffer::Cell]| row.iter().map(|cell| cell.symbol()).collect::<String>();
        rows.map(|cells| row(cells).trim_end().to_owned() + "\n")
            .collect()
    }

    #[test]
    fn the_least_window_shows_the_state_first() {
        let expected = "\
ntpfront  1 overview  2 upstreams  3 listeners  4 clients
state 0
state 1
state 2

requests/s   ▁▁▁▂▂▂▃▃▃▃▄▄▄▅▅▅▆▆▆▇▇▇▇███    <= 285 in 30 s
error bound  ▁▁▁▂▂▂▃▃▃▃▄▄▄▅▅▅▆▆▆▇▇▇▇███    <= 29.0us in 30 s

upstream 0
upstream 1

listener 0
listener 1

q quit  h help  t time  s sort: configured  3 below
";
        let mut state = TopState::default();
        let shown = drawn((60, 15), &mut state, &content([3, 2, 2, 2], 30), None);
        let shape = |text: &str| text.replace(|letter| BLOCKS.contains(&letter), "#");
        assert_eq!(shape(&shown).lines().count(), 15);
        for (line, expected) in shape(&shown).lines().zip(shape(expected).lines()) {
            let (line, expected) = (line.replace(['#', ' '], ""), expected.replace(['#', ' '], ""));
            assert_eq!(line, expected, "{shown}");
        }
    }

    #[test]
    fn each_view_has_its_lines_and_scrolls() {
        let content = content([3, 30, 30, 30], 0);
        let mut state = TopState::default();
        for (key, first) in [
            ('2', "upstream 0"),
            ('3', "listener 0"),
            ('4', "client 0"),
            ('1', "state 0"),
        ] {
            state.press(PressedKey::Char(key));
            let shown = drawn((80, 24), &mut state, &content, None);
            assert_eq!(shown.lines().nth(1), Some(first), "{shown}");
            state.press(PressedKey::End);
            let shown = drawn((80, 24), &mut state, &content, None);
            assert!(
                !shown.contains(&format!("{first}\n")) && !shown.contains(" below"),
                "{shown}"
            );
        }
        state.press(PressedKey::Char('h'));
        assert!(drawn((80, 24), &mut state, &content, None).contains("this help"));
        let shown = drawn((80, 24), &mut state, &content, Some("the server ended"));
        assert_eq!(shown.lines().nth(1), Some("no answer: the server ended"));
    }

    #[test]
    fn upstreams_have_their_offsets_over_the_time_of_the_curves() {
        let mut content = content([1, 1, 1, 1], 0);
        content.curves.step = 300;
        content.curves.upstreams = vec!["time.example:123".to_owned(), "silent.example:123".to_owned()];
        for (step, offset) in [
            (0_u16, Some(-1e-3)),
            (100, None),
            (200, Some(2e-3)),
            (287, Some(0.0)),
        ] {
            content.curves.points.push(CurvePoint {
                offsets: vec![offset, None],
                records: 300,
                ..CurvePoint::empty(i64::from(step) * 300)
            });
        }
        let mut state = TopState::default();
        state.press(PressedKey::Char('2'));
        let shown = drawn((100, 24), &mut state, &content, None);
        let expected = "OFFSET\ntime.example:123      ▁▁█▃ -1.0ms to +2.0ms in 24 h\n";
        assert!(shown.contains(expected), "{shown}");
        assert!(!shown.contains("silent.example"), "{shown}");
    }

    #[test]
    fn a_smaller_window_says_so() {
        for size in [(59, 15), (60, 14)] {
            let shown = drawn(size, &mut TopState::default(), &TopContent::default(), None);
            assert!(shown.starts_with("The window is too small"), "{shown}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(100))]

        /// Whatever the window and the keys are: it is drawn.
        #[test]
        fn any_window_is_drawn(
            size in (1_u16..300, 1_u16..100),
            lengths in prop::array::uniform4(0_usize..60),
            points in 0_u16..400,
            keys in prop::collection::vec(prop::sample::select(vec![
                PressedKey::Char('1'), PressedKey::Char('2'), PressedKey::Char('3'), PressedKey::Char('4'), PressedKey::Char('s'), PressedKey::Char('h'),
                PressedKey::Char(' '), PressedKey::Up, PressedKey::Down, PressedKey::PageUp, PressedKey::PageDown, PressedKey::Home, PressedKey::End,
            ]), 0..8),
        ) {
            let content = content(lengths, points);
            let mut state = TopState::default();
            for key in keys {
                state.press(key);
                drawn(size, &mut state, &content, Some("trouble"));
            }
        }
    }
}
