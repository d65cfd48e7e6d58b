//! Pure. Commands that change the running server, which processes may give them, and the reports on them.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::CommandAccess;
use crate::config::fault::printable;

/// A command to the running server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum ControlCommand {
    /// Read the configuration again, and apply what changed.
    Reload,
    /// Have a listener answer "unsynchronized", so that its clients go elsewhere.
    Drain {
        /// The listener; `None` is all of them.
        listener: Option<SocketAddr>,
        /// Seconds until the answers change; health reports the drain at once.
        after: u32,
        /// Seconds from then on until the drain ends by itself, not 0; `None` is no end.
        length: Option<u32>,
    },
    /// End the drain of a listener.
    Undrain {
        /// The listener; `None` is all of them.
        listener: Option<SocketAddr>,
    },
    /// Resolve all names of upstreams again, and poll all upstreams at once.
    Refresh,
    /// Change the upstreams until the restart.
    Upstream(UpstreamCommand),
}

/// A change of the upstreams, over those of the configuration.
///
/// Addresses are as in the configuration: an address or a name, with or without a port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum UpstreamCommand {
    /// Poll another upstream, or a configured one that was removed.
    Add {
        /// Its address.
        address: String,
        /// Keys of `[[upstream]]` and their values as in TOML.
        options: Vec<(String, String)>,
    },
    /// Poll an upstream no more.
    Remove {
        /// Its address.
        address: String,
    },
    /// Poll an upstream no more for a while.
    Pause {
        /// Its address.
        address: String,
    },
    /// Poll an upstream again that was paused.
    Resume {
        /// Its address.
        address: String,
    },
}

impl fmt::Display for UpstreamCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Add { address, options } => {
                write!(f, "upstream add {}", printable(address))?;
                let mut options = options.iter();
                options.try_for_each(|(key, value)| write!(f, " {}={}", printable(key), printable(value)))
            }
            Self::Remove { address } => write!(f, "upstream remove {}", printable(address)),
            Self::Pause { address } => write!(f, "upstream pause {}", printable(address)),
            Self::Resume { address } => write!(f, "upstream resume {}", printable(address)),
        }
    }
}

/// Shortest time between two refreshes: upstreams must not be polled as often as a user likes.
pub const REFRESH_APART: Duration = Duration::from_secs(30);

/// Returns why a refresh at `now` is refused, if the last one was too short ago. Both times are by the raw counter.
pub fn too_soon(last: Option<Duration>, now: Duration) -> Option<String> {
    let ago = now.saturating_sub(last?);
    let left = REFRESH_APART.checked_sub(ago).filter(|left| !left.is_zero())?;
    Some(format!(
        "the last refresh was {} s ago: try again in {} s",
        ago.as_secs(),
        left.as_secs_f64().ceil()
    ))
}

impl ControlCommand {
    /// Returns the longest time that the server takes to answer.
    ///
    /// Lists with millions of prefixes are read in some seconds, and something else may be read before them.
    pub const fn answer_timeout(&self) -> Duration {
        match self {
            Self::Reload => Duration::from_secs(60),
            Self::Drain { .. } | Self::Undrain { .. } | Self::Refresh | Self::Upstream(_) => {
                Duration::from_secs(3)
            }
        }
    }
}

/// Writes the command as it is typed, without the name of the program.
impl fmt::Display for ControlCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = |f: &mut fmt::Formatter<'_>, listener: &Option<SocketAddr>| match listener {
            Some(listener) => write!(f, " {listener}"),
            None => Ok(()),
        };
        match self {
            Self::Reload => f.write_str("reload"),
            Self::Refresh => f.write_str("refresh"),
            Self::Upstream(change) => change.fmt(f),
            Self::Drain {
                listener,
                after,
                length,
            } => {
                f.write_str("drain")?;
                of(f, listener)?;
                if *after > 0 {
                    write!(f, " --after {after}s")?;
                }
                length.map_or(Ok(()), |length| write!(f, " --for {length}s"))
            }
            Self::Undrain { listener } => {
                f.write_str("undrain")?;
                of(f, listener)
            }
        }
    }
}

/// The process behind a request, as the kernel knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Number of its user.
    pub user: u32,
    /// Its number, if it is one of this namespace.
    pub process: Option<i32>,
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "user {}", self.user)?;
        self.process
            .map_or(Ok(()), |process| write!(f, ", process {process}"))
    }
}

/// Returns why `caller` may not give commands, by the key `control.commands`; `None` if it may.
///
/// `own` is the number of the server's user. The permissions of the socket were checked before.
pub fn refusal(access: CommandAccess, caller: Option<Caller>, own: u32) -> Option<&'static str> {
    let is_owner = caller.is_some_and(|caller| caller.user == 0 || caller.user == own);
    match access {
        CommandAccess::Group => None,
        CommandAccess::Root if is_owner => None,
        CommandAccess::Root => Some(
            "only root and the user of the server may give commands (control.commands = \"group\" lets the socket's group, too)",
        ),
        CommandAccess::None => Some("the configuration allows no commands (control.commands = \"none\")"),
    }
}

/// The result of a command, for people and for programs.
///
/// As JSON its names are stable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CommandReport {
    /// The result for a program.
    pub result: CommandResult,
    /// The result in one line, without its end.
    pub summary: String,
    /// The changes, or the errors: a line each, without its end.
    pub details: Vec<String>,
}

/// The result of a command in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CommandResult {
    /// Something has changed.
    Changed,
    /// All was as wanted already.
    Unchanged,
    /// Nothing has changed, since the command was refused.
    Refused,
}

impl CommandReport {
    /// Returns the report of a change; without `details` of nothing that changed.
    pub fn of_changes(summary: String, details: Vec<String>) -> Self {
        let result = if details.is_empty() {
            CommandResult::Unchanged
        } else {
            CommandResult::Changed
        };
        Self {
            result,
            summary,
            details,
        }
    }

    /// Returns the report of a change that one line describes.
    pub fn changed(summary: String) -> Self {
        Self {
            result: CommandResult::Changed,
            summary,
            details: Vec::new(),
        }
    }

    /// Returns the report that all was as wanted already.
    pub fn unchanged(summary: String) -> Self {
        Self {
            result: CommandResult::Unchanged,
            summary,
            details: Vec::new(),
        }
    }

    /// Returns the report of a command that was refused, for this reason.
    pub fn refused(summary: String) -> Self {
        Self {
            result: CommandResult::Refused,
            summary,
            details: Vec::new(),
        }
    }

    /// Returns the report in lines for people, their ends included.
    pub fn text(&self) -> String {
        let lines = self.details.iter().map(|line| format!("{line}\n"));
        format!("{}\n{}", self.summary, lines.collect::<String>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use CommandAccess::{Group, None as Nobody, Root};

    #[test]
    fn root_and_the_own_user_may_give_commands_unless_the_configuration_says_otherwise() {
        let caller = |user| {
            Some(Caller {
                user,
                process: Some(1),
            })
        };
        for (access, caller, is_allowed) in [
            (Root, caller(0), true),
            (Root, caller(123), true),
            (Root, caller(1000), false),
            // The kernel may not know it.
            (Root, None, false),
            (Group, caller(0), true),
            (Group, caller(1000), true),
            (Group, None, true),
            (Nobody, caller(0), false),
            (Nobody, caller(123), false),
            (Nobody, None, false),
        ] {
            assert_eq!(
                refusal(access, caller, 123).is_none(),
                is_allowed,
                "{access:?} {caller:?}"
            );
        }
    }

    #[test]
    fn a_command_is_written_as_it_is_typed() {
        let listener = Some("[::1]:123".parse().unwrap());
        let drain = |listener, after, length| ControlCommand::Drain {
            listener,
            after,
            length,
        };
        for (command, typed) in [
            (ControlCommand::Reload, "reload"),
            (ControlCommand::Refresh, "refresh"),
            (
                ControlCommand::Upstream(UpstreamCommand::Add {
                    address: "a\nb".to_owned(),
                    options: vec![("minpoll".to_owned(), "4".to_owned())],
                }),
                "upstream add a\\nb minpoll=4",
            ),
            (
                ControlCommand::Upstream(UpstreamCommand::Pause {
                    address: "a".to_owned(),
                }),
                "upstream pause a",
            ),
            (drain(None, 0, None), "drain"),
            (
                drain(listener, 5, Some(60)),
                "drain [::1]:123 --after 5s --for 60s",
            ),
            (ControlCommand::Undrain { listener: None }, "undrain"),
            (ControlCommand::Undrain { listener }, "undrain [::1]:123"),
        ] {
            assert_eq!(command.to_string(), typed);
        }
    }

    #[test]
    fn a_refresh_is_not_too_soon_after_the_last_one() {
        let seconds = Duration::from_secs;
        let said = |ago, left| Some(format!("the last refresh was {ago} s ago: try again in {left} s"));
        assert_eq!(too_soon(None, seconds(5)), None);
        for (now, expected) in [
            (seconds(100), said(0, 30)),
            (Duration::from_millis(129_500), said(29, 1)),
            (seconds(130), None),
            (seconds(1000), None),
        ] {
            assert_eq!(too_soon(Some(seconds(100)), now), expected, "{now:?}");
        }
    }

    #[test]
    fn a_report_has_a_line_for_each_change() {
        let none = CommandReport::of_changes("reloaded: 0 changes".to_owned(), Vec::new());
        assert_eq!(none.result, CommandResult::Unchanged);
        assert_eq!(none.text(), "reloaded: 0 changes\n");
        let some = CommandReport::of_changes("reloaded: 1 change".to_owned(), vec!["a".to_owned()]);
        assert_eq!(some.result, CommandResult::Changed);
        assert_eq!(some.text(), "reloaded: 1 change\na\n");
    }
}
