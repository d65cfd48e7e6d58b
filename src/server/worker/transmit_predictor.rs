//! Pure. The moment at which a reply will be sent, predicted from the times of the last batches.
//!
//! A stamp a packet would cost a system call a packet, and one stamp for a whole batch is early by all that it takes to
//! send it (*measured*: 42 to 108 us with 32 replies). The time of a reply hardly changes from one batch to the next.
//!
//! Some replies are stamped by the kernel when they leave. The differences to what was predicted for them correct the
//! predictions: for each place among those that are sent together by itself, and after a pause for its length. Replies
//! with a MAC and with NTS have predictors of their own: after a pause, the code for them is in no cache either.

use std::time::Duration;

use super::transmit_place::{ALL_PLACES, ALONE, PLACES, TOGETHER_AFTER_PAUSE};
use super::transmit_sampler::TransmitSampler;
use crate::server::interleaved::{PredictedTransmit, ReplyKind, SampleKind};
use crate::time::{NtpDuration, NtpTimestamp};

/// The weight of a new time is one part of this many.
const MEMORY: f64 = 8.0;
/// The largest factor by which a batch changes the expectation: the thread may have stood still in it.
const SURPRISE: f64 = 2.0;
/// The least expectation, in seconds: from zero no factor leads anywhere.
const LEAST: f64 = 1e-11;

/// The weight of a new difference from what was predicted is one part of this many.
const CORRECTION_MEMORY: f64 = 16.0;
/// The usual size of such differences at the beginning, in seconds, and the least.
const FIRST_SPREAD: f64 = 2e-6;
const LEAST_SPREAD: f64 = 1e-7;
/// The largest correction, in seconds: beyond it the kernel's time is not about the same thing.
const LARGEST_CORRECTION: f64 = 1e-3;

/// The prediction of when a reply leaves.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Prediction {
    /// The time from the reading of the clock until then.
    pub(super) until_sent: NtpDuration,
    /// The place among those that are sent together, for [`TransmitPredictor::correct`].
    pub(super) place: usize,
}

/// The correction of the predictions for one place, in seconds.
#[derive(Clone, Copy, Debug)]
struct Correction {
    /// The time by which replies leave later than predicted without it.
    later: f64,
    /// The usual distance of the differences from it.
    spread: f64,
}

impl Correction {
    const NONE: Self = Self {
        later: 0.0,
        spread: FIRST_SPREAD,
    };

    /// Learns that a reply left by `error` later than predicted with the correction.
    ///
    /// It is led by the signs of the differences more than by their sizes, as a median is: some replies leave late for
    /// reasons that the next ones don't have.
    fn learn(&mut self, error: f64) {
        let step = error.clamp(-self.spread, self.spread) / CORRECTION_MEMORY;
        self.later = (self.later + step).clamp(-LARGEST_CORRECTION, LARGEST_CORRECTION);
        let distance = error.abs().min(SURPRISE * SURPRISE * self.spread);
        self.spread = (self.spread + (distance - self.spread) / CORRECTION_MEMORY).max(LEAST_SPREAD);
    }
}

/// The predictors of a worker: one for each kind of reply.
#[derive(Clone, Copy, Debug)]
pub(super) struct TransmitPredictors {
    pub(super) plain: TransmitPredictor,
    pub(super) mac: TransmitPredictor,
    pub(super) nts: TransmitPredictor,
}

impl Default for TransmitPredictors {
    fn default() -> Self {
        Self {
            plain: TransmitPredictor::new(ReplyKind::Plain),
            mac: TransmitPredictor::new(ReplyKind::Mac),
            nts: TransmitPredictor::new(ReplyKind::Nts),
        }
    }
}

impl TransmitPredictors {
    /// Learns that a sample left by `error` later than predicted.
    pub(super) fn correct(&mut self, predicted: &PredictedTransmit, error: NtpDuration) {
        let predictor = match predicted.reply {
            ReplyKind::Plain => &mut self.plain,
            ReplyKind::Mac => &mut self.mac,
            ReplyKind::Nts => &mut self.nts,
        };
        predictor.correct(predicted.place, predicted.sample, error);
    }
}

/// The expected times of packets, from those of earlier ones, in seconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct TransmitPredictor {
    /// The kind of replies that it is for.
    kind: ReplyKind,
    /// The choice of the replies that are stamped to correct it.
    sampler: TransmitSampler,
    /// The time to decide about a packet.
    deciding: f64,
    /// The time to send a reply.
    sending: f64,
    /// The time to seal a byte of a reply with NTS: the longer the reply, the more cookies are in it.
    sealing: f64,
    /// The corrections of each place.
    corrections: [Correction; ALL_PLACES],
    /// The time by which replies leave later that are stamped after many that are not.
    stamped: Correction,
    /// The class of the pause before the next reply, if there was one.
    pause: Option<usize>,
}

impl TransmitPredictor {
    /// Begins with the times that a small machine needs, about.
    fn new(kind: ReplyKind) -> Self {
        Self {
            kind,
            sampler: TransmitSampler::default(),
            deciding: 100e-9,
            sending: 3e-6,
            sealing: 3e-9,
            corrections: [Correction::NONE; ALL_PLACES],
            stamped: Correction::NONE,
            pause: None,
        }
    }

    /// Returns the prediction for reply number `position` (from 0) of those that are sent together.
    ///
    /// `received` packets have to be decided about before them, from `waited` after the reading of the clock on.
    pub(super) fn after(&self, waited: NtpDuration, received: usize, position: usize) -> Prediction {
        let deciding = NtpDuration::from_seconds(float(received) * self.deciding);
        self.sent(waited + deciding, position)
    }

    /// Returns the prediction for reply number `position` (from 0) of those whose sending begins after `until_sending`.
    pub(super) fn sent(&self, until_sending: NtpDuration, position: usize) -> Prediction {
        let among = position.min(PLACES - 1);
        let after_pause = self.pause.map(|class| TOGETHER_AFTER_PAUSE + class);
        // The correction for the length of a pause is added to that for any time.
        let later = self.later(among) + after_pause.map_or(0.0, |place| self.later(place));
        let sending = float(position) * self.sending + later;
        Prediction {
            until_sent: until_sending + NtpDuration::from_seconds(sending),
            place: after_pause.unwrap_or(among),
        }
    }

    /// Returns the prediction for a reply that is sent alone, `until_sending` after the reading of the clock.
    pub(super) fn alone(&self, until_sending: NtpDuration) -> Prediction {
        let place = self.pause.map_or(ALONE, |class| ALONE + 1 + class);
        Prediction {
            until_sent: until_sending + NtpDuration::from_seconds(self.later(place)),
            place,
        }
    }

    /// Takes note of packets at the raw time `now`, after a pause of this class.
    #[inline]
    pub(super) fn begin(&mut self, now: Duration, pause: Option<usize>) {
        self.pause = pause;
        self.sampler.begin(now, pause);
    }

    /// Returns the class of the pause before the next reply, if there was one.
    pub(super) fn pause(&self) -> Option<usize> {
        self.pause
    }

    /// Returns the `prediction` for the reply that was queued last as a sample, if it is one.
    ///
    /// `read_at` is the time of the reading of the clock.
    #[inline]
    pub(super) fn sample(
        &mut self,
        prediction: Prediction,
        read_at: NtpTimestamp,
    ) -> Option<PredictedTransmit> {
        let sample = self.sampler.next(prediction.place)?;
        Some(PredictedTransmit {
            at: read_at + prediction.until_sent,
            place: prediction.place,
            reply: self.kind,
            sample,
        })
    }

    /// Takes note that replies were sent: the pause is over.
    pub(super) fn end_pause(&mut self) {
        self.pause = None;
    }

    fn later(&self, place: usize) -> f64 {
        self.corrections
            .get(place)
            .map_or(0.0, |correction| correction.later)
    }

    /// Whether any sample corrected it.
    #[cfg(test)]
    pub(super) fn is_corrected(&self) -> bool {
        (0..ALL_PLACES).any(|place| self.later(place) != 0.0)
    }

    /// Learns that a reply at this place of a [`Prediction`], a sample of this kind, left by `error` later than predicted.
    fn correct(&mut self, place: usize, sample: SampleKind, error: NtpDuration) {
        let beyond = error.to_seconds() - self.stamped.later;
        match (sample, self.corrections.get_mut(place)) {
            (_, None) => {}
            // Among replies that are sent together, the first one of a pair is mostly in the first ones of a batch.
            (SampleKind::First, Some(_)) if place < ALONE => {}
            (SampleKind::First, Some(_)) => self.stamped.learn(beyond),
            (SampleKind::Second, Some(correction)) => correction.learn(error.to_seconds()),
            (SampleKind::Single, Some(correction)) => correction.learn(beyond),
        }
    }

    /// Learns that `received` packets took `deciding` to decide about, and then `replies` took `sending` to send.
    pub(super) fn learn(&mut self, received: usize, deciding: Duration, replies: usize, sending: Duration) {
        learn(&mut self.deciding, deciding, received);
        learn(&mut self.sending, sending, replies);
    }

    /// Returns the time that it takes to seal replies of `bytes` together.
    ///
    /// Their transmit timestamps have to be known before.
    pub(super) fn sealed(&self, bytes: usize) -> NtpDuration {
        NtpDuration::from_seconds(float(bytes) * self.sealing)
    }

    /// Learns that replies of `bytes` together took `sealing`, and then `replies` took `sending` to send.
    pub(super) fn learn_sealing(
        &mut self,
        bytes: usize,
        sealing: Duration,
        replies: usize,
        sending: Duration,
    ) {
        learn(&mut self.sealing, sealing, bytes);
        learn(&mut self.sending, sending, replies);
    }
}

fn learn(expected: &mut f64, took: Duration, count: usize) {
    if count > 0 {
        let found = took.as_secs_f64() / float(count);
        let credible = found.clamp(*expected / SURPRISE, *expected * SURPRISE);
        *expected = (*expected + (credible - *expected) / MEMORY).max(LEAST);
    }
}

/// A batch has at most some hundreds of packets, or some thousand bytes.
fn float(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::worker::transmit_place::pause;

    const MICROSECOND: Duration = Duration::from_micros(1);

    fn seconds(transmit_predictor: &TransmitPredictor, received: usize, position: usize) -> f64 {
        let prediction = transmit_predictor.after(NtpDuration::ZERO, received, position);
        prediction.until_sent.to_seconds()
    }

    /// Each place learns what its own replies do.
    ///
    /// They leave 2.5 us later than they are sent, those at place 3 by 4 us, and one in ten a millisecond later still, which
    /// moves it hardly.
    #[test]
    fn the_kernels_times_correct_each_place_by_itself() {
        let mut transmit_predictor = learned();
        let mut random = 1_u64;
        for round in 0..20_000_u64 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let place = usize::try_from(round % 9).unwrap();
            let [noise, fate, ..] = (random >> 32).to_le_bytes();
            let later = if place == 3 { 4e-6 } else { 2.5e-6 };
            let late = if fate < 26 { 1e-3 } else { 0.0 };
            let left = later + late + (f64::from(noise) - 127.5) * 4e-9;
            let error = left - transmit_predictor.later(place);
            transmit_predictor.correct(place, SampleKind::Second, NtpDuration::from_seconds(error));
        }
        for place in 0..9 {
            let wanted = if place == 3 { 4e-6 } else { 2.5e-6 };
            let found = transmit_predictor.later(place);
            assert!((found - wanted).abs() < 3e-7, "{place}: {found}");
        }
        let alone = transmit_predictor
            .alone(NtpDuration::ZERO)
            .until_sent
            .to_seconds();
        assert!((alone - 2.5e-6).abs() < 3e-7, "{alone}");
        assert!((seconds(&transmit_predictor, 0, 3) - 13e-6).abs() < 4e-7);
    }

    /// After each pause a reply takes as long as it did after others like that. Single samples are known to be late.
    #[test]
    fn a_pause_has_a_correction_of_its_own() {
        let classes =
            [0, 7, 8, 31, 32, 127, 128, 2_100, 9_000, 1_000_000].map(|micros| pause(MICROSECOND * micros));
        let wanted = [
            None,
            None,
            Some(0),
            Some(0),
            Some(1),
            Some(1),
            Some(2),
            Some(4),
            Some(5),
            Some(5),
        ];
        assert_eq!(classes, wanted);
        let mut transmit_predictor = learned();
        let late = 1.5e-6;
        for number in 0..6_000_u32 {
            let teach = |kind, idle: u32, left: f64, transmit_predictor: &mut TransmitPredictor| {
                transmit_predictor.begin(Duration::ZERO, pause(MICROSECOND * idle));
                let prediction = transmit_predictor.alone(NtpDuration::ZERO);
                let error = left - prediction.until_sent.to_seconds();
                transmit_predictor.correct(prediction.place, kind, NtpDuration::from_seconds(error));
            };
            teach(SampleKind::First, 1, 2e-6 + late, &mut transmit_predictor);
            teach(SampleKind::Second, 1, 2e-6, &mut transmit_predictor);
            if number % 20 == 0 {
                teach(SampleKind::Single, 3_000, 6e-6 + late, &mut transmit_predictor);
            }
        }
        for (idle, wanted) in [(1, 2e-6), (3_000, 6e-6)] {
            transmit_predictor.begin(Duration::ZERO, pause(MICROSECOND * idle));
            let found = transmit_predictor
                .alone(NtpDuration::ZERO)
                .until_sent
                .to_seconds();
            assert!((found - wanted).abs() < 2e-7, "{idle}: {found}");
        }
        transmit_predictor.end_pause();
        assert_eq!(transmit_predictor.alone(NtpDuration::ZERO).place, ALONE);
    }

    /// All that are sent together first after a pause leave later, by the same.
    #[test]
    fn a_pause_before_replies_that_are_sent_together_counts_once() {
        let mut transmit_predictor = learned();
        for number in 0..4_000_usize {
            transmit_predictor.begin(Duration::ZERO, pause(MICROSECOND * 300));
            let position = number % 8;
            let prediction = transmit_predictor.after(NtpDuration::ZERO, 8, position);
            let left = 8e-6 + float(position) * 3e-6 + 5e-6;
            let error = left - prediction.until_sent.to_seconds();
            transmit_predictor.correct(
                prediction.place,
                SampleKind::Single,
                NtpDuration::from_seconds(error),
            );
        }
        for (idle, wanted) in [(300, 22e-6), (30, 17e-6), (1, 17e-6)] {
            transmit_predictor.begin(Duration::ZERO, pause(MICROSECOND * idle));
            let found = seconds(&transmit_predictor, 8, 3);
            assert!((found - wanted).abs() < 2e-7, "{idle}: {found}");
        }
    }

    /// A wrong time of the kernel, or a place that there is not, does no harm.
    #[test]
    fn corrections_are_bounded() {
        let mut transmit_predictor = learned();
        let second = SampleKind::Second;
        (0..100_000).for_each(|_| transmit_predictor.correct(1, second, NtpDuration::from_seconds(-60.0)));
        transmit_predictor.correct(ALL_PLACES, second, NtpDuration::from_seconds(1.0));
        assert!((transmit_predictor.later(1) + LARGEST_CORRECTION).abs() < 1e-9);
        (0..2_000).for_each(|_| {
            let error = 1e-6 - transmit_predictor.later(1);
            transmit_predictor.correct(1, second, NtpDuration::from_seconds(error));
        });
        assert!((transmit_predictor.later(1) - 1e-6).abs() < 3e-7);
    }

    /// A predictor that expects 3 us for a reply.
    fn learned() -> TransmitPredictor {
        let mut transmit_predictor = TransmitPredictor::new(ReplyKind::Plain);
        (0..200).for_each(|_| transmit_predictor.learn(32, 32 * MICROSECOND, 30, 30 * 3 * MICROSECOND));
        transmit_predictor
    }

    #[test]
    fn it_expects_what_was() {
        for (received, position, expected) in [(1, 0, 1e-6), (32, 0, 32e-6), (32, 1, 35e-6), (32, 29, 119e-6)]
        {
            let found = seconds(&learned(), received, position);
            assert!((found - expected).abs() < 1e-8, "{received} {position}: {found}");
        }
    }

    /// With replies of 228 bytes that take 400 ns each, it is 1.6 us until four of them are sealed.
    #[test]
    fn it_expects_the_time_to_seal_by_the_length() {
        let mut transmit_predictor = learned();
        (0..200).for_each(|_| {
            transmit_predictor.learn_sealing(2 * 228, Duration::from_nanos(800), 2, 2 * 3 * MICROSECOND);
        });
        for (bytes, expected) in [(0, 0.0), (228, 4e-7), (4 * 228, 1.6e-6)] {
            let found = transmit_predictor.sealed(bytes).to_seconds();
            assert!((found - expected).abs() < 1e-9, "{bytes}: {found}");
        }
        // No reply was sealed: a NAK tells nothing.
        transmit_predictor.learn_sealing(0, Duration::from_secs(1), 1, 3 * MICROSECOND);
        assert!((transmit_predictor.sealed(228).to_seconds() - 4e-7).abs() < 1e-9);
        assert!((seconds(&transmit_predictor, 0, 1) - 3e-6).abs() < 1e-8);
    }

    #[test]
    fn a_pause_is_no_new_pace() {
        let mut transmit_predictor = learned();
        let before = seconds(&transmit_predictor, 32, 31);
        transmit_predictor.learn(32, Duration::from_millis(20), 32, Duration::from_secs(3));
        let after = seconds(&transmit_predictor, 32, 31);
        assert!(after > before && after < before * 1.2, "{before} {after}");
    }

    #[test]
    fn nothing_sent_teaches_nothing_and_from_no_time_at_all_it_recovers() {
        let mut transmit_predictor = learned();
        let before = seconds(&transmit_predictor, 0, 9);
        transmit_predictor.learn(32, MICROSECOND, 0, Duration::from_secs(1));
        assert!((seconds(&transmit_predictor, 0, 9) - before).abs() < 1e-12);
        (0..10_000).for_each(|_| transmit_predictor.learn(1, Duration::ZERO, 32, Duration::ZERO));
        assert!((0.0..1e-7).contains(&seconds(&transmit_predictor, 32, 31)));
        (0..200).for_each(|_| transmit_predictor.learn(1, Duration::ZERO, 32, 32 * MICROSECOND));
        assert!((seconds(&transmit_predictor, 0, 1) - 1e-6).abs() < 1e-8);
    }
}
