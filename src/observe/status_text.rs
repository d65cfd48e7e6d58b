//! Pure. The snapshot for people: what `status`, `upstreams` and `top` print, 80 columns wide.

use std::fmt::{self, Display, Formatter};

use super::clock_status::ClockStatus;
use super::pool::PoolScore;
use super::snapshot::{ListenerStatus, Snapshot, Traffic};
use super::upstream_status::{UpstreamMeasurement, UpstreamNts, UpstreamStatus};
use super::{fast_path_text, interleaved_text, mac_text, nts_text, pools_text};
use crate::server::Verdict;
use crate::upstream::nts::certificate::day;
use crate::upstream::nts::ke_fault::KeFault;
use crate::upstream::packet::Reject;

/// Width of the widest line.
const WIDTH: usize = 80;
/// Widths of the column of names in the tables of upstreams and of listeners.
const NAMES: [usize; 2] = [22, 26];

/// The snapshot on one screen.
#[derive(Debug)]
pub struct StatusText<'a>(pub &'a Snapshot);

/// All that the snapshot has of each upstream.
#[derive(Debug)]
pub struct UpstreamsText<'a>(pub &'a Snapshot);

impl Display for StatusText<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Snapshot {
            version,
            uptime,
            clock_status,
            requests,
            ..
        } = self.0;
        writeln!(f, "ntpfront {version}, up {}", Uptime(*uptime))?;
        clock(f, clock_status)?;
        pool(f, self.0.pool)?;
        line(f, "leap seconds", &self.0.leap_seconds.to_string())?;
        traffic(f, requests)?;
        for (name, text) in self.0.fast_path.iter().flat_map(fast_path_text::lines) {
            line(f, name, &text)?;
        }
        for (name, text) in self.0.nts.iter().flat_map(nts_text::keys) {
            line(f, name, &text)?;
        }
        reloads(f, self.0)?;
        log(f, self.0)?;
        if let Some(history) = &self.0.history {
            line(f, "history", &history.line())?;
        }
        writeln!(f)?;
        listeners(f, &self.0.listeners)?;
        if !self.0.upstreams.is_empty() {
            writeln!(f)?;
            upstreams(f, &self.0.upstreams)?;
        }
        pools_text::lines(&self.0.upstream_pools).try_for_each(|text| line(f, "pool", &text))
    }
}

fn clock(f: &mut Formatter<'_>, clock: &ClockStatus) -> fmt::Result {
    let reference = &clock.reference;
    line(
        f,
        "state",
        &format!("{}, {} clock", clock.state.name(), clock.clock.name()),
    )?;
    if let Some(reason) = &clock.state_reason {
        line(f, "because", reason)?;
    }
    let (stratum, id, leap) = (reference.stratum, &reference.reference_id, reference.leap);
    line(
        f,
        "announced",
        &format!("stratum {stratum}, reference ID {id}, leap {leap}"),
    )?;
    match reference.root_distance {
        None => line(f, "error bound", "none: clients get no time"),
        Some(distance) => {
            let (delay, dispersion) = (
                ShortTime(reference.root_delay),
                ShortTime(reference.root_dispersion),
            );
            let parts = format!(
                "{} (root delay {delay}, dispersion {dispersion})",
                ShortTime(distance)
            );
            line(f, "error bound", &parts)?;
            let checked = reference.age.map(|age| format!("{} ago", ShortTime(age)));
            let good_for = reference
                .good_for
                .map(|rest| format!(", good for {}", ShortTime(rest)));
            let both = checked.unwrap_or_default() + &good_for.unwrap_or_default();
            line(f, "checked", &both)
        }
    }
}

fn pool(f: &mut Formatter<'_>, score: PoolScore) -> fmt::Result {
    let verdict = if score.handed_out {
        "handed out"
    } else {
        "not handed out"
    };
    line(
        f,
        "NTP Pool",
        &format!(
            "score {:.1} at worst, by its own error bound: {verdict}",
            score.score
        ),
    )
}

fn traffic(f: &mut Formatter<'_>, requests: &Traffic) -> fmt::Result {
    let counts = &requests.counts;
    let (received, answered) = (counts.received(), counts.answered());
    let rate = format!(
        "{:.0}/s, {received} received, {answered} answered",
        requests.per_second
    );
    line(f, "requests", &rate)?;
    let (queue, send, receive) = (requests.queue_dropped, counts.unsent(), counts.receive_failed);
    line(
        f,
        "lost",
        &format!("{queue} in full queues, {send} not sent, {receive} failures to receive"),
    )?;
    let refused = Verdict::all().filter(|&verdict| !verdict.is_answered() && counts.of(verdict) > 0);
    let name = |verdict: Verdict| verdict.name().strip_prefix("refused-").unwrap_or(verdict.name());
    let refused: Vec<String> = refused
        .map(|verdict| format!("{} {}", counts.of(verdict), name(verdict)))
        .collect();
    if !refused.is_empty() {
        line(f, "refused", &refused.join(", "))?;
    }
    if let Some(text) = nts_text::packets(counts) {
        line(f, "NTS", &text)?;
    }
    if let Some(macs) = mac_text::of(counts) {
        line(f, "MAC", &macs)?;
    }
    if let Some(responses) = interleaved_text::of_responses(counts) {
        line(f, "interleaved", &responses)?;
    }
    // What limits let pass, and what rules on trial would have refused.
    match counts.annotations() {
        remarks if remarks.is_empty() => Ok(()),
        remarks => line(f, "remarked", &remarks),
    }
}

fn reloads(f: &mut Formatter<'_>, snapshot: &Snapshot) -> fmt::Result {
    let reloads = &snapshot.reloads;
    if reloads.done + reloads.refused == 0 {
        return Ok(());
    }
    let fault = reloads.fault.as_ref().map(|fault| format!("; the last: {fault}"));
    line(
        f,
        "reloads",
        &format!(
            "{} done, {} refused{}",
            reloads.done,
            reloads.refused,
            fault.unwrap_or_default()
        ),
    )
}

fn log(f: &mut Formatter<'_>, snapshot: &Snapshot) -> fmt::Result {
    match snapshot.log_lines_dropped {
        0 => Ok(()),
        dropped => line(
            f,
            "log",
            &format!("{dropped} lines dropped, as their reader was too slow"),
        ),
    }
}

/// Writes a name and its value, which continues below if it is too long.
fn line(f: &mut Formatter<'_>, name: &str, text: &str) -> fmt::Result {
    let mut name = name;
    for part in wrapped(text, WIDTH - 13) {
        writeln!(f, "{name:<12} {part}")?;
        name = "";
    }
    Ok(())
}

/// `text` in lines of at most `width`, broken at blanks where that is possible.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let word: String = word.chars().take(width).collect();
        match lines.last_mut() {
            Some(last) if last.is_empty() => *last = word,
            Some(last) if last.chars().count() + 1 + word.chars().count() <= width => {
                last.push(' ');
                last.push_str(&word);
            }
            Some(_) | None => lines.push(word),
        }
    }
    lines
}

fn listeners(f: &mut Formatter<'_>, listeners: &[ListenerStatus]) -> fmt::Result {
    let [_, width] = NAMES;
    writeln!(
        f,
        "{:<width$} {:>6} {:>9} {:>13} {:>13} {:>8}",
        "LISTENER", "WORKER", "/S", "RECEIVED", "ANSWERED", "LOST"
    )?;
    for listener in listeners {
        let Traffic {
            per_second,
            queue_dropped,
            counts,
        } = &listener.traffic;
        name(f, &listener.address.to_string(), width)?;
        let (received, answered, workers) = (counts.received(), counts.answered(), listener.workers.len());
        let lost = queue_dropped + counts.unsent();
        writeln!(
            f,
            " {workers:>6} {per_second:>9.0} {received:>13} {answered:>13} {lost:>8}"
        )?;
        for (number, worker) in listener.workers.iter().enumerate().filter(|_| workers > 1) {
            let (per_second, received, answered) = (worker.per_second, worker.received, worker.answered);
            let number = format!("#{number}");
            writeln!(
                f,
                "{:<width$} {number:>6} {per_second:>9.0} {received:>13} {answered:>13}",
                ""
            )?;
        }
        if let Some(fault) = listener.fault {
            let what = if listener.serving {
                "workers are missing"
            } else {
                "not served"
            };
            below(f, width, &format!("{what}: {fault}"))?;
        }
    }
    Ok(())
}

fn upstreams(f: &mut Formatter<'_>, upstreams: &[UpstreamStatus]) -> fmt::Result {
    let [width, _] = NAMES;
    writeln!(
        f,
        "{:<width$} {:<11} {:>5} {:>2} {:>9} {:>8} {:>8} {:>5}",
        "UPSTREAM", "STANDING", "REACH", "ST", "OFFSET", "DELAY", "JITTER", "POLL"
    )?;
    for one in upstreams {
        name(f, &one.name, width)?;
        let (standing, poll) = (
            one.standing.name(),
            one.poll
                .map_or_else(|| "-".to_owned(), |poll| format!("{poll:.0}")),
        );
        write!(f, " {standing:<11} {:>5}", format!("{:03o}", one.reach))?;
        match &one.measured {
            Some(UpstreamMeasurement {
                offset,
                delay,
                jitter,
                stratum,
                ..
            }) => {
                let offset = format!("{:+}", ShortTime(*offset));
                let (delay, jitter) = (ShortTime(*delay).to_string(), ShortTime(*jitter).to_string());
                writeln!(f, " {stratum:>2} {offset:>9} {delay:>8} {jitter:>8} {poll:>5}")?;
            }
            None => writeln!(f, " {:>2} {:>9} {:>8} {:>8} {poll:>5}", "-", "-", "-", "-")?,
        }
        if let Some(reason) = one.reason {
            writeln!(f, "{:<width$} last answer refused: {reason}", "")?;
        }
        if let Some(fault) = one.fault {
            below(f, width, &format!("not polled: {fault}"))?;
        }
    }
    Ok(())
}

/// Writes more about what has a name in a column of this width, below it.
fn below(f: &mut Formatter<'_>, width: usize, text: &str) -> fmt::Result {
    wrapped(text, WIDTH - width - 1)
        .iter()
        .try_for_each(|part| writeln!(f, "{:<width$} {part}", ""))
}

/// Writes a name in its column; a longer one has a line of its own.
fn name(f: &mut Formatter<'_>, name: &str, width: usize) -> fmt::Result {
    if name.chars().count() <= width {
        return write!(f, "{name:<width$}");
    }
    let cut: String = name.chars().take(WIDTH).collect();
    write!(f, "{cut}\n{:<width$}", "")
}

impl Display for UpstreamsText<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.0.upstreams.is_empty() {
            return writeln!(f, "no upstreams: the time is from this host's clock ([local])");
        }
        for (index, upstream) in self.0.upstreams.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            one_upstream(f, upstream)?;
        }
        Ok(())
    }
}

fn one_upstream(f: &mut Formatter<'_>, one: &UpstreamStatus) -> fmt::Result {
    let cut: String = one.name.chars().take(WIDTH).collect();
    writeln!(f, "{cut}")?;
    let about = pools_text::address_and_pool(one);
    line(f, "  standing", &format!("{}{about}", one.standing.name()))?;
    if let Some(measured) = &one.measured {
        measurement(f, measured)?;
    }
    if let Some(fault) = one.fault {
        line(f, "  not polled", fault)?;
    }
    if let Some(nts) = &one.nts {
        keys(f, nts)?;
    }
    if let Some(key) = one.key {
        line(f, "  MAC key", &key.to_string())?;
    }
    let poll = one.poll.map(|poll| format!(", polled every {poll:.0} s"));
    let answers = format!(
        "reach {:03o}, {} good answers{}",
        one.reach,
        one.accepted,
        poll.unwrap_or_default()
    );
    line(f, "  answers", &answers)?;
    line(f, "  mode", &interleaved_text::of_upstream(one))?;
    let refused = Reject::all().zip(one.rejected).filter(|(_, count)| *count > 0);
    let refused: Vec<String> = refused
        .map(|(reject, count)| format!("{count} {}", reject.name()))
        .collect();
    if refused.is_empty() {
        Ok(())
    } else {
        line(f, "  refused", &refused.join(", "))
    }
}

fn keys(f: &mut Formatter<'_>, nts: &UpstreamNts) -> fmt::Result {
    if let (Some(aead), Some(age)) = (nts.aead, nts.key_age) {
        let (cookies, age) = (nts.cookies, Uptime(age));
        let short = if nts.short_questions {
            ", long questions get no reply"
        } else {
            ""
        };
        line(
            f,
            "  NTS",
            &format!("{aead}, {cookies} cookies, keys {age} old{short}"),
        )?;
    }
    if let Some(end) = nts.certificate_not_after {
        line(f, "  certified", &format!("until {}", day(end)))?;
    }
    let failures = KeFault::all().zip(nts.failures).filter(|(_, count)| *count > 0);
    let failures: Vec<String> = failures
        .map(|(fault, count)| format!("{count} {}", fault.name()))
        .collect();
    if failures.is_empty() {
        Ok(())
    } else {
        line(f, "  no keys", &failures.join(", "))
    }
}

fn measurement(f: &mut Formatter<'_>, measured: &UpstreamMeasurement) -> fmt::Result {
    let UpstreamMeasurement {
        offset,
        delay,
        jitter,
        ..
    } = measured;
    line(
        f,
        "  measured",
        &format!("offset {offset:+.9} s, delay {delay:.9} s, jitter {jitter:.9} s"),
    )?;
    let (samples, age) = (measured.samples, ShortTime(measured.age));
    line(f, "  samples", &format!("{samples}, the newest {age} ago"))?;
    let (stratum, id, distance) = (
        measured.stratum,
        &measured.reference_id,
        ShortTime(measured.root_distance),
    );
    line(
        f,
        "  announces",
        &format!("stratum {stratum}, reference ID {id}, maximum error {distance}"),
    )
}

/// Seconds in a unit that fits, in at most eight characters: `123.4us`; with a sign on request.
struct ShortTime(f64);

impl Display for ShortTime {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let size = self.0.abs();
        let (scale, unit) = match size {
            _ if size >= 0.9995 => (1.0, "s"),
            _ if size >= 0.000_999_5 => (1e3, "ms"),
            _ if size >= 0.000_000_999_5 => (1e6, "us"),
            _ => (1e9, "ns"),
        };
        let value = self.0 * scale;
        let digits = if value.abs() < 1000.0 { 1 } else { 0 };
        if f.sign_plus() {
            write!(f, "{value:+.digits$}{unit}")
        } else {
            write!(f, "{value:.digits$}{unit}")
        }
    }
}

/// Seconds as days and a time of day: `3d 04:05:06`.
struct Uptime(f64);

impl Display for Uptime {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let seconds = std::time::Duration::try_from_secs_f64(self.0)
            .unwrap_or_default()
            .as_secs();
        let (days, rest) = (seconds / 86_400, seconds % 86_400);
        if days > 0 {
            write!(f, "{days}d ")?;
        }
        write!(f, "{:02}:{:02}:{:02}", rest / 3600, rest / 60 % 60, rest % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::super::snapshot::example;
    use super::*;
    use crate::server::Counters;

    #[test]
    fn the_status_is_one_screen() {
        let expected = "\
ntpfront 1.2.3, up 3d 04:05:06
state        synchronized, system clock
announced    stratum 3, reference ID C0000201, leap 0
error bound  750.0us (root delay 500.0us, dispersion 500.0us)
checked      2.5s ago, good for 1000s
NTP Pool     score 20.0 at worst, by its own error bound: handed out
leap seconds the list expires in 34 days
requests     1234/s, 2 received, 1 answered
lost         7 in full queues, 0 not sent, 0 failures to receive
refused      1 too-short
fast path    1 answered
             eth0 native: IPv4 1, IPv6 none (no address of this host there)
             eth1 off: there is no such interface; it is looked for each second
NTS keys     period 20786, 2 secrets of the file
key sessions 40961 established of 40970, 812 refused, 3 open
             not served: 192.0.2.7:4460, which does not exist
certificate  time.example, ntp.example: 9 days left; renew it
reloads      4 done, 1 refused; the last: /etc/ntpfront/ntpfront.toml:3:1:
             nonsense
log          5 lines dropped, as their reader was too slow
history      300 files, 21.6 MB in /var/lib/ntpfront/history

LISTENER                   WORKER        /S      RECEIVED      ANSWERED     LOST
0.0.0.0:123                     2      1234             2             1        7
                               #0      1000             1             1
                               #1       234             1             0
[2001:db8:1234:5678:9abc:def0:1234:5678]:123
                                1         0             0             0        0
192.0.2.7:123                   0         0             0             0        0
                           not served: no interface of this host has the address
                           (EADDRNOTAVAIL)

UPSTREAM               STANDING    REACH ST    OFFSET    DELAY   JITTER  POLL
time.example:123       system-peer   377  2   -12.3us    1.2ms  900.0ns    64
[2001:db8::1]:123      refused       000  -         -        -        -     -
                       last answer refused: kiss-deny
                       not polled: no route to it (ENETUNREACH)
pool         pool.example:123: 1 of 4, 1 on trial, 0 spare, 3 replaced
";
        assert_eq!(StatusText(&example()).to_string(), expected);
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
            let text = StatusText(&snapshot).to_string();
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
    fn each_upstream_is_told_in_full() {
        let expected = "\
time.example:123
  standing   system-peer, at 192.0.2.1:123
  measured   offset -0.000012300 s, delay 0.001200000 s, jitter 0.000000900 s
  samples    12, the newest 3.0s ago
  announces  stratum 2, reference ID C6336401, maximum error 2.0ms
  NTS        aes-128-gcm-siv, 8 cookies, keys 1d 00:00:00 old
  certified  until 2027-01-15
  no keys    3 timed-out
  answers    reach 377, 20 good answers, polled every 64 s
  mode       interleaved, 3 samples corrected, by 3.000 us usually

[2001:db8::1]:123
  standing   refused, at [2001:db8::1]:123, of pool.example:123
  not polled no route to it (ENETUNREACH)
  MAC key    10
  answers    reach 000, 0 good answers
  mode       basic
  refused    1 kiss-deny
";
        assert_eq!(UpstreamsText(&example()).to_string(), expected);
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
        snapshot.requests.queue_dropped = u64::MAX;
        for text in [
            StatusText(&snapshot).to_string(),
            UpstreamsText(&snapshot).to_string(),
        ] {
            for line in text.lines() {
                assert!(line.chars().count() <= WIDTH, "{line}");
            }
        }
    }

    #[test]
    fn spans_have_a_fitting_unit() {
        for (seconds, expected) in [
            (0.0, "0.0ns"),
            (999.4e-9, "999.4ns"),
            (1e-6, "1.0us"),
            (0.000_999_4, "999.4us"),
            (0.001, "1.0ms"),
            (-0.25, "-250.0ms"),
            (59.96, "60.0s"),
            (86_400.0, "86400s"),
        ] {
            assert_eq!(ShortTime(seconds).to_string(), expected);
        }
        assert_eq!(format!("{:+}", ShortTime(0.001)), "+1.0ms");
    }
}
