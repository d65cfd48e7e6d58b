//! Pure. The needs of a configuration, descriptors and memory, and the system's limits that are too low for it.

use crate::census::SampledCensus;
use crate::config::Config;
use crate::control::{http, server};
use crate::fast_path::{MOST_INTERFACES, client_capacity};
use crate::history::ring::HistoryRing;
use crate::ke::admission::SILENT;
use crate::server::SavedTimestamps;
use crate::server::policy::access::Access;
use crate::server::policy::memory::of_worker;
use crate::upstream::{Host, Upstream};

/// Descriptors of every server (*measured*: 20, and those that are open for a moment).
///
/// They are standard streams, log, signals, runtime, service manager, the kernel's notices, and handles to
/// the files of the configuration, of names and of leap seconds.
const FIXED_FILES: u64 = 32;
/// Descriptors per upstream: its query, and the kernel's notices while it can't be polled.
const FILES_AN_UPSTREAM: u64 = 2;
/// Descriptors per name, while it is resolved: two queries to two name servers, and one more over TCP.
const FILES_A_NAME: u64 = 5;
/// Descriptors per list: the handle, and the file while it is read.
const FILES_A_LIST: u64 = 3;
/// Descriptors of the fast path, beside one for each interface that there may be: program, maps, and a timer.
const FAST_FILES: u64 = 16;

/// Memory of every server, in bytes (*measured*: 10 MB).
///
/// It is the pages of the program that are in use, and the supervisor's own.
const FIXED_MEMORY: u64 = 11 << 20;
/// Memory per HTTP connection, in bytes.
const MEMORY_A_READER: u64 = 32 << 10;
/// Memory of a session of key establishment with its TLS, in bytes (*measured*: 12 kB).
const MEMORY_A_SESSION: u64 = 16 << 10;
/// Memory of a connection whose ClientHello is not there, in bytes (*measured*: 2 kB).
const MEMORY_A_SILENT_SESSION: u64 = 2 << 10;
/// Memory of the kernel's fast path per client, in bytes.
const FAST_MEMORY: u64 = 32;
/// Copies of a list while it is read again, beside the old one: the entries, and the table made from them.
const LISTS_IN_RELOAD: u64 = 2;
/// Address space without memory behind it, in bytes: the program with its libraries.
const PROGRAM: u64 = 64 << 20;
/// Address space of a thread's stack, in bytes.
const STACK: u64 = 2 << 20;
/// Address space of one of glibc's arenas, in bytes.
const ARENA: u64 = 64 << 20;
const ARENAS_A_CPU: u64 = 8;
/// Threads beside the workers: supervisor, log, signals, the one that reads a configuration, and the fast path's.
const OTHER_THREADS: u64 = 5;

/// The needs of a configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Needs {
    /// Largest number of descriptors.
    pub files: u64,
    /// Bytes of memory of the process, with all tables full.
    pub memory: u64,
    /// Additional bytes while lists are read again.
    pub in_reload: u64,
    /// Largest number of bytes in the kernel: packet queues, and the fast path's clients.
    pub kernel: u64,
    /// Largest number of threads.
    pub threads: u64,
}

/// The system's limits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SystemLimits {
    /// Number of descriptors.
    pub files: u64,
    /// Bytes of memory, and the source of the limit, if there is one.
    pub memory: Option<(u64, String)>,
    /// Bytes of address space, if there is a limit.
    pub addresses: Option<u64>,
    /// Number of CPUs.
    pub cpus: u64,
}

impl Needs {
    /// Computes the needs of `config`, which has this many `lists`, in a process that has the fast path already or not.
    ///
    /// Once it is there it stays, even where the configuration names no interface any more.
    pub fn of(config: &Config, lists: usize, has_fast_path: bool) -> Self {
        let fast = has_fast_path || config.fast_path.is_wanted();
        let workers: u64 = config.listeners.iter().map(|one| u64::from(one.workers)).sum();
        let lists_memory = lists_memory(config);
        Self {
            files: files(config, lists, workers, fast),
            memory: memory(config, lists_memory, fast),
            in_reload: lists_memory.saturating_mul(LISTS_IN_RELOAD),
            kernel: kernel(config, fast),
            threads: workers + OTHER_THREADS + ke_threads(config),
        }
    }

    /// Returns the `limits` that are too low, a line each, with the numbers and the remedy.
    pub fn shortfalls(&self, limits: &SystemLimits) -> Vec<String> {
        let (files, allowed) = (self.files, limits.files);
        let files = (files > allowed).then(|| {
            format!(
                "the limit of open files is low: {allowed}, and up to {files} are needed: raise LimitNOFILE=, or use fewer workers"
            )
        });
        let all = self.memory + self.in_reload + self.kernel;
        let memory = limits.memory.as_ref().filter(|(most, _)| all > *most);
        let memory = memory.map(|(most, whose)| {
            format!(
                "the limit of memory is low: {} ({whose}), and up to {} are needed (tables {}, a reload of lists {}, the kernel's queues {}): raise MemoryMax=, or lower limit.clients, census.clients, receive-buffer or the number of workers",
                mebibytes(*most),
                mebibytes(all),
                mebibytes(self.memory),
                mebibytes(self.in_reload),
                mebibytes(self.kernel)
            )
        });
        let wanted = self.addresses(limits.cpus);
        let addresses = limits.addresses.filter(|most| wanted > *most);
        let addresses = addresses.map(|most| {
            format!(
                "the limit of address space is low: {}, and up to {} are needed: raise LimitAS=, or lower limit.clients, census.clients or the number of workers",
                mebibytes(most),
                mebibytes(wanted)
            )
        });
        files.into_iter().chain(memory).chain(addresses).collect()
    }

    /// Returns the needed bytes of address space (`RLIMIT_AS`), on a host with this many CPUs.
    pub fn addresses(&self, cpus: u64) -> u64 {
        // One more while an arena is being created.
        let arenas = self.threads.min(ARENAS_A_CPU * cpus) + 1;
        PROGRAM + self.threads * STACK + arenas * ARENA + self.memory + self.in_reload
    }
}

fn ke_threads(config: &Config) -> u64 {
    match config.nts.establishes() {
        true => config.nts.threads.into(),
        false => 0,
    }
}

fn files(config: &Config, lists: usize, workers: u64, fast: bool) -> u64 {
    // One more for checking whether an address is there.
    let listeners = workers + 1;
    let upstreams = config.upstreams.iter().map(|one| match one.host {
        // Each member may have one on trial beside it.
        Host::Name(_) if one.votes() > 1 => FILES_A_NAME + 2 * count(one.votes()) * FILES_AN_UPSTREAM,
        Host::Name(_) => FILES_AN_UPSTREAM + FILES_A_NAME,
        Host::Address(_) | Host::LinkLocal(..) => FILES_AN_UPSTREAM,
    });
    let control = config
        .control
        .socket
        .as_ref()
        .map_or(0, |_| 1 + server::CLIENTS + server::WATCHERS);
    let http = match config.metrics {
        crate::config::Metrics::Nowhere => 0,
        // The new connection, before the one that makes room for it is closed.
        crate::config::Metrics::Tcp(_) | crate::config::Metrics::Unix(_) => 2 + http::CONNECTIONS,
    };
    // A reload may name others.
    let fast = match fast {
        false => 0,
        true => FAST_FILES + count(MOST_INTERFACES),
    };
    let ke = match config.nts.establishes() {
        // Each thread has a handle of its own on each socket, and the three of its runtime.
        true => {
            let listeners = count(config.nts.listen.len());
            let threads = u64::from(config.nts.threads);
            listeners + threads * (listeners + 3) + most_sessions(config)
        }
        false => 0,
    };
    let lists =
        (count(lists) + count(config.nts.paths().chain(&config.symmetric_keys.file).count())) * FILES_A_LIST;
    FIXED_FILES + listeners + upstreams.sum::<u64>() + count(control + http) + lists + fast + ke
}

fn memory(config: &Config, lists: u64, fast: bool) -> u64 {
    let census = config.census.enabled.then_some(config.census.clients);
    let fast = census.filter(|_| fast);
    let fast = fast.map_or(0, SampledCensus::memory);
    let workers = config
        .listeners
        .iter()
        .map(|one| u64::from(one.workers).saturating_mul(of_worker(&one.policy, census)));
    let http = match config.metrics {
        crate::config::Metrics::Nowhere => 0,
        crate::config::Metrics::Tcp(_) | crate::config::Metrics::Unix(_) => {
            count(http::CONNECTIONS) * MEMORY_A_READER
        }
    };
    let ke = match config.nts.establishes() {
        true => {
            let busy = u64::from(config.nts.sessions) * MEMORY_A_SESSION;
            busy + most_sessions(config) * MEMORY_A_SILENT_SESSION
        }
        false => 0,
    };
    let saved = config
        .listeners
        .iter()
        .filter_map(|one| one.tuning.saved_timestamps);
    let saved = saved.map(SavedTimestamps::memory);
    let history = HistoryRing::memory(config.upstreams.iter().map(Upstream::votes).sum());
    FIXED_MEMORY + workers.sum::<u64>() + saved.sum::<u64>() + http + lists + fast + ke + history
}

/// Returns the largest number of connections for key establishment, those included whose client is silent.
fn most_sessions(config: &Config) -> u64 {
    let sessions = u64::from(config.nts.sessions);
    sessions + sessions * u64::from(SILENT)
}

/// Returns the memory of all lists, each once however many listeners share it.
fn lists_memory(config: &Config) -> u64 {
    let mut seen: Vec<&Access> = Vec::new();
    for listener in &config.listeners {
        let access = &listener.policy.access;
        if !seen.iter().any(|one| one.shares_list(access)) {
            seen.push(access);
        }
    }
    seen.iter().map(|access| count(access.memory())).sum()
}

fn kernel(config: &Config, fast: bool) -> u64 {
    let queues = config.listeners.iter().map(|one| {
        // The kernel doubles the given size, for its own needs.
        u64::from(one.workers) * 2 * u64::from(one.tuning.receive_buffer)
    });
    let fast = match fast {
        false => 0,
        true => {
            u64::from(client_capacity(
                config.listeners.iter().map(|listener| &*listener.policy),
            )) * FAST_MEMORY
        }
    };
    queues.sum::<u64>() + fast
}

fn mebibytes(bytes: u64) -> String {
    format!("{} MiB", bytes.div_ceil(1 << 20))
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Flags;
    use std::path::Path;

    fn needs(text: &str) -> Needs {
        let loaded = crate::config::load(&Flags::default(), Some((Path::new("f"), text))).unwrap();
        Needs::of(&loaded.config, loaded.lists, false)
    }

    const FEW: &str = "control.socket = \"\"\nupstream = []\nlocal.enabled = true\ncensus.enabled = false\n";

    #[test]
    fn a_fast_path_that_is_there_needs_what_one_with_interfaces_does() {
        let of = |interfaces: &str, has_fast_path| {
            let text = format!("fast-path.interfaces = [{interfaces}]\n");
            let loaded = crate::config::load(&Flags::default(), Some((Path::new("f"), &text))).unwrap();
            Needs::of(&loaded.config, loaded.lists, has_fast_path)
        };
        assert_eq!(of("", true), of("\"eth0\"", false));
        assert!(of("", false).files < of("", true).files);
    }

    #[test]
    fn each_part_needs_its_own() {
        let base = needs(&format!("{FEW}[[listener]]\naddress = \"127.0.0.1:1\"\n"));
        assert_eq!((base.files, base.threads), (FIXED_FILES + 2, OTHER_THREADS + 1));
        for (text, files, memory, kernel) in [
            (
                "[[listener]]\naddress = \"127.0.0.1:1\"\nworkers = 5\n",
                4,
                4 * 966_656,
                8 << 20,
            ),
            (
                "[[listener]]\naddress = \"127.0.0.1:1\"\nreceive-buffer = 65536\n",
                0,
                0,
                -(2 << 20) + (2 << 16),
            ),
            (
                "[limit]\nmode = \"on\"\nclients = 1048576\n[[listener]]\naddress = \"127.0.0.1:1\"\nworkers = 2\n",
                1,
                966_656 + (64 << 20),
                2 << 20,
            ),
            (
                "[interleaved]\nclients = 1000000\n[[listener]]\naddress = \"127.0.0.1:1\"\n",
                0,
                (48 << 20) - (3 << 20),
                0,
            ),
            (
                "[[listener]]\naddress = \"127.0.0.1:1\"\ninterleaved = \"off\"\n",
                0,
                -(3 << 20),
                0,
            ),
            (
                "[metrics]\nlisten = \"127.0.0.1:9\"\n[[listener]]\naddress = \"127.0.0.1:1\"\n",
                258,
                8 << 20,
                0,
            ),
        ] {
            let more = needs(&format!("{FEW}{text}"));
            let by = |now: u64, then: u64| i64::try_from(now).unwrap() - i64::try_from(then).unwrap();
            assert_eq!(by(more.files, base.files), files, "{text}");
            assert_eq!(by(more.memory, base.memory), memory, "{text}");
            assert_eq!(by(more.kernel, base.kernel), kernel, "{text}");
        }
        let ke = "[[listener]]\naddress = \"127.0.0.1:1\"\n[nts]\ncertificate = \"/c\"\nkey = \"/k\"\n";
        let with = |more: &str| needs(&format!("{FEW}{ke}{more}"));
        // Two addresses, a thread with five handles, 512 sessions and eight times as many, and two files.
        assert_eq!(with("").files - base.files, 2 + 5 + 9 * 512 + 6);
        assert_eq!(with("threads = 3").files - with("").files, 10);
        assert_eq!(with("threads = 3").threads - base.threads, 3);
        assert_eq!(with("").memory - base.memory, (8 << 20) + (8 << 20) + (1 << 20));
        let asks = "control.socket = \"/x\"\n[[listener]]\naddress = \"127.0.0.1:1\"\n[[upstream]]\naddress = \"192.0.2.1\"\n\
                    [[upstream]]\naddress = \"time.example\"\n";
        // The control socket with its clients and those that watch, and the upstreams.
        assert_eq!(needs(asks).files - base.files, 9 + 16 + 2 + 7);
    }

    #[test]
    fn a_limit_that_is_too_low_is_told_with_its_numbers() {
        let needs = Needs {
            files: 1040,
            memory: 10 << 20,
            in_reload: 0,
            kernel: 6 << 20,
            threads: 8,
        };
        let enough = SystemLimits {
            files: 1040,
            memory: Some((16 << 20, "memory.max".to_owned())),
            addresses: Some(needs.addresses(1)),
            cpus: 1,
        };
        assert_eq!(needs.shortfalls(&enough), [""; 0]);
        assert_eq!(
            needs.shortfalls(&SystemLimits {
                files: 1040,
                ..SystemLimits::default()
            }),
            [""; 0]
        );
        let low = SystemLimits {
            files: 1024,
            memory: Some(((16 << 20) - 1, "/sys/fs/cgroup/a/memory.max".to_owned())),
            addresses: Some(needs.addresses(1) - 1),
            cpus: 1,
        };
        let told = needs.shortfalls(&low);
        for (line, words) in told.iter().zip([
            "the limit of open files is low: 1024, and up to 1040 are needed: raise LimitNOFILE=",
            "the limit of memory is low: 16 MiB (/sys/fs/cgroup/a/memory.max), and up to 16 MiB are needed (tables 10 MiB, a reload of lists 0 MiB, the kernel's queues 6 MiB)",
            "the limit of address space is low: 666 MiB, and up to 666 MiB are needed: raise LimitAS=",
        ]) {
            assert!(line.starts_with(words), "{line}");
        }
        assert_eq!(told.len(), 3);
    }
}
