//! Pure. The status of each pool of upstreams. Its JSON names are stable, as those of the whole [snapshot](super::snapshot).

use serde::Serialize;

use crate::upstream::Pooling;
use crate::upstream::fault::QueryFault;
use crate::upstream::pool::PoolState;

/// A pool: a name of which several servers are polled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PoolStatus {
    /// Name, as it was configured.
    pub name: String,
    /// Number of members that are wanted.
    pub count: u8,
    /// Number of members with a vote.
    pub members: usize,
    /// Number of addresses that are polled on trial, as members are bad.
    pub on_trial: usize,
    /// Number of other addresses of the name, to replace members.
    pub spares: usize,
    /// Members that were replaced since the start.
    pub replaced: u64,
    /// The reason why the name could not be resolved the last time; `null` if it could.
    pub fault: Option<&'static str>,
}

impl PoolStatus {
    /// Returns the status of a pool.
    pub fn of(state: &PoolState) -> Self {
        let count = match state.upstream.pooling {
            Pooling::Pool { count } => count,
            Pooling::One | Pooling::Member { .. } => 1,
        };
        Self {
            name: state.upstream.to_string(),
            count,
            members: state.members,
            on_trial: state.on_trial,
            spares: state.spares,
            replaced: state.replaced,
            fault: state.fault.map(QueryFault::text),
        }
    }
}

/// A pool in which members are missing, for tests.
#[cfg(test)]
pub(super) fn example() -> PoolStatus {
    PoolStatus {
        name: "pool.example:123".to_owned(),
        count: 4,
        members: 1,
        on_trial: 1,
        spares: 0,
        replaced: 3,
        fault: None,
    }
}
