//! What the operator wants.

use std::time::Duration;

use ntpfront::time::NtpDuration;
use ntpfront::upstream::candidate::SelectionStatus;
use ntpfront::upstream::clock_policy::{ClockSource, LocalReference, OnDispute};
use ntpfront::upstream::system_process::State;
use ntpfront::wire::ReferenceId;

use super::{HOUR, MINUTE, Scenario, served_well, settle};
use crate::network::Network;
use crate::server::{Act, Server};

pub(super) const ALL: &[Scenario] = &[
    Scenario {
        name: "auto-daemon",
        what: "source auto, a daemon on this host and two others",
        run: auto_daemon,
    },
    Scenario {
        name: "auto-alone",
        what: "source auto, nobody on this host; its clock is wrong by an hour",
        run: auto_alone,
    },
    Scenario {
        name: "system-without-daemon",
        what: "source system, somebody else keeps the clock, three witnesses",
        run: system_without_daemon,
    },
    Scenario {
        name: "slewed-daemon",
        what: "source system, the daemon slews the clock by 50 ms",
        run: slewed_daemon,
    },
    Scenario {
        name: "not-the-keeper",
        what: "source system, the daemon on this host does not keep its clock",
        run: not_the_keeper,
    },
    Scenario {
        name: "dispute-unsynchronized",
        what: "the daemon goes wrong by 0.5 s against two witnesses",
        run: dispute_unsynchronized,
    },
    Scenario {
        name: "dispute-drop",
        what: "the same, on-dispute drop",
        run: dispute_drop,
    },
    Scenario {
        name: "dispute-track",
        what: "the same, on-dispute track, and the daemon is right again after an hour",
        run: dispute_track,
    },
    Scenario {
        name: "dispute-serve",
        what: "the same, on-dispute serve",
        run: dispute_serve,
    },
    Scenario {
        name: "dispute-serve-witnesses",
        what: "on-dispute serve, no daemon, one upstream against another",
        run: dispute_serve_witnesses,
    },
    Scenario {
        name: "min-sources",
        what: "min-sources 2 of three, two go away after a while, one comes back",
        run: min_sources,
    },
    Scenario {
        name: "prefer",
        what: "the furthest of three is preferred",
        run: prefer,
    },
    Scenario {
        name: "require",
        what: "one of three is required and comes 20 min late",
        run: require,
    },
    Scenario {
        name: "trust",
        what: "one of three is trusted, the other two agree on 1 s",
        run: trust,
    },
    Scenario {
        name: "noselect",
        what: "one of three is only watched; the other two go away",
        run: noselect,
    },
    Scenario {
        name: "duplicate",
        what: "one wrong upstream has two more addresses, two others are right",
        run: duplicate,
    },
    Scenario {
        name: "max-jitter",
        what: "one of three is noisier than max-jitter, 5 ms",
        run: max_jitter,
    },
    Scenario {
        name: "max-distance",
        what: "one of three is further than max-distance, 50 ms",
        run: max_distance,
    },
    Scenario {
        name: "local",
        what: "all go away, the host's clock stands in after its time, all come back",
        run: local,
    },
    Scenario {
        name: "local-alone",
        what: "no upstream at all, only the local reference",
        run: local_alone,
    },
];

fn auto_daemon(network: &mut Network) {
    network.policy.source = ClockSource::Auto;
    network.daemon();
    network.honest(2);
    network.run(1.25 * HOUR);
    network.holds("source is system", network.source() == Some(ClockSource::System));
    network.holds(
        "the daemon is mirrored",
        network.standing(0) == SelectionStatus::Mirrored,
    );
    network.holds("stratum is the daemon's", network.reference().stratum == 3);
    served_well(network, 1.0, 99.9);
}

fn auto_alone(network: &mut Network) {
    network.policy.source = ClockSource::Auto;
    network.host.error = wrong(network, 3600.0);
    network.honest(3);
    network.run(1.25 * HOUR);
    network.holds(
        "source is tracked",
        network.source() == Some(ClockSource::Tracked),
    );
    served_well(network, 5.0, 99.9);
}

fn system_without_daemon(network: &mut Network) {
    network.policy.source = ClockSource::System;
    (network.host.kept, network.host.error) = (true, wrong(network, 0.003));
    network.honest(3);
    network.run(1.25 * HOUR);
    served_well(network, 3.1, 99.9);
}

fn slewed_daemon(network: &mut Network) {
    network.policy.source = ClockSource::System;
    network.daemon();
    (network.host.error, network.servers[0].root_dispersion) = (0.050, 0.060);
    settle(network);
    network.host.slew(-0.050);
    network.run(20.0 * MINUTE);
    served_well(network, 51.0, 100.0);
}

fn not_the_keeper(network: &mut Network) {
    // It serves the right time (as chronyd -x does), and the host's clock is wrong by 20 ms.
    network.policy.source = ClockSource::System;
    network.daemon();
    network.host.error = wrong(network, 0.020);
    network.servers[0].offset = -network.host.error;
    network.run(HOUR);
    network.holds(
        "it is followed, not mirrored",
        network.standing(0) == SelectionStatus::SystemPeer,
    );
    network.holds("stratum is one more", network.reference().stratum == 4);
    served_well(network, 21.0, 99.9);
}

/// A daemon and two witnesses are known; then the daemon, and the clock that it keeps, drifts away fast.
fn daemon_goes_wrong(network: &mut Network, on_dispute: OnDispute) {
    network.policy.source = ClockSource::System;
    network.policy.on_dispute = on_dispute;
    network.daemon();
    network.honest(2);
    settle(network);
    // Nobody can know before the witnesses were asked three times.
    network.record.truth_excused = true;
    network.host.slew(0.5);
    network.run(1.25 * HOUR);
    if on_dispute != OnDispute::Serve {
        let wrong_for = network.record.wrong_for;
        network.at_most("wrong for, s", 120.0, wrong_for);
    }
    network.holds("state is disputed", network.state() == State::Disputed);
    network.record.forget();
}

fn dispute_unsynchronized(network: &mut Network) {
    daemon_goes_wrong(network, OnDispute::Unsynchronized);
    network.run(20.0 * MINUTE);
    let usable = network.record.usable_percent();
    network.at_most("usable then, %", 0.0, usable);
    network.holds("it answers", network.reference().answers);
    is_right_again(network);
}

fn dispute_drop(network: &mut Network) {
    daemon_goes_wrong(network, OnDispute::Drop);
    network.run(20.0 * MINUTE);
    network.holds("it does not answer", !network.reference().answers);
    is_right_again(network);
    network.holds("it answers again", network.reference().answers);
}

fn dispute_track(network: &mut Network) {
    daemon_goes_wrong(network, OnDispute::Track);
    network.record.truth_excused = false;
    network.run(20.0 * MINUTE);
    served_well(network, 3.0, 100.0);
    is_right_again(network);
}

fn dispute_serve(network: &mut Network) {
    daemon_goes_wrong(network, OnDispute::Serve);
    network.run(20.0 * MINUTE);
    served_well(network, 502.0, 100.0);
    network.holds(
        "the daemon is mirrored",
        network.standing(0) == SelectionStatus::Mirrored,
    );
    is_right_again(network);
}

/// The daemon corrects its clock slowly; as soon as it agrees with the witnesses within their errors, they can't
/// tell that it is not right yet.
fn is_right_again(network: &mut Network) {
    network.record.truth_excused = true;
    network.host.slew(-0.5);
    network.run(30.0 * MINUTE);
    network.record.truth_excused = false;
    network.record.forget();
    network.run(20.0 * MINUTE);
    network.holds(
        "synchronized when it is right",
        network.state() == State::Synchronized,
    );
    let usable = network.record.usable_percent();
    network.at_least("usable when it is right, %", 100.0, usable);
}

fn dispute_serve_witnesses(network: &mut Network) {
    network.policy.on_dispute = OnDispute::Serve;
    network.honest(2);
    settle(network);
    network.servers[0].offset += 1.0;
    network.run(1.25 * HOUR);
    network.holds("state is disputed", network.state() == State::Disputed);
    network.holds("no time is announced", !network.record.is_usable());
}

fn min_sources(network: &mut Network) {
    network.policy.min_sources = 2;
    network.policy.max_distance = NtpDuration::from_seconds(0.05);
    network.honest(3);
    settle(network);
    act(network, &[0, 1], Act::Silent);
    network.run(14.25 * HOUR);
    network.holds("one is too few", network.standing(2) == SelectionStatus::TooFew);
    network.holds(
        "state is unsynchronized",
        network.state() == State::Unsynchronized,
    );
    act(network, &[1], Act::Honest);
    network.run(30.0 * MINUTE);
    network.holds("two are enough", network.state() == State::Synchronized);
}

fn prefer(network: &mut Network) {
    network.honest(3);
    (network.servers[2].out, network.servers[2].back) = (0.040, 0.040);
    network.configure(2, |upstream| upstream.role.prefer = true);
    network.run(HOUR);
    network.holds(
        "it is the system peer",
        network.standing(2) == SelectionStatus::SystemPeer,
    );
    served_well(network, 5.0, 99.9);
}

fn require(network: &mut Network) {
    network.honest(3);
    network.configure(0, |upstream| upstream.role.require = true);
    act(network, &[0], Act::Silent);
    network.run(20.0 * MINUTE);
    let usable = network.record.usable_percent();
    network.at_most("usable without it, %", 0.0, usable);
    network.holds(
        "the others are too few",
        network.standing(1) == SelectionStatus::TooFew,
    );
    act(network, &[0], Act::Honest);
    network.run(20.0 * MINUTE);
    network.record.forget();
    network.run(HOUR);
    served_well(network, 5.0, 100.0);
}

fn trust(network: &mut Network) {
    network.honest(3);
    network.configure(0, |upstream| upstream.role.trust = true);
    network.servers[1].offset += 1.0;
    network.servers[2].offset += 1.0;
    // Until the trusted one has answered, the others are all there is.
    network.record.truth_excused = true;
    network.run(1.0);
    network.record.forget();
    network.record.truth_excused = false;
    network.run(1.25 * HOUR);
    served_well(network, 5.0, 99.9);
    network.holds(
        "the others are falsetickers",
        network.standing(1) == SelectionStatus::Falseticker,
    );
}

fn noselect(network: &mut Network) {
    network.honest(3);
    network.configure(0, |upstream| upstream.role.noselect = true);
    network.servers[0].offset += 0.3;
    network.run(20.0 * MINUTE);
    act(network, &[1, 2], Act::Silent);
    network.run(1.25 * HOUR);
    network.holds(
        "it is only watched",
        network.standing(0) == SelectionStatus::NoSelect,
    );
    network.holds("state is holdover", network.state() == State::Holdover);
    served_well(network, 60.0, 99.9);
}

fn duplicate(network: &mut Network) {
    network.honest(2);
    // One clock behind three addresses; each path is its own.
    let liar = Server {
        offset: 0.5,
        ..Server::honest(9, &mut network.random)
    };
    for number in 9..12 {
        network.add(Server {
            address: ([192, 0, 2, number], 123).into(),
            ..liar.clone()
        });
    }
    network.run(1.25 * HOUR);
    served_well(network, 5.0, 99.9);
    let last = network.standing(4);
    network.holds(
        "the third address is a duplicate",
        last == SelectionStatus::Duplicate,
    );
}

fn max_jitter(network: &mut Network) {
    network.policy.max_jitter = 0.005;
    network.honest(3);
    network.servers[0].jitter = 0.2;
    network.run(1.25 * HOUR);
    served_well(network, 5.0, 99.9);
}

fn max_distance(network: &mut Network) {
    network.policy.max_distance = NtpDuration::from_seconds(0.05);
    network.honest(3);
    (network.servers[0].out, network.servers[0].back) = (0.060, 0.060);
    network.run(1.25 * HOUR);
    served_well(network, 5.0, 98.0);
    let standing = network.standing(0);
    network.holds(
        "it is not believed",
        matches!(standing, SelectionStatus::Refused | SelectionStatus::TooFar),
    );
}

fn local(network: &mut Network) {
    network.policy.local = Some(LocalReference {
        stratum: 10,
        wait: Duration::from_secs(7200),
        distance: NtpDuration::from_seconds(0.6),
    });
    network.policy.max_distance = NtpDuration::from_seconds(0.05);
    network.host.kept = true;
    network.honest(3);
    settle(network);
    act(network, &[0, 1, 2], Act::Silent);
    network.run(14.25 * HOUR);
    let reference = network.reference();
    network.holds("state is local", network.state() == State::Local);
    network.holds(
        "as stratum 10, 127.127.1.1",
        (reference.stratum, reference.reference_id) == (10, ReferenceId::LOCAL),
    );
    act(network, &[0, 1, 2], Act::Honest);
    network.run(30.0 * MINUTE);
    network.record.forget();
    network.run(30.0 * MINUTE);
    network.holds("then synchronized", network.state() == State::Synchronized);
    served_well(network, 5.0, 100.0);
}

fn local_alone(network: &mut Network) {
    network.policy.local = Some(LocalReference {
        stratum: 10,
        wait: Duration::from_secs(600),
        distance: NtpDuration::from_seconds(0.6),
    });
    network.host.kept = true;
    network.run(HOUR);
    network.holds("state is local", network.state() == State::Local);
    served_well(network, 500.1, 100.0);
}

fn wrong(network: &mut Network, by: f64) -> f64 {
    if network.random.happens(0.5) { by } else { -by }
}

fn act(network: &mut Network, servers: &[usize], act: Act) {
    for &server in servers {
        network.servers[server].act = act;
    }
}
