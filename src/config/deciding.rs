//! Pure. The rules of the access lists that decide about some addresses, with their places.
//!
//! A list in use has no rules any more, only the points where "allowed" and "denied" take turns. So they are found while
//! the files are read: each prefix is looked up among the addresses that are asked about.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

use super::fault::Place;

/// The rule that decides about an address at a listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecidingRule {
    /// The prefix; `None` if none matches: the default decides.
    pub prefix: Option<IpNet>,
    /// Whether it allows the address.
    pub allowed: bool,
    /// Its key in `[access]`.
    pub key: &'static str,
    /// The place where it is written.
    pub place: Place,
}

/// The rules that decide about some addresses, at each listener.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DecidingRules {
    /// The addresses, sorted.
    addresses: Vec<IpAddr>,
    listeners: Vec<(SocketAddr, Vec<DecidingRule>)>,
}

impl DecidingRules {
    /// Begins with no listener; `addresses` are sorted.
    pub(super) fn new(addresses: &[IpAddr]) -> Self {
        Self {
            addresses: addresses.to_vec(),
            listeners: Vec::new(),
        }
    }

    /// Adds a listener, with a rule for each address.
    pub(super) fn add(&mut self, listener: SocketAddr, rules: Vec<DecidingRule>) {
        self.listeners.push((listener, rules));
    }

    /// Returns the rule that decides about `address` at the listener, if both were asked about.
    pub fn find(&self, listener: SocketAddr, address: IpAddr) -> Option<&DecidingRule> {
        let place = self.addresses.binary_search(&address).ok()?;
        let (_, rules) = self.listeners.iter().find(|(one, _)| *one == listener)?;
        rules.get(place)
    }
}

/// The rules found so far, while a list is read.
#[derive(Debug)]
pub(super) struct RuleFinder<'a> {
    /// The addresses, sorted.
    addresses: &'a [IpAddr],
    found: Vec<Option<DecidingRule>>,
}

impl<'a> RuleFinder<'a> {
    /// Begins with no rule; `addresses` are sorted.
    pub(super) fn new(addresses: &'a [IpAddr]) -> Self {
        Self {
            addresses,
            found: vec![None; addresses.len()],
        }
    }

    /// Notes a prefix of the list, for the addresses about which it decides rather than those before.
    ///
    /// That is [`crate::server::policy::access::Access`]'s rule: the longest, and of the same prefix the denying one.
    pub(super) fn note(
        &mut self,
        prefix: IpNet,
        allowed: bool,
        key: &'static str,
        place: impl Fn() -> Place,
    ) {
        if self.addresses.is_empty() {
            return;
        }
        let first = self.addresses.partition_point(|one| *one < prefix.network());
        let after = self.addresses.partition_point(|one| *one <= prefix.broadcast());
        for found in self.found.get_mut(first..after).unwrap_or_default() {
            let rank = |prefix: &IpNet, allowed: bool| (prefix.prefix_len(), !allowed);
            let before = found
                .as_ref()
                .and_then(|rule| Some(rank(rule.prefix.as_ref()?, rule.allowed)));
            if before < Some(rank(&prefix, allowed)) {
                *found = Some(DecidingRule {
                    prefix: Some(prefix),
                    allowed,
                    key,
                    place: place(),
                });
            }
        }
    }

    /// Returns the rule for each address; about those without one `default` decides.
    pub(super) fn finish(self, default: &DecidingRule) -> Vec<DecidingRule> {
        let found = self.found.into_iter();
        found
            .map(|rule| rule.unwrap_or_else(|| default.clone()))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::policy::RuleMode;
    use crate::server::policy::access::{Access, OnDeny, Rule};
    use proptest::prelude::*;

    fn default(allowed: bool) -> DecidingRule {
        DecidingRule {
            prefix: None,
            allowed,
            key: "default",
            place: Place::Default,
        }
    }

    fn rule() -> impl Strategy<Value = Rule> {
        let four = (0..16_u32, 0..16_u32, 0..=32_u8).prop_map(|(high, low, length)| {
            IpNet::new(IpAddr::V4((high << 28 | low).into()), length).unwrap()
        });
        let six = (0..16_u128, 0..16_u128, 0..=128_u8).prop_map(|(high, low, length)| {
            IpNet::new(IpAddr::V6((high << 124 | low).into()), length).unwrap()
        });
        (prop_oneof![four, six], any::<bool>()).prop_map(|(net, allowed)| (net.trunc(), allowed))
    }

    fn address() -> impl Strategy<Value = IpAddr> {
        let four = (0..16_u32, 0..16_u32).prop_map(|(high, low)| IpAddr::V4((high << 28 | low).into()));
        let six = (0..16_u128, 0..16_u128).prop_map(|(high, low)| IpAddr::V6((high << 124 | low).into()));
        prop_oneof![four, six]
    }

    proptest! {
        #[test]
        fn the_rule_that_is_found_is_the_one_that_the_list_obeys(
            rules in prop::collection::vec(rule(), 0..40),
            asked in prop::collection::btree_set(address(), 1..50),
            by_default: bool,
        ) {
            let asked: Vec<IpAddr> = asked.into_iter().collect();
            let mut finder = RuleFinder::new(&asked);
            for (net, allowed) in &rules {
                finder.note(*net, *allowed, "allow", || Place::Default);
            }
            let found = finder.finish(&default(by_default));
            let access = Access::new(&rules, by_default, OnDeny::Drop, RuleMode::On);
            for (address, rule) in asked.iter().zip(&found) {
                prop_assert_eq!(access.allows(*address), rule.allowed);
                let longest = rules.iter().filter(|(net, _)| net.contains(address));
                let longest = longest.map(|(net, _)| net.prefix_len()).max();
                prop_assert_eq!(rule.prefix.map(|net| net.prefix_len()), longest);
                prop_assert!(rule.prefix.is_none_or(|net| net.contains(address)));
            }
        }
    }
}
