//! Proves symmetric keys with real programs: chronyd and ntpd ask with each type of key, and are asked; and what is refused,
//! counted and told when keys differ, are required, or change under traffic.

use std::fmt::Write as _;
use std::fs::{self, File, Permissions};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ntpfront::symmetric::{KeyId, KeyTable, SymmetricKey, key_file};
use ntpfront::wire::{HEADER_LEN, Header, Leap};
use serde_json::Value;

use crate::common::chrony::{self, Chronyd};
use crate::common::client::{self, ask, request, v4};
use crate::common::daemon::{Daemon, LOCAL, Reload, ntpfront};
use crate::common::network::{in_own_network, ip};
use crate::common::port::free_port;
use crate::common::scripted::{Ask, Reply, Scripted, good};
use crate::common::status::status;
use crate::common::{SOON, TempDir, peer, root, run, wait_until};

/// A key of each type, as all three programs read it.
const KEYS: &str = "\
1 MD5 HEX:00112233445566778899aabbccddeeff
2 SHA1 HEX:00112233445566778899aabbccddeeff00112233
3 SHA256 HEX:00112233445566778899aabbccddeeff00112233
4 SHA384 HEX:00112233445566778899aabbccddeeff00112233
5 SHA512 HEX:00112233445566778899aabbccddeeff00112233
6 AES128 HEX:00112233445566778899aabbccddeeff
7 AES256 HEX:00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff
";
const TYPES: u32 = 7;
/// A key of which the other side has another secret.
const OURS: &str = "8 SHA1 HEX:00000000000000000000000000000000000000aa\n";
const THEIRS: &str = "8 SHA1 HEX:00000000000000000000000000000000000000bb\n";

/// A key file, as its daemon wants it.
fn key_file_in(directory: &TempDir, name: &str, text: &str) -> PathBuf {
    let path = directory.file(name, text);
    fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    path
}

fn keys(text: &str) -> KeyTable {
    key_file::parse(text, true).unwrap()
}

fn key(id: u32) -> SymmetricKey {
    let id = KeyId::new(id).unwrap();
    keys(&(KEYS.to_owned() + OURS)).get(id).unwrap().clone()
}

/// The lines of a configuration with these keys.
fn with_keys(file: &Path) -> String {
    format!(
        "[symmetric-keys]\nfile = \"{}\"\nallow-md5 = true\n",
        file.display()
    )
}

fn listener(address: SocketAddr, lines: &str) -> String {
    format!("[[listener]]\naddress = \"{address}\"\n{lines}")
}

fn control(path: &Path) -> String {
    format!("[control]\nsocket = \"{}\"\n", path.display())
}

/// A request with a MAC.
fn signed(key: &SymmetricKey) -> Vec<u8> {
    let packet = request(4, 3);
    [&packet[..], &key.mac(&packet)].concat()
}

fn is_signed(reply: &[u8], key: &SymmetricKey) -> bool {
    let (header, behind) = reply.split_at(HEADER_LEN);
    behind == key.mac(header).as_slice()
}

fn verdict(status: &Value, name: &str) -> u64 {
    let count = &status["requests"]["verdicts"][name];
    count.as_u64().unwrap_or_else(|| panic!("no {name} in {status}"))
}

/// A server with all keys, and the directory with its files.
fn server(lines: &str) -> (Daemon, SocketAddr, TempDir) {
    let directory = TempDir::new();
    let file = key_file_in(&directory, "ntp.keys", &(KEYS.to_owned() + OURS));
    let address = v4(free_port());
    let text = LOCAL.to_owned()
        + &control(&directory.path().join("control"))
        + &with_keys(&file)
        + &listener(address, lines);
    (Daemon::configured(&text), address, directory)
}

/// Whether a chronyd that asks with this key finds a time.
fn chronyd_is_content(program: &Path, keys: &str, id: u32, port: u16) -> bool {
    let directory = TempDir::new();
    let file = key_file_in(&directory, "chrony.keys", keys);
    let outcome = run(Command::new(program)
        .args(["-Q", "-U", "-u", &chrony::me(), "-t", "8"])
        .args([
            &format!("pidfile {}", directory.path().join("pid").display()),
            &format!("keyfile {}", file.display()),
            "cmdport 0",
            "bindcmdaddress /",
            &format!("server 127.0.0.1 port {port} key {id} iburst maxsamples 1"),
        ]));
    let said = outcome.said();
    assert!(!said.contains("Unknown hash"), "{said}");
    assert_eq!(
        outcome.status == Some(0),
        said.contains("System clock wrong by"),
        "{said}"
    );
    outcome.status == Some(0)
}

#[test]
fn chronyd_asks_with_each_type() {
    let Some(program) = chrony::program() else {
        return;
    };
    for mode in ["", "authentication = \"require\"\n"] {
        let (_daemon, address, directory) = server(mode);
        let all = KEYS.to_owned() + THEIRS;
        std::thread::scope(|scope| {
            let (program, all) = (&program, &all);
            for id in 1..=TYPES + 1 {
                scope.spawn(move || {
                    let is_content = chronyd_is_content(program, all, id, address.port());
                    assert_eq!(is_content, id <= TYPES, "{id}");
                });
            }
        });
        let shown = status(&directory.path().join("control"));
        assert!(verdict(&shown, "answered-mac") >= TYPES.into(), "{shown}");
        assert!(verdict(&shown, "refused-mac") > 0, "{shown}");
        assert_eq!(verdict(&shown, "answered-client"), 0);
        // A client without a key gets an answer only where none is required.
        assert_eq!(ask(address, &request(4, 3)).is_some(), mode.is_empty(), "{mode}");
    }
}

/// The upstream that is polled at `address`, by `status`.
fn upstream(status: &Value, address: SocketAddr) -> Value {
    let all = status["upstreams"].as_array().unwrap();
    let found = all.iter().find(|one| one["name"] == address.to_string());
    found
        .unwrap_or_else(|| panic!("no {address} in {status}"))
        .clone()
}

/// Upstreams at these addresses, each with the key of its number, polled as often as may be.
fn upstreams(addresses: &[SocketAddr]) -> String {
    let mut text = String::new();
    for (id, address) in (1..).zip(addresses) {
        let poll = u8::from(!address.ip().is_loopback());
        let _infallible = write!(
            text,
            "[[upstream]]\naddress = \"{address}\"\nkey = {id}\nminpoll = {poll}\nmaxpoll = {poll}\n"
        );
    }
    text
}

#[test]
fn chronyd_is_asked_with_each_type() {
    let Some(program) = chrony::program() else {
        return;
    };
    let directory = TempDir::new();
    let theirs = key_file_in(&directory, "chrony.keys", &(KEYS.to_owned() + THEIRS));
    let ours = key_file_in(&directory, "ntp.keys", &(KEYS.to_owned() + OURS));
    let (port, listen, socket) = (free_port(), v4(free_port()), directory.path().join("control"));
    let lines = format!("local stratum 7\nallow\nkeyfile {}\n", theirs.display());
    let _chronyd = Chronyd::configured(&program, port, &lines);
    let addresses: Vec<SocketAddr> = (1..=8)
        .map(|last| SocketAddr::from(([127, 0, 0, last], port)))
        .collect();
    let text = control(&socket) + &with_keys(&ours) + &listener(listen, "") + &upstreams(&addresses);
    let _daemon = Daemon::configured(&text).answering(listen);
    let (wrong, right) = addresses.split_last().unwrap();
    let shown = wait_until("good answers of all with the same key", SOON, || {
        let shown = status(&socket);
        let accepted = |address: &SocketAddr| upstream(&shown, *address)["accepted"].as_u64() > Some(2);
        right.iter().all(accepted).then_some(shown)
    });
    // chronyd answers nothing to a MAC that it doesn't know.
    let wrong = upstream(&shown, *wrong);
    assert_eq!(
        (&wrong["accepted"], &wrong["reach"]),
        (&0.into(), &0.into()),
        "{wrong}"
    );
}

/// ntpsec's daemon, without the right to set the clock.
struct Ntpd {
    child: Child,
    directory: TempDir,
}

impl Ntpd {
    fn program() -> Option<PathBuf> {
        peer("setpriv", "setpriv")?;
        peer("ntpd", "ntpd")
    }

    /// Listens on port 123 of 127.0.0.1 and of `listens`; it has `keys`, and trusts them.
    fn start(program: &Path, keys: &str, listens: &[&str], lines: &str) -> Self {
        let directory = TempDir::new();
        // It has no HEX:, and names of its own.
        let keys = keys
            .replace("HEX:", "")
            .replace("AES128", "AES-128")
            .replace("AES256", "AES-256");
        let file = key_file_in(&directory, "ntp.keys", &keys);
        let mut text = format!(
            "keys {}\ntrustedkey 1 2 3 4 5 6 7 8\ninterface ignore wildcard\ninterface ignore all\n{lines}\n",
            file.display()
        );
        for address in listens {
            let _infallible = writeln!(text, "interface listen {address}");
        }
        let configuration = directory.file("ntp.conf", &text);
        let log = File::create(directory.path().join("log")).unwrap();
        let child = Command::new("setpriv")
            .args(["--bounding-set", "-sys_time", "--inh-caps", "-sys_time"])
            .arg("--no-new-privs")
            .arg(program)
            .arg("-n")
            .arg("-c")
            .arg(configuration)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        Self { child, directory }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Ntpd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- log of ntpd:\n{}---", self.log());
        }
    }
}

#[test]
fn ntpd_is_asked_with_each_type() {
    let Some(program) = Ntpd::program() else {
        return;
    };
    in_own_network(|| {
        let hosts: Vec<String> = (1..=8).map(|last| format!("192.0.2.{last}")).collect();
        for host in &hosts {
            ip(&format!("addr add {host}/24 dev lo"));
        }
        let names: Vec<&str> = hosts.iter().map(String::as_str).collect();
        // It may take minutes to believe its own clock. Until then its replies are genuine, and say "unsynchronized" or
        // that its clock may be wrong by seconds.
        let lines = "refclock local stratum 3 iburst prefer";
        let ntpd = Ntpd::start(&program, &(KEYS.to_owned() + THEIRS), &names, lines);
        let directory = TempDir::new();
        let ours = key_file_in(&directory, "ntp.keys", &(KEYS.to_owned() + OURS));
        let (listen, socket) = (v4(1123), directory.path().join("control"));
        let addresses: Vec<SocketAddr> = hosts
            .iter()
            .map(|host| SocketAddr::new(host.parse().unwrap(), 123))
            .collect();
        for address in &addresses {
            wait_until("ntpd answers without a key", SOON, || {
                ask(*address, &request(4, 3))
            });
        }
        let text = control(&socket) + &with_keys(&ours) + &listener(listen, "") + &upstreams(&addresses);
        let _daemon = Daemon::configured(&text).answering(listen);
        let (wrong, right) = addresses.split_last().unwrap();
        let genuine = |one: &Value| {
            let count = |value: &Value| value.as_u64().unwrap_or(0);
            let refused = ["unsynchronized", "distance"].map(|reason| count(&one["rejected"][reason]));
            count(&one["accepted"]) + refused.iter().sum::<u64>()
        };
        for address in right {
            wait_until(&format!("genuine answers of {address}"), SOON, || {
                let one = upstream(&status(&socket), *address);
                (genuine(&one) > 0).then_some(())
            });
        }
        let shown = status(&socket);
        let wrong = upstream(&shown, *wrong);
        assert_eq!(genuine(&wrong), 0, "{wrong}");
        assert!(!ntpd.log().contains("invalid"), "{}", ntpd.log());
    });
}

#[test]
fn ntpd_asks_with_each_type() {
    let Some(program) = Ntpd::program() else {
        return;
    };
    if !root() {
        return;
    }
    std::thread::scope(|scope| {
        for id in 1..=TYPES + 1 {
            let program = &program;
            scope.spawn(move || in_own_network(|| ntpd_asks(program, id)));
        }
    });
}

/// It takes the time of a server with the same key, and of no other.
fn ntpd_asks(program: &Path, id: u32) {
    ip("addr add 192.0.2.1/24 dev lo");
    ip("addr add 192.0.2.2/24 dev lo");
    let directory = TempDir::new();
    let file = key_file_in(&directory, "ntp.keys", &(KEYS.to_owned() + OURS));
    let address = SocketAddr::from(([192, 0, 2, 1], 123));
    let socket = directory.path().join("control");
    let text = LOCAL.to_owned() + &control(&socket) + &with_keys(&file) + &listener(address, "");
    let _daemon = Daemon::configured(&text).answering(address);
    let lines = format!("server 192.0.2.1 key {id} iburst minpoll 0 maxpoll 3");
    let theirs = KEYS.to_owned() + THEIRS;
    let _ntpd = Ntpd::start(program, &theirs, &["192.0.2.2"], &lines);
    let has_answered = |name: &str| {
        wait_until("requests with a MAC", SOON, || {
            (verdict(&status(&socket), name) >= 3).then_some(())
        });
    };
    let ntpd = SocketAddr::from(([192, 0, 2, 2], 123));
    if id > TYPES {
        has_answered("refused-mac");
        assert_eq!(client::header(ntpd).leap, Leap::Unsynchronized);
        return;
    }
    has_answered("answered-mac");
    wait_until("ntpd takes the time of ntpfront", SOON, || {
        std::thread::sleep(Duration::from_secs(1));
        let reply = client::header(ntpd);
        (reply.leap != Leap::Unsynchronized && reply.stratum == 11).then_some(())
    });
}

/// The answer of an honest server, with more behind it.
fn with(
    behind: impl Fn(&[u8]) -> Vec<u8> + Send + 'static,
) -> impl FnMut(&Ask) -> Vec<Reply> + Send + 'static {
    move |ask| {
        assert_eq!(ask.length, HEADER_LEN + 24, "it is never asked without a MAC");
        let header = good(ask).to_bytes();
        vec![Reply::Own([&header[..], &behind(&header)].concat())]
    }
}

#[test]
fn an_upstream_without_the_right_mac_is_never_believed() {
    let (key_2, key_8) = (key(2), key(8));
    let scripted = [
        Scripted::start(with(move |header| key_2.mac(header).to_vec())),
        Scripted::start(with(|_| Vec::new())),
        Scripted::start(with(move |header| key_8.mac(header).to_vec())),
        Scripted::start(with(|_| vec![0; 4])),
    ];
    let directory = TempDir::new();
    let file = key_file_in(&directory, "ntp.keys", KEYS);
    let (listen, socket) = (v4(free_port()), directory.path().join("control"));
    let configured = |key: u32| {
        let mut text = control(&socket) + &with_keys(&file) + &listener(listen, "");
        for one in &scripted {
            let address = one.address();
            let _infallible = write!(
                text,
                "[[upstream]]\naddress = \"{address}\"\nkey = {key}\nminpoll = 0\nmaxpoll = 0\n"
            );
        }
        text
    };
    let daemon = Daemon::configured(&configured(2)).answering(listen);
    let [right, bare, wrong, nak] = scripted.each_ref().map(Scripted::address);
    let shown = wait_until("answers of all", SOON, || {
        let shown = status(&socket);
        let rejected =
            |address, reason: &str| upstream(&shown, address)["rejected"][reason].as_u64() > Some(1);
        let is_done = upstream(&shown, right)["accepted"].as_u64() > Some(1)
            && rejected(bare, "no-mac")
            && rejected(wrong, "wrong-mac")
            && rejected(nak, "crypto-nak");
        is_done.then_some(shown)
    });
    for (address, reason) in [(bare, "no-mac"), (wrong, "wrong-mac"), (nak, "crypto-nak")] {
        let one = upstream(&shown, address);
        assert_eq!(
            (&one["accepted"], &one["reason"]),
            (&0.into(), &reason.into()),
            "{one}"
        );
        let line = format!("upstream {address}: no reply has a MAC of key 2 ({reason})");
        wait_until("a line in the log", SOON, || {
            daemon.log().contains(&line).then_some(())
        });
    }
    // Another key at both ends: what was learned stays. The others keep theirs.
    let key_5 = key(5);
    scripted[0].turn_to(with(move |header| key_5.mac(header).to_vec()));
    assert_eq!(daemon.reload(&configured(5)), Reload::Done);
    assert!(daemon.log().contains("other settings, its samples stay"));
    let accepted = || upstream(&status(&socket), right)["accepted"].as_u64().unwrap();
    let before = accepted();
    wait_until("more answers", SOON, || (accepted() > before).then_some(()));
}

/// A client that asks with this key all the time, and has each reply checked.
fn ask_until(stop: &AtomicBool, address: SocketAddr, key: &SymmetricKey) -> u64 {
    let mut answered = 0;
    while !stop.load(Ordering::Relaxed) {
        let socket = client::socket(([127, 0, 0, 1], 0));
        let reply = client::exchange(&socket, address, &signed(key), SOON);
        let reply = reply.expect("each request is answered");
        assert!(is_signed(&reply.bytes, key));
        answered += 1;
    }
    answered
}

#[test]
fn keys_are_replaced_under_traffic_and_no_request_is_lost() {
    const RELOADS: u32 = 20;
    let directory = TempDir::new();
    let address = v4(free_port());
    let file = key_file_in(&directory, "ntp.keys", KEYS);
    let text = LOCAL.to_owned() + &with_keys(&file) + &listener(address, "workers = 2\n");
    let daemon = Daemon::configured(&text).answering(address);
    let rotating = |id: u32| {
        // The key that all use, and one that comes and goes.
        let rotating = format!("{id} SHA256 secret-{id}\n");
        key_file_in(&directory, "ntp.keys.new", &(KEYS.to_owned() + &rotating));
        fs::rename(directory.path().join("ntp.keys.new"), &file).unwrap();
        assert_eq!(daemon.hang_up(), Reload::Done);
        let table = keys(&rotating);
        table.keys()[0].clone()
    };
    let stop = AtomicBool::new(false);
    let answered: u64 = std::thread::scope(|scope| {
        let asking: Vec<_> = (1..=4)
            .map(|id| {
                let stop = &stop;
                scope.spawn(move || ask_until(stop, address, &key(id)))
            })
            .collect();
        let mut last = None;
        for id in 100..100 + RELOADS {
            let new = rotating(id);
            // From the end of the reload on, at the next batch.
            wait_until("the new key", SOON, || {
                ask(address, &signed(&new)).filter(|reply| is_signed(&reply.bytes, &new))
            });
            if let Some(last) = last.replace(new) {
                assert_eq!(ask(address, &signed(&last)), None, "its key is gone");
            }
        }
        stop.store(true, Ordering::Relaxed);
        asking.into_iter().map(|one| one.join().unwrap()).sum()
    });
    println!("{answered} requests answered during {RELOADS} reloads");
    assert!(answered > u64::from(RELOADS), "{answered}");
    // A file with a fault changes nothing.
    fs::write(&file, "1\n").unwrap();
    assert_eq!(daemon.hang_up(), Reload::Refused);
    assert!(ask(address, &signed(&key(1))).is_some());
}

#[test]
fn what_is_wrong_with_a_key_file_is_told_before_the_start() {
    let directory = TempDir::new();
    let file = key_file_in(&directory, "ntp.keys", "1 SHA1\n2 TIGER secret\n3 MD5 secret\n");
    let text = format!("[symmetric-keys]\nfile = \"{}\"\n", file.display());
    let configuration = directory.file("ntpfront.toml", text);
    let check = || ntpfront(&["check", "-c", configuration.to_str().unwrap()]);
    let outcome = check();
    assert_eq!(outcome.status, Some(2), "{}", outcome.said());
    let said = outcome.said();
    for expected in [
        ":1:1: MD5 is not safe",
        ":2:1: the second word is no known type",
        ":3:1: MD5",
    ] {
        assert!(said.contains(&format!("{}{expected}", file.display())), "{said}");
    }
    assert!(!said.contains("secret"), "{said}");
    fs::write(&file, KEYS).unwrap();
    fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
    let said = check().said();
    assert!(
        said.contains("others can access it: its mode is 0644; `chmod 640"),
        "{said}"
    );
    // Who may not read the keys may ask for the rest.
    let shown = ntpfront(&["config", "-c", configuration.to_str().unwrap()]);
    assert_eq!(shown.status, Some(0), "{}", shown.said());
}

#[test]
fn refusals_are_counted_and_a_mac_is_ignored_without_keys() {
    let (daemon, address, directory) = server("");
    let _daemon = daemon.answering(address);
    let unknown = keys("99 SHA1 secret\n").keys()[0].clone();
    assert_eq!(ask(address, &signed(&unknown)), None);
    let mut forged = signed(&key(6));
    *forged.last_mut().unwrap() ^= 1;
    assert_eq!(ask(address, &forged), None);
    let reply = ask(address, &signed(&key(6))).unwrap();
    assert!(is_signed(&reply.bytes, &key(6)));
    let shown = status(&directory.path().join("control"));
    assert_eq!(verdict(&shown, "refused-mac-key"), 1);
    assert_eq!(verdict(&shown, "refused-mac"), 1);
    assert_eq!(verdict(&shown, "answered-mac"), 1);

    let plain = v4(free_port());
    let text = LOCAL.to_owned() + &listener(plain, "");
    let _plain = Daemon::configured(&text).answering(plain);
    let reply = ask(plain, &signed(&unknown)).unwrap();
    assert_eq!(reply.bytes.len(), HEADER_LEN);
    assert!(Header::parse(&reply.bytes).is_ok());
}
