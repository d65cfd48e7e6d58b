//! Pure. The addresses of an upstream: which of them is asked next, for how long it is waited for, and which have told us
//! not to ask.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::packet::ANSWER_WITHIN;

/// How long an answer is waited for while other addresses of the name were never asked: dead ones cost little then.
const FIRST_TRY_WITHIN: Duration = Duration::from_secs(1);
/// So many addresses of a name are asked; more are more than anybody has.
const ADDRESSES_MAX: usize = 64;
/// How long who said DENY or RSTR is left alone: from the first time to the most. Anybody on the path can send one.
const DENIED_FOR: [Duration; 2] = [Duration::from_secs(3600), Duration::from_secs(24 * 3600)];
/// After so many rounds in which the network had no way to any address, the name is looked up again.
const RESOLVE_AFTER: u32 = 4;

/// What is to be done next in a round of asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// The name is to be resolved, or the interface looked up.
    Resolve,
    /// Ask this address, and wait so long for an answer.
    Ask(SocketAddr, Duration),
    /// The round is over.
    End,
}

/// All addresses of one upstream.
#[derive(Clone, Debug, Default)]
pub struct Addresses {
    /// As they were found last.
    all: Vec<SocketAddr>,
    /// Those of this round that were not tried yet.
    left: VecDeque<SocketAddr>,
    /// The one that answered last.
    answering: Option<SocketAddr>,
    /// The same, while it is the only one of this round.
    settled: Option<SocketAddr>,
    /// Are they to be found before this round goes on?
    unresolved: bool,
    /// May they have changed since they were found?
    stale: bool,
    /// Rounds since the last answer in which all were tried.
    failed_rounds: u32,
    denials: Vec<Denial>,
}

/// Who said DENY or RSTR.
#[derive(Clone, Debug)]
struct Denial {
    address: IpAddr,
    /// How often in a row.
    times: u32,
    /// By the raw counter.
    until: Duration,
}

impl Addresses {
    /// A round begins: of the address that answered last, or, if that is `lost`, or there is none, a search of all. Then `first`
    /// is tried first, if it is among them.
    pub fn begin(&mut self, lost: bool, first: Option<SocketAddr>) {
        let settled = self.answering.filter(|_| !lost);
        self.settled = settled;
        self.unresolved = settled.is_none() && (self.all.is_empty() || self.stale);
        self.queue(settled.or(first));
    }

    /// All are tried, beginning with this one.
    fn queue(&mut self, first: Option<SocketAddr>) {
        let others = self.all.iter().copied().filter(|one| Some(*one) != first);
        self.left = match first {
            Some(one) if self.settled.is_some() || self.all.contains(&one) => {
                std::iter::once(one).chain(others).collect()
            }
            _ => others.collect(),
        };
    }

    /// These are the addresses from now on; `last` is tried last.
    pub fn found(&mut self, all: &[SocketAddr], last: Option<SocketAddr>) {
        self.all = Vec::new();
        for address in all {
            if self.all.len() < ADDRESSES_MAX && !self.all.contains(address) {
                self.all.push(*address);
            }
        }
        (self.unresolved, self.stale) = (false, false);
        let (late, early): (Vec<_>, Vec<_>) = self.all.iter().partition(|one| Some(**one) == last);
        self.left = early.into_iter().chain(late).collect();
    }

    /// They could not be found: those of before are tried.
    pub fn not_found(&mut self) {
        self.unresolved = false;
        self.queue(None);
    }

    /// What to do at `now`, by the raw counter.
    pub fn next(&mut self, now: Duration) -> Next {
        if self.unresolved {
            return Next::Resolve;
        }
        while let Some(address) = self.left.pop_front() {
            if !self.is_denied(address, now) {
                let is_first_try = self.settled.is_none() && self.failed_rounds == 0 && self.all.len() > 1;
                return Next::Ask(
                    address,
                    if is_first_try {
                        FIRST_TRY_WITHIN
                    } else {
                        ANSWER_WITHIN
                    },
                );
            }
        }
        Next::End
    }

    /// The one that was asked last is silent. A single silence is no reason to leave one that used to answer.
    pub fn silent(&mut self) {
        if self.settled.is_some() {
            self.left.clear();
        }
    }

    /// `address` answered, and goes on to be asked.
    pub fn answered(&mut self, address: SocketAddr) {
        self.left.clear();
        self.answering = Some(address);
        (self.failed_rounds, self.stale) = (0, false);
        self.denials.retain(|one| one.address != address.ip());
    }

    /// The round is over, and nobody answered; was somebody `silent`, or were all out of reach?
    pub fn end_unanswered(&mut self, silent: bool) {
        if self.settled.is_none() {
            self.failed_rounds = self.failed_rounds.saturating_add(1);
            self.stale = silent || self.failed_rounds.is_multiple_of(RESOLVE_AFTER);
        }
    }

    /// What was found may be wrong by now.
    pub fn forget(&mut self) {
        self.stale = true;
    }

    /// `address` said DENY or RSTR at `now`: it is left alone for an hour, and each time in a row for twice as long, up to
    /// a day. The others are tried.
    //= RFC 5905 §7.4 deny
    pub fn denied(&mut self, address: SocketAddr, now: Duration) {
        let before = self.denials.iter().position(|one| one.address == address.ip());
        let times = before.map_or(0, |place| self.denials.remove(place).times);
        let [shortest, longest] = DENIED_FOR;
        let pause = shortest.saturating_mul(1 << times.min(8)).min(longest);
        if self.denials.len() >= ADDRESSES_MAX {
            self.denials.remove(0);
        }
        self.denials.push(Denial {
            address: address.ip(),
            times: times + 1,
            until: now.saturating_add(pause),
        });
    }

    /// An operator has looked after it: all may be asked again.
    pub fn resume_after_kiss(&mut self) {
        self.denials.clear();
    }

    /// How long from `now` all addresses are to be left alone, if they are.
    pub fn all_denied_for(&self, now: Duration) -> Option<Duration> {
        let until = |one: &SocketAddr| self.denial(*one, now).map(|denial| denial.until);
        let all: Option<Vec<Duration>> = self.all.iter().map(until).collect();
        Some(all?.into_iter().min()?.saturating_sub(now))
    }

    fn is_denied(&self, address: SocketAddr, now: Duration) -> bool {
        self.denial(address, now).is_some()
    }

    fn denial(&self, address: SocketAddr, now: Duration) -> Option<&Denial> {
        let mut denials = self.denials.iter();
        denials.find(|one| one.address == address.ip() && one.until > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(1000);

    fn address(number: u8) -> SocketAddr {
        ([192, 0, 2, number], 123).into()
    }

    fn list(numbers: &[u8]) -> Vec<SocketAddr> {
        numbers.iter().copied().map(address).collect()
    }

    /// All that a round asks if nobody answers, the last bytes of the addresses and the seconds.
    fn round(addresses: &mut Addresses, found: &[u8], lost: bool) -> Vec<(u8, u64)> {
        addresses.begin(lost, None);
        let mut asked = Vec::new();
        loop {
            match addresses.next(NOW) {
                Next::Resolve => addresses.found(&list(found), None),
                Next::Ask(SocketAddr::V4(one), within) => {
                    asked.push((one.ip().octets()[3], within.as_secs()));
                    addresses.silent();
                }
                Next::Ask(..) | Next::End => break,
            }
        }
        addresses.end_unanswered(true);
        asked
    }

    #[test]
    fn dead_addresses_cost_a_second_each_and_more_only_when_all_were_tried() {
        let mut addresses = Addresses::default();
        assert_eq!(round(&mut addresses, &[1, 2, 3], false), [(1, 1), (2, 1), (3, 1)]);
        // The name may stand for others by now.
        assert_eq!(round(&mut addresses, &[3, 4], false), [(3, 3), (4, 3)]);
        addresses.answered(address(4));
        assert_eq!(round(&mut addresses, &[], false), [(4, 3)]);
        // Alone, there is nothing to hurry for.
        let mut alone = Addresses::default();
        assert_eq!(round(&mut alone, &[1], false), [(1, 3)]);
    }

    #[test]
    fn after_a_fault_the_others_are_tried_in_the_same_round() {
        let mut addresses = Addresses::default();
        addresses.found(&list(&[1, 2, 3]), None);
        addresses.answered(address(2));
        addresses.begin(false, None);
        let asked: Vec<_> = (0..4).map(|_| addresses.next(NOW)).collect();
        let ask = |number| Next::Ask(address(number), ANSWER_WITHIN);
        assert_eq!(asked, [ask(2), ask(1), ask(3), Next::End]);
        // The next round is a search, which begins with the one that is known, without asking for the name.
        addresses.begin(true, Some(address(2)));
        assert_eq!(addresses.next(NOW), Next::Ask(address(2), FIRST_TRY_WITHIN));
    }

    #[test]
    fn a_name_is_looked_up_again_after_each_silence_and_now_and_then_after_faults() {
        let mut addresses = Addresses::default();
        addresses.found(&list(&[1]), None);
        let asks: Vec<bool> = (0..8)
            .map(|_| {
                addresses.begin(true, None);
                let resolves = addresses.next(NOW) == Next::Resolve;
                addresses.not_found();
                addresses.end_unanswered(false);
                resolves
            })
            .collect();
        assert_eq!(asks, [false, false, false, false, true, false, false, false]);
        addresses.end_unanswered(true);
        addresses.begin(true, None);
        assert_eq!(addresses.next(NOW), Next::Resolve);
        // Nobody tells it: those of before are better than none.
        addresses.not_found();
        assert_eq!(addresses.next(NOW), Next::Ask(address(1), ANSWER_WITHIN));
    }

    #[test]
    fn who_is_silent_is_tried_last() {
        let mut addresses = Addresses::default();
        addresses.begin(true, None);
        addresses.found(&list(&[1, 2, 3, 2]), Some(address(1)));
        let asked: Vec<_> = (0..4).map(|_| addresses.next(NOW)).collect();
        let ask = |number| Next::Ask(address(number), FIRST_TRY_WITHIN);
        assert_eq!(asked, [ask(2), ask(3), ask(1), Next::End]);
    }

    #[test]
    fn who_denies_is_left_alone_longer_each_time_and_never_for_good() {
        const HOUR: u64 = 3600;
        let mut addresses = Addresses::default();
        addresses.found(&list(&[1]), None);
        let mut now = NOW;
        for hours in [1, 2, 4, 8, 16, 24, 24] {
            addresses.denied(address(1), now);
            let all_denied_for = addresses.all_denied_for(now).unwrap();
            assert_eq!(all_denied_for, Duration::from_secs(hours * HOUR));
            addresses.begin(true, None);
            assert_eq!(addresses.next(now), Next::End);
            now += all_denied_for;
            assert_eq!(addresses.all_denied_for(now), None);
        }
        // A good answer ends the row.
        addresses.answered(address(1));
        addresses.denied(address(1), now);
        assert_eq!(addresses.all_denied_for(now), Some(Duration::from_secs(HOUR)));
        addresses.resume_after_kiss();
        assert_eq!(addresses.all_denied_for(now), None);
    }

    #[test]
    fn others_are_asked_while_one_denies() {
        let mut addresses = Addresses::default();
        addresses.found(&list(&[1, 2]), None);
        addresses.denied(address(1), NOW);
        assert_eq!(addresses.all_denied_for(NOW), None);
        assert_eq!(addresses.next(NOW), Next::Ask(address(2), FIRST_TRY_WITHIN));
        addresses.denied(address(2), NOW + Duration::from_secs(60));
        let left = addresses.all_denied_for(NOW + Duration::from_secs(60));
        assert_eq!(left, Some(Duration::from_secs(3540)));
        // However many there are.
        for number in 0..=255 {
            addresses.denied(([198, 51, 100, number], 123).into(), NOW);
        }
        assert_eq!(addresses.denials.len(), ADDRESSES_MAX);
    }
}
