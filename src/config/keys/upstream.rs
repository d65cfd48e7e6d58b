//! Pure. The rows of `[[upstream]]`.

use std::net::Ipv4Addr;
use std::ops::RangeInclusive;
use std::path::PathBuf;

use super::texts::path;
use crate::config::address;
use crate::config::effective::quoted;
use crate::config::kind::{Bool, Parsed, parsed, whole, word};
use crate::config::raw_value::{Origin, RawValue};
use crate::config::row::table;
use crate::nts::ke::PORT;
use crate::upstream::interleaved::InterleavedQuestions;
use crate::upstream::{Host, Pooling, Role, Smears, Upstream};

/// Poll intervals (log2 seconds) for a host of the network and for the daemon on this host.
//= RFC 5905 §7.3 poll-defaults
pub(in crate::config) const REMOTE_POLLS: (i8, i8) = (6, 10);
pub(in crate::config) const LOOPBACK_POLLS: (i8, i8) = (2, 4);
/// The range of both.
//= RFC 5905 §7.2 maxpoll
pub(in crate::config) const POLLS: RangeInclusive<i8> = 0..=17;
/// The range of the number of members of a pool, and its default, as chrony's `maxsources`.
pub(in crate::config) const COUNTS: RangeInclusive<u8> = 1..=16;
pub(in crate::config) const COUNT: u8 = 4;

table! {
    /// The servers to poll for the time, one table each.
    ///
    /// If there is at least one, the default upstream below no longer applies. Flag -s replaces them all. "upstream
    /// = []" at the top of the file means none; then [local] must be enabled.
    "[[upstream]]": Reload, RawUpstream
    #[derive(Clone, Debug)]
    pub(in crate::config) struct UpstreamKeys {
        /// The address or the name, with or without a port (123).
        ///
        /// For example "192.0.2.1", "[2001:db8::1]:123" or "time.example". A link-local address needs its interface:
        /// "[fe80::1%eth0]:123". "localhost" means 127.0.0.1 and ::1, without a query to a name server. Any other
        /// name that resolves to a loopback address, or to a listener of this server, is refused. Of a name with
        /// several addresses, the first one that answers is polled; with pool below, several are. An address that
        /// answers DENY or RSTR is left alone for an hour, then longer, up to a day. The default is for a daemon such
        /// as chronyd that keeps this host's clock, on another port: in chrony.conf `port 11123`, `bindaddress
        /// 127.0.0.1` and `allow 127.0.0.1`.
        address: (Host, u16) = (Host::Address(Ipv4Addr::LOCALHOST.into()), 11_123), address();
        /// Whether the name stands for several servers, each of which is polled: as of a zone of the NTP Pool.
        ///
        /// Each has a vote of its own, and is shown by its address. Both address families are used, if there is a route.
        /// An address that never answers makes room for another one of the name at once. One that did, and then
        /// denies, is silent, or is false for eight minutes, keeps its place until another one has proven that it
        /// answers and agrees. No answer of a name server removes a member.
        pool: bool = false, Bool;
        /// The number of servers of a pool that are polled: {range}.
        ///
        /// To set it makes the name a pool, unless pool is false.
        count: u8 = COUNT, whole(COUNTS);
        /// Whether to poll four times in a row at the start, for a time within seconds.
        ///
        /// Those polls are 2 s apart (1 s for an upstream on this host). Then the interval doubles, 4 s, 8 s, 16 s,
        /// ..., up to the interval below: the frequency of the clock is known only as well as samples are far apart.
        /// The same happens after the host slept or its clock was stepped. Turn it off if the operator of the server
        /// asks for that.
        iburst: bool = true, Bool;
        /// The minimum and the maximum interval between two polls, as powers of 2 in seconds: {range}.
        ///
        /// 6 is 64 s, 10 is 1024 s; 0 is only for a loopback address (and localhost). The defaults are 6 and 10; for
        /// a loopback address 2 and 4.
        minpoll: i8 = LOOPBACK_POLLS.0, whole(POLLS);
        maxpoll: i8 = LOOPBACK_POLLS.1, whole(POLLS);
        /// Whether to follow this upstream rather than others that agree with it.
        prefer: bool = false, Bool;
        /// Whether to serve a time only if this upstream, or another one that is required, agrees.
        require: bool = false, Bool;
        /// Whether only upstreams with this key determine the time and its maximum error, as if there were no others.
        ///
        /// That gives you the narrow error bound of a near server, and gives up the protection by the others: if
        /// this upstream is wrong, so is the served time. (prefer gives up nothing: it only chooses the upstream
        /// that is announced.)
        trust: bool = false, Bool;
        /// Whether only to monitor this upstream: it does not influence the time.
        noselect: bool = false, Bool;
        /// Whether this upstream smears leap seconds: "yes", "no" or "auto".
        ///
        /// One that does is only monitored from 25 hours before a leap second of the list (or of a warning) to 25 hours
        /// after it, since its time is not UTC then. "auto": the servers of Google, Facebook and Amazon are known to
        /// smear.
        smears: Smears = Smears::Auto, word();
        /// Interleaved mode (RFC 9769): "auto", "off" or "on".
        ///
        /// In this mode each response also says exactly when the previous one left, so that the queues of the upstream
        /// do not matter. "auto": it is used with upstreams that have it; an upstream that never answers in this mode is
        /// polled in basic mode, and asked again after 64 responses. "on": it is always asked for. "off": questions have
        /// nothing in them but a random number.
        interleaved: InterleavedQuestions = InterleavedQuestions::Auto, word();
        /// Whether its time is authenticated (Network Time Security, RFC 8915).
        ///
        /// It is never polled without: while there are no keys, it counts as silent. The name in address must be in the
        /// certificate of its server. What it announces in key establishment, another NTP server or port, replaces that
        /// of address.
        nts: bool = false, Bool;
        /// The TCP port of key establishment: {range}.
        ///
        /// A reload can use 4460 and the ports of the start; another
        /// one needs a restart (process.landlock).
        ke_port: u16 = PORT, whole(1..=65_535);
        /// A file (PEM) with the certificates that are trusted for this upstream alone.
        ///
        /// They replace those of nts-client.roots: that of its authority, or its own self-signed one. An absolute path,
        /// read at the start and on reload.
        ca: Option<PathBuf> = None, path(), for example "/etc/ntpfront/ca.pem";
        /// The identifier of a symmetric key of symmetric-keys.file: {range}; 0: none.
        ///
        /// Questions then have a MAC of this key, and only replies with the right MAC count: without it this upstream
        /// has no time. For a server that offers NTS, use that instead.
        key: u32 = 0, whole(0..=u32::MAX);
    }
}

/// Returns the kind of addresses; the default is the daemon that keeps the clock of this host.
fn address() -> Parsed<(Host, u16)> {
    // A value that is no text is refused as the empty text is: with what is expected.
    parsed(
        |text| address::host_and_port(text.unwrap_or_default()),
        |address| Some(quoted(&shown(address))),
    )
    .required()
}

/// Writes an address as in a configuration.
fn shown((host, port): &(Host, u16)) -> String {
    let keys = UpstreamKeys {
        address: (host.clone(), *port),
        ..UpstreamKeys::default()
    };
    keys.upstream().to_string()
}

impl UpstreamKeys {
    /// Returns the address of the default upstream, as a value of the file.
    pub(in crate::config) fn default_address() -> RawValue {
        RawValue::text(&shown(&Self::default().address), Origin::Default)
    }

    fn pooling(&self) -> Pooling {
        match self.pool {
            true => Pooling::Pool { count: self.count },
            false => Pooling::One,
        }
    }

    /// Returns the server with its polls and its role, without what authentication needs.
    pub(in crate::config) fn upstream(&self) -> Upstream {
        let (host, port) = self.address.clone();
        Upstream {
            host,
            port,
            iburst: self.iburst,
            minpoll: self.minpoll,
            maxpoll: self.maxpoll,
            role: Role {
                prefer: self.prefer,
                require: self.require,
                trust: self.trust,
                noselect: self.noselect,
                smears: self.smears,
            },
            interleaved: self.interleaved,
            pooling: self.pooling(),
            key: None,
            nts: None,
        }
    }
}
