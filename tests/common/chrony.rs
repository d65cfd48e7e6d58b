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
        let configuration = directory.file("chrony.conf", &configuration);
        let log = File::create(directory.path().join("log")).unwrap();
        let child = Command::new(program)
            .args(["-x", "-U", "-d", "-u", &me(), "-f"])
            .arg(configuration)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let chronyd = Self { child, directory };
        let address: SocketAddr = client::v4(port);
        wait_until("chronyd answers", SOON, || {
            client::ask(address, &client::request(4, 3))
        });
        chronyd
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
