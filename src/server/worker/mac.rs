//! Impure. The packets of a batch that have a MAC: answered after the plain ones, one by one.

use std::sync::Arc;
use std::time::Duration;

use super::{BatchContext, WorkerLoop};
use crate::host::clock;
use crate::host::sys::Batch;
use crate::server::interleaved::transmit_mark;
use crate::server::policy::Ruling;
use crate::server::policy::limit::RequestClass;
use crate::server::respond_mac::check;
use crate::server::{ReplyBuffer, Verdict};
use crate::time::NtpDuration;

/// The longest time that a MAC is expected to take: a check that took longer was interrupted.
const LONGEST_MAC_TIME: Duration = Duration::from_micros(10);

impl WorkerLoop {
    /// Answers the packets with a MAC.
    pub(super) fn answer_with_mac(&mut self, context: &BatchContext, batch: &mut Batch) {
        // Replies to other packets of the batch may have ended it.
        let pause = self.transmit_predictors.plain.pause();
        self.transmit_predictors.mac.begin(context.now.raw, pause);
        for index in std::mem::take(&mut self.with_mac) {
            if self.answer_mac(context, batch, index.into()) {
                self.send(batch);
                self.transmit_predictors.mac.end_pause();
            }
        }
        self.busy_until = clock::raw();
    }

    /// Decides about a packet with a MAC, and returns whether it has a reply.
    fn answer_mac(&mut self, context: &BatchContext, batch: &mut Batch, index: usize) -> bool {
        let Some(datagram) = batch.datagram(index) else {
            return false;
        };
        let (counters, (rules, _, saved)) = (&self.counters, self.policy.parts());
        // Another owner for this packet, so that the rules can change beside the keys; never the last one.
        let policy = Arc::clone(rules.policy());
        let Some(keys) = &policy.keys else {
            return false;
        };
        let refusal = match context.mac_refusal {
            Some(refused) => Some(refused),
            None if context.is_late(&datagram) => Some(Verdict::RefusedLate),
            None => rules.drops(datagram.source).then_some(Verdict::RefusedDenied),
        };
        let request = context.request(&datagram, counters);
        let begun = clock::raw();
        let mut genuine = match check(keys, &request, refusal) {
            Ok(genuine) => genuine,
            Err(verdict) => {
                counters.count(request.payload, verdict);
                return false;
            }
        };
        let checked = clock::raw();
        let ruling = rules.rule(
            datagram.source,
            RequestClass::Authenticated,
            context.now.raw,
            |annotation| counters.annotate(annotation),
        );
        let candidate = genuine
            .candidate()
            .filter(|_| context.interleaves && ruling == Ruling::Answer);
        let interleaved = candidate.zip(saved).map(|(candidate, saved)| {
            let source = datagram.source;
            let outcome = context.interleave(saved, candidate, source, request.received_at, true);
            genuine.interleave(outcome.transmitted);
            outcome
        });
        // The MAC of the reply takes as long as that of the request took.
        let mac_time = checked.saturating_sub(begun).min(LONGEST_MAC_TIME);
        let until_sending = NtpDuration::between(context.now.raw, clock::raw() + mac_time);
        let prediction = self.transmit_predictors.mac.alone(until_sending);
        let transmit_at = transmit_mark(
            context.announced(context.served + prediction.until_sent),
            request.received_at,
        );
        let mut reply = ReplyBuffer::new(datagram.reply);
        let verdict = genuine.respond(ruling, transmit_at, &context.variables, &mut reply);
        let length = reply.length();
        counters.count(request.payload, verdict);
        if verdict.is_answered() {
            counters.count_residence(transmit_at - request.received_at);
        }
        if verdict.has_reply() {
            counters.count_authenticated(length);
            batch.reply(index, length);
            if let Some(outcome) = &interleaved
                && outcome.transmitted.is_some()
            {
                counters.count_interleaved();
            }
            if context.interleaves {
                let read_at = context.now.realtime;
                let sample = self.transmit_predictors.mac.sample(prediction, read_at);
                let expected = interleaved.map(|outcome| outcome.expected);
                self.interleaving.stamp_if_due(batch, expected, read_at, sample);
            }
        }
        verdict.has_reply()
    }
}
