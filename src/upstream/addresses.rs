//! Pure. The addresses of an upstream: the next one to poll, the wait for its answer, those that sent DENY or RSTR.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::packet::ANSWER_WITHIN;

/// Waiting time for an answer while other addresses of the name were not tried yet, so that dead ones cost little: 1 s.
const FIRST_TRY_WITHIN: Duration = Duration::from_secs(1);
/// Maximum number of addresses of a name; the rest is ignored.
const ADDRESSES_MAX: usize = 64;
/// Time without polls after DENY or RSTR: after the first one, and the longest.
///
/// It ends, since any router on the path can send such a kiss.
const DENIED_FOR: [Duration; 2] = [Duration::from_secs(3600), Duration::from_secs(24 * 3600)];
/// After this number of rounds in which no address could be reached, the name is resolved again.
const RESOLVE_AFTER: u32 = 4;

/// The next step of a poll round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Resolve the name, or look up the interface.
    Resolve,
    /// Poll this address, and wait this long for an answer.
    Ask(SocketAddr, Duration),
    /// The round is over.
    End,
}

/// All addresses of one upstream.
#[derive(Clone, Debug, Default)]
pub struct Addresses {
    /// The result of the last look-up.
    all: Vec<SocketAddr>,
    /// The addresses that are still to be tried in this round.
    left: VecDeque<SocketAddr>,
    /// The address that answered last.
    answering: Option<SocketAddr>,
    /// The address that answered last, if this round polls only that one.
    settled: Option<SocketAddr>,
    /// Whether a look-up is needed before this round continues.
    unresolved: bool,
    /// Whether the addresses may have changed since the last look-up.
    stale: bool,
    /// Whether the next round begins with a look-up, even if an address answers.
    refreshed: bool,
    /// Rounds since the last answer in which all addresses were tried.
    failed_rounds: u32,
    denials: Vec<Denial>,
}

/// An address that sent DENY or RSTR.
#[derive(Clone, Debug)]
struct Denial {
    address: IpAddr,
    /// Number of such kisses in a row.
    times: u32,
    /// End of the time without polls, by the raw counter.
    until: Duration,
}

impl Addresses {
    /// Begins a round with the address that answered last.
    ///
    /// If that is `lost`, or there is none, all addresses are tried, `first` before the others if it is one of them.
    pub fn begin(&mut self, lost: bool, first: Option<SocketAddr>) {
        let settled = self.answering.filter(|_| !lost);
        self.settled = settled;
        let is_search = settled.is_none() && (self.all.is_empty() || self.stale);
        self.unresolved = is_search || self.refreshed;
        self.queue(settled.or(first));
    }

    /// Queues all addresses, `first` at the front.
    fn queue(&mut self, first: Option<SocketAddr>) {
        let others = self.all.iter().copied().filter(|one| Some(*one) != first);
        self.left = match first {
            Some(one) if self.settled.is_some() || self.all.contains(&one) => {
                std::iter::once(one).chain(others).collect()
            }
            _ => others.collect(),
        };
    }

    /// Takes the result of a look-up; `last` is tried last.
    pub fn found(&mut self, all: &[SocketAddr], last: Option<SocketAddr>) {
        self.all = Vec::new();
        for address in all {
            if self.all.len() < ADDRESSES_MAX && !self.all.contains(address) {
                self.all.push(*address);
            }
        }
        (self.unresolved, self.stale, self.refreshed) = (false, false, false);
        self.settled = self.settled.filter(|settled| self.all.contains(settled));
        if self.settled.is_some() {
            return self.queue(self.settled);
        }
        let (late, early): (Vec<_>, Vec<_>) = self.all.iter().partition(|one| Some(**one) == last);
        self.left = early.into_iter().chain(late).collect();
    }

    /// Continues after a look-up that failed, with the addresses that were known before.
    pub fn not_found(&mut self) {
        (self.unresolved, self.refreshed) = (false, false);
        self.queue(self.settled);
    }

    /// Returns the next step at `now`, by the raw counter.
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

    /// Records that the address that was polled last is silent.
    ///
    /// One missing answer is no reason to leave an address that answered before.
    pub fn silent(&mut self) {
        if self.settled.is_some() {
            self.left.clear();
        }
    }

    /// Records an answer of `address`, which is polled from now on.
    pub fn answered(&mut self, address: SocketAddr) {
        self.left.clear();
        self.answering = Some(address);
        (self.failed_rounds, self.stale) = (0, false);
        self.denials.retain(|one| one.address != address.ip());
    }

    /// Ends a round without an answer: `silent` if a question was sent, false if no address could be reached.
    pub fn end_unanswered(&mut self, silent: bool) {
        if self.settled.is_none() {
            self.failed_rounds = self.failed_rounds.saturating_add(1);
            self.stale = silent || self.failed_rounds.is_multiple_of(RESOLVE_AFTER);
        }
    }

    /// Marks the addresses as possibly changed, so that the next search looks them up again.
    pub fn forget(&mut self) {
        self.stale = true;
    }

    /// Has the next round begin with a look-up. An address that answers stays if it is among those that are found.
    pub fn refresh(&mut self) {
        self.refreshed = true;
    }

    /// Records DENY or RSTR from `address` at `now`.
    ///
    /// It is not polled for an hour, and twice as long each time in a row, up to a day. The other addresses are tried.
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

    /// Forgets all DENY and RSTR kisses, after a reload of the configuration.
    pub fn resume_after_kiss(&mut self) {
        self.denials.clear();
    }

    /// Returns the time from `now` until the first address may be polled, if none may be now.
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

    /// The polls of a round without any answer: the last bytes of the addresses, and the waiting times in seconds.
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
        // The name may have other addresses by now.
        assert_eq!(round(&mut addresses, &[3, 4], false), [(3, 3), (4, 3)]);
        addresses.answered(address(4));
        assert_eq!(round(&mut addresses, &[], false), [(4, 3)]);
        // A single address gets the full waiting time.
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
        // The next round is a search, which begins with the known address, without resolving the name.
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
        // It can't be resolved: the addresses from before are better than none.
        addresses.not_found();
        assert_eq!(addresses.next(NOW), Next::Ask(address(1), ANSWER_WITHIN));
    }

    #[test]
    fn a_refresh_looks_the_name_up_and_keeps_an_address_that_is_still_there() {
        let ask = |number| Next::Ask(address(number), ANSWER_WITHIN);
        let first = |number| Next::Ask(address(number), FIRST_TRY_WITHIN);
        for (found, asked) in [
            (Some(&[1, 2, 3][..]), [ask(2), ask(1)]),
            (Some(&[3, 2]), [ask(2), ask(3)]),
            // It is gone: the others are tried as at the start.
            (Some(&[1, 3]), [first(1), first(3)]),
            // Without an answer of the name server it stays.
            (None, [ask(2), ask(1)]),
        ] {
            let mut addresses = Addresses::default();
            addresses.found(&list(&[1, 2]), None);
            addresses.answered(address(2));
            addresses.begin(false, None);
            assert_eq!(
                addresses.next(NOW),
                ask(2),
                "without a refresh nothing is looked up"
            );
            addresses.refresh();
            addresses.begin(false, None);
            assert_eq!(addresses.next(NOW), Next::Resolve);
            match found {
                Some(found) => addresses.found(&list(found), None),
                None => addresses.not_found(),
            }
            assert_eq!([addresses.next(NOW), addresses.next(NOW)], asked, "{found:?}");
            // Once for each.
            addresses.answered(address(2));
            addresses.begin(false, None);
            assert_eq!(addresses.next(NOW), ask(2));
        }
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
