//! What paths, oscillators and honest upstreams do.

use ntpfront::time::NtpTimestamp;
use ntpfront::upstream::candidate::SelectionStatus;
use ntpfront::upstream::system_process::State;

use super::{HOUR, MINUTE, Scenario, served_well, settle, three_known};
use crate::network::Network;
use crate::server::{Act, Server};

pub(super) const ALL: &[Scenario] = &[
    Scenario {
        name: "quiet",
        what: "three honest upstreams, nothing happens",
        run: quiet,
    },
    Scenario {
        name: "alone",
        what: "one honest upstream, nothing happens",
        run: alone,
    },
    Scenario {
        name: "ten-dead",
        what: "a name with ten addresses where nobody answers, and one that does",
        run: ten_dead,
    },
    Scenario {
        name: "dead",
        what: "one of three never answers",
        run: dead,
    },
    Scenario {
        name: "all-dead",
        what: "nobody ever answers",
        run: all_dead,
    },
    Scenario {
        name: "slow",
        what: "one of three takes 0.7 s each way, one answers after 4 s",
        run: slow,
    },
    Scenario {
        name: "loss",
        what: "each way of each path loses 30 % of the packets",
        run: loss,
    },
    Scenario {
        name: "asymmetry",
        what: "each path takes 0 to 40 ms more in one direction",
        run: asymmetry,
    },
    Scenario {
        name: "jitter-bursts",
        what: "queues of 50 ms on average for a minute in five",
        run: jitter_bursts,
    },
    Scenario {
        name: "drift",
        what: "the host's oscillator is 200 ppm too fast, or too slow",
        run: drift,
    },
    Scenario {
        name: "frequency-step",
        what: "after 2 h the host's oscillator changes by 10 ppm (it got warm)",
        run: frequency_step,
    },
    Scenario {
        name: "wander",
        what: "the host's oscillator wanders by 1 ppm in a minute",
        run: wander,
    },
    Scenario {
        name: "era",
        what: "the timestamps' era ends in 2036",
        run: era,
    },
    Scenario {
        name: "away",
        what: "one of three is away for an hour and back",
        run: away,
    },
    Scenario {
        name: "all-away",
        what: "all three are away for an hour and back",
        run: all_away,
    },
    Scenario {
        name: "away-for-a-day",
        what: "the only one is away for a day and back, max-distance 0.1 s",
        run: away_for_a_day,
    },
    Scenario {
        name: "moved",
        what: "the name of the only one gets another address",
        run: moved,
    },
];

fn quiet(network: &mut Network) {
    network.honest(3);
    network.run(2.0 * HOUR);
    let first = network.record.first_usable.unwrap_or(f64::MAX);
    network.at_most("first time after, s", 0.2, first);
    served_well(network, 5.0, 99.9);
    network.record.forget();
    network.run(HOUR);
    let (error, distance) = (network.record.worst_error, network.record.worst_distance);
    network.at_most("error later, ms", 1.0, error * 1e3);
    network.at_most("announced later, ms", 40.0, distance * 1e3);
    let asked = network.servers[0].asked.len();
    network.at_most("questions in 3 h", 140.0, asked as f64);
}

fn alone(network: &mut Network) {
    network.honest(1);
    network.run(2.0 * HOUR);
    served_well(network, 5.0, 99.9);
}

fn dead(network: &mut Network) {
    network.honest(3);
    network.servers[1].act = Act::Silent;
    network.run(HOUR);
    served_well(network, 5.0, 99.9);
    network.holds("it is silent", network.standing(1) == SelectionStatus::Silent);
    let asked = network.servers[1].asked.len();
    network.at_most("questions to it", 40.0, asked as f64);
}

fn all_dead(network: &mut Network) {
    network.honest(3);
    for server in &mut network.servers {
        server.act = Act::Silent;
    }
    network.run(HOUR);
    let usable = network.record.usable_percent();
    network.at_most("usable, %", 0.0, usable);
    network.holds("state is init", network.state() == State::Init);
}

fn slow(network: &mut Network) {
    network.honest(4);
    (network.servers[1].out, network.servers[1].back) = (0.7, 0.7);
    network.servers[2].back = 4.0;
    network.run(HOUR);
    served_well(network, 5.0, 99.9);
    network.holds(
        "late answers are none",
        network.standing(2) == SelectionStatus::Silent,
    );
}

fn loss(network: &mut Network) {
    network.honest(3);
    for server in &mut network.servers {
        server.loss = 0.3;
    }
    network.run(2.0 * HOUR);
    served_well(network, 15.0, 99.0);
}

fn asymmetry(network: &mut Network) {
    network.honest(3);
    for place in 0..3 {
        let more = network.random.between(-0.040, 0.040);
        network.servers[place].out += more.max(0.0);
        network.servers[place].back -= more.min(0.0);
    }
    network.run(2.0 * HOUR);
    served_well(network, 22.0, 99.9);
}

fn jitter_bursts(network: &mut Network) {
    network.honest(3);
    for _ in 0..12 {
        for jitter in [0.050, 0.0003] {
            network
                .servers
                .iter_mut()
                .for_each(|server| server.jitter = jitter);
            network.run(if jitter > 0.01 { MINUTE } else { 4.0 * MINUTE });
        }
        if network.host.now() < 6.0 * MINUTE {
            network.record.forget();
        }
    }
    served_well(network, 10.0, 100.0);
}

fn drift(network: &mut Network) {
    network.honest(3);
    network.host.frequency = if network.random.happens(0.5) {
        200e-6
    } else {
        -200e-6
    };
    network.run(10.0 * MINUTE);
    served_well(network, 20.0, 99.9);
    network.record.forget();
    network.run(2.0 * HOUR);
    let error = network.record.worst_error * 1e3;
    network.at_most("error later, ms", 1.0, error);
}

fn frequency_step(network: &mut Network) {
    network.honest(3);
    network.run(2.0 * HOUR);
    network.record.forget();
    network.host.frequency += if network.random.happens(0.5) {
        10e-6
    } else {
        -10e-6
    };
    network.run(2.0 * HOUR);
    served_well(network, 15.0, 100.0);
    network.record.forget();
    network.run(HOUR);
    let error = network.record.worst_error * 1e3;
    network.at_most("error later, ms", 1.0, error);
}

fn wander(network: &mut Network) {
    network.honest(3);
    network.host.wander = 1e-6 / MINUTE.sqrt();
    network.run(2.0 * HOUR);
    served_well(network, 10.0, 99.9);
}

fn era(network: &mut Network) {
    // 2036-02-07 06:28:16 UTC is when the 32 bits of seconds start again.
    network.host.truth.start = NtpTimestamp::from_unix(2_085_978_496 - 1800, 0);
    three_known(network);
    network.run(HOUR);
    served_well(network, 2.0, 100.0);
}

fn away(network: &mut Network) {
    three_known(network);
    network.servers[0].act = Act::Silent;
    network.run(HOUR);
    network.holds("it is silent", network.standing(0) == SelectionStatus::Silent);
    network.servers[0].act = Act::Honest;
    network.run(HOUR);
    let back = matches!(
        network.standing(0),
        SelectionStatus::SystemPeer | SelectionStatus::Agrees
    );
    network.holds("it agrees again", back);
    served_well(network, 2.0, 100.0);
}

fn all_away(network: &mut Network) {
    three_known(network);
    for server in &mut network.servers {
        server.act = Act::Silent;
    }
    network.run(HOUR);
    network.holds("state is holdover", network.state() == State::Holdover);
    served_well(network, 30.0, 100.0);
    for server in &mut network.servers {
        server.act = Act::Honest;
    }
    network.run(20.0 * MINUTE);
    network.record.forget();
    network.run(20.0 * MINUTE);
    let error = network.record.worst_error * 1e3;
    network.at_most("error when back, ms", 2.0, error);
    network.holds("state is synchronized", network.state() == State::Synchronized);
}

fn away_for_a_day(network: &mut Network) {
    network.policy.max_distance = ntpfront::time::NtpDuration::from_seconds(0.1);
    network.honest(1);
    settle(network);
    network.servers[0].act = Act::Silent;
    network.run(22.0 * HOUR);
    network.holds(
        "state is unsynchronized",
        network.state() == State::Unsynchronized,
    );
    let (error, distance) = (network.record.worst_error, network.record.worst_distance);
    network.at_most("error, ms", 100.0, error * 1e3);
    network.at_most("announced, ms", 100.1, distance * 1e3);
    network.servers[0].act = Act::Honest;
    network.run(30.0 * MINUTE);
    network.holds("state is synchronized", network.state() == State::Synchronized);
}

fn ten_dead(network: &mut Network) {
    let all = (1..=11).map(|number| Server::honest(number, &mut network.random));
    let mut all: Vec<Server> = all.collect();
    all.iter_mut().take(10).for_each(|one| one.act = Act::Silent);
    network.servers.extend(all);
    network.name((0..11).collect());
    network.run(15.0);
    network.holds("synchronized within 15 s", network.state() == State::Synchronized);
    network.run(HOUR);
    let dead = network.servers[..10].iter().map(|one| one.asked.len()).max();
    network.at_most("questions to a dead one", 1.0, dead.unwrap() as f64);
    served_well(network, 30.0, 98.0);
}

fn moved(network: &mut Network) {
    let mut pair = [1, 2].map(|number| Server::honest(number, &mut network.random));
    pair[1].act = Act::Silent;
    network.servers.extend(pair);
    network.name(vec![0, 1]);
    settle(network);
    network.servers[0].act = Act::Silent;
    network.servers[1].act = Act::Honest;
    network.run(2.0 * HOUR);
    served_well(network, 30.0, 100.0);
    let asked = network.servers[1].asked.len();
    network.at_least("questions to the new one", 10.0, asked as f64);
    network.holds("state is synchronized", network.state() == State::Synchronized);
}
