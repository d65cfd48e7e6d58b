//! A strategy: plain data that can be printed, read again, varied and crossed.

use std::fmt;
use std::str::FromStr;

use super::genes::{EVENT, Genome, HONEST, PHASE, WORLD};
use crate::random::Random;

const FEWEST: usize = 2;
const MOST: usize = 7;
const PHASES: usize = 4;
const EVENTS: usize = 3;

/// Who is asked, what the liars do, and what happens meanwhile.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Strategy {
    /// Of all that is left to chance.
    pub(crate) seed: u64,
    pub(crate) world: Genome,
    pub(crate) honest: Vec<Genome>,
    /// What each liar does, from which of its answers on.
    pub(crate) liars: Vec<Vec<Genome>>,
    pub(crate) events: Vec<Genome>,
    /// The places of the upstreams in the configuration: honest ones are numbered first.
    pub(crate) order: Vec<usize>,
}

/// How many liars among so many upstreams are a minority; of two it is one, and then less is promised.
pub(crate) fn minority(upstreams: usize) -> usize {
    if upstreams == 2 { 1 } else { (upstreams - 1) / 2 }
}

impl Strategy {
    pub(crate) fn upstreams(&self) -> usize {
        self.honest.len() + self.liars.len()
    }

    /// Any strategy.
    pub(crate) fn random(random: &mut Random) -> Self {
        let upstreams = FEWEST + random.below(MOST - FEWEST + 1);
        let liars = if random.happens(0.1) {
            random.below(minority(upstreams) + 1)
        } else {
            minority(upstreams)
        };
        Self::of(upstreams - liars, liars, random)
    }

    /// Any strategy with so many upstreams.
    pub(crate) fn of(honest: usize, liars: usize, random: &mut Random) -> Self {
        let [rich, bold] = [random.between(0.1, 0.9), random.between(0.1, 0.7)];
        let events = if random.happens(0.5) {
            0
        } else {
            1 + random.below(EVENTS)
        };
        Self {
            seed: random.bits() >> 44,
            world: Genome::random(WORLD, 0.3, random),
            honest: (0..honest)
                .map(|_| Genome::random(HONEST, rich, random))
                .collect(),
            liars: (0..liars).map(|_| random_liar(bold, random)).collect(),
            events: (0..events).map(|_| Genome::random(EVENT, 1.0, random)).collect(),
            order: shuffled(honest + liars, random),
        }
    }

    /// Another one near this one.
    pub(crate) fn mutate(&self, random: &mut Random) -> Self {
        let mut child = self.clone();
        for _ in 0..=random.below(3) {
            child.mutate_once(random);
        }
        child.settle(random);
        child
    }

    fn mutate_once(&mut self, random: &mut Random) {
        let (honest, liars) = (self.honest.len(), self.liars.len());
        match random.below(20) {
            0 => self.seed = random.bits() >> 44,
            1..=2 => self.world.mutate(random),
            3..=6 if honest > 0 => self.honest[random.below(honest)].mutate(random),
            7 if honest > 1 => self.honest[random.below(honest)] = Genome::random(HONEST, 0.7, random),
            8 => self.order = shuffled(self.upstreams(), random),
            9 if liars > 0 => self.liars[random.below(liars)] = random_liar(0.4, random),
            10 if liars > 0 => {
                // Some of the liars act together.
                let [from, to] = [random.below(liars), random.below(liars)];
                self.liars[to] = self.liars[from].clone();
            }
            11 if liars > 0 => {
                let liar = &mut self.liars[random.below(liars)];
                if liar.len() > 1 && random.happens(0.5) {
                    liar.remove(random.below(liar.len()));
                } else if liar.len() < PHASES {
                    let mut phase = liar[random.below(liar.len())].clone();
                    phase.set("from", random.below(41) as f64);
                    phase.mutate(random);
                    liar.push(phase);
                }
            }
            12 => match self.events.len() {
                0 => self.events.push(Genome::random(EVENT, 1.0, random)),
                count if random.happens(0.5) => drop(self.events.remove(random.below(count))),
                count if count < EVENTS => self.events.push(Genome::random(EVENT, 1.0, random)),
                count => self.events[random.below(count)].mutate(random),
            },
            13 if !self.events.is_empty() => {
                let place = random.below(self.events.len());
                self.events[place].mutate(random);
            }
            14 if random.happens(0.3) => {
                if random.happens(0.5) && self.upstreams() < MOST {
                    self.honest.push(Genome::random(HONEST, 0.7, random));
                } else if honest > 1 {
                    self.honest.remove(random.below(honest));
                }
            }
            _ if liars > 0 => {
                let liar = &mut self.liars[random.below(liars)];
                let phase = random.below(liar.len());
                liar[phase].mutate(random);
            }
            _ => self.world.mutate(random),
        }
    }

    /// A child of both.
    pub(crate) fn cross(&self, other: &Self, random: &mut Random) -> Self {
        let mut child = self.clone();
        child.world = self.world.cross(&other.world, random);
        for (one, two) in child.honest.iter_mut().zip(&other.honest) {
            *one = one.cross(two, random);
        }
        for (one, two) in child.liars.iter_mut().zip(&other.liars) {
            if random.happens(0.5) {
                one.clone_from(two);
            }
        }
        if random.happens(0.5) {
            child.events.clone_from(&other.events);
        }
        child.settle(random);
        child
    }

    /// Liars stay a minority, orders complete, phases in order.
    pub(crate) fn settle(&mut self, random: &mut Random) {
        while self.upstreams() < FEWEST {
            self.honest.push(Genome::plain(HONEST));
        }
        while self.liars.len() > minority(self.upstreams()) {
            self.liars.pop();
            if self.upstreams() < FEWEST {
                self.honest.push(Genome::plain(HONEST));
            }
        }
        let upstreams = self.upstreams();
        if self.order.len() != upstreams {
            self.order = shuffled(upstreams, random);
        }
        self.sort();
    }

    fn sort(&mut self) {
        for liar in &mut self.liars {
            liar.sort_by(|one, two| one.get("from").total_cmp(&two.get("from")));
            liar.dedup_by(|later, earlier| later.get("from") == earlier.get("from"));
            liar[0].set("from", 0.0);
        }
        self.events
            .sort_by(|one, two| one.get("at").total_cmp(&two.get("at")));
    }

    /// What is left of the means, as a name for the kind of violation.
    pub(crate) fn features(&self) -> Vec<String> {
        let mut all = Vec::new();
        let mut add = |who: &str, genome: &Genome, boring: &[&str]| {
            let names = genome
                .features()
                .into_iter()
                .filter(|name| !boring.contains(name));
            all.extend(names.map(|name| match name {
                "trick" | "copies" | "set" | "source" | "min-sources" => {
                    format!("{who}:{name}={}", genome.word(name))
                }
                "what" => format!("{who}:{}", genome.word(name)),
                _ => format!("{who}:{name}"),
            }));
        };
        add("world", &self.world, &["rounds", "minpoll", "longer", "iburst"]);
        self.honest
            .iter()
            .for_each(|one| add("honest", one, &["rtt", "delay", "dispersion"]));
        self.liars
            .iter()
            .flatten()
            .for_each(|one| add("liar", one, &["from", "rtt", "copied", "every"]));
        for event in &self.events {
            all.push(format!("event:{}", event.word("what")));
        }
        all.sort();
        all.dedup();
        all
    }
}

fn random_liar(bold: f64, random: &mut Random) -> Vec<Genome> {
    let phases = 1 + random.below(3);
    (0..phases).map(|_| Genome::random(PHASE, bold, random)).collect()
}

fn shuffled(count: usize, random: &mut Random) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    for place in (1..count).rev() {
        order.swap(place, random.below(place + 1));
    }
    order
}

/// One line each; what is plain is left out. `liar` begins a liar, `then` what it does later.
impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}", self.seed)?;
        writeln!(f, "world{}", self.world.say())?;
        for one in &self.honest {
            writeln!(f, "honest{}", one.say())?;
        }
        for liar in &self.liars {
            for (place, phase) in liar.iter().enumerate() {
                writeln!(f, "{}{}", if place == 0 { "liar" } else { "then" }, phase.say())?;
            }
        }
        for event in &self.events {
            writeln!(f, "event{}", event.say())?;
        }
        write!(f, "order")?;
        self.order.iter().try_for_each(|place| write!(f, " {place}"))?;
        writeln!(f)
    }
}

impl FromStr for Strategy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut strategy = Self {
            seed: 0,
            world: Genome::plain(WORLD),
            honest: Vec::new(),
            liars: Vec::new(),
            events: Vec::new(),
            order: Vec::new(),
        };
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            strategy
                .read(line)
                .ok_or_else(|| format!("not understood: {line}"))?;
        }
        if strategy.order.is_empty() {
            strategy.order = (0..strategy.upstreams()).collect();
        }
        let mut places = strategy.order.clone();
        places.sort_unstable();
        if places != (0..strategy.upstreams()).collect::<Vec<_>>() || strategy.upstreams() < 1 {
            return Err("the order does not name each upstream once".to_owned());
        }
        strategy.sort();
        Ok(strategy)
    }
}

impl Strategy {
    fn read(&mut self, line: &str) -> Option<()> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (what, words) = words.split_first()?;
        match *what {
            "seed" => self.seed = words.first()?.parse().ok()?,
            "world" => self.world = Genome::read(WORLD, words)?,
            "honest" => self.honest.push(Genome::read(HONEST, words)?),
            "liar" => self.liars.push(vec![Genome::read(PHASE, words)?]),
            "then" => self.liars.last_mut()?.push(Genome::read(PHASE, words)?),
            "event" => self.events.push(Genome::read(EVENT, words)?),
            "order" => {
                self.order = words
                    .iter()
                    .map(|word| word.parse().ok())
                    .collect::<Option<_>>()?
            }
            _ => return None,
        }
        Some(())
    }
}
