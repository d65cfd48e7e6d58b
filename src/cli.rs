//! Pure. The command line: its flags and subcommands. `config` decides what they mean together with a file.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{Args, CommandFactory, Parser, Subcommand, ValueHint};

mod acts;
pub mod environment;
mod subcommands;

pub use acts::{Act, UpstreamAction};
use acts::{DrainArguments, UndrainArguments, UpstreamArguments, WaitArguments};
use environment::Environment;
pub use subcommands::{
    ClientQuery, ClientsOrder, ClientsQuery, Dialect, HealthFormat, HealthQuery, HistoryAction, HistoryQuery,
    Import, LeapQuery, Query, RehearseQuery, ReportQuery, SupposedLeap,
};

/// The configuration file that is read when no other is named, if it exists.
pub const DEFAULT_FILE: &str = "/etc/ntpfront/ntpfront.toml";

/// The command line of the program.
#[derive(Clone, Debug, PartialEq)]
pub struct Invocation {
    /// The command.
    pub command: Command,
    /// The flags, from before and after the subcommand.
    pub flags: Flags,
}

impl Invocation {
    /// Returns the same with the environment, which `get` has by the names of variables.
    #[must_use]
    pub fn in_environment(mut self, get: impl Fn(&str) -> Option<OsString>) -> Self {
        let environment = Environment::of(get);
        let file = environment.config.clone();
        self.flags.config = self.flags.config.or(file);
        self.flags.environment = environment;
        self
    }
}

/// A command.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Serve time: the command if no subcommand is given.
    Serve,
    /// Check the configuration and print all its faults.
    Check {
        /// Also ask the running server what a reload would change.
        against_running: bool,
    },
    /// Print the effective configuration with the origin of each value.
    Config,
    /// Print the version.
    Version,
    /// Poll one server once, or several.
    Query(Query),
    /// Convert the configuration of another server.
    Import(Import),
    /// Show the running server on one screen.
    Status {
        /// The server.
        server: RunningServer,
        /// Whether each worker has a row.
        workers: bool,
    },
    /// Show all that the running server knows of each upstream.
    Upstreams(RunningServer),
    /// Show the status, refreshed until it is interrupted.
    Top(RunningServer),
    /// Show the clients of the running server.
    Clients {
        /// The server.
        server: RunningServer,
        /// The question.
        query: ClientsQuery,
    },
    /// Show what a request of some clients would get.
    Client {
        /// The server.
        server: RunningServer,
        /// The question.
        query: ClientQuery,
    },
    /// Show what is served around a leap second.
    Leap(LeapQuery),
    /// Serve a made-up time that runs through a leap second.
    Rehearse(RehearseQuery),
    /// Tell whether the running server is healthy.
    Health {
        /// The server.
        server: RunningServer,
        /// The question.
        query: HealthQuery,
    },
    /// Change the running server.
    Act {
        /// The change.
        act: Act,
        /// The server.
        server: RunningServer,
    },
    /// Wait until the running server is synchronized.
    Wait {
        /// The server.
        server: RunningServer,
        /// Longest time to wait, in seconds.
        timeout: f64,
        /// Largest root distance that is good enough, in seconds; `None` is no limit.
        max_distance: Option<f64>,
    },
    /// Print a new secret for the cookies of NTS.
    NtsSecret,
    /// Show what was served.
    History(HistoryQuery),
    /// Report on a month of what was served.
    Report(ReportQuery),
}

/// The running server, and how it is asked about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunningServer {
    /// The control socket; `None` is that of the configuration.
    pub socket: Option<PathBuf>,
    /// Whether the answer is JSON, for a program.
    pub json: bool,
}

/// The flags that go with serving.
///
/// Their values are checked by `config`, all at once and together with the file.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// Workers of every IPv4 listener, 0 to 1024; 0 serves no IPv4 [default: 1]
    #[arg(short = '4', long, value_name = "NUM", help_heading = "Serving", value_hint = ValueHint::Other)]
    pub ipv4_workers: Option<String>,
    /// Workers of every IPv6 listener, 0 to 1024; 0 serves no IPv6 [default: 1]
    #[arg(short = '6', long, value_name = "NUM", help_heading = "Serving", value_hint = ValueHint::Other)]
    pub ipv6_workers: Option<String>,
    /// Serve on this IPv4 address; repeatable [default: 0.0.0.0:123]
    #[arg(short = 'a', long, value_name = "ADDR:PORT", help_heading = "Serving", value_hint = ValueHint::Other)]
    pub ipv4_address: Vec<String>,
    /// Serve on this IPv6 address; repeatable
    // The help has a text of its own, as rustdoc would take the default for a link.
    #[arg(help = "Serve on this IPv6 address; repeatable [default: [::]:123]")]
    #[arg(short = 'b', long, value_name = "ADDR:PORT", help_heading = "Serving", value_hint = ValueHint::Other)]
    pub ipv6_address: Vec<String>,
    /// Poll this upstream server, an address or a name; repeatable [default: 127.0.0.1:11123]
    #[arg(short = 's', long, value_name = "ADDR[:PORT]", help_heading = "Serving", value_hint = ValueHint::Hostname)]
    pub upstream: Vec<String>,
    /// This many upstreams must agree, 1 to 255; a majority always must [default: 2 of three or more, or else 1]
    #[arg(long, value_name = "NUM", help_heading = "Serving", value_hint = ValueHint::Other)]
    pub min_sources: Option<String>,
    /// Become this user once the sockets are open [default: keep the current user]
    #[arg(short, long, value_name = "USER", help_heading = "Process", value_hint = ValueHint::Username)]
    pub user: Option<String>,
    /// Make this directory the root directory once the sockets are open [default: no chroot]
    #[arg(short = 'r', long, value_name = "DIR", help_heading = "Process", value_hint = ValueHint::DirPath)]
    pub chroot: Option<String>,
    /// Also log debugging messages: the same as log.level = "debug"
    #[arg(short, long, help_heading = "Process")]
    pub debug: bool,
    /// Form of the log, "text", "json" or "auto": the journal of systemd, else text [default: auto]
    #[arg(long, value_name = "FORMAT", help_heading = "Process", value_hint = ValueHint::Other)]
    pub log_format: Option<String>,
    /// Read this configuration file [default: /etc/ntpfront/ntpfront.toml if it exists]
    #[arg(short, long, value_name = "FILE", help_heading = "Process", value_hint = ValueHint::FilePath)]
    pub config: Option<PathBuf>,
    /// The environment, over which flags take precedence.
    #[arg(skip)]
    pub environment: Environment,
}

/// The arguments of `check`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
struct Check {
    /// The configuration file: the same as -c
    #[arg(value_name = "FILE", conflicts_with = "config", value_hint = ValueHint::FilePath)]
    file: Option<PathBuf>,
    #[command(flatten)]
    flags: Flags,
    /// Also ask the running server what a reload would change, and what needs a restart
    #[arg(long)]
    against_running: bool,
}

/// The arguments of all subcommands that ask the running server.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
struct RunningArguments {
    /// The control socket of the running server [default: control.socket of the configuration]
    #[arg(long, value_name = "PATH", value_hint = ValueHint::FilePath)]
    socket: Option<PathBuf>,
    /// Configuration file that names the socket [default: /etc/ntpfront/ntpfront.toml if it exists]
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    config: Option<PathBuf>,
    /// Print one JSON object, whose names are stable
    #[arg(long)]
    json: bool,
}

/// The arguments of `status`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
struct StatusArguments {
    /// Show a row for each worker, too
    #[arg(short, long)]
    verbose: bool,
    #[command(flatten)]
    running: RunningArguments,
}

/// The arguments of `clients`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
struct ClientsArguments {
    #[command(flatten)]
    query: ClientsQuery,
    #[command(flatten)]
    running: RunningArguments,
}

/// The arguments of `client`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
struct ClientArguments {
    #[command(flatten)]
    query: ClientQuery,
    #[command(flatten)]
    running: RunningArguments,
}

/// The arguments of `health`.
#[derive(Args, Clone, Debug, PartialEq)]
struct HealthArguments {
    #[command(flatten)]
    query: HealthQuery,
    #[command(flatten)]
    running: RunningArguments,
}

/// An NTP server for busy hosts: many workers, several upstreams that must agree, no replies lost.
#[derive(Parser)]
#[command(name = "ntpfront", version, after_long_help = MORE_HELP)]
struct Arguments {
    #[command(flatten)]
    flags: Flags,
    #[command(subcommand)]
    subcommand: Option<Sub>,
}

#[derive(Subcommand)]
enum Sub {
    /// Check the configuration file and flags, and print all errors
    Check(Check),
    /// Print the effective configuration, with the origin of each value
    Config(Flags),
    /// Poll servers once, and show their answers and whether they are usable
    ///
    /// One server: all of its answer. Several: a table, the usable ones first, by their maximum error (+/-). All are polled
    /// at the same time. Exit status 0: all are usable.
    Query(Query),
    /// Convert a chrony.conf, ntp.conf or ntp.toml, and list each line that cannot be converted
    ///
    /// The result on standard output always passes `ntpfront check`. Lines that are not converted, or only in part, are
    /// on standard error, with the reason. Included files are not followed: name them after the file that includes
    /// them.
    Import(Import),
    /// Show the running server on one screen: what is not as it should be and what to do, time, requests, upstreams
    ///
    /// The width is that of the terminal, or 80 columns. On a terminal the states have colors, unless NO_COLOR is set.
    Status(StatusArguments),
    /// Show all details of each upstream
    Upstreams(RunningArguments),
    /// Show the running server in a window, refreshed every second
    ///
    /// Views: 1 overview, 2 upstreams, 3 listeners and workers, 4 clients. Other keys: h help, s order of rows, space
    /// pause, arrows scroll, q quit. The window has 60 columns and 15 rows or more. Without a terminal, the status is
    /// printed every second.
    Top(RunningArguments),
    /// Show the clients of the last hour: how many, the busiest, how often they ask
    Clients(ClientsArguments),
    /// Show whether a request of a client would be answered now, by which listener and why: exit status 0 yes, 1 no
    ///
    /// It is judged as a plain request (version 4, mode 3) would be, and nothing is counted: the rule of the access list
    /// with its file and line, the answers that are left by the limit, the budget, interleaved mode, how often it asks.
    /// Exit status 0: each of the clients would be answered, 1: one of them would not, 2: the server does not answer.
    Client(ClientArguments),
    /// Show what was served, from the record (history.directory), whether the server runs or not
    ///
    /// Without flags: the last hour. Without a record: the curves in the memory of the running server, of up to 30 days.
    History(HistoryQuery),
    /// Report on a month of what was served: coverage, error, each excess of a limit, sources, gaps
    Report(ReportQuery),
    /// Show what is known of the next leap second, and what each listener serves around it
    Leap(LeapQuery),
    /// Serve a made-up time that runs through a leap second, to try clients
    ///
    /// Its reference ID is TEST and its stratum 15. It serves only loopback and private addresses, and ends by itself.
    Rehearse(RehearseQuery),
    /// Check whether the running server is healthy: exit status 0 yes, 1 no, 2 it does not answer
    ///
    /// --exec and --exec-down take a program and its arguments, split as a POSIX shell would, with quotes. No shell runs
    /// them: for variables, pipes and the like use sh -c '...'. They get NTPFRONT_HEALTHY (1 or 0) and NTPFRONT_REASON in
    /// their environment, and nothing on standard input; what they print goes to standard error. One runs at a time, and
    /// of the changes meanwhile only the last one counts. One that fails is run again after 1 s.
    Health(HealthArguments),
    /// Have the running server read its configuration again, wait, and print what changed or all errors
    ///
    /// It does what `systemctl reload ntpfront` does. Exit status 0: it is in effect, 1: it was refused, 2: no answer.
    Reload(RunningArguments),
    /// Have listeners answer "unsynchronized", so that their clients go elsewhere
    ///
    /// No request is lost. A reload keeps the drain; `ntpfront undrain`, the end of --for and a restart end it. For a
    /// lasting drain, set `answer = "unsynchronized"` in the configuration. With an address that several hosts announce
    /// (anycast), use --after: no client gets "unsynchronized" if the route moves within that time.
    Drain(DrainArguments),
    /// End the drain of listeners: they answer as configured
    Undrain(UndrainArguments),
    /// Resolve the names of all upstreams again, and poll all upstreams now; at most every 30 seconds
    Refresh(RunningArguments),
    /// Add, remove, pause or resume an upstream, until the restart
    ///
    /// The configuration stays as it is, a reload keeps the change, and a restart ends it.
    Upstream(UpstreamArguments),
    /// Wait until the running server is synchronized: exit status 0 it is, 1 it is not in time
    ///
    /// A server that does not run yet is waited for, too.
    Wait(WaitArguments),
    /// Print a new secret for nts.secret: a line of 32 random bytes in base64
    NtsSecret,
    /// Print the version
    Version,
}

const MORE_HELP: &str = "\
Without a subcommand ntpfront serves time until it is stopped. Flags take precedence over
the configuration file: -a replaces the file's IPv4 listeners, -b its IPv6 listeners, -s its
upstreams; -4 and -6 set the workers of all listeners.

Examples:
  ntpfront                                  serve with the configuration file
  ntpfront -4 4 -6 2 -s 127.0.0.1:11123 -u ntpfront -r /var/empty
                                            no file needed: 4 IPv4 and 2 IPv6 workers
  ntpfront -6 0 -a 192.0.2.1:123 -s time.example -s '[2001:db8::1]:123'
                                            one IPv4 address, two upstreams, no IPv6
  ntpfront help query                       all flags of a command
  ntpfront check new.toml                   print all errors of a file
  ntpfront check --against-running          what would `systemctl reload ntpfront` change?
  ntpfront config -4 8                      what would be in effect, and why
  ntpfront query 127.0.0.1:123 --json       poll a server
  ntpfront query a.example b.example c.example
                                            which of them are usable, the best first?
  ntpfront query --pool ntp.example         how would the NTP Pool's monitor score it?
  ntpfront query --nts ntp.example          what does a client with NTS get of it?
  ntpfront import /etc/chrony/chrony.conf   convert the configuration of chronyd
  ntpfront status                           what is the running server doing?
  ntpfront clients                          which clients ask, and which ask too often?
  ntpfront clients --limited --sort rate    which of them are over the limit now?
  ntpfront client 192.0.2.7                 would a request of this client be answered, and why?
  ntpfront history                          what was served in the last hour?
  ntpfront history --at 2026-11-27T12:03:07
                                            what was served then, within which error, and by which upstreams?
  ntpfront report --month 2026-11 --limit 0.001
                                            a month, with each time in which the error was over 1 ms
  ntpfront leap --suppose delete            what would be served around a leap second?
  ntpfront rehearse --suppose insert        a made-up leap second, to try clients against it
  ntpfront health --max-distance 0.01       for scripts: is the time good to 10 ms?
  ntpfront health --watch --up-after 10s --exec 'birdc enable anycast' --exec-down 'birdc disable anycast'
                                            announce a route while the server is healthy
  ntpfront reload                           apply the changed configuration, or print its errors
  ntpfront drain --for 10m                  send the clients elsewhere for a while
  ntpfront wait --timeout 60                in scripts: continue once the server is synchronized
  ntpfront nts-secret                       make the secret that servers with NTS share

Exit status:
  0  success: ended by a signal, no error found, all polled servers are usable
  1  failure while running: a port in use, no permission to bind, a polled server is not usable
  2  error on the command line or in the configuration
  3  no error, but some changes need a restart (check --against-running)
  import: 0 fully converted, 1 partly converted, 2 nothing written: unreadable, or nothing to convert
  health: 0 clients get a time (within the limit), 1 they do not, 2 the server does not answer;
          with --format nagios: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN
  reload, drain, undrain, refresh, upstream: 0 it is in effect, 1 refused, 2 the server does not answer
  client: 0 each client would be answered, 1 one of them not, 2 the server does not answer
  wait: 0 the server is synchronized (within the limit), 1 not in time
  history: --at: 0 a time was announced, 1 none was; verify: 0 unchanged, 1 changed; 2 there is no record

Environment (flags take precedence, and it takes precedence over the file):
  NTPFRONT_CONFIG       the configuration file, as -c
  NTPFRONT_UPSTREAM     upstreams, as -s; several are separated by commas
  NTPFRONT_LISTEN       listeners, in place of all others; several are separated by commas
  NTPFRONT_WORKERS      workers of every listener, as -4 and -6
  NTPFRONT_MIN_SOURCES  as --min-sources
  NTPFRONT_LOG_LEVEL    as log.level
  NTPFRONT_LOG_FORMAT   as log.format
  NTPFRONT_METRICS      as metrics.listen

Signals:
  TERM, INT  stop: answer the requests that have arrived, then end with status 0
  HUP        reload: read the configuration again and apply what changed, without losing a
             request. If it has an error, nothing changes, and the log gives the reason. Flags
             still take precedence over the file
  USR1       log the state, every upstream, and the counters of each worker

Files:
  /etc/ntpfront/ntpfront.toml  the configuration, read if it exists; -c names another file
  /etc/ntpfront/conf.d/*.toml  drop-ins, read after it in the order of their names: conf.d is
                               always beside the file. Tables like [[upstream]] are added, and
                               a key stands in one file only";

/// Reads the arguments, the program's own name first.
///
/// # Errors
/// Every message of clap, including help and version: print it and use its exit status.
pub fn read<I, T>(arguments: I) -> Result<Invocation, clap::Error>
where
    I: IntoIterator<Item = T>,
    T: Into<OsString> + Clone,
{
    let Arguments { flags, subcommand } = Arguments::try_parse_from(arguments)?;
    let (command, flags) = match subcommand {
        None => (Command::Serve, flags),
        Some(Sub::Check(check)) => {
            let against_running = check.against_running;
            let flags = flags.and(check.flags).and_file(check.file);
            (Command::Check { against_running }, flags)
        }
        Some(Sub::Config(more)) => (Command::Config, flags.and(more)),
        Some(Sub::Query(_)) if flags != Flags::default() => {
            return Err(flags_mean_nothing(
                "query takes no flags of the server (see ntpfront query --help)",
            ));
        }
        Some(Sub::Query(query)) if query.servers.len() > 1 && query.is_for_one() => {
            return Err(flags_mean_nothing(
                "--pool, --nts and --interleaved are for one server at a time",
            ));
        }
        Some(Sub::Query(query)) => (Command::Query(query), flags),
        Some(Sub::Import(_)) if flags != Flags::default() => {
            return Err(flags_mean_nothing(
                "import takes no flags of the server: only --from",
            ));
        }
        Some(Sub::Import(import)) => (Command::Import(import), flags),
        Some(Sub::History(history)) => {
            let flags = flags.and_file(history.config.clone());
            (Command::History(history), flags)
        }
        Some(Sub::Report(report)) => {
            let flags = flags.and_file(report.config.clone());
            (Command::Report(report), flags)
        }
        Some(Sub::Leap(leap)) => {
            let flags = flags.and_file(leap.config.clone());
            (Command::Leap(leap), flags)
        }
        Some(Sub::Rehearse(rehearse)) => {
            let flags = flags.and_file(rehearse.config.clone());
            (Command::Rehearse(rehearse), flags)
        }
        Some(Sub::Status(StatusArguments { verbose, running })) => {
            running.command(flags, |server| Command::Status {
                server,
                workers: verbose,
            })
        }
        Some(Sub::Upstreams(running)) => running.command(flags, Command::Upstreams),
        Some(Sub::Top(running)) => running.command(flags, Command::Top),
        Some(Sub::Clients(ClientsArguments { query, running })) => {
            running.command(flags, |server| Command::Clients { server, query })
        }
        Some(Sub::Client(ClientArguments { query, running })) => {
            running.command(flags, |server| Command::Client { server, query })
        }
        Some(Sub::Health(HealthArguments { query, running })) => {
            running.command(flags, |server| Command::Health { server, query })
        }
        Some(Sub::Reload(running)) => running.act(flags, Act::Reload),
        Some(Sub::Refresh(running)) => running.act(flags, Act::Refresh),
        Some(Sub::Upstream(change)) => change.running.clone().act(flags, change.act()),
        Some(Sub::Wait(wait)) => {
            let (timeout, max_distance) = (wait.timeout, wait.max_distance);
            let command = |server| Command::Wait {
                server,
                timeout,
                max_distance,
            };
            wait.running.command(flags, command)
        }
        Some(Sub::Drain(drain)) => drain.running.clone().act(flags, drain.act()),
        Some(Sub::Undrain(undrain)) => undrain.running.clone().act(flags, undrain.act()),
        Some(Sub::NtsSecret) if flags != Flags::default() => {
            return Err(flags_mean_nothing("nts-secret takes no flags"));
        }
        Some(Sub::NtsSecret) => (Command::NtsSecret, flags),
        Some(Sub::Version) if flags != Flags::default() => {
            return Err(flags_mean_nothing("version takes no flags"));
        }
        Some(Sub::Version) => (Command::Version, flags),
    };
    Ok(Invocation { command, flags })
}

/// Returns the definition of the command line, for manual pages and shell completions.
pub fn definition() -> clap::Command {
    Arguments::command()
}

fn flags_mean_nothing(why: &str) -> clap::Error {
    definition().error(ErrorKind::ArgumentConflict, why)
}

impl RunningArguments {
    /// Returns the command and the flags.
    ///
    /// Of the flags before the subcommand, only those matter that lead to the socket.
    fn command(self, flags: Flags, command: impl FnOnce(RunningServer) -> Command) -> (Command, Flags) {
        let server = RunningServer {
            socket: self.socket,
            json: self.json,
        };
        (command(server), flags.and_file(self.config))
    }

    /// The same for a change of the server.
    fn act(self, flags: Flags, act: Act) -> (Command, Flags) {
        self.command(flags, |server| Command::Act { act, server })
    }
}

impl Flags {
    /// Joins the flags before the subcommand with those after it: lists add up, elsewhere the later one counts.
    fn and(mut self, mut later: Self) -> Self {
        self.ipv4_address.append(&mut later.ipv4_address);
        self.ipv6_address.append(&mut later.ipv6_address);
        self.upstream.append(&mut later.upstream);
        Self {
            ipv4_workers: later.ipv4_workers.or(self.ipv4_workers),
            ipv6_workers: later.ipv6_workers.or(self.ipv6_workers),
            min_sources: later.min_sources.or(self.min_sources),
            user: later.user.or(self.user),
            chroot: later.chroot.or(self.chroot),
            debug: later.debug || self.debug,
            log_format: later.log_format.or(self.log_format),
            config: later.config.or(self.config),
            ..self
        }
    }

    /// Joins the flags before the subcommand with the file that is named after it.
    fn and_file(self, config: Option<PathBuf>) -> Self {
        self.and(Self {
            config,
            ..Self::default()
        })
    }
}

#[cfg(test)]
mod tests;
