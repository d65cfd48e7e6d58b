//! Impure. The system's limits for this process, and the words for errors that come from them.

use std::error::Error;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::shortage::Shortage;

/// Number of descriptors that the configuration needs, for messages when they run out; 0 if not known.
static NEEDED: AtomicU64 = AtomicU64::new(0);

/// Directory of the control groups (cgroups(7), version 2).
const GROUPS: &str = "/sys/fs/cgroup";

/// Sets the number of descriptors that messages name as needed.
pub fn expect_files(needed: u64) {
    NEEDED.store(needed, Ordering::Relaxed);
}

/// Raises the limit of open files as far as it goes, and returns it.
///
/// Numbers above 1023 are no problem here, as they are for `select(2)`.
pub fn raise_files() -> u64 {
    match getrlimit(Resource::RLIMIT_NOFILE) {
        Ok((soft, hard)) if soft < hard => match setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
            Ok(()) => hard,
            Err(_) => soft,
        },
        Ok((soft, _)) => soft,
        Err(_) => u64::MAX,
    }
}

/// Returns how far the limit of open files can be raised.
pub fn most_files() -> u64 {
    getrlimit(Resource::RLIMIT_NOFILE).map_or(u64::MAX, |(_, hard)| hard)
}

/// Returns the limit of this process's address space, in bytes (`RLIMIT_AS`); `None` without a limit.
pub fn address_space() -> Option<u64> {
    let (soft, _) = getrlimit(Resource::RLIMIT_AS).ok()?;
    (soft != libc::RLIM_INFINITY).then_some(soft)
}

/// Returns the lowest `memory.max` of this process's control group and those around it, in bytes, and its file.
///
/// Must be called before the root directory changes. `None` without a limit, also on hosts without control
/// groups of version 2.
pub fn group_memory() -> Option<(u64, PathBuf)> {
    let ours = fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = ours.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let top = Path::new(GROUPS);
    let group = top.join(path);
    let around = group.ancestors().take_while(|group| group.starts_with(top));
    around
        .filter_map(|group| {
            let file = group.join("memory.max");
            let said = fs::read_to_string(&file).ok()?;
            // "max" is no limit.
            Some((said.trim().parse().ok()?, file))
        })
        .min()
}

/// Returns the kernel's number of an error, at any depth of a library's error.
pub fn errno(error: &(dyn Error + 'static)) -> Option<i32> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        let ours = error.downcast_ref::<io::Error>();
        if let Some(number) = ours.and_then(io::Error::raw_os_error) {
            return Some(number);
        }
        if let Some(number) = error.downcast_ref::<nix::Error>() {
            return Some(*number as i32);
        }
        let inner = ours.and_then(io::Error::get_ref);
        cause = match inner {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}

/// Returns the resource that has run out, if the kernel's `number` means that.
pub fn shortage_of(number: i32) -> Option<Shortage> {
    match number {
        libc::EMFILE => Some(Shortage::ProcessFiles),
        libc::ENFILE => Some(Shortage::SystemFiles),
        libc::ENOMEM | libc::ENOBUFS => Some(Shortage::Memory),
        _ => None,
    }
}

/// Returns words for the resource that has run out, if that caused `error`: no other advice helps then.
pub fn shortage(error: &(dyn Error + 'static)) -> Option<String> {
    errno(error).and_then(shortage_of).map(told)
}

/// Returns words for `error`: those for the resource that has run out, or else its own.
pub fn explain<E: Error + 'static>(error: &E) -> String {
    shortage(error).unwrap_or_else(|| error.to_string())
}

/// The same as [`explain`] for an error of starting a thread: the kernel has another number for it.
pub fn explain_thread(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::EAGAIN) => told(Shortage::Threads),
        Some(_) | None => explain(error),
    }
}

/// Returns words for a shortage, with the limits of this process.
pub fn told(shortage: Shortage) -> String {
    let limit = getrlimit(Resource::RLIMIT_NOFILE).map_or(u64::MAX, |(soft, _)| soft);
    shortage.with_limits(limit, NEEDED.load(Ordering::Relaxed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shortage_is_found_wherever_it_is_in_an_error() {
        let plain = || io::Error::from_raw_os_error(libc::EMFILE);
        let wrapped = io::Error::other(io::Error::new(io::ErrorKind::NotFound, plain()));
        for error in [plain(), wrapped] {
            let text = explain(&error);
            assert!(
                text.starts_with("too many open files (EMFILE): raise LimitNOFILE="),
                "{text}"
            );
        }
        assert!(shortage(&nix::Error::ENFILE).unwrap().contains("fs.file-max"));
        let other = io::Error::from_raw_os_error(libc::EACCES);
        assert_eq!(shortage(&other), None);
        assert_eq!(explain(&other), other.to_string());
        let threads = io::Error::from_raw_os_error(libc::EAGAIN);
        assert!(explain_thread(&threads).contains("TasksMax="));
        assert_eq!(explain(&threads), threads.to_string());
    }

    #[test]
    fn all_that_may_be_opened_is_allowed() {
        let most = most_files();
        assert_eq!(raise_files(), most);
        assert_eq!(getrlimit(Resource::RLIMIT_NOFILE).unwrap().0, most);
    }
}
