//! Pure. What we know of one upstream: its answers, its reachability, and when to ask it again
//! (RFC 5905 §9.1, §13; §7.4 for kisses).

use std::net::SocketAddr;
use std::time::Duration;

use super::Upstream;
use super::filter::{ClockFilter, Estimate, View};
use super::packet::{Reject, Sample};
use crate::wire::{Header, NtpDuration};

/// Questions in a row when starting; the RFC's eight (§7.2, BCOUNT) gain nothing that four do not.
const BURST: u32 = 4;
/// Between two questions of a burst to another host: 2 s (RFC 5905 §7.2, BTIME).
const BURST_LOG2: i8 = 1;
/// The same to a daemon on this host.
const LOCAL_BURST_LOG2: i8 = 0;
/// RFC 5905 §7.2, MAXPOLL: 36 hours. As far as RATE kisses can take us, whatever is configured.
const SLOWEST: i8 = 17;
/// After as many questions without an answer, ask half as often.
const PATIENCE: u32 = 4;
/// After as many samples that fit, ask half as often.
const STEADY: u32 = 8;

/// One upstream as it is known so far.
#[derive(Clone, Debug)]
pub struct Association {
    upstream: Upstream,
    peer: Peer,
    burst_left: u32,
    poll: i8,
    /// A RATE kiss raises it for good (RFC 5905 §7.4).
    slowest_asked: i8,
    unanswered: u32,
    /// Samples in a row that fit the line of those before.
    steady: u32,
    rejected: [u64; Reject::ALL.len()],
}

/// The part of it that the system process looks at.
#[derive(Clone, Debug, Default)]
pub struct Peer {
    /// Who answers, as far as it is known.
    pub address: Option<SocketAddr>,
    /// Is that an address of this host?
    pub on_this_host: bool,
    /// One bit for each of the last eight questions, the newest lowest: was there a good answer
    /// (RFC 5905 §9.2, reach)?
    pub reach: u8,
    /// The last good answer; none after the upstream said that it has no time.
    pub answer: Option<Header>,
    /// The last good samples.
    pub filter: ClockFilter,
    /// How many good samples there were in all.
    pub accepted: u64,
    /// It told us to stop asking (DENY, RSTR).
    pub stopped: bool,
    /// Why the last answer was refused, if it was.
    pub refused: Option<Reject>,
}

impl Peer {
    /// The last header and what the samples say, if there is anything to believe.
    pub fn known(&self, view: &View) -> Option<(Header, Estimate)> {
        if self.reach == 0 || self.stopped {
            return None;
        }
        self.answer.zip(self.filter.estimate(view))
    }
}

impl Association {
    /// Nothing is known of `upstream` yet.
    pub fn new(upstream: &Upstream) -> Self {
        Self {
            peer: Peer::default(),
            burst_left: if upstream.iburst { BURST } else { 1 },
            poll: upstream.minpoll,
            slowest_asked: upstream.minpoll,
            unanswered: 0,
            steady: 0,
            rejected: [0; Reject::ALL.len()],
            upstream: upstream.clone(),
        }
    }

    /// What the system process sees.
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// How many answers were refused for `reject`.
    pub fn rejected(&self, reject: Reject) -> u64 {
        self.rejected.get(reject.index()).copied().unwrap_or(0)
    }

    /// From now on `address` is asked. What another address said doesn't count for it.
    pub fn follow(&mut self, address: SocketAddr, on_this_host: bool) {
        if self.peer.address != Some(address) {
            self.peer = Peer {
                address: Some(address),
                on_this_host,
                ..Peer::default()
            };
        }
    }

    /// A leap second happened at `at` and shifted UTC: what was measured before is seen in its light.
    pub fn leap(&mut self, at: Duration, by: NtpDuration) {
        self.peer.filter.leap(at, by);
    }

    /// A question was sent.
    pub fn asked(&mut self) {
        self.peer.reach <<= 1;
        self.burst_left = self.burst_left.saturating_sub(1);
        self.unanswered = self.unanswered.saturating_add(1);
        if self.unanswered.is_multiple_of(PATIENCE) {
            self.poll = (self.poll + 1).min(self.upstream.maxpoll).max(self.slowest_asked);
        }
    }

    /// A good answer came.
    pub fn accept(&mut self, header: Header, sample: Sample) {
        if self.peer.reach == 0 && self.upstream.iburst && self.unanswered > PATIENCE {
            // It is back after a silence: get to know it again quickly.
            self.burst_left = BURST - 1;
        }
        self.peer.reach |= 1;
        self.peer.refused = None;
        self.peer.answer = Some(header);
        self.peer.accepted += 1;
        if self.unanswered > PATIENCE {
            self.poll = self.slowest_asked;
        }
        self.unanswered = 0;
        self.adapt(sample);
    }

    /// The poll interval grows while the samples fit one line, and shrinks when old ones had to go (RFC 5905
    /// §13.1 in spirit: longer intervals for a quiet clock).
    fn adapt(&mut self, sample: Sample) {
        let before = self.peer.filter.len();
        let stepped = self.peer.filter.add(sample);
        if stepped {
            (self.poll, self.steady) = (self.slowest_asked, 0);
        } else if self.peer.filter.len() < before {
            (self.poll, self.steady) = ((self.poll - 1).max(self.slowest_asked), 0);
        } else if self.peer.filter.is_in_doubt() {
            // One sample contradicts all others: was the clock stepped? The next one tells.
            (self.burst_left, self.steady) = (self.burst_left.max(1), 0);
        } else if self.burst_left == 0 {
            self.steady += 1;
        }
        if self.steady >= STEADY {
            (self.poll, self.steady) = ((self.poll + 1).min(self.upstream.maxpoll), 0);
        }
    }

    /// An answer was refused. One that says by itself that there is no time ends our belief at once; others
    /// may be anybody's, and only the silence of the upstream counts.
    pub fn refuse(&mut self, reject: Reject) {
        if let Some(count) = self.rejected.get_mut(reject.index()) {
            *count += 1;
        }
        self.peer.refused = Some(reject);
        match reject {
            Reject::KissRate => {
                self.burst_left = 0;
                self.slowest_asked = (self.slowest_asked.max(self.poll) + 1).min(SLOWEST);
                self.poll = self.slowest_asked;
            }
            Reject::KissDeny => {
                self.peer.stopped = true;
                self.peer.answer = None;
            }
            Reject::Unsynchronized | Reject::Loop | Reject::Distance => self.peer.answer = None,
            Reject::TooShort
            | Reject::WrongMode
            | Reject::WrongVersion
            | Reject::WrongOrigin
            | Reject::NoTransmitTime
            | Reject::Turnaround
            | Reject::ReferenceInFuture => {}
        }
    }

    /// Is another address of the same name worth a try? After a silence, not because of what was answered.
    pub fn is_silent(&self) -> bool {
        self.peer.reach == 0 && self.unanswered >= PATIENCE && !self.peer.stopped
    }

    /// How long to wait before the next question; `None` if the upstream told us to stop. `random` spreads
    /// the questions of many servers: up to an eighth more.
    pub fn pause(&self, random: u64) -> Option<Duration> {
        if self.peer.stopped {
            return None;
        }
        let burst = if self.peer.on_this_host {
            LOCAL_BURST_LOG2
        } else {
            BURST_LOG2
        };
        // Whatever is configured for a name, another host is not asked more often than in a burst.
        let log2 = if self.burst_left > 0 {
            burst
        } else {
            self.poll.max(burst)
        };
        let interval = Duration::from_secs(1 << u32::from(log2.clamp(0, 17).unsigned_abs()));
        let spread = u32::try_from(random % 1024).unwrap_or(0);
        Some(interval + interval * spread / 8192)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::{Host, Role};
    use crate::wire::NtpTimestamp;

    fn association(iburst: bool, on_this_host: bool) -> Association {
        let host = Host::Name("time.example".to_owned());
        let mut association = Association::new(&Upstream {
            host,
            port: 123,
            iburst,
            minpoll: 4,
            maxpoll: 6,
            role: Role::default(),
        });
        association.follow("192.0.2.1:123".parse().unwrap(), on_this_host);
        association
    }

    fn sample(at: u64) -> Sample {
        let nothing = NtpDuration::ZERO;
        Sample {
            offset: nothing,
            delay: nothing,
            dispersion: nothing,
            at: Duration::from_secs(at),
        }
    }

    fn answered(association: &mut Association) {
        association.asked();
        association.accept(Header::request(NtpTimestamp::ZERO), sample(1));
    }

    fn pause(association: &Association) -> Option<u64> {
        association.pause(0).map(|pause| pause.as_secs())
    }

    #[test]
    fn a_burst_then_the_poll_interval() {
        for (iburst, on_this_host, expected) in [
            (true, false, [2, 2, 2, 16, 16]),
            (true, true, [1, 1, 1, 16, 16]),
            (false, false, [16; 5]),
        ] {
            let mut association = association(iburst, on_this_host);
            let pauses = [(); 5].map(|()| {
                answered(&mut association);
                pause(&association).unwrap()
            });
            assert_eq!(pauses, expected);
        }
    }

    #[test]
    fn silence_is_asked_less_and_less_until_it_ends() {
        let mut association = association(true, false);
        let pauses: Vec<u64> = (0..14)
            .map(|_| {
                association.asked();
                pause(&association).unwrap()
            })
            .collect();
        assert_eq!(pauses, [2, 2, 2, 32, 32, 32, 32, 64, 64, 64, 64, 64, 64, 64]);
        assert!(association.is_silent());
        answered(&mut association);
        assert_eq!(
            (0..4)
                .map(|_| {
                    association.asked();
                    pause(&association).unwrap()
                })
                .collect::<Vec<_>>(),
            [2, 2, 16, 32]
        );
    }

    #[test]
    fn reach_has_a_bit_for_each_of_eight_questions() {
        let mut association = association(false, false);
        answered(&mut association);
        association.asked();
        answered(&mut association);
        assert_eq!(association.peer().reach, 0b101);
        assert!(association.peer().known(&View::default()).is_some());
        (0..8).for_each(|_| association.asked());
        assert_eq!(association.peer().reach, 0);
        assert!(association.peer().known(&View::default()).is_none());
    }

    #[test]
    fn rate_slows_down_for_good_and_deny_stops() {
        let mut association = association(true, false);
        association.asked();
        association.refuse(Reject::KissRate);
        assert_eq!(pause(&association), Some(32));
        answered(&mut association);
        assert_eq!(pause(&association), Some(32));
        // Past the configured maximum: an order is an order.
        (0..2).for_each(|_| association.refuse(Reject::KissRate));
        assert_eq!(pause(&association), Some(128));
        (0..100).for_each(|_| association.refuse(Reject::KissRate));
        assert_eq!(pause(&association), Some(1 << 17));
        association.refuse(Reject::KissDeny);
        assert_eq!(pause(&association), None);
        assert!(association.peer().known(&View::default()).is_none());
        assert_eq!(
            (
                association.rejected(Reject::KissRate),
                association.rejected(Reject::KissDeny)
            ),
            (103, 1)
        );
    }

    #[test]
    fn what_anybody_could_have_sent_changes_no_belief() {
        let mut association = association(true, false);
        answered(&mut association);
        for reject in Reject::ALL {
            let before = association.peer().answer.is_some();
            association.refuse(reject);
            let ends_belief = matches!(
                reject,
                Reject::KissDeny | Reject::Unsynchronized | Reject::Loop | Reject::Distance
            );
            assert_eq!(
                association.peer().answer.is_some(),
                before && !ends_belief,
                "{reject:?}"
            );
            association.peer.answer = Some(Header::request(NtpTimestamp::ZERO));
        }
    }

    #[test]
    fn another_address_starts_anew() {
        let mut association = association(true, false);
        answered(&mut association);
        association.follow("192.0.2.1:123".parse().unwrap(), false);
        assert_eq!(association.peer().reach, 1);
        association.follow("192.0.2.2:123".parse().unwrap(), false);
        assert_eq!(association.peer().reach, 0);
        assert!(association.peer().answer.is_none());
    }

    #[test]
    fn questions_are_spread() {
        let mut association = association(false, false);
        association.asked();
        let longest = association.pause(u64::MAX).unwrap();
        assert!(
            longest > Duration::from_millis(17_900) && longest <= Duration::from_secs(18),
            "{longest:?}"
        );
    }
}
