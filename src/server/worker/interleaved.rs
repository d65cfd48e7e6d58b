//! Impure. Interleaved mode in a worker's loop: replies that are to be stamped, and what the kernel tells of them.

use std::net::IpAddr;
use std::os::fd::AsFd;

use super::{BatchContext, WorkerLoop};
use crate::host::clock;
use crate::host::sys::{Batch, TransmitTimestamps};
use crate::server::interleaved::{
    AnnouncedSteps, Expected, ExpectedEntry, ExpectedTimestamps, InterleavedRequest, Pending,
    PredictedTransmit, SavedTimestamps, Timestamps, transmit_mark,
};
use crate::server::{Counters, ReplyBuffer, Request};
use crate::time::NtpTimestamp;
use crate::wire::Header;

/// The most calls in a row for transmit timestamps: a batch has at most 256 replies, and a call takes 32.
const MOST_CALLS: usize = 16;

/// The state of a worker for interleaved mode.
#[derive(Default)]
pub(super) struct Interleaving {
    expected: ExpectedTimestamps,
    timestamps: TransmitTimestamps,
    steps: AnnouncedSteps,
}

/// The reply to a candidate.
pub(super) struct InterleavedReply {
    /// The time when the previous reply left, if this one tells it.
    pub(super) transmitted: Option<NtpTimestamp>,
    /// The facts that are saved of this one, once the kernel tells when it left.
    pub(super) expected: Expected,
}

impl Interleaving {
    /// Returns the epoch of `saved` timestamps, in which the time `announced` was not stepped.
    ///
    /// `epoch` is what it was before that time was read, when the raw counter was `raw`.
    pub(super) fn epoch(
        &mut self,
        saved: &SavedTimestamps,
        epoch: u8,
        announced: NtpTimestamp,
        raw: std::time::Duration,
    ) -> u8 {
        if self.steps.is_stepped(announced, raw) {
            saved.end_epoch();
            return saved.epoch();
        }
        epoch
    }

    /// Whether any timestamp is missing.
    #[cfg(test)]
    pub(super) fn is_waiting(&self) -> bool {
        self.expected.is_waiting()
    }

    /// Takes note that the queued replies were sent: all of them, or not.
    pub(super) fn sent(&mut self, all: bool) {
        if self.expected.has_queued() {
            self.expected.sent(all);
        }
    }

    /// Has the kernel stamp the reply that was queued last, if it is a sample, or if `expected` is there: it is to a candidate.
    ///
    /// It leaves after the time `not_before`.
    #[inline]
    pub(super) fn stamp_if_due(
        &mut self,
        batch: &mut Batch,
        expected: Option<Expected>,
        not_before: NtpTimestamp,
        sample: Option<PredictedTransmit>,
    ) {
        if sample.is_none() && expected.is_none() {
            return;
        }
        let expected = Expected {
            not_before,
            predicted: sample,
            entry: expected.and_then(|expected| expected.entry),
        };
        if self.expected.queue(expected) {
            batch.stamp();
        }
    }
}

impl BatchContext {
    /// Returns the reply to a candidate that came at `received_at`; its entry in `saved` is used up.
    pub(super) fn interleave(
        &self,
        saved: &SavedTimestamps,
        candidate: InterleavedRequest,
        source: IpAddr,
        received_at: NtpTimestamp,
        is_authenticated: bool,
    ) -> InterleavedReply {
        let tag = saved.tag(source, is_authenticated, self.epoch);
        let transmitted = saved.take(candidate.origin, tag, received_at);
        let expected = Expected {
            not_before: self.now.realtime,
            predicted: None,
            entry: Some(ExpectedEntry {
                received: received_at,
                tag,
                is_interleaved: transmitted.is_some(),
            }),
        };
        InterleavedReply {
            transmitted,
            expected,
        }
    }

    /// Makes the plain `reply` to a candidate an interleaved one, if that is possible.
    #[cold]
    #[inline(never)]
    pub(super) fn interleave_plain(
        &self,
        saved: &SavedTimestamps,
        candidate: InterleavedRequest,
        request: &Request<'_>,
        reply: &mut ReplyBuffer<'_>,
        counters: &Counters,
    ) -> Expected {
        let outcome = self.interleave(saved, candidate, request.source, request.received_at, false);
        if let (Some(transmitted), Ok(basic)) = (outcome.transmitted, Header::parse(reply.written())) {
            reply.begin(&candidate.reply(basic, transmitted));
            counters.count_interleaved();
        }
        outcome.expected
    }
}

impl WorkerLoop {
    /// Takes the transmit timestamps that are there, if any is missing, and saves them.
    #[inline]
    pub(super) fn save_timestamps(&mut self, context: &BatchContext) {
        if self.interleaving.expected.is_waiting() {
            self.take_timestamps(context);
        }
    }

    #[cold]
    #[inline(never)]
    fn take_timestamps(&mut self, context: &BatchContext) {
        let Interleaving {
            expected, timestamps, ..
        } = &mut self.interleaving;
        let mut any = false;
        for _ in 0..MOST_CALLS {
            let Ok(has_more) = timestamps.take(self.socket.as_fd()) else {
                break;
            };
            let now = clock::now();
            for one in timestamps.iter() {
                any = true;
                let Pending::Sent(reply) = expected.take(one.number, one.time, now.realtime) else {
                    continue;
                };
                if let Some(predicted) = reply.predicted {
                    self.transmit_predictors
                        .correct(&predicted, one.time - predicted.at);
                }
                if let (Some(entry), Some(saved), Some(sent)) = (
                    reply.entry,
                    self.policy.saved(),
                    context.clock.served_at_stamp(one.time, now),
                ) {
                    let timestamps = Timestamps {
                        received: entry.received,
                        transmitted: transmit_mark(context.announced(sent), entry.received),
                    };
                    saved.save(timestamps, entry.tag, entry.is_interleaved);
                }
            }
            if !has_more {
                break;
            }
        }
        expected.looked(any);
    }
}
