//! What a stranger's words may not do, and what no stranger is needed for: frequencies that change, and a host's clock
//! that all upstreams contradict.

use ntpfront::upstream::candidate::SelectionStatus;
use ntpfront::upstream::clock_policy::ClockSource;
use ntpfront::wire::Leap;

use super::{HOUR, MINUTE, Scenario, served_well, settle};
use crate::liar::{Copies, Liar, Phase, Trick, WasSet};
use crate::network::Network;
use crate::server::Server;

pub(super) const ALL: &[Scenario] = &[
    Scenario {
        name: "copies-all",
        what: "one of five says the words of another one in each answer, 3 s off",
        run: copies_all,
    },
    Scenario {
        name: "copies-one",
        what: "one of three says the words of another one, 40 ms off, and is first in the file",
        run: copies_one,
    },
    Scenario {
        name: "kin",
        what: "two of three follow one server and say so to 128 s; the first is 0.7 s off",
        run: kin,
    },
    Scenario {
        name: "kin-alone",
        what: "two that follow one server and say so to 128 s are all there is",
        run: kin_alone,
    },
    Scenario {
        name: "claims-nothing",
        what: "one of three claims no distance, 30 us away, 17 ms off",
        run: claims_nothing,
    },
    Scenario {
        name: "claims-nothing-of-two",
        what: "one of two claims no distance, 30 us away, 17 ms off",
        run: claims_nothing_of_two,
    },
    Scenario {
        name: "claims-nothing-of-five",
        what: "one of five claims no distance, 30 us away, and sways by 12 ms",
        run: claims_nothing_of_five,
    },
    Scenario {
        name: "frequency-1",
        what: "the host's oscillator changes by 1 ppm, three times",
        run: frequency_1,
    },
    Scenario {
        name: "frequency-10",
        what: "the host's oscillator changes by 10 ppm, three times",
        run: frequency_10,
    },
    Scenario {
        name: "frequency-50",
        what: "the host's oscillator changes by 50 ppm, three times",
        run: frequency_50,
    },
    Scenario {
        name: "temperature",
        what: "the host's oscillator goes up and down by 1.5 ppm in 40 minutes",
        run: temperature,
    },
    Scenario {
        name: "walk-450",
        what: "all upstreams walk away by 450 ppm",
        run: walk_450,
    },
    Scenario {
        name: "walk-800",
        what: "all upstreams walk away by 800 ppm",
        run: walk_800,
    },
    Scenario {
        name: "walk-1700",
        what: "all upstreams walk away by 1700 ppm",
        run: walk_1700,
    },
    Scenario {
        name: "walk-4500",
        what: "all upstreams walk away by 4500 ppm",
        run: walk_4500,
    },
    Scenario {
        name: "system-outvoted",
        what: "the host's clock is served and goes 3 s off at once, none of three upstreams is on this host",
        run: system_outvoted,
    },
    Scenario {
        name: "system-outvoted-slowly",
        what: "the same at 500 ppm",
        run: system_outvoted_slowly,
    },
    Scenario {
        name: "system-outvoted-at-start",
        what: "the host's clock is served and 3 s off from the start",
        run: system_outvoted_at_start,
    },
];

/// What a liar does that does nothing.
fn phase() -> Phase {
    Phase {
        from: 0,
        offset: 0.0,
        drift: 0.0,
        swing: 0.0,
        root_delay: 0.002,
        root_dispersion: 0.001,
        out: 0.008,
        back: 0.008,
        jitter: 0.0002,
        seems: None,
        stratum: 2,
        copies: Copies::Nobody,
        was_set: WasSet::Lately,
        precision: -23,
        leap: Leap::NoWarning,
        trick: Trick::Answers,
        every: 1,
    }
}

fn add_liar(network: &mut Network, phase: Phase) {
    let number = u8::try_from(network.servers.len() + 1).unwrap();
    let liar = Server {
        liar: Some(Liar::new(vec![phase])),
        ..Server::honest(number, &mut network.random)
    };
    network.add(liar);
}

fn is_believed(network: &mut Network, upstreams: &[usize]) {
    for &one in upstreams {
        let standing = network.standing(one);
        let is_heard = matches!(
            standing,
            SelectionStatus::SystemPeer | SelectionStatus::Agrees | SelectionStatus::Outlier
        );
        network.holds("an honest one is believed", is_heard);
    }
}

fn copies_all(network: &mut Network) {
    network.policy.min_sources = 2;
    add_liar(
        network,
        Phase {
            offset: 3.0,
            copies: Copies::Each(1),
            ..phase()
        },
    );
    network.honest(4);
    network.run(0.6 * HOUR);
    served_well(network, 5.0, 99.9);
    is_believed(network, &[1, 2, 3, 4]);
}

fn copies_one(network: &mut Network) {
    network.policy.min_sources = 2;
    add_liar(
        network,
        Phase {
            offset: 0.040,
            copies: Copies::One(1),
            ..phase()
        },
    );
    network.honest(2);
    network.run(0.6 * HOUR);
    served_well(network, 5.0, 99.9);
    is_believed(network, &[1, 2]);
}

fn kin(network: &mut Network) {
    network.policy.min_sources = 2;
    network.honest(3);
    network.servers[0].offset = 0.7;
    network.servers[0].is_kin = true;
    network.servers[2].is_kin = true;
    network.run(0.6 * HOUR);
    served_well(network, 5.0, 99.9);
    is_believed(network, &[1, 2]);
}

fn kin_alone(network: &mut Network) {
    network.policy.min_sources = 2;
    network.honest(2);
    network.servers[0].is_kin = true;
    network.servers[1].is_kin = true;
    network.run(0.6 * HOUR);
    served_well(network, 5.0, 99.0);
}

/// Somebody far enough away that the liar is inside of what it claims.
fn far(network: &mut Network, count: u8) {
    network.honest(count);
    let first = network.servers.len() - usize::from(count);
    for (place, server) in network.servers[first..].iter_mut().enumerate() {
        (server.root_delay, server.root_dispersion) = (0.035 + 0.006 * place as f64, 0.008);
    }
}

fn nothing(offset: f64) -> Phase {
    Phase {
        offset,
        root_delay: 0.0,
        root_dispersion: 0.0,
        seems: Some(30e-6),
        ..phase()
    }
}

fn claims_nothing(network: &mut Network) {
    network.policy.min_sources = 2;
    far(network, 2);
    let offset = wrong(network, 0.017);
    add_liar(network, nothing(offset));
    network.run(0.6 * HOUR);
    let usable = network.record.usable_percent();
    network.at_least("usable, %", 99.9, usable);
}

fn claims_nothing_of_two(network: &mut Network) {
    far(network, 1);
    let offset = wrong(network, 0.017);
    add_liar(network, nothing(offset));
    network.run(0.6 * HOUR);
}

fn claims_nothing_of_five(network: &mut Network) {
    network.policy.min_sources = 2;
    far(network, 4);
    add_liar(
        network,
        Phase {
            swing: 0.012,
            ..nothing(0.0)
        },
    );
    network.run(0.6 * HOUR);
    let usable = network.record.usable_percent();
    network.at_least("usable, %", 99.9, usable);
}

/// The host's oscillator changes by so much, back and forth; the truth stays inside all the time.
fn frequency_steps(network: &mut Network, ppm: f64) {
    network.run(HOUR);
    network.record.forget();
    let mut by = wrong(network, ppm * 1e-6);
    for _ in 0..3 {
        network.host.frequency += by;
        by = -by;
        let bit = network.random.between(0.0, 10.0 * MINUTE);
        network.run(HOUR + bit);
    }
    let wrong_for = network.record.wrong_for;
    network.at_most("wrong for, s", 0.0, wrong_for);
    let usable = network.record.usable_percent();
    network.at_least("usable, %", 99.9, usable);
}

fn frequency_1(network: &mut Network) {
    network.honest(3);
    frequency_steps(network, 1.0);
}

fn frequency_10(network: &mut Network) {
    network.honest(3);
    frequency_steps(network, 10.0);
}

/// Nobody can know of it before the next sample: 64 s of 50 ppm are within what half of the delays allows.
fn frequency_50(network: &mut Network) {
    network.honest(3);
    for place in 0..3 {
        network.configure(place, |upstream| upstream.maxpoll = 6);
    }
    frequency_steps(network, 50.0);
}

fn temperature(network: &mut Network) {
    network.honest(3);
    network.run(HOUR);
    network.record.forget();
    let (base, phase) = (
        network.host.frequency,
        network.random.between(0.0, std::f64::consts::TAU),
    );
    for step in 0..250 {
        let turns = f64::from(step) * 40.0 / (40.0 * MINUTE);
        network.host.frequency = base + 1.5e-6 * (std::f64::consts::TAU * turns + phase).sin();
        network.run(40.0);
    }
    let wrong_for = network.record.wrong_for;
    network.at_most("wrong for, s", 0.0, wrong_for);
    served_well(network, 5.0, 99.9);
}

/// UTC, as all upstreams tell it, suddenly runs faster or slower than it did against the raw counter. Nobody can know
/// before some of them were asked again; then the truth is inside, or there is no time.
fn walk(network: &mut Network, ppm: f64) {
    network.honest(3);
    for place in 0..3 {
        network.configure(place, |upstream| {
            (upstream.minpoll, upstream.maxpoll) = (4, 6);
        });
    }
    settle(network);
    network.host.frequency += wrong(network, ppm * 1e-6);
    network.record.truth_excused = true;
    network.run(6.0 * MINUTE);
    network.record.truth_excused = false;
    network.record.forget();
    network.run(0.6 * HOUR);
    let wrong_for = network.record.wrong_for;
    network.at_most("wrong for, s", 0.0, wrong_for);
}

fn walk_450(network: &mut Network) {
    walk(network, 450.0);
    let usable = network.record.usable_percent();
    network.at_least("usable, %", 90.0, usable);
}

fn walk_800(network: &mut Network) {
    walk(network, 800.0);
}

fn walk_1700(network: &mut Network) {
    walk(network, 1700.0);
}

fn walk_4500(network: &mut Network) {
    walk(network, 4500.0);
}

/// Three remote upstreams and the host's clock, which somebody keeps well for a while.
fn system(network: &mut Network) {
    network.policy.source = ClockSource::System;
    network.policy.min_sources = 2;
    (network.host.kept, network.host.error) = (true, 0.002);
    network.honest(3);
}

fn system_outvoted(network: &mut Network) {
    system(network);
    settle(network);
    let by = wrong(network, 3.0);
    network.record.truth_excused = true;
    // Not a step as the kernel knows one: so the upstreams alone tell.
    network.host.jump_others(by);
    network.run(40.0 * MINUTE);
    network.record.truth_excused = false;
    network.run(1.25 * HOUR);
    network.record.forget();
    network.run(HOUR);
    let usable = network.record.usable_percent();
    network.at_most("usable then, %", 0.0, usable);
}

fn system_outvoted_slowly(network: &mut Network) {
    system(network);
    settle(network);
    let by = wrong(network, 3.0);
    network.host.slew(by);
    network.run(2.0 * HOUR);
    network.record.forget();
    network.run(HOUR);
    let usable = network.record.usable_percent();
    network.at_most("usable then, %", 0.0, usable);
}

fn system_outvoted_at_start(network: &mut Network) {
    system(network);
    network.host.error = wrong(network, 3.0);
    network.run(2.0 * HOUR);
    let usable = network.record.usable_percent();
    network.at_most("usable, %", 0.0, usable);
}

fn wrong(network: &mut Network, by: f64) -> f64 {
    if network.random.happens(0.5) { by } else { -by }
}
