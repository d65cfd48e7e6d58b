//! Pure. From the configuration that runs to the one that is wanted: what has to be done.
//!
//! The order in which listeners and upstreams stand in a file means nothing.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use super::Config;
use crate::observe::LogLevel;
use crate::server::Listener;
use crate::server::policy::Policy;
use crate::server::policy::budget::Budget;
use crate::upstream::Upstream;
use crate::upstream::system_process::ClockPolicy;

/// One difference. Its text is for the operator.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// A key that only a restart can change.
    Restart(Restart),
    /// Messages from another level on.
    LogLevel(LogLevel),
    /// What must hold before a time is believed and served.
    Clock(ClockPolicy),
    /// Another list of leap seconds.
    LeapSeconds(Option<PathBuf>),
    /// Not asked any more.
    RemoveUpstream(Upstream),
    /// Asked from now on.
    AddUpstream(Upstream),
    /// The same server, asked or believed in another way.
    ChangeUpstream(Box<[Upstream; 2]>),
    /// Another ceiling for all that is sent.
    Budget(Budget),
    /// Other clients are answered at this address, or in another way.
    Policy(SocketAddr, Arc<Policy>),
    /// Served from now on, by this policy.
    OpenListener(Listener, Arc<Policy>),
    /// The same address, served by more or fewer workers, or steered or tuned in another way.
    ChangeListener([Listener; 2]),
    /// Not served any more.
    CloseListener(Listener),
}

/// A key that only a restart can change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restart {
    /// As a dotted path: `process.user`.
    pub key: String,
    /// The value in force, as TOML; `not set` if there is none.
    pub running: String,
    /// The value after a restart.
    pub wanted: String,
}

/// What leads from `running` to `wanted`, in the order in which it is to be done: nothing if they mean the same.
pub fn diff(running: &Config, wanted: &Config) -> Vec<Change> {
    let mut changes = restarts(running, wanted);
    if running.log_level != wanted.log_level {
        changes.push(Change::LogLevel(wanted.log_level));
    }
    if running.clock != wanted.clock {
        changes.push(Change::Clock(wanted.clock));
    }
    if running.leap_seconds != wanted.leap_seconds {
        changes.push(Change::LeapSeconds(wanted.leap_seconds.clone()));
    }
    changes.extend(upstreams(&running.upstreams, &wanted.upstreams));
    if running.budget != wanted.budget {
        changes.push(Change::Budget(wanted.budget));
    }
    changes.extend(policies(running, wanted));
    changes.extend(listeners(running, wanted));
    changes
}

fn restarts(running: &Config, wanted: &Config) -> Vec<Change> {
    let both = running.restart_only().into_iter().zip(wanted.restart_only());
    both.filter(|(running, wanted)| running != wanted)
        .map(|((key, running), (_, wanted))| {
            Change::Restart(Restart {
                key: key.to_owned(),
                running,
                wanted,
            })
        })
        .collect()
}

fn upstreams(running: &[Upstream], wanted: &[Upstream]) -> Vec<Change> {
    let same = |one: &Upstream, other: &Upstream| one.endpoint() == other.endpoint();
    let gone = paired(running, wanted, same)
        .filter(|(_, pair)| pair.is_none())
        .map(|(one, _)| Change::RemoveUpstream(one.clone()));
    let others = paired(wanted, running, same).filter_map(|(one, pair)| match pair {
        None => Some(Change::AddUpstream(one.clone())),
        Some(old) if old != one => Some(Change::ChangeUpstream(Box::new([old.clone(), one.clone()]))),
        Some(_) => None,
    });
    gone.chain(others).collect()
}

/// The policies of listeners that stay.
fn policies(running: &Config, wanted: &Config) -> impl Iterator<Item = Change> {
    wanted.policies.iter().filter_map(|(address, policy)| {
        let old = running.policies.get(address)?;
        (old != policy).then(|| Change::Policy(*address, Arc::clone(policy)))
    })
}

/// What is closed comes last: a client that moves with the change finds somebody at all times.
fn listeners(running: &Config, wanted: &Config) -> Vec<Change> {
    let policies = &wanted.policies;
    let (running, wanted) = (&running.listeners, &wanted.listeners);
    let same = |one: &Listener, other: &Listener| one.address == other.address;
    let others = paired(wanted, running, same).filter_map(|(one, pair)| match pair {
        None => {
            let policy = policies.get(&one.address)?;
            Some(Change::OpenListener(*one, Arc::clone(policy)))
        }
        Some(old) if old != one => Some(Change::ChangeListener([*old, *one])),
        Some(_) => None,
    });
    let gone = paired(running, wanted, same)
        .filter(|(_, pair)| pair.is_none())
        .map(|(one, _)| Change::CloseListener(*one));
    others.chain(gone).collect()
}

/// Each of `ones`, with what is the same among `others`.
fn paired<'a, T>(
    ones: &'a [T],
    others: &'a [T],
    same: impl Fn(&T, &T) -> bool + 'a,
) -> impl Iterator<Item = (&'a T, Option<&'a T>)> {
    ones.iter()
        .map(move |one| (one, others.iter().find(|other| same(one, other))))
}

impl Change {
    /// Is it one that only a restart makes?
    pub const fn needs_restart(&self) -> bool {
        matches!(self, Self::Restart(_))
    }
}

impl Config {
    /// What runs after `change` was made; a restart-only key stays as it is.
    pub fn apply(&mut self, change: &Change) {
        match change {
            Change::Restart(_) => {}
            Change::LogLevel(level) => self.log_level = *level,
            Change::Clock(policy) => self.clock = *policy,
            Change::LeapSeconds(path) => self.leap_seconds.clone_from(path),
            Change::RemoveUpstream(gone) => self.upstreams.retain(|one| one.endpoint() != gone.endpoint()),
            Change::AddUpstream(new) => self.upstreams.push(new.clone()),
            Change::ChangeUpstream(pair) => {
                let [_, new] = pair.as_ref();
                let old = self
                    .upstreams
                    .iter_mut()
                    .find(|one| one.endpoint() == new.endpoint());
                old.into_iter().for_each(|old| old.clone_from(new));
            }
            Change::Budget(budget) => self.budget = *budget,
            Change::Policy(address, policy) => {
                self.policies.insert(*address, Arc::clone(policy));
            }
            Change::OpenListener(new, policy) => {
                self.listeners.push(*new);
                self.policies.insert(new.address, Arc::clone(policy));
            }
            Change::ChangeListener([_, new]) => {
                let old = self.listeners.iter_mut().find(|one| one.address == new.address);
                old.into_iter().for_each(|old| *old = *new);
            }
            Change::CloseListener(gone) => {
                self.listeners.retain(|one| one.address != gone.address);
                self.policies.remove(&gone.address);
            }
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Restart(Restart { key, running, wanted }) => {
                write!(f, "{key}: only a restart changes it from {running} to {wanted}")
            }
            Self::LogLevel(level) => write!(f, "log.level: {}", level.name()),
            Self::Clock(_) => f.write_str("clock: other settings"),
            Self::LeapSeconds(Some(path)) => write!(f, "clock.leap-seconds: {}", path.display()),
            Self::LeapSeconds(None) => f.write_str("clock.leap-seconds: none"),
            Self::RemoveUpstream(one) => write!(f, "upstream {one}: removed"),
            Self::AddUpstream(one) => write!(f, "upstream {one}: added"),
            Self::ChangeUpstream(pair) => {
                let [_, new] = pair.as_ref();
                write!(f, "upstream {new}: other settings, its samples stay")
            }
            Self::Budget(_) => f.write_str("budget: other ceilings"),
            Self::Policy(address, policy) => write!(f, "listener {address}: other policy: {policy}"),
            Self::OpenListener(one, _) => {
                write!(f, "listener {}: added, workers {}", one.address, one.workers)
            }
            Self::ChangeListener([old, new]) => {
                let (address, from, to) = (new.address, old.workers, new.workers);
                write!(f, "listener {address}: workers {from} -> {to}")?;
                let steered = (old.steering != new.steering).then_some(", steered in another way");
                let tuned = (old.tuning != new.tuning).then_some(", tuned in another way");
                let required = match (old.required, new.required) {
                    (false, true) => Some(", required from now on"),
                    (true, false) => Some(", not required any more"),
                    (false, false) | (true, true) => None,
                };
                [steered, tuned, required]
                    .into_iter()
                    .flatten()
                    .try_for_each(|words| f.write_str(words))
            }
            Self::CloseListener(one) => write!(f, "listener {}: removed", one.address),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;
    use std::time::Duration;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::super::{Census, Control, FastPath, Metrics, Process, Ready};
    use crate::cli::Flags;
    use crate::host::privileges::LowPorts;
    use crate::host::xdp_mode::Mode;
    use crate::server::{Steering, Tuning};
    use crate::time::NtpDuration;
    use crate::upstream::Host;
    use crate::upstream::system_process::LocalReference;

    fn listener() -> impl Strategy<Value = Listener> {
        let steering = prop_oneof![
            Just(Steering::Source),
            Just(Steering::Cpu),
            Just(Steering::Kernel)
        ];
        ("127\\.0\\.0\\.[1-6]:123|\\[::[1-4]\\]:123", 1..5_u16, steering).prop_map(
            |(address, workers, steering)| Listener {
                address: address.parse().unwrap(),
                workers,
                steering,
                required: workers > 3,
                tuning: Tuning {
                    batch: workers,
                    ..Tuning::default()
                },
            },
        )
    }

    fn upstream() -> impl Strategy<Value = Upstream> {
        (0..8_u8, any::<bool>(), 1..4_i8, any::<bool>()).prop_map(|(number, iburst, minpoll, prefer)| {
            let mut upstream = Upstream {
                host: Host::Name(format!("n{number}.example")),
                port: 123,
                iburst,
                minpoll,
                maxpoll: 10,
                role: crate::upstream::Role::default(),
            };
            upstream.role.prefer = prefer;
            upstream
        })
    }

    fn config() -> impl Strategy<Value = Config> {
        let ready = prop_oneof![Just(Ready::Serving), Just(Ready::Synchronized)];
        let low_ports = prop_oneof![Just(LowPorts::Auto), Just(LowPorts::Never)];
        let socket = proptest::option::of("/[a-c]");
        let process = (
            proptest::option::of("[a-c]"),
            proptest::option::of("/[a-c]"),
            (ready, low_ports, any::<bool>(), any::<bool>()),
            (socket, any::<bool>(), any::<bool>()),
        );
        let level = prop_oneof![Just(LogLevel::Info), Just(LogLevel::Debug)];
        let lists = (vec(listener(), 1..8), vec(upstream(), 0..8));
        (process, level, 1..4_u8, proptest::option::of("/[ab]"), lists).prop_map(
            |(
                (user, chroot, (ready, keep_low_ports, landlock, seccomp), (socket, enabled, metrics)),
                log_level,
                min_sources,
                leap_seconds,
                (mut listeners, mut upstreams),
            )| {
                let base = super::super::load(&Flags::default(), None).unwrap().config;
                let policy = base.policies.values().next().unwrap();
                let mut other = Policy::clone(policy);
                other.max_stratum = 7;
                let policies = [Arc::clone(policy), Arc::new(other)];
                listeners.sort_by_key(|one| one.address);
                listeners.dedup_by_key(|one| one.address);
                upstreams.sort_by_key(Upstream::to_string);
                upstreams.dedup_by_key(|one| one.to_string());
                let local = LocalReference {
                    stratum: min_sources,
                    wait: Duration::ZERO,
                    distance: NtpDuration::ZERO,
                };
                Config {
                    process: Process {
                        user,
                        chroot: chroot.map(PathBuf::from),
                        keep_low_ports,
                        landlock,
                        seccomp,
                        ready,
                    },
                    control: Control {
                        socket: socket.map(PathBuf::from),
                    },
                    census: Census {
                        enabled,
                        ..base.census
                    },
                    metrics: if metrics {
                        Metrics::Tcp(([127, 0, 0, 1], 9923).into())
                    } else {
                        Metrics::Nowhere
                    },
                    fast_path: FastPath {
                        interfaces: if metrics {
                            vec!["eth0".to_owned()]
                        } else {
                            Vec::new()
                        },
                        mode: Mode::default(),
                    },
                    log_level,
                    clock: ClockPolicy {
                        min_sources,
                        local: Some(local),
                        ..base.clock
                    },
                    leap_seconds: leap_seconds.map(PathBuf::from),
                    policies: listeners
                        .iter()
                        .map(|one| (one.address, Arc::clone(&policies[usize::from(one.workers % 2)])))
                        .collect(),
                    budget: Budget {
                        packets_per_second: (min_sources > 2).then_some(1000.0),
                        ..base.budget
                    },
                    listeners,
                    upstreams,
                }
            },
        )
    }

    /// The order in a file means nothing, and what needs a restart has not had one.
    fn sorted(config: &Config, running: &Config) -> Config {
        let mut config = config.clone();
        config.process = running.process.clone();
        config.control = running.control.clone();
        config.census = running.census;
        config.metrics = running.metrics.clone();
        config.fast_path = running.fast_path.clone();
        config.listeners.sort_by_key(|one| one.address);
        config.upstreams.sort_by_key(Upstream::to_string);
        config
    }

    proptest! {
        #[test]
        fn the_changes_lead_from_one_to_the_other(running in config(), wanted in config()) {
            let mut model = running.clone();
            let changes = diff(&running, &wanted);
            changes.iter().for_each(|change| model.apply(change));
            prop_assert_eq!(sorted(&model, &running), sorted(&wanted, &running));
            let needs_restart = changes.iter().any(Change::needs_restart);
            let restarts =
                |config: &Config| (config.process.clone(), config.control.clone(), config.census, config.metrics.clone());
            prop_assert_eq!(needs_restart, restarts(&running) != restarts(&wanted));
            prop_assert!(diff(&model, &wanted).iter().all(Change::needs_restart));
        }

        #[test]
        fn nothing_leads_to_the_same(running in config()) {
            prop_assert_eq!(diff(&running, &running), vec![]);
            let mut turned = running.clone();
            turned.listeners.reverse();
            turned.upstreams.reverse();
            prop_assert_eq!(diff(&running, &turned), vec![]);
        }
    }

    /// The changes from one file to another, a line each.
    fn told(running: &str, wanted: &str) -> String {
        let load = |text| {
            super::super::load(&Flags::default(), Some((Path::new("f"), text)))
                .unwrap()
                .config
        };
        let changes = diff(&load(running), &load(wanted));
        changes.iter().map(|change| format!("{change}\n")).collect()
    }

    #[test]
    fn each_change_is_told_in_the_order_in_which_it_is_made() {
        let running = "[process]\nuser = \"a\"\n[[listener]]\naddress = \"127.0.0.1:1\"\n[[listener]]\naddress = \"[::1]:1\"\n\
                       [[upstream]]\naddress = \"a\"\n[[upstream]]\naddress = \"b\"";
        let wanted = "[process]\nchroot = \"/\"\n[log]\nlevel = \"debug\"\n[clock]\nleap-seconds = \"\"\nmin-sources = 2\n\
                      [[listener]]\naddress = \"127.0.0.2:1\"\nworkers = 2\n\
                      [[listener]]\naddress = \"127.0.0.1:1\"\nworkers = 4\nsteering = \"cpu\"\nrequired = true\npin = true\nlimit.mode = \"on\"\n\
                      access.deny = [\"192.0.2.0/24\"]\n[budget]\nmegabits-per-second = 5\n\
                      [[upstream]]\naddress = \"c\"\n[[upstream]]\naddress = \"B.\"\nprefer = true";
        let expected = "\
process.user: only a restart changes it from \"a\" to not set
process.chroot: only a restart changes it from not set to \"/\"
log.level: debug
clock: other settings
clock.leap-seconds: none
upstream a:123: removed
upstream c:123: added
upstream B.:123: other settings, its samples stay
budget: other ceilings
listener 127.0.0.1:1: other policy: access on (2 boundaries), limit on, budget on
listener 127.0.0.2:1: added, workers 2
listener 127.0.0.1:1: workers 1 -> 4, steered in another way, tuned in another way, required from now on
listener [::1]:1: removed
";
        assert_eq!(told(running, wanted), expected);
    }
}
