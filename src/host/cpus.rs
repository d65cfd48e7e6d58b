//! Impure. The CPUs that threads run on, and their instructions.

use std::io;

use nix::errno::Errno;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::{Pid, gettid};

/// Returns whether the CPUs have instructions for AES.
pub fn have_aes() -> bool {
    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
    return std::arch::is_x86_feature_detected!("aes");
    #[cfg(target_arch = "aarch64")]
    return std::arch::is_aarch64_feature_detected!("aes");
    #[cfg(not(any(target_arch = "x86", target_arch = "x86_64", target_arch = "aarch64")))]
    return false;
}

/// A thread of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thread(Pid);

impl Thread {
    /// Returns the calling thread.
    pub fn current() -> Self {
        Self(gettid())
    }

    /// Returns its number: never 0.
    pub fn number(self) -> i32 {
        self.0.as_raw()
    }

    /// Returns the thread of this number; `None` if no thread can have it.
    pub fn of(number: i32) -> Option<Self> {
        (number > 0).then(|| Self(Pid::from_raw(number)))
    }

    /// Keeps the thread to CPU number `cpu` of those that the process may use; `None`: to all of those.
    ///
    /// CPUs are counted from 0, and again from the first after the last.
    ///
    /// # Errors
    /// As `sched_setaffinity(2)`: the thread has ended, or a filter forbids it.
    pub fn keep_to(self, cpu: Option<usize>) -> io::Result<()> {
        // The first thread keeps the CPUs that the process was started with.
        let ours = sched_getaffinity(Pid::this())?;
        let usable: Vec<usize> = (0..CpuSet::count())
            .filter(|&cpu| ours.is_set(cpu) == Ok(true))
            .collect();
        let chosen = match cpu.and_then(|cpu| usable.get(cpu % usable.len().max(1))) {
            Some(&cpu) => {
                let mut one = CpuSet::new();
                one.set(cpu)?;
                one
            }
            None => ours,
        };
        sched_setaffinity(self.0, &chosen).map_err(|errno| {
            let error = io::Error::from(errno);
            if errno != Errno::EPERM {
                return error;
            }
            let said = format!("{error} (systemd: the drop-in 30-pin.conf)");
            io::Error::new(error.kind(), said)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> CpuSet {
        sched_getaffinity(gettid()).unwrap()
    }

    #[test]
    fn a_thread_keeps_to_one_cpu_and_is_let_go() {
        let all = sched_getaffinity(Pid::this()).unwrap();
        let count = (0..CpuSet::count())
            .filter(|&cpu| all.is_set(cpu).unwrap())
            .count();
        std::thread::spawn(move || {
            let thread = Thread::of(Thread::current().number()).unwrap();
            thread.keep_to(Some(0)).unwrap();
            let first = now();
            assert_eq!(
                (0..CpuSet::count())
                    .filter(|&cpu| first.is_set(cpu).unwrap())
                    .count(),
                1
            );
            thread.keep_to(Some(count)).unwrap();
            assert_eq!(now(), first);
            thread.keep_to(None).unwrap();
            assert_eq!(now(), all);
        })
        .join()
        .unwrap();
    }
}
