//! Impure. The packets of a batch that have fields of NTS: answered after the others, several at a time.

use std::time::Duration;

use arrayvec::ArrayVec;

use super::transmit_predictor::TransmitPredictor;
use super::{BatchContext, WorkerLoop};
use crate::host::clock;
use crate::host::sys::{Batch, Datagram};
use crate::nts::aead::BATCH;
use crate::server::policy::exchange::PolicyRules;
use crate::server::policy::limit::RequestClass;
use crate::server::respond_nts::{NtsBatch, NtsOutcome, NtsPacket};
use crate::server::{Counters, Verdict};
use crate::time::NtpDuration;

/// Datagrams that are answered together, by their places in the batch.
type Group = ArrayVec<usize, BATCH>;

impl WorkerLoop {
    /// Answers the packets that were deferred.
    pub(super) fn answer_deferred(&mut self, context: &BatchContext, batch: &mut Batch) {
        // Replies to other packets of the batch may have ended it.
        let pause = self.transmit_predictors.plain.pause();
        self.transmit_predictors.nts.begin(context.now.raw, pause);
        for first in (0..self.deferred.len()).step_by(BATCH) {
            let rest = self.deferred.get(first..).unwrap_or_default();
            let group: Group = rest.iter().take(BATCH).map(|index| usize::from(*index)).collect();
            self.answer_group(context, batch, &group);
        }
        self.deferred.clear();
    }

    /// Answers a few packets.
    fn answer_group(&mut self, context: &BatchContext, batch: &mut Batch, group: &Group) {
        let (now, counters) = (context.now, &self.counters);
        let (rules, Some(keyring), saved) = self.policy.parts() else {
            return;
        };
        let predictor = &mut self.transmit_predictors.nts;
        let mut packets = ArrayVec::<_, BATCH>::new();
        for (_, datagram) in batch.datagrams(group.iter().copied()) {
            packets.push(packet(context, counters, rules, datagram));
        }
        rules.prefetch(
            packets.iter().map(|packet| packet.request.source),
            RequestClass::Authenticated,
        );
        let mut several = NtsBatch::open(keyring, packets);
        several.rule(|source, class| {
            rules.rule(source, class, now.raw, |annotation| counters.annotate(annotation))
        });
        if let Some(saved) = saved.filter(|_| context.interleaves) {
            several.interleave(|candidate, source, received_at| {
                let outcome = context.interleave(saved, candidate, source, received_at, true);
                (outcome.transmitted, outcome.expected)
            });
        }
        let begun = clock::raw();
        let bytes = several.sealed_len();
        let until_sealed = NtpDuration::between(now.raw, begun) + predictor.sealed(bytes);
        let predicted = |predictor: &TransmitPredictor, number| match group.len() {
            1 => predictor.alone(until_sealed),
            _ => predictor.sent(until_sealed, number),
        };
        let outcomes = several.seal(keyring, &mut self.nonces, &context.variables, |number| {
            context.announced(context.served + predicted(predictor, number).until_sent)
        });
        let mut replies = 0;
        for (&index, outcome) in group.iter().zip(&outcomes) {
            count(counters, batch, index, outcome);
            if outcome.length == 0 {
                continue;
            }
            batch.reply(index, outcome.length);
            if context.interleaves {
                let sample = predictor.sample(predicted(predictor, replies), now.realtime);
                self.interleaving
                    .stamp_if_due(batch, outcome.interleaved, now.realtime, sample);
            }
            replies += 1;
        }
        let sealed = clock::raw();
        self.send(batch);
        self.busy_until = clock::raw();
        let took = |from: Duration, to: Duration| to.saturating_sub(from);
        let predictor = &mut self.transmit_predictors.nts;
        predictor.end_pause();
        predictor.learn_sealing(bytes, took(begun, sealed), replies, took(sealed, self.busy_until));
    }
}

/// Returns a datagram as `respond_nts` takes it.
fn packet<'a>(
    context: &BatchContext,
    counters: &Counters,
    rules: &PolicyRules,
    datagram: Datagram<'a>,
) -> NtsPacket<'a> {
    let refusal = match context.refusal {
        Some(refused) => Some(refused),
        None if context.is_late(&datagram) => Some(Verdict::RefusedLate),
        None => rules.drops(datagram.source).then_some(Verdict::RefusedDenied),
    };
    NtsPacket {
        is_cut: datagram.is_cut,
        refusal,
        request: context.request(&datagram, counters),
        reply: datagram.reply,
    }
}

/// Counts what became of the packet at this place of a batch.
fn count(counters: &Counters, batch: &mut Batch, index: usize, outcome: &NtsOutcome) {
    if let Some(datagram) = batch.datagram(index) {
        counters.count(datagram.payload, outcome.verdict);
    }
    if let Some(age) = outcome.cookie_age {
        counters.nts.count_cookie(age);
    }
    if let Some(reason) = outcome.nak {
        counters.nts.count_nak(reason);
    }
    if outcome.verdict.is_answered() {
        counters.count_residence(outcome.residence);
    }
    if outcome.length > 0 {
        counters.count_authenticated(outcome.length);
        let entry = outcome.interleaved.and_then(|expected| expected.entry);
        if entry.is_some_and(|entry| entry.is_interleaved) {
            counters.count_interleaved();
        }
    }
}
