//! Pure. The way from the upstreams that are asked to those of another configuration.

use std::collections::{BTreeMap, VecDeque};

use super::identity::{Endpoint, UpstreamId};
use crate::upstream::Upstream;

/// An upstream of a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Configured {
    /// Its number there, from 0.
    pub place: usize,
    /// How it is asked and believed.
    pub settings: Upstream,
}

/// What a reload does with each upstream: each that is asked, and each that is wanted, is in just one of these lists.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Those that stay with all that is known of them, and how they are configured from now on.
    pub keep: Vec<(UpstreamId, Configured)>,
    /// Those that are new: nothing is known of them.
    pub start: Vec<Configured>,
    /// Those that are not asked any more, the oldest first.
    pub stop: Vec<UpstreamId>,
}

/// What leads from the `running` upstreams, the oldest first, to those that are `wanted`.
///
/// The endpoint alone tells which is which: neither the order nor other settings, nor how a name is written. Of several with the
/// same endpoint (a validated configuration has none) as many stay as both sides have, and the oldest of them.
pub fn plan(running: impl IntoIterator<Item = (UpstreamId, Endpoint)>, wanted: &[Upstream]) -> Plan {
    let mut left: BTreeMap<Endpoint, VecDeque<UpstreamId>> = BTreeMap::new();
    for (id, endpoint) in running {
        left.entry(endpoint).or_default().push_back(id);
    }
    let mut plan = Plan::default();
    for (place, settings) in wanted.iter().enumerate() {
        let configured = Configured {
            place,
            settings: settings.clone(),
        };
        match left.get_mut(&settings.endpoint()).and_then(VecDeque::pop_front) {
            Some(id) => plan.keep.push((id, configured)),
            None => plan.start.push(configured),
        }
    }
    plan.stop = left.into_values().flatten().collect();
    plan.stop.sort_unstable();
    plan
}
