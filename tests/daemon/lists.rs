//! Proves that long lists of prefixes keep nobody waiting: while they are read the time is renewed, requests are answered and
//! the old lists count; and that to ask about files costs the server nothing that lasts.

use std::fmt::Write as _;
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::common::client::{self, request, v4};
use crate::common::daemon::{Daemon, Reload};
use crate::common::port::free_port;
use crate::common::program::command;
use crate::common::{Outcome, SOON, TempDir, run, wait_until};

/// Every other address: none can be put together with another.
fn list(prefixes: u32) -> String {
    (0..prefixes).fold(String::new(), |mut text, number| {
        let [a, b, c, d] = (0x0B00_0000 + 2 * number).to_be_bytes();
        writeln!(text, "{a}.{b}.{c}.{d}/32").unwrap();
        text
    })
}

fn configuration(control: &Path, server: std::net::SocketAddr, access: &str) -> String {
    format!(
        "upstream = []\n[control]\nsocket = \"{}\"\n[local]\nenabled = true\nwait = 0\n{access}\n[[listener]]\naddress = \"{server}\"\n",
        control.display()
    )
}

/// A file of this name and text beside the configuration, within reach of the daemon.
fn beside(daemon: &Daemon, name: &str, text: &str) -> PathBuf {
    let path = daemon.configuration().with_file_name(name);
    std::fs::write(&path, text).unwrap();
    path
}

fn status(control: &Path) -> Outcome {
    run(command().args(["status", "--json", "--socket"]).arg(control))
}

#[test]
fn a_long_list_is_read_while_everything_goes_on() {
    const PREFIXES: u32 = 2_000_000;
    let (server, directory) = (v4(free_port()), TempDir::new());
    let control = directory.path().join("control");
    let old = configuration(&control, server, "[access]\ndeny = [\"127.9.9.8\"]");
    let daemon = Daemon::configured(&old).answering(server);
    let file = beside(&daemon, "deny", &list(PREFIXES));
    let deny = "[access]\ndeny = [\"127.9.9.9\"]\ndeny-files = [\"deny\"]";
    let before = daemon.kilobytes("VmRSS");
    daemon.write(&configuration(&control, server, deny));
    let [old_denied, new_denied] =
        ["127.9.9.8:0", "127.9.9.9:0"].map(|address| UdpSocket::bind(address).unwrap());
    let is_answered = |from: &UdpSocket| {
        client::exchange(from, server, &request(4, 3), Duration::from_millis(20)).is_some()
    };
    let start = Instant::now();
    daemon.signal(Signal::SIGHUP);
    let (mut longest, mut looks) = (Duration::ZERO, 0);
    while daemon.reloads().is_empty() {
        // The old list counts until the new one is whole.
        let asked = Instant::now();
        if is_answered(&new_denied) {
            assert!(!is_answered(&old_denied) || !daemon.reloads().is_empty());
        }
        let said = status(&control);
        assert_eq!(said.status, Some(0), "{}", said.said());
        longest = longest.max(asked.elapsed());
        looks += 1;
        assert!(start.elapsed() < 4 * SOON);
    }
    let took = start.elapsed();
    println!("read in {took:?}; {looks} looks, of which the longest took {longest:?}");
    assert_eq!(daemon.reloads(), [Reload::Done]);
    assert!(
        looks >= 3 && longest < took / 2,
        "{looks} looks, {longest:?} of {took:?}"
    );
    wait_until("the new list counts", SOON, || {
        (is_answered(&old_denied) && !is_answered(&new_denied)).then_some(())
    });
    // An address takes eight bytes: where it is denied, and where that ends.
    let stays = u64::from(PREFIXES) * 8 / 1024;
    // Twice, so that there is an old list of that length.
    let with_comment = std::fs::read_to_string(&file).unwrap() + "11.0.0.1\n";
    std::fs::write(&file, with_comment).unwrap();
    daemon.signal(Signal::SIGHUP);
    wait_until("the second reload", 4 * SOON, || {
        (daemon.reloads().len() == 2).then_some(())
    });
    // What the worker had is freed within some seconds.
    let now = wait_until("only what counts is kept", SOON, || {
        let now = daemon.kilobytes("VmRSS");
        (now < before + stays * 3 / 2).then_some(now)
    });
    let most = daemon.kilobytes("VmHWM");
    println!("{before} KiB before, {now} KiB after, {most} KiB at most; the list {stays} KiB");
    assert!(most < before + 3 * stays + 2048, "{most} after {before}");
}

#[test]
fn all_lists_together_have_a_bound_that_is_told() {
    let directory = TempDir::new();
    // Nobody reads what is in them: they are too long together.
    let paths: Vec<String> = (0..5)
        .map(|number| {
            let path = directory.path().join(format!("list-{number}"));
            let file = std::fs::File::create(&path).unwrap();
            file.set_len(60 << 20).unwrap();
            format!("\"{}\"", path.display())
        })
        .collect();
    let text = format!("[access]\ndeny-files = [{}]\n", paths.join(", "));
    let file = directory.file("ntpfront.toml", &text);
    let outcome = run(command().args(["check", "-c"]).arg(file));
    assert_eq!(outcome.status, Some(2), "{}", outcome.said());
    assert!(
        outcome
            .said()
            .contains("all lists together are larger than 268435456 bytes"),
        "{}",
        outcome.said()
    );
}

#[test]
fn asking_about_files_leaves_no_descriptor_behind() {
    let (server, directory) = (v4(free_port()), TempDir::new());
    let control = directory.path().join("control");
    let text = configuration(&control, server, "");
    let daemon = Daemon::configured(&text).answering(server);
    let before = daemon.count("fd");
    let names: Vec<String> = (0..300)
        .map(|number| beside(&daemon, &format!("list-{number}"), "192.0.2.1\n"))
        .map(|path| format!("\"{}\"", path.display()))
        .collect();
    let asked = configuration(
        &control,
        server,
        &format!("[access]\ndeny-files = [{}]", names.join(", ")),
    );
    let file = directory.file("asked.toml", &asked);
    for _ in 0..3 {
        let outcome = run(command().args(["check", "--against-running", "-c"]).arg(&file));
        assert_eq!(outcome.status, Some(0), "{}", outcome.said());
        assert!(outcome.said().contains("access"), "{}", outcome.said());
    }
    let after = daemon.count("fd");
    assert!(after <= before + 2, "{before} descriptors before, {after} after");
}
