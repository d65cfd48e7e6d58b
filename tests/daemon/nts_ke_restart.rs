//! What a successor takes over of key establishment from the descriptor store: the socket with the connections that wait in
//! it, and the secret. And a real client, chronyd, whose cookies hold the keys that it has.

use std::io::IoSliceMut;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::cmsg_space;
use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
use nix::unistd::Pid;
use ntpfront::nts::aead::Algorithm;

use super::nts_ke::{KeDaemon, keyring};
use crate::common::client::v4;
use crate::common::daemon::{Daemon, LOCAL};
use crate::common::ke::{KeClient, install, section};
use crate::common::port::free_port;
use crate::common::{SOON, TempDir, chrony, wait_until};

const BOTH: [Algorithm; 2] = [Algorithm::SivCmac256, Algorithm::GcmSiv128];

/// The socket of a service manager, which keeps what it is given.
struct Store(UnixDatagram);

impl Store {
    fn new(directory: &TempDir) -> Self {
        let socket = UnixDatagram::bind(directory.path().join("notify")).unwrap();
        socket.set_read_timeout(Some(SOON)).unwrap();
        Self(socket)
    }

    /// Takes messages until there is a descriptor of a name that begins so; returns both.
    fn take(&self, beginning: &str) -> (String, OwnedFd) {
        loop {
            let mut bytes = [0; 4096];
            let mut space = cmsg_space!([RawFd; 1]);
            let mut vector = [IoSliceMut::new(&mut bytes)];
            let flags = MsgFlags::MSG_CMSG_CLOEXEC;
            let message = recvmsg::<()>(self.0.as_raw_fd(), &mut vector, Some(&mut space), flags).unwrap();
            let mut numbers = Vec::new();
            for control in message.cmsgs().unwrap() {
                if let ControlMessageOwned::ScmRights(more) = control {
                    numbers.extend(more);
                }
            }
            let mut files = ntpfront::host::sys::inherited(numbers);
            let length = message.bytes;
            let text = String::from_utf8_lossy(&bytes[..length]).into_owned();
            let name = text.lines().find_map(|line| line.strip_prefix("FDNAME="));
            if let Some(name) = name.filter(|name| name.starts_with(beginning)) {
                return (name.to_owned(), files.remove(0));
            }
        }
    }
}

fn text(directory: &TempDir, ntp: std::net::SocketAddr, ke: std::net::SocketAddr) -> String {
    format!(
        "{LOCAL}[[listener]]\naddress = \"{ntp}\"\n{}",
        section(directory, ke)
    )
}

/// The first eight bits of a cookie are of its secret.
fn tag_of_secret(ke: std::net::SocketAddr) -> u8 {
    let established = KeClient::default().establish(ke, &BOTH).unwrap();
    established.granted.cookies[0][0]
}

#[test]
fn a_successor_has_the_secret_and_refuses_no_connection() {
    let directory = TempDir::new();
    install(&directory, "time");
    let store = Store::new(&directory);
    let (ntp, ke) = (v4(free_port()), v4(free_port()));
    let variable = format!("NOTIFY_SOCKET={}", directory.path().join("notify").display());
    let mut first = Daemon::configured_by(&["env", &variable], &text(&directory, ntp, ke)).answering(ntp);
    let (_, secret) = store.take("nts-secret");
    let (name, socket) = store.take("ke-");
    assert_eq!(name, format!("ke-127.0.0.1_{}", ke.port()));
    let tag = tag_of_secret(ke);
    assert!(first.end_with(Signal::SIGTERM).0.success());
    // With it go the sockets for NTP, which the successor opens itself.
    drop(store);
    // Nobody serves now: a client waits, and is not refused.
    let waiting = std::thread::spawn(move || tag_of_secret(ke));
    std::thread::sleep(Duration::from_millis(200));
    assert!(!waiting.is_finished());
    let successor = Daemon::inheriting(
        &text(&directory, ntp, ke),
        [(&name, socket), ("nts-secret", secret)],
    )
    .answering(ntp);
    assert_eq!(waiting.join().unwrap(), tag);
    assert_eq!(tag_of_secret(ke), tag);
    let log = successor.log();
    assert!(log.contains("continuing with the secret of the cookies"), "{log}");
}

#[test]
fn what_is_no_secret_and_no_listening_socket_is_not_used() {
    let directory = TempDir::new();
    install(&directory, "time");
    let (ntp, ke) = (v4(free_port()), v4(free_port()));
    let nonsense = std::fs::File::open(directory.file("nonsense", "nonsense")).unwrap();
    let (stream, _other) = std::os::unix::net::UnixStream::pair().unwrap();
    let successor = Daemon::inheriting(
        &text(&directory, ntp, ke),
        [("ke-nonsense", stream.into()), ("nts-secret", nonsense.into())],
    )
    .answering(ntp);
    tag_of_secret(ke);
    let log = successor.log();
    for expected in [
        "the secret of the cookies of the previous process is not used",
        "cannot use a socket of the service manager",
    ] {
        assert!(log.contains(expected), "{expected}: {log}");
    }
}

/// chronyd, which writes its keys and cookies into a file when it ends.
#[test]
fn the_cookies_of_chronyd_hold_its_keys() {
    let Some(program) = chrony::program() else { return };
    let server = KeDaemon::start("");
    let secret = crate::common::ke::secrets(&server.directory, &[9]);
    let more = format!("secret = \"{}\"", secret.display());
    server.daemon.reload(&server.text(&more));
    let received = |server: &KeDaemon| server.status()["requests"]["received"].as_u64().unwrap();
    let before = received(&server);
    let directory = TempDir::new();
    let path = directory.path().display();
    let authority = std::path::Path::new("tests/common/certificates/ca.pem")
        .canonicalize()
        .unwrap();
    let configuration = directory.file(
        "chrony.conf",
        format!(
            "server 127.0.0.1 nts ntsport {} iburst minpoll 4\nntstrustedcerts {}\nntsdumpdir {path}\nport 0\ncmdport 0\n\
             bindcmdaddress /\npidfile {path}/pid\n",
            server.ke.port(),
            authority.display()
        ),
    );
    let mut child = Command::new(program)
        .args(["-x", "-U", "-d", "-u", &chrony::me(), "-f"])
        .arg(configuration)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // With its cookies it asks for the time.
    wait_until("a session of chronyd, and its question", SOON, || {
        (received(&server) > before).then_some(())
    });
    server.has_sessions("established", 1);
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM).unwrap();
    child.wait().unwrap();
    let dump = std::fs::read_to_string(directory.path().join("127.0.0.1.nts")).unwrap();
    let mut lines = dump.lines().skip(3);
    // Where the NTP server is; then the AEAD and both keys, the server's first; then the cookies.
    assert_eq!(
        lines.next(),
        Some(format!("127.0.0.1 {}", server.ntp.port()).as_str())
    );
    let keys: Vec<&str> = lines.next().unwrap().split(' ').skip(1).collect();
    assert_eq!(keys[0], "15", "{dump}");
    let keys = [unhex(keys[2]), unhex(keys[1])].concat();
    let cookies: Vec<Vec<u8>> = lines.map(unhex).collect();
    assert!((5..=8).contains(&cookies.len()), "{dump}");
    let borrowed: Vec<&[u8]> = cookies.iter().map(Vec::as_slice).collect();
    for opened in ntpfront::nts::cookie::open(&keyring(9), &borrowed) {
        assert_eq!(opened.unwrap().keys.bytes(), keys);
    }
}

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u32> = text.chars().map(|digit| digit.to_digit(16).unwrap()).collect();
    let pairs = digits.chunks(2);
    pairs
        .map(|pair| u8::try_from(pair[0] * 16 + pair[1]).unwrap())
        .collect()
}
