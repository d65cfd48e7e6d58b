//! Impure. The packets of a batch that have fields of NTS: answered after the others, several at a time.

use std::time::Duration;

use arrayvec::ArrayVec;

use super::interleaved::Interleaving;
use super::{BatchContext, WorkerLoop};
use crate::host::clock;
use crate::host::sys::{Batch, Datagram};
use crate::nts::aead::BATCH;
use crate::server::policy::exchange::PolicyRules;
use crate::server::policy::limit::RequestClass;
use crate::server::respond_nts::{NtsBatch, NtsOutcomes, NtsPacket};
use crate::server::{Counters, Verdict};
use crate::time::NtpDuration;

/// Datagrams that are answered together, by their places in the batch.
type Group = ArrayVec<usize, BATCH>;

impl WorkerLoop {
    /// Answers the packets that were deferred, and returns when the last reply was sent, since the batch was there.
    pub(super) fn answer_deferred(&mut self, context: &BatchContext, batch: &mut Batch) -> NtpDuration {
        let mut sent = context.now.raw;
        for first in (0..self.deferred.len()).step_by(BATCH) {
            let rest = self.deferred.get(first..).unwrap_or_default();
            let group: Group = rest.iter().take(BATCH).map(|index| usize::from(*index)).collect();
            sent = self.answer_group(context, batch, &group);
        }
        self.deferred.clear();
        NtpDuration::between(context.now.raw, sent)
    }

    /// Answers a few packets, and returns when the replies were sent, by the raw counter.
    fn answer_group(&mut self, context: &BatchContext, batch: &mut Batch, group: &Group) -> Duration {
        let (now, counters) = (context.now, &self.counters);
        let (rules, Some(keyring), saved) = self.policy.parts() else {
            return now.raw;
        };
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
        let until_sealed = NtpDuration::between(now.raw, begun) + self.transmit_predictor.sealed(bytes);
        let outcomes = several.seal(keyring, &mut self.nonces, &context.variables, |number| {
            context.announced(context.served + until_sealed + self.transmit_predictor.sent(number))
        });
        let replies = queue(counters, batch, group, &outcomes, &mut self.interleaving);
        let sealed = clock::raw();
        self.send(batch);
        let sent = clock::raw();
        let took = |from: Duration, to: Duration| to.saturating_sub(from);
        self.transmit_predictor
            .learn_sealing(bytes, took(begun, sealed), replies, took(sealed, sent));
        sent
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

/// Counts what became of a group, and queues the replies: as many as it returns.
fn queue(
    counters: &Counters,
    batch: &mut Batch,
    group: &Group,
    outcomes: &NtsOutcomes,
    interleaving: &mut Interleaving,
) -> usize {
    let mut replies = 0;
    for (&index, outcome) in group.iter().zip(outcomes) {
        if let Some(datagram) = batch.datagram(index) {
            counters.count(datagram.payload, outcome.verdict);
        }
        outcome
            .cookie_age
            .into_iter()
            .for_each(|age| counters.nts.count_cookie(age));
        outcome
            .nak
            .into_iter()
            .for_each(|reason| counters.nts.count_nak(reason));
        if outcome.verdict.is_answered() {
            counters.count_residence(outcome.residence);
        }
        if outcome.length > 0 {
            counters.count_authenticated(outcome.length);
            batch.reply(index, outcome.length);
            if let Some(expected) = outcome.interleaved {
                if expected.entry.is_some_and(|entry| entry.is_interleaved) {
                    counters.count_interleaved();
                }
                interleaving.stamp(batch, expected);
            }
            replies += 1;
        }
    }
    replies
}
