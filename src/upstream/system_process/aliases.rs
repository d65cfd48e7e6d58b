//! Pure. The upstreams that are several addresses of the same server, so that they count once.
//!
//! A server announces its reference time, when its clock was last set, to a fraction of a second. It is the same at all
//! of its addresses until the clock is set again, and two servers do not have the same one by chance. So two upstreams
//! whose last answers mostly had the same reference times are one server, while they also have the same time. An
//! upstream that copies another's fields only joins that one's vote: the vote contains both claims, so neither loses
//! it. And it can be paired with one of two others, but not with both, which would take the vote of one of them.
//!
//! A server that announces no fraction (some at stratum 1 have whole seconds, ntpd-rs steps of 128 s), or whose clock
//! is set more often than it is polled, is not recognized, and counts as often as it is configured.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::time::NtpTimestamp;
use crate::upstream::candidate::Candidate;
use crate::upstream::registry::{Registry, UpstreamId};
use crate::wire::ReferenceId;

/// Number of an upstream's last answers that are remembered.
const REMEMBERED: usize = 8;
/// Number of the last answers (fewer at the start) of which more than half must have the same settings.
const COMPARED: usize = 4;
/// A reference time with this many zero bits at its end is a multiple of 2^-12 s: too coarse to identify a server.
const COARSE: u32 = 32 - 12;

/// A server's variables from the last time that its clock was set: the same at all addresses until the next time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct ClockSetting {
    stratum: u8,
    reference_id: ReferenceId,
    reference_timestamp: NtpTimestamp,
}

impl ClockSetting {
    /// Returns whether it is so precise that no other server has the same one by chance.
    fn is_distinctive(&self) -> bool {
        self.reference_timestamp.to_bits().trailing_zeros() < COARSE
    }
}

/// The last clock settings of each upstream, and the upstreams that are one server.
#[derive(Clone, Debug, Default)]
//= RFC 5905 §11.2.1 associations
pub(super) struct Aliases {
    histories: BTreeMap<UpstreamId, SettingHistory>,
    /// Pairs of upstreams that are one server. If one is paired with two others, these are paired, too.
    pairs: BTreeSet<Pair>,
}

/// Two upstreams, the lower identity first.
type Pair = (UpstreamId, UpstreamId);

/// The last clock settings of one upstream.
#[derive(Clone, Debug, Default)]
struct SettingHistory {
    /// Number of samples when the last setting was recorded.
    samples_seen: u64,
    settings: VecDeque<ClockSetting>,
}

impl SettingHistory {
    /// Returns whether most of the last answers had settings that `other` had, too.
    fn repeats(&self, other: &Self) -> bool {
        let last = self.settings.iter().rev().take(COMPARED);
        let repeated = |setting: &&ClockSetting| setting.is_distinctive() && other.settings.contains(setting);
        last.clone().filter(repeated).count() * 2 > last.count()
    }
}

impl Aliases {
    /// Records the last answers of the `upstreams`, and forgets upstreams that are not there any more.
    pub(super) fn observe(&mut self, upstreams: &Registry) {
        self.histories.retain(|id, _| upstreams.contains(*id));
        self.pairs
            .retain(|(one, other)| upstreams.contains(*one) && upstreams.contains(*other));
        for upstream in upstreams.iter() {
            let (id, peer) = (upstream.id, &upstream.peer);
            let history = self.histories.entry(id).or_default();
            if peer.accepted < history.samples_seen {
                *history = SettingHistory::default();
                self.pairs.retain(|pair| pair.0 != id && pair.1 != id);
            }
            let Some(header) = peer.answer.filter(|_| peer.accepted > history.samples_seen) else {
                continue;
            };
            history.samples_seen = peer.accepted;
            history.settings.push_back(ClockSetting {
                stratum: header.stratum,
                reference_id: header.reference_id,
                reference_timestamp: header.reference_timestamp,
            });
            if history.settings.len() > REMEMBERED {
                history.settings.pop_front();
            }
        }
    }

    /// Checks each two `candidates` whether they are one server.
    fn pair_up(&mut self, candidates: &[Candidate]) {
        let mut recent = BTreeSet::new();
        for (place, one) in candidates.iter().enumerate() {
            for other in candidates.iter().skip(place + 1) {
                let both = pair(one.id, other.id);
                if one.contradicts(other) {
                    self.pairs.remove(&both);
                } else if one.is_as_well_known_as(other) && self.have_same_settings(one.id, other.id) {
                    recent.insert(both);
                }
            }
        }
        self.pairs.extend(&recent);
        self.resolve(&recent);
    }

    /// Removes pairs until they are transitive: if one is paired with two others, these are paired, too.
    ///
    /// `recent` pairs, whose last answers agree, stay if there are others to remove. All are removed at once, so that
    /// the order does not matter.
    fn resolve(&mut self, recent: &BTreeSet<Pair>) {
        loop {
            let ambiguous: BTreeSet<_> = self
                .pairs
                .iter()
                .copied()
                .filter(|&both| self.is_ambiguous(both))
                .collect();
            let old: BTreeSet<_> = ambiguous.difference(recent).copied().collect();
            let gone = if old.is_empty() { ambiguous } else { old };
            if gone.is_empty() {
                return;
            }
            self.pairs.retain(|both| !gone.contains(both));
        }
    }

    /// Returns whether another upstream is paired with only one of these two.
    fn is_ambiguous(&self, (one, other): Pair) -> bool {
        let is_one = |a: UpstreamId, b: UpstreamId| self.pairs.contains(&pair(a, b));
        let mut thirds = self
            .histories
            .keys()
            .copied()
            .filter(|&third| third != one && third != other);
        thirds.any(|third| is_one(one, third) != is_one(other, third))
    }

    fn have_same_settings(&self, one: UpstreamId, other: UpstreamId) -> bool {
        let both = self.histories.get(&one).zip(self.histories.get(&other));
        both.is_some_and(|(one, other)| one.repeats(other) && other.repeats(one))
    }

    /// Returns whether both are the same server now.
    fn are_one(&self, one: &Candidate, other: &Candidate) -> bool {
        let paired = self.pairs.contains(&pair(one.id, other.id));
        one.address == other.address || paired && one.is_as_well_known_as(other)
    }

    /// Returns the candidates grouped by server, as indices into their list: each is in one group.
    pub(super) fn groups(&mut self, candidates: &[Candidate]) -> Vec<Vec<usize>> {
        self.pair_up(candidates);
        let mut groups: Vec<Vec<usize>> = Vec::new();
        for (place, one) in candidates.iter().enumerate() {
            let is_one_of = |group: &Vec<usize>| {
                let members = group.iter().filter_map(|&member| candidates.get(member));
                members.into_iter().any(|member| self.are_one(one, member))
            };
            let (same, others): (Vec<_>, Vec<_>) = groups.into_iter().partition(is_one_of);
            groups = others;
            groups.push(same.into_iter().flatten().chain([place]).collect());
        }
        groups
    }
}

fn pair(one: UpstreamId, other: UpstreamId) -> Pair {
    (one.min(other), one.max(other))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::tests::numbered;
    use super::*;
    use crate::time::{NtpDuration, NtpShort};
    use crate::upstream::candidate::Limits;
    use crate::upstream::filter::View;
    use crate::upstream::packet::Sample;
    use crate::upstream::peer::{Peer, Polling};
    use crate::wire::Header;

    /// An upstream that answered with these reference timestamps, a second apart.
    fn peer(host: u8, offset: f64, said: &[u64]) -> Vec<Peer> {
        let mut peer = Peer {
            address: Some(([192, 0, 2, host], 123).into()),
            reach: 1,
            ..Peer::default()
        };
        let mut history = Vec::new();
        for (second, &reference) in (100..).zip(said) {
            peer.accepted += 1;
            peer.answer = Some(Header {
                stratum: 2,
                root_dispersion: NtpShort::from_duration(NtpDuration::from_seconds(0.001)),
                reference_timestamp: NtpTimestamp::from_bits(reference),
                ..Header::request(NtpTimestamp::ZERO)
            });
            peer.filter.add(Sample {
                offset: NtpDuration::from_seconds(offset),
                delay: NtpDuration::from_seconds(0.002),
                network_delay: NtpDuration::from_seconds(0.002),
                dispersion: NtpDuration::from_seconds(1e-6),
                at: Duration::from_secs(second),
            });
            history.push(peer.clone());
        }
        history
    }

    /// The number of servers that these are, after all answers of each.
    fn servers(histories: &[Vec<Peer>]) -> usize {
        let mut aliases = Aliases::default();
        let mut upstreams = Registry::new(&(0..histories.len()).map(numbered).collect::<Vec<_>>());
        let limits = Limits {
            distance: NtpDuration::SECOND,
            only_authenticated: false,
            jitter: 1.0,
        };
        let now = Duration::from_secs(200);
        let mut servers = 0;
        for step in 0..histories[0].len() {
            let ids: Vec<_> = upstreams.iter().map(|one| one.id).collect();
            for (id, history) in ids.into_iter().zip(histories) {
                upstreams.update(id, history[step].clone(), Polling::default());
            }
            aliases.observe(&upstreams);
            let candidate = |one| Candidate::of(one, now, &View::default(), &limits).unwrap();
            let candidates: Vec<_> = upstreams.iter().map(candidate).collect();
            servers = aliases.groups(&candidates).len();
        }
        servers
    }

    /// Times with a full fraction.
    const A: [u64; 4] = [
        0xA000_1111_2222_3333,
        0xA001_1111_2222_3335,
        0xA002_1111_2222_3337,
        0xA003_1111_2222_3339,
    ];
    const B: [u64; 4] = [
        0xA000_9111_2222_3333,
        0xA001_9111_2222_3335,
        0xA002_9111_2222_3337,
        0xA003_9111_2222_3339,
    ];

    #[test]
    fn one_server_by_several_addresses_counts_once() {
        assert_eq!(servers(&[peer(1, 0.0, &A[..1]), peer(2, 0.0, &A[..1])]), 1);
        assert_eq!(
            servers(&[peer(1, 0.0, &A), peer(2, 0.0005, &A), peer(3, 0.0, &A)]),
            1
        );
        // One address was polled before the last correction, the other after it.
        let before = [A[0], A[0], A[1], A[2]];
        assert_eq!(servers(&[peer(1, 0.0, &before), peer(2, 0.0, &A)]), 1);
        // Once recognized, they stay one while their time is the same, even if they rarely have the same setting.
        let (rarely, other) = ([A[0], A[1], A[2], A[3]], [A[0], B[1], B[2], B[3]]);
        assert_eq!(servers(&[peer(1, 0.0, &rarely), peer(2, 0.0, &other)]), 1);
        assert_eq!(servers(&[peer(1, 0.0, &A), peer(1, 0.0, &B)]), 1);
    }

    #[test]
    fn two_servers_count_twice() {
        assert_eq!(servers(&[peer(1, 0.0, &A), peer(2, 0.0, &B)]), 2);
        // Equal settings mean nothing if the times differ.
        assert_eq!(servers(&[peer(1, 0.0, &A), peer(2, 0.005, &A)]), 2);
        // Seconds without a fraction (and steps of 128 s) are common.
        let coarse = A.map(|bits| bits & !0 << 32);
        assert_eq!(servers(&[peer(1, 0.0, &coarse), peer(2, 0.0, &coarse)]), 2);
        assert_eq!(servers(&[peer(1, 0.0, &[0; 4]), peer(2, 0.0, &[0; 4])]), 2);
    }

    /// In any order.
    fn in_any_order(peers: [Vec<Peer>; 3]) -> BTreeSet<usize> {
        let orders = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
        orders
            .map(|order| servers(&order.map(|place| peers[place].clone())))
            .into()
    }

    #[test]
    fn who_copies_joins_one_and_never_two() {
        for words in [
            [A[0], B[1], A[2], B[3]],
            [A[0], A[1], B[2], B[3]],
            [A[0], A[1], A[2], B[3]],
            [B[0], B[1], B[2], A[3]],
            [A[0], B[0], B[1], B[2]],
        ] {
            let servers = in_any_order([peer(1, 0.0, &A), peer(2, 0.0, &words), peer(3, 0.0, &B)]);
            assert!(servers == [2].into() || servers == [3].into(), "{servers:?}");
        }
    }

    proptest::proptest! {
        /// Whatever two false ones copy of each other and of three true ones: no two true ones become one.
        #[test]
        fn honest_ones_keep_their_votes(copied in proptest::collection::vec((0_usize..4, 0_usize..4, 0_usize..6, 0_usize..6), 1..12)) {
            let say = |server: usize, step: usize| 0xA000_0000_1234_5677 + ((server as u64) << 40) + ((step as u64) << 20);
            let mut said: Vec<Vec<u64>> = vec![Vec::new(); 5];
            for (step, &(one, other, ago, other_ago)) in copied.iter().enumerate() {
                (0..3).for_each(|honest| said[honest].push(say(honest, step)));
                said[3].push(say(one, step.saturating_sub(ago)));
                said[4].push(say(other, step.saturating_sub(other_ago)));
            }
            let peers: Vec<_> = (1..).zip(&said).map(|(host, said)| peer(host, 0.0, said)).collect();
            proptest::prop_assert!(servers(&peers) >= 3);
        }
    }
}
