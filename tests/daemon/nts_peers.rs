//! Proves that a real client, chronyd, gets keys and the time with NTS from ntpfront on the usual ports of both families.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::common::chrony;
use crate::common::client::v4;
use crate::common::daemon::{Daemon, LOCAL};
use crate::common::ke::{install, section};
use crate::common::network::in_own_network;
use crate::common::status::status;
use crate::common::{SOON, TempDir, run, wait_until};

fn root_of(directory: &str, name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/common")
        .join(directory)
        .join(name)
}

/// ntpfront as a server with NTS on the usual ports of both families, in a network of its own.
struct Server {
    _daemon: Daemon,
    directory: TempDir,
}

impl Server {
    fn start() -> Self {
        let directory = TempDir::new();
        install(&directory, "time");
        let [four, six] = ["127.0.0.1", "[::1]"];
        let section = section(&directory, v4(4460)).replace("listen = [", "listen = [\"[::1]:4460\", ");
        let text = format!(
            "{LOCAL}[control]\nsocket = \"{}/control\"\n[[listener]]\naddress = \"{four}:123\"\n[[listener]]\naddress = \"{six}:123\"\n{section}",
            directory.path().display()
        );
        Self {
            _daemon: Daemon::configured(&text).answering(v4(123)),
            directory,
        }
    }

    /// Waits until requests with NTS are answered, and none is refused.
    fn answers(&self, who: &str) {
        wait_until(who, SOON, || {
            let status = status(&self.directory.path().join("control"));
            let verdicts = &status["requests"]["verdicts"];
            assert_eq!(
                verdicts["kissed-nts-nak"].as_u64().unwrap_or(0),
                0,
                "{who}: {verdicts}"
            );
            (verdicts["answered-nts"].as_u64() > Some(0)).then_some(())
        });
    }
}

#[test]
fn chronyd_asks_with_nts_over_both_families() {
    let Some(program) = chrony::program() else { return };
    in_own_network(|| {
        let server = Server::start();
        for host in ["127.0.0.1", "::1"] {
            let outcome = run(Command::new(&program)
                .args(["-Q", "-U", "-u", &chrony::me(), "-t", "20"])
                .args([
                    &format!("pidfile {}", server.directory.path().join("pid").display()),
                    "cmdport 0",
                    "bindcmdaddress /",
                    &format!("ntstrustedcerts {}", root_of("certificates", "ca.pem").display()),
                    &format!("server {host} nts iburst maxsamples 1"),
                ]));
            assert_eq!(outcome.status, Some(0), "{host}: {}", outcome.said());
            assert!(
                outcome.said().contains("System clock wrong by"),
                "{}",
                outcome.said()
            );
        }
        server.answers("chronyd");
    });
}
