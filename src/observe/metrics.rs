//! Pure. The snapshot for Prometheus, in its text format 0.0.4.
//!
//! The library writes OpenMetrics, where a counter's family is called without `_total`; Prometheus's own text
//! format, and its checker, want the name with it. So counters are written under their full name, as bare
//! values.

mod clients;
mod commands;
mod fast_path;
mod listeners;
mod nts;
mod pools;

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode_registry;
use prometheus_client::encoding::{DescriptorEncoder, EncodeGaugeValue, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use super::history_status::HistoryStatus;
use super::leap_status::LeapStatus;
use super::pool::PoolScore;
use super::snapshot::{ListenerStatus, Snapshot};
use super::upstream_status::{UpstreamMeasurement, UpstreamNts, UpstreamStatus};
use crate::upstream::candidate::SelectionStatus;
use crate::upstream::clock_policy::ClockSource;
use crate::upstream::nts::ke_fault::KeFault;
use crate::upstream::packet::Reject;
use crate::upstream::system_process::State;

/// The content type of the page, for HTTP.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The labels of one value.
type Labels = Vec<(&'static str, String)>;

/// The whole page.
pub fn page(snapshot: Arc<Snapshot>) -> String {
    let mut registry = Registry::with_prefix("ntpfront");
    registry.register_collector(Box::new(SnapshotCollector(snapshot)));
    let mut page = String::new();
    // Nothing can go wrong with writing to a text.
    let _written = encode_registry(&mut page, &registry);
    page
}

/// All metrics of a snapshot, for the library.
#[derive(Debug)]
struct SnapshotCollector(Arc<Snapshot>);

impl Collector for SnapshotCollector {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut page = Page(encoder);
        page.process(&self.0)?;
        page.reference(&self.0)?;
        page.pool(self.0.pool)?;
        page.leap_seconds(&self.0.leap_seconds)?;
        page.listeners(&self.0.listeners)?;
        page.traffic(&self.0.listeners)?;
        page.clients(self.0.clients)?;
        page.policies(&self.0.listeners)?;
        page.budget(self.0.budget)?;
        page.history(self.0.history.as_ref())?;
        page.fast_path(self.0.fast_path.as_ref())?;
        page.nts_keys(self.0.nts.as_ref())?;
        page.upstream_changes(&self.0.upstream_changes)?;
        page.upstreams(&self.0.upstreams)?;
        page.pools(&self.0.upstream_pools, &self.0.upstreams)?;
        page.asking(&self.0.upstreams)?;
        page.keys(&self.0.upstreams)
    }
}

struct Page<'a>(DescriptorEncoder<'a>);

impl Page<'_> {
    fn process(&mut self, snapshot: &Snapshot) -> fmt::Result {
        let version = vec![("version", snapshot.version.to_owned())];
        self.gauges("build_info", "Version of the running program", [(version, 1_u64)])?;
        self.gauge("uptime_seconds", "Time since the server started", snapshot.uptime)?;
        let reloads = &snapshot.reloads;
        let results = [("done", reloads.done), ("refused", reloads.refused)];
        self.counters(
            "reloads_total",
            "Configuration reloads, by result",
            results.map(|(result, count)| (vec![("result", result.to_owned())], count)),
        )?;
        let was_refused = u64::from(reloads.fault.is_some());
        self.gauge(
            "last_reload_refused",
            "1 if the last reload was refused and the previous configuration is still in effect",
            was_refused,
        )?;
        let is_changed = u64::from(reloads.file_changed_for.is_some());
        self.gauge(
            "configuration_file_changed",
            "1 if the configuration file is not the one in effect: it was changed and not reloaded",
            is_changed,
        )?;
        self.commands(snapshot.commands)?;
        self.counters(
            "log_lines_dropped_total",
            "Log lines dropped because the log was not read fast enough",
            [(Vec::new(), snapshot.log_lines_dropped)],
        )
    }

    fn reference(&mut self, snapshot: &Snapshot) -> fmt::Result {
        let clock = &snapshot.clock_status;
        let reference = &clock.reference;
        let state = |state: State| {
            (
                vec![("state", state.name().to_owned())],
                u64::from(state == clock.state),
            )
        };
        self.gauges(
            "state",
            "State of the served time: 1 for the current state",
            State::all().map(state),
        )?;
        let source = |source: ClockSource| {
            (
                vec![("source", source.name().to_owned())],
                u64::from(source == clock.clock),
            )
        };
        self.gauges(
            "clock_source",
            "Clock that is served: 1 for the current one",
            [ClockSource::System, ClockSource::Tracked].map(source),
        )?;
        self.gauge("usable", "1 if clients get a time", u64::from(clock.usable))?;
        self.gauge(
            "stratum",
            "Announced stratum; 0 without a time",
            u64::from(reference.stratum),
        )?;
        let leap = "Announced leap indicator: 0 none, 1 insert a second, 2 delete a second, 3 no time";
        self.gauge("leap", leap, u64::from(reference.leap))?;
        let id = vec![("reference_id", reference.reference_id.clone())];
        self.gauges("reference_info", "Announced reference ID", [(id, 1_u64)])?;
        self.gauge("root_delay_seconds", "Announced root delay", reference.root_delay)?;
        let dispersion = "Announced root dispersion, as of now";
        self.gauge("root_dispersion_seconds", dispersion, reference.root_dispersion)?;
        self.option(
            "root_distance_seconds",
            "Maximum error of the served time; absent without a time",
            reference.root_distance,
        )?;
        self.option(
            "reference_age_seconds",
            "Time since the served time was last checked or corrected; absent without a time",
            reference.age,
        )
    }

    fn pool(&mut self, score: PoolScore) -> fmt::Result {
        self.gauge(
            "pool_step",
            "Step of a check by the NTP Pool's monitor if the time were wrong by the whole error bound",
            score.step,
        )?;
        self.gauge(
            "pool_score",
            "Score in the NTP Pool that such checks lead to; servers over 10 are listed",
            score.score,
        )
    }

    fn leap_seconds(&mut self, leap: &LeapStatus) -> fmt::Result {
        let left = leap.list_expires_in;
        self.gauges(
            "leap_list_expiry_seconds",
            "Time until the list of leap seconds expires, negative once it has; absent without a list",
            left.map(|left| (Labels::new(), left)),
        )?;
        self.gauge(
            "leap_disputed",
            "1 if the list of leap seconds and the upstreams disagree about a leap second that is near",
            u64::from(leap.disputed),
        )?;
        self.gauge(
            "smearing_listeners",
            "Number of listeners that smear leap seconds",
            leap.smearing_listeners,
        )
    }

    fn history(&mut self, history: Option<&HistoryStatus>) -> fmt::Result {
        let Some(history) = history else {
            return Ok(());
        };
        let is_written = u64::from(history.fault.is_none());
        self.gauge(
            "history_writing",
            "1 if the record of what was served is written",
            is_written,
        )?;
        self.gauge("history_files", "Number of files of the record", history.files)?;
        self.gauge("history_bytes", "Size of all files of the record", history.bytes)?;
        let lines = [("written", history.written), ("lost", history.lost)];
        self.counters(
            "history_lines_total",
            "Lines of the record, by whether they were written or lost",
            lines.map(|(result, count)| (vec![("result", result.to_owned())], count)),
        )
    }

    fn upstreams(&mut self, upstreams: &[UpstreamStatus]) -> fmt::Result {
        let mut measured = |name, help, of: fn(&UpstreamMeasurement) -> f64| {
            let value = |one: &UpstreamStatus| Some((called(one), of(one.measured.as_ref()?)));
            self.gauges(name, help, upstreams.iter().filter_map(value))
        };
        measured(
            "upstream_offset_seconds",
            "How far the upstream is ahead of the served time",
            |one| one.offset,
        )?;
        measured(
            "upstream_delay_seconds",
            "Shortest round trip to the upstream",
            |one| one.delay,
        )?;
        measured(
            "upstream_jitter_seconds",
            "Deviation of the samples of the upstream",
            |one| one.jitter,
        )?;
        measured(
            "upstream_root_distance_seconds",
            "Maximum error that the upstream announces",
            |one| one.root_distance,
        )?;
        measured(
            "upstream_sample_age_seconds",
            "Time since the newest sample",
            |one| one.age,
        )?;
        measured("upstream_stratum", "Stratum of the upstream", |one| {
            f64::from(one.stratum)
        })?;
        let samples = |one: &UpstreamStatus| one.measured.as_ref().map_or(0, |measured| measured.samples);
        let samples = upstreams
            .iter()
            .map(|one| (called(one), u64::try_from(samples(one)).unwrap_or(0)));
        self.gauges("upstream_samples", "Number of samples in use", samples)
    }

    fn asking(&mut self, upstreams: &[UpstreamStatus]) -> fmt::Result {
        let standings = upstreams.iter().flat_map(|one| {
            SelectionStatus::all().map(|standing| {
                let label = ("standing", standing.name().to_owned());
                (with(called(one), label), u64::from(standing == one.standing))
            })
        });
        self.gauges(
            "upstream_standing",
            "Standing of the upstream: 1 for the current one",
            standings,
        )?;
        let good = upstreams
            .iter()
            .map(|one| (called(one), u64::from(one.standing.is_good())));
        self.gauges(
            "upstream_used",
            "1 if the time of the upstream is part of the served time",
            good,
        )?;
        let reach = upstreams
            .iter()
            .map(|one| (called(one), u64::from(one.reach.count_ones())));
        self.gauges("upstream_reach", "Good answers to the last eight polls", reach)?;
        let polls = upstreams.iter().filter_map(|one| Some((called(one), one.poll?)));
        self.gauges("upstream_poll_seconds", "Interval between polls", polls)?;
        let accepted = upstreams.iter().map(|one| (called(one), one.accepted));
        self.counters("upstream_answers_total", "Good answers", accepted)?;
        let corrected = upstreams.iter().map(|one| (called(one), one.corrected));
        self.counters(
            "upstream_corrected_samples_total",
            "Samples corrected by a later answer in interleaved mode",
            corrected,
        )?;
        let rejected = upstreams.iter().flat_map(|one| {
            let counted = Reject::all().zip(one.rejected);
            counted.map(|(reject, count)| (with(called(one), ("reason", reject.name().to_owned())), count))
        });
        self.counters("upstream_rejected_total", "Rejected answers, by reason", rejected)
    }

    /// The keys of the upstreams with NTS.
    fn keys(&mut self, upstreams: &[UpstreamStatus]) -> fmt::Result {
        let with_nts = || {
            upstreams
                .iter()
                .filter_map(|one| Some((called(one), one.nts.as_ref()?)))
        };
        let cookies = |nts: &UpstreamNts| u64::try_from(nts.cookies).unwrap_or(0);
        self.gauges(
            "upstream_nts_cookies",
            "Cookies left for polls of the upstream with NTS; 0 without keys",
            with_nts().map(|(labels, nts)| (labels, cookies(nts))),
        )?;
        self.gauges(
            "upstream_nts_key_age_seconds",
            "Time since the keys for the upstream were established; absent without keys",
            with_nts().filter_map(|(labels, nts)| Some((labels, nts.key_age?))),
        )?;
        self.gauges(
            "upstream_nts_certificate_not_after_seconds",
            "End of the certificate of the upstream, in seconds since 1970; absent without keys",
            with_nts().filter_map(|(labels, nts)| Some((labels, nts.certificate_not_after?))),
        )?;
        self.counters(
            "upstream_nts_key_establishments_total",
            "Key establishments with the upstream that succeeded",
            with_nts().map(|(labels, nts)| (labels, nts.establishments)),
        )?;
        let failures = with_nts().flat_map(|(labels, nts)| {
            let counted = KeFault::all().zip(nts.failures);
            counted
                .map(move |(fault, count)| (with(labels.clone(), ("reason", fault.name().to_owned())), count))
        });
        self.counters(
            "upstream_nts_failures_total",
            "Failed key establishments with the upstream, and losses of keys, by reason",
            failures,
        )
    }

    fn gauge(&mut self, name: &str, help: &str, value: impl EncodeGaugeValue) -> fmt::Result {
        self.gauges(name, help, [(Labels::new(), value)])
    }

    /// A gauge that is left out where its value is not known.
    fn option(&mut self, name: &str, help: &str, value: Option<f64>) -> fmt::Result {
        self.gauges(name, help, value.map(|value| (Labels::new(), value)))
    }

    fn gauges<V: EncodeGaugeValue>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (Labels, V)>,
    ) -> fmt::Result {
        self.values(name, help, MetricType::Gauge, values)
    }

    /// Counters; `name` is the full one, with `_total`.
    fn counters(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (Labels, u64)>,
    ) -> fmt::Result {
        self.values(name, help, MetricType::Counter, values)
    }

    fn values<V: EncodeGaugeValue>(
        &mut self,
        name: &str,
        help: &str,
        kind: MetricType,
        values: impl IntoIterator<Item = (Labels, V)>,
    ) -> fmt::Result {
        let mut values = values.into_iter().peekable();
        if values.peek().is_none() {
            return Ok(());
        }
        let mut family = self.0.encode_descriptor(name, help, None, kind)?;
        for (labels, value) in values {
            write(&mut family, &labels, &value)?;
        }
        Ok(())
    }
}

fn write(family: &mut MetricEncoder<'_>, labels: &Labels, value: &impl EncodeGaugeValue) -> fmt::Result {
    if labels.is_empty() {
        return family.encode_gauge(value);
    }
    family.encode_family(labels)?.encode_gauge(value)
}

fn place(one: &ListenerStatus) -> Labels {
    vec![
        ("listener", one.address.to_string()),
        ("family", one.family.to_owned()),
    ]
}

fn called(one: &UpstreamStatus) -> Labels {
    vec![("upstream", one.name.clone())]
}

fn with(mut labels: Labels, more: (&'static str, String)) -> Labels {
    labels.push(more);
    labels
}

#[cfg(test)]
mod tests {
    use super::super::snapshot::example;
    use super::*;

    #[test]
    fn the_page_has_it_all() {
        let page = page(Arc::new(example()));
        for line in [
            "# TYPE ntpfront_packets_total counter",
            "ntpfront_packets_total{listener=\"0.0.0.0:123\",family=\"ipv4\",verdict=\"refused-too-short\"} 1",
            "ntpfront_nts_naks_total{listener=\"0.0.0.0:123\",family=\"ipv4\",reason=\"cookie\"} 0",
            "ntpfront_nts_cookies_total{listener=\"0.0.0.0:123\",family=\"ipv4\",period_age=\"older\"} 0",
            "ntpfront_packets_by_version_total{listener=\"0.0.0.0:123\",family=\"ipv4\",version=\"4\"} 1",
            "ntpfront_worker_packets_total{listener=\"0.0.0.0:123\",family=\"ipv4\",worker=\"1\"} 1",
            "ntpfront_listener_serving{listener=\"0.0.0.0:123\",family=\"ipv4\"} 1",
            "ntpfront_listener_serving{listener=\"192.0.2.7:123\",family=\"ipv4\"} 0",
            "ntpfront_queue_drops_total{listener=\"0.0.0.0:123\",family=\"ipv4\"} 7",
            "ntpfront_response_time_seconds_count{listener=\"0.0.0.0:123\",family=\"ipv4\"} 1",
            "ntpfront_state{state=\"synchronized\"} 1",
            "ntpfront_state{state=\"holdover\"} 0",
            "ntpfront_stratum 3",
            "ntpfront_root_distance_seconds 0.00075",
            "ntpfront_upstream_standing{upstream=\"[2001:db8::1]:123\",standing=\"refused\"} 1",
            "ntpfront_upstream_rejected_total{upstream=\"[2001:db8::1]:123\",reason=\"kiss-deny\"} 1",
            "ntpfront_upstream_delay_seconds{upstream=\"time.example:123\"} 0.0012",
            "ntpfront_pool_score 20.0",
            "ntpfront_reloads_total{result=\"refused\"} 1",
            "ntpfront_log_lines_dropped_total 5",
            "ntpfront_history_writing 1",
            "ntpfront_history_lines_total{result=\"written\"} 4000",
            "ntpfront_build_info{version=\"1.2.3\"} 1",
            "ntpfront_nts_period 20786",
            "ntpfront_ke_sessions_total{outcome=\"established\"} 40961",
            "ntpfront_ke_refused_total{why=\"rate\"} 812",
            "ntpfront_ke_listener_serving{listener=\"192.0.2.7:4460\"} 0",
            "ntpfront_ke_seconds_bucket{le=\"0.001\"} 12000",
            "ntpfront_ke_seconds_bucket{le=\"+Inf\"} 40961",
            "ntpfront_ke_seconds_count 40961",
            "ntpfront_certificate_expires_seconds{name=\"time.example\"} 777605",
            "ntpfront_upstream_pool_replaced_total{pool=\"pool.example:123\"} 3",
            "ntpfront_upstream_pool_member{upstream=\"[2001:db8::1]:123\",pool=\"pool.example:123\"} 1",
        ] {
            assert!(page.lines().any(|is| is == line), "{line}\n{page}");
        }
    }

    #[test]
    fn what_is_not_known_is_left_out() {
        let mut snapshot = example();
        snapshot.clock_status.reference.root_distance = None;
        snapshot.upstreams.clear();
        snapshot.upstream_pools.clear();
        snapshot.nts = None;
        let page = page(Arc::new(snapshot));
        assert!(!page.contains("root_distance_seconds"), "{page}");
        assert!(!page.contains("upstream_"), "{page}");
        assert!(!page.contains("_ke_") && !page.contains("_nts_period"), "{page}");
    }

    /// Names can be anything that the configuration takes; labels must stay what they are.
    #[test]
    fn labels_are_escaped() {
        let mut snapshot = example();
        snapshot.upstreams[0].name = "a\"b\\c\nd".to_owned();
        let page = page(Arc::new(snapshot));
        assert!(page.contains("{upstream=\"a\\\"b\\\\c\\nd\"}"), "{page}");
    }
}
