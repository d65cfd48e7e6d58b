//! What upstreams and others on the path say that is not so.

use ntpfront::upstream::candidate::SelectionStatus;
use ntpfront::upstream::packet::Reject;
use ntpfront::upstream::system_process::State;
use ntpfront::wire::{Leap, ReferenceId};

use super::{HOUR, MINUTE, Scenario, served_well, settle, three_known};
use crate::network::{Network, OWN};
use crate::server::{Act, Server};

pub(super) const ALL: &[Scenario] = &[
    Scenario {
        name: "wrong-origin",
        what: "five forged packets come before each answer of each of three",
        run: wrong_origin,
    },
    Scenario {
        name: "flood",
        what: "forty forged packets come before each answer of one of three",
        run: flood,
    },
    Scenario {
        name: "replay",
        what: "one of three sends its last answer again and again",
        run: replay,
    },
    Scenario {
        name: "spoofed",
        what: "the answers of one of three come from another address",
        run: spoofed,
    },
    Scenario {
        name: "nonsense",
        what: "of three, one sends 40 bytes, one holds questions for 2.5 s, one is honest",
        run: nonsense,
    },
    Scenario {
        name: "no-transmit-time",
        what: "one of three says no transmit time",
        run: no_transmit_time,
    },
    Scenario {
        name: "rate",
        what: "one of three says RATE to who asks again within 100 s",
        run: rate,
    },
    Scenario {
        name: "rate-always",
        what: "one of three says RATE, whenever asked",
        run: rate_always,
    },
    Scenario {
        name: "deny-once",
        what: "one DENY of somebody on the path to the only one",
        run: deny_once,
    },
    Scenario {
        name: "deny-of-one-address",
        what: "one of the two addresses of the only name says RSTR",
        run: deny_of_one_address,
    },
    Scenario {
        name: "deny",
        what: "one of three says DENY",
        run: deny,
    },
    Scenario {
        name: "restrict",
        what: "one of three says RSTR, the first time it is asked",
        run: restrict,
    },
    Scenario {
        name: "leap-3",
        what: "one of three loses its time (leap 3)",
        run: leap_3,
    },
    Scenario {
        name: "stratum-0",
        what: "one of three loses its time (stratum 0, STEP)",
        run: stratum_0,
    },
    Scenario {
        name: "stratum-16",
        what: "one of three loses its time (stratum 16)",
        run: stratum_16,
    },
    Scenario {
        name: "stratum-15",
        what: "the only one is at stratum 15",
        run: stratum_15,
    },
    Scenario {
        name: "loop",
        what: "one of three begins to follow us",
        run: follows_us,
    },
    Scenario {
        name: "root-delay",
        what: "one of three says a root delay of 5 h",
        run: root_delay,
    },
    Scenario {
        name: "root-dispersion",
        what: "one of three says a root dispersion of 5 h",
        run: root_dispersion,
    },
    Scenario {
        name: "falseticker",
        what: "one of three is wrong by 10 s from the start",
        run: falseticker,
    },
    Scenario {
        name: "step-of-one",
        what: "one of three steps its clock by 0.5 s",
        run: step_of_one,
    },
    Scenario {
        name: "step-of-the-only",
        what: "the only one steps its clock by 0.5 s, by mistake, and says nothing",
        run: step_of_the_only,
    },
    Scenario {
        name: "drift-of-one",
        what: "one of three drifts away by 20 ppm",
        run: drift_of_one,
    },
    Scenario {
        name: "two-against-two",
        what: "two of four step their clocks by 1 s together",
        run: two_against_two,
    },
    Scenario {
        name: "two-against-two-at-start",
        what: "two of four are wrong by 1 s from the start",
        run: two_against_two_at_start,
    },
    Scenario {
        name: "49-percent",
        what: "three of seven drift away together by 50 ppm",
        run: liars_together,
    },
    Scenario {
        name: "49-percent-apart",
        what: "three of seven drift away by 30, -50 and 60 ppm",
        run: liars_apart,
    },
];

fn wrong_origin(network: &mut Network) {
    network.honest(3);
    act(network, &[0, 1, 2], Act::Forged(5));
    network.run(HOUR);
    served_well(network, 5.0, 99.9);
    let refused = network.rejected(0, Reject::WrongOrigin);
    network.at_least("refused of one", 50.0, refused as f64);
}

fn flood(network: &mut Network) {
    network.honest(3);
    act(network, &[0], Act::Forged(40));
    network.run(HOUR);
    served_well(network, 5.0, 99.9);
    let borne = matches!(
        network.standing(0),
        SelectionStatus::SystemPeer | SelectionStatus::Agrees
    );
    network.holds("it agrees all the same", borne);
}

fn replay(network: &mut Network) {
    three_known(network);
    act(network, &[0], Act::Replay);
    network.run(1.25 * HOUR);
    served_well(network, 2.0, 100.0);
    network.holds("it is refused", network.standing(0) == SelectionStatus::Refused);
}

fn spoofed(network: &mut Network) {
    three_known(network);
    act(network, &[0], Act::Spoofed);
    network.run(1.25 * HOUR);
    served_well(network, 2.0, 100.0);
    network.holds("it is silent", network.standing(0) == SelectionStatus::Silent);
}

fn nonsense(network: &mut Network) {
    network.honest(3);
    act(network, &[0], Act::Cut);
    act(network, &[1], Act::Holds(2.5));
    network.run(HOUR);
    served_well(network, 5.0, 99.9);
    network.holds(
        "40 bytes are refused",
        network.standing(0) == SelectionStatus::Refused,
    );
}

fn no_transmit_time(network: &mut Network) {
    three_known(network);
    act(network, &[0], Act::NoTransmitTime);
    network.run(1.25 * HOUR);
    served_well(network, 2.0, 100.0);
    network.holds("it is refused", network.standing(0) == SelectionStatus::Refused);
}

fn rate(network: &mut Network) {
    network.honest(3);
    act(network, &[0], Act::RateBelow(100.0));
    network.run(1.25 * HOUR);
    served_well(network, 5.0, 99.9);
    let asked = &network.servers[0].asked;
    let later = asked.iter().filter(|&&at| at > 20.0 * MINUTE);
    let closest = later.clone().zip(later.skip(1)).map(|(one, next)| next - one);
    let closest = closest.fold(f64::MAX, f64::min);
    network.at_least("seconds between questions, after 20 min", 100.0, closest);
    let kisses = network.rejected(0, Reject::KissRate);
    network.at_most("kisses", 3.0, kisses as f64);
}

fn rate_always(network: &mut Network) {
    network.honest(3);
    act(network, &[0], Act::Kiss(*b"RATE"));
    network.run(1.25 * HOUR);
    served_well(network, 5.0, 99.9);
    let asked = network.servers[0].asked.len();
    network.at_most("questions to it", 14.0, asked as f64);
}

/// Whoever is on the path for a second can send it.
fn deny_once(network: &mut Network) {
    network.honest(1);
    settle(network);
    act(network, &[0], Act::Kiss(*b"DENY"));
    while network.rejected(0, Reject::KissDeny) == 0 {
        network.run(1.0);
    }
    act(network, &[0], Act::Honest);
    let asked = network.servers[0].asked.len();
    network.run(59.0 * MINUTE);
    let more = network.servers[0].asked.len() - asked;
    network.at_most("questions within the hour", 0.0, more as f64);
    network.run(20.0 * MINUTE);
    network.holds("synchronized again", network.state() == State::Synchronized);
    served_well(network, 30.0, 100.0);
}

fn deny_of_one_address(network: &mut Network) {
    let pair = [1, 2].map(|number| Server::honest(number, &mut network.random));
    network.servers.extend(pair);
    network.name(vec![0, 1]);
    settle(network);
    act(network, &[0], Act::Kiss(*b"RSTR"));
    network.run(40.0 * MINUTE);
    network.holds("state is synchronized", network.state() == State::Synchronized);
    let asked = network.servers[1].asked.len();
    network.at_least("questions to the other", 5.0, asked as f64);
    network.at_most("kisses", 1.0, network.rejected(0, Reject::KissDeny) as f64);
    served_well(network, 30.0, 100.0);
}

fn deny(network: &mut Network) {
    three_known(network);
    let before = network.servers[0].asked.len();
    act(network, &[0], Act::Kiss(*b"DENY"));
    network.run(1.25 * HOUR);
    served_well(network, 2.0, 100.0);
    let asked = network.servers[0].asked.len() - before;
    network.at_most("questions to it since, one an hour later", 2.0, asked as f64);
    network.holds("it is refused", network.standing(0) == SelectionStatus::Refused);
}

fn restrict(network: &mut Network) {
    network.honest(3);
    act(network, &[0], Act::Kiss(*b"RSTR"));
    network.run(1.25 * HOUR);
    served_well(network, 5.0, 99.9);
    let asked = network.servers[0].asked.len();
    network.at_most("questions to it, one an hour later", 2.0, asked as f64);
}

fn leap_3(network: &mut Network) {
    loses_its_time(network, |network| network.servers[0].leap = Leap::Unsynchronized);
}

fn stratum_0(network: &mut Network) {
    loses_its_time(network, |network| act(network, &[0], Act::Kiss(*b"STEP")));
}

fn stratum_16(network: &mut Network) {
    loses_its_time(network, |network| network.servers[0].stratum = 16);
}

fn follows_us(network: &mut Network) {
    loses_its_time(network, |network| {
        network.servers[0].reference_id = ReferenceId::from_bytes(OWN);
        network.servers[0].stratum = 3;
    });
}

fn root_delay(network: &mut Network) {
    loses_its_time(network, |network| network.servers[0].root_delay = 18_000.0);
}

fn root_dispersion(network: &mut Network) {
    loses_its_time(network, |network| network.servers[0].root_dispersion = 18_000.0);
}

/// Something makes the first of three useless; then its clock goes wrong, and nobody may believe it.
fn loses_its_time(network: &mut Network, happens: fn(&mut Network)) {
    three_known(network);
    happens(network);
    network.run(20.0 * MINUTE);
    network.holds("it is refused", network.standing(0) == SelectionStatus::Refused);
    network.servers[0].offset += 0.010;
    network.run(1.25 * HOUR);
    served_well(network, 2.0, 100.0);
}

fn stratum_15(network: &mut Network) {
    network.honest(1);
    network.servers[0].stratum = 15;
    network.run(HOUR);
    let usable = network.record.usable_percent();
    network.at_most("usable, %", 0.0, usable);
}

fn falseticker(network: &mut Network) {
    network.honest(3);
    let liar = falsify_one(network);
    network.run(1.25 * HOUR);
    served_well(network, 5.0, 99.9);
    network.holds(
        "it is a falseticker",
        network.standing(liar) == SelectionStatus::Falseticker,
    );
}

fn falsify_one(network: &mut Network) -> usize {
    let liar = usize::from(network.random.happens(0.5)) + usize::from(network.random.happens(0.5));
    network.servers[liar].offset += 10.0;
    liar
}

fn step_of_one(network: &mut Network) {
    three_known(network);
    network.servers[0].offset += if network.random.happens(0.5) { 0.5 } else { -0.5 };
    network.run(1.25 * HOUR);
    served_well(network, 2.0, 100.0);
    network.holds(
        "it is a falseticker",
        network.standing(0) == SelectionStatus::Falseticker,
    );
}

fn step_of_the_only(network: &mut Network) {
    network.honest(1);
    settle(network);
    // It is all we have, so it is the truth, and followed when it says the same twice.
    network.record.truth_excused = true;
    network.servers[0].offset += if network.random.happens(0.5) { 0.5 } else { -0.5 };
    network.run(40.0 * MINUTE);
    let off = (network.error() - network.servers[0].offset).abs();
    network.at_most("from it after 40 min, ms", 2.0, off * 1e3);
}

fn drift_of_one(network: &mut Network) {
    three_known(network);
    let now = network.host.now();
    network.servers[0].drift_away(20e-6, now);
    network.run(2.0 * HOUR);
    served_well(network, 25.0, 90.0);
    network.holds(
        "it is a falseticker",
        network.standing(0) == SelectionStatus::Falseticker,
    );
}

fn two_against_two(network: &mut Network) {
    network.honest(4);
    settle(network);
    network.servers[0].offset += 1.0;
    network.servers[1].offset += 1.0;
    network.run(2.0 * HOUR);
    network.holds("state is disputed", network.state() == State::Disputed);
    network.holds("no time is announced", !network.record.is_usable());
    let error = network.record.worst_error * 1e3;
    network.at_most("error until then, ms", 10.0, error);
}

fn two_against_two_at_start(network: &mut Network) {
    network.honest(4);
    network.servers[0].offset += 1.0;
    network.servers[1].offset += 1.0;
    network.policy.min_sources = 3;
    network.run(1.25 * HOUR);
    let usable = network.record.usable_percent();
    network.at_most("usable, % (min-sources 3)", 0.0, usable);
    network.holds("state is disputed", network.state() == State::Disputed);
}

fn liars_together(network: &mut Network) {
    liars(network, [50e-6, 50e-6, 50e-6]);
}

fn liars_apart(network: &mut Network) {
    liars(network, [30e-6, -50e-6, 60e-6]);
}

fn liars(network: &mut Network, drifts: [f64; 3]) {
    network.honest(7);
    settle(network);
    let now = network.host.now();
    for (place, drift) in drifts.into_iter().enumerate() {
        network.servers[place].drift_away(drift, now);
    }
    network.run(1.5 * HOUR);
    // While the liars' claims still overlap honest ones, nobody can tell who is right: what counts then is that the
    // truth is inside of what is announced, and that is checked at every step.
    served_well(network, 60.0, 100.0);
    let found = (0..3).filter(|&place| network.standing(place) == SelectionStatus::Falseticker);
    network.at_least("falsetickers found", 3.0, found.count() as f64);
    network.record.forget();
    network.run(30.0 * MINUTE);
    let error = network.record.worst_error * 1e3;
    network.at_most("error later, ms", 2.0, error);
}

fn act(network: &mut Network, servers: &[usize], act: Act) {
    for &server in servers {
        network.servers[server].act = act;
    }
}
