//! Impure. The counts of a worker, in cells that only it writes and any thread may read.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::server::Verdict;
use crate::server::nts_counts::{NtsCounters, NtsCounts};
use crate::server::residence::{self, Residence, add_all};
use crate::time::NtpDuration;
use crate::wire::HEADER_LEN;

/// The number of versions, and of modes: three bits each.
const EIGHT: usize = 8;
/// The number of both together, as they stand in the first byte below the leap indicator (RFC 5905 §7.3).
const KINDS: usize = EIGHT * EIGHT;
use crate::server::policy::Annotation;

/// A worker's counters, on cache lines of their own so that no two workers share one.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Counters {
    verdicts: [AtomicU64; Verdict::COUNT],
    kinds: Kinds<AtomicU64>,
    residence: [AtomicU64; Residence::BUCKETS],
    residence_sum: AtomicU64,
    annotations: [AtomicU64; Annotation::COUNT],
    send_failed: AtomicU64,
    send_buffer_full: AtomicU64,
    receive_failed: AtomicU64,
    stamp_unusable: AtomicU64,
    longer: AtomicU64,
    interleaved: AtomicU64,
    rounds: AtomicU64,
    pub(crate) nts: NtsCounters,
}

/// A cell for each version and mode.
///
/// The library has a default only for arrays of up to 32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Kinds<T>([T; KINDS]);

impl<T: Default> Default for Kinds<T> {
    fn default() -> Self {
        Self(std::array::from_fn(|_| T::default()))
    }
}

/// The counters as they were at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    verdicts: [u64; Verdict::COUNT],
    kinds: Kinds<u64>,
    /// The times of answered requests in the server, from the receive to the transmit timestamp.
    pub residence: Residence,
    annotations: [u64; Annotation::COUNT],
    /// Replies that the kernel refused to send.
    pub send_failed: u64,
    /// Replies that found no room in the send buffer: others in it wait for addresses that are not there.
    pub send_buffer_full: u64,
    /// Failures to receive that were not just a time without packets.
    pub receive_failed: u64,
    /// Packets whose kernel stamp was missing or not within the last second, as after a step of the clock.
    pub stamp_unusable: u64,
    /// The bytes by which authenticated replies were longer than plain ones.
    pub longer: u64,
    /// Replies in interleaved mode: those that tell when the client's previous reply left.
    pub interleaved: u64,
    /// Counts that are special to NTS.
    pub nts: NtsCounts,
}

/// Counts that were kept elsewhere.
#[derive(Clone, Copy, Debug)]
pub struct CountParts<'a> {
    /// Packets by [`Verdict::index`].
    pub verdicts: &'a [u64],
    /// Packets by version and mode, as they stand in the first byte below the leap indicator.
    pub kinds: &'a [u64],
    /// Answered requests by bucket.
    pub residence: &'a [u64],
    /// All their times together, in units of 2^-32 s.
    pub residence_sum: u64,
    /// Annotations by [`Annotation::index`].
    pub annotations: &'a [u64],
}

impl Counters {
    /// Counts a round of the worker's loop, which shows that it moves.
    pub(super) fn count_round(&self) {
        add(&self.rounds, 1);
    }

    /// Returns the count of rounds of the worker's loop: one a batch, and one each time that it is nudged.
    pub fn rounds(&self) -> u64 {
        self.rounds.load(Ordering::Relaxed)
    }

    /// A packet of this `payload` had this `verdict`.
    pub(crate) fn count(&self, payload: &[u8], verdict: Verdict) {
        if let Some(cell) = self.verdicts.get(verdict.index()) {
            add(cell, 1);
        }
        let kind = payload.first().map(|first| usize::from(first & 0x3F));
        if let Some(cell) = kind.and_then(|kind| self.kinds.0.get(kind)) {
            add(cell, 1);
        }
    }

    /// A request that was answered spent this `time` here.
    pub(crate) fn count_residence(&self, time: NtpDuration) {
        if let Some(cell) = self.residence.get(residence::bucket(time)) {
            add(cell, 1);
        }
        add(&self.residence_sum, residence::units(time));
    }

    /// An authenticated reply had `length` bytes.
    pub(super) fn count_authenticated(&self, length: usize) {
        let longer = length.saturating_sub(HEADER_LEN);
        add(&self.longer, u64::try_from(longer).unwrap_or(0));
    }

    /// A reply is in interleaved mode.
    pub(super) fn count_interleaved(&self) {
        add(&self.interleaved, 1);
    }

    pub(super) fn annotate(&self, annotation: Annotation) {
        if let Some(cell) = self.annotations.get(annotation.index()) {
            add(cell, 1);
        }
    }

    /// Counts replies: `failed` could not be sent, and `full` found the send buffer full.
    pub(super) fn count_unsent(&self, failed: usize, full: usize) {
        if failed | full != 0 {
            add(&self.send_failed, u64::try_from(failed).unwrap_or(u64::MAX));
            add(&self.send_buffer_full, u64::try_from(full).unwrap_or(u64::MAX));
        }
    }

    pub(super) fn count_receive_failed(&self) {
        add(&self.receive_failed, 1);
    }

    pub(super) fn count_stamp_unusable(&self) {
        add(&self.stamp_unusable, 1);
    }

    /// All of them now; a packet that is being counted meanwhile may be in or not.
    pub fn snapshot(&self) -> Counts {
        let load = |cell: &AtomicU64| cell.load(Ordering::Relaxed);
        Counts {
            verdicts: self.verdicts.each_ref().map(load),
            kinds: Kinds(self.kinds.0.each_ref().map(load)),
            residence: Residence {
                counts: self.residence.each_ref().map(load),
                sum: load(&self.residence_sum),
            },
            annotations: self.annotations.each_ref().map(load),
            send_failed: load(&self.send_failed),
            send_buffer_full: load(&self.send_buffer_full),
            receive_failed: load(&self.receive_failed),
            stamp_unusable: load(&self.stamp_unusable),
            longer: load(&self.longer),
            interleaved: load(&self.interleaved),
            nts: self.nts.snapshot(),
        }
    }
}

/// Adds to a cell. There is one writer, so a load and a store do what a locked addition would.
fn add(cell: &AtomicU64, count: u64) {
    cell.store(
        cell.load(Ordering::Relaxed).wrapping_add(count),
        Ordering::Relaxed,
    );
}

impl Counts {
    /// The number of kinds of packets: versions and modes together.
    pub const KINDS: usize = KINDS;

    /// Returns counts that were kept elsewhere, as in the kernel. Missing ones are 0.
    pub fn of_parts(parts: &CountParts<'_>) -> Self {
        fn filled<const SIZE: usize>(cells: &[u64]) -> [u64; SIZE] {
            std::array::from_fn(|at| cells.get(at).copied().unwrap_or(0))
        }
        Self {
            verdicts: filled(parts.verdicts),
            kinds: Kinds(filled(parts.kinds)),
            residence: Residence {
                counts: filled(parts.residence),
                sum: parts.residence_sum,
            },
            annotations: filled(parts.annotations),
            ..Self::default()
        }
    }

    /// Returns the sum of both.
    #[must_use]
    pub fn plus(mut self, other: Self) -> Self {
        add_all(&mut self.verdicts, &other.verdicts);
        add_all(&mut self.kinds.0, &other.kinds.0);
        self.residence = self.residence.plus(&other.residence);
        add_all(&mut self.annotations, &other.annotations);
        self.send_failed = self.send_failed.wrapping_add(other.send_failed);
        self.send_buffer_full = self.send_buffer_full.wrapping_add(other.send_buffer_full);
        self.receive_failed = self.receive_failed.wrapping_add(other.receive_failed);
        self.stamp_unusable = self.stamp_unusable.wrapping_add(other.stamp_unusable);
        self.longer = self.longer.wrapping_add(other.longer);
        self.interleaved = self.interleaved.wrapping_add(other.interleaved);
        self.nts = self.nts.plus(&other.nts);
        self
    }

    /// Returns the count of packets with `verdict`.
    pub fn of(&self, verdict: Verdict) -> u64 {
        self.verdicts.get(verdict.index()).copied().unwrap_or(0)
    }

    /// Returns the count of answered packets with `annotation`.
    pub fn annotated(&self, annotation: Annotation) -> u64 {
        self.annotations.get(annotation.index()).copied().unwrap_or(0)
    }

    /// All packets received.
    pub fn received(&self) -> u64 {
        self.verdicts.iter().sum()
    }

    /// All packets answered, whether or not the kernel took the reply.
    pub fn answered(&self) -> u64 {
        Verdict::all()
            .filter(|verdict| verdict.is_answered())
            .map(|verdict| self.of(verdict))
            .sum()
    }

    /// All packets that got no answer.
    pub fn refused(&self) -> u64 {
        self.received().wrapping_sub(self.answered())
    }

    /// Returns the count of packets that said each version, 0 to 7.
    ///
    /// Those without a single byte say none.
    pub fn versions(&self) -> [u64; EIGHT] {
        std::array::from_fn(|version| self.kinds_where(|kind| kind / EIGHT == version))
    }

    /// Returns the count of packets that said each mode, 0 to 7.
    pub fn modes(&self) -> [u64; EIGHT] {
        std::array::from_fn(|mode| self.kinds_where(|kind| kind % EIGHT == mode))
    }

    fn kinds_where(&self, wanted: impl Fn(usize) -> bool) -> u64 {
        let cells = self.kinds.0.iter().enumerate();
        cells
            .filter(|(kind, _)| wanted(*kind))
            .map(|(_, count)| count)
            .sum()
    }

    /// All replies that did not leave.
    pub fn unsent(&self) -> u64 {
        self.send_failed.wrapping_add(self.send_buffer_full)
    }

    /// All replies: answers and kisses.
    pub fn replied(&self) -> u64 {
        Verdict::all()
            .filter(|verdict| verdict.has_reply())
            .map(|verdict| self.of(verdict))
            .sum()
    }

    /// The refusals with their counts, without the zeros: `refused-too-short=3 refused-version=1`.
    pub fn refusals(&self) -> String {
        let refused = Verdict::all().filter(|&verdict| !verdict.is_answered() && self.of(verdict) > 0);
        refused
            .map(|verdict| format!("{}={}", verdict.name(), self.of(verdict)))
            .collect::<Vec<_>>()
            .join(" ")
    }

    /// The annotations of answered packets with their counts, without the zeros: `leaked=3 would-deny=1`.
    pub fn annotations(&self) -> String {
        let annotated = Annotation::all().filter(|&annotation| self.annotated(annotation) > 0);
        annotated
            .map(|annotation| format!("{}={}", annotation.name(), self.annotated(annotation)))
            .collect::<Vec<_>>()
            .join(" ")
    }
}

/// An object: sums, then each verdict and annotation by its name, versions and modes as lists from 0 to 7, failures.
impl Serialize for Counts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("received", &self.received())?;
        map.serialize_entry("answered", &self.answered())?;
        map.serialize_entry("refused", &self.refused())?;
        map.serialize_entry("verdicts", &ByVerdict(self))?;
        map.serialize_entry("remarks", &ByAnnotation(self))?;
        map.serialize_entry("versions", &self.versions())?;
        map.serialize_entry("modes", &self.modes())?;
        map.serialize_entry("interleaved", &self.interleaved)?;
        map.serialize_entry("residence", &self.residence)?;
        map.serialize_entry("send_failed", &self.send_failed)?;
        map.serialize_entry("send_buffer_full", &self.send_buffer_full)?;
        map.serialize_entry("receive_failed", &self.receive_failed)?;
        map.serialize_entry("stamp_unusable", &self.stamp_unusable)?;
        map.serialize_entry("nts", &self.nts)?;
        map.end()
    }
}

struct ByVerdict<'a>(&'a Counts);

impl Serialize for ByVerdict<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let counted = |verdict: Verdict| (verdict.name(), self.0.of(verdict));
        serializer.collect_map(Verdict::all().map(counted))
    }
}

struct ByAnnotation<'a>(&'a Counts);

impl Serialize for ByAnnotation<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let counted = |annotation: Annotation| (annotation.name(), self.0.annotated(annotation));
        serializer.collect_map(Annotation::all().map(counted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_verdict_is_counted_once() {
        let counters = Counters::default();
        for (times, verdict) in Verdict::all().enumerate() {
            (0..times).for_each(|_| counters.count(&[4 << 3 | 3], verdict));
        }
        counters.count_unsent(3, 2);
        let counts = counters.snapshot();
        // 0 + 1 + 2 + …, once per verdict.
        let received = (Verdict::COUNT * (Verdict::COUNT - 1) / 2) as u64;
        assert_eq!((counts.received(), counts.answered()), (received, 23 + 24));
        assert_eq!(counts.of(Verdict::RefusedPrivate), 13);
        assert!(
            counts
                .refusals()
                .starts_with("kissed-rate=3 kissed-denied=4 refused-port-zero=5")
        );
        assert_eq!((counts.send_failed, counts.send_buffer_full), (3, 2));
        assert_eq!((counts.plus(counts).unsent(), counts.receive_failed), (10, 0));
        assert_eq!(counts.plus(counts).received(), 756);
        assert_eq!(counts.refused(), 331);
    }

    #[test]
    fn versions_and_modes_are_counted_whatever_they_are() {
        let counters = Counters::default();
        for first in 0..=255 {
            counters.count(&[first, 9], Verdict::RefusedTooShort);
        }
        counters.count(&[], Verdict::RefusedTooShort);
        counters.count(&[3 << 3 | 1], Verdict::AnsweredSymmetric);
        let counts = counters.snapshot();
        assert_eq!(counts.versions(), [32, 32, 32, 33, 32, 32, 32, 32]);
        assert_eq!(counts.plus(counts).modes(), [64, 66, 64, 64, 64, 64, 64, 64]);
        assert_eq!(counts.received(), 258);
    }

    #[test]
    fn the_time_in_the_server_is_counted_by_its_magnitude() {
        let counters = Counters::default();
        let seconds = [-0.5, 0.0, 1e-7, 1.5e-6, 0.1, 0.5, 3.0];
        seconds
            .iter()
            .for_each(|&time| counters.count_residence(NtpDuration::from_seconds(time)));
        let residence = counters.snapshot().residence;
        assert_eq!(residence.counts.iter().sum::<u64>(), 7);
        assert_eq!(
            (residence.counts[0], residence.counts[1], residence.counts[21]),
            (3, 1, 1)
        );
        assert!((residence.seconds() - 3.600_001_6).abs() < 1e-8);
    }

    #[test]
    fn each_remark_is_counted_beside_the_verdict() {
        let counters = Counters::default();
        for (times, annotation) in Annotation::all().enumerate() {
            assert_eq!(annotation.index(), times);
            (0..times).for_each(|_| counters.annotate(annotation));
        }
        let counts = counters.snapshot();
        assert_eq!(
            counts.annotations(),
            "impatient=1 would-deny=2 would-limit=3 would-shed=4"
        );
        assert_eq!(counts.received(), 0);
        assert_eq!(counts.plus(counts).annotated(Annotation::WouldShed), 8);
    }
}
