//! What a strategy is made of: numbers with names. Each has a plain value, which does nothing, and a range.

use crate::random::Random;

/// Where the values of a gene come from.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Draw {
    /// Any number from .. to.
    Between(f64, f64),
    /// Any order of magnitude from .. to.
    Size(f64, f64),
    /// The same with either sign.
    Signed(f64, f64),
    /// The same as `Size`, or zero in one of three.
    SizeOrZero(f64, f64),
    /// A whole number from .. to.
    Whole(i32, i32),
    /// One of these words: the number is its place.
    Word(&'static [&'static str]),
}

/// One number of a strategy.
#[derive(Debug)]
pub(crate) struct Gene {
    pub(crate) name: &'static str,
    /// Its value where nothing is said.
    pub(crate) plain: f64,
    pub(crate) draw: Draw,
}

const fn gene(name: &'static str, plain: f64, draw: Draw) -> Gene {
    Gene { name, plain, draw }
}

/// What holds for the whole play. `rounds` are poll intervals, the shortest ones; `silent` is the part of the play after
/// which nobody is reached any more.
pub(crate) const WORLD: &[Gene] = &[
    gene("rounds", 30.0, Draw::Whole(8, 60)),
    gene("minpoll", 2.0, Draw::Whole(2, 4)),
    gene("longer", 0.0, Draw::Whole(0, 1)),
    gene("min-sources", 0.0, Draw::Word(&["auto", "1", "2"])),
    gene("source", 0.0, Draw::Word(&["tracked", "system"])),
    gene("ppm", 0.0, Draw::Between(-100.0, 100.0)),
    gene("wander", 0.0, Draw::SizeOrZero(1e-11, 1e-9)),
    gene("host", 0.0, Draw::Signed(1e-4, 0.2)),
    gene("silent", 1.0, Draw::Between(0.2, 1.0)),
    gene("iburst", 0.0, Draw::Word(&["yes", "no"])),
];

/// An honest upstream. `skew` is how unlike its two ways are (1: all of the delay is on the way out), `error` and `sway`
/// are parts of its announced distance, `sway-ppb` how fast its clock sways, `noise` a part of its distance up to 1 ms.
pub(crate) const HONEST: &[Gene] = &[
    gene("rtt", 0.010, Draw::Size(50e-6, 80e-3)),
    gene("skew", 0.0, Draw::Between(-0.8, 0.8)),
    gene("jitter", 0.0, Draw::Between(0.0, 0.3)),
    gene("delay", 0.002, Draw::Size(10e-6, 80e-3)),
    gene("dispersion", 0.001, Draw::Size(20e-6, 30e-3)),
    gene("error", 0.0, Draw::Between(-0.5, 0.5)),
    gene("sway", 0.0, Draw::Between(0.0, 0.2)),
    gene("sway-ppb", 100.0, Draw::Between(10.0, 150.0)),
    gene("noise", 0.0, Draw::Between(0.0, 0.1)),
    gene("loss", 0.0, Draw::Between(0.0, 0.1)),
    gene("kin", 0.0, Draw::Word(&["no", "yes"])),
];

/// What a liar does from the answer `from` on. `seems` is the delay that a stretched turnaround leaves; 0 is none.
pub(crate) const PHASE: &[Gene] = &[
    gene("from", 0.0, Draw::Whole(0, 40)),
    gene("offset", 0.0, Draw::Signed(1e-5, 20.0)),
    gene("drift-ppm", 0.0, Draw::Signed(0.1, 5000.0)),
    gene("swing", 0.0, Draw::Signed(1e-5, 0.1)),
    gene("delay", 0.002, Draw::SizeOrZero(1e-6, 2.0)),
    gene("dispersion", 0.001, Draw::SizeOrZero(1e-6, 2.0)),
    gene("rtt", 0.010, Draw::Size(20e-6, 0.4)),
    gene("skew", 0.0, Draw::Between(-1.0, 1.0)),
    gene("jitter", 0.0, Draw::SizeOrZero(1e-6, 0.01)),
    gene("seems", 0.0, Draw::SizeOrZero(1e-6, 0.05)),
    gene("stratum", 2.0, Draw::Whole(1, 15)),
    gene("copies", 0.0, Draw::Word(&["nobody", "one", "each"])),
    gene("copied", 0.0, Draw::Whole(0, 6)),
    gene("set", 0.0, Draw::Word(&["lately", "old", "zero", "future"])),
    gene("precision", -23.0, Draw::Whole(-30, -2)),
    gene("leap", 0.0, Draw::Whole(0, 3)),
    gene(
        "trick",
        0.0,
        Draw::Word(&[
            "none", "silent", "rate", "deny", "rstr", "replay", "twice", "forged",
        ]),
    ),
    gene("every", 1.0, Draw::Whole(1, 4)),
];

/// What happens to the host, at a part of the play. `by` is in seconds; of a bend +-0.5 is the most.
pub(crate) const EVENT: &[Gene] = &[
    gene("at", 0.5, Draw::Between(0.0, 1.0)),
    gene(
        "what",
        0.0,
        Draw::Word(&["bend", "step", "slew", "sleep", "pause", "raw", "others"]),
    ),
    gene("by", 0.0, Draw::Signed(1e-4, 0.5)),
];

/// A value for each gene of a table.
#[derive(Clone, Debug)]
pub(crate) struct Genome {
    pub(crate) table: &'static [Gene],
    pub(crate) values: Vec<f64>,
}

impl PartialEq for Genome {
    fn eq(&self, other: &Self) -> bool {
        self.values == other.values
    }
}

impl Gene {
    pub(crate) fn draw(&self, random: &mut Random) -> f64 {
        let size = |random: &mut Random, low: f64, high: f64| random.between(low.ln(), high.ln()).exp();
        match self.draw {
            Draw::Between(low, high) => random.between(low, high),
            Draw::Size(low, high) => size(random, low, high),
            Draw::Signed(low, high) => size(random, low, high) * sign(random),
            Draw::SizeOrZero(..) if random.happens(1.0 / 3.0) => 0.0,
            Draw::SizeOrZero(low, high) => size(random, low, high),
            Draw::Whole(low, high) => whole(random, low, high),
            Draw::Word(words) => random.below(words.len()) as f64,
        }
    }

    /// A value near `value`.
    fn vary(&self, value: f64, random: &mut Random) -> f64 {
        let near = |random: &mut Random| value * (0.4 * random.normal()).exp();
        match self.draw {
            Draw::Between(low, high) => value + 0.1 * (high - low) * random.normal(),
            Draw::Size(..) | Draw::SizeOrZero(..) if value > 0.0 => near(random),
            Draw::Signed(..) if value != 0.0 && random.happens(0.9) => near(random),
            Draw::Signed(..) if value != 0.0 => -value,
            Draw::Whole(..) => value + sign(random),
            Draw::Size(..) | Draw::SizeOrZero(..) | Draw::Signed(..) | Draw::Word(_) => self.draw(random),
        }
    }

    /// Within the range; but plain, and what the range says beside it, is always allowed.
    fn clamp(&self, value: f64) -> f64 {
        match self.draw {
            _ if value == self.plain => value,
            Draw::Between(low, high) | Draw::Size(low, high) => value.clamp(low, high),
            Draw::SizeOrZero(_, high) => value.clamp(0.0, high),
            Draw::Signed(_, high) => value.clamp(-high, high),
            Draw::Whole(low, high) => value.round().clamp(f64::from(low), f64::from(high)),
            Draw::Word(words) => value.round().clamp(0.0, words.len() as f64 - 1.0),
        }
    }

    /// As it is written.
    fn say(&self, value: f64) -> String {
        match self.draw {
            Draw::Word(words) => words[value as usize].to_owned(),
            _ => format!("{value}"),
        }
    }

    fn read(&self, text: &str) -> Option<f64> {
        let value = match self.draw {
            Draw::Word(words) => words.iter().position(|word| *word == text)? as f64,
            _ => text.parse().ok()?,
        };
        (self.clamp(value) == value).then_some(value)
    }
}

impl Genome {
    pub(crate) fn plain(table: &'static [Gene]) -> Self {
        Self {
            table,
            values: table.iter().map(|gene| gene.plain).collect(),
        }
    }

    /// Each gene is drawn with this probability, else plain.
    pub(crate) fn random(table: &'static [Gene], drawn: f64, random: &mut Random) -> Self {
        let value = |gene: &Gene| {
            let value = gene.draw(random);
            if random.happens(drawn) { value } else { gene.plain }
        };
        Self {
            table,
            values: table.iter().map(value).collect(),
        }
    }

    pub(crate) fn get(&self, name: &str) -> f64 {
        self.values[self.place(name)]
    }

    pub(crate) fn set(&mut self, name: &str, value: f64) {
        let place = self.place(name);
        self.values[place] = value;
    }

    /// The word of a gene that has words.
    pub(crate) fn word(&self, name: &str) -> &'static str {
        let place = self.place(name);
        match self.table[place].draw {
            Draw::Word(words) => words[self.values[place] as usize],
            _ => unreachable!("{name} has no words"),
        }
    }

    fn place(&self, name: &str) -> usize {
        let place = self.table.iter().position(|gene| gene.name == name);
        place.unwrap_or_else(|| unreachable!("no gene {name}"))
    }

    /// One gene becomes another.
    pub(crate) fn mutate(&mut self, random: &mut Random) {
        let place = random.below(self.table.len());
        let gene = &self.table[place];
        let before = self.values[place];
        self.values[place] = gene.clamp(match random.unit() {
            part if part < 0.15 => gene.plain,
            part if part < 0.5 => gene.draw(random),
            _ => gene.vary(before, random),
        });
    }

    /// Each gene of either parent.
    pub(crate) fn cross(&self, other: &Self, random: &mut Random) -> Self {
        let both = self.values.iter().zip(&other.values);
        Self {
            table: self.table,
            values: both
                .map(|(one, two)| if random.happens(0.5) { *one } else { *two })
                .collect(),
        }
    }

    /// The names of what is not plain.
    pub(crate) fn features(&self) -> Vec<&'static str> {
        let all = self.table.iter().zip(&self.values);
        all.filter(|(gene, value)| gene.plain != **value)
            .map(|(gene, _)| gene.name)
            .collect()
    }

    pub(crate) fn say(&self) -> String {
        let all = self.table.iter().zip(&self.values);
        all.filter(|(gene, value)| gene.plain != **value)
            .map(|(gene, value)| format!(" {}={}", gene.name, gene.say(*value)))
            .collect()
    }

    pub(crate) fn read(table: &'static [Gene], words: &[&str]) -> Option<Self> {
        let mut genome = Self::plain(table);
        for word in words {
            let (name, value) = word.split_once('=')?;
            let place = table.iter().position(|gene| gene.name == name)?;
            genome.values[place] = table[place].read(value)?;
        }
        Some(genome)
    }
}

fn sign(random: &mut Random) -> f64 {
    if random.happens(0.5) { 1.0 } else { -1.0 }
}

fn whole(random: &mut Random, low: i32, high: i32) -> f64 {
    (random.between(f64::from(low), f64::from(high) + 1.0)).floor()
}
