//! Pure. The metrics of Network Time Security.

use std::fmt;

use prometheus_client::encoding::NoLabelSet;
use prometheus_client::metrics::MetricType;

use super::listeners::labeled;
use super::{Labels, Page};
use crate::observe::nts_status::{KeStatus, NtsStatus};
use crate::observe::snapshot::ListenerStatus;
use crate::server::{CookieAge, Counts, NakReason};

impl Page<'_> {
    pub(super) fn nts_packets(&mut self, listeners: &[ListenerStatus]) -> fmt::Result {
        let naks = |counts: &Counts| {
            NakReason::all()
                .map(|reason| (reason.name().to_owned(), counts.nts.naks(reason)))
                .collect::<Vec<_>>()
        };
        self.counters(
            "nts_naks_total",
            "NAKs sent to requests with NTS, by what was not genuine",
            labeled(listeners, "reason", naks),
        )?;
        let cookies = |counts: &Counts| {
            CookieAge::all()
                .map(|age| (age.name(), counts.nts.cookies(age)))
                .collect::<Vec<_>>()
        };
        self.counters(
            "nts_cookies_total",
            "Genuine cookies of requests, by their age in periods of the keys",
            labeled(listeners, "period_age", cookies),
        )
    }

    pub(super) fn nts_keys(&mut self, nts: Option<&NtsStatus>) -> fmt::Result {
        let Some(nts) = nts else {
            return Ok(());
        };
        self.gauge(
            "nts_period",
            "Number of the period whose key new cookies are sealed with",
            u64::from(nts.period),
        )?;
        self.gauge(
            "nts_period_certain",
            "1 if the period is counted by a known time; cookies of all periods are accepted until then",
            u64::from(nts.period_certain),
        )?;
        match &nts.key_establishment {
            Some(status) => self.key_establishment(status),
            None => Ok(()),
        }
    }

    fn key_establishment(&mut self, status: &KeStatus) -> fmt::Result {
        let by = |name: &'static str| {
            move |(word, count): (&&'static str, &u64)| (vec![(name, (*word).to_owned())], *count)
        };
        self.counters(
            "ke_sessions_total",
            "Sessions of key establishment, by how they ended",
            status.sessions.iter().map(by("outcome")),
        )?;
        self.counters(
            "ke_refused_total",
            "Sessions of key establishment that waited in vain for their handshake, by reason",
            status.refusals.iter().map(by("why")),
        )?;
        let open = u64::try_from(status.open).unwrap_or(u64::MAX);
        self.gauge("ke_open", "Open sessions of key establishment", open)?;
        let serving = status.listeners.iter().map(|one| {
            let labels: Labels = vec![("listener", one.address.to_string())];
            (labels, u64::from(one.serving))
        });
        self.gauges(
            "ke_listener_serving",
            "1 if keys are established at the address; 0 while it does not exist",
            serving,
        )?;
        let help = "Time from a connection for key establishment to its answer";
        let mut family = self
            .0
            .encode_descriptor("ke_seconds", help, None, MetricType::Histogram)?;
        let times = &status.times;
        family.encode_histogram::<NoLabelSet>(times.sum, times.count, &times.buckets(), None)?;
        let expires = status.certificates.iter().map(|one| {
            let name = one.names.first().cloned().unwrap_or_default();
            (vec![("name", name)], one.expires)
        });
        self.gauges(
            "certificate_expires_seconds",
            "Time until the certificate expires; negative after that",
            expires,
        )
    }
}
