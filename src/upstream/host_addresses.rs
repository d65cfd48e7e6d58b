//! Impure. The addresses of an upstream's host: a literal, an interface's, or those of a name.

use std::io;
use std::net::{SocketAddr, SocketAddrV6};

use super::{Host, Upstream};
use crate::host::addresses;
use crate::host::names::Names;

/// Returns the addresses of an upstream, each with `port`: of its host, or that of a member of a pool.
///
/// # Errors
/// As [`of_host`].
pub(super) async fn of_upstream(
    upstream: &Upstream,
    port: u16,
    names: &mut Names,
) -> io::Result<Vec<SocketAddr>> {
    match upstream.member_address() {
        Some(address) => Ok(vec![SocketAddr::new(address, port)]),
        None => of_host(&upstream.host, port, names).await,
    }
}

/// Returns all addresses of `host`, each with `port`.
///
/// # Errors
/// The name can't be resolved, or there is no such interface.
pub(super) async fn of_host(host: &Host, port: u16, names: &mut Names) -> io::Result<Vec<SocketAddr>> {
    let literals = host.literals();
    let found = match host {
        Host::LinkLocal(address, interface) => {
            let scope = addresses::scope(interface)?;
            return Ok(vec![SocketAddrV6::new(*address, port, 0, scope).into()]);
        }
        Host::Name(name) if literals.is_empty() => names.resolve(name).await?,
        Host::Address(_) | Host::Name(_) => literals,
    };
    Ok(found.into_iter().map(|ip| SocketAddr::new(ip, port)).collect())
}
