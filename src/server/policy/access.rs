//! Pure. Which addresses are answered: prefixes, of which the longest that matches decides.
//!
//! What nested prefixes say is worked out once, when the list is made: it becomes the sorted points where "allowed" and
//! "denied" take turns. A look-up counts those up to an address, and ends with "odd or even".

mod turns;

use std::net::IpAddr;
use std::sync::Arc;

use strum::{IntoStaticStr, VariantArray};

use ipnet::IpNet;

use crate::server::policy::RuleMode;
use crate::server::policy::access::turns::{AddressNumber, Turns};

/// The addresses that are answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// The list. It is shared by all workers, as it may be long.
    list: Arc<AccessList>,
    /// The reaction to a denied request.
    pub on_deny: OnDeny,
    /// Whether the list is applied.
    pub mode: RuleMode,
}

/// The reaction to a denied request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "kebab-case")]
pub enum OnDeny {
    /// Silence.
    #[default]
    Drop,
    /// A kiss that tells the client not to ask again (RFC 5905 §7.4, DENY).
    Kiss,
}

impl OnDeny {
    /// The word for it in the configuration.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// A prefix, and whether those in it are allowed.
pub type Rule = (IpNet, bool);

/// The prefixes of both families.
#[derive(Clone, Debug, PartialEq, Eq)]
struct AccessList {
    ipv4: Turns<u32>,
    ipv6: Turns<u128>,
}

/// Prefixes that are gathered for an [`Access`], in any order.
///
/// Each takes 8 bytes for IPv4 and 18 for IPv6, so millions of them take no more memory than the list that is made of
/// them.
#[derive(Clone, Debug, Default)]
pub struct Prefixes {
    ipv4: Vec<[u8; 6]>,
    ipv6: Vec<[u8; 18]>,
}

impl Prefixes {
    /// Adds a prefix, which is allowed or not.
    pub fn push(&mut self, (net, allowed): Rule) {
        // Sorted by these bytes the wider come first, so that the narrower come on top. Of the same ones the denying
        // last.
        let (length, order) = (net.prefix_len(), u8::from(!allowed));
        match net.network() {
            IpAddr::V4(v4) => {
                let [a, b, c, d] = v4.octets();
                self.ipv4.push([a, b, c, d, length, order]);
            }
            IpAddr::V6(v6) => {
                let mut bytes = [0; 18];
                let (address, rest) = bytes.split_at_mut(16);
                address.copy_from_slice(&v6.octets());
                rest.copy_from_slice(&[length, order]);
                self.ipv6.push(bytes);
            }
        }
    }
}

impl Extend<Rule> for Prefixes {
    fn extend<I: IntoIterator<Item = Rule>>(&mut self, rules: I) {
        rules.into_iter().for_each(|rule| self.push(rule));
    }
}

impl Access {
    /// Makes a list of `rules`, in any order, with `default` for all other addresses.
    ///
    /// Where the same prefix is both allowed and denied, it is denied.
    pub fn new(rules: &[Rule], default: bool, on_deny: OnDeny, mode: RuleMode) -> Self {
        let mut prefixes = Prefixes::default();
        prefixes.extend(rules.iter().copied());
        Self::of(prefixes, default, on_deny, mode)
    }

    /// The same of prefixes that were gathered.
    pub fn of(prefixes: Prefixes, default: bool, on_deny: OnDeny, mode: RuleMode) -> Self {
        let Prefixes { mut ipv4, mut ipv6 } = prefixes;
        ipv4.sort_unstable();
        ipv6.sort_unstable();
        let ipv4 = turns(&ipv4, ipv4_span, default);
        let ipv6 = turns(&ipv6, ipv6_span, default);
        Self {
            list: Arc::new(AccessList { ipv4, ipv6 }),
            on_deny,
            mode,
        }
    }

    /// Returns whether `source` is allowed, whatever the mode.
    //= RFC 5905 §9.2 access
    pub fn allows(&self, source: IpAddr) -> bool {
        match source {
            IpAddr::V4(v4) => self.list.ipv4.allows(v4.to_bits()),
            IpAddr::V6(v6) => self.list.ipv6.allows(v6.to_bits()),
        }
    }

    /// Returns the count of points where "allowed" and "denied" take turns, over all addresses.
    pub fn turns(&self) -> usize {
        self.list.ipv4.starts().len() + self.list.ipv6.starts().len()
    }

    /// Returns whether the lowest IPv4 address is allowed, and the addresses where that turns, in rising order.
    pub fn ipv4_turns(&self) -> (bool, &[u32]) {
        (self.list.ipv4.first(), self.list.ipv4.starts())
    }

    /// The same for IPv6.
    pub fn ipv6_turns(&self) -> (bool, &[u128]) {
        (self.list.ipv6.first(), self.list.ipv6.starts())
    }

    /// Returns whether both allow the same addresses, whatever their modes.
    pub fn allows_the_same(&self, other: &Self) -> bool {
        self.shares_list(other) || self.list == other.list
    }

    /// Returns whether it is the very list of `other`, in the same memory.
    pub fn shares_list(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.list, &other.list)
    }

    /// Returns the memory that the list takes, in bytes.
    pub fn memory(&self) -> usize {
        self.list.ipv4.memory() + self.list.ipv6.memory()
    }
}

/// A prefix as numbers.
#[derive(Clone, Copy)]
struct Span<T> {
    first: T,
    last: T,
    allowed: bool,
}

fn ipv4_span(bytes: &[u8; 6]) -> Span<u32> {
    let [a, b, c, d, length, order] = *bytes;
    let first = u32::from_be_bytes([a, b, c, d]);
    Span {
        first,
        last: first | u32::MAX.checked_shr(length.into()).unwrap_or(0),
        allowed: order == 0,
    }
}

fn ipv6_span(bytes: &[u8; 18]) -> Span<u128> {
    let (address, rest) = bytes.split_at(16);
    let first = address
        .iter()
        .fold(0, |first, &byte| first << 8 | u128::from(byte));
    let length = rest.first().copied().unwrap_or(0);
    Span {
        first,
        last: first | u128::MAX.checked_shr(length.into()).unwrap_or(0),
        allowed: rest.last() == Some(&0),
    }
}

/// Makes the turns of sorted prefixes.
///
/// The prefixes are gone through twice: with the first count the list needs no more room than it will have.
fn turns<B, T: AddressNumber + Default>(sorted: &[B], span: fn(&B) -> Span<T>, default: bool) -> Turns<T> {
    let mut count = 0_usize;
    let spans = || sorted.iter().map(span);
    let first = each_turn(spans(), default, |_| count += 1);
    let mut starts = Vec::with_capacity(count);
    each_turn(spans(), default, |start| starts.push(start));
    Turns::new(first, starts)
}

/// Calls `turn` at each address where the rule changes, and returns whether the lowest address is allowed.
///
/// Prefixes are nested or apart, so a stack of those that are open tells which rule holds at each point.
fn each_turn<T: AddressNumber + Default>(
    spans: impl Iterator<Item = Span<T>>,
    default: bool,
    turn: impl FnMut(T),
) -> bool {
    let mut points = Points {
        first: default,
        said: default,
        last: (T::default(), default),
        turn,
    };
    let mut open: Vec<Span<T>> = Vec::new();
    for span in spans {
        close(&mut open, &mut points, default, |last| last < span.first);
        points.say(span.first, span.allowed);
        open.push(span);
    }
    close(&mut open, &mut points, default, |_| true);
    points.settle();
    points.first
}

/// Ends the open prefixes of which `is_over` says so: after each the one below holds again.
fn close<T: AddressNumber + Default>(
    open: &mut Vec<Span<T>>,
    points: &mut Points<T, impl FnMut(T)>,
    default: bool,
    is_over: impl Fn(T) -> bool,
) {
    while let Some(top) = open.pop_if(|top| is_over(top.last)) {
        let below = open.last().map_or(default, |below| below.allowed);
        if let Some(after) = top.last.next() {
            points.say(after, below);
        }
    }
}

/// The rule from each address on, said in rising order.
struct Points<T, F> {
    /// The rule at the lowest address.
    first: bool,
    /// The rule before the point that was said last.
    said: bool,
    /// The point that was said last, of which more may be said.
    last: (T, bool),
    turn: F,
}

impl<T: AddressNumber + Default, F: FnMut(T)> Points<T, F> {
    /// Says the rule from `start` on. Of several for one point the last holds.
    fn say(&mut self, start: T, allowed: bool) {
        if start != self.last.0 {
            self.settle();
        }
        self.last = (start, allowed);
    }

    fn settle(&mut self) {
        let (start, allowed) = self.last;
        if start == T::default() {
            self.first = allowed;
        } else if allowed != self.said {
            (self.turn)(start);
        }
        self.said = allowed;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn access(rules: &[Rule], default: bool) -> Access {
        Access::new(rules, default, OnDeny::Drop, RuleMode::On)
    }

    fn rules(allow: &str, deny: &str) -> Vec<Rule> {
        let parse = |list: &str, allowed| {
            list.split_whitespace()
                .map(|net| (net.parse().unwrap(), allowed))
                .collect::<Vec<_>>()
        };
        [parse(allow, true), parse(deny, false)].concat()
    }

    //= RFC 5905 §9.2 access
    #[test]
    fn the_longest_prefix_decides() {
        let access = access(
            &rules(
                "10.0.0.0/8 10.1.2.0/24 2001:db8::/32 255.255.255.255/32",
                "10.1.0.0/16 10.1.2.3/32 2001:db8:1::/48 192.0.2.0/24",
            ),
            false,
        );
        for (address, allowed) in [
            ("9.255.255.255", false),
            ("10.0.0.0", true),
            ("10.0.255.255", true),
            ("10.1.0.0", false),
            ("10.1.2.2", true),
            ("10.1.2.3", false),
            ("10.1.2.4", true),
            ("10.1.3.0", false),
            ("10.255.255.255", true),
            ("11.0.0.0", false),
            ("192.0.2.1", false),
            ("255.255.255.254", false),
            ("255.255.255.255", true),
            ("2001:db8::1", true),
            ("2001:db8:1::1", false),
            ("2001:db8:2::", true),
            ("2001:db9::", false),
            ("::ffff:10.0.0.1", false),
        ] {
            assert_eq!(access.allows(address.parse().unwrap()), allowed, "{address}");
        }
    }

    #[test]
    fn all_or_none_and_the_same_prefix_twice() {
        let ask = |access: &Access, address: &str| access.allows(address.parse().unwrap());
        let open = access(&[], true);
        assert!(ask(&open, "0.0.0.0") && ask(&open, "ffff::") && open.memory() == 0);
        let closed = access(&rules("", "0.0.0.0/0 ::/0"), true);
        assert!(!ask(&closed, "0.0.0.0") && !ask(&closed, "255.255.255.255") && !ask(&closed, "ffff::"));
        let both = access(&rules("10.0.0.0/8", "10.0.0.0/8"), true);
        assert!(!ask(&both, "10.0.0.1") && ask(&both, "11.0.0.0"));
    }

    fn rule(v6: bool) -> impl Strategy<Value = Rule> {
        // Few bits that differ, at both ends, so that prefixes nest and touch.
        let bits = if v6 { 128_u8 } else { 32 };
        (0..16_u128, 0..16_u128, 0..=bits, any::<bool>())
            .prop_map(move |(high, low, length, allowed)| (net(v6, high, low, length), allowed))
    }

    fn address(v6: bool, high: u128, low: u128) -> IpAddr {
        match v6 {
            true => IpAddr::V6((high << 124 | low).into()),
            false => IpAddr::V4(u32::try_from(high << 28 | low).unwrap().into()),
        }
    }

    fn net(v6: bool, high: u128, low: u128, length: u8) -> IpNet {
        IpNet::new(address(v6, high, low), length).unwrap().trunc()
    }

    proptest! {
        #[test]
        fn it_says_what_a_search_through_all_rules_says(
            v6: bool,
            four in prop::collection::vec(rule(false), 0..40),
            six in prop::collection::vec(rule(true), 0..40),
            default: bool,
            asked in prop::collection::vec((0..16_u128, 0..16_u128), 50),
        ) {
            let rules = [four, six].concat();
            let access = access(&rules, default);
            for (high, low) in asked {
                let source = address(v6, high, low);
                let best = rules.iter().filter(|(net, _)| net.contains(&source));
                let best = best.max_by_key(|(net, allowed)| (net.prefix_len(), !allowed));
                prop_assert_eq!(access.allows(source), best.map_or(default, |(_, allowed)| *allowed));
            }
        }
    }
}
