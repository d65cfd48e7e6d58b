//! Impure. The handles of the pollers: a task for each upstream, and its settings.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::{mpsc, watch};

use crate::config::Config;
use crate::host::names::Names;
use crate::time::{NtpDuration, Timescale};
use crate::upstream::association::PollerSettings;
use crate::upstream::clock_policy::ClockPolicy;
use crate::upstream::filter::View;
use crate::upstream::nts::key_state::KeyRules;
use crate::upstream::poller::{Poller, PollerReport};
use crate::upstream::pool_resolver::{self, PoolAnswer};
use crate::upstream::registry::{Entry, Registry, UpstreamId};
use crate::upstream::system_process::Decision;
use crate::upstream::{Pooling, Upstream};

/// Difference to which pollers know the time that is vouched for: they check certificates with it.
const VOUCHED_TO: NtpDuration = NtpDuration::from_units(60 << 32);

/// All pollers.
pub(super) struct Pollers {
    names: Names,
    scale: Timescale,
    precision: i8,
    reports: mpsc::Sender<PollerReport>,
    answers: mpsc::Sender<PoolAnswer>,
    reloads: u64,
    refreshes: u64,
    policy: ClockPolicy,
    listeners: Arc<[SocketAddr]>,
    key_rules: KeyRules,
    /// Offset of the time that upstreams agreed on from the local timescale.
    vouched: Option<NtpDuration>,
    /// The sender of each poller's settings; the poller ends when it is dropped.
    running: BTreeMap<UpstreamId, watch::Sender<PollerSettings>>,
}

impl Pollers {
    /// Makes the handles; nothing is polled yet. The results of look-ups are sent to `answers`.
    pub(super) fn new(
        names: Names,
        (scale, precision): (Timescale, i8),
        (reports, answers): (mpsc::Sender<PollerReport>, mpsc::Sender<PoolAnswer>),
        config: &Config,
    ) -> Self {
        Self {
            names,
            scale,
            precision,
            reports,
            answers,
            reloads: 0,
            refreshes: 0,
            policy: config.clock,
            listeners: config.listeners.iter().map(|one| one.address).collect(),
            key_rules: config.nts_client.rules(),
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
        self.policy = config.clock;
        self.listeners = config.listeners.iter().map(|one| one.address).collect();
        self.key_rules = config.nts_client.rules();
        self.running.retain(|id, _| upstreams.contains(*id));
        for upstream in polled(upstreams) {
            let settings = self.settings(upstream, view, resample_requests);
            if let Some(running) = self.running.get(&upstream.id) {
                running.send_replace(settings);
            } else {
                self.start(upstream.id, settings);
            }
        }
    }

    /// Starts and ends pollers as members of pools come and go; the others continue, perhaps with another role.
    pub(super) fn follow_members(&mut self, upstreams: &Registry, view: View, resample_requests: u64) {
        self.running.retain(|id, _| upstreams.contains(*id));
        for upstream in polled(upstreams) {
            if let Some(running) = self.running.get(&upstream.id) {
                running.send_if_modified(|settings| {
                    let is_other = settings.upstream != upstream.settings;
                    settings.upstream.clone_from(&upstream.settings);
                    is_other
                });
            } else {
                self.start(upstream.id, self.settings(upstream, view, resample_requests));
            }
        }
    }

    fn settings(&self, upstream: &Entry, view: View, resample_requests: u64) -> PollerSettings {
        PollerSettings {
            upstream: upstream.settings.clone(),
            policy: self.policy,
            view,
            listeners: Arc::clone(&self.listeners),
            reloads: self.reloads,
            refreshes: self.refreshes,
            key_rules: self.key_rules,
            vouched: self.vouched,
            cast_out: None,
            resample_requests,
        }
    }

    /// Resolves the name of a pool, in a task of its own.
    pub(super) fn look_up(&self, pool: Upstream) {
        let (names, answers) = (self.names.clone(), self.answers.clone());
        tokio::spawn(async move {
            let answer = pool_resolver::resolve(pool, names).await;
            // At the end of the process nothing waits for it.
            let _sent = answers.send(answer).await;
        });
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

/// Returns the upstreams that are polled: a pool is, by its members.
fn polled(upstreams: &Registry) -> impl Iterator<Item = &Entry> {
    let is_pool = |one: &&Entry| matches!(one.settings.pooling, Pooling::Pool { .. });
    upstreams.iter().filter(move |one| !is_pool(one))
}
