//! Pure. The rows of `[process]` and `[log]`.

use std::path::PathBuf;

use strum::{IntoStaticStr, VariantArray};

use super::texts::{path, user};
use crate::config::kind::{Bool, word};
use crate::config::row::table;
use crate::host::privileges::LowPorts;
use crate::log::{LogFormat, LogLevel};

table! {
    /// The process, once its sockets are open.
    "[process]": Restart, RawProcess
    /// The settings of the process once its sockets are open.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Process {
        /// The user to become (flag -u).
        ///
        /// Not set: keep the current user. Set it if the service is started as root. Otherwise the process keeps
        /// root's file permissions, and logs a warning.
        user: Option<String> = None, user(), for example "ntpfront";
        /// The directory to make the root directory (flag -r), an absolute path.
        ///
        /// Not set: no change. An empty directory that belongs to root is best.
        chroot: Option<PathBuf> = None, path(), for example "/var/empty";
        /// Whether to keep the capability to open ports below 1024 (CAP_NET_BIND_SERVICE).
        ///
        /// Only a reload that adds a listener on such a port needs it. "auto": keep it if a listener has such a
        /// port. "always": keep it. "never": drop it. It is in use only while a port is opened. The process must
        /// have it at the start: as root, or by AmbientCapabilities= of the unit.
        keep_low_ports: LowPorts = LowPorts::Auto, word();
        /// Whether to restrict access to files and TCP ports with Landlock.
        ///
        /// These stay accessible: this file, its lists, the list of leap seconds, resolv.conf and hosts; and the TCP
        /// ports of name servers and of metrics.listen. Replaced files are read, too. Directories with a single
        /// purpose, such as /etc/ntpfront, stay accessible. A separate process (ntpfront-files) opens replaced files
        /// in directories with other files, such as /etc. Restart ntpfront if a link now leads to another directory
        /// than at the start, or if you add a list in a directory with other files. Turn this off if it gets in the
        /// way.
        landlock: bool = true, Bool;
        /// Whether to restrict system calls with seccomp to those that are needed; workers keep only a few.
        ///
        /// A call that executes a program, traces, mounts, or sets the clock then kills the process (SIGSYS). Other
        /// calls fail. Turn this off if a system library needs a call that ntpfront does not expect: the log shows
        /// "Operation not permitted" without another reason.
        seccomp: bool = true, Bool;
        /// The event to report to systemd as "ready".
        ///
        /// "serving": clients get answers, even if there is no time yet. "synchronized": clients get a time. Units
        /// that are ordered after this one wait for it.
        ready: Ready = Ready::Serving, word();
    }
}

table! {
    "[log]": Reload, RawLog
    #[derive(Clone, Debug)]
    pub(in crate::config) struct LogKeys {
        /// The least important level to log: {words}.
        ///
        /// Flag -d means "debug", which logs why each sample of an upstream was accepted or rejected.
        level: LogLevel = LogLevel::Info, word();
        /// The form of the log: {words} (flag --log-format).
        ///
        /// "auto": to the journal with its fields, if standard error is connected to it (systemd), else text. "text":
        /// a line for people on standard error. "json": a JSON object per line there, for containers and log
        /// collectors: time (RFC 3339, UTC), level, message, and all fields.
        format: LogFormat = LogFormat::Auto, word();
    }
}

/// The time at which the service manager is told that we are ready.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "kebab-case")]
pub enum Ready {
    /// Once clients are answered, even if with "unsynchronized".
    #[default]
    Serving,
    /// Once clients get a time.
    Synchronized,
}
