//! What happens to the host, and to ourselves.

use ntpfront::upstream::clock_policy::ClockSource;
use ntpfront::upstream::system_process::State;

use super::{HOUR, MINUTE, Scenario, served_well, settle, three_known};
use crate::network::Network;

pub(super) const ALL: &[Scenario] = &[
    Scenario {
        name: "wrong-host",
        what: "tracked, the host's clock is wrong by an hour from the start",
        run: wrong_host,
    },
    Scenario {
        name: "host-step-tracked",
        what: "tracked, the host's clock is stepped by an hour, twice",
        run: host_step_tracked,
    },
    Scenario {
        name: "host-step-system",
        what: "system, the host's clock is stepped by an hour and set right after 5 min",
        run: host_step_system,
    },
    Scenario {
        name: "host-step-small",
        what: "system, the daemon itself steps the clock right by 200 ms",
        run: host_step_small,
    },
    Scenario {
        name: "host-sleep-tracked",
        what: "tracked, the host sleeps for an hour",
        run: host_sleep_tracked,
    },
    Scenario {
        name: "host-sleep-system",
        what: "system, the host sleeps for an hour",
        run: host_sleep_system,
    },
    Scenario {
        name: "stall",
        what: "the supervisor hangs for a minute",
        run: stall,
    },
];

fn wrong_host(network: &mut Network) {
    network.host.error = an_hour(network);
    network.honest(3);
    network.run(2.0 * HOUR);
    served_well(network, 5.0, 99.9);
}

fn host_step_tracked(network: &mut Network) {
    three_known(network);
    for _ in 0..2 {
        let by = an_hour(network);
        network.step_host(by);
        network.run(HOUR);
    }
    served_well(network, 2.0, 100.0);
}

fn host_step_system(network: &mut Network) {
    network.policy.source = ClockSource::System;
    network.daemon();
    network.honest(2);
    settle(network);
    let by = an_hour(network);
    network.step_host(by);
    network.holds("a worker says so at once", !network.record.is_usable());
    network.record.forget();
    network.run(5.0 * MINUTE);
    let usable = network.record.usable_percent();
    network.at_most("usable while wrong, %", 0.0, usable);
    network.step_host(-by);
    network.run(HOUR);
    network.record.forget();
    network.run(20.0 * MINUTE);
    network.holds("then synchronized", network.state() == State::Synchronized);
    served_well(network, 1.0, 100.0);
}

fn host_step_small(network: &mut Network) {
    network.policy.source = ClockSource::System;
    network.daemon();
    // The daemon learns that its clock was wrong by as much as it said that it could be.
    (network.host.error, network.servers[0].root_dispersion) = (-0.2, 0.3);
    settle(network);
    network.step_host(0.2);
    network.holds("a worker says so at once", !network.record.is_usable());
    network.servers[0].root_dispersion = 0.001;
    network.record.forget();
    network.run(40.0);
    let first = network.record.usable_percent();
    network.at_least("usable of the next 40 s, %", 40.0, first);
    network.record.forget();
    network.run(HOUR);
    served_well(network, 1.0, 100.0);
}

fn host_sleep_tracked(network: &mut Network) {
    three_known(network);
    network.sleep(HOUR);
    network.holds("a worker says so at once", !network.record.is_usable());
    network.record.forget();
    network.run(20.0 * MINUTE);
    let back = network
        .record
        .first_usable
        .map_or(f64::MAX, |at| at - network.host.now() + 20.0 * MINUTE);
    network.at_most("usable again after, s", 10.0, back);
    let error = network.record.worst_error * 1e3;
    network.at_most("error then, ms", 10.0, error);
}

fn host_sleep_system(network: &mut Network) {
    network.policy.source = ClockSource::System;
    network.daemon();
    network.honest(2);
    settle(network);
    network.sleep(HOUR);
    network.holds("a worker says so at once", !network.record.is_usable());
    network.record.forget();
    network.run(20.0 * MINUTE);
    let back = network
        .record
        .first_usable
        .map_or(f64::MAX, |at| at - network.host.now() + 20.0 * MINUTE);
    network.at_most("usable again after, s", 10.0, back);
    let error = network.record.worst_error * 1e3;
    network.at_most("error then, ms", 1.0, error);
}

fn stall(network: &mut Network) {
    three_known(network);
    network.stalled = true;
    network.run(MINUTE);
    network.look();
    network.holds("workers say so by themselves", !network.record.is_usable());
    network.stalled = false;
    network.record.forget();
    network.run(1.1);
    network.look();
    network.holds("and at once when it is over", network.record.is_usable());
    network.record.forget();
    network.run(HOUR);
    served_well(network, 2.0, 100.0);
}

fn an_hour(network: &mut Network) -> f64 {
    if network.random.happens(0.5) { HOUR } else { -HOUR }
}
