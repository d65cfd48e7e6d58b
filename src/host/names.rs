//! Impure. Names to addresses, without the C library.
//!
//! Its resolver blocks a thread, needs its plug-ins after a change of the root directory, and can't be linked
//! statically.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;

use hickory_resolver::config::{NameServerConfig, ResolverConfig, ResolverOpts};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::system_conf::parse_resolv_conf;
use hickory_resolver::{Hosts, Resolver};

use super::rooted_file::RootedFile;

/// The longest file of resolvers or hosts, in bytes. A longer one is a mistake, or a very long list of blocked names.
const LONGEST: u64 = 16 * 1024 * 1024;

/// The system's resolver configuration and hosts file: the newest that could be read.
#[derive(Clone)]
#[expect(missing_debug_implementations, reason = "the hosts file would be printed")]
pub struct Names {
    files: Arc<Files>,
    config: ResolverConfig,
    options: ResolverOpts,
    hosts: Arc<Hosts>,
}

/// Both files; `None` where there is not even a directory `/etc`.
struct Files {
    resolvers: Option<RootedFile>,
    hosts: Option<RootedFile>,
}

impl Names {
    /// Reads `/etc/resolv.conf` and `/etc/hosts`, and keeps handles to read them again.
    ///
    /// Without the first, or without a name server in it, the one on this host is asked (`resolv.conf(5)`).
    pub fn from_system() -> Self {
        Self::from_files("/etc/resolv.conf".as_ref(), "/etc/hosts".as_ref())
    }

    fn from_files(resolvers: &Path, hosts: &Path) -> Self {
        let here = NameServerConfig::udp_and_tcp(IpAddr::V4(Ipv4Addr::LOCALHOST));
        let mut names = Self {
            files: Arc::new(Files {
                resolvers: RootedFile::open(resolvers).ok(),
                hosts: RootedFile::open(hosts).ok(),
            }),
            config: ResolverConfig::from_name_servers(vec![here]),
            options: ResolverOpts::default(),
            hosts: Arc::default(),
        };
        names.reread();
        names
    }

    /// The paths of the files, for a sandbox that must leave them readable.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        let files = self.files.resolvers.iter().chain(&self.files.hosts);
        files.map(RootedFile::path)
    }

    /// Resolves `name` to all its addresses, of both families; never an empty list.
    ///
    /// Each call asks again: it is made at the start and when an upstream is silent, and a cached answer
    /// would be the old address.
    ///
    /// # Errors
    /// The resolver's error: no such name, no answer in time, ….
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

    /// Reads the files again: the network may have changed. A file that can't be read now keeps its old content.
    fn reread(&mut self) {
        let resolvers = bytes(self.files.resolvers.as_ref());
        if let Some(Ok((config, options))) = resolvers.map(parse_resolv_conf) {
            (self.config, self.options) = (config, options);
        }
        let mut hosts = Hosts::default();
        if let Some(bytes) = bytes(self.files.hosts.as_ref())
            && hosts.read_hosts_conf(bytes.as_slice()).is_ok()
        {
            self.hosts = Arc::new(hosts);
        }
    }
}

fn bytes(file: Option<&RootedFile>) -> Option<Vec<u8>> {
    file?.read(LONGEST).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    use hickory_resolver::proto::op::Query;
    use hickory_resolver::proto::rr::RecordType;
    use nix::unistd::mkdtemp;

    #[test]
    fn the_newest_files_count_and_broken_ones_do_not() {
        let directory = mkdtemp(&std::env::temp_dir().join("ntpfront-names-XXXXXX")).unwrap();
        let (resolvers, hosts) = (directory.join("resolv.conf"), directory.join("hosts"));
        let mut names = Names::from_files(&resolvers, &hosts);
        let asked = |names: &Names| names.config.name_servers()[0].ip.to_string();
        assert_eq!(asked(&names), "127.0.0.1");
        fs::write(&resolvers, "nameserver 192.0.2.1\noptions attempts:7\n").unwrap();
        fs::write(&hosts, "192.0.2.7 seven\n").unwrap();
        names.reread();
        let seven = || Query::query("seven".parse().unwrap(), RecordType::A);
        assert!(names.hosts.lookup_static_host(&seven()).is_some());
        assert_eq!((asked(&names).as_str(), names.options.attempts), ("192.0.2.1", 7));
        fs::write(&resolvers, "# nobody\n").unwrap();
        fs::remove_file(&hosts).unwrap();
        names.reread();
        assert_eq!(asked(&names), "192.0.2.1");
        assert!(names.hosts.lookup_static_host(&seven()).is_some());
        fs::remove_dir_all(&directory).unwrap();
    }
}
