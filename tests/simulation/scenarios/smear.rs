//! Leap seconds that are smeared, by this server and by upstreams: at the end of 2027-06-30, hours after the start.

use ntpfront::leap::{LeapKind, LeapTable, Mark, Smear, SmearKind, SmearWindow};
use ntpfront::time::NtpTimestamp;
use ntpfront::upstream::candidate::SelectionStatus;
use ntpfront::upstream::clock_policy::ClockSource;
use ntpfront::upstream::system_process::State;
use ntpfront::upstream::{Role, Smears};
use ntpfront::wire::Leap;

use super::{HOUR, MINUTE, Scenario};
use crate::network::Network;
use crate::smear::{SmearRecord, event};

/// 2027-07-01 00:00 UTC.
const MIDNIGHT: i64 = 1_814_400_000;
/// The time from the start to midnight, in seconds.
const BEFORE: f64 = 2.0 * HOUR;
/// The smear of this server: short, so that hours are enough.
const SMEAR: Smear = Smear {
    kind: SmearKind::Linear,
    hours: 3,
    window: SmearWindow::Around,
    mark: Mark::None,
};

pub(super) const ALL: &[Scenario] = &[
    Scenario {
        name: "smear-insert",
        what: "tracked, an inserted second is smeared over three hours",
        run: |network| tracked(network, LeapKind::Insert),
    },
    Scenario {
        name: "smear-delete",
        what: "tracked, a deleted second is smeared over three hours",
        run: |network| tracked(network, LeapKind::Delete),
    },
    Scenario {
        name: "smear-insert-system",
        what: "system, the kernel inserts a second while it is smeared",
        run: |network| system(network, LeapKind::Insert),
    },
    Scenario {
        name: "smear-delete-system",
        what: "system, the kernel deletes a second while it is smeared",
        run: |network| system(network, LeapKind::Delete),
    },
    Scenario {
        name: "smeared-upstreams",
        what: "tracked, three of five upstreams are known to smear, two follow UTC",
        run: known_smearers,
    },
    Scenario {
        name: "smeared-one",
        what: "tracked, one of four upstreams smears and does not say so",
        run: one_smears,
    },
    Scenario {
        name: "smeared-majority",
        what: "tracked, three of four upstreams smear and do not say so",
        run: majority_smears,
    },
];

/// Sets the truth, the list and the look at the smear; upstreams warn from the start.
fn prepare(network: &mut Network, kind: LeapKind, before: f64) {
    let shift = kind.shift().to_seconds();
    network.host.truth.start =
        NtpTimestamp::from_unix(MIDNIGHT, 0) - ntpfront::time::NtpDuration::from_seconds(before);
    network.host.truth.leap = Some((before - shift.max(0.0), shift));
    // In seconds since 1900: it expires on 2027-12-28.
    let list = LeapTable::parse("#@ 4039027200\n3692217600 37\n").unwrap();
    network.leaps = Some(list.with(event(MIDNIGHT, kind)));
    network.smear = Some(SmearRecord::new(SMEAR, event(MIDNIGHT, kind)));
    for server in &mut network.servers {
        server.leap = kind.warning();
    }
}

/// Runs from before the smear to an hour after it.
fn pass(network: &mut Network) {
    network.run(15.0 * MINUTE);
    network.record.forget();
    let watch = network.smear.take();
    if let Some(watch) = watch {
        network.smear = Some(watch.anew());
    }
    network.run(BEFORE - 15.0 * MINUTE + MINUTE);
    for server in &mut network.servers {
        server.leap = Leap::NoWarning;
    }
    network.run(1.75 * HOUR);
}

fn smeared_well(network: &mut Network, milliseconds: f64, without: f64) {
    let Some(seen) = network.smear.take() else { return };
    network.record.faults.extend(seen.faults);
    network.at_most("smeared: error, ms", milliseconds, seen.worst_error * 1e3);
    network.at_most("smeared: without a time, s", without, seen.without);
    network.at_most("smeared: warnings", 0.0, f64::from(seen.warned));
    network.at_most("smeared: farthest from UTC, s", 0.52, seen.farthest);
    network.at_least("smeared: farthest from UTC, s", 0.45, seen.farthest);
}

fn tracked(network: &mut Network, kind: LeapKind) {
    network.honest(3);
    prepare(network, kind, BEFORE);
    pass(network);
    smeared_well(network, 5.0, 0.0);
    let (error, usable) = (network.record.worst_error, network.record.usable_percent());
    network.at_most("error of UTC, ms", 5.0, error * 1e3);
    network.at_least("usable UTC, %", 99.9, usable);
}

fn system(network: &mut Network, kind: LeapKind) {
    network.policy.source = ClockSource::System;
    network.daemon();
    prepare(network, kind, BEFORE);
    pass(network);
    smeared_well(network, 5.0, 0.0);
    network.holds("synchronized after it", network.state() == State::Synchronized);
}

/// The upstreams of these places smear; if they are `known` for it, the configuration says so.
fn smearing(network: &mut Network, places: &[usize], known: bool) {
    for &place in places {
        network.servers[place].smear = Some((Smear::default(), event(MIDNIGHT, LeapKind::Insert)));
        network.servers[place].leap = Leap::NoWarning;
        if known {
            network.configure(place, |upstream| {
                upstream.role = Role {
                    smears: Smears::Yes,
                    ..upstream.role
                }
            });
        }
    }
}

fn known_smearers(network: &mut Network) {
    network.honest(5);
    prepare(network, LeapKind::Insert, BEFORE);
    smearing(network, &[0, 1, 2], true);
    network.run(HOUR);
    network.holds("they are named", network.standing(0) == SelectionStatus::Smeared);
    network.holds("synchronized", network.state() == State::Synchronized);
    network.run(HOUR + MINUTE);
    for server in &mut network.servers {
        server.leap = Leap::NoWarning;
    }
    let error = network.record.worst_error;
    network.at_most("error of UTC, ms", 5.0, error * 1e3);
    smeared_well(network, 5.0, 0.5);
}

fn one_smears(network: &mut Network) {
    network.honest(4);
    prepare(network, LeapKind::Insert, BEFORE);
    smearing(network, &[3], false);
    network.run(HOUR);
    network.holds("it is named", network.standing(3) == SelectionStatus::Smeared);
    network.run(HOUR + MINUTE);
    for server in &mut network.servers {
        server.leap = Leap::NoWarning;
    }
    network.run(HOUR);
    network.holds(
        "it is named after it",
        network.standing(3) == SelectionStatus::Smeared,
    );
    let error = network.record.worst_error;
    network.at_most("error of UTC, ms", 5.0, error * 1e3);
}

fn majority_smears(network: &mut Network) {
    network.honest(4);
    prepare(network, LeapKind::Insert, 13.0 * HOUR);
    smearing(network, &[1, 2, 3], false);
    network.run(HOUR);
    // Until the walk can be told from an oscillator's, a majority is followed.
    network.record.truth_excused = true;
    network.run(HOUR);
    let wrong_by = network.record.worst_error;
    network.at_most("UTC wrong by, ms", 25.0, wrong_by * 1e3);
    network.holds("disputed", network.state() == State::Disputed);
    network.run(HOUR);
    network.holds("disputed later", network.state() == State::Disputed);
    network.smear = None;
}
