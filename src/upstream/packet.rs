//! Pure. The checks on one answer of an upstream, and its sample (RFC 5905 §8).

use std::time::Duration;

use strum::{IntoStaticStr, VariantArray};

use crate::time::{NtpDuration, NtpTimestamp, Timescale};
use crate::wire::{Header, KissCode, Leap, MAX_STRATUM, Mode, PHI_PPM, ReferenceId};

/// Longest waiting time for an answer: 3 s, as ntpd and chrony wait. A later one would give no useful sample.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(3);
/// Maximum number of packets that are not the answer; after it the question counts as unanswered (a flood).
pub const UNSOLICITED_MAX: u32 = 1000;
/// Longest turnaround (t3 - t2) of a usable answer: 4 s.
pub const TURNAROUND_MAX: NtpDuration = NtpDuration::from_units(4 << 32);
/// Maximum by which a claimed turnaround shortens the measured delay: 200 us, what a server needs for an answer.
///
/// Otherwise an upstream that claims a long turnaround would seem to be near, and its time to be exact.
const TURNAROUND_CREDIT: NtpDuration = NtpDuration::from_units((1 << 32) / 5_000);
/// Maximum by which the reference time may be after the transmit time: the clock may be set in between.
const REFERENCE_GRACE: NtpDuration = NtpDuration::SECOND;

/// The random timestamps of a question: a reply has one of them as its origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuestionNonces {
    /// The transmit timestamp, for replies in basic mode.
    pub transmit: NtpTimestamp,
    /// The receive timestamp, for replies in interleaved mode; `None`: the question is in basic mode.
    pub receive: Option<NtpTimestamp>,
}

impl QuestionNonces {
    /// Whether a reply with this `origin` is one to the question.
    //= RFC 9769 §2 client-bogus
    pub fn have(&self, origin: NtpTimestamp) -> bool {
        origin == self.transmit || Some(origin) == self.receive
    }
}

/// A question in basic mode has only one.
impl From<NtpTimestamp> for QuestionNonces {
    fn from(transmit: NtpTimestamp) -> Self {
        Self {
            transmit,
            receive: None,
        }
    }
}

/// The client's side of one question and its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// The random transmit timestamp of the question, which only its receiver can return.
    pub nonce: NtpTimestamp,
    /// t1: when the question was sent, by the raw counter.
    pub sent: Duration,
    /// t4: when the answer arrived, by the raw counter.
    pub arrived: Duration,
}

/// The measurement of an upstream's clock by one exchange (RFC 5905 §8, on-wire protocol).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Offset of the upstream's clock from the local timescale; positive if it is ahead.
    pub offset: NtpDuration,
    /// Round-trip delay without the upstream's turnaround (200 us of it at most), at least the host's precision.
    ///
    /// Half of it is a bound of the offset's error.
    pub delay: NtpDuration,
    /// Round-trip delay without all of the turnaround that the upstream claims, at least the host's precision.
    ///
    /// It is a claim. It only weighs the samples of one upstream against each other; it is no bound of an error.
    pub network_delay: NtpDuration,
    /// Dispersion: both precisions, and the drift of the raw counter (PHI) during the exchange.
    pub dispersion: NtpDuration,
    /// t4: when the answer arrived, by the raw counter.
    pub at: Duration,
}

/// The reason why an answer is not used. Each has its own counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "kebab-case")]
pub enum Reject {
    /// Fewer bytes than a header.
    TooShort,
    /// Not mode 4.
    WrongMode,
    /// Version 0, or above 4.
    WrongVersion,
    /// The origin timestamp is not the nonce of the question: forged, late or a replay (RFC 5905: bogus).
    WrongOrigin,
    /// Kiss RATE: polled too often.
    KissRate,
    /// Kiss DENY or RSTR: polling must stop.
    KissDeny,
    /// Stratum 0 with any other code, leap 3, or stratum 16 and more: the upstream is not synchronized.
    Unsynchronized,
    /// A transmit time of zero.
    NoTransmitTime,
    /// A receive time of zero, or a turnaround above 4 s or below minus the upstream's precision.
    Turnaround,
    /// The reference time is more than 1 s after the transmit time.
    ReferenceInFuture,
    /// The upstream is synchronized to this server.
    Loop,
    /// The root distance is over the limit.
    Distance,
    /// The reply to a question with a MAC has none: the server has no keys.
    NoMac,
    /// The MAC of the reply is not of our key: the keys of both ends differ.
    WrongMac,
    /// A crypto-NAK: the server says that our MAC is not genuine there.
    CryptoNak,
    /// No genuine NTS reply to our question, where only such count.
    Unauthenticated,
    /// An NTS NAK to our question: the server does not know our cookie. It counts if no genuine reply comes.
    NtsNak,
}

impl Reject {
    /// Whether it is about the MAC of a reply.
    pub const fn is_of_mac(self) -> bool {
        matches!(self, Self::NoMac | Self::WrongMac | Self::CryptoNak)
    }

    /// The number of reasons.
    pub const COUNT: usize = Self::VARIANTS.len();

    /// All reasons, each at its [`Reject::index`].
    pub fn all() -> impl Iterator<Item = Self> {
        Self::VARIANTS.iter().copied()
    }

    /// Returns the index of its counter.
    pub const fn index(self) -> usize {
        self as usize
    }

    /// Returns its word in logs and metrics.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// Checks that a packet is the answer to the question with these `nonces`, and returns its header.
///
/// It must be called before anything else of the packet is used: the origin timestamp is the check against forgery and
/// replay (RFC 5905 §8; RFC 9109 on unpredictable values).
///
/// # Errors
/// The first [`Reject`] of the packet's form or origin.
//= RFC 5905 §8 bogus
//= RFC 5905 §8 state-of-bogus
//= RFC 5905 §9.2 discard
pub fn authentic(packet: &[u8], nonces: impl Into<QuestionNonces>) -> Result<Header, Reject> {
    let header = Header::parse(packet).map_err(|_| Reject::TooShort)?;
    if header.mode != Mode::Server {
        return Err(Reject::WrongMode);
    }
    if !header.version.is_known() {
        return Err(Reject::WrongVersion);
    }
    if !nonces.into().have(header.origin_timestamp) {
        return Err(Reject::WrongOrigin);
    }
    Ok(header)
}

/// Computes the sample of an authentic answer by the arithmetic of RFC 5905 §8, without checks.
///
/// `scale` is the local timescale, `precision` that of the host's clock, log2 seconds.
//= RFC 5905 §8 clamp
//= RFC 5905 §8 delay
//= RFC 5905 §8 offset
//= RFC 5905 §9.2 dispersion
pub fn measure(header: &Header, exchange: &Exchange, scale: &Timescale, precision: i8) -> Sample {
    let out = header.receive_timestamp - scale.at(exchange.sent);
    let back = header.transmit_timestamp - scale.at(exchange.arrived);
    let elapsed = NtpDuration::between(exchange.sent, exchange.arrived);
    let own_precision = NtpDuration::from_log2(precision);
    Sample {
        offset: out.half() + back.half(),
        delay: (elapsed - turnaround(header).min(TURNAROUND_CREDIT)).max(own_precision),
        network_delay: (elapsed - turnaround(header)).max(own_precision),
        dispersion: NtpDuration::from_log2(header.precision) + own_precision + elapsed.drift(PHI_PPM),
        at: exchange.arrived,
    }
}

/// Checks whether an authentic answer may be used (RFC 5905 §9.2, figure 22).
///
/// `own` are the reference IDs that mean this server, `limit` is the largest root distance that is accepted.
///
/// # Errors
/// The first [`Reject`] of its content.
//= RFC 5905 §9.2 checks
pub fn usable(
    header: &Header,
    sample: &Sample,
    own: &[ReferenceId],
    limit: NtpDuration,
) -> Result<(), Reject> {
    synchronized(header)?;
    times(header)?;
    //= RFC 5905 §7.3 loop
    if header.stratum > 1 && own.contains(&header.reference_id) {
        return Err(Reject::Loop);
    }
    //= RFC 5905 §7.2 maxdist
    if root_distance(header, sample, sample.at) > limit {
        return Err(Reject::Distance);
    }
    Ok(())
}

/// Checks that the upstream is synchronized, and that the answer is no kiss (RFC 5905 §7.4, §9.2).
//= RFC 5905 §7.3 stratum-zero
//= RFC 5905 §7.4 inspect
fn synchronized(header: &Header) -> Result<(), Reject> {
    if header.stratum == 0 {
        return Err(match header.reference_id.to_kiss_code() {
            KissCode::Rate => Reject::KissRate,
            KissCode::Deny | KissCode::Restrict => Reject::KissDeny,
            KissCode::Other(_) => Reject::Unsynchronized,
        });
    }
    //= RFC 5905 §7.2 maxstrat
    if header.leap == Leap::Unsynchronized || header.stratum >= MAX_STRATUM {
        return Err(Reject::Unsynchronized);
    }
    Ok(())
}

/// Checks that the upstream's three timestamps are plausible together.
fn times(header: &Header) -> Result<(), Reject> {
    if header.transmit_timestamp.is_zero() {
        return Err(Reject::NoTransmitTime);
    }
    // Both timestamps may be of different clocks (the network card's and the processor's), or one may be rounded.
    let earliest = -NtpDuration::from_log2(header.precision);
    let held = header.transmit_timestamp - header.receive_timestamp;
    if header.receive_timestamp.is_zero() || !(earliest..=TURNAROUND_MAX).contains(&held) {
        return Err(Reject::Turnaround);
    }
    let reference = header.reference_timestamp;
    // Zero is "unknown" (RFC 5905 §6), whatever the era.
    if !reference.is_zero() && reference.is_after(header.transmit_timestamp + REFERENCE_GRACE) {
        return Err(Reject::ReferenceInFuture);
    }
    Ok(())
}

/// Returns the turnaround t3 − t2; a negative one counts as zero.
fn turnaround(header: &Header) -> NtpDuration {
    (header.transmit_timestamp - header.receive_timestamp).max(NtpDuration::ZERO)
}

/// Returns the root distance at `now`: the maximum error of the upstream's time by `sample` (RFC 5905 §11.2.1).
//= RFC 5905 §10 lambda
pub fn root_distance(header: &Header, sample: &Sample, now: Duration) -> NtpDuration {
    (header.root_delay.to_duration() + sample.delay).half()
        + header.root_dispersion.to_duration()
        + sample.dispersion_at(now)
}

impl Sample {
    /// Returns the dispersion at `now`: it grows with PHI from the sample on.
    pub fn dispersion_at(&self, now: Duration) -> NtpDuration {
        self.dispersion + NtpDuration::from_std(now.saturating_sub(self.at)).drift(PHI_PPM)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::{ClockReadings, NtpShort};
    use proptest::prelude::*;

    const NONCE: NtpTimestamp = NtpTimestamp::from_bits(0x1234_5678_9ABC_DEF0);
    const LIMIT: NtpDuration = NtpDuration::SECOND;

    fn at(seconds: f64) -> NtpTimestamp {
        NtpTimestamp::from_unix(1_700_000_000, 0) + NtpDuration::from_seconds(seconds)
    }

    fn scale() -> Timescale {
        Timescale::new(ClockReadings {
            realtime: at(0.0),
            raw: Duration::from_secs(50),
            boot: Duration::from_secs(50),
        })
    }

    /// An answer to a question at 0, received at 10 ms; the upstream is 3 s ahead and took 2 ms.
    fn exchange() -> Exchange {
        Exchange {
            nonce: NONCE,
            sent: Duration::from_secs(50),
            arrived: Duration::from_millis(50_010),
        }
    }

    fn answer() -> Header {
        Header {
            mode: Mode::Server,
            stratum: 2,
            precision: -20,
            root_delay: NtpShort::from_duration(NtpDuration::from_seconds(0.030)),
            root_dispersion: NtpShort::from_duration(NtpDuration::from_seconds(0.005)),
            reference_id: ReferenceId::from_bytes([192, 0, 2, 1]),
            reference_timestamp: at(-100.0),
            origin_timestamp: NONCE,
            receive_timestamp: at(3.004),
            transmit_timestamp: at(3.006),
            ..Header::request(NONCE)
        }
    }

    /// The result for `answer()` after `change`.
    fn verdict(change: impl FnOnce(&mut Header)) -> Result<(), Reject> {
        let mut header = answer();
        change(&mut header);
        let header = authentic(&header.to_bytes(), NONCE)?;
        let sample = measure(&header, &exchange(), &scale(), -23);
        usable(
            &header,
            &sample,
            &[ReferenceId::from_bytes([127, 0, 0, 1])],
            LIMIT,
        )
    }

    fn close(left: NtpDuration, seconds: f64) -> bool {
        (left.to_seconds() - seconds).abs() < 1e-8
    }

    //= RFC 5905 §7.2 tolerance
    //= RFC 5905 §8 offset
    //= RFC 5905 §9.2 dispersion
    //= RFC 5905 §10 lambda
    #[test]
    fn the_arithmetic_of_the_four_times() {
        let sample = measure(&answer(), &exchange(), &scale(), -23);
        assert!(close(sample.offset, 3.0), "{sample:?}");
        // Of the 2 ms that it claims, only what a server needs is subtracted from what bounds the error.
        assert!(close(sample.delay, 0.009_8), "{sample:?}");
        assert!(close(sample.network_delay, 0.008), "{sample:?}");
        let precisions = (-20_f64).exp2() + (-23_f64).exp2();
        assert!(close(sample.dispersion, precisions + 15e-6 * 0.010), "{sample:?}");
        let distance = root_distance(&answer(), &sample, Duration::from_secs(150));
        assert!((distance.to_seconds() - (0.019_9 + 0.005 + precisions + 15e-6 * 100.01)).abs() < 4e-5);
    }

    //= RFC 5905 §8 clamp
    #[test]
    fn delay_is_never_less_than_our_precision() {
        let hasty = Exchange {
            arrived: exchange().sent,
            ..exchange()
        };
        assert_eq!(
            measure(&answer(), &hasty, &scale(), -10).delay,
            NtpDuration::from_log2(-10)
        );
    }

    //= RFC 5905 §7.2 maxdist
    //= RFC 5905 §7.2 maxstrat
    //= RFC 5905 §7.3 loop
    //= RFC 5905 §7.3 stratum-zero
    //= RFC 5905 §7.4 inspect
    //= RFC 5905 §7.4 timestamps
    //= RFC 5905 §8 bogus
    //= RFC 5905 §9.2 checks
    //= RFC 5905 §9.2 discard
    #[test]
    fn each_reason_to_reject() {
        type Change = fn(&mut Header);
        let cases: [(Result<(), Reject>, Change); 28] = [
            (Ok(()), |_| ()),
            (Err(Reject::WrongMode), |header| {
                header.mode = Mode::SymmetricPassive
            }),
            (Err(Reject::WrongMode), |header| header.mode = Mode::Broadcast),
            (Err(Reject::WrongOrigin), |header| {
                header.origin_timestamp = at(0.0)
            }),
            (Err(Reject::WrongOrigin), |header| {
                header.origin_timestamp = NtpTimestamp::ZERO
            }),
            (Err(Reject::KissRate), |header| {
                (header.stratum, header.reference_id) = (0, ReferenceId::from_bytes(*b"RATE"));
            }),
            (Err(Reject::KissDeny), |header| {
                (header.stratum, header.reference_id) = (0, ReferenceId::from_bytes(*b"DENY"));
            }),
            (Err(Reject::KissDeny), |header| {
                (header.stratum, header.reference_id) = (0, ReferenceId::from_bytes(*b"RSTR"));
            }),
            // A kiss with a wrong origin is no kiss.
            (Err(Reject::WrongOrigin), |header| {
                (header.stratum, header.reference_id) = (0, ReferenceId::from_bytes(*b"DENY"));
                header.origin_timestamp = at(0.0);
            }),
            (Err(Reject::Unsynchronized), |header| header.stratum = 0),
            (Err(Reject::Unsynchronized), |header| header.stratum = 16),
            (Err(Reject::Unsynchronized), |header| header.stratum = 255),
            (Ok(()), |header| header.stratum = 15),
            (Err(Reject::Unsynchronized), |header| {
                header.leap = Leap::Unsynchronized
            }),
            (Err(Reject::NoTransmitTime), |header| {
                header.transmit_timestamp = NtpTimestamp::ZERO
            }),
            (Err(Reject::Turnaround), |header| {
                header.transmit_timestamp = at(3.003)
            }),
            (Err(Reject::Turnaround), |header| {
                header.transmit_timestamp = at(7.005)
            }),
            // t3 before t2 by its precision (2^-20 s), and by more.
            (Ok(()), |header| header.transmit_timestamp = at(3.004 - 0.9e-6)),
            (Err(Reject::Turnaround), |header| {
                header.transmit_timestamp = at(3.004 - 1.1e-6)
            }),
            (Err(Reject::Turnaround), |header| {
                header.receive_timestamp = NtpTimestamp::ZERO
            }),
            (Err(Reject::ReferenceInFuture), |header| {
                header.reference_timestamp = at(4.1)
            }),
            // When its clock was set is not known.
            (Ok(()), |header| header.reference_timestamp = NtpTimestamp::ZERO),
            (Ok(()), |header| {
                header.reference_timestamp = at(-86_400.0 * 365.0)
            }),
            (Ok(()), |header| header.reference_timestamp = at(3.9)),
            (Err(Reject::Loop), |header| {
                header.reference_id = ReferenceId::from_bytes([127, 0, 0, 1])
            }),
            (Ok(()), |header| {
                // At stratum 1 the ID is a name, not an address.
                (header.stratum, header.reference_id) = (1, ReferenceId::from_bytes([127, 0, 0, 1]));
            }),
            (Err(Reject::Distance), |header| {
                header.root_dispersion = NtpShort::from_bits(1 << 16)
            }),
            (Err(Reject::Distance), |header| header.precision = 127),
        ];
        for (index, (expected, change)) in cases.into_iter().enumerate() {
            assert_eq!(verdict(change), expected, "case {index}");
        }
        assert_eq!(
            authentic(&answer().to_bytes()[..47], NONCE),
            Err(Reject::TooShort)
        );
        let mut version_5 = answer().to_bytes();
        version_5[0] = 5 << 3 | 4;
        assert_eq!(authentic(&version_5, NONCE), Err(Reject::WrongVersion));
    }

    #[test]
    fn counters_have_a_place_for_each_reason() {
        assert!(Reject::all().enumerate().all(|(at, reject)| reject.index() == at));
    }

    proptest! {
        /// 2036-02-07 06:20 to 06:40 UTC: the seconds start again at zero at 06:28:16.
        #[test]
        fn the_end_of_an_era_is_an_instant_like_others(start in -496.0..704.0_f64, path in 0.0..0.5_f64, held in 0.0..0.01_f64, ahead in -300.0..300.0_f64, set in prop_oneof![Just(None), (0.0..1000.0_f64).prop_map(Some)]) {
            let instant = |seconds: f64| NtpTimestamp::ZERO + NtpDuration::from_seconds(start + seconds);
            let raw = |seconds: f64| Duration::from_secs_f64(5000.0 + seconds);
            let scale = Timescale::new(ClockReadings { realtime: instant(0.0), raw: raw(0.0), boot: raw(0.0) });
            let header = Header {
                reference_timestamp: set.map_or(NtpTimestamp::ZERO, |ago| instant(ahead - ago).nonzero()),
                receive_timestamp: instant(ahead + path).nonzero(),
                transmit_timestamp: instant(ahead + path + held).nonzero(),
                ..answer()
            };
            let exchange = Exchange { nonce: NONCE, sent: raw(0.0), arrived: raw(2.0 * path + held) };
            let sample = measure(&header, &exchange, &scale, -20);
            prop_assert!((sample.offset.to_seconds() - ahead).abs() < 1e-6, "{:?}", sample);
            prop_assert_eq!(usable(&header, &sample, &[], LIMIT), Ok(()));
            let from_the_future = Header { reference_timestamp: instant(ahead + path + held + 1.1).nonzero(), ..header };
            prop_assert_eq!(usable(&from_the_future, &sample, &[], LIMIT), Err(Reject::ReferenceInFuture));
            for unknown in [Header { receive_timestamp: NtpTimestamp::ZERO, ..header }, Header { transmit_timestamp: NtpTimestamp::ZERO, ..header }] {
                prop_assert!(usable(&unknown, &sample, &[], LIMIT).is_err());
            }
        }

        #[test]
        fn any_answer_is_accepted_or_refused(mut bytes in prop::array::uniform32(any::<u8>()), times in prop::array::uniform4(any::<u64>()), echo: bool) {
            bytes[0] = bytes[0] & 0xC7 | 4;
            let mut packet = bytes.to_vec();
            packet.extend(times.iter().take(2).flat_map(|time| time.to_be_bytes()));
            if echo {
                packet[24..32].copy_from_slice(&NONCE.to_bits().to_be_bytes());
            }
            let raw = Duration::from_secs(times[3] >> 32);
            let start = ClockReadings { realtime: NtpTimestamp::from_bits(times[2]), raw, boot: raw };
            if let Ok(header) = authentic(&packet, NONCE) {
                let sample = measure(&header, &exchange(), &Timescale::new(start), -20);
                prop_assert!(sample.delay > NtpDuration::ZERO && sample.dispersion > NtpDuration::ZERO);
                if usable(&header, &sample, &[], LIMIT).is_ok() {
                    prop_assert!(root_distance(&header, &sample, sample.at) <= LIMIT);
                    prop_assert!(header.leap != Leap::Unsynchronized && (1..16).contains(&header.stratum));
                }
            }
        }
    }
}
