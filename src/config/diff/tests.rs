//! Pure. Tests of the difference between configurations.

use super::*;
use std::path::Path;
use std::sync::LazyLock;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;

use super::super::{CensusKeys, Control, HistoryKeys, Metrics, Process, Ready};
use crate::cli::Flags;
use crate::fast_path::AttachMode;
use crate::host::privileges::LowPorts;
use crate::server::policy::Policy;
use crate::server::{Steering, Tuning};
use crate::symmetric::{DigestType, KeyId, SymmetricKey};
use crate::time::NtpDuration;
use crate::upstream::clock_policy::LocalReference;
use crate::upstream::nts::trusted::TrustedCertificates;
use crate::upstream::{Host, KeServer};

/// The configuration without a file.
static DEFAULT: LazyLock<Config> =
    LazyLock::new(|| super::super::load(&Flags::default(), None).unwrap().config);

/// Returns the policy of this number; each call makes a new one, as each reading of a file does.
fn policy(number: u8) -> Arc<Policy> {
    Arc::new(Policy {
        max_stratum: 1 + number,
        ..Policy::clone(&DEFAULT.listeners[0].policy)
    })
}

fn listener() -> impl Strategy<Value = Listener> {
    let steering = prop_oneof![
        Just(Steering::Source),
        Just(Steering::Cpu),
        Just(Steering::Kernel)
    ];
    (
        "127\\.0\\.0\\.[1-6]:123|\\[::[1-4]\\]:123",
        1..5_u16,
        steering,
        0..2_u8,
    )
        .prop_map(|(address, workers, steering, number)| Listener {
            address: address.parse().unwrap(),
            workers,
            steering,
            required: workers > 3,
            tuning: Tuning {
                batch: workers,
                ..Tuning::default()
            },
            policy: policy(number),
        })
}

fn upstream() -> impl Strategy<Value = Upstream> {
    (0..8_u8, any::<bool>(), 1..4_i8, any::<bool>(), 0..4_u8).prop_map(
        |(number, iburst, minpoll, prefer, nts)| {
            let server = KeServer {
                port: 4460 + u16::from(nts),
                ca: None,
                trusted: TrustedCertificates::example(number),
            };
            let mut upstream = Upstream {
                host: Host::Name(format!("n{number}.example")),
                port: 123,
                iburst,
                minpoll,
                maxpoll: 10,
                role: crate::upstream::Role::default(),
                interleaved: crate::upstream::interleaved::InterleavedQuestions::Auto,
                pooling: crate::upstream::Pooling::One,
                nts: Some(server).filter(|_| nts < 2),
                key: SymmetricKey::new(KeyId::MIN, DigestType::Sha1, vec![number])
                    .ok()
                    .filter(|_| nts == 2)
                    .map(Arc::new),
            };
            upstream.role.prefer = prefer;
            upstream
        },
    )
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
            let base = DEFAULT.clone();
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
                    ..base.control.clone()
                },
                census: CensusKeys {
                    enabled,
                    ..base.census
                },
                metrics: if metrics {
                    Metrics::Tcp(([127, 0, 0, 1], 9923).into())
                } else {
                    Metrics::Nowhere
                },
                metrics_page: metrics,
                history: HistoryKeys {
                    directory: metrics.then(|| "/var/lib/ntpfront/history".into()),
                    ..base.history.clone()
                },
                fast_path: FastPath {
                    interfaces: ["eth0", "eth1"]
                        .iter()
                        .skip(3 - usize::from(min_sources))
                        .map(|name| (*name).to_owned())
                        .collect(),
                    mode: if enabled {
                        AttachMode::Native
                    } else {
                        AttachMode::Generic
                    },
                },
                log_level,
                log_format: if enabled { LogFormat::Json } else { LogFormat::Auto },
                clock: ClockPolicy {
                    min_sources,
                    local: Some(local),
                    ..base.clock
                },
                leap_seconds: leap_seconds.map(PathBuf::from),
                budget: Budget {
                    packets_per_second: (min_sources > 2).then_some(1000.0),
                    ..base.budget
                },
                symmetric_keys: KeysInUse {
                    file: (min_sources > 1).then(|| "/k".into()),
                    ..base.symmetric_keys
                },
                nts: NtsKeys {
                    keep: min_sources.into(),
                    ..base.nts
                },
                nts_client: NtsClientKeys {
                    roots: (min_sources > 1).then(|| PathBuf::from("/roots.pem")),
                    ..base.nts_client
                },
                listeners,
                ke_ports: super::super::upstreams::ke_ports(&upstreams),
                upstreams,
            }
        },
    )
}

/// Returns `config` with the keys that need a restart as in `running`.
fn without_restart(config: &Config, running: &Config, has_fast_path: bool) -> Config {
    let mut config = config.clone();
    config.process = running.process.clone();
    config.control = running.control.clone();
    config.census = running.census;
    config.metrics = running.metrics.clone();
    config.metrics_page = running.metrics_page;
    config.history = running.history.clone();
    if !has_fast_path {
        config.fast_path = running.fast_path.clone();
    }
    config.ke_ports = running.ke_ports.clone();
    config
}

fn is_empty(difference: &Difference) -> bool {
    difference.restart.is_empty() && difference.changes().is_empty()
}

/// A port that the sandbox of the start does not permit; without a sandbox all are.
#[test]
fn a_new_port_of_key_establishment_needs_a_restart() {
    let with = |landlock, ports: &[u16]| {
        let mut config = DEFAULT.clone();
        config.process.landlock = landlock;
        config.ke_ports = ports.iter().copied().collect();
        config
    };
    let told = |landlock, ports: &[u16], wanted: &[u16]| {
        let (mut running, wanted) = (with(landlock, ports), with(landlock, wanted));
        let difference = Difference::between(&running, &wanted, false);
        running.apply(&difference);
        assert_eq!(running.ke_ports, ports.iter().copied().collect());
        difference.restart.first().map(ToString::to_string)
    };
    let line = "upstream.ke-port: only a restart changes it from [4460] to [4460, 4461]";
    assert_eq!(told(true, &[4460], &[4460, 4461]).as_deref(), Some(line));
    assert_eq!(told(false, &[4460], &[4460, 4461]), None);
    assert_eq!(told(true, &[4460, 4461], &[4460]), None);
}

proptest! {
    #[test]
    fn a_difference_leads_from_one_to_the_other(running in config(), wanted in config(), has_fast_path: bool) {
        let mut model = running.clone();
        let difference = Difference::between(&running, &wanted, has_fast_path);
        model.apply(&difference);
        prop_assert_eq!(&model, &without_restart(&wanted, &running, has_fast_path));
        let restarts =
            |config: &Config| (config.process.clone(), config.control.clone(), config.census, config.metrics.clone());
        let is_same_path = has_fast_path || running.fast_path == wanted.fast_path;
        let is_same = restarts(&running) == restarts(&wanted)
            && is_same_path
            && ke_ports(&running, &wanted).is_none();
        prop_assert_eq!(difference.restart.is_empty(), is_same);
        prop_assert_eq!(Difference::between(&model, &wanted, has_fast_path).changes(), Vec::<String>::new());
        // Each part tells what it changes.
        let is_told = !difference.changes().is_empty();
        prop_assert_eq!(is_told, model != running);
    }

    #[test]
    fn what_stays_keeps_its_memory(running in config(), wanted in config(), has_fast_path: bool) {
        let mut model = running.clone();
        model.apply(&Difference::between(&running, &wanted, has_fast_path));
        for one in &model.listeners {
            let old = running.listeners.iter().find(|old| old.address == one.address);
            let equal = old.filter(|old| old.policy == one.policy);
            prop_assert!(equal.is_none_or(|old| Arc::ptr_eq(&old.policy, &one.policy)));
        }
    }

    #[test]
    fn nothing_leads_to_the_same(running in config(), has_fast_path: bool) {
        prop_assert!(is_empty(&Difference::between(&running, &running, has_fast_path)));
    }

    /// Only the order changes: nothing else is done for it.
    #[test]
    fn another_order_changes_only_the_order(running in config()) {
        let mut turned = running.clone();
        turned.listeners.reverse();
        turned.upstreams.reverse();
        let difference = Difference::between(&running, &turned, false);
        let several = [running.upstreams.len() > 1, running.listeners.len() > 1];
        let lines = ["upstreams: another order", "listeners: another order"];
        let expected: Vec<_> = lines.iter().zip(several).filter(|(_, several)| *several).map(|(line, _)| *line).collect();
        prop_assert_eq!(difference.changes(), expected);
        prop_assert!(difference.restart.is_empty());
        let mut model = running.clone();
        model.apply(&difference);
        prop_assert_eq!(model, turned);
    }
}

/// Returns the changes from one file to another, a line each.
fn told(running: &str, wanted: &str) -> String {
    let load = |text| {
        super::super::load(&Flags::default(), Some((Path::new("f"), text)))
            .unwrap()
            .config
    };
    let difference = Difference::between(&load(running), &load(wanted), false);
    let restarts = difference.restart.iter().map(ToString::to_string);
    let lines = restarts.chain(difference.changes());
    lines.map(|line| line + "\n").collect()
}

#[test]
fn each_change_is_told_in_the_order_in_which_it_is_made() {
    let running = "[process]\nuser = \"a\"\n[[listener]]\naddress = \"127.0.0.1:1\"\n[[listener]]\naddress = \"[::1]:1\"\n\
                   [[upstream]]\naddress = \"a\"\n[[upstream]]\naddress = \"b\"";
    let wanted = "[process]\nchroot = \"/\"\n[log]\nlevel = \"debug\"\nformat = \"json\"\n[clock]\nleap-seconds = \"\"\nmin-sources = 2\n\
                  [[listener]]\naddress = \"127.0.0.2:1\"\nworkers = 2\n\
                  [[listener]]\naddress = \"127.0.0.1:1\"\nworkers = 4\nsteering = \"cpu\"\nrequired = true\npin = true\nlimit.mode = \"on\"\n\
                  access.deny = [\"192.0.2.0/24\"]\n[budget]\nmegabits-per-second = 5\n\
                  [[upstream]]\naddress = \"c\"\n[[upstream]]\naddress = \"B.\"\nprefer = true";
    let expected = "\
process.user: only a restart changes it from \"a\" to not set
process.chroot: only a restart changes it from not set to \"/\"
log.level: debug
log.format: json
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
