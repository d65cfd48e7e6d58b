//! Pure. A draft of our configuration, with all that is carried over so far, and the draft as TOML.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::SourceLine;
use super::draft_keys::DraftKeys;
use super::nts::DraftNtsServer;
use super::toml_line::{hours, line};
use crate::config::effective::quoted;
use crate::config::keys::COUNT;
use crate::nts::ke::PORT as KE_PORT;
use crate::symmetric::KeyId;
use crate::upstream::Host;
use crate::upstream::registry::Endpoint;
use crate::wire::NTP_PORT;

/// The address where ntpfront asks the daemon that keeps this host's clock.
pub(super) const BESIDE: (IpAddr, u16) = (IpAddr::V4(Ipv4Addr::LOCALHOST), 11123);
/// Our default of `local.distance`, which has to be within `clock.max-distance`.
const LOCAL_DISTANCE: f64 = 0.5;

/// The number of upstreams from which on two must agree by default.
const FROM_HERE_TWO: u8 = 3;

/// All that is carried over so far.
#[derive(Debug, Default)]
pub(super) struct Draft {
    /// The lines about symmetric keys.
    pub(super) keys: DraftKeys,
    /// The number of lines that were carried over at first, and then were not.
    pub(super) taken_back: u32,
    /// Whether a server is asked with one.
    pub(super) has_keys: bool,
    /// The parts that could not be carried over, each with the reason in a line.
    pub(super) remarks: Vec<String>,
    /// The comments above all other lines.
    pub(super) preface: &'static str,
    pub(super) upstreams: Vec<DraftUpstream>,
    /// Whether the file names a server to ask, carried over or not.
    pub(super) has_sources: bool,
    pub(super) min_sources: Option<u8>,
    /// Directories with files that name further upstreams.
    pub(super) source_directories: Vec<String>,
    /// The daemon's own default for the number of sources that must agree, in its words.
    pub(super) default_min_sources: &'static str,
    pub(super) max_distance: Option<f64>,
    pub(super) max_jitter: Option<f64>,
    pub(super) leap_seconds: Option<String>,
    pub(super) local: Option<Local>,
    pub(super) census_off: bool,
    pub(super) limit: Option<Limit>,
    /// Whether addresses without a rule are answered.
    is_open: bool,
    rules: BTreeMap<IpNet, bool>,
    /// Whether a rule could not be carried over: then no client is answered, as the rule may be about any of them.
    is_closed: bool,
    /// The listeners; an empty list stands for our default ones.
    pub(super) listeners: Vec<SocketAddr>,
    /// The keys of a single listener, as TOML.
    pub(super) listener_keys: BTreeMap<SocketAddr, String>,
    /// The least important level that is logged.
    pub(super) log_level: Option<&'static str>,
    /// The address where Prometheus reads.
    pub(super) metrics: Option<SocketAddr>,
    /// The `port` of chronyd.
    pub(super) port: Option<u16>,
    /// The addresses of chronyd's `bindaddress`, or the only ones that ntpd listens on.
    pub(super) bound: Vec<IpAddr>,
    /// Whether ntpd listens only on those, and on the loopback interface.
    pub(super) is_bound: bool,
    /// Whether a line says that ntpd listens on all addresses.
    pub(super) is_unbound: bool,
    pub(super) ignores_ipv4: bool,
    pub(super) ignores_ipv6: bool,
    /// The stratum of the host's own clock, and the wait for it in seconds: ntpd has both in lines of their own.
    pub(super) fudged: Option<u8>,
    pub(super) orphan_wait: Option<u32>,
    /// Whether the daemon listens at an address that can't be carried over.
    pub(super) is_bound_elsewhere: bool,
    /// The mean time between two requests in ntpd's limit, in seconds; without a limit it has no effect.
    pub(super) average: Option<f64>,
    /// The value of `authselectmode`.
    pub(super) authenticated: Option<&'static str>,
    /// Whether that is `prefer`, which has no effect without a server that is authenticated.
    pub(super) prefers_authenticated: bool,
    /// The file that replaces the system's certificates.
    pub(super) roots: Option<String>,
    /// The hours after which keys are established again.
    pub(super) refresh: Option<u32>,
    /// The files of chronyd's sets of certificates, each with its line.
    pub(super) certificates: Vec<(u32, String, String)>,
    /// Whether the system's certificates are not in the default set.
    pub(super) is_without_system: bool,
    /// `[nts]`.
    pub(super) nts_server: DraftNtsServer,
    /// The file or directory of ntpsec's `nts ca`, with its line.
    pub(super) authority: Option<(String, String)>,
    /// Remarks on lines of ntpd that exempt addresses from its limit.
    pub(super) unlimited: Vec<String>,
}

/// A server to ask.
#[derive(Clone, Debug)]
pub(super) struct DraftUpstream {
    pub(super) host: Host,
    pub(super) port: u16,
    /// The number of its servers, if that is given, if it is a pool.
    pub(super) pool: Option<Option<u8>>,
    pub(super) iburst: bool,
    pub(super) minpoll: Option<i8>,
    pub(super) maxpoll: Option<i8>,
    /// The keys of its role that are true.
    pub(super) roles: BTreeSet<&'static str>,
    /// The way to its keys, if it is asked with NTS.
    pub(super) nts: Option<DraftNts>,
    /// The symmetric key that it is asked with.
    pub(super) key: Option<KeyId>,
    /// The place and the text of its line.
    pub(super) origin: String,
}

/// The way to the keys of a server.
#[derive(Clone, Debug, Default)]
pub(super) struct DraftNts {
    pub(super) port: Option<u16>,
    /// The file with the certificates that are trusted for it.
    pub(super) ca: Option<String>,
    /// The number of chronyd's set of certificates; 0 is the default one.
    pub(super) set: u32,
}

/// `[limit]`; a key that is `None` keeps our default.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limit {
    /// The interval in seconds.
    pub(super) interval: f64,
    pub(super) burst: Option<u8>,
    pub(super) leak: Option<f64>,
}

/// `[local]`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Local {
    pub(super) stratum: u8,
    /// The wait in seconds.
    pub(super) wait: Option<u32>,
}

/// Returns the prefix of all addresses, for each family.
pub(super) fn all_addresses() -> [IpNet; 2] {
    [IpNet::V4(Ipv4Net::default()), IpNet::V6(Ipv6Net::default())]
}

impl Draft {
    /// Returns the draft for chronyd, which answers no client without a rule for it.
    pub(super) fn denying() -> Self {
        Self::default()
    }

    /// Returns the draft for ntpd and ntpd-rs, which answer each client without a rule against it.
    pub(super) fn allowing() -> Self {
        Self {
            is_open: true,
            ..Self::default()
        }
    }

    /// Tells that a line, or a part of it, is not carried.
    pub(super) fn leave(&mut self, line: &SourceLine<'_>, why: &str) {
        self.remarks.push(format!("{}: {why}", line.shown()));
    }

    /// Adds a rule, in the place of an earlier one of the same prefix.
    pub(super) fn rule(&mut self, net: IpNet, allowed: bool) {
        self.rules.insert(net.trunc(), allowed);
    }

    /// Adds a rule, in the place of the earlier ones of the same prefix and of its parts.
    pub(super) fn rule_for_all(&mut self, net: IpNet, allowed: bool) {
        let net = net.trunc();
        self.rules.retain(|known, _| !net.contains(known));
        self.rules.insert(net, allowed);
    }

    /// Answers no client, as a restriction can't be carried over, and returns the reason `why` with that.
    ///
    /// The result of such a restriction is stricter, never wider.
    pub(super) fn close(&mut self, why: &str) -> String {
        self.is_closed = true;
        format!("{why}: no client is answered, unless you allow some in [access]")
    }

    /// Listens only on the loopback addresses, at `port`.
    pub(super) fn listen_here(&mut self, port: u16) {
        let loopback = [Ipv4Addr::LOCALHOST.into(), IpAddr::from(Ipv6Addr::LOCALHOST)];
        self.listeners = loopback.map(|address| SocketAddr::from((address, port))).to_vec();
    }

    /// Removes all rules, answers all clients, and returns whether there was a rule.
    pub(super) fn open(&mut self) -> bool {
        let had = self.is_closed || !self.rules.is_empty();
        self.is_closed = false;
        self.rules.clear();
        self.is_open = true;
        had
    }

    /// Adds a server, unless it is there already.
    pub(super) fn ask(&mut self, upstream: DraftUpstream) -> Result<(), String> {
        let endpoint = |one: &DraftUpstream| Endpoint::new(&one.host, one.port);
        let same = |known: &&DraftUpstream| endpoint(known) == endpoint(&upstream);
        match self.upstreams.iter().find(same) {
            Some(known) => Err(format!("it is polled already, by {}", known.origin)),
            None => {
                self.upstreams.push(upstream);
                Ok(())
            }
        }
    }

    /// Removes the servers that are our own listeners, with a remark.
    ///
    /// Such a server was meant to be another one on the same host, or is a mistake.
    fn remove_own_listeners(&mut self) {
        let defaults = [
            SocketAddr::from((Ipv4Addr::UNSPECIFIED, NTP_PORT)),
            SocketAddr::from((Ipv6Addr::UNSPECIFIED, NTP_PORT)),
        ];
        let ours = if self.listeners.is_empty() {
            &defaults[..]
        } else {
            &self.listeners
        };
        let is_ours = |upstream: &DraftUpstream| {
            let Host::Address(address) = upstream.host else {
                return false;
            };
            ours.iter().any(|ours| {
                let any = ours.ip().is_unspecified() && ours.is_ipv4() == address.is_ipv4();
                ours.port() == upstream.port && (ours.ip() == address || (any && address.is_loopback()))
            })
        };
        let (ourselves, others) = std::mem::take(&mut self.upstreams).into_iter().partition(is_ours);
        self.upstreams = others;
        let ourselves: Vec<DraftUpstream> = ourselves;
        let remark = |upstream: DraftUpstream| format!("{}: that would be ntpfront itself", upstream.origin);
        self.remarks.extend(ourselves.into_iter().map(remark));
    }

    /// Returns the draft as TOML; keys that don't go together are changed or left out, with a remark.
    pub(super) fn written(&mut self) -> String {
        self.remove_own_listeners();
        let [clock, local] = [self.clock(), self.local()];
        let mut text = self.preface.to_owned() + &self.sources();
        let metrics = self.metrics.map(|address| quoted(&address.to_string()));
        for (head, keys) in [
            ("log", line("level", self.log_level.map(quoted))),
            ("metrics", line("listen", metrics)),
            ("clock", clock),
            ("local", local),
            ("nts-client", self.nts_client()),
            ("census", line_if(self.census_off, "enabled", "false")),
            ("access", self.access()),
            ("limit", self.limited()),
            ("nts", self.nts_server.to_toml()),
            ("sources", self.source_directories()),
        ] {
            if !keys.is_empty() {
                let _infallible = write!(text, "\n[{head}]\n{keys}");
            }
        }
        text += &self.keys.to_toml(self.has_keys);
        for address in &self.listeners {
            let keys = self.listener_keys.get(address).map_or("", String::as_str);
            let address = quoted(&address.to_string());
            let _infallible = write!(text, "\n[[listener]]\naddress = {address}\n{keys}");
        }
        self.upstreams
            .iter()
            .fold(text, |text, upstream| text + &upstream.to_toml())
    }

    /// Returns the text above all tables, about the servers that are asked.
    fn sources(&self) -> String {
        match (self.upstreams.is_empty(), self.has_sources, &self.local) {
            (false, _, _) => "#\n# Time is followed by a clock of its own, and the host's is left alone. To mirror the daemon that keeps\n\
                 # the host's instead, have it listen on port 11123 of 127.0.0.1, and name that as the first upstream.\n"
                .to_owned(),
            (true, false, Some(_)) => "#\n# No server is polled for the time.\nupstream = []\n".to_owned(),
            (true, _, _) => "#\n# No server could be carried over: the default is polled, the daemon that keeps this host's clock, on port\n\
                 # 11123 of 127.0.0.1.\n"
                .to_owned(),
        }
    }

    fn clock(&mut self) -> String {
        // Without a named server there is the default one; a server that is only watched doesn't count.
        let named = self
            .upstreams
            .iter()
            .filter(|one| !one.roles.contains("noselect"))
            .map(|one| one.pool.map_or(1, |count| usize::from(count.unwrap_or(COUNT))))
            .sum::<usize>();
        let count = u8::try_from(named.max(1)).unwrap_or(u8::MAX);
        let wanted = self.min_sources.take();
        let fits = wanted.map(|wanted| wanted.min(count));
        if let Some(wanted) = wanted.filter(|wanted| *wanted > count) {
            self.remarks.push(format!(
                "{wanted} sources that must agree are more than are named here: clock.min-sources is {count}"
            ));
        }
        let stricter = match (wanted, self.default_min_sources) {
            (None, default) if count >= FROM_HERE_TWO && !default.is_empty() => format!(
                "# Stricter than there: {default}. Here, of three or more, two must\n\
                 # agree, so that no single one can mislead the server. As it was there, it is:\n#min-sources = 1\n"
            ),
            _ => String::new(),
        };
        let path = self.leap_seconds.as_deref().map(quoted);
        stricter
            + &line("min-sources", fits)
            + &line("max-distance", self.max_distance.map(float))
            + &line("max-jitter", self.max_jitter.map(float))
            + &line("authenticated", self.authenticated.map(quoted))
            + &line("leap-seconds", path)
    }

    fn source_directories(&self) -> String {
        let all: Vec<String> = self.source_directories.iter().map(|path| quoted(path)).collect();
        let list = (!all.is_empty()).then(|| format!("[{}]", all.join(", ")));
        line("directories", list)
    }

    fn nts_client(&self) -> String {
        let refresh = self.refresh.map(hours);
        line("roots", self.roots.as_deref().map(quoted)) + &line("refresh", refresh.as_deref().map(quoted))
    }

    fn local(&self) -> String {
        let Some(local) = self.local else {
            return String::new();
        };
        let least = self.max_distance.filter(|limit| *limit < LOCAL_DISTANCE);
        line("enabled", Some(true))
            + &line("stratum", Some(local.stratum))
            + &line("wait", local.wait)
            + &line("distance", least.map(float))
    }

    fn access(&self) -> String {
        if self.is_closed {
            return "# A restriction could not be carried over: `import` reports which. No client is answered until it is set here.\n\
                    default = \"deny\"\n"
                .to_owned();
        }
        let [v4, v6] = all_addresses().map(|all| self.rules.get(&all).copied().unwrap_or(self.is_open));
        let default = v4 && v6;
        let mut rules = self.rules.clone();
        rules.extend(all_addresses().into_iter().zip([v4, v6]));
        let mut lists = [Vec::new(), Vec::new()];
        for (net, allowed) in &rules {
            // The rule of the longest prefix around this one.
            let mut around = std::iter::successors(net.supernet(), IpNet::supernet);
            let outer = around.find_map(|net| rules.get(&net).copied());
            if outer.unwrap_or(default) != *allowed {
                let [allow, deny] = &mut lists;
                let list = if *allowed { allow } else { deny };
                list.push(quoted(&net.to_string()));
            }
        }
        let [allow, deny] = lists.map(|list| (!list.is_empty()).then(|| format!("[{}]", list.join(", "))));
        let closed = "# As in the file that this was made of. \"allow\" answers all clients.\n";
        let default = if default {
            String::new()
        } else {
            closed.to_owned() + "default = \"deny\"\n"
        };
        default + &line("allow", allow) + &line("deny", deny)
    }

    fn limited(&self) -> String {
        let Some(limit) = self.limit else {
            return String::new();
        };
        line("mode", Some(quoted("on")))
            + &line("interval", Some(float(limit.interval)))
            + &line("burst", limit.burst)
            + &line("leak", limit.leak.map(float))
    }
}

impl DraftUpstream {
    fn to_toml(&self) -> String {
        let host = &self.host;
        let address = match self.port {
            NTP_PORT => host.to_string(),
            port if host.is_ipv6() => format!("[{host}]:{port}"),
            port => format!("{host}:{port}"),
        };
        let roles: String = self.roles.iter().map(|role| line(role, Some(true))).collect();
        format!(
            "\n# {}\n[[upstream]]\naddress = {}\n",
            self.origin,
            quoted(&address)
        ) + &line_if(self.pool.is_some(), "pool", "true")
            + &line("count", self.pool.flatten().filter(|count| *count != COUNT))
            + &line_if(!self.iburst, "iburst", "false")
            + &line("minpoll", self.minpoll)
            + &line("maxpoll", self.maxpoll)
            + &roles
            + &self.nts.as_ref().map_or_else(String::new, DraftNts::to_toml)
            + &line("key", self.key)
    }
}

impl DraftNts {
    fn to_toml(&self) -> String {
        let port = self.port.filter(|port| *port != KE_PORT);
        line("nts", Some(true)) + &line("ke-port", port) + &line("ca", self.ca.as_deref().map(quoted))
    }
}

fn line_if(is_so: bool, key: &str, value: &str) -> String {
    line(key, is_so.then_some(value))
}

/// Writes a number with a point, as TOML needs it.
fn float(number: f64) -> String {
    format!("{number:?}")
}
