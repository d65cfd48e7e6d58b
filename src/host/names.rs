//! Impure. Names to addresses, without the C library.
//!
//! Its resolver blocks a thread, needs its plug-ins after a change of the root directory, and can't be linked
//! statically.

use std::fmt::Display;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::config::{NameServerConfig, ResolverConfig, ResolverOpts};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::RecordType;
use hickory_resolver::system_conf::parse_resolv_conf;
use hickory_resolver::{Hosts, Resolver, TokioResolver};
use tokio::time::timeout;

use super::limits;
use super::rooted_file::{ReadError, RootedFile};

/// The longest file of resolvers or hosts, in bytes. A longer one is a mistake, or a very long list of blocked names.
const LONGEST: u64 = 16 * 1024 * 1024;
/// Time after which addresses of one family are taken without the other's.
///
/// A name server that never answers for one of them is not rare, and whether it would is known after 15 s only (RFC 8305 §3
/// waits for 50 ms, for a person; a poller has time).
const OTHER_FAMILY_WITHIN: Duration = Duration::from_secs(1);

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
        let found = both_families(&resolver, name).await;
        let addresses = found.map_err(|error| self.explained(error))?;
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

/// Returns the addresses of both families; those of one, if the other is not there after [`OTHER_FAMILY_WITHIN`].
async fn both_families(resolver: &TokioResolver, name: &str) -> Result<Vec<IpAddr>, NetError> {
    let both = async { resolver.lookup_ip(name).await.map(|found| found.iter().collect()) };
    tokio::pin!(both);
    if let Ok(found) = timeout(OTHER_FAMILY_WITHIN, &mut both).await {
        return found;
    }
    // What has been answered already is in the resolver's cache: it is not asked for again.
    tokio::select! {
        found = &mut both => found,
        Some(addresses) = one_family(resolver, name, RecordType::A) => Ok(addresses),
        Some(addresses) = one_family(resolver, name, RecordType::AAAA) => Ok(addresses),
    }
}

/// Returns the addresses of one family; `None` if there are none.
async fn one_family(resolver: &TokioResolver, name: &str, family: RecordType) -> Option<Vec<IpAddr>> {
    let found = resolver.lookup(name, family).await.ok()?;
    let records = found.answers().iter();
    let addresses: Vec<IpAddr> = records.filter_map(|record| record.data.ip_addr()).collect();
    (!addresses.is_empty()).then_some(addresses)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::net::{Ipv6Addr, UdpSocket};

    use crate::host::clock;
    use hickory_resolver::net::NoRecords;
    use hickory_resolver::proto::op::{Message, Query};
    use hickory_resolver::proto::rr::{RData, Record};
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

    const ONE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
    const OTHER: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1));

    /// Returns the addresses that a name server on loopback makes of a name, sorted, with the time that this took.
    ///
    /// It answers for each family after that many milliseconds, or never.
    fn resolved(v4: Option<u64>, v6: Option<u64>) -> (io::Result<Vec<IpAddr>>, Duration) {
        let server = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let mut names = Names::from_files(Path::new("/nowhere"), Path::new("/nowhere"));
        let mut here = NameServerConfig::udp(Ipv4Addr::LOCALHOST.into());
        here.connections[0].port = server.local_addr().unwrap().port();
        names.config = ResolverConfig::from_name_servers(vec![here]);
        std::thread::spawn(move || {
            let mut buffer = [0; 512];
            while let Ok((length, from)) = server.recv_from(&mut buffer) {
                let mut message = Message::from_vec(&buffer[..length]).unwrap().into_response();
                let query = message.queries[0].clone();
                let (delay, address) = if query.query_type() == RecordType::A {
                    (v4, ONE)
                } else {
                    (v6, OTHER)
                };
                let Some(delay) = delay else { continue };
                message.add_answer(Record::from_rdata(query.name().clone(), 60, RData::from(address)));
                let (socket, bytes) = (server.try_clone().unwrap(), message.to_vec().unwrap());
                std::thread::spawn(move || {
                    std::thread::sleep(Duration::from_millis(delay));
                    socket.send_to(&bytes, from).unwrap();
                });
            }
        });
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let begin = clock::raw();
        let mut found = runtime.block_on(names.look_up("ntp.example."));
        if let Ok(addresses) = &mut found {
            addresses.sort_unstable();
        }
        (found, clock::raw() - begin)
    }

    #[test]
    fn a_family_that_is_not_answered_for_does_not_keep_the_other_back() {
        for (v4, v6, expected, at_least) in [
            (Some(0), Some(0), vec![ONE, OTHER], 0),
            (Some(300), Some(0), vec![ONE, OTHER], 300),
            (Some(0), None, vec![ONE], 1000),
            (None, Some(0), vec![OTHER], 1000),
            (None, Some(1400), vec![OTHER], 1400),
        ] {
            let (found, time) = resolved(v4, v6);
            assert_eq!(found.unwrap(), expected, "{v4:?} {v6:?}");
            assert!(time >= Duration::from_millis(at_least), "{v4:?} {v6:?}: {time:?}");
            // The resolver itself gives up after 15 s.
            assert!(time < Duration::from_secs(10), "{v4:?} {v6:?}: {time:?}");
        }
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
