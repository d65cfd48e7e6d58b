//! Pure. Who is answered: `[access]`, `[limit]` and `[budget]`, and what a listener says otherwise.
//!
//! A listener's tables of the same names replace single keys for it; what they leave out is as for all.

use std::io::{self, BufRead};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use super::address::{self, Refusal};
use super::effective::quoted;
use super::fault::{Fault, Place, excerpt};
use super::judge::Judge;
use super::raw::{self, Raw, Said};
use crate::server::policy::access::{Access, OnDeny, Prefixes};
use crate::server::policy::budget::Budget;
use crate::server::policy::limit::{Bucket, RateLimit};
use crate::server::policy::probability::Probability;
use crate::server::policy::{Announced, Policy, RuleMode};

const MODES: [(&str, RuleMode); 3] = [
    (RuleMode::Off.name(), RuleMode::Off),
    (RuleMode::DryRun.name(), RuleMode::DryRun),
    (RuleMode::On.name(), RuleMode::On),
];
const ALLOW: &str = "allow";
const DENY: &str = "deny";
const DEFAULTS: [(&str, bool); 2] = [(ALLOW, true), (DENY, false)];
const ON_DENY: [(&str, OnDeny); 2] = [
    (OnDeny::Drop.name(), OnDeny::Drop),
    (OnDeny::Kiss.name(), OnDeny::Kiss),
];
const ANSWERS: [(&str, Announced); 2] = [
    (Announced::Time.name(), Announced::Time),
    (Announced::Unsynchronized.name(), Announced::Unsynchronized),
];
/// What is wrong in a list of prefixes is told so often: it may be a file of something else.
const MOST_FAULTS: usize = 20;

/// What `[access]` says.
#[derive(Clone, Debug)]
struct AccessWords {
    mode: RuleMode,
    default: bool,
    allow: Vec<IpNet>,
    deny: Vec<IpNet>,
    allow_files: Vec<String>,
    deny_files: Vec<String>,
    on_deny: OnDeny,
}

/// What `[limit]` says.
#[derive(Clone, Debug)]
struct LimitWords {
    mode: RuleMode,
    client: BucketWords,
    has_wide: bool,
    wide: BucketWords,
    leak: f64,
    kiss: f64,
    clients: u32,
}

#[derive(Clone, Debug)]
struct BucketWords {
    interval: f64,
    burst: u32,
    ipv4_prefix: u8,
    ipv6_prefix: u8,
}

/// What holds for all listeners that don't say otherwise.
#[derive(Debug)]
pub(super) struct Common {
    access: AccessWords,
    limit: LimitWords,
    budget: Budget,
    policy: Arc<Policy>,
}

/// Nobody is denied and nobody limited. Once limits are on: about what a client is never seen to need.
fn defaults() -> (AccessWords, LimitWords) {
    let access = AccessWords {
        mode: RuleMode::On,
        default: true,
        allow: Vec::new(),
        deny: Vec::new(),
        allow_files: Vec::new(),
        deny_files: Vec::new(),
        on_deny: OnDeny::Drop,
    };
    let client = BucketWords {
        interval: 1.0,
        burst: 32,
        ipv4_prefix: 32,
        ipv6_prefix: 64,
    };
    let wide = BucketWords {
        interval: 0.05,
        burst: 1000,
        ipv4_prefix: 24,
        ipv6_prefix: 48,
    };
    let limit = LimitWords {
        mode: RuleMode::Off,
        client,
        has_wide: false,
        wide,
        leak: 0.25,
        kiss: 0.0,
        clients: 65_536,
    };
    (access, limit)
}

/// What holds for all.
pub(super) fn common(judge: &mut Judge<'_>, raw: &Raw) -> Option<Common> {
    let (access, limit) = defaults();
    judge.enter("access", "[access]");
    let access = words_of_access(judge, &raw.access.said, &access);
    let built = access
        .as_ref()
        .and_then(|words| list(judge, words, &raw.access.said));
    judge.enter("limit", "[limit]");
    let limit = words_of_limit(judge, &raw.limit.said, &limit);
    judge.enter("budget", "[budget]");
    let (budget, limit) = (budget(judge, &raw.budget.said)?, limit?);
    let policy = Arc::new(Policy {
        access: built?,
        limit: limit.meant(),
        budget: budget.mode(),
        answer: Announced::default(),
        max_stratum: 15,
    });
    Some(Common {
        access: access?,
        limit,
        budget,
        policy,
    })
}

impl Common {
    /// The budget of the whole server.
    pub(super) fn budget(&self) -> Budget {
        self.budget
    }
}

/// What holds for one listener, whose table of this `name` is being judged. Without `common`, which has faults then, its
/// own words are judged all the same.
pub(super) fn of_listener(
    judge: &mut Judge<'_>,
    name: &str,
    said: &raw::Listener,
    common: Option<&Common>,
) -> Option<Arc<Policy>> {
    let answer = judge.word(
        "answer",
        said.answer.as_ref(),
        &ANSWERS,
        Announced::default().name(),
    );
    let max_stratum = judge.whole("max-stratum", said.max_stratum.as_ref(), 1..=15, 15_u8);
    let (default_access, default_limit) = defaults();
    judge.enter(format!("{name}.access"), "[listener.access]");
    let words = common.map_or(&default_access, |common| &common.access);
    let words = words_of_access(judge, &said.access.said, words);
    let says_access = judge.keep_said();
    let access = match says_access {
        true => words.and_then(|words| list(judge, &words, &said.access.said)),
        false => common.map(|common| common.policy.access.clone()),
    };
    judge.enter(format!("{name}.limit"), "[listener.limit]");
    let words = common.map_or(&default_limit, |common| &common.limit);
    let limit = words_of_limit(judge, &said.limit.said, words).map(|words| words.meant());
    judge.keep_said();
    let common = &common?.policy;
    let policy = Policy {
        access: access?,
        limit: limit?,
        budget: common.budget,
        answer: answer?,
        max_stratum: max_stratum?,
    };
    // Those that are the same share their memory.
    Some(if policy == **common {
        Arc::clone(common)
    } else {
        Arc::new(policy)
    })
}

fn words_of_access(judge: &mut Judge<'_>, said: &raw::Access, base: &AccessWords) -> Option<AccessWords> {
    let mode = judge.word("mode", said.mode.as_ref(), &MODES, base.mode.name());
    let default = if base.default { ALLOW } else { DENY };
    let default = judge.word("default", said.default.as_ref(), &DEFAULTS, default);
    let allow = prefixes(judge, ALLOW, said.allow.as_ref(), &base.allow);
    let deny = prefixes(judge, DENY, said.deny.as_ref(), &base.deny);
    let allow_files = files(judge, "allow-files", said.allow_files.as_ref(), &base.allow_files);
    let deny_files = files(judge, "deny-files", said.deny_files.as_ref(), &base.deny_files);
    let on_deny = judge.word("on-deny", said.on_deny.as_ref(), &ON_DENY, base.on_deny.name());
    Some(AccessWords {
        mode: mode?,
        default: default?,
        allow: allow?,
        deny: deny?,
        allow_files: allow_files?,
        deny_files: deny_files?,
        on_deny: on_deny?,
    })
}

fn prefixes(
    judge: &mut Judge<'_>,
    key: &'static str,
    said: Option<&Said>,
    base: &[IpNet],
) -> Option<Vec<IpNet>> {
    judge.list(key, said, base, address::prefix, |net| quoted(&net.to_string()))
}

fn files(
    judge: &mut Judge<'_>,
    key: &'static str,
    said: Option<&Said>,
    base: &[String],
) -> Option<Vec<String>> {
    let read = |text: &str| match text.is_empty() || text.contains(char::is_control) {
        true => Err(Refusal::new("the path of a file with a prefix on each line")),
        false => Ok(text.to_owned()),
    };
    judge.list(key, said, base, read, |path| quoted(path))
}

/// Makes one list of all that is named; `said` tells where.
fn list(judge: &mut Judge<'_>, words: &AccessWords, said: &raw::Access) -> Option<Access> {
    let mut all = Prefixes::default();
    all.extend(words.allow.iter().map(|net| (*net, true)));
    all.extend(words.deny.iter().map(|net| (*net, false)));
    let of_files = [
        ("allow-files", &words.allow_files, said.allow_files.as_ref(), true),
        ("deny-files", &words.deny_files, said.deny_files.as_ref(), false),
    ];
    let mut is_whole = true;
    for (key, paths, said, allowed) in of_files {
        for (index, path) in paths.iter().enumerate() {
            is_whole &= read(judge, key, path, item(said, index), &mut |net| {
                all.push((net, allowed))
            });
        }
    }
    is_whole.then(|| Access::of(all, words.default, words.on_deny, words.mode))
}

fn item(said: Option<&Said>, index: usize) -> Option<&Said> {
    said.and_then(Said::as_list).and_then(|list| list.get(index))
}

/// Gives each prefix of one file. Is it whole and good? One that only the common table names was read, and told, there
/// already.
fn read(
    judge: &mut Judge<'_>,
    key: &str,
    path: &str,
    said: Option<&Said>,
    give: &mut dyn FnMut(IpNet),
) -> bool {
    let path = judge.beside(path);
    let parsed = judge
        .read(&path)
        .and_then(|lines| parse(&path, lines, give).map_err(|error| unreadable(&error)));
    match parsed {
        Ok(faults) => {
            let is_good = faults.is_empty();
            judge.faults.extend(faults.into_iter().filter(|_| said.is_some()));
            is_good
        }
        Err(why) => {
            if let Some(said) = said {
                let found = format!("\"{}\": {why}", excerpt(&path.to_string_lossy()));
                judge.fault(&said.origin, key, found, "", None);
            }
            false
        }
    }
}

fn unreadable(error: &io::Error) -> String {
    match error.kind() == io::ErrorKind::InvalidData {
        true => "is not text in UTF-8".to_owned(),
        false => format!("cannot read: {error}"),
    }
}

/// A prefix or an address a line; what comes after `#` is a comment. Only one line at a time is in memory.
fn parse(path: &Path, mut lines: impl BufRead, give: &mut dyn FnMut(IpNet)) -> io::Result<Vec<Fault>> {
    let (mut faults, mut line, mut number) = (Vec::new(), String::new(), 0);
    loop {
        line.clear();
        number += 1;
        if lines.read_line(&mut line)? == 0 || faults.len() == MOST_FAULTS {
            return Ok(faults);
        }
        let words = line.split('#').next().unwrap_or_default().trim();
        if words.is_empty() {
            continue;
        }
        match address::prefix(words) {
            Ok(net) => give(net),
            Err(refusal) => faults.push(Fault {
                place: Place::File {
                    path: path.to_owned(),
                    line: number,
                    column: line.chars().take_while(|c| c.is_whitespace()).count() + 1,
                },
                key: String::new(),
                found: format!("\"{}\"", excerpt(words)),
                expected: refusal.expected,
                hint: refusal.hint,
            }),
        }
    }
}

fn words_of_limit(judge: &mut Judge<'_>, said: &raw::Limit, base: &LimitWords) -> Option<LimitWords> {
    let mode = judge.word("mode", said.mode.as_ref(), &MODES, base.mode.name());
    let keys = ["interval", "burst", "ipv4-prefix", "ipv6-prefix"];
    let words = [&said.interval, &said.burst, &said.ipv4_prefix, &said.ipv6_prefix];
    let client = bucket(judge, keys, words, &base.client);
    let leak = judge.number("leak", said.leak.as_ref(), 0.01..=0.5, base.leak);
    let kiss = judge.number("kiss", said.kiss.as_ref(), 0.0..=1.0, base.kiss);
    let clients = judge.whole("clients", said.clients.as_ref(), 1024..=16_777_216, base.clients);
    let has_wide = judge.truth("wide", said.wide.as_ref(), base.has_wide);
    let keys = [
        "wide-interval",
        "wide-burst",
        "wide-ipv4-prefix",
        "wide-ipv6-prefix",
    ];
    let words = [
        &said.wide_interval,
        &said.wide_burst,
        &said.wide_ipv4_prefix,
        &said.wide_ipv6_prefix,
    ];
    let wide = bucket(judge, keys, words, &base.wide);
    Some(LimitWords {
        mode: mode?,
        client: client?,
        has_wide: has_wide?,
        wide: wide?,
        leak: leak?,
        kiss: kiss?,
        clients: clients?,
    })
}

/// The ranges leave room for what honest clients do: eight requests at their start, then one in 64 s.
fn bucket(
    judge: &mut Judge<'_>,
    keys: [&'static str; 4],
    said: [&Option<Said>; 4],
    base: &BucketWords,
) -> Option<BucketWords> {
    let [interval, burst, ipv4, ipv6] = keys;
    let [said_interval, said_burst, said_ipv4, said_ipv6] = said.map(Option::as_ref);
    let interval = judge.seconds(interval, said_interval, 0.0001..=64.0, base.interval);
    let burst = judge.whole(burst, said_burst, 8..=1_000_000, base.burst);
    let ipv4_prefix = judge.whole(ipv4, said_ipv4, 8..=32, base.ipv4_prefix);
    let ipv6_prefix = judge.whole(ipv6, said_ipv6, 16..=128, base.ipv6_prefix);
    Some(BucketWords {
        interval: interval?,
        burst: burst?,
        ipv4_prefix: ipv4_prefix?,
        ipv6_prefix: ipv6_prefix?,
    })
}

impl LimitWords {
    fn meant(&self) -> RateLimit {
        RateLimit {
            mode: self.mode,
            client: self.client.meant(),
            wide: self.has_wide.then(|| self.wide.meant()),
            leak: Probability::of(self.leak),
            kiss: Probability::of(self.kiss),
            clients: self.clients,
        }
    }
}

impl BucketWords {
    fn meant(&self) -> Bucket {
        Bucket {
            interval: Duration::try_from_secs_f64(self.interval).unwrap_or(Duration::MAX),
            burst: self.burst,
            ipv4_prefix: self.ipv4_prefix,
            ipv6_prefix: self.ipv6_prefix,
        }
    }
}

fn budget(judge: &mut Judge<'_>, said: &raw::Budget) -> Option<Budget> {
    let mode = judge.word("mode", said.mode.as_ref(), &MODES, RuleMode::On.name());
    let mut ceiling = |key, said: &Option<Said>| {
        let ceiling = judge.number(key, said.as_ref(), 0.0..=1e9, 0.0)?;
        Some((ceiling > 0.0).then_some(ceiling))
    };
    let packets_per_second = ceiling("packets-per-second", &said.packets_per_second);
    let megabits_per_second = ceiling("megabits-per-second", &said.megabits_per_second);
    let gigabytes_per_month = ceiling("gigabytes-per-month", &said.gigabytes_per_month);
    Some(Budget {
        mode: mode?,
        packets_per_second: packets_per_second?,
        megabits_per_second: megabits_per_second?,
        gigabytes_per_month: gigabytes_per_month?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_has_a_prefix_a_line() {
        let text = "# ours\n\n192.0.2.0/24\n  2001:db8::/32 # theirs\r\n192.0.2.7\n";
        let mut shown = Vec::new();
        let faults = parse(Path::new("l"), text.as_bytes(), &mut |net| {
            shown.push(net.to_string())
        })
        .unwrap();
        assert_eq!(shown, ["192.0.2.0/24", "2001:db8::/32", "192.0.2.7/32"]);
        assert!(faults.is_empty());
    }

    #[test]
    fn what_is_wrong_in_a_list_is_placed_and_not_told_for_ever() {
        let faults_in = |text: &str| parse(Path::new("l"), text.as_bytes(), &mut |_| ()).unwrap();
        let faults = faults_in("192.0.2.0/33\n 192.0.2.1/24 # bits\n");
        let told: Vec<String> = faults.iter().map(Fault::to_string).collect();
        assert_eq!(
            told,
            [
                "l:1:1: found \"192.0.2.0/33\", expected an address, or a prefix such as \"192.0.2.0/24\" or \"2001:db8::/32\"",
                "l:2:2: found \"192.0.2.1/24\", expected a prefix without bits beyond its length; did you mean \"192.0.2.0/24\"?",
            ]
        );
        assert_eq!(faults_in(&"x\n".repeat(1000)).len(), MOST_FAULTS);
    }
}
