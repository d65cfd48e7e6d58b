//! Pure. The rows of `[access]`, `[limit]` and `[budget]`.

use std::ops::RangeInclusive;
use std::time::Duration;

use ipnet::IpNet;

use crate::config::address::{self, Refusal};
use crate::config::effective::quoted;
use crate::config::kind::{Bool, Texts, number, seconds, texts, whole, word, words};
use crate::config::row::table;
use crate::server::policy::RuleMode;
use crate::server::policy::access::OnDeny;
use crate::server::policy::budget::Budget;
use crate::server::policy::limit::{Bucket, RateLimit};
use crate::server::policy::probability::Probability;

const DEFAULTS: [(&str, bool); 2] = [("allow", true), ("deny", false)];

// The ranges leave room for honest clients: eight requests at their start, then one in 64 s.
const INTERVAL: RangeInclusive<f64> = 0.0001..=64.0;
const BURST: RangeInclusive<u32> = 8..=1_000_000;
const IPV4_PREFIX: RangeInclusive<u8> = 8..=32;
const IPV6_PREFIX: RangeInclusive<u8> = 16..=128;
const CEILING: RangeInclusive<f64> = 0.0..=1e9;

table! {
    /// The addresses that are answered. 100,000 prefixes and more are fine.
    "[access]": Reload, RawAccess
    #[derive(Clone, Debug)]
    pub(in crate::config) struct AccessKeys {
        /// "on", "dry-run" (count the requests that the lists would deny, and deny none) or "off".
        mode: RuleMode = RuleMode::On, word();
        /// The rule for addresses that match no prefix: "allow" or "deny".
        default: bool = true, words(&DEFAULTS);
        /// Prefixes ("192.0.2.0/24", "2001:db8::/32") or single addresses.
        ///
        /// The longest matching prefix decides. If the same one is both allowed and denied, it is denied.
        allow: Vec<IpNet> = Vec::new(), prefixes();
        deny: Vec<IpNet> = Vec::new(), prefixes();
        /// Files with one prefix or address per line; "#" starts a comment.
        ///
        /// Relative paths start at the directory of this file. Read at the start and on reload: if a file cannot be
        /// read, or has an error, nothing changes. A file has at most 64 MiB. All together have at most 256 MiB
        /// (about 20 million prefixes), where each file counts for each listener that uses it. A reload temporarily
        /// takes three times the memory of the lists. Landlock allows only files that are named at the start, and
        /// files beside them unless the directory has other files (process.landlock).
        allow_files: Vec<String> = Vec::new(), files();
        deny_files: Vec<String> = Vec::new(), files();
        /// The answer to a denied request: "drop" for none, or "kiss" for DENY (do not ask again).
        ///
        /// Keep "drop" in the NTP Pool: a single DENY to its monitor removes the server.
        on_deny: OnDeny = OnDeny::Drop, word();
    }
}

table! {
    /// A limit on the answers per client: a token bucket for each.
    ///
    /// Off by default: a flood costs less than a mistake. On a server that is abused, try "dry-run" first, and look
    /// at would-limit in `ntpfront status`. The defaults leave room for honest clients: eight requests when they
    /// start (iburst), three requests of the pool's monitor within 4 s, and 64 clients behind one address with one
    /// request per 64 s each.
    "[limit]": Reload, RawLimit
    #[derive(Clone, Debug)]
    pub(in crate::config) struct LimitKeys {
        /// "off", "dry-run" (count the requests that it would refuse, and refuse none) or "on".
        mode: RuleMode = RuleMode::Off, word();
        /// The average interval between two answers to a client, in seconds: {range}.
        ///
        /// (chrony's `ratelimit interval 3` is 8.0, and so is ntpd's `discard average 3`.)
        interval: f64 = 1.0, seconds(INTERVAL);
        /// The number of answers that a client gets at once after a pause: {range}.
        ///
        /// Raise it if many clients are behind one address.
        burst: u32 = 32, whole(BURST);
        /// The number of bits of an address that identify a client: {range} for IPv4, {range ipv6-prefix} for IPv6.
        ipv4_prefix: u8 = 32, whole(IPV4_PREFIX);
        ipv6_prefix: u8 = 64, whole(IPV6_PREFIX);
        /// The share of requests over the limit that is answered anyway: {range}.
        ///
        /// It keeps an attacker from silencing a victim by forging its address. (chrony's `leak 2` is 0.25.)
        leak: f64 = 0.25, number(0.01..=0.5);
        /// The share of the other requests that gets the answer RATE (ask less often): {range}.
        ///
        /// Some clients obey. But with forged addresses the victim then asks less often, too.
        kiss: f64 = 0.0, number(0.0..=1.0);
        /// The number of clients that a worker remembers, at 32 bytes each: {range}.
        ///
        /// If that is too few, harmless clients are forgotten first. If packets are not steered by source, each
        /// worker of a listener counts on its own.
        clients: u32 = 65_536, whole(1024..=16_777_216);
        /// Whether all clients of a wider prefix also share a second bucket, by the keys below.
        ///
        /// Their ranges: {range wide-interval} seconds, {range wide-burst} answers, {range wide-ipv4-prefix} bits
        /// for IPv4, {range wide-ipv6-prefix} for IPv6.
        wide: bool = false, Bool;
        wide_interval: f64 = 0.05, seconds(INTERVAL);
        wide_burst: u32 = 1000, whole(BURST);
        wide_ipv4_prefix: u8 = 24, whole(IPV4_PREFIX);
        wide_ipv6_prefix: u8 = 48, whole(IPV6_PREFIX);
    }
}

table! {
    /// A ceiling for the answers of the whole server.
    ///
    /// Known clients (seen at least three times) with at most one request per second come first. New clients come
    /// next, then heavy ones, all equally often. Only if the light clients alone exceed the ceiling are they
    /// refused, the heaviest first; a twentieth is then left to new clients.
    "[budget]": Reload, RawBudget
    #[derive(Clone, Debug)]
    pub(in crate::config) struct BudgetKeys {
        /// "on", "dry-run" (count the requests that it would refuse, and refuse none) or "off".
        mode: RuleMode = RuleMode::On, word();
        /// The answers per second: {range}; 0: no ceiling.
        ///
        /// It applies over some seconds, against any mix of clients.
        packets_per_second: f64 = 0.0, number(CEILING);
        /// Millions of bits per second, IP headers included: {range}; 0: no ceiling.
        megabits_per_second: f64 = 0.0, number(CEILING);
        /// Billions of bytes in 30 days, IP headers included: {range}; 0: no ceiling.
        ///
        /// Up to one day's share is saved for later, and a restart begins with one day saved.
        gigabytes_per_month: f64 = 0.0, number(CEILING);
    }
}

fn prefixes() -> Texts<IpNet> {
    texts(address::prefix, |net| quoted(&net.to_string()))
}

fn files() -> Texts<String> {
    texts(
        |text| match text.is_empty() || text.contains(char::is_control) {
            true => Err(Refusal::new("the path of a file with a prefix on each line")),
            false => Ok(text.to_owned()),
        },
        |path| quoted(path),
    )
}

impl LimitKeys {
    /// Returns the rate limit of each client.
    pub(in crate::config) fn limit(&self) -> RateLimit {
        let client = Bucket {
            interval: duration(self.interval),
            burst: self.burst,
            ipv4_prefix: self.ipv4_prefix,
            ipv6_prefix: self.ipv6_prefix,
        };
        let wide = Bucket {
            interval: duration(self.wide_interval),
            burst: self.wide_burst,
            ipv4_prefix: self.wide_ipv4_prefix,
            ipv6_prefix: self.wide_ipv6_prefix,
        };
        RateLimit {
            mode: self.mode,
            client,
            wide: self.wide.then_some(wide),
            leak: Probability::of(self.leak),
            kiss: Probability::of(self.kiss),
            clients: self.clients,
        }
    }
}

fn duration(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
}

impl BudgetKeys {
    /// Returns the ceiling for all that is sent; 0 is none.
    pub(in crate::config) fn budget(&self) -> Budget {
        let ceiling = |ceiling: f64| (ceiling > 0.0).then_some(ceiling);
        Budget {
            mode: self.mode,
            packets_per_second: ceiling(self.packets_per_second),
            megabits_per_second: ceiling(self.megabits_per_second),
            gigabytes_per_month: ceiling(self.gigabytes_per_month),
        }
    }
}
