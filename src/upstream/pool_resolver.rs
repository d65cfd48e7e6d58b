//! Impure. The look-up of a pool's name, beside everything else.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::time::timeout;
use tracing::debug;

use super::Upstream;
use super::errno::fault_of;
use super::fault::QueryFault;
use super::host_addresses::of_host;
use super::registry::Endpoint;
use crate::host::names::Names;

/// Longest time for all attempts of the resolver.
const WITHIN: Duration = Duration::from_secs(60);

/// The result of a look-up.
#[derive(Clone, Debug)]
pub struct PoolAnswer {
    /// The pool.
    pub pool: Endpoint,
    /// Its addresses, or the reason why there are none.
    pub found: Result<Vec<IpAddr>, QueryFault>,
}

/// Resolves the name of a `pool`.
pub async fn resolve(pool: Upstream, mut names: Names) -> PoolAnswer {
    let found = timeout(WITHIN, of_host(&pool.host, pool.port, &mut names)).await;
    let found = found.unwrap_or_else(|elapsed| Err(io::Error::other(elapsed)));
    let found = found.map_err(|error| {
        debug!(upstream = %pool, %error, "no address");
        fault_of(&error).unwrap_or(QueryFault::Unresolved)
    });
    PoolAnswer {
        pool: pool.endpoint(),
        found: found.map(|all| all.iter().map(SocketAddr::ip).collect()),
    }
}
