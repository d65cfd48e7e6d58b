//! An upstream that lies by a plan. It knows everything: when a question left, how long each way takes, and what the
//! others say of themselves.

use ntpfront::time::{NtpDuration, NtpTimestamp};
use ntpfront::wire::{Header, Leap, Mode};

use super::host::Host;
use super::random::Random;
use super::server::{Packets, Server, Words, kiss, short};

/// How long it holds a question.
const HOLDS: f64 = 20e-6;

/// What it does with a question.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Trick {
    Answers,
    Silent,
    Kiss([u8; 4]),
    /// Its last answer once more, instead of one to this question.
    Replay,
    /// The answer comes twice.
    Twice,
    /// Three forged answers come before its own.
    Forged,
}

/// Whose words about its clock's setting it says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Copies {
    Nobody,
    /// Always those of one upstream.
    One(usize),
    /// Those of another one in each answer, from this one on.
    Each(usize),
}

/// When it says that its clock was set.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum WasSet {
    Lately,
    /// Two days ago.
    Old,
    Zero,
    /// Half a second from now.
    Future,
}

/// What it does from one of its answers on. Times in seconds.
#[derive(Clone, Debug)]
pub(crate) struct Phase {
    /// The number of the answer, from 0.
    pub(crate) from: u32,
    /// How far its clock is ahead of the truth when the phase begins.
    pub(crate) offset: f64,
    /// By how much its clock runs too fast: 1e-6 is a millionth.
    pub(crate) drift: f64,
    /// This is added in every second answer, and taken away in the others.
    pub(crate) swing: f64,
    pub(crate) root_delay: f64,
    pub(crate) root_dispersion: f64,
    pub(crate) out: f64,
    pub(crate) back: f64,
    pub(crate) jitter: f64,
    /// Its turnaround is stretched so that its delay seems to be this, and what is measured is its offset exactly.
    pub(crate) seems: Option<f64>,
    pub(crate) stratum: u8,
    pub(crate) copies: Copies,
    pub(crate) was_set: WasSet,
    pub(crate) precision: i8,
    pub(crate) leap: Leap,
    pub(crate) trick: Trick,
    /// It plays its trick in each answer of so many.
    pub(crate) every: u32,
}

/// One liar, as far as it has come.
#[derive(Clone, Debug)]
pub(crate) struct Liar {
    /// In order of their beginning; at least one.
    phases: Vec<Phase>,
    asked: u32,
    /// When the phase that goes on began.
    began: Option<(u32, f64)>,
}

/// What a server may know of a question.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'a> {
    /// When it left.
    pub(crate) sent: f64,
    pub(crate) host: &'a Host,
    /// What each server says of itself now; empty for who does not lie.
    pub(crate) words: &'a [Words],
}

impl Liar {
    pub(crate) fn new(phases: Vec<Phase>) -> Self {
        Self {
            phases,
            asked: 0,
            began: None,
        }
    }

    /// The phase of the next answer.
    fn phase(&self) -> &Phase {
        let begun = self.phases.iter().rev().find(|phase| phase.from <= self.asked);
        begun.unwrap_or(&self.phases[0])
    }

    pub(crate) fn way_out(&self, random: &mut Random) -> f64 {
        way(self.phase().out, self.phase().jitter, random)
    }
}

impl Server {
    /// What comes back for a question, from whoever it is.
    pub(crate) fn answer_anyhow(
        &mut self,
        question: &[u8],
        asked: &Asked<'_>,
        random: &mut Random,
    ) -> Packets {
        let Some(mut liar) = self.liar.take() else {
            return self.answer(question, asked.host, random);
        };
        let packets = Header::parse(question)
            .map(|question| self.lie(&mut liar, &question, asked, random))
            .unwrap_or_default();
        self.liar = Some(liar);
        packets
    }

    fn lie(&mut self, liar: &mut Liar, question: &Header, asked: &Asked<'_>, random: &mut Random) -> Packets {
        let phase = liar.phase().clone();
        let number = liar.asked;
        liar.asked += 1;
        let now = asked.host.now();
        let began = liar.began.filter(|(from, _)| *from == phase.from);
        let (_, began) = *liar.began.insert(began.unwrap_or((phase.from, now)));
        let back = way(phase.back, phase.jitter, random);
        let mut header = self.lying_header(&phase, number, now - began, back, question, asked);
        let plays = number.is_multiple_of(phase.every.max(1));
        let after = HOLDS + back;
        let mut packets = Packets::new();
        match phase.trick {
            Trick::Silent if plays => return packets,
            Trick::Kiss(letters) if plays => kiss(&mut header, letters),
            Trick::Replay if plays => {
                let old = self.last_answer.map(|bytes| (after, bytes.to_vec()));
                return old.into_iter().collect();
            }
            Trick::Twice if plays => packets.push((0.9 * after, header.to_bytes().to_vec())),
            Trick::Forged if plays => packets.extend([0.7, 0.8, 0.9].map(|part| {
                let forged = Header {
                    origin_timestamp: NtpTimestamp::from_bits(random.bits()),
                    ..header
                };
                (part * after, forged.to_bytes().to_vec())
            })),
            _ => {}
        }
        let bytes = header.to_bytes();
        self.last_answer = Some(bytes);
        packets.push((after, bytes.to_vec()));
        packets
    }

    fn lying_header(
        &self,
        phase: &Phase,
        number: u32,
        age: f64,
        back: f64,
        question: &Header,
        asked: &Asked<'_>,
    ) -> Header {
        let truth = asked.host.truth;
        let now = asked.host.now();
        let sign = if number.is_multiple_of(2) { 1.0 } else { -1.0 };
        let off = NtpDuration::from_seconds(phase.offset + phase.drift * age + sign * phase.swing);
        let (received, sent) = match phase.seems {
            None => (now, now + HOLDS),
            Some(delay) => {
                let (left, arrives) = (asked.sent, now + HOLDS + back);
                let delay = delay.min(arrives - left);
                (left + delay / 2.0, arrives - delay / 2.0)
            }
        };
        let words = self.lying_words(phase, number, asked);
        Header {
            leap: phase.leap,
            mode: Mode::Server,
            stratum: words.stratum,
            precision: phase.precision,
            root_delay: short(phase.root_delay),
            root_dispersion: short(phase.root_dispersion),
            reference_id: words.reference_id,
            reference_timestamp: words.reference_timestamp,
            origin_timestamp: question.transmit_timestamp,
            receive_timestamp: truth.at(received) + off,
            transmit_timestamp: truth.at(sent) + off,
            ..*question
        }
    }

    fn lying_words(&self, phase: &Phase, number: u32, asked: &Asked<'_>) -> Words {
        let others = asked.words.len().max(1);
        let place = match phase.copies {
            Copies::Nobody => None,
            Copies::One(place) => Some(place % others),
            Copies::Each(place) => Some((place + number as usize) % others),
        };
        if let Some(copied) = place.and_then(|place| asked.words.get(place)) {
            return *copied;
        }
        let now = asked.host.now();
        let set = |then: f64| asked.host.truth.at(then);
        Words {
            stratum: phase.stratum,
            reference_id: self.reference_id,
            reference_timestamp: match phase.was_set {
                WasSet::Lately => set((now / 32.0).floor() * 32.0 - 0.011),
                WasSet::Old => set(now - 2.0 * 86400.0),
                WasSet::Zero => NtpTimestamp::ZERO,
                WasSet::Future => set(now + 0.5),
            },
        }
    }
}

fn way(base: f64, jitter: f64, random: &mut Random) -> f64 {
    base + random.exponential(jitter)
}
