//! What the operator changes while we serve.

use ntpfront::upstream::Host;
use ntpfront::upstream::candidate::SelectionStatus;
use ntpfront::upstream::clock_policy::ClockSource;
use ntpfront::upstream::packet::Reject;
use ntpfront::upstream::system_process::State;

use super::{HOUR, MINUTE, Scenario, served_well, settle, three_known};
use crate::network::Network;
use crate::server::Act;

pub(super) const ALL: &[Scenario] = &[
    Scenario {
        name: "reload-unchanged",
        what: "a reload each minute for an hour that changes only how often is asked",
        run: unchanged,
    },
    Scenario {
        name: "reload-some",
        what: "one of three stays, two others come, and their order turns",
        run: some,
    },
    Scenario {
        name: "reload-all",
        what: "all three are replaced by others",
        run: all,
    },
    Scenario {
        name: "reload-all-liar-first",
        what: "all are replaced; of the new three only a liar answers, the others 2 s later",
        run: all_liar_first,
    },
    Scenario {
        name: "reload-to-daemon",
        what: "source auto, three are replaced by a daemon on this host, and back",
        run: to_daemon,
    },
    Scenario {
        name: "reload-spelling",
        what: "names in other letters, with and without a dot at their end, in another order",
        run: spelling,
    },
    Scenario {
        name: "reload-turned",
        what: "a reload each minute for an hour that changes only the order",
        run: turned,
    },
    Scenario {
        name: "reload-any",
        what: "every five minutes for four hours others of eight, in any order, two of them by two entries each",
        run: any,
    },
    Scenario {
        name: "reload-after-deny",
        what: "the only one says DENY twice, and answers again when it is asked after a reload",
        run: after_deny,
    },
];

/// The states since the last `forget`, without times.
fn only_synchronized(network: &Network) -> bool {
    let mut states = network.record.states.iter();
    states.all(|(_, state)| *state == State::Synchronized)
}

fn unchanged(network: &mut Network) {
    three_known(network);
    let steps = network.steps_said;
    for round in 0..60 {
        network.configure(0, |upstream| upstream.maxpoll = 8 + round % 3);
        network.reload(&[0, 1, 2]);
        network.run(MINUTE);
    }
    network.holds("always synchronized", only_synchronized(network));
    network.at_most("steps", 0.0, (network.steps_said - steps) as f64);
    let asked = network.servers[0].asked.len();
    network.at_most("questions to the first", 80.0, asked as f64);
    served_well(network, 2.0, 100.0);
}

fn turned(network: &mut Network) {
    three_known(network);
    let peer =
        |network: &Network| (0..3).find(|&one| network.standing_of(one) == SelectionStatus::SystemPeer);
    let (steps, mut hops) = (network.steps_said, 0);
    for round in 0..60 {
        let before = peer(network);
        let mut order = [0, 1, 2];
        order.rotate_left(1 + round % 2);
        network.reload(&order);
        network.run(1.0);
        hops += u32::from(peer(network) != before);
        network.run(MINUTE - 1.0);
    }
    network.at_most("other system peers within a second", 3.0, f64::from(hops));
    network.holds("always synchronized", only_synchronized(network));
    network.at_most("steps", 0.0, (network.steps_said - steps) as f64);
    served_well(network, 2.0, 100.0);
}

/// Upstreams 0 and 8, and 1 and 9, are the same server each.
fn any(network: &mut Network) {
    network.honest(8);
    (0..2).for_each(|server| network.name(vec![server]));
    settle(network);
    let mut before: Vec<usize> = (0..10).collect();
    let (mut stayed, mut known) = (0, 0);
    for _ in 0..48 {
        let mut wanted: Vec<usize> = (0..10).collect();
        for place in (1..wanted.len()).rev() {
            let other = (network.random.unit() * (place + 1) as f64) as usize;
            wanted.swap(place, other);
        }
        wanted.truncate(1 + (network.random.unit() * 10.0) as usize);
        let stays: Vec<usize> = (2..8)
            .filter(|one| before.contains(one) && wanted.contains(one))
            .collect();
        let samples = |network: &Network| stays.iter().map(|&one| network.accepted(one)).collect::<Vec<_>>();
        let had = samples(network);
        network.reload(&wanted);
        stayed += stays.len();
        known += had
            .iter()
            .zip(samples(network))
            .filter(|(had, has)| **had == *has && *has > 0)
            .count();
        network.run(5.0 * MINUTE);
        before = wanted;
    }
    network.holds("some stayed", stayed > 0);
    network.holds("what stayed was known", known == stayed);
    network.at_most("steps", 0.0, network.steps_said as f64);
    served_well(network, 10.0, 100.0);
}

fn spelling(network: &mut Network) {
    let named = |text: &str| Host::Name(text.to_owned());
    network.honest(3);
    network.configure(0, |upstream| upstream.host = named("time.example"));
    settle(network);
    let asked = network.servers[0].asked.len();
    for spelling in ["TIME.example", "Time.Example.", "time.example"] {
        network.configure(0, |upstream| upstream.host = named(spelling));
        network.reload(&[2, 0, 1]);
        network.run(MINUTE);
    }
    network.holds("always synchronized", only_synchronized(network));
    network.holds("its samples stay", network.accepted(0) >= asked as u64);
    let more = network.servers[0].asked.len() - asked;
    network.at_most("questions in three minutes", 4.0, more as f64);
    served_well(network, 2.0, 100.0);
}

fn some(network: &mut Network) {
    three_known(network);
    let steps = network.steps_said;
    network.honest(2);
    network.reload(&[4, 1, 3]);
    network.run(HOUR);
    network.holds("always synchronized", only_synchronized(network));
    network.at_most("steps", 0.0, (network.steps_said - steps) as f64);
    served_well(network, 2.0, 100.0);
}

fn all(network: &mut Network) {
    three_known(network);
    let steps = network.steps_said;
    network.honest(3);
    network.reload(&[3, 4, 5]);
    network.run(HOUR);
    network.holds("synchronized again", network.state() == State::Synchronized);
    let states = network.record.states.iter();
    let longest = states.clone().zip(states.skip(1));
    let holdover = longest
        .filter(|((_, state), _)| *state == State::Holdover)
        .map(|((from, _), (to, _))| to - from)
        .fold(0.0, f64::max);
    network.at_most("holdover, s", 5.0, holdover);
    network.at_most("steps", 0.0, (network.steps_said - steps) as f64);
    served_well(network, 5.0, 100.0);
}

fn all_liar_first(network: &mut Network) {
    three_known(network);
    let steps = network.steps_said;
    network.honest(3);
    network.servers[3].offset = 50.0;
    network.servers[4].act = Act::Silent;
    network.servers[5].act = Act::Silent;
    network.reload(&[3, 4, 5]);
    // Before their first question is given up, they have not had their chance.
    network.run(2.0);
    network.holds("holdover", network.state() == State::Holdover);
    network.servers[4].act = Act::Honest;
    network.servers[5].act = Act::Honest;
    network.run(HOUR);
    network.holds(
        "the liar is a falseticker",
        network.standing(0) == SelectionStatus::Falseticker,
    );
    network.at_most("steps", 0.0, (network.steps_said - steps) as f64);
    served_well(network, 5.0, 100.0);
}

fn to_daemon(network: &mut Network) {
    network.policy.source = ClockSource::Auto;
    three_known(network);
    network.daemon();
    network.reload(&[3]);
    network.run(10.0 * MINUTE);
    network.holds("mirrored", network.standing(0) == SelectionStatus::Mirrored);
    network.holds("source is system", network.source() == Some(ClockSource::System));
    network.reload(&[0, 1, 2]);
    network.run(HOUR);
    network.holds(
        "source is tracked",
        network.source() == Some(ClockSource::Tracked),
    );
    network.holds("synchronized", network.state() == State::Synchronized);
    served_well(network, 5.0, 100.0);
}

fn after_deny(network: &mut Network) {
    network.honest(1);
    settle(network);
    network.servers[0].act = Act::Kiss(*b"DENY");
    network.run(2.0 * HOUR);
    network.at_most(
        "times that it denied",
        2.0,
        network.rejected(0, Reject::KissDeny) as f64,
    );
    network.servers[0].act = Act::Honest;
    network.run(MINUTE);
    network.holds("not before the reload", network.state() == State::Holdover);
    network.reload(&[0]);
    network.run(5.0);
    network.holds("synchronized again", network.state() == State::Synchronized);
    served_well(network, 30.0, 100.0);
}
