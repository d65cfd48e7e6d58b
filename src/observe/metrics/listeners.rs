//! Pure. The metrics of the listeners, and of what became of their packets.

use std::fmt;

use prometheus_client::encoding::NoLabelSet;
use prometheus_client::metrics::MetricType;

use super::{Labels, Page, place, with};
use crate::observe::snapshot::{DrainStatus, ListenerStatus, WorkerStatus};
use crate::server::policy::Annotation;
use crate::server::{Counts, Verdict};

impl Page<'_> {
    pub(super) fn listeners(&mut self, listeners: &[ListenerStatus]) -> fmt::Result {
        let workers = |one: &ListenerStatus| (place(one), u64::try_from(one.workers.len()).unwrap_or(0));
        self.gauges(
            "workers",
            "Number of workers of the listener",
            listeners.iter().map(workers),
        )?;
        let serving = |one: &ListenerStatus| (place(one), u64::from(one.serving));
        self.gauges(
            "listener_serving",
            "1 if the listener answers requests; 0 while its address does not exist",
            listeners.iter().map(serving),
        )?;
        let is_drained = |one: &ListenerStatus| one.drain.as_ref().is_some_and(DrainStatus::is_in_effect);
        self.gauges(
            "listener_drained",
            "1 if the listener is drained: it answers that there is no time",
            listeners
                .iter()
                .map(|one| (place(one), u64::from(is_drained(one)))),
        )?;
        let by_worker = listeners.iter().flat_map(|one| {
            let received = |(number, worker): (usize, &WorkerStatus)| {
                let worker_label = ("worker", number.to_string());
                (
                    place(one).into_iter().chain([worker_label]).collect(),
                    worker.received,
                )
            };
            one.workers.iter().enumerate().map(received)
        });
        self.counters(
            "worker_packets_total",
            "Packets received by the worker since it started",
            by_worker,
        )?;
        let counts = |of: fn(&ListenerStatus) -> u64| listeners.iter().map(move |one| (place(one), of(one)));
        self.counters(
            "queue_drops_total",
            "Packets dropped by the kernel because the queue of a worker was full",
            counts(|one| one.traffic.queue_dropped),
        )?;
        self.counters(
            "send_failures_total",
            "Replies that the kernel refused to send",
            counts(|one| one.traffic.counts.send_failed),
        )?;
        self.counters(
            "send_buffer_full_total",
            "Replies dropped because the send buffer was full of replies to absent addresses",
            counts(|one| one.traffic.counts.send_buffer_full),
        )?;
        self.counters(
            "receive_failures_total",
            "Errors when receiving packets",
            counts(|one| one.traffic.counts.receive_failed),
        )?;
        self.counters(
            "unusable_stamps_total",
            "Packets whose kernel receive timestamp was missing, or not within the last second",
            counts(|one| one.traffic.counts.stamp_unusable),
        )?;
        self.counters(
            "interleaved_responses_total",
            "Responses in interleaved mode, which say when the client's previous response left",
            counts(|one| one.traffic.counts.interleaved),
        )
    }

    pub(super) fn traffic(&mut self, listeners: &[ListenerStatus]) -> fmt::Result {
        let verdicts = |counts: &Counts| {
            Verdict::all()
                .map(|verdict| (verdict.name().to_owned(), counts.of(verdict)))
                .collect::<Vec<_>>()
        };
        self.counters(
            "packets_total",
            "Packets received, by verdict",
            labeled(listeners, "verdict", verdicts),
        )?;
        let remarks = |counts: &Counts| {
            Annotation::all()
                .map(|annotation| (annotation.name().to_owned(), counts.annotated(annotation)))
                .collect::<Vec<_>>()
        };
        self.counters(
            "remarks_total",
            "Answered requests that were over a limit, or that a rule in dry-run mode would have refused",
            labeled(listeners, "remark", remarks),
        )?;
        self.nts_packets(listeners)?;
        self.counters(
            "packets_by_version_total",
            "Packets received, by protocol version",
            labeled(listeners, "version", |counts| numbered(counts.versions())),
        )?;
        self.counters(
            "packets_by_mode_total",
            "Packets received, by mode",
            labeled(listeners, "mode", |counts| numbered(counts.modes())),
        )?;
        let help = "Time from the receive to the transmit timestamp of answered requests";
        let mut family =
            self.0
                .encode_descriptor("response_time_seconds", help, None, MetricType::Histogram)?;
        for one in listeners {
            let residence = &one.traffic.counts.residence;
            let buckets: Vec<(f64, u64)> = residence.buckets().collect();
            let labels = place(one);
            let mut metric = family.encode_family(&labels)?;
            metric.encode_histogram::<NoLabelSet>(residence.seconds(), residence.count(), &buckets, None)?;
        }
        Ok(())
    }
}

/// The counts of all listeners by one more label.
pub(super) fn labeled<I: IntoIterator<Item = (String, u64)>>(
    listeners: &[ListenerStatus],
    name: &'static str,
    counts: impl Fn(&Counts) -> I,
) -> impl Iterator<Item = (Labels, u64)> {
    listeners.iter().flat_map(move |one| {
        let counted = counts(&one.traffic.counts).into_iter();
        counted.map(move |(value, count)| (with(place(one), (name, value)), count))
    })
}

fn numbered(counts: [u64; 8]) -> impl Iterator<Item = (String, u64)> {
    (0..8).map(|number: u8| number.to_string()).zip(counts)
}
