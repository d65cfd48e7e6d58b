//! Pure. The moment at which a reply will be sent, predicted from the times of the last batches.
//!
//! A stamp a packet would cost a system call a packet, and one stamp for a whole batch is early by all that it takes to
//! send it (*measured*: 42 to 108 us with 32 replies). The time of a reply hardly changes from one batch to the next.

use std::time::Duration;

use crate::time::NtpDuration;

/// The weight of a new time is one part of this many.
const MEMORY: f64 = 8.0;
/// The largest factor by which a batch changes the expectation: the thread may have stood still in it.
const SURPRISE: f64 = 2.0;
/// The least expectation, in seconds: from zero no factor leads anywhere.
const LEAST: f64 = 1e-11;

/// The expected times of packets, from those of earlier ones, in seconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct TransmitPredictor {
    /// The time to decide about a packet.
    deciding: f64,
    /// The time to send a reply.
    sending: f64,
    /// The time to seal a byte of a reply with NTS: the longer the reply, the more cookies are in it.
    sealing: f64,
}

impl Default for TransmitPredictor {
    /// The times that a small machine needs, about.
    fn default() -> Self {
        Self {
            deciding: 100e-9,
            sending: 3e-6,
            sealing: 3e-9,
        }
    }
}

impl TransmitPredictor {
    /// Returns the time from the reading of the clock until reply number `position` (from 0) begins to be sent.
    ///
    /// Before it, `received` packets of the batch have to be decided about. It is the moment in which a server that
    /// sends one by one reads its clock.
    pub(super) fn after(&self, received: usize, position: usize) -> NtpDuration {
        NtpDuration::from_seconds(float(received) * self.deciding + float(position) * self.sending)
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

    const MICROSECOND: Duration = Duration::from_micros(1);

    fn seconds(transmit_predictor: &TransmitPredictor, received: usize, position: usize) -> f64 {
        transmit_predictor.after(received, position).to_seconds()
    }

    /// A predictor that expects 3 us for a reply.
    fn learned() -> TransmitPredictor {
        let mut transmit_predictor = TransmitPredictor::default();
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
