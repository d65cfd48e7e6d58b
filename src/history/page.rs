//! Pure. The page for people: one document, with the state as a sentence, curves, and tables; it works without a script.
//!
//! Everything that comes from a configuration or from another server is escaped. There are no client addresses in it.

use std::fmt::{self, Write};

use sha2::{Digest, Sha256};

use base64ct::{Base64, Encoding};

use super::curves::Curves;
use super::overview::brief;
use super::picture::{INK, PictureStyle, svg};
use super::stamp::Stamp;
use crate::observe::nts_status::NtsStatus;
use crate::observe::snapshot::{ListenerStatus, Snapshot};
use crate::observe::upstream_status::UpstreamStatus;
use crate::upstream::candidate::SelectionStatus;

/// The look of the page.
const STYLE: &str = include_str!("page/style.css");
/// Refreshes the page; without it a reader reloads.
const SCRIPT: &str = include_str!("page/script.js");
/// The points of a curve, and the upstreams that have one: they decide how large the page is.
const POINTS: usize = 54;
const UPSTREAMS: usize = 8;
/// Rows of a table, at most.
const ROWS: usize = 24;

/// The curves of the page, each with its id, its name, and its length in seconds.
pub const SPANS: [(&str, &str, u32); 3] = [
    ("hour", "Hour", 3600),
    ("day", "Day", 86_400),
    ("month", "Month", 2_592_000),
];

/// The page, and what a browser may do with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HtmlPage {
    /// The document.
    pub text: String,
    /// The value of Content-Security-Policy.
    pub policy: String,
}

/// A text in HTML.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for letter in self.0.chars() {
            match letter {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                _ if letter.is_control() => f.write_char('\u{fffd}')?,
                _ => f.write_char(letter)?,
            }
        }
        Ok(())
    }
}

/// Makes the page of a snapshot and the curves of [`SPANS`].
pub fn page(snapshot: &Snapshot, curves: [Curves; 3], now: Stamp) -> HtmlPage {
    let mut text = String::new();
    // Nothing can go wrong with writing to a text.
    let _written = write_page(&mut text, snapshot, curves, now);
    HtmlPage {
        text,
        policy: format!(
            "default-src 'none'; style-src '{}'; script-src '{}'; connect-src 'self'; base-uri 'none'; form-action 'none'; \
             frame-ancestors 'none'",
            hash(STYLE),
            hash(SCRIPT)
        ),
    }
}

fn hash(text: &str) -> String {
    format!(
        "sha256-{}",
        Base64::encode_string(&Sha256::digest(text.as_bytes()))
    )
}

fn write_page(f: &mut String, snapshot: &Snapshot, curves: [Curves; 3], now: Stamp) -> fmt::Result {
    let headline = Headline::of(snapshot);
    write!(
        f,
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <title>{} {}/s ntpfront</title><style>{STYLE}</style></head><body>",
        headline.sign,
        rate(snapshot.requests.per_second)
    )?;
    write!(
        f,
        "<header><h1 class=\"{}\"><span aria-hidden=\"true\">{}</span> {}</h1>",
        headline.class,
        headline.sign,
        Escaped(&headline.sentence)
    )?;
    write_facts(f, snapshot)?;
    // The choice of a curve is not in what the script replaces: the header, and the block after the choice.
    write!(f, "</header><main><fieldset><legend>Curves of the last</legend>")?;
    for (index, (id, name, _)) in SPANS.iter().enumerate() {
        let checked = if index == 0 { " checked" } else { "" };
        write!(
            f,
            "<label><input type=\"radio\" name=\"span\" id=\"{id}\"{checked}>{name}</label> "
        )?;
    }
    write!(f, "</fieldset><div>")?;
    for ((id, name, seconds), curves) in SPANS.into_iter().zip(curves) {
        write_figure(f, id, name, (now.plus(-i64::from(seconds)), now), curves)?;
    }
    write_upstreams(f, &snapshot.upstreams)?;
    write_listeners(f, &snapshot.listeners)?;
    write_more(f, snapshot)?;
    let served = now.to_string();
    write!(
        f,
        "<footer>ntpfront {}, {} UTC</footer></div></main><script>{SCRIPT}</script></body></html>",
        Escaped(snapshot.version),
        served.get(..19).unwrap_or_default().replace('T', " ")
    )
}

/// The state in a sentence, with a sign and a class for its color.
struct Headline {
    sign: &'static str,
    class: &'static str,
    sentence: String,
}

impl Headline {
    fn of(snapshot: &Snapshot) -> Self {
        let clock = &snapshot.clock_status;
        let state = clock.state.name();
        let reason = clock
            .state_reason
            .iter()
            .map(|reason| format!(": {reason}"))
            .collect::<String>();
        let stratum = clock.reference.stratum;
        match (clock.usable, clock.reference.root_distance) {
            (true, Some(bound)) if state == "synchronized" => Self {
                sign: "\u{2713}",
                class: "good",
                sentence: format!("Serving right time \u{b1} {}, stratum {stratum}", brief(bound)),
            },
            (true, Some(bound)) => Self {
                sign: "\u{25b3}",
                class: "weak",
                sentence: format!(
                    "Serving time \u{b1} {}, stratum {stratum}, {state}{reason}",
                    brief(bound)
                ),
            },
            _ if clock.answers => Self {
                sign: "\u{2715}",
                class: "bad",
                sentence: format!("Announcing that there is no time: {state}{reason}"),
            },
            _ => Self {
                sign: "\u{2715}",
                class: "bad",
                sentence: format!("Not answering: {state}{reason}"),
            },
        }
    }
}

fn write_facts(f: &mut String, snapshot: &Snapshot) -> fmt::Result {
    let counts = &snapshot.requests.counts;
    let lost = snapshot.requests.queue_dropped.wrapping_add(counts.unsent());
    let facts = [
        ("Requests", format!("{}/s", rate(snapshot.requests.per_second))),
        ("Answered", counts.answered().to_string()),
        ("Refused", counts.refused().to_string()),
        ("Lost", lost.to_string()),
        ("Reference", snapshot.clock_status.reference.reference_id.clone()),
        ("NTP Pool score", format!("{:.1} at worst", snapshot.pool.score)),
    ];
    write!(f, "<dl>")?;
    for (name, value) in facts {
        write!(f, "<div><dt>{name}</dt><dd>{}</dd></div>", Escaped(&value))?;
    }
    write!(f, "</dl>")
}

fn rate(per_second: f64) -> String {
    if per_second >= 10_000.0 {
        format!("{:.1}k", per_second / 1000.0)
    } else {
        format!("{per_second:.0}")
    }
}

fn write_figure(f: &mut String, id: &str, name: &str, span: (Stamp, Stamp), curves: Curves) -> fmt::Result {
    let curves = curves.thinned(POINTS, UPSTREAMS);
    let style = PictureStyle {
        size: (960, 520),
        title: None,
        paper: false,
        dots: false,
    };
    let picture = svg(&curves, span, &style).unwrap_or_default();
    write!(f, "<figure id=\"c-{id}\" tabindex=\"0\">")?;
    let title = format!(
        "<svg role=\"img\" aria-label=\"Offsets of the upstreams within the announced error, and requests, of the last {id}\" "
    );
    let ink = format!("#{:02X}{:02X}{:02X}", INK.0, INK.1, INK.2);
    let picture = picture
        .replacen("<svg ", &title, 1)
        .replace(" opacity=\"1\"", "")
        .replace(" font-family=\"sans-serif\"", "")
        .replace(".483870967741936\"", ".5\"")
        .replace(&ink, "currentColor");
    write!(
        f,
        "{picture}<figcaption>{name}: offset of each upstream, with the announced error as a band; requests</figcaption>"
    )?;
    write!(
        f,
        "<details><summary>Values</summary><table><caption>Largest error and requests</caption>"
    )?;
    write!(
        f,
        "<thead><tr><th scope=\"col\">From (UTC)</th><th scope=\"col\">Error</th><th scope=\"col\">Answered</th></tr></thead><tbody>"
    )?;
    for point in curves.thinned(ROWS / 2, 0).points {
        let time = Stamp::from_seconds(point.time).to_string();
        let bound = point
            .bound
            .map_or_else(|| "no time".to_owned(), |bound| brief(f64::from(bound)));
        write!(
            f,
            "<tr><td>{}</td><td>{bound}</td><td>{}</td></tr>",
            time.get(5..16).unwrap_or_default().replace('T', " "),
            point.answered
        )?;
    }
    write!(f, "</tbody></table></details></figure>")
}

/// Writes the head of a table.
fn table(f: &mut String, caption: &str, columns: &[&str]) -> fmt::Result {
    write!(
        f,
        "<div class=\"wide\" tabindex=\"0\" role=\"region\" aria-label=\"{caption}\"><table><caption>{caption}</caption><thead><tr>"
    )?;
    columns
        .iter()
        .try_for_each(|name| write!(f, "<th scope=\"col\">{name}</th>"))?;
    write!(f, "</tr></thead><tbody>")
}

/// Writes the end of a table, and how many rows it does not show.
fn end_table(f: &mut String, rows: usize) -> fmt::Result {
    write!(f, "</tbody></table></div>")?;
    match rows.saturating_sub(ROWS) {
        0 => Ok(()),
        hidden => write!(f, "<p>and {hidden} more</p>"),
    }
}

/// The reason that a standing is by itself: readers of the page may not know the words.
const fn meaning(standing: SelectionStatus) -> Option<&'static str> {
    Some(match standing {
        SelectionStatus::Falseticker => "contradicts the majority, or there is none",
        SelectionStatus::Outlier => "further off than the jitter of the others",
        SelectionStatus::TooFew => "agrees, but too few do",
        SelectionStatus::NoSelect => "has no vote",
        SelectionStatus::Smeared => "smears a leap second",
        SelectionStatus::Plain => "only authenticated upstreams have a vote",
        SelectionStatus::Expired => "its certificate was not valid",
        SelectionStatus::Duplicate => "the same server as another upstream",
        SelectionStatus::TooFar => "its root distance is over the limit",
        SelectionStatus::TooJittery => "its jitter is over the limit",
        SelectionStatus::Silent => "does not answer",
        SelectionStatus::Mirrored
        | SelectionStatus::SystemPeer
        | SelectionStatus::Agrees
        | SelectionStatus::Refused
        | SelectionStatus::Unknown => return None,
    })
}

fn write_upstreams(f: &mut String, upstreams: &[UpstreamStatus]) -> fmt::Result {
    table(
        f,
        "Upstreams",
        &["Upstream", "Standing", "Stratum", "Offset", "Delay", "Reach"],
    )?;
    for one in upstreams.iter().take(ROWS) {
        let (name, standing) = (Escaped(&one.name), one.standing.name());
        let class = if one.standing.is_good() { "good" } else { "other" };
        let reason = one
            .fault
            .or(one.reason)
            .or_else(|| meaning(one.standing))
            .map(|reason| format!(": {reason}"))
            .unwrap_or_default();
        write!(
            f,
            "<tr><th scope=\"row\">{name}</th><td class=\"{class}\">{standing}{}</td>",
            Escaped(&reason)
        )?;
        match &one.measured {
            Some(measured) => write!(
                f,
                "<td>{}</td><td>{}</td><td>{}</td>",
                measured.stratum,
                brief(measured.offset),
                brief(measured.delay)
            )?,
            None => write!(f, "<td>-</td><td>-</td><td>-</td>")?,
        }
        write!(f, "<td>{:03o}</td></tr>", one.reach)?;
    }
    end_table(f, upstreams.len())
}

fn write_listeners(f: &mut String, listeners: &[ListenerStatus]) -> fmt::Result {
    table(
        f,
        "Listeners",
        &[
            "Listener",
            "Workers",
            "Per second",
            "Busiest worker",
            "Received",
            "Lost",
        ],
    )?;
    for one in listeners.iter().take(ROWS) {
        let busiest = one
            .workers
            .iter()
            .map(|worker| worker.per_second)
            .fold(0.0, f64::max);
        let counts = &one.traffic.counts;
        let lost = one.traffic.queue_dropped.wrapping_add(counts.unsent());
        let fault = one
            .fault
            .map(|fault| format!(" (not served: {fault})"))
            .unwrap_or_default();
        write!(
            f,
            "<tr><th scope=\"row\">{}{}</th><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{lost}</td></tr>",
            one.address,
            Escaped(&fault),
            one.workers.len(),
            rate(one.traffic.per_second),
            rate(busiest),
            counts.received()
        )?;
    }
    end_table(f, listeners.len())
}

fn write_more(f: &mut String, snapshot: &Snapshot) -> fmt::Result {
    let mut more = vec![("Leap seconds", snapshot.leap_seconds.to_string())];
    for one in snapshot.nts.iter().flat_map(NtsStatus::certificates).take(4) {
        more.push(("Certificate", format!("{}: {}", one.names.join(", "), one.left)));
    }
    let reloads = &snapshot.reloads;
    let last = if reloads.fault.is_some() {
        "; the last one was refused"
    } else {
        ""
    };
    more.push((
        "Reloads",
        format!("{} done, {} refused{last}", reloads.done, reloads.refused),
    ));
    if let Some(fast) = &snapshot.fast_path {
        more.push(("Fast path", format!("{} answered", fast.answered)));
    }
    if let Some(history) = &snapshot.history {
        let state = if history.fault.is_some() {
            "NOT WRITTEN"
        } else {
            "written"
        };
        let files = if history.files == 1 { "file" } else { "files" };
        let megabytes = (history.bytes as f64) / 1e6;
        more.push((
            "Record",
            format!("{state}, {} {files}, {megabytes:.1} MB", history.files),
        ));
    }
    write!(f, "<h2>More</h2><dl>")?;
    for (name, value) in more {
        write!(f, "<div><dt>{name}</dt><dd>{}</dd></div>", Escaped(&value))?;
    }
    write!(f, "</dl>")
}

#[cfg(test)]
mod tests;
