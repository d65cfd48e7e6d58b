//! Proves what rights a running ntpfront has left, thread by thread, however it was started, and that it serves with them.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use crate::common::client::{self, v4};
use crate::common::daemon::{Daemon, Reload};
use crate::common::network::{in_own_network, ip};
use crate::common::port::free_port;
use crate::common::program::{PROGRAM, program};
use crate::common::scripted::{Scripted, good};
use crate::common::{SOON, TempDir, root, wait_until};

/// CAP_NET_BIND_SERVICE, as /proc shows it.
const LOW_PORTS: &str = "0000000000000400";
const NONE: &str = "0000000000000000";
const NOBODY: &str = "65534";

/// The status of each thread of a process: of the first, and of the others by their names.
struct Threads {
    first: BTreeMap<String, String>,
    others: BTreeMap<String, BTreeMap<String, String>>,
}

impl Threads {
    fn of(daemon: &Daemon) -> Self {
        let pid = daemon.pid().to_string();
        let mut others = BTreeMap::new();
        let mut first = None;
        for task in fs::read_dir(format!("/proc/{pid}/task")).unwrap() {
            let task = task.unwrap();
            let fields = fields(&fs::read_to_string(task.path().join("status")).unwrap());
            if task.file_name().to_str() == Some(&pid) {
                first = Some(fields);
            } else {
                others.insert(fields["Name"].clone(), fields);
            }
        }
        let first = first.expect("a first thread");
        Self { first, others }
    }

    /// What all threads have in this field; fails if they differ.
    fn all(&self, field: &str) -> &str {
        let value = &self.first[field];
        for (name, thread) in &self.others {
            assert_eq!(&thread[field], value, "{field} of {name}");
        }
        value
    }

    /// The first thread may have `permitted` and never has it in use; nobody has anything else.
    fn have_no_right_but(&self, permitted: &str) {
        assert_eq!(self.first["CapPrm"], permitted);
        for (name, thread) in &self.others {
            assert_eq!(thread["CapPrm"], NONE, "{name}");
        }
        for set in ["CapEff", "CapInh", "CapAmb"] {
            assert_eq!(self.all(set), NONE, "{set}");
        }
        assert_eq!(self.all("NoNewPrivs"), "1");
        self.have_filters(3, 4);
        assert!(self.others.contains_key("signals") && self.others.contains_key("worker-0-0"));
    }

    /// Each thread has so many filters of system calls more than we have, the workers having some of their own.
    fn have_filters(&self, others: u32, workers: u32) {
        let ours = fields(&fs::read_to_string("/proc/self/status").unwrap());
        let count = |thread: &BTreeMap<String, String>| -> u32 { thread["Seccomp_filters"].parse().unwrap() };
        for (name, thread) in self.others.iter().chain([(&self.first["Name"], &self.first)]) {
            let expected = if name.starts_with("worker") {
                workers
            } else {
                others
            };
            assert_eq!(count(thread), count(&ours) + expected, "{name}");
            // 2: there are filters.
            assert!(expected == 0 || thread["Seccomp"] == "2", "{name}");
        }
    }

    /// The lines that an operator would look at.
    fn tell(&self, case: &str) {
        for (name, thread) in std::iter::once((&self.first["Name"], &self.first)).chain(&self.others) {
            let said = [
                "Uid",
                "Gid",
                "Groups",
                "CapInh",
                "CapPrm",
                "CapEff",
                "CapBnd",
                "CapAmb",
                "NoNewPrivs",
                "Seccomp",
            ]
            .map(|field| format!("{field} {}", thread[field]));
            println!("{case}: {name}: {}", said.join(", "));
        }
    }
}

fn fields(status: &str) -> BTreeMap<String, String> {
    status
        .lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| {
            (
                name.to_owned(),
                value.split_whitespace().collect::<Vec<_>>().join(" "),
            )
        })
        .collect()
}

/// The program, started by `setpriv` with these words as a user who is not root.
fn as_nobody(words: &[&str]) -> Command {
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid", NOBODY, "--regid", NOBODY, "--clear-groups"])
        .args(words)
        .arg(program());
    command
}

/// Serves on `server`, follows an upstream, and is looked at once it is synchronized.
fn started(case: &str, mut command: Command, server: SocketAddr, look: impl FnOnce(&Daemon, &Threads)) {
    let upstream = Scripted::start(|ask| vec![good(ask).into()]);
    command
        .args(["-6", "0", "-4", "2", "-a", &server.to_string()])
        .args(["-s", &upstream.address().to_string()]);
    let daemon = Daemon::spawn(command).answering(server);
    wait_until("a synchronized reply", SOON, || {
        (client::header(server).stratum == 2).then_some(())
    });
    let threads = Threads::of(&daemon);
    threads.tell(case);
    look(&daemon, &threads);
}

/// The owners of the sockets on `port`, as this thread's network shows them.
fn owners(port: u16) -> Vec<String> {
    let table = fs::read_to_string("/proc/thread-self/net/udp").unwrap();
    let lines = table
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>());
    lines
        .filter(|words| words[1].ends_with(&format!(":{port:04X}")))
        .map(|words| words[7].to_owned())
        .collect()
}

#[test]
fn root_becomes_a_user_in_another_root_directory() {
    if !root() {
        return;
    }
    let cage = TempDir::new();
    for (port, permitted) in [(123, LOW_PORTS), (free_port(), NONE)] {
        in_own_network(|| {
            // setpriv gives it supplementary groups to lose.
            let mut command = Command::new("setpriv");
            command
                .args(["--groups", "0,4,27", PROGRAM, "-u", "nobody", "-r"])
                .arg(cage.path());
            started("root with -u and -r", command, v4(port), |daemon, threads| {
                threads.have_no_right_but(permitted);
                assert_eq!(threads.all("CapBnd"), NONE);
                assert_eq!(threads.all("Uid"), [NOBODY; 4].join(" "));
                assert_eq!(
                    threads.all("Groups"),
                    threads.first["Gid"].split(' ').next().unwrap()
                );
                // Handed over, so that a reload can add workers.
                assert_eq!(owners(port), [NOBODY; 2]);
                let kept = daemon
                    .log()
                    .contains("dropped all capabilities except CAP_NET_BIND_SERVICE");
                assert_eq!(kept, permitted == LOW_PORTS, "{}", daemon.log());
            });
        });
    }
}

/// A configuration that serves at once on these low ports, with so many workers each.
fn low_ports(process: &str, workers: u16, ports: &[u16]) -> String {
    let listener = |port| {
        format!(
            "[[listener]]\naddress = \"127.0.0.1:{port}\"\nworkers = {workers}\n[[listener]]\naddress = \"[::1]:{port}\"\n"
        )
    };
    let listeners: String = ports.iter().map(listener).collect();
    format!("upstream = []\n[process]\n{process}\n[local]\nenabled = true\nwait = 0\n{listeners}")
}

/// Started by each of those who may open low ports, it opens more of them when its rights are given up and its root is
/// another, adds workers to those it has, and again has no right in use.
#[test]
fn a_reload_opens_low_ports_after_all_is_given_up() {
    if !root() {
        return;
    }
    let cage = TempDir::new();
    let caged = format!("user = \"nobody\"\nchroot = \"{}\"", cage.path().display());
    let ambient = [
        "setpriv",
        "--reuid",
        NOBODY,
        "--regid",
        NOBODY,
        "--clear-groups",
        "--inh-caps",
        "+net_bind_service",
        "--ambient-caps",
        "+net_bind_service",
    ];
    for (wrapper, process) in [(&["env"][..], caged.as_str()), (&ambient, "")] {
        in_own_network(|| {
            let daemon = Daemon::configured_by(wrapper, &low_ports(process, 1, &[123])).answering(v4(123));
            assert_eq!(
                daemon.reload(&low_ports(process, 3, &[123, 124])),
                Reload::Done,
                "{}",
                daemon.log()
            );
            for port in [123, 124] {
                client::header(v4(port));
                client::header(client::v6(port));
            }
            let threads = Threads::of(&daemon);
            threads.have_no_right_but(LOW_PORTS);
            // Taken away again, and the port is anybody's.
            assert_eq!(daemon.reload(&low_ports(process, 1, &[123])), Reload::Done);
            assert_eq!(owners(124), Vec::<String>::new());
            client::header(v4(123));
        });
    }
}

#[test]
fn root_that_stays_root_has_no_more_rights_than_others() {
    in_own_network(|| {
        started("root", Command::new(PROGRAM), v4(123), |_, threads| {
            threads.have_no_right_but(LOW_PORTS);
            assert_eq!(threads.all("CapBnd"), NONE);
        });
    });
}

#[test]
fn a_unit_with_a_user_and_an_ambient_capability() {
    in_own_network(|| {
        let one = [
            "--inh-caps",
            "+net_bind_service",
            "--ambient-caps",
            "+net_bind_service",
        ];
        let bound = ["--bounding-set", "-all,+net_bind_service"];
        let command = as_nobody(&[&one[..], &bound[..]].concat());
        started("unit with User=", command, v4(123), |daemon, threads| {
            threads.have_no_right_but(LOW_PORTS);
            // Without CAP_SETPCAP nobody can shrink it: it is as the unit has set it, and nothing can be gained by it.
            assert_eq!(threads.all("CapBnd"), LOW_PORTS);
            // Nobody of the same user may look into its memory.
            let environment = fs::metadata(format!("/proc/{}/environ", daemon.pid())).unwrap();
            assert_eq!(environment.uid(), 0);
            let limits = fs::read_to_string(format!("/proc/{}/limits", daemon.pid())).unwrap();
            let cores = limits.lines().find(|line| line.starts_with("Max core file size"));
            let words = cores.unwrap().split_whitespace().collect::<Vec<_>>();
            assert_eq!(words[4..6], ["0", "0"]);
        });
    });
}

#[test]
fn a_container_without_any_capability() {
    if !root() {
        return;
    }
    let command = as_nobody(&["--inh-caps", "-all", "--bounding-set", "-all"]);
    started("container", command, v4(free_port()), |_, threads| {
        threads.have_no_right_but(NONE);
        assert_eq!(threads.all("CapBnd"), NONE);
    });
}

#[test]
fn the_right_to_low_ports_is_kept_as_configured() {
    if !root() {
        return;
    }
    for (word, port, permitted) in [("never", 123, NONE), ("always", free_port(), LOW_PORTS)] {
        in_own_network(|| {
            let file = TempDir::new();
            let file = file.file(
                "ntpfront.toml",
                format!("[process]\nkeep-low-ports = \"{word}\"\n"),
            );
            let mut command = Command::new(PROGRAM);
            command.args(["-u", "nobody", "-c"]).arg(&file);
            started(word, command, v4(port), |_, threads| {
                threads.have_no_right_but(permitted)
            });
        });
    }
}

#[test]
fn always_without_the_right_is_a_warning() {
    if !root() {
        return;
    }
    let directory = TempDir::new();
    let file = directory.file("ntpfront.toml", "[process]\nkeep-low-ports = \"always\"\n");
    let mut command = as_nobody(&["--inh-caps", "-all"]);
    command.arg("-c").arg(&file);
    started("always", command, v4(free_port()), |daemon, _| {
        assert!(
            daemon.log().contains("there is no capability to keep"),
            "{}",
            daemon.log()
        );
    });
}

/// The processes that open files for it.
fn openers(daemon: &Daemon) -> Vec<u32> {
    let ours = daemon.pid().to_string();
    let processes = fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let pid: u32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
        let status = fields(&fs::read_to_string(format!("/proc/{pid}/status")).ok()?);
        let is_opener = status["PPid"] == ours && status["Name"] == "ntpfront-files";
        is_opener.then_some(pid)
    });
    processes.collect()
}

/// It has no right, no socket but one, and no signal but the last changes what it does; it ends with the other.
#[test]
fn the_process_that_opens_files_has_less_than_the_other() {
    if !root() {
        return;
    }
    for user in [None, Some("nobody")] {
        let mut command = Command::new(PROGRAM);
        command.args(user.map(|user| format!("-u{user}")));
        let mut opener = 0;
        started("opener", command, v4(free_port()), |daemon, threads| {
            let found = openers(daemon);
            assert_eq!(found.len(), 1);
            opener = found[0];
            let status = || fields(&fs::read_to_string(format!("/proc/{opener}/status")).unwrap());
            for set in ["CapPrm", "CapEff", "CapInh", "CapAmb", "CapBnd"] {
                assert_eq!(status()[set], NONE, "{set}");
            }
            assert_eq!(status()["Uid"], threads.all("Uid"));
            assert_eq!(status()["Groups"], threads.all("Groups"));
            assert_eq!((&*status()["NoNewPrivs"], &*status()["Seccomp"]), ("1", "2"));
            assert_eq!(status()["Threads"], "1");
            let links = fs::read_dir(format!("/proc/{opener}/fd")).unwrap();
            let links = links.map(|link| fs::read_link(link.unwrap().path()).unwrap());
            let (sockets, others): (Vec<_>, Vec<_>) = links.partition(|link| !link.starts_with("/"));
            assert_eq!(sockets.len(), 1, "{sockets:?} {others:?}");
            for signal in ["HUP", "TERM", "INT", "USR1", "USR2"] {
                let sent = Command::new("kill")
                    .args(["-s", signal, &opener.to_string()])
                    .status();
                assert!(sent.unwrap().success());
            }
            assert_eq!(status()["Name"], "ntpfront-files");
        });
        wait_until("it has ended, too", SOON, || {
            (!std::path::Path::new(&format!("/proc/{opener}")).exists()).then_some(())
        });
    }
}

/// A copy of large lists would stay in memory when the lists are read again.
#[test]
fn the_process_that_opens_files_keeps_no_lists() {
    if !root() {
        return;
    }
    let directory = TempDir::new();
    let prefixes: String = (0..300_000_u32)
        .map(|number| format!("{}/32\n", std::net::Ipv4Addr::from(0x0a00_0000 + 2 * number)))
        .collect();
    directory.file("denied", &prefixes);
    let file = directory.file("ntpfront.toml", "[access]\ndeny-files = [\"denied\"]\n");
    let mut command = Command::new(PROGRAM);
    command.arg("-c").arg(file);
    started("lists", command, v4(free_port()), |daemon, threads| {
        let kilobytes = |said: &str| -> u32 { said.trim_end_matches(" kB").parse().unwrap() };
        let opener = fields(&fs::read_to_string(format!("/proc/{}/status", openers(daemon)[0])).unwrap());
        let (ours, its) = (
            kilobytes(&threads.first["RssAnon"]),
            kilobytes(&opener["RssAnon"]),
        );
        assert!(ours > 4 * its && its < 4096, "{ours} kB, {its} kB");
    });
}

/// Who runs as root and has its configuration in a directory with others' files: a reload finds what was put in its place.
#[test]
fn files_beside_others_are_read_again_when_they_are_replaced() {
    if !root() {
        return;
    }
    let etc = TempDir::new();
    fs::set_permissions(etc.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::create_dir(etc.path().join("etc")).unwrap();
    for process in ["", "[process]\nuser = \"nobody\"\n"] {
        let port = free_port();
        let text = |denied: &str| {
            format!(
                "upstream = []\n{process}[local]\nenabled = true\nwait = 0\n[access]\ndeny-files = [\"{denied}\"]\n[[listener]]\naddress = \"127.0.0.1:{port}\"\n"
            )
        };
        let file = etc.file("etc/ntpfront.toml", text("denied"));
        etc.file("etc/denied", "192.0.2.0/24\n");
        let mut command = Command::new(PROGRAM);
        command.arg("-c").arg(&file);
        let daemon = Daemon::spawn(command).answering(v4(port));
        // A new file in its place, as an editor does it, and with it a list that denies us.
        let list = etc.file("etc/new", "127.0.0.1\n");
        fs::rename(list, etc.path().join("etc/denied")).unwrap();
        fs::rename(etc.file("etc/new", &(text("denied") + "workers = 2\n")), &file).unwrap();
        assert_eq!(daemon.hang_up(), Reload::Done, "{}", daemon.log());
        assert!(daemon.log().contains("other policy"), "{}", daemon.log());
        // What nobody had named is none of its business.
        etc.file("etc/other", "192.0.2.0/24\n");
        fs::rename(etc.file("etc/new", text("other")), &file).unwrap();
        assert_eq!(daemon.hang_up(), Reload::Refused, "{}", daemon.log());
        assert!(daemon.log().contains("Permission denied"), "{}", daemon.log());
    }
}

#[test]
fn each_lock_has_a_key() {
    for (landlock, seccomp) in [(true, true), (false, true), (true, false)] {
        let directory = TempDir::new();
        let text = format!("[process]\nlandlock = {landlock}\nseccomp = {seccomp}\n");
        let mut command = Command::new(PROGRAM);
        command.arg("-c").arg(directory.file("ntpfront.toml", &text));
        started("keys", command, v4(free_port()), |daemon, threads| {
            let log = daemon.log();
            assert_eq!(log.contains("(process.landlock)"), landlock, "{log}");
            assert_eq!(log.contains("(process.seccomp)"), seccomp, "{log}");
            assert!(!log.contains("is unavailable"), "{log}");
            assert!(log.contains("still running as root"), "{log}");
            assert_eq!(openers(daemon).len(), usize::from(landlock));
            if seccomp {
                threads.have_filters(3, 4);
            } else {
                threads.have_filters(0, 0);
            }
        });
    }
}

#[test]
fn who_can_not_read_the_configuration_again_is_warned() {
    if !root() {
        return;
    }
    for (mode, warned) in [(0o600, true), (0o644, false)] {
        let (directory, cage) = (TempDir::new(), TempDir::new());
        let file = directory.file("ntpfront.toml", "");
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        let mut command = Command::new(PROGRAM);
        command
            .args(["-u", "nobody", "-r"])
            .arg(cage.path())
            .arg("-c")
            .arg(&file);
        started("configuration", command, v4(free_port()), |daemon, _| {
            assert_eq!(
                daemon.log().contains("a reload will fail"),
                warned,
                "{}",
                daemon.log()
            );
        });
    }
}

/// In a mount namespace where `/etc/hosts` and `/etc/resolv.conf` are the test's own files. The second is a link into
/// another directory, absolute, as NetworkManager makes it.
#[test]
fn names_resolve_as_the_files_say_now_from_inside_the_cage() {
    if !root() {
        return;
    }
    let (etc, run, cage) = (TempDir::new(), TempDir::new(), TempDir::new());
    etc.file("hosts", "127.0.0.1 localhost\n");
    // Nobody answers there in a network of its own.
    run.file(
        "resolv.conf",
        "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n",
    );
    std::os::unix::fs::symlink(run.path().join("resolv.conf"), etc.path().join("resolv.conf")).unwrap();
    for directory in [&etc, &run] {
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    }
    in_own_network(|| {
        // A name may not stand for a loopback address.
        ip("address add 192.0.2.7/32 dev lo");
        let upstream = Scripted::at(([192, 0, 2, 7], 123).into(), |ask| vec![good(ask).into()]);
        let server = v4(free_port());
        let mut command = Command::new("unshare");
        let in_place = format!("mount --bind {} /etc && exec \"$@\"", etc.path().display());
        fs::copy("/etc/passwd", etc.path().join("passwd")).unwrap();
        command
            .args([
                "--mount", "sh", "-c", &in_place, "sh", PROGRAM, "-u", "nobody", "-r",
            ])
            .arg(cage.path())
            .args(["-6", "0", "-a", &server.to_string(), "-s", "later.example"]);
        let daemon = Daemon::spawn(command).answering(server);
        wait_until("the name is not known", SOON, || {
            daemon.log().contains("its name can't be resolved").then_some(())
        });
        // A new file in its place, as an editor does it.
        let new = etc.file("new", "192.0.2.7 later.example\n");
        fs::rename(new, etc.path().join("hosts")).unwrap();
        wait_until("it was asked", SOON, || (upstream.asked() > 0).then_some(()));
    });
}
