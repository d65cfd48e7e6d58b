//! A violation is made small: means are taken away and numbers made round, as long as the promise stays broken.

use super::genes::{Draw, Genome};
use super::strategy::{Strategy, minority};
use super::world::{Goal, breaks};
use crate::random::Random;

/// So many plays may be spent on one.
pub(crate) const PLAYS: usize = 400;

/// How much there is to a strategy.
pub(crate) fn size(strategy: &Strategy) -> usize {
    let genes = |list: &[Genome]| list.iter().map(|one| 3 + one.features().len()).sum::<usize>();
    let liars: usize = strategy.liars.iter().map(|liar| 3 + genes(liar)).sum();
    strategy.world.features().len() + genes(&strategy.honest) + liars + genes(&strategy.events)
}

/// The smallest strategy that was found below `strategy` and breaks the same promise, in at most `plays` plays.
pub(crate) fn shrunk(strategy: &Strategy, goal: Goal, is_sure: bool, plays: usize) -> Strategy {
    let mut left = plays;
    let mut best = strategy.clone();
    loop {
        let before = best.clone();
        for stage in [shorter, fewer, plain_at_once, plainer, rounder] {
            let mut place = 0;
            while let Some(smaller) = stage(&best, place) {
                if smaller == best {
                    place += 1;
                    continue;
                }
                if left == 0 {
                    return best;
                }
                left -= 1;
                if holds(&smaller, goal, is_sure) {
                    best = smaller;
                    // What came after it may have moved here.
                    place += usize::from(stage(&best, place).is_some_and(|next| next == best));
                } else {
                    place += 1;
                }
            }
        }
        if best == before {
            return best;
        }
    }
}

/// What is sure shall not become luck: it has to hold with another seed, too.
fn holds(strategy: &Strategy, goal: Goal, is_sure: bool) -> bool {
    let other = || Strategy {
        seed: strategy.seed.wrapping_add(1_000_003),
        ..strategy.clone()
    };
    breaks(strategy, goal) && (!is_sure || breaks(&other(), goal))
}

/// In less time.
fn shorter(strategy: &Strategy, place: usize) -> Option<Strategy> {
    let part = *[0.2, 0.4, 0.7, 0.9].get(place)?;
    let mut smaller = strategy.clone();
    let rounds = (strategy.world.get("rounds") * part).floor().max(8.0);
    smaller.world.set("rounds", rounds);
    Some(smaller)
}

/// With one genome all plain, but for when and what an event is.
fn plain_at_once(strategy: &Strategy, place: usize) -> Option<Strategy> {
    let mut smaller = strategy.clone();
    let plain = |genome: &mut Genome, but: &[&str]| {
        let kept: Vec<f64> = but.iter().map(|name| genome.get(name)).collect();
        *genome = Genome::plain(genome.table);
        but.iter()
            .zip(kept)
            .for_each(|(name, value)| genome.set(name, value));
    };
    match place {
        0 => plain(&mut smaller.world, &["rounds"]),
        _ => {
            let liars = smaller.liars.iter_mut().flatten();
            plain(smaller.honest.iter_mut().chain(liars).nth(place - 1)?, &[]);
            smaller.settle(&mut Random::new(0));
        }
    }
    Some(smaller)
}

/// Without one of its parts: an upstream, a liar's later phase, an event.
fn fewer(strategy: &Strategy, place: usize) -> Option<Strategy> {
    let (honest, liars) = (strategy.honest.len(), strategy.liars.len());
    let mut smaller = strategy.clone();
    if place < honest {
        smaller.honest.remove(place);
        forget(&mut smaller.order, place);
    } else if place < honest + liars {
        smaller.liars.remove(place - honest);
        forget(&mut smaller.order, place);
    } else if place < honest + liars + strategy.events.len() {
        smaller.events.remove(place - honest - liars);
    } else {
        let mut place = place - honest - liars - strategy.events.len();
        let liar = smaller.liars.iter_mut().find(|liar| {
            let here = place < liar.len() - 1;
            place -= if here { 0 } else { liar.len() - 1 };
            here
        })?;
        liar.remove(place + 1);
    }
    // Of two less is promised: what breaks more than that shall go on doing so.
    let fewest = strategy.upstreams().min(3);
    let is_allowed = smaller.upstreams() >= fewest && smaller.liars.len() <= minority(smaller.upstreams());
    Some(if is_allowed { smaller } else { strategy.clone() })
}

fn forget(order: &mut Vec<usize>, gone: usize) {
    order.retain(|place| *place != gone);
    for place in order {
        *place -= usize::from(*place > gone);
    }
}

/// The `place`th of all genomes' genes.
fn gene_at(strategy: &mut Strategy, place: usize) -> Option<(&mut Genome, usize)> {
    let mut place = place;
    let world = std::iter::once(&mut strategy.world);
    let all = world
        .chain(strategy.liars.iter_mut().flatten())
        .chain(&mut strategy.events)
        .chain(&mut strategy.honest);
    for genome in all {
        if place < genome.values.len() {
            return Some((genome, place));
        }
        place -= genome.values.len();
    }
    None
}

/// With one gene plain; or, past those, the order as it is numbered.
fn plainer(strategy: &Strategy, place: usize) -> Option<Strategy> {
    let mut smaller = strategy.clone();
    if let Some((genome, gene)) = gene_at(&mut smaller, place) {
        genome.values[gene] = genome.table[gene].plain;
        smaller.settle(&mut Random::new(0));
        return Some(smaller);
    }
    let genomes = 1 + strategy.honest.len() + strategy.events.len() + strategy.liars.iter().flatten().count();
    // Past all genes there is but the order.
    smaller.order.sort_unstable();
    (place < genomes * 32).then_some(smaller)
}

/// With one number rounded to one digit, or else to two.
fn rounder(strategy: &Strategy, place: usize) -> Option<Strategy> {
    let (place, digits) = (place / 2, 1 + place % 2);
    let mut smaller = strategy.clone();
    let (genome, gene) = gene_at(&mut smaller, place)?;
    if !matches!(genome.table[gene].draw, Draw::Word(_) | Draw::Whole(..)) {
        let value = genome.values[gene];
        genome.values[gene] = format!("{value:.*e}", digits - 1).parse().unwrap_or(value);
    }
    Some(smaller)
}
