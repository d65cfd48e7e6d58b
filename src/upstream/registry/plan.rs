//! Pure. The steps from the upstreams that are polled to those of a new configuration.

use std::collections::{BTreeMap, VecDeque};

use super::identity::{Endpoint, UpstreamId};
use crate::upstream::Upstream;

/// An upstream of a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Configured {
    /// Its number in the configuration, from 0.
    pub place: usize,
    /// Its configuration.
    pub settings: Upstream,
}

/// The steps of a reload: each upstream that is polled, and each that is wanted, is in exactly one of these lists.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Upstreams that stay with their state, and their new configuration.
    pub keep: Vec<(UpstreamId, Configured)>,
    /// New upstreams.
    pub start: Vec<Configured>,
    /// Upstreams that are not polled any more, the oldest first.
    pub stop: Vec<UpstreamId>,
}

/// Returns the steps from the `running` upstreams, the oldest first, to the `wanted` ones.
///
/// Only the endpoint decides which ones are the same: not the order, nor other settings, nor the spelling of a name. Of
/// several with the same endpoint (a validated configuration has none) as many stay as both sides have: the oldest.
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
