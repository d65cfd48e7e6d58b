//! A scripted upstream and the path to it. A scenario changes its fields while it runs.

use std::net::SocketAddr;

use ntpfront::leap::{LeapEvent, Smear};
use ntpfront::time::{NtpDuration, NtpShort, NtpTimestamp};
use ntpfront::upstream::nts::certificate::CertificateValidity;
use ntpfront::wire::{Header, Leap, Mode, ReferenceId};

use super::host::Host;
use super::liar::Liar;
use super::random::Random;

/// How often an upstream says that its clock was set.
const UPDATE: f64 = 64.0;
/// To how many seconds some tell when it was set.
const COARSE: f64 = 128.0;
/// Whom those follow who are kin.
const PARENT: [u8; 4] = [198, 51, 100, 250];

/// What it does instead of a plain answer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Act {
    /// A plain answer.
    Honest,
    /// Nothing comes back.
    Silent,
    /// So many forged packets with a wrong origin come before the answer.
    Forged(u32),
    /// The last good answer once more, instead of one to this question.
    Replay,
    /// The answer comes from another address: the connected socket drops it.
    Spoofed,
    /// Stratum 0 with these letters.
    Kiss([u8; 4]),
    /// RATE to whoever asks again within so many seconds.
    RateBelow(f64),
    /// It holds the question for so many seconds.
    Holds(f64),
    /// A transmit time of zero.
    NoTransmitTime,
    /// Only the first 40 bytes of its answer come.
    Cut,
}

/// One scripted upstream: clock, words, path and script. Times in seconds.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    /// Its clock is the host's time of day: a daemon that keeps it.
    pub(crate) on_this_host: bool,
    /// Offset of its clock from the truth at `drift_from`.
    pub(crate) offset: f64,
    /// By how much its clock runs too fast: 1e-6 is a millionth.
    pub(crate) drift: f64,
    pub(crate) drift_from: f64,
    pub(crate) leap: Leap,
    pub(crate) stratum: u8,
    pub(crate) reference_id: ReferenceId,
    pub(crate) root_delay: f64,
    pub(crate) root_dispersion: f64,
    /// Base delay of the way out.
    pub(crate) out: f64,
    /// Base delay of the way back.
    pub(crate) back: f64,
    /// What queues add to each way, on average.
    pub(crate) jitter: f64,
    /// Probability that a way loses a packet, and until when it loses none.
    pub(crate) loss: f64,
    pub(crate) safe_until: f64,
    pub(crate) act: Act,
    /// Does it count leap seconds as UTC does?
    pub(crate) leaps: bool,
    /// Does it smear a leap second, and how?
    pub(crate) smear: Option<(Smear, LeapEvent)>,
    /// Its clock sways by so much, at so many radians a second.
    pub(crate) sway: (f64, f64),
    /// Each answer's times are off by up to so much.
    pub(crate) noise: f64,
    /// It says who set its clock as all others do that follow the same server, and when only to 128 s.
    pub(crate) is_kin: bool,
    /// The dates of its certificate, for an upstream with NTS: seconds since 1970.
    pub(crate) certificate: Option<CertificateValidity>,
    /// It lies by a plan, whatever is said above.
    pub(crate) liar: Option<Liar>,
    /// When it was asked, by true time.
    pub(crate) asked: Vec<f64>,
    pub(crate) last_answer: Option<[u8; 48]>,
}

/// By whom an upstream says that its clock was set, and when.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Words {
    pub(crate) stratum: u8,
    pub(crate) reference_id: ReferenceId,
    pub(crate) reference_timestamp: NtpTimestamp,
}

/// What comes back to the host: after so many seconds, these bytes.
pub(crate) type Packets = Vec<(f64, Vec<u8>)>;

impl Server {
    /// An honest stratum 2 whose error is within what it says, on a symmetric path of 10 to 50 ms.
    pub(crate) fn honest(number: u8, random: &mut Random) -> Self {
        let way = random.between(0.005, 0.025);
        Self {
            address: ([192, 0, 2, number], 123).into(),
            on_this_host: false,
            offset: random.between(-0.0005, 0.0005),
            drift: 0.0,
            drift_from: 0.0,
            leap: Leap::NoWarning,
            stratum: 2,
            reference_id: ReferenceId::from_bytes([198, 51, 100, number]),
            root_delay: 0.002,
            root_dispersion: 0.001,
            out: way,
            back: way,
            jitter: 0.0003,
            loss: 0.0,
            safe_until: 0.0,
            act: Act::Honest,
            leaps: true,
            smear: None,
            sway: (0.0, 0.0),
            noise: 0.0,
            is_kin: false,
            certificate: None,
            liar: None,
            asked: Vec::new(),
            last_answer: None,
        }
    }

    /// The daemon that keeps this host's time of day.
    pub(crate) fn daemon(random: &mut Random) -> Self {
        Self {
            address: ([127, 0, 0, 1], 11123).into(),
            on_this_host: true,
            offset: 0.0,
            stratum: 3,
            out: 30e-6,
            back: 30e-6,
            jitter: 10e-6,
            ..Self::honest(100, random)
        }
    }

    /// From now on its clock runs too fast by `drift`.
    pub(crate) fn drift_away(&mut self, drift: f64, now: f64) {
        self.offset += self.drift * (now - self.drift_from);
        (self.drift, self.drift_from) = (drift, now);
    }

    /// How long a question needs to it, if it arrives.
    pub(crate) fn way_out(&self, now: f64, random: &mut Random) -> Option<f64> {
        match &self.liar {
            Some(liar) => Some(liar.way_out(random)),
            None => self.way(self.out, now, random),
        }
    }

    fn way(&self, base: f64, now: f64, random: &mut Random) -> Option<f64> {
        let takes = base + random.exponential(self.jitter);
        let is_lost = random.happens(self.loss) && now >= self.safe_until;
        (!is_lost).then_some(takes)
    }

    /// A question has arrived: what comes back, and when.
    pub(crate) fn answer(&mut self, question: &[u8], host: &Host, random: &mut Random) -> Packets {
        let now = host.now();
        let too_often = self.asked.last().is_some_and(|last| match self.act {
            Act::RateBelow(limit) => now - last < limit,
            _ => false,
        });
        self.asked.push(now);
        let Ok(question) = Header::parse(question) else {
            return Packets::new();
        };
        let holds = match self.act {
            Act::Holds(seconds) => seconds,
            _ => 20e-6 + random.exponential(10e-6),
        };
        let noise = if self.noise > 0.0 {
            self.noise * random.between(-1.0, 1.0)
        } else {
            0.0
        };
        let mut header = self.header(&question, host, holds, noise);
        let mut packets = Packets::new();
        match self.act {
            Act::Honest | Act::Holds(_) => {}
            Act::RateBelow(_) if !too_often => {}
            Act::Silent | Act::Spoofed => return packets,
            Act::Forged(count) => {
                let forged = |random: &mut Random| Header {
                    origin_timestamp: NtpTimestamp::from_bits(random.bits()),
                    ..header
                };
                packets.extend((0..count).map(|_| (holds, forged(random).to_bytes().to_vec())));
            }
            Act::Replay => {
                let back = self.way(self.back, now, random);
                let old = self.last_answer.zip(back);
                return old
                    .map(|(bytes, back)| (back, bytes.to_vec()))
                    .into_iter()
                    .collect();
            }
            Act::Kiss(letters) => kiss(&mut header, letters),
            Act::RateBelow(_) => kiss(&mut header, *b"RATE"),
            Act::NoTransmitTime => header.transmit_timestamp = NtpTimestamp::ZERO,
            Act::Cut => {
                packets.push((self.back + holds, header.to_bytes()[..40].to_vec()));
                return packets;
            }
        }
        let bytes = header.to_bytes();
        self.last_answer = Some(bytes);
        packets.extend(
            self.way(self.back, now, random)
                .map(|back| (holds + back, bytes.to_vec())),
        );
        packets
    }

    fn header(&self, question: &Header, host: &Host, holds: f64, noise: f64) -> Header {
        let now = host.now();
        let clock = |then: f64| self.clock(host, then) + NtpDuration::from_seconds(noise);
        let words = self.words(host);
        Header {
            leap: self.leap,
            mode: Mode::Server,
            stratum: words.stratum,
            precision: -23,
            root_delay: short(self.root_delay),
            root_dispersion: short(self.root_dispersion),
            reference_id: words.reference_id,
            reference_timestamp: words.reference_timestamp,
            origin_timestamp: question.transmit_timestamp,
            receive_timestamp: clock(now),
            transmit_timestamp: clock(now + holds),
            ..*question
        }
    }

    /// What it says of itself now.
    pub(crate) fn words(&self, host: &Host) -> Words {
        let now = host.now();
        // No two clocks are set at the same time, to the bit.
        let set = (now / UPDATE).floor() * UPDATE - f64::from(self.reference_id.to_bytes()[3]) * 0.037;
        let plain = Words {
            stratum: self.stratum,
            reference_id: self.reference_id,
            reference_timestamp: self.clock(host, set),
        };
        if !self.is_kin {
            return plain;
        }
        Words {
            reference_id: ReferenceId::from_bytes(PARENT),
            reference_timestamp: host.truth.at((now / COARSE).floor() * COARSE),
            ..plain
        }
    }

    /// What its clock shows at the true time `then`.
    fn clock(&self, host: &Host, then: f64) -> NtpTimestamp {
        if self.on_this_host {
            let ahead = NtpDuration::from_seconds(then - host.now() + self.offset);
            return host.moment().realtime + ahead;
        }
        let (far, often) = self.sway;
        let off = self.offset + self.drift * (then - self.drift_from) + far * (often * then).sin();
        let count = host.truth.start + NtpDuration::from_seconds(then);
        let utc = if let Some((smear, event)) = &self.smear {
            count + smear.offset(event, count)
        } else if self.leaps {
            host.truth.at(then)
        } else {
            count
        };
        utc + NtpDuration::from_seconds(off)
    }
}

pub(crate) fn short(seconds: f64) -> NtpShort {
    NtpShort::from_duration(NtpDuration::from_seconds(seconds))
}

pub(crate) fn kiss(header: &mut Header, letters: [u8; 4]) {
    header.leap = Leap::Unsynchronized;
    header.stratum = 0;
    header.reference_id = ReferenceId::from_bytes(letters);
}
