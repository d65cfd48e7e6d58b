//! Pure. Interleaved mode with an upstream (RFC 9769 §2): the timestamps of a question, and what its reply tells.
//!
//! A question in this mode has the receive timestamp of the last reply as its origin, and two random timestamps. Which of
//! them comes back tells the mode of the reply. In basic mode it says when it leaves, before it has left. In interleaved mode
//! it says when the reply *before* it really left, so the sample of that exchange is measured again. Until then, the reply
//! is assumed to have been held at the upstream as long as the one of the last replies that was held shortest. The sample's
//! delay is so long meanwhile that half of it bounds the error, however long the reply was held; and the more the holding
//! times differ, the less it weighs.

use strum::{IntoStaticStr, VariantArray};

use super::packet::{Exchange, QuestionNonces, Sample, TURNAROUND_MAX, measure};
use crate::time::{NtpDuration, NtpTimestamp, Timescale};
use crate::wire::Header;

/// The replies in basic mode, in a row, after which an upstream is asked in basic mode.
///
/// The first one has to be, and a server may need another to begin.
const TRIES: u32 = 8;
/// The exchanges after which it is tried again.
const RETRY_AFTER: u32 = 64;
/// The replies whose holding times are remembered.
const HELD: usize = 8;
/// The questions without a reply, in a row, after which the last reply is not echoed any more.
//= RFC 9769 §2 client-limit
const UNANSWERED_MAX: u32 = 4;

/// Whether an upstream is asked in interleaved mode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "kebab-case")]
pub enum InterleavedQuestions {
    /// As long as it replies in it.
    #[default]
    Auto,
    /// Never.
    Off,
    /// Always.
    On,
}

/// The state of interleaved mode with one address of an upstream.
#[derive(Clone, Copy, Debug, Default)]
pub struct InterleavedAssociation {
    last: Option<LastReply>,
    /// Replies in basic mode to questions in interleaved mode, in a row.
    basic: u32,
    /// Exchanges in basic mode since it was given up; `None`: it was not.
    given_up: Option<u32>,
    unanswered: u32,
    held: HeldTimes,
    /// Whether the last question was in interleaved mode.
    is_asked: bool,
    status: InterleavedStatus,
}

/// The interleaved replies of an upstream, as displayed to operators; no decision depends on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InterleavedStatus {
    /// Whether the last good reply was in interleaved mode.
    pub is_interleaved: bool,
    /// Samples that were measured again, with the time when the reply really left.
    pub corrected: u64,
    /// The usual correction of their offset: a moving average of its absolute value.
    pub correction: NtpDuration,
}

/// The times for which the last replies were held at the upstream, as it said later.
#[derive(Clone, Copy, Debug, Default)]
struct HeldTimes {
    times: [Option<NtpDuration>; HELD],
    next: usize,
}

impl HeldTimes {
    fn note(&mut self, held: NtpDuration) {
        if let Some(time) = self.times.get_mut(self.next) {
            *time = Some(held);
        }
        self.next = (self.next + 1) % HELD;
    }

    /// Returns what is assumed of a reply whose predecessor was held for `last`.
    fn assumed(&self, last: NtpDuration) -> AssumedHolding {
        let all = self.times.iter().flatten().copied().chain([last]);
        let shortest = all.clone().fold(last, NtpDuration::min);
        let (sum, number) = all.fold((0, 0), |(sum, number), time| {
            (sum + (time - shortest).to_units(), number + 1)
        });
        AssumedHolding {
            time: shortest,
            beyond: NtpDuration::from_units(sum / number),
        }
    }
}

/// The assumed time for which a reply was held at the upstream, before the next reply tells the true one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AssumedHolding {
    /// The shortest one of the last replies.
    pub time: NtpDuration,
    /// By how much replies are usually held longer: the mean.
    pub beyond: NtpDuration,
}

/// A reply that can be echoed.
#[derive(Clone, Copy, Debug)]
struct LastReply {
    header: Header,
    exchange: Exchange,
}

/// The content of a reply.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ReplyReading {
    /// Its header, with receive and transmit timestamp of this exchange.
    pub header: Header,
    /// The assumption that its transmit timestamp is made of; `None` if it says when it leaves.
    pub assumed: Option<AssumedHolding>,
    /// The reply before it and its exchange, with the time when it really left.
    pub corrected: Option<(Header, Exchange)>,
}

impl ReplyReading {
    /// Measures its exchange, as [`measure`] does.
    ///
    /// A reply that was held for any time up to `elapsed`, and not for the assumed `time`, leaves the true offset within half
    /// of `elapsed + time`.
    pub fn sample(&self, exchange: &Exchange, scale: &Timescale, precision: i8) -> Sample {
        let sample = measure(&self.header, exchange, scale, precision);
        match self.assumed {
            None => sample,
            Some(AssumedHolding { time, beyond }) => Sample {
                delay: sample.delay.max(elapsed(exchange) + time),
                network_delay: sample.network_delay + beyond,
                ..sample
            },
        }
    }
}

impl InterleavedAssociation {
    /// Returns the timestamps of the next question, made of two random ones; and the header with them.
    //= RFC 9769 §6 leak
    //= RFC 9769 §6 random
    pub fn question(
        &mut self,
        mode: InterleavedQuestions,
        random: [NtpTimestamp; 2],
    ) -> (Header, QuestionNonces) {
        let [transmit, receive] = random;
        let basic = Header::request(transmit);
        let is_wanted = match mode {
            InterleavedQuestions::Off => false,
            InterleavedQuestions::Auto => self.given_up.is_none(),
            InterleavedQuestions::On => true,
        };
        self.is_asked = false;
        match self.last {
            Some(last) if is_wanted && receive != transmit && !receive.is_zero() => {
                let header = Header {
                    origin_timestamp: last.header.receive_timestamp,
                    receive_timestamp: receive,
                    ..basic
                };
                self.is_asked = true;
                let receive = Some(receive);
                (header, QuestionNonces { transmit, receive })
            }
            Some(_) | None => (basic, transmit.into()),
        }
    }

    /// Reads the authentic reply to the last question; nothing is changed.
    //= RFC 9769 §2 client-times
    pub fn read(&self, header: Header, exchange: &Exchange) -> ReplyReading {
        let basic = ReplyReading {
            header,
            assumed: None,
            corrected: None,
        };
        if header.origin_timestamp == exchange.nonce {
            return basic;
        }
        let Some(last) = self.last else {
            return basic;
        };
        let held = header.transmit_timestamp - last.header.receive_timestamp;
        let is_possible = (NtpDuration::ZERO..=elapsed(&last.exchange).min(TURNAROUND_MAX)).contains(&held)
            && !header.transmit_timestamp.is_zero();
        let corrected = Header {
            transmit_timestamp: header.transmit_timestamp,
            ..last.header
        };
        let known = if is_possible {
            self.held.assumed(held)
        } else {
            AssumedHolding::default()
        };
        let time = known.time.min(elapsed(exchange));
        let transmit_timestamp = header.receive_timestamp + time;
        ReplyReading {
            header: Header {
                transmit_timestamp: transmit_timestamp.nonzero(),
                ..header
            },
            assumed: Some(AssumedHolding { time, ..known }),
            corrected: is_possible.then_some((corrected, last.exchange)),
        }
    }

    /// Takes a good reply, as it was read.
    ///
    /// One that is not good changes nothing: the last good one is echoed again.
    //= RFC 9769 §2 client-invalid
    pub fn accept(&mut self, read: &ReplyReading, exchange: &Exchange) {
        let is_interleaved = read.header.origin_timestamp != exchange.nonce;
        self.unanswered = 0;
        self.status.is_interleaved = is_interleaved;
        self.basic = match (is_interleaved, self.is_asked) {
            (true, _) => 0,
            (false, true) => self.basic + 1,
            (false, false) => self.basic,
        };
        self.given_up = match self.given_up {
            None => (self.basic >= TRIES).then_some(0),
            Some(exchanges) => Some(exchanges + 1).filter(|exchanges| *exchanges < RETRY_AFTER),
        };
        if self.given_up.is_some() {
            self.basic = 0;
        }
        if let Some((header, _)) = &read.corrected {
            self.held
                .note(header.transmit_timestamp - header.receive_timestamp);
        }
        self.last = Some(LastReply {
            header: read.header,
            exchange: *exchange,
        });
    }

    /// Takes note that a sample was corrected by `by`.
    pub fn corrected(&mut self, by: NtpDuration) {
        let (by, status) = (by.abs(), &mut self.status);
        let newer = by - status.correction;
        status.correction += match status.corrected {
            0 => newer,
            _ => NtpDuration::from_units(newer.to_units() / 8),
        };
        status.corrected += 1;
    }

    /// Takes note that a question got no good reply.
    //= RFC 9769 §2 client-limit
    pub fn unanswered(&mut self) {
        self.unanswered += 1;
        if self.unanswered >= UNANSWERED_MAX {
            self.last = None;
        }
    }

    /// The interleaved replies so far.
    pub fn status(&self) -> InterleavedStatus {
        self.status
    }
}

/// Returns the time from the question to the answer.
fn elapsed(exchange: &Exchange) -> NtpDuration {
    NtpDuration::between(exchange.sent, exchange.arrived).max(NtpDuration::ZERO)
}

#[cfg(test)]
mod tests;
