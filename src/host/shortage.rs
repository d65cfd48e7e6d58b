//! Pure. Resources that this process or this host has run out of: in words that name the limit, and what to do.

use std::fmt::Write as _;

/// A resource that has run out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shortage {
    /// EMFILE: too many open files in this process.
    ProcessFiles,
    /// ENFILE: too many open files on this host.
    SystemFiles,
    /// ENOMEM, ENOBUFS.
    Memory,
    /// EAGAIN when a thread is started.
    Threads,
}

impl Shortage {
    /// Returns the resource, with the kernel's own word for it, and the remedy.
    pub const fn text(self) -> &'static str {
        match self {
            Self::ProcessFiles => "too many open files (EMFILE): raise LimitNOFILE=",
            Self::SystemFiles => "too many open files on this host (ENFILE): raise the sysctl fs.file-max",
            Self::Memory => {
                "out of memory (ENOMEM, ENOBUFS): raise MemoryMax= or LimitAS=, or lower limit.clients, census.clients or the number of workers"
            }
            Self::Threads => {
                "too many threads, or no room for one more (EAGAIN): raise TasksMax=, LimitNPROC= or LimitAS=, or use fewer workers"
            }
        }
    }

    /// Returns the same with the numbers: the limit of open files, and how many are needed, if that is known (not 0).
    pub fn with_limits(self, limit: u64, needed: u64) -> String {
        let mut text = self.text().to_owned();
        if self == Self::ProcessFiles {
            // Writing to a string can't fail.
            let _written = write!(text, " (the limit is {limit}");
            if needed > 0 {
                let _written = write!(text, ", up to {needed} are needed");
            }
            text.push(')');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_and_the_remedy_are_named() {
        for (shortage, needed, words) in [
            (
                Shortage::ProcessFiles,
                1040,
                "too many open files (EMFILE): raise LimitNOFILE= (the limit is 1024, up to 1040 are needed)",
            ),
            (
                Shortage::ProcessFiles,
                0,
                "too many open files (EMFILE): raise LimitNOFILE= (the limit is 1024)",
            ),
            (
                Shortage::SystemFiles,
                1040,
                "too many open files on this host (ENFILE): raise the sysctl fs.file-max",
            ),
        ] {
            assert_eq!(shortage.with_limits(1024, needed), words);
        }
        assert!(Shortage::Memory.with_limits(1, 1).contains("MemoryMax="));
        assert!(Shortage::Threads.with_limits(1, 1).contains("TasksMax="));
    }
}
