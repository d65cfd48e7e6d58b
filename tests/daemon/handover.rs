//! Proves what a process does with the time that it is handed by its predecessor: what is good goes on at once, what is
//! not is refused as a whole, with a reason, and the process starts as new.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use ntpfront::clock::{ClockModel, Reference, handover};
use ntpfront::host::clock;
use ntpfront::time::{ClockReadings, NtpDuration};
use ntpfront::wire::{Leap, ReferenceId};

use crate::common::client::{self, v4};
use crate::common::daemon::Daemon;
use crate::common::port::free_port;
use crate::common::scripted::{Scripted, silent};
use crate::common::{TempDir, root};

const HOUR: Duration = Duration::from_secs(3600);

fn moment() -> ClockReadings {
    clock::now()
}

/// A clock of the predecessor's, an hour ahead of the host's.
fn left() -> Reference {
    let now = moment();
    Reference {
        leap: Leap::NoWarning,
        stratum: 4,
        reference_id: ReferenceId::from_bytes([192, 0, 2, 1]),
        root_delay: NtpDuration::from_seconds(0.02),
        root_dispersion: NtpDuration::from_seconds(0.001),
        growth: 2e-6,
        reference_time: now.realtime,
        precision: -24,
        clock: ClockModel::Tracked {
            epoch: now.raw,
            time: now.realtime + NtpDuration::from_std(HOUR),
            rate: 30e-6,
            slew: 0.0,
            slew_for: Duration::ZERO,
        },
        published: now,
        answers: true,
        epoch: now.raw,
        not_after: now.raw + HOUR,
    }
}

/// A daemon that is handed what `prepare` makes of a file, and its first reply and log.
fn handed(bytes: &[u8], prepare: impl FnOnce(&Path)) -> (ntpfront::wire::Header, String) {
    let directory = TempDir::new();
    let file = directory.file("reference", "");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    fs::File::create(&file).unwrap().write_all(bytes).unwrap();
    prepare(&file);
    let upstream = Scripted::start(silent);
    let server = v4(free_port());
    let text = format!(
        "[[listener]]\naddress = \"{server}\"\n[[upstream]]\naddress = \"{}\"\n",
        upstream.address()
    );
    let script = format!(
        "exec 3<>'{}'; export LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=reference; exec \"$@\"",
        file.display()
    );
    let daemon = Daemon::configured_by(&["sh", "-c", &script, "sh"], &text).answering(server);
    (client::header(server), daemon.log())
}

fn boot() -> Option<String> {
    clock::boot()
}

#[test]
fn a_good_time_goes_on_at_once() {
    let (reply, log) = handed(&handover::write(&left(), boot().as_deref()), |_| ());
    assert_eq!((reply.leap, reply.stratum), (Leap::NoWarning, 4), "{log}");
    assert!((client::ahead(&reply) - 3600.0).abs() < 0.1, "{log}");
    assert!(
        log.contains("continuing with the time of the previous process"),
        "{log}"
    );
}

fn is_refused(bytes: &[u8], prepare: impl FnOnce(&Path), why: &str) {
    let (reply, log) = handed(bytes, prepare);
    assert_eq!(
        (reply.leap, reply.stratum),
        (Leap::Unsynchronized, 0),
        "{why}: {log}"
    );
    assert!(client::ahead(&reply).abs() < 0.1, "{why}: {log}");
    let wanted = format!("the time of the previous process is not used: {why}");
    assert!(log.contains(&wanted), "{wanted}: {log}");
    assert!(!log.contains("panicked"), "{log}");
}

#[test]
fn a_bad_one_is_refused_and_the_reason_told() {
    let boot = boot();
    let spoiled = |spoil: fn(&mut Reference)| {
        let mut bad = left();
        spoil(&mut bad);
        handover::write(&bad, boot.as_deref())
    };
    is_refused(&spoiled(|bad| bad.stratum = 1), |_| (), "its stratum");
    is_refused(&spoiled(|bad| bad.growth = f64::NAN), |_| (), "its growth");
    is_refused(&spoiled(|bad| bad.epoch += HOUR), |_| (), "its epoch");
    is_refused(&spoiled(|bad| bad.not_after = Duration::MAX), |_| (), "its end");
    is_refused(
        &spoiled(|bad| bad.published.raw = bad.published.raw.saturating_sub(Duration::from_secs(9))),
        |_| (),
        "it was not written within the last 5 s",
    );
    // Over what the operator allows, which is 1 s without a word.
    is_refused(
        &spoiled(|bad| bad.root_dispersion = NtpDuration::from_seconds(1.5)),
        |_| (),
        "the configuration does not allow it",
    );
    is_refused(
        &handover::write(&left(), Some("other")),
        |_| (),
        "it is of another boot",
    );
    is_refused(b"junk", |_| (), "it is not of this version");
}

#[test]
fn one_that_others_could_write_is_refused() {
    let bytes = handover::write(&left(), boot().as_deref());
    let open = |file: &Path| fs::set_permissions(file, fs::Permissions::from_mode(0o620)).unwrap();
    is_refused(&bytes, open, "other users can access its memory");
    if root() {
        let give = |file: &Path| std::os::unix::fs::chown(file, Some(65_534), None).unwrap();
        is_refused(&bytes, give, "its memory belongs to another user");
    }
}
