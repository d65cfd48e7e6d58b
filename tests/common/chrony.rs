//! A real `chronyd -x` (it never touches the clock) as upstream: its own port, its own configuration.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::{SOON, TempDir, client, peer, wait_until};

/// The program, or `None` where it is left out on purpose.
pub(crate) fn program() -> Option<PathBuf> {
    peer("chronyd", "chronyd")
}

/// A running chronyd; ended when dropped.
pub(crate) struct Chronyd {
    child: Child,
    directory: TempDir,
}

impl Chronyd {
    /// Serves this host's clock as stratum `stratum` on `port` of both loopback addresses.
    pub(crate) fn start(program: &Path, port: u16, stratum: u8) -> Self {
        Self::configured(
            program,
            port,
            &format!("local stratum {stratum}\nallow\nbindaddress 127.0.0.1\nbindaddress ::1\n"),
        )
    }

    /// Is told `lines`, by which it has to answer 127.0.0.1 there, on `port`.
    pub(crate) fn configured(program: &Path, port: u16, lines: &str) -> Self {
        let directory = TempDir::new();
        let pid_file = directory.path().join("chronyd.pid");
        let configuration = format!(
            "{lines}port {port}\ncmdport 0\nbindcmdaddress /\npidfile {}\n",
            pid_file.display()
        );
        let child = spawn(program, &directory, &configuration);
        let chronyd = Self { child, directory };
        let address: SocketAddr = client::v4(port);
        wait_until("chronyd answers", SOON, || {
            client::ask(address, &client::request(4, 3))
        });
        chronyd
    }
}

/// Starts it with this configuration, without a right to the clock; what it says is in `log`.
fn spawn(program: &Path, directory: &TempDir, configuration: &str) -> Child {
    let log = File::create(directory.path().join("log")).unwrap();
    Command::new(program)
        .args(["-x", "-U", "-d", "-u", &me(), "-f"])
        .arg(directory.file("chrony.conf", configuration))
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap()
}

/// A running chronyd that asks servers, and never touches the clock; ended when dropped.
pub(crate) struct ChronyClient {
    child: Child,
    directory: TempDir,
}

/// What chronyd measured with one reply.
#[derive(Clone, Debug)]
pub(crate) struct Measurement {
    pub(crate) server: String,
    pub(crate) is_interleaved: bool,
    /// In seconds.
    pub(crate) offset: f64,
    /// The round trip, in seconds.
    pub(crate) delay: f64,
}

impl ChronyClient {
    /// Is told `lines`, which name the servers.
    pub(crate) fn configured(program: &Path, lines: &str) -> Self {
        let directory = TempDir::new();
        let here = directory.path().display();
        let configuration = format!(
            "{lines}\nport 0\ncmdport 0\nbindcmdaddress /\npidfile {here}/chronyd.pid\nlogdir {here}\nlog measurements\n"
        );
        let child = spawn(program, &directory, &configuration);
        Self { child, directory }
    }

    /// All that it measured so far.
    pub(crate) fn measurements(&self) -> Vec<Measurement> {
        let log = std::fs::read_to_string(self.directory.path().join("measurements.log"));
        let log = log.unwrap_or_default();
        // The last line may be half written.
        let whole = log.rsplit_once('\n').map_or("", |(whole, _)| whole);
        whole.lines().filter_map(Measurement::of_line).collect()
    }
}

impl Measurement {
    fn of_line(line: &str) -> Option<Self> {
        let words: Vec<&str> = line.split_whitespace().collect();
        Some(Self {
            server: (*words.get(2)?).to_owned(),
            is_interleaved: words.get(17)?.ends_with('I'),
            offset: words.get(11)?.parse().ok()?,
            delay: words.get(12)?.parse().ok()?,
        })
    }
}

impl Drop for ChronyClient {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            for name in ["log", "measurements.log"] {
                let log = std::fs::read_to_string(self.directory.path().join(name));
                eprintln!("--- {name} of chronyd:\n{}---", log.unwrap_or_default());
            }
        }
    }
}

/// Who runs this test: chronyd stays that user. Its own, `_chrony`, is only there where it is installed.
pub(crate) fn me() -> String {
    let user = nix::unistd::User::from_uid(nix::unistd::geteuid())
        .unwrap()
        .unwrap();
    user.name
}

impl Drop for Chronyd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.directory.path().join("log"));
            eprintln!("--- log of chronyd:\n{}---", log.unwrap_or_default());
        }
    }
}
