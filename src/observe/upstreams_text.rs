//! Pure. All that the snapshot has of each upstream, for people: what `upstreams` shows.

use std::net::IpAddr;

use super::screen::{Line, Lines, Tone};
use super::snapshot::Snapshot;
use super::units::{Brief, Length, ShortTime, reference};
use super::upstream_status::{UpstreamMeasurement, UpstreamNts, UpstreamStatus};
use super::{interleaved_text, pools_text};
use crate::upstream::candidate::SelectionStatus;
use crate::upstream::nts::certificate::day;
use crate::upstream::nts::ke_fault::KeFault;
use crate::upstream::packet::Reject;

/// Returns a block of lines for each upstream.
pub(super) fn details(snapshot: &Snapshot, width: usize) -> Vec<Line> {
    let mut lines = Lines::new(width);
    if snapshot.upstreams.is_empty() {
        lines.text(
            "no upstreams: the time is from this host's clock ([local])",
            Tone::Plain,
        );
    }
    let addresses = snapshot.upstreams.iter().filter_map(|one| one.address);
    let addresses: Vec<IpAddr> = addresses.map(|address| address.ip().to_canonical()).collect();
    for (index, upstream) in snapshot.upstreams.iter().enumerate() {
        if index > 0 {
            lines.blank();
        }
        one_upstream(&mut lines, upstream, &addresses);
    }
    lines.into_lines()
}

fn one_upstream(lines: &mut Lines, one: &UpstreamStatus, addresses: &[IpAddr]) {
    lines.text(&one.name, Tone::Heading);
    let tone = standing_tone(one.standing);
    let about = pools_text::address_and_pool(one);
    lines.toned_field("  standing", one.standing.name(), &about, tone);
    if let Some(measured) = &one.measured {
        measurement(lines, measured, addresses);
    }
    if let Some(fault) = one.fault {
        lines.toned("  not polled", fault, Tone::Warning);
    }
    if let Some(nts) = &one.nts {
        keys(lines, nts);
    }
    if let Some(key) = one.key {
        lines.field("  MAC key", &key.to_string());
    }
    let poll = one.poll.map(|poll| format!(", polled every {}", Brief(poll)));
    let last = one
        .last_answer
        .map(|age| format!(", the last {} ago", Length(age)));
    let answers = if one.accepted == 1 { "answer" } else { "answers" };
    let answers = format!(
        "reach {:03o}, {} good {answers}{}{}",
        one.reach,
        one.accepted,
        last.unwrap_or_default(),
        poll.unwrap_or_default()
    );
    lines.field("  answers", &answers);
    lines.field("  mode", &interleaved_text::of_upstream(one));
    let refused = Reject::all().zip(one.rejected).filter(|(_, count)| *count > 0);
    let refused: Vec<String> = refused
        .map(|(reject, count)| format!("{count} {}", reject.name()))
        .collect();
    if !refused.is_empty() {
        lines.field("  refused", &refused.join(", "));
    }
}

fn keys(lines: &mut Lines, nts: &UpstreamNts) {
    if let (Some(aead), Some(age)) = (nts.aead, nts.key_age) {
        let (cookies, age) = (nts.cookies, Length(age));
        let short = if nts.short_questions {
            ", long questions get no reply"
        } else {
            ""
        };
        lines.field(
            "  NTS",
            &format!("{aead}, {cookies} cookies, keys {age} old{short}"),
        );
    }
    if let Some(end) = nts.certificate_not_after {
        lines.field("  certified", &format!("until {}", day(end)));
    }
    let failures = KeFault::all().zip(nts.failures).filter(|(_, count)| *count > 0);
    let failures: Vec<String> = failures
        .map(|(fault, count)| format!("{count} {}", fault.name()))
        .collect();
    if !failures.is_empty() {
        lines.field("  no keys", &failures.join(", "));
    }
}

fn measurement(lines: &mut Lines, measured: &UpstreamMeasurement, addresses: &[IpAddr]) {
    let (offset, error) = (ShortTime(measured.offset), ShortTime(measured.max_error));
    let (delay, jitter) = (ShortTime(measured.delay), ShortTime(measured.jitter));
    lines.field(
        "  measured",
        &format!("offset {offset:+} +/- {error}, delay {delay}, jitter {jitter}"),
    );
    let (samples, age) = (measured.samples, Length(measured.age));
    lines.field("  samples", &format!("{samples}, the newest {age} ago"));
    let (stratum, distance) = (measured.stratum, ShortTime(measured.root_distance));
    let id = reference(&measured.reference_id, addresses.iter().copied());
    lines.field(
        "  announces",
        &format!("stratum {stratum}, reference {id}, maximum error {distance}"),
    );
}

/// Returns the tone of a standing. Not all must be good: only what an operator should look at is marked.
pub(super) const fn standing_tone(standing: SelectionStatus) -> Tone {
    match standing {
        SelectionStatus::Mirrored | SelectionStatus::SystemPeer | SelectionStatus::Agrees => Tone::Good,
        SelectionStatus::Outlier
        | SelectionStatus::NoSelect
        | SelectionStatus::Smeared
        | SelectionStatus::Plain
        | SelectionStatus::Duplicate
        | SelectionStatus::Unknown => Tone::Plain,
        SelectionStatus::TooFew | SelectionStatus::TooFar | SelectionStatus::TooJittery => Tone::Warning,
        SelectionStatus::Falseticker
        | SelectionStatus::Expired
        | SelectionStatus::Refused
        | SelectionStatus::Silent => Tone::Bad,
    }
}

#[cfg(test)]
mod tests {
    use super::super::screen::plain;
    use super::super::snapshot::example;
    use super::*;

    #[test]
    fn each_upstream_is_told_in_full() {
        let expected = "\
time.example:123
  standing   system-peer, at 192.0.2.1:123
  measured   offset -12.3us +/- 2.6ms, delay 1.2ms, jitter 900.0ns
  samples    12, the newest 3 s ago
  announces  stratum 2, reference 198.51.100.1 (C6336401), maximum error 2.0ms
  NTS        aes-128-gcm-siv, 8 cookies, keys 1 day old
  certified  until 2027-01-15
  no keys    3 timed-out
  answers    reach 377, 20 good answers, the last 3 s ago, polled every 64s
  mode       interleaved, 3 samples corrected, by 3.000 us usually

[2001:db8::1]:123
  standing   refused, at [2001:db8::1]:123, of pool.example:123
  not polled no route to it (ENETUNREACH)
  MAC key    10
  answers    reach 000, 0 good answers
  mode       basic
  refused    1 kiss-deny
";
        assert_eq!(plain(&details(&example(), 80)), expected);
    }
}
