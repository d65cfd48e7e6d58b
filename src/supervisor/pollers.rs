//! Impure. The handles of the pollers: a task for each upstream, and its settings.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::{mpsc, watch};

use crate::config::Config;
use crate::host::names::Names;
use crate::time::{NtpDuration, Timescale};
use crate::upstream::association::PollerSettings;
use crate::upstream::filter::View;
use crate::upstream::poller::{Poller, PollerReport};
use crate::upstream::registry::{Registry, UpstreamId};
use crate::upstream::system_process::Decision;

/// Difference to which pollers know the time that is vouched for: they check certificates with it.
const VOUCHED_TO: NtpDuration = NtpDuration::from_units(60 << 32);

/// All pollers.
pub(super) struct Pollers {
    names: Names,
    scale: Timescale,
    precision: i8,
    reports: mpsc::Sender<PollerReport>,
    reloads: u64,
    refreshes: u64,
    /// Offset of the time that upstreams agreed on from the local timescale.
    vouched: Option<NtpDuration>,
    /// The sender of each poller's settings; the poller ends when it is dropped.
    running: BTreeMap<UpstreamId, watch::Sender<PollerSettings>>,
}

impl Pollers {
    /// Makes the handles; nothing is polled yet.
    pub(super) fn new(
        names: Names,
        scale: Timescale,
        precision: i8,
        reports: mpsc::Sender<PollerReport>,
    ) -> Self {
        Self {
            names,
            scale,
            precision,
            reports,
            reloads: 0,
            refreshes: 0,
            vouched: None,
            running: BTreeMap::new(),
        }
    }

    /// Starts and ends pollers so that exactly `upstreams` are polled, as `config` says.
    ///
    /// A poller that stays continues, and polls again even if the upstream had refused with a kiss.
    pub(super) fn follow(
        &mut self,
        upstreams: &Registry,
        config: &Config,
        view: View,
        resample_requests: u64,
    ) {
        self.reloads += 1;
        let listeners: Arc<[SocketAddr]> = config.listeners.iter().map(|one| one.address).collect();
        self.running.retain(|id, _| upstreams.contains(*id));
        for upstream in upstreams.iter() {
            let settings = PollerSettings {
                upstream: upstream.settings.clone(),
                policy: config.clock,
                view,
                listeners: Arc::clone(&listeners),
                reloads: self.reloads,
                refreshes: self.refreshes,
                key_rules: config.nts_client.rules(),
                vouched: self.vouched,
                cast_out: None,
                resample_requests,
            };
            if let Some(running) = self.running.get(&upstream.id) {
                running.send_replace(settings);
            } else {
                self.start(upstream.id, settings);
            }
        }
    }

    fn start(&mut self, id: UpstreamId, settings: PollerSettings) {
        let (settings, receiver) = watch::channel(settings);
        let poller = Poller::new(id, receiver, self.names.clone(), self.scale, self.precision);
        tokio::spawn(poller.run(self.reports.clone()));
        self.running.insert(id, settings);
    }

    /// Has all names resolved again and all upstreams polled at once.
    pub(super) fn refresh(&mut self) {
        self.refreshes += 1;
        for settings in self.running.values() {
            settings.send_modify(|settings| settings.refreshes = self.refreshes);
        }
    }

    /// Sends a decision to all pollers.
    ///
    /// It says how old samples count, whether new ones are needed immediately, and which upstreams are cast out;
    /// `vouched` is the offset of the time that upstreams agree on from the local timescale.
    pub(super) fn update(&mut self, decision: &Decision, vouched: Option<NtpDuration>) {
        let near = |before: NtpDuration, now: NtpDuration| (now - before).abs() <= VOUCHED_TO;
        let is_near = self
            .vouched
            .zip(vouched)
            .is_some_and(|(before, now)| near(before, now));
        if !is_near {
            self.vouched = vouched;
        }
        for (id, settings) in &self.running {
            settings.send_if_modified(|settings| {
                let cast_out = decision.cast_out.get(id).copied();
                let wanted = (
                    decision.view,
                    decision.resample_requests,
                    self.vouched,
                    cast_out.or(settings.cast_out),
                );
                let news = (
                    settings.view,
                    settings.resample_requests,
                    settings.vouched,
                    settings.cast_out,
                ) != wanted;
                (
                    settings.view,
                    settings.resample_requests,
                    settings.vouched,
                    settings.cast_out,
                ) = wanted;
                news
            });
        }
    }
}
