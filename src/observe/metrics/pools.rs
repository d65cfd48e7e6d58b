//! Pure. The metrics of pools of upstreams.

use std::fmt;

use super::{Labels, Page, called, with};
use crate::observe::pool_status::PoolStatus;
use crate::observe::upstream_status::UpstreamStatus;

impl Page<'_> {
    pub(super) fn pools(&mut self, pools: &[PoolStatus], upstreams: &[UpstreamStatus]) -> fmt::Result {
        let name = |one: &PoolStatus| -> Labels { vec![("pool", one.name.clone())] };
        let wanted = pools.iter().map(|one| (name(one), u64::from(one.count)));
        self.gauges(
            "upstream_pool_count",
            "Number of members that the pool of upstreams should have",
            wanted,
        )?;
        let members = pools.iter().map(|one| (name(one), one.members as u64));
        self.gauges(
            "upstream_pool_members",
            "Number of members of the pool with a vote",
            members,
        )?;
        let spares = pools.iter().map(|one| (name(one), one.spares as u64));
        self.gauges(
            "upstream_pool_spares",
            "Number of further addresses of the pool, to replace members",
            spares,
        )?;
        let replaced = pools.iter().map(|one| (name(one), one.replaced));
        self.counters(
            "upstream_pool_replaced_total",
            "Members of the pool that were replaced",
            replaced,
        )?;
        let members = upstreams.iter().filter_map(|one| {
            Some((
                with(called(one), ("pool", one.pool.clone()?)),
                u64::from(!one.on_trial),
            ))
        });
        self.gauges(
            "upstream_pool_member",
            "Pool of the upstream: 1 for a member with a vote, 0 on trial",
            members,
        )
    }
}
