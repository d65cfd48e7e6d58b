//! Pure. Replies of which the kernel has yet to tell when they left.
//!
//! It numbers those that it stamps, so their numbers follow from one that is known. Nothing is saved by a number that may be
//! wrong: after a reply that could not be sent, or a number that was not expected, a single reply is sent to be stamped, and
//! its number is learned; what it tells is not used.

use arrayvec::ArrayVec;

use super::Tag;
use crate::server::Tuning;
use crate::time::NtpTimestamp;

/// The most replies whose timestamps are missing: those of two of the largest batches. A power of two.
const MOST: usize = 2 * Tuning::LARGEST_BATCH as usize;
/// The looks in vain after which timestamps that are missing are given up: a reply may have been lost in this host.
const PATIENCE: u8 = 16;
/// The replies that are sent without, after a timestamp was given up from which the numbers would have been learned.
///
/// The network card's driver may have none.
const PAUSE: u16 = 64;

/// A reply that the kernel stamps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expected {
    /// The time before which it can't have left, by the host's clock.
    pub not_before: NtpTimestamp,
    /// The prediction that the kernel's time is compared with; `None` where it is another one's.
    pub predicted: Option<PredictedTransmit>,
    /// The facts that are saved for its client; `None` if that can't be in interleaved mode.
    pub entry: Option<ExpectedEntry>,
}

/// The prediction of when a reply leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PredictedTransmit {
    /// The time, by the host's clock.
    pub at: NtpTimestamp,
    /// The place of the reply among those that are sent together, or after a pause, as the worker numbers them.
    pub place: usize,
    /// The kind of the reply.
    pub reply: ReplyKind,
    /// The kind of sample that it is.
    pub sample: SampleKind,
}

/// The kind of a reply, by its authentication: the time until it leaves is predicted for each by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplyKind {
    /// Not authenticated.
    Plain,
    /// With a MAC.
    Mac,
    /// With fields of NTS.
    Nts,
}

/// The kind of a reply that is stamped to correct predictions.
///
/// After many replies without a stamp, the code that stamps is in no cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SampleKind {
    /// The first one of a pair: it leaves later than replies that are not stamped.
    First,
    /// The second one of a pair: it leaves as they do.
    Second,
    /// A single one: it leaves as late as the first one of a pair.
    Single,
}

/// The facts of a reply that are saved with the time when it left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExpectedEntry {
    /// The receive timestamp in it.
    pub received: NtpTimestamp,
    /// Whose it is.
    pub tag: Tag,
    /// Whether it is an interleaved one: then its client has got an earlier one.
    pub is_interleaved: bool,
}

/// The outcome of a transmit timestamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pending {
    /// The time when this reply left.
    Sent(Expected),
    /// Nothing that is of use.
    Unknown,
}

/// The replies that were sent to be stamped.
#[derive(Debug)]
pub struct ExpectedTimestamps {
    /// Those that are sent next.
    queued: ArrayVec<Expected, { Tuning::LARGEST_BATCH as usize }>,
    /// Those that are sent, each at the place that its number gives.
    sent: Box<[Option<(u32, Expected)>; MOST]>,
    /// The number of them.
    missing: usize,
    numbers: Numbers,
    in_vain: u8,
    pause: u16,
}

/// The knowledge of the kernel's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Numbers {
    /// The number of the next reply.
    Next(u32),
    /// Nothing.
    Unknown,
    /// Nothing yet; a reply is on its way that left not before this time.
    Asked(NtpTimestamp),
}

impl Default for ExpectedTimestamps {
    fn default() -> Self {
        Self {
            queued: ArrayVec::new(),
            sent: Box::new([None; MOST]),
            missing: 0,
            numbers: Numbers::Unknown,
            in_vain: 0,
            pause: 0,
        }
    }
}

impl ExpectedTimestamps {
    /// Notes a reply that is queued to be sent, and returns whether it is to be stamped.
    pub fn queue(&mut self, reply: Expected) -> bool {
        if self.pause > 0 {
            self.pause -= 1;
            return false;
        }
        let has_room = match self.numbers {
            Numbers::Next(_) => self.missing + self.queued.len() < MOST,
            Numbers::Unknown => self.queued.is_empty(),
            Numbers::Asked(_) => false,
        };
        has_room && self.queued.try_push(reply).is_ok()
    }

    /// Whether any reply to be stamped is queued.
    pub fn has_queued(&self) -> bool {
        !self.queued.is_empty()
    }

    /// Takes note that the queued replies were sent: all of them, or not.
    pub fn sent(&mut self, all: bool) {
        if !all {
            self.forget(Numbers::Unknown);
            return;
        }
        match self.numbers {
            Numbers::Next(mut number) => {
                for reply in self.queued.drain(..) {
                    if let Some(place) = self.sent.get_mut(place(number)) {
                        self.missing += usize::from(place.is_none());
                        *place = Some((number, reply));
                    }
                    number = number.wrapping_add(1);
                }
                self.numbers = Numbers::Next(number);
            }
            Numbers::Unknown | Numbers::Asked(_) => {
                if let Some(reply) = self.queued.pop() {
                    self.numbers = Numbers::Asked(reply.not_before);
                }
                self.queued.clear();
            }
        }
    }

    /// Whether any timestamp is missing.
    pub fn is_waiting(&self) -> bool {
        self.missing > 0 || matches!(self.numbers, Numbers::Asked(_))
    }

    /// Takes a timestamp: the reply of this `number` left at `time`, by the host's clock, which says `now`.
    pub fn take(&mut self, number: u32, time: NtpTimestamp, now: NtpTimestamp) -> Pending {
        let fits = |not_before: NtpTimestamp| !not_before.is_after(time) && !time.is_after(now);
        match self.numbers {
            Numbers::Asked(not_before) if fits(not_before) => {
                self.numbers = Numbers::Next(number.wrapping_add(1));
                Pending::Unknown
            }
            // One that was given up, or the clock was stepped.
            Numbers::Asked(_) | Numbers::Unknown => Pending::Unknown,
            Numbers::Next(next) => {
                let found = self.sent.get_mut(place(number));
                let found = found.and_then(|place| place.take_if(|(of, _)| *of == number));
                self.missing -= usize::from(found.is_some());
                match found {
                    Some((_, reply)) if fits(reply.not_before) => return Pending::Sent(reply),
                    // One that was given up, or that the kernel stamped twice.
                    None if is_behind(number, next) => {}
                    Some(_) | None => self.forget(Numbers::Unknown),
                }
                Pending::Unknown
            }
        }
    }

    /// Takes note that all timestamps that were there are taken: `any`, or none.
    pub fn looked(&mut self, any: bool) {
        self.in_vain = if any { 0 } else { self.in_vain + 1 };
        if self.in_vain < PATIENCE {
            return;
        }
        match self.numbers {
            // Where one was lost, the numbers are still known: the kernel counts it.
            Numbers::Next(_) => self.forget(self.numbers),
            Numbers::Unknown | Numbers::Asked(_) => {
                self.forget(Numbers::Unknown);
                self.pause = PAUSE;
            }
        }
    }

    fn forget(&mut self, numbers: Numbers) {
        self.queued.clear();
        self.sent.fill(None);
        (self.missing, self.in_vain, self.numbers) = (0, 0, numbers);
    }
}

/// Whether a number is an earlier one than the `next`: it wraps.
const fn is_behind(number: u32, next: u32) -> bool {
    next.wrapping_sub(number).wrapping_sub(1) < 1 << 31
}

/// Returns the place of a number.
const fn place(number: u32) -> usize {
    number as usize % MOST
}

#[cfg(test)]
mod tests;
