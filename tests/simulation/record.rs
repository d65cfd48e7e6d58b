//! What a worker would have served, sample by sample: the invariants, and the numbers that scenarios bound.

use ntpfront::clock::{Reference, SystemVariables, handover};
use ntpfront::time::{NtpDuration, NtpTimestamp};
use ntpfront::upstream::system_process::State;
use ntpfront::wire::Leap;

use super::host::Host;
use super::watch::{Seen, Watch};

/// Readings of one published time may differ by this from rounding (2^-16 s in each of two fields).
const ROUNDING: f64 = 32e-6;
/// A tracked clock nears what is believed by slewing (500 ppm), and the announced residue shrinks with it; so does
/// what upstreams contradict each other, while their frequencies bring them together.
const SLEW: f64 = 1000e-6;
/// Nobody knows to the microsecond when a leap second happens, and it is noticed a second later.
const LEAP_MOMENT: f64 = 0.05;
const LEAP_NOTICED: f64 = 2.0;
/// Faults told in full; more of the same would bury them.
const TOLD: usize = 5;

/// What had happened when something was published.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) publications: u64,
    /// Reports of pollers: without a new one, no error may become smaller.
    pub(crate) reports: u64,
    /// Changes of who is believed, and of how old samples count: other errors then count.
    pub(crate) selections: u64,
    /// Steps of the served clock: those that were decided, and those of the host's clock.
    pub(crate) steps: u64,
}

/// One look at what is served.
#[derive(Clone, Copy, Debug)]
struct Look {
    now: f64,
    served: NtpTimestamp,
    variables: SystemVariables,
    counts: Counts,
}

impl Look {
    fn is_usable(&self) -> bool {
        self.variables.leap != Leap::Unsynchronized
    }
}

/// All that was seen since the start, or since [`Record::forget`].
#[derive(Debug, Default)]
pub(crate) struct Record {
    last: Option<Look>,
    /// The first look at what was published last.
    published: Option<Look>,
    pub(crate) faults: Vec<String>,
    /// The scenario lets a majority lie, or the host sleep: now the truth may be outside.
    pub(crate) truth_excused: bool,
    pub(crate) worst_error: f64,
    pub(crate) worst_distance: f64,
    pub(crate) first_usable: Option<f64>,
    /// True seconds since the first look, and those of them at whose end no time was announced.
    watched: f64,
    without: f64,
    /// True seconds during which the truth was outside of what was announced.
    pub(crate) wrong_for: f64,
    pub(crate) states: Vec<(f64, State)>,
    /// What an adversary looks for.
    pub(crate) watch: Option<Watch>,
}

impl Record {
    /// The numbers start anew; the invariants go on.
    pub(crate) fn forget(&mut self) {
        *self = Self {
            last: self.last,
            published: self.published,
            faults: std::mem::take(&mut self.faults),
            truth_excused: self.truth_excused,
            states: self.states.last().copied().into_iter().collect(),
            watch: self.watch.take(),
            ..Self::default()
        };
    }

    pub(crate) fn fault(&mut self, now: f64, what: &str) {
        if self.faults.len() < TOLD {
            self.faults.push(format!("at {now:.3} s: {what}"));
        }
    }

    /// For how much of the time there was one, in percent.
    pub(crate) fn usable_percent(&self) -> f64 {
        100.0 * (1.0 - self.without / self.watched.max(1e-9))
    }

    pub(crate) fn is_usable(&self) -> bool {
        self.last.is_some_and(|look| look.is_usable())
    }

    /// A worker looks at `reference` at `moment`, when the truth is `utc`.
    pub(crate) fn look(&mut self, host: &Host, reference: &Reference, counts: Counts) {
        let (now, moment) = (host.now(), host.moment());
        let look = Look {
            now,
            served: reference.clock.served(moment),
            variables: reference.at(moment),
            counts,
        };
        let elapsed = self.last.map_or(0.0, |last| now - last.now);
        self.watched += elapsed;
        if let Some(watch) = &mut self.watch {
            watch.look(Seen {
                now,
                usable: look.is_usable(),
                error: (look.served - host.utc()).to_seconds(),
                distance: distance(&look.variables),
            });
        }
        self.check_words(&look);
        if !look.is_usable() {
            self.without += elapsed;
        } else {
            self.first_usable.get_or_insert(now);
            // At the moment itself a difference of a microsecond is one of a second.
            if !host.leaps_within(LEAP_MOMENT) {
                self.check_truth(&look, host.utc());
            }
            if !host.leaps_within(LEAP_NOTICED) {
                self.check_time(&look);
            }
            self.check_dispersion(&look);
        }
        self.last = Some(look);
        if self.published.map(|one| one.counts.publications) != Some(counts.publications) {
            self.published = Some(look);
        }
    }

    /// What is announced is left to the next process, which would believe it: no announcement is one that ours refuses.
    pub(crate) fn leave(&mut self, host: &Host, announced: &Reference) {
        let left = Reference {
            published: host.moment(),
            ..*announced
        };
        let taken = handover::read(&handover::write(&left, None), host.moment(), None);
        if taken != Ok(left.is_usable().then_some(left)) {
            self.fault(
                host.now(),
                &format!("the next process would not take it: {taken:?} of {left:?}"),
            );
        }
    }

    /// Leap 3 and stratum 0 come together or not at all; the clock was not set in the future.
    fn check_words(&mut self, look: &Look) {
        let variables = &look.variables;
        let usable = variables.leap != Leap::Unsynchronized;
        if usable != (1..=15).contains(&variables.stratum) || variables.stratum > 15 {
            self.fault(
                look.now,
                &format!("leap {:?} with stratum {}", variables.leap, variables.stratum),
            );
        }
        if usable && variables.reference_timestamp.is_after(look.served) {
            let by = (variables.reference_timestamp - look.served).to_seconds();
            self.fault(
                look.now,
                &format!("reference time {by:.9} s after the served time"),
            );
        }
    }

    fn check_truth(&mut self, look: &Look, utc: NtpTimestamp) {
        let error = (look.served - utc).to_seconds();
        let distance = distance(&look.variables);
        self.worst_error = self.worst_error.max(error.abs());
        self.worst_distance = self.worst_distance.max(distance);
        if error.abs() <= distance {
            return;
        }
        self.wrong_for += self.last.map_or(0.0, |last| look.now - last.now);
        if !self.truth_excused {
            self.fault(
                look.now,
                &format!("served {error:+.6} s off the truth, announced ±{distance:.6} s"),
            );
        }
    }

    /// Served time goes back only by a step that was said.
    fn check_time(&mut self, look: &Look) {
        let Some(last) = self.last.filter(Look::is_usable) else {
            return;
        };
        if last.counts.steps == look.counts.steps && last.served.is_after(look.served) {
            let by = (last.served - look.served).to_seconds();
            self.fault(look.now, &format!("served time went back by {by:.9} s"));
        }
    }

    /// The announced distance only grows until something new is heard.
    fn check_dispersion(&mut self, look: &Look) {
        let Some(before) = self.published.filter(Look::is_usable) else {
            return;
        };
        let slewed = if before.counts.publications == look.counts.publications {
            0.0
        } else {
            SLEW * (look.now - before.now)
        };
        let same = before.variables.reference_id == look.variables.reference_id
            && before.counts.reports == look.counts.reports
            && before.counts.selections == look.counts.selections;
        let (then, now) = (distance(&before.variables), distance(&look.variables));
        if same && now < then - ROUNDING - slewed {
            let what = format!("distance shrank from {then:.6} to {now:.6} s without a sample");
            self.fault(look.now, &what);
        }
    }
}

/// As a client computes it from a reply.
fn distance(variables: &SystemVariables) -> f64 {
    let half: NtpDuration = variables.root_delay.to_duration().half();
    (half + variables.root_dispersion.to_duration()).to_seconds()
}
