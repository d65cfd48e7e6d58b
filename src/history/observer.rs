//! Pure. The observer: finds what is to be recorded, the served time with its counts, samples, and changes since the last look.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::line::{ChangeNote, Note, SampleNote, ServedNote, StandingNote, rounded_up, to_nanos};
use crate::observe::clock_status::ClockStatus;
use crate::observe::snapshot::{ListenerStatus, Traffic};
use crate::observe::upstream_status::UpstreamStatus;
use crate::time::NtpDuration;
use crate::upstream::packet::Reject;
use crate::upstream::peer::Peer;
use crate::upstream::poller::PollerReport;
use crate::upstream::registry::Entry;

/// The state at the last look.
#[derive(Clone, Debug, Default)]
pub struct HistoryObserver {
    counts: [u64; 3],
    state: Option<(String, Option<String>)>,
    clock: Option<String>,
    leap: Option<u8>,
    standings: BTreeMap<String, String>,
    listeners: BTreeMap<SocketAddr, bool>,
}

/// The served clock, as far as its status does not have it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ServedClock {
    /// The served time minus the host's time of day, in seconds.
    pub host_offset: f64,
    /// Frequency against the raw counter, less one; `None` for the host's clock.
    pub frequency: Option<f64>,
}

impl HistoryObserver {
    /// Returns what is announced, with the counts since the last time.
    pub fn served(
        &mut self,
        status: &ClockStatus,
        clock: ServedClock,
        traffic: &Traffic,
    ) -> ServedNote<'static> {
        let counts = &traffic.counts;
        let lost = traffic.queue_dropped.wrapping_add(counts.unsent());
        let all = [counts.answered(), counts.refused(), lost];
        // Counters of a listener that was removed may be gone.
        let [answered, refused, lost] = std::array::from_fn(|index| {
            let (now, before) = (all.get(index).copied(), self.counts.get(index).copied());
            now.unwrap_or(0).saturating_sub(before.unwrap_or(0))
        });
        self.counts = all;
        let reference = &status.reference;
        ServedNote {
            state: status.state.name().into(),
            clock: status.clock.name().into(),
            stratum: reference.stratum,
            leap: reference.leap,
            reference_id: reference.reference_id.clone().into(),
            // 1e-12 is a nanosecond in 17 minutes.
            frequency: clock.frequency.map(|frequency| (frequency * 1e12).round() / 1e12),
            root_delay: to_nanos(reference.root_delay),
            lost,
            root_dispersion: rounded_up(reference.root_dispersion),
            bound: reference.root_distance.map(rounded_up),
            host_offset: to_nanos(clock.host_offset),
            answered,
            refused,
        }
    }

    /// Returns the changes of the time and of the upstreams since the last look; all of them at the first one.
    pub fn changes(&mut self, status: &ClockStatus, upstreams: &[UpstreamStatus]) -> Vec<Note<'static>> {
        let mut notes = Vec::new();
        let state = (status.state.name().to_owned(), status.state_reason.clone());
        let was = self.state.replace(state.clone());
        // A reason has numbers in it: a new one for the same state is no change.
        if was.as_ref().is_none_or(|was| was.0 != state.0) {
            let (to, reason) = state;
            notes.push(change("state", None, was.map(|was| was.0), Some(to), reason));
        }
        let clock = status.clock.name().to_owned();
        let was = self.clock.replace(clock.clone());
        if was.as_ref().is_some_and(|was| *was != clock) {
            notes.push(change("clock", None, was, Some(clock), None));
        }
        let leap = status.reference.leap;
        let was = self.leap.replace(leap);
        if was.is_some_and(|was| was != leap && was < 3 && leap < 3) {
            let word = |leap: u8| leap.to_string();
            notes.push(change("leap", None, was.map(word), Some(word(leap)), None));
        }
        notes.extend(self.standings(upstreams));
        notes
    }

    fn standings(&mut self, upstreams: &[UpstreamStatus]) -> Vec<Note<'static>> {
        let mut notes = Vec::new();
        for one in upstreams {
            let standing = one.standing.name();
            let was = self.standings.get(&one.name).cloned();
            if was.as_deref() == Some(standing) {
                continue;
            }
            self.standings.insert(one.name.clone(), standing.to_owned());
            notes.push(if was.is_none() {
                Note::Standing(StandingNote {
                    upstream: one.name.clone(),
                    standing: standing.to_owned(),
                    since: None,
                })
            } else {
                let reason = one.fault.or(one.reason).map(str::to_owned);
                change(
                    "standing",
                    Some(one.name.clone()),
                    was,
                    Some(standing.to_owned()),
                    reason,
                )
            });
        }
        let is_there = |name: &String| upstreams.iter().any(|one| one.name == *name);
        let gone: Vec<String> = self
            .standings
            .keys()
            .filter(|name| !is_there(name))
            .cloned()
            .collect();
        for name in gone {
            let was = self.standings.remove(&name);
            notes.push(change(
                "standing",
                Some(name),
                was,
                None,
                Some("removed".to_owned()),
            ));
        }
        notes
    }

    /// Returns the changes of the listeners since the last look.
    pub fn listeners(&mut self, listeners: &[ListenerStatus]) -> Vec<Note<'static>> {
        let word = |serving: bool| if serving { "serving" } else { "not-serving" }.to_owned();
        let mut notes = Vec::new();
        for one in listeners {
            let was = self.listeners.insert(one.address, one.serving);
            if was != Some(one.serving) {
                let (name, reason) = (Some(one.address.to_string()), one.fault.map(str::to_owned));
                notes.push(change(
                    "listener",
                    name,
                    was.map(word),
                    Some(word(one.serving)),
                    reason,
                ));
            }
        }
        let is_there = |address: &SocketAddr| listeners.iter().any(|one| one.address == *address);
        let gone: Vec<SocketAddr> = self
            .listeners
            .keys()
            .filter(|address| !is_there(address))
            .copied()
            .collect();
        for address in gone {
            let was = self.listeners.remove(&address);
            notes.push(change(
                "listener",
                Some(address.to_string()),
                was.map(word),
                None,
                None,
            ));
        }
        notes
    }
}

/// Makes a change.
pub fn change(
    what: &str,
    name: Option<String>,
    from: Option<String>,
    to: Option<String>,
    reason: Option<String>,
) -> Note<'static> {
    Note::Change(ChangeNote {
        what: what.to_owned(),
        name,
        from,
        to,
        reason,
        seconds: None,
    })
}

/// Makes a change by this many seconds.
pub fn step(what: &str, to: &str, seconds: f64) -> Note<'static> {
    Note::Change(ChangeNote {
        what: what.to_owned(),
        to: Some(to.to_owned()),
        seconds: Some(to_nanos(seconds)),
        ..ChangeNote::default()
    })
}

/// Returns the sample that a report brings, accepted or refused, if it brings one.
///
/// `served` is how far the served clock is ahead of the local timescale.
pub fn sample(before: &Entry, report: &PollerReport, served: NtpDuration) -> Option<SampleNote> {
    let peer = &report.peer;
    let refused = Reject::all()
        .zip(report.polling.rejected)
        .zip(before.polling.rejected)
        .find(|((_, now), was)| now > was)
        .map(|((reject, _), _)| reject);
    let is_accepted = peer.accepted > before.peer.accepted;
    if !is_accepted && refused.is_none() {
        return None;
    }
    let mut note = SampleNote {
        upstream: before.settings.to_string(),
        address: peer.address.map(|address| address.to_string()),
        refused: refused
            .filter(|_| !is_accepted)
            .map(|reject| reject.name().to_owned()),
        ..SampleNote::default()
    };
    if is_accepted {
        measure(&mut note, peer, served);
    }
    Some(note)
}

fn measure(note: &mut SampleNote, peer: &Peer, served: NtpDuration) {
    let seconds = |duration: NtpDuration| Some(to_nanos(duration.to_seconds()));
    if let Some(sample) = peer.filter.newest() {
        note.offset = seconds(sample.offset - served);
        note.delay = seconds(sample.delay);
        note.dispersion = seconds(sample.dispersion);
    }
    if let Some(header) = &peer.answer {
        note.stratum = Some(header.stratum);
        note.reference_id = Some(header.reference_id.to_string());
        note.root_distance =
            seconds(header.root_delay.to_duration().half() + header.root_dispersion.to_duration());
    }
}

#[cfg(test)]
mod tests;
