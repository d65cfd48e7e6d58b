//! Pure. What was carried so far, and how it is written as TOML.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::SourceLine;
use crate::config::effective::quoted;
use crate::upstream::Host;
use crate::upstream::registry::Endpoint;
use crate::wire::NTP_PORT;

/// Where ntpfront looks for the daemon that keeps this host's clock.
pub(super) const BESIDE: (IpAddr, u16) = (IpAddr::V4(Ipv4Addr::LOCALHOST), 11123);
/// Our default of `local.distance`, which has to be within `clock.max-distance`.
const LOCAL_DISTANCE: f64 = 0.5;

/// Of so many upstreams two must agree, if nothing is said.
const FROM_HERE_TWO: u8 = 3;

/// What was carried so far.
#[derive(Debug, Default)]
pub(super) struct Draft {
    /// What could not be, a line each.
    pub(super) remarks: Vec<String>,
    /// What is to be said in front of all, as comments.
    pub(super) preface: &'static str,
    pub(super) upstreams: Vec<DraftUpstream>,
    /// Was anybody to be asked, carried or not?
    pub(super) has_sources: bool,
    pub(super) min_sources: Option<u8>,
    /// How many sources must agree where the file doesn't say it, in the daemon's words.
    pub(super) default_min_sources: &'static str,
    pub(super) max_distance: Option<f64>,
    pub(super) max_jitter: Option<f64>,
    pub(super) leap_seconds: Option<String>,
    pub(super) local: Option<Local>,
    pub(super) census_off: bool,
    pub(super) limit: Option<Limit>,
    /// Who is answered, unless a rule says otherwise.
    is_open: bool,
    rules: BTreeMap<IpNet, bool>,
    /// A rule that can't be carried may be about anybody: nobody is answered then.
    is_closed: bool,
    /// None stands for our default ones.
    pub(super) listeners: Vec<SocketAddr>,
    /// What holds for one of them alone, as TOML.
    pub(super) listener_keys: BTreeMap<SocketAddr, String>,
    /// Of the log.
    pub(super) log_level: Option<&'static str>,
    /// Where Prometheus reads.
    pub(super) metrics: Option<SocketAddr>,
    /// By `port`, in chrony's words.
    pub(super) port: Option<u16>,
    /// By `bindaddress` there, or as what ntpd listens on alone.
    pub(super) bound: Vec<IpAddr>,
    /// Nothing but those (and this host's own), in ntpd's words.
    pub(super) is_bound: bool,
    /// A line says that all are listened on.
    pub(super) is_unbound: bool,
    pub(super) ignores_ipv4: bool,
    pub(super) ignores_ipv6: bool,
    /// What ntpd says of the host's own clock in lines of their own: its stratum, and how long to wait, in seconds.
    pub(super) fudged: Option<u8>,
    pub(super) orphan_wait: Option<u32>,
    /// It was to be listened somewhere that can't be said here.
    pub(super) is_bound_elsewhere: bool,
    /// The seconds between two requests on average that ntpd wants, where it limits anybody.
    pub(super) average: Option<f64>,
    /// Lines of ntpd that exempt somebody from its limit.
    pub(super) unlimited: Vec<String>,
}

/// A server to ask.
#[derive(Clone, Debug)]
pub(super) struct DraftUpstream {
    pub(super) host: Host,
    pub(super) port: u16,
    pub(super) iburst: bool,
    pub(super) minpoll: Option<i8>,
    pub(super) maxpoll: Option<i8>,
    /// Which of the keys that are true or false are true.
    pub(super) roles: BTreeSet<&'static str>,
    /// Where it stood.
    pub(super) origin: String,
}

/// `[limit]`: as it is said there; what isn't keeps our default.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limit {
    /// In seconds.
    pub(super) interval: f64,
    pub(super) burst: Option<u8>,
    pub(super) leak: Option<f64>,
}

/// `[local]`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Local {
    pub(super) stratum: u8,
    /// In seconds.
    pub(super) wait: Option<u32>,
}

/// All addresses of each family.
pub(super) fn everybody() -> [IpNet; 2] {
    [IpNet::V4(Ipv4Net::default()), IpNet::V6(Ipv6Net::default())]
}

impl Draft {
    /// As chronyd begins: nobody is answered.
    pub(super) fn denying() -> Self {
        Self::default()
    }

    /// As ntpd begins: everybody is.
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

    /// What was said last of the same prefix counts.
    pub(super) fn rule(&mut self, net: IpNet, allowed: bool) {
        self.rules.insert(net.trunc(), allowed);
    }

    /// The same, and nothing else holds for a part of it any more.
    pub(super) fn rule_for_all(&mut self, net: IpNet, allowed: bool) {
        let net = net.trunc();
        self.rules.retain(|known, _| !net.contains(known));
        self.rules.insert(net, allowed);
    }

    /// A restriction that can't be carried, and why: what is made of it is stricter, never wider. Gives the reason with that.
    pub(super) fn close(&mut self, why: &str) -> String {
        self.is_closed = true;
        format!("{why}: nobody is answered, unless you say in [access] who is")
    }

    /// Leaves only this host a way to us, on `port`.
    pub(super) fn listen_here(&mut self, port: u16) {
        let loopback = [Ipv4Addr::LOCALHOST.into(), IpAddr::from(Ipv6Addr::LOCALHOST)];
        self.listeners = loopback.map(|address| SocketAddr::from((address, port))).to_vec();
    }

    /// Forgets all rules; were there any?
    pub(super) fn open(&mut self) -> bool {
        let had = self.is_closed || !self.rules.is_empty();
        self.is_closed = false;
        self.rules.clear();
        self.is_open = true;
        had
    }

    /// Takes a server, unless it is there already.
    pub(super) fn ask(&mut self, upstream: DraftUpstream) -> Result<(), String> {
        let endpoint = |one: &DraftUpstream| Endpoint::new(&one.host, one.port);
        let same = |known: &&DraftUpstream| endpoint(known) == endpoint(&upstream);
        match self.upstreams.iter().find(same) {
            Some(known) => Err(format!("it is asked already, by {}", known.origin)),
            None => {
                self.upstreams.push(upstream);
                Ok(())
            }
        }
    }

    /// Nobody asks himself: such a server was meant to be another one on the same host, or is a mistake.
    fn part_with_ourselves(&mut self) {
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

    /// The tables, with what they need to hold together; what doesn't is left.
    pub(super) fn written(&mut self) -> String {
        self.part_with_ourselves();
        let [clock, local] = [self.clock(), self.local()];
        let mut text = self.preface.to_owned() + &self.sources();
        let metrics = self.metrics.map(|address| quoted(&address.to_string()));
        for (head, keys) in [
            ("log", line("level", self.log_level.map(quoted))),
            ("metrics", line("listen", metrics)),
            ("clock", clock),
            ("local", local),
            ("census", line_if(self.census_off, "enabled", "false")),
            ("access", self.access()),
            ("limit", self.limited()),
        ] {
            if !keys.is_empty() {
                let _infallible = write!(text, "\n[{head}]\n{keys}");
            }
        }
        for address in &self.listeners {
            let keys = self.listener_keys.get(address).map_or("", String::as_str);
            let address = quoted(&address.to_string());
            let _infallible = write!(text, "\n[[listener]]\naddress = {address}\n{keys}");
        }
        self.upstreams
            .iter()
            .fold(text, |text, upstream| text + &upstream.to_toml())
    }

    /// What is to be said above all tables: whom is asked where none is named.
    fn sources(&self) -> String {
        match (self.upstreams.is_empty(), self.has_sources, &self.local) {
            (false, _, _) => "#\n# Time is followed by a clock of its own, and the host's is left alone. To mirror the daemon that keeps\n\
                 # the host's instead, have it listen on port 11123 of 127.0.0.1, and name that as the first upstream.\n"
                .to_owned(),
            (true, false, Some(_)) => "#\n# Nobody is asked for the time.\nupstream = []\n".to_owned(),
            (true, _, _) => "#\n# No server could be carried over: the default is asked, the daemon that keeps this host's clock, on port\n\
                 # 11123 of 127.0.0.1.\n"
                .to_owned(),
        }
    }

    fn clock(&mut self) -> String {
        // Where none is named, there is one by default; who is only watched doesn't count.
        let named = self
            .upstreams
            .iter()
            .filter(|one| !one.roles.contains("noselect"))
            .count();
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
                 # agree, so that no single one can lead us astray. As it was there, it is:\n#min-sources = 1\n"
            ),
            _ => String::new(),
        };
        let path = self.leap_seconds.as_deref().map(quoted);
        stricter
            + &line("min-sources", fits)
            + &line("max-distance", self.max_distance.map(float))
            + &line("max-jitter", self.max_jitter.map(float))
            + &line("leap-seconds", path)
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
            return "# A restriction could not be carried: `import` said which. Nobody is answered until it stands here.\n\
                    default = \"deny\"\n"
                .to_owned();
        }
        let [v4, v6] = everybody().map(|all| self.rules.get(&all).copied().unwrap_or(self.is_open));
        let default = v4 && v6;
        let mut rules = self.rules.clone();
        rules.extend(everybody().into_iter().zip([v4, v6]));
        let mut lists = [Vec::new(), Vec::new()];
        for (net, allowed) in &rules {
            // What holds around it, by the longest rule that has it.
            let mut around = std::iter::successors(net.supernet(), IpNet::supernet);
            let outer = around.find_map(|net| rules.get(&net).copied());
            if outer.unwrap_or(default) != *allowed {
                let [allow, deny] = &mut lists;
                let list = if *allowed { allow } else { deny };
                list.push(quoted(&net.to_string()));
            }
        }
        let [allow, deny] = lists.map(|list| (!list.is_empty()).then(|| format!("[{}]", list.join(", "))));
        let closed = "# As in the file that this was made of. \"allow\" answers everybody.\n";
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
        ) + &line_if(!self.iburst, "iburst", "false")
            + &line("minpoll", self.minpoll)
            + &line("maxpoll", self.maxpoll)
            + &roles
    }
}

fn line(key: &str, value: Option<impl std::fmt::Display>) -> String {
    value.map_or_else(String::new, |value| format!("{key} = {value}\n"))
}

fn line_if(is_so: bool, key: &str, value: &str) -> String {
    line(key, is_so.then_some(value))
}

/// With a point, as TOML wants it.
fn float(number: f64) -> String {
    format!("{number:?}")
}
