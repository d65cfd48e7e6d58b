//! Leap seconds: at the end of 2027-06-30, an hour after the start.

use ntpfront::leap::LeapTable;
use ntpfront::time::NtpTimestamp;
use ntpfront::upstream::candidate::SelectionStatus;
use ntpfront::upstream::clock_policy::ClockSource;
use ntpfront::upstream::system_process::State;
use ntpfront::wire::Leap;

use super::{HOUR, MINUTE, Scenario, served_well};
use crate::network::Network;

/// 2027-07-01 00:00 UTC.
const MIDNIGHT: i64 = 1_814_400_000;

pub(super) const ALL: &[Scenario] = &[
    Scenario {
        name: "leap-insert",
        what: "tracked, three warn of a second to be inserted, and it is",
        run: insert,
    },
    Scenario {
        name: "leap-delete",
        what: "tracked, three warn of a second to be deleted, and it is",
        run: delete,
    },
    Scenario {
        name: "leap-flag-stays",
        what: "the same, but two warn for an hour more",
        run: flag_stays,
    },
    Scenario {
        name: "leap-listed",
        what: "tracked, the list knows of an inserted second, nobody warns of it",
        run: listed,
    },
    Scenario {
        name: "leap-forgotten",
        what: "tracked, two of three warn and leap, the third does neither",
        run: forgotten,
    },
    Scenario {
        name: "leap-unannounced",
        what: "tracked, a second is inserted of which nobody warned",
        run: unannounced,
    },
    Scenario {
        name: "leap-insert-system",
        what: "system, daemon and kernel insert a second",
        run: insert_system,
    },
    Scenario {
        name: "leap-delete-system",
        what: "system, daemon and kernel delete a second",
        run: delete_system,
    },
    Scenario {
        name: "leap-deaf-kernel",
        what: "system, daemon and two witnesses warn, but the kernel inserts nothing; set right after 10 min",
        run: deaf_kernel,
    },
    Scenario {
        name: "lying-leap",
        what: "one of three warns of a leap second that does not come",
        run: lying_leap,
    },
];

fn insert(network: &mut Network) {
    network.honest(3);
    prepare(network, Leap::AddSecond);
    cross(network, Leap::AddSecond);
}

fn delete(network: &mut Network) {
    network.honest(3);
    prepare(network, Leap::DeleteSecond);
    cross(network, Leap::DeleteSecond);
}

fn flag_stays(network: &mut Network) {
    network.honest(3);
    prepare(network, Leap::AddSecond);
    network.run(HOUR + MINUTE);
    network.servers[0].leap = Leap::NoWarning;
    network.run(HOUR);
    served_well(network, 5.0, 99.9);
    network.holds("no warning after it", network.reference().leap == Leap::NoWarning);
}

fn listed(network: &mut Network) {
    network.honest(3);
    prepare(network, Leap::AddSecond);
    for server in &mut network.servers {
        server.leap = Leap::NoWarning;
    }
    // In seconds since 1900: 2027-12-28, 2017-01-01, and the one of this scenario.
    let list = format!("#@ 4039027200\n3692217600 37\n{} 38\n", MIDNIGHT + 2_208_988_800);
    network.leaps = Some(LeapTable::parse(&list).unwrap());
    cross(network, Leap::AddSecond);
}

fn forgotten(network: &mut Network) {
    network.honest(3);
    prepare(network, Leap::AddSecond);
    (network.servers[2].leap, network.servers[2].leaps) = (Leap::NoWarning, false);
    cross(network, Leap::AddSecond);
    network.holds(
        "the third is a falseticker",
        network.standing(2) == SelectionStatus::Falseticker,
    );
}

fn unannounced(network: &mut Network) {
    network.honest(3);
    prepare(network, Leap::AddSecond);
    for server in &mut network.servers {
        server.leap = Leap::NoWarning;
    }
    network.run(HOUR - MINUTE);
    network.record.truth_excused = true;
    network.run(1.25 * HOUR);
    network.record.truth_excused = false;
    let wrong_for = network.record.wrong_for;
    network.at_most("wrong for, s", 2000.0, wrong_for);
    network.record.forget();
    network.run(20.0 * MINUTE);
    served_well(network, 5.0, 100.0);
}

fn insert_system(network: &mut Network) {
    network.policy.source = ClockSource::System;
    network.daemon();
    prepare(network, Leap::AddSecond);
    cross_system(network, Leap::AddSecond);
}

fn delete_system(network: &mut Network) {
    network.policy.source = ClockSource::System;
    network.daemon();
    prepare(network, Leap::DeleteSecond);
    cross_system(network, Leap::DeleteSecond);
}

fn deaf_kernel(network: &mut Network) {
    network.policy.source = ClockSource::System;
    network.daemon();
    network.honest(2);
    network.host.deaf = true;
    prepare(network, Leap::AddSecond);
    network.run(HOUR - MINUTE);
    network.holds("it is warned of", network.reference().leap == Leap::AddSecond);
    network.run(1.5 * MINUTE);
    for server in &mut network.servers {
        server.leap = Leap::NoWarning;
    }
    network.run(9.5 * MINUTE);
    network.holds("no time while it is wrong", !network.record.is_usable());
    network.step_host(-1.0);
    network.record.forget();
    network.run(HOUR);
    served_well(network, 1.0, 99.0);
    network.holds(
        "synchronized when it is right",
        network.state() == State::Synchronized,
    );
}

fn lying_leap(network: &mut Network) {
    network.honest(3);
    prepare(network, Leap::NoWarning);
    network.host.truth.leap = None;
    network.servers[0].leap = Leap::AddSecond;
    let mut warned = 0.0;
    for _ in 0..18 {
        network.run(5.0 * MINUTE);
        warned += f64::from(u8::from(network.reference().leap != Leap::NoWarning));
    }
    // The first to answer is believed until the others have.
    network.at_most("looks that saw a warning", 0.0, warned);
    served_well(network, 5.0, 99.9);
}

/// An hour before midnight; all upstreams warn.
fn prepare(network: &mut Network, leap: Leap) {
    network.host.truth.start = NtpTimestamp::from_unix(MIDNIGHT - 3600, 0);
    // The inserted second is the last one again; the deleted one would have been the last.
    network.host.truth.leap = Some(match leap {
        Leap::DeleteSecond => (HOUR - 1.0, 1.0),
        _ => (HOUR, -1.0),
    });
    for server in &mut network.servers {
        server.leap = leap;
    }
}

fn cross(network: &mut Network, leap: Leap) {
    through_it(network, leap);
    network.run(1.25 * HOUR);
    served_well(network, 5.0, 99.9);
    network.holds("synchronized after it", network.state() == State::Synchronized);
    let steps = network.steps_said;
    network.at_most("steps beside the leap second", 0.0, steps as f64);
}

fn cross_system(network: &mut Network, leap: Leap) {
    through_it(network, leap);
    network.run(3.0 * MINUTE);
    served_well(network, 5.0, 70.0);
    network.record.forget();
    network.run(HOUR);
    let usable = network.record.usable_percent();
    network.at_least("usable later, %", 99.9, usable);
    network.holds("synchronized after it", network.state() == State::Synchronized);
}

/// It is warned of, then happens; half a minute later the upstreams do not warn any more. The numbers start a minute
/// before it.
fn through_it(network: &mut Network, leap: Leap) {
    network.run(HOUR - MINUTE);
    network.holds("it is warned of", network.reference().leap == leap);
    network.record.forget();
    network.run(1.5 * MINUTE);
    for server in &mut network.servers {
        server.leap = Leap::NoWarning;
    }
    network.run(2.0 * MINUTE);
    network.holds("no warning after it", network.reference().leap == Leap::NoWarning);
}
