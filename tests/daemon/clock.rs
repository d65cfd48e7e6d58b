//! Proves, on the running daemon, what the simulation can't: that workers give up a time that nobody renews, that the
//! tracked clock serves the upstreams' time whatever the host's is and without any right, and what the operator may
//! choose for a dispute.

use std::fs;
use std::os::unix::process::CommandExt;
use std::time::Duration;

use nix::sys::ptrace;
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;
use ntpfront::time::{NtpDuration, NtpShort};
use ntpfront::wire::Leap;

use crate::common::client::{self, Seen, letters};
use crate::common::daemon::Daemon;
use crate::common::front::Front;
use crate::common::port::free_port;
use crate::common::program::command;
use crate::common::scripted::{Scripted, ahead, honest};
use crate::common::{SOON, TempDir, root, wait_until};

/// Half of the classic hour by which clocks are wrong, and then some.
const HOUR: f64 = 3600.0;

#[test]
fn a_stuck_supervisor_can_not_keep_a_time_alive() {
    // Nobody else may trace what can't be dumped.
    if !root() {
        return;
    }
    let upstream = Scripted::start(honest);
    let front = Front::of(&[upstream.address()]);
    front.becomes_synchronized();
    // Only the main thread stands still: the supervisor with its pollers. The workers go on.
    let supervisor = Pid::from_raw(front.daemon.pid().try_into().unwrap());
    ptrace::seize(supervisor, ptrace::Options::empty()).unwrap();
    ptrace::interrupt(supervisor).unwrap();
    waitpid(supervisor, Some(WaitPidFlag::__WALL)).unwrap();
    let given_up = || (client::header(front.server).leap == Leap::Unsynchronized).then_some(());
    wait_until("the workers give up", Duration::from_secs(20), given_up);
    assert_eq!(letters(&client::header(front.server)), "LOST");
    ptrace::detach(supervisor, None).unwrap();
    front.becomes_synchronized();
}

/// ntpfront with a tracked clock in front of three that are an hour ahead, and what it says once it is synchronized.
fn an_hour_ahead(daemon: impl FnOnce(&str) -> Daemon) -> (Daemon, Seen) {
    // They are a millisecond apart and say that they may be wrong by more, so that they agree however exactly and often
    // they are measured.
    let upstreams = [0.0, 0.001, -0.001].map(|more| {
        Scripted::start(move |ask| {
            let mut reply = ahead(ask, HOUR + more);
            reply.root_dispersion = NtpShort::from_duration(NtpDuration::from_seconds(0.003));
            vec![reply.into()]
        })
    });
    let server = client::v4(free_port());
    let mut text = format!("[clock]\nsource = \"tracked\"\n[[listener]]\naddress = \"{server}\"\n");
    for upstream in &upstreams {
        text += &format!(
            "[[upstream]]\naddress = \"{}\"\nminpoll = 0\n",
            upstream.address()
        );
    }
    let daemon = daemon(&text).answering(server);
    let synchronized = || client::look(server).filter(|seen| seen.reply.leap == Leap::NoWarning);
    let seen = wait_until("a synchronized reply", SOON, synchronized);
    (daemon, seen)
}

fn is_right(seen: &Seen) {
    // The upstreams are so far apart.
    seen.is_ahead_by(HOUR, 0.002);
    let reply = &seen.reply;
    assert!(!reply.reference_timestamp.is_after(reply.receive_timestamp));
    assert!(!reply.receive_timestamp.is_after(reply.transmit_timestamp));
}

#[test]
fn a_tracked_clock_serves_the_upstreams_time_not_the_hosts() {
    let (daemon, seen) = an_hour_ahead(Daemon::configured);
    is_right(&seen);
    assert!(
        daemon.log().contains("clock source: tracked,"),
        "{}",
        daemon.log()
    );
}

#[test]
fn a_tracked_clock_needs_no_right_at_all() {
    if !root() {
        return;
    }
    let dir = TempDir::new();
    let (daemon, seen) = an_hour_ahead(|text| {
        let mut command = command();
        command
            .arg("-c")
            .arg(dir.file("ntpfront.toml", text))
            .uid(65_534)
            .gid(65_534);
        Daemon::spawn(command)
    });
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
    for set in ["CapPrm", "CapEff"] {
        let none = format!("{set}:\t{:016}", 0);
        assert!(status.contains(&none), "{status}");
    }
    is_right(&seen);
}

/// A daemon that keeps the host's clock, and two of the network that say it is 5 s wrong: as they are on loopback
/// here, all are "on this host", so the majority is believed and the host's clock is too far off to be announced.
#[test]
fn the_hosts_clock_is_not_served_when_the_majority_says_that_it_is_wrong() {
    let keeper = Scripted::start(honest);
    let witnesses = [(); 2].map(|()| Scripted::start(|ask| vec![ahead(ask, 5.0).into()]));
    let front = Front::of(&[keeper.address(), witnesses[0].address(), witnesses[1].address()]);
    wait_until("all were asked", SOON, || {
        witnesses.iter().all(|one| one.asked() >= 4).then_some(())
    });
    front.was_never_synchronized();
}

#[test]
fn in_a_dispute_the_operator_may_want_silence() {
    let one = Scripted::start(honest);
    let other = Scripted::start(honest);
    let front = Front::with(&[one.address(), other.address()], "on-dispute = \"drop\"");
    front.becomes_synchronized();
    other.turn_to(|ask| vec![ahead(ask, 5.0).into()]);
    let silent = || {
        client::ask(front.server, &client::request(4, 3))
            .is_none()
            .then_some(())
    };
    wait_until("silence", Duration::from_secs(60), silent);
    other.turn_to(honest);
    wait_until("an answer again", Duration::from_secs(60), || {
        client::ask(front.server, &client::request(4, 3)).map(|_| ())
    });
}
