//! Impure. The handles of the pollers: a task for each upstream, and its settings.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::{mpsc, watch};

use crate::config::Config;
use crate::host::names::Names;
use crate::time::Timescale;
use crate::upstream::association::PollerSettings;
use crate::upstream::filter::View;
use crate::upstream::poller::{Poller, PollerReport};
use crate::upstream::registry::{Registry, UpstreamId};

/// All pollers.
pub(super) struct Pollers {
    names: Names,
    scale: Timescale,
    precision: i8,
    reports: mpsc::Sender<PollerReport>,
    reloads: u64,
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

    /// Sends the view to all pollers: how old samples count, and whether new ones are needed immediately.
    pub(super) fn update(&self, view: View, resample_requests: u64) {
        for settings in self.running.values() {
            settings.send_if_modified(|settings| {
                let news = (settings.view, settings.resample_requests) != (view, resample_requests);
                (settings.view, settings.resample_requests) = (view, resample_requests);
                news
            });
        }
    }
}
