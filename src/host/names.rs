//! Impure. Names to addresses, without the C library: its resolver blocks a thread, needs its plug-ins after a
//! change of the root directory, and can't be linked statically.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use hickory_resolver::config::{NameServerConfig, ResolverConfig, ResolverOpts};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::system_conf::read_system_conf;
use hickory_resolver::{Hosts, Resolver};

/// The system's resolver configuration and hosts file: the newest that could be read.
#[derive(Clone)]
#[expect(missing_debug_implementations, reason = "the hosts file would be printed")]
pub struct Names {
    config: ResolverConfig,
    options: ResolverOpts,
    hosts: Arc<Hosts>,
}

impl Names {
    /// Reads `/etc/resolv.conf` and `/etc/hosts`, while they can still be seen.
    ///
    /// Where there is none (or no name server in it), the one on this host is asked, as `resolv.conf(5)` has it.
    pub fn from_system() -> Self {
        let (config, options) = read_system_conf().unwrap_or_else(|_| {
            let here = NameServerConfig::udp_and_tcp(IpAddr::V4(Ipv4Addr::LOCALHOST));
            (
                ResolverConfig::from_name_servers(vec![here]),
                ResolverOpts::default(),
            )
        });
        Self {
            config,
            options,
            hosts: Arc::new(Hosts::from_system().unwrap_or_default()),
        }
    }

    /// All addresses of `name`, of both families; never an empty list.
    ///
    /// Each call asks anew: it is made at the start and when an upstream fell silent, and an answer from a
    /// cache would be the old address again.
    ///
    /// # Errors
    /// The resolver's words: no such name, no answer in time, ….
    pub async fn resolve(&mut self, name: &str) -> io::Result<Vec<IpAddr>> {
        self.reread();
        let mut builder = Resolver::builder_with_config(self.config.clone(), TokioRuntimeProvider::default());
        *builder.options_mut() = self.options.clone();
        let mut resolver = builder.build().map_err(io::Error::other)?;
        resolver.set_hosts(Arc::clone(&self.hosts));
        let found = resolver.lookup_ip(name).await.map_err(io::Error::other)?;
        let addresses: Vec<IpAddr> = found.iter().collect();
        if addresses.is_empty() {
            Err(io::Error::other("the name has no address"))
        } else {
            Ok(addresses)
        }
    }

    /// The network may have come up, or changed, since. In a changed root the files are missing: then the
    /// old ones stay.
    fn reread(&mut self) {
        if let Ok((config, options)) = read_system_conf() {
            (self.config, self.options) = (config, options);
        }
        if let Ok(hosts) = Hosts::from_system() {
            self.hosts = Arc::new(hosts);
        }
    }
}
