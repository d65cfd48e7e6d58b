//! A strategy is played, and judged by what was promised.

use ntpfront::upstream::clock_policy::ClockSource;
use ntpfront::wire::Leap;

use super::genes::Genome;
use super::strategy::{Strategy, minority};
use crate::host::Host;
use crate::liar::{Copies, Liar, Phase, Trick, WasSet};
use crate::network::{Network, Pace};
use crate::random::Random;
use crate::server::Server;
use crate::watch::{Seen, Watch};

/// What is promised and when, who is honest, and what nobody can know. Numbers stand in `world.rs`.
pub(crate) const DEFINITIONS: &str = "\
honest    in each answer the clock's error is at most 0.8 of root delay / 2 + root dispersion as announced; it changes by
          at most 0.15 ppm, beside noise of up to 0.1 of that distance and 0.2 of the delay; of the delay at most 0.9 is on one
          way; queues add 5 us and up to 0.3 of the delay to each way (mean, exponential); up to 10 % of questions are lost,
          but none in the first 30 s, or after a sleep or a jump of the raw counter: nobody is outvoted by that
host      its frequency is off by up to 100 ppm, wanders by up to 1e-9 / sqrt(s), and bends by up to 0.8 ppm in all;
          its raw counter may jump by 1 to 500 ms against the truth: then the truth is not owed for 3 s, and questions that
          wait for their answer then (or while it sleeps) have none
truth     |served - true time| <= root delay / 2 + root dispersion, in each look at a usable time, from the first one on;
          also while nobody is reached any more. Of n upstreams at most (n - 1) / 2 lie; of two, one.
          With the host's own clock: it is stepped by 20 ms and more, then the truth is not owed for 3 s; it is not slewed,
          and not touched any more once nobody is reached
usable    of 3 and more upstreams with a minority of liars, tracked, at most one of the honest is kin to another, the honest
          ones as many as min-sources: from 60 s + 6 of the longest intervals after the start (and after a sleep or a jump
          of the raw counter) on there is never none for longer than 30 s + 4 of the longest intervals, until all fall silent
order     the same strategy with the upstreams in the reverse order: usable at the same moments, the served time the same
          within 1 us, the distance within 32 us
violation it is broken with at least 2 of 8 other seeds of all that is left to chance, too; else it is called luck and
          listed apart";

/// An honest upstream's clock is not read worse than its path measures.
const NOISE_OF_DELAY: f64 = 0.2;
const QUEUE: f64 = 5e-6;
/// A bend of the host's frequency is up to this, either way.
const BEND: f64 = 0.4e-6;
/// The raw counter does not jump by less: nobody could tell it from a slew of the others.
const JUMP_LEAST: f64 = 1e-3;
const STEP_TIMES: f64 = 20.0;
const SLEEP_TIMES: f64 = 200.0;
/// So long the supervisor may need to see what happened to the host's clocks.
const NOTICE: f64 = 3.0;
/// A step of the host's own clock is no smaller, while it is served.
const STEP_LEAST: f64 = 0.02;
/// For so long after the start and what is like it no answer is lost.
const SAFE: f64 = 30.0;
/// A while at the start, beside the rounds.
const START: f64 = 8.0;

/// Decisions at reports and each second, as the product's; a wider step finds what is none.
const PACE: Pace = Pace {
    tick: 1.0,
    quiet_tick: 1.0,
    busy: 0.0,
    news: 0.0,
};

/// Which promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Goal {
    Truth,
    Usable,
    Order,
}

impl Goal {
    pub(crate) const ALL: [Self; 3] = [Self::Truth, Self::Usable, Self::Order];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Truth => "truth",
            Self::Usable => "usable",
            Self::Order => "order",
        }
    }
}

/// How near a play came to breaking each promise: over 1 is broken.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Played {
    pub(crate) near: [f64; 3],
}

impl Played {
    pub(crate) fn near(&self, goal: Goal) -> f64 {
        self.near[goal as usize]
    }
}

/// Plays a strategy; in both orders, if `orders`.
pub(crate) fn judge(strategy: &Strategy, orders: bool) -> Played {
    let first = play(strategy, &strategy.order, orders);
    let order = if orders {
        let reverse: Vec<usize> = strategy.order.iter().rev().copied().collect();
        first.differs(&play(strategy, &reverse, true)).0
    } else {
        0.0
    };
    Played {
        near: [first.ratio, first.idle, order],
    }
}

/// Does it break the promise?
pub(crate) fn breaks(strategy: &Strategy, goal: Goal) -> bool {
    judge(strategy, goal == Goal::Order).near(goal) > 1.0
}

/// With how many of 8 other seeds does it break the promise as well?
pub(crate) fn breaks_with(strategy: &Strategy, goal: Goal) -> u32 {
    let other = |seed: u64| Strategy {
        seed: strategy.seed.wrapping_add(seed * 1_000_003),
        ..strategy.clone()
    };
    (1..=8).map(|seed| u32::from(breaks(&other(seed), goal))).sum()
}

/// In words what happens.
pub(crate) fn tell(strategy: &Strategy, goal: Goal) -> String {
    let first = play(strategy, &strategy.order, true);
    match goal {
        Goal::Truth => {
            let (error, distance) = first.ratio_of;
            let (at, ratio) = (first.ratio_at, first.ratio);
            format!("at {at:.1} s served {error:+.6} s off, announced +-{distance:.6} s ({ratio:.2} times)")
        }
        Goal::Usable => format!(
            "no time for {:.0} s until {:.0} s, {:.0} are allowed",
            first.idle * first.may_be_idle,
            first.idle_at,
            first.may_be_idle
        ),
        Goal::Order => {
            let reverse: Vec<usize> = strategy.order.iter().rev().copied().collect();
            let other = play(strategy, &reverse, true);
            let say = |seen: Seen| match seen.usable {
                true => format!("{:+.6} s off, +-{:.6} s", seen.error, seen.distance),
                false => "no time".to_owned(),
            };
            first.differs(&other).1.map_or_else(
                || "the same in both orders".to_owned(),
                |(one, two)| {
                    format!(
                        "at {:.1} s {}; in the reverse order {}",
                        one.now,
                        say(one),
                        say(two)
                    )
                },
            )
        }
    }
}

fn play(strategy: &Strategy, order: &[usize], keeps_trace: bool) -> Watch {
    let mut network = build(strategy, order);
    let poll = strategy.world.get("minpoll").exp2();
    let longest = poll * strategy.world.get("longer").exp2();
    let (grace, may_be_idle) = (60.0 + 6.0 * longest, 30.0 + 4.0 * longest);
    let is_owed = owes_a_time(strategy);
    let mut watch = Watch::new(may_be_idle, if is_owed { grace } else { f64::INFINITY });
    watch.keeps_trace = keeps_trace;
    network.record.watch = Some(watch);
    let seconds = START + poll * strategy.world.get("rounds");
    let (silent, base) = (strategy.world.get("silent"), network.host.frequency);
    let mut bent = 0.0;
    let mut moments: Vec<(f64, Option<&Genome>)> = strategy
        .events
        .iter()
        .map(|event| (event.get("at"), Some(event)))
        .chain((silent < 1.0).then_some((silent, None)))
        .collect();
    moments.sort_by(|one, two| one.0.total_cmp(&two.0));
    debug_assert!(base.abs() <= 100e-6);
    for (at, event) in moments {
        network.run((at * seconds - network.host.now()).max(0.0));
        match event {
            Some(event) => happen(&mut network, event, &mut bent, grace),
            None => {
                network.is_cut_off = true;
                owe_from(&mut network, f64::INFINITY);
            }
        }
    }
    network.run((seconds - network.host.now()).max(0.0));
    network.look();
    network.record.watch.take().unwrap()
}

/// Is there always to be a time? See [`DEFINITIONS`].
fn owes_a_time(strategy: &Strategy) -> bool {
    let upstreams = strategy.upstreams();
    let kin = strategy
        .honest
        .iter()
        .filter(|one| one.word("kin") == "yes")
        .count();
    let needed = usize::from(min_sources(strategy));
    upstreams >= 3
        && strategy.liars.len() <= minority(upstreams)
        && kin < 2
        && strategy.honest.len() >= needed
        && strategy.world.word("source") == "tracked"
}

fn min_sources(strategy: &Strategy) -> u8 {
    match strategy.world.word("min-sources") {
        "1" => 1,
        "2" => 2,
        _ if strategy.upstreams() <= 2 => 1,
        _ => 2,
    }
}

fn owe_from(network: &mut Network, from: f64) {
    if let Some(watch) = &mut network.record.watch {
        watch.owed_from = watch.owed_from.max(from);
    }
}

fn excuse(network: &mut Network) {
    let until = network.host.now() + NOTICE;
    if let Some(watch) = &mut network.record.watch {
        watch.excused_until = until;
    }
}

fn happen(network: &mut Network, event: &Genome, bent: &mut f64, grace: f64) {
    let by = event.get("by");
    let is_system = network.policy.source == ClockSource::System;
    let is_kept = is_system && (network.is_cut_off || event.word("what") == "slew");
    if is_kept && matches!(event.word("what"), "step" | "slew" | "others") {
        return;
    }
    network.look();
    match event.word("what") {
        "bend" => {
            let bend = (by / 0.5).clamp(-1.0, 1.0) * BEND;
            network.host.frequency += bend - *bent;
            *bent = bend;
        }
        "step" if is_system => network.host.step(at_least(by * STEP_TIMES, STEP_LEAST)),
        "step" => network.host.step(by * STEP_TIMES),
        "slew" => network.host.slew(by),
        "sleep" => network.sleep(1.0 + by.abs() * SLEEP_TIMES),
        "pause" => network.pause(by.abs()),
        "raw" if by > 0.0 => network.host.jump_raw(by.max(JUMP_LEAST)),
        "raw" => {
            let by = by.abs().max(JUMP_LEAST);
            network.pause(by);
            network.host.lose_raw(by);
        }
        "others" if is_system => network.host.jump_others(by.abs().max(STEP_LEAST)),
        "others" => network.host.jump_others(by.abs().max(JUMP_LEAST)),
        what => unreachable!("event {what}"),
    }
    match event.word("what") {
        "raw" => excuse(network),
        "step" | "others" if is_system => excuse(network),
        _ => {}
    }
    if matches!(event.word("what"), "raw" | "sleep" | "others") {
        let from = network.host.now() + grace;
        owe_from(network, from);
        let safe = network.host.now() + SAFE;
        network.servers.iter_mut().for_each(|one| one.safe_until = safe);
    }
    network.look();
}

/// `by`, or as much as `least` the same way.
fn at_least(by: f64, least: f64) -> f64 {
    if by < 0.0 { by.min(-least) } else { by.max(least) }
}

fn build(strategy: &Strategy, order: &[usize]) -> Network {
    let mut network = Network::new(strategy.seed);
    network.pace = PACE;
    network.policy.min_sources = min_sources(strategy);
    let world = &strategy.world;
    let host: &mut Host = &mut network.host;
    host.frequency = world.get("ppm") * 1e-6;
    host.wander = world.get("wander");
    host.error = world.get("host");
    if world.word("source") == "system" {
        network.policy.source = ClockSource::System;
        host.kept = true;
    }
    let honest = strategy.honest.iter().enumerate();
    let servers = honest.map(|(place, one)| honest_server(place, one)).chain(
        strategy
            .liars
            .iter()
            .enumerate()
            .map(|(place, phases)| liar(strategy.honest.len() + place, phases)),
    );
    network.servers = servers.collect();
    let stream = |place: usize| Random::new(strategy.seed ^ (place as u64 + 1) << 32);
    network.streams = (0..strategy.upstreams()).map(stream).collect();
    let minpoll = world.get("minpoll") as i8;
    for (place, &server) in order.iter().enumerate() {
        network.name(vec![server]);
        network.configure(place, |upstream| {
            upstream.iburst = world.word("iburst") == "yes";
            (upstream.minpoll, upstream.maxpoll) = (minpoll, minpoll + world.get("longer") as i8);
        });
    }
    network
}

/// An upstream like all of the simulation; its number makes its address and its name.
fn any_server(place: usize) -> Server {
    let number = place as u8 + 1;
    Server {
        offset: 0.0,
        jitter: 0.0,
        ..Server::honest(number, &mut Random::new(0))
    }
}

fn honest_server(place: usize, genome: &Genome) -> Server {
    let (rtt, skew) = (genome.get("rtt"), genome.get("skew"));
    let (root_delay, root_dispersion) = (genome.get("delay"), genome.get("dispersion"));
    let distance = root_delay / 2.0 + root_dispersion;
    let far = genome.get("sway") * distance;
    let often = if far > 0.0 {
        genome.get("sway-ppb") * 1e-9 / far
    } else {
        0.0
    };
    Server {
        offset: genome.get("error") * distance,
        sway: (far, often),
        noise: (genome.get("noise") * distance).min(NOISE_OF_DELAY * rtt),
        root_delay,
        root_dispersion,
        out: rtt / 2.0 * (1.0 + skew),
        back: rtt / 2.0 * (1.0 - skew),
        jitter: genome.get("jitter") * rtt + QUEUE,
        loss: genome.get("loss"),
        safe_until: SAFE,
        is_kin: genome.word("kin") == "yes",
        ..any_server(place)
    }
}

fn liar(place: usize, phases: &[Genome]) -> Server {
    Server {
        liar: Some(Liar::new(phases.iter().map(phase).collect())),
        ..any_server(place)
    }
}

fn phase(genome: &Genome) -> Phase {
    let (rtt, skew, copied) = (
        genome.get("rtt"),
        genome.get("skew"),
        genome.get("copied") as usize,
    );
    Phase {
        from: genome.get("from") as u32,
        offset: genome.get("offset"),
        drift: genome.get("drift-ppm") * 1e-6,
        swing: genome.get("swing"),
        root_delay: genome.get("delay"),
        root_dispersion: genome.get("dispersion"),
        out: rtt / 2.0 * (1.0 + skew),
        back: rtt / 2.0 * (1.0 - skew),
        jitter: genome.get("jitter"),
        seems: Some(genome.get("seems")).filter(|seems| *seems > 0.0),
        stratum: genome.get("stratum") as u8,
        copies: match genome.word("copies") {
            "one" => Copies::One(copied),
            "each" => Copies::Each(copied),
            _ => Copies::Nobody,
        },
        was_set: match genome.word("set") {
            "old" => WasSet::Old,
            "zero" => WasSet::Zero,
            "future" => WasSet::Future,
            _ => WasSet::Lately,
        },
        precision: genome.get("precision") as i8,
        leap: Leap::from_bits(genome.get("leap") as u8),
        trick: match genome.word("trick") {
            "silent" => Trick::Silent,
            "rate" => Trick::Kiss(*b"RATE"),
            "deny" => Trick::Kiss(*b"DENY"),
            "rstr" => Trick::Kiss(*b"RSTR"),
            "replay" => Trick::Replay,
            "twice" => Trick::Twice,
            "forged" => Trick::Forged,
            _ => Trick::Answers,
        },
        every: genome.get("every") as u32,
    }
}
