//! Impure. Names to addresses, without the C library.
//!
//! Its resolver blocks a thread, needs its plug-ins after a change of the root directory, and can't be linked
//! statically.

use std::fmt::Display;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hickory_resolver::config::{NameServerConfig, ResolverConfig, ResolverOpts};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::system_conf::parse_resolv_conf;
use hickory_resolver::{Hosts, Resolver};

use super::limits;
use super::rooted_file::{ReadError, RootedFile};

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
    /// The files that exist and could not be read the last time, with the reasons.
    unreadable: Option<String>,
}

struct Files {
    resolvers: SystemFile,
    hosts: SystemFile,
}

/// A file of the system, or the reason why no handle for it could be opened at the start.
struct SystemFile {
    path: PathBuf,
    file: io::Result<RootedFile>,
}

impl SystemFile {
    fn open(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            file: RootedFile::open(path),
        }
    }

    /// Reads it; `None` if there is no such file.
    fn read(&self) -> Result<Option<Vec<u8>>, String> {
        let unreadable = |why: &dyn Display| Err(format!("{}: {why}", self.path.display()));
        let file = match &self.file {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return unreadable(&format_args!("cannot open: {}", limits::explain(error))),
        };
        match file.read(LONGEST) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(ReadError::Open(error)) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => unreadable(&error),
        }
    }
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
                resolvers: SystemFile::open(resolvers),
                hosts: SystemFile::open(hosts),
            }),
            config: ResolverConfig::from_name_servers(vec![here]),
            options: ResolverOpts::default(),
            hosts: Arc::default(),
            unreadable: None,
        };
        names.reread();
        names
    }

    /// The paths of the files, for a sandbox that must leave them readable.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        let files = [&self.files.resolvers, &self.files.hosts].into_iter();
        files.flat_map(|one| &one.file).map(RootedFile::path)
    }

    /// Returns the files that exist and could not be read the last time, with the reasons; `None` if all could.
    pub fn unreadable(&self) -> Option<&str> {
        self.unreadable.as_deref()
    }

    /// Resolves `name` to all its addresses, of both families; never an empty list.
    ///
    /// Each call asks again: it is made at the start and when an upstream is silent, and a cached answer
    /// would be the old address.
    ///
    /// # Errors
    /// The resolver's error: no such name, no answer in time, …; and the files that could not be read, since they may
    /// be the cause.
    pub async fn resolve(&mut self, name: &str) -> io::Result<Vec<IpAddr>> {
        self.reread();
        let found = self.look_up(name).await;
        found.map_err(|error| match &self.unreadable {
            // A number of the kernel says more, and decides which fault it is.
            Some(files) if limits::errno(&error).is_none() => io::Error::other(format!("{error} ({files})")),
            Some(_) | None => error,
        })
    }

    async fn look_up(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        let mut builder = Resolver::builder_with_config(self.config.clone(), TokioRuntimeProvider::default());
        *builder.options_mut() = self.options.clone();
        let mut resolver = builder.build().map_err(io::Error::other)?;
        resolver.set_hosts(Arc::clone(&self.hosts));
        let found = resolver.lookup_ip(name).await;
        let found = found.map_err(|error| self.explained(error))?;
        let addresses: Vec<IpAddr> = found.iter().collect();
        if addresses.is_empty() {
            Err(io::Error::other("the name has no address"))
        } else {
            Ok(addresses)
        }
    }

    /// Returns the error in words, without the inside of the library.
    ///
    /// One of the kernel that means that a resource has run out stays what it is: its number decides which fault it is.
    fn explained(&self, error: NetError) -> io::Error {
        let of_server = |code: ResponseCode| format!("the name server reports an error ({code})");
        let servers = || {
            let servers = self.config.name_servers().iter();
            let servers: Vec<String> = servers.map(|server| server.ip.to_string()).collect();
            servers.join(", ")
        };
        let words = if let NetError::Dns(DnsError::NoRecordsFound(absent)) = &error {
            let code = absent.response_code;
            if code == ResponseCode::NXDomain {
                "there is no such name".to_owned()
            } else if code == ResponseCode::NoError {
                "the name has no address".to_owned()
            } else {
                of_server(code)
            }
        } else if let NetError::Dns(DnsError::ResponseCode(code)) = &error {
            of_server(*code)
        } else if let NetError::Io(cause) = &error {
            if limits::shortage(cause.as_ref()).is_some()
                && let Some(number) = cause.raw_os_error()
            {
                return io::Error::from_raw_os_error(number);
            }
            format!("cannot reach a name server ({}): {cause}", servers())
        } else if matches!(error, NetError::Timeout | NetError::NoConnections) {
            format!("no answer of a name server ({})", servers())
        } else {
            return io::Error::other(error);
        };
        io::Error::other(words)
    }

    /// Reads the files again: the network may have changed. A file that can't be read now keeps its old content.
    fn reread(&mut self) {
        let [resolvers, hosts] = [self.files.resolvers.read(), self.files.hosts.read()];
        let errors: Vec<&str> = [&resolvers, &hosts]
            .into_iter()
            .filter_map(|read| read.as_ref().err().map(String::as_str))
            .collect();
        self.unreadable = (!errors.is_empty()).then(|| errors.join("; "));
        if let Ok(Some(bytes)) = resolvers
            && let Ok((config, options)) = parse_resolv_conf(bytes)
        {
            (self.config, self.options) = (config, options);
        }
        let mut lines = Hosts::default();
        if let Ok(Some(bytes)) = hosts
            && lines.read_hosts_conf(bytes.as_slice()).is_ok()
        {
            self.hosts = Arc::new(lines);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    use hickory_resolver::net::NoRecords;
    use hickory_resolver::proto::op::Query;
    use hickory_resolver::proto::rr::RecordType;
    use nix::unistd::mkdtemp;

    #[test]
    fn errors_of_dns_are_in_words() {
        let names = Names::from_files(Path::new("/nowhere"), Path::new("/nowhere"));
        let question = || Query::query("seven".parse().unwrap(), RecordType::AAAA);
        let none = |code| NoRecords::new(question(), code).into();
        let errors: [(NetError, &str); 6] = [
            (none(ResponseCode::NXDomain), "there is no such name"),
            (none(ResponseCode::NoError), "the name has no address"),
            (
                none(ResponseCode::ServFail),
                "the name server reports an error (Server Failure)",
            ),
            (
                NetError::Dns(DnsError::ResponseCode(ResponseCode::Refused)),
                "the name server reports an error (Query Refused)",
            ),
            (NetError::Timeout, "no answer of a name server (127.0.0.1)"),
            (NetError::NoConnections, "no answer of a name server (127.0.0.1)"),
        ];
        for (error, words) in errors {
            assert_eq!(names.explained(error).to_string(), words);
        }
        let of_kernel = |number| names.explained(io::Error::from_raw_os_error(number).into());
        let unreachable = of_kernel(libc::ENETUNREACH);
        assert_eq!(
            limits::errno(&unreachable),
            None,
            "it is not the way to the upstream that is missing"
        );
        let words = "cannot reach a name server (127.0.0.1): Network is unreachable (os error 101)";
        assert_eq!(unreachable.to_string(), words);
        assert_eq!(limits::errno(&of_kernel(libc::EMFILE)), Some(libc::EMFILE));
    }

    #[test]
    fn the_newest_files_count_and_broken_ones_do_not() {
        let directory = mkdtemp(&std::env::temp_dir().join("ntpfront-names-XXXXXX")).unwrap();
        let (resolvers, hosts) = (directory.join("resolv.conf"), directory.join("hosts"));
        let mut names = Names::from_files(&resolvers, &hosts);
        let asked = |names: &Names| names.config.name_servers()[0].ip.to_string();
        assert_eq!((asked(&names).as_str(), names.unreadable()), ("127.0.0.1", None));
        fs::write(&resolvers, "nameserver 192.0.2.1\noptions attempts:7\n").unwrap();
        fs::write(&hosts, "192.0.2.7 seven\n").unwrap();
        names.reread();
        let seven = || Query::query("seven".parse().unwrap(), RecordType::A);
        assert!(names.hosts.lookup_static_host(&seven()).is_some());
        assert_eq!((asked(&names).as_str(), names.options.attempts), ("192.0.2.1", 7));
        fs::write(&resolvers, "# none\n").unwrap();
        fs::remove_file(&hosts).unwrap();
        names.reread();
        assert_eq!(asked(&names), "192.0.2.1");
        assert!(names.hosts.lookup_static_host(&seven()).is_some());
        assert_eq!(names.unreadable(), None, "absent is not unreadable");
        fs::remove_dir_all(&directory).unwrap();
    }

    /// As when descriptors run out: the file is there, and it, or its directory, can't be opened.
    #[test]
    fn an_unreadable_file_is_not_an_absent_one() {
        let directory = mkdtemp(&std::env::temp_dir().join("ntpfront-names-XXXXXX")).unwrap();
        let (file, absent) = (directory.join("file"), directory.join("absent/file"));
        fs::write(&file, "").unwrap();
        let below_a_file = file.join("hosts");
        for (resolvers, hosts, expected) in [
            (&absent, &absent, vec![]),
            (&absent, &below_a_file, vec![&below_a_file]),
            (&directory, &below_a_file, vec![&directory, &below_a_file]),
        ] {
            let names = Names::from_files(resolvers, hosts);
            let said = names.unreadable().unwrap_or_default();
            let places: Vec<_> = said.split("; ").filter(|part| !part.is_empty()).collect();
            assert_eq!(places.len(), expected.len(), "{said}");
            for (place, path) in places.iter().zip(expected) {
                assert!(place.starts_with(&format!("{}: ", path.display())), "{said}");
            }
        }
        let mut names = Names::from_files(&absent, &below_a_file);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let error = runtime.block_on(names.resolve("..")).unwrap_err().to_string();
        assert!(error.contains(below_a_file.to_str().unwrap()), "{error}");
        fs::remove_dir_all(&directory).unwrap();
    }
}
