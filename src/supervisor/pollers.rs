//! Impure. The pollers' handles: a task for each upstream, and the orders that it is given.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::{mpsc, watch};

use crate::config::Config;
use crate::host::names::Names;
use crate::time::Timescale;
use crate::upstream::association::Orders;
use crate::upstream::filter::View;
use crate::upstream::poller::{Poller, Report};
use crate::upstream::registry::{Registry, UpstreamId};

/// All pollers.
pub(super) struct Pollers {
    names: Names,
    scale: Timescale,
    precision: i8,
    reports: mpsc::Sender<Report>,
    reloads: u64,
    /// How each is given orders; it ends when that is dropped.
    running: BTreeMap<UpstreamId, watch::Sender<Orders>>,
}

impl Pollers {
    /// Nobody is asked yet.
    pub(super) fn new(names: Names, scale: Timescale, precision: i8, reports: mpsc::Sender<Report>) -> Self {
        Self {
            names,
            scale,
            precision,
            reports,
            reloads: 0,
            running: BTreeMap::new(),
        }
    }

    /// From now on the `upstreams` are asked, and no others, as `config` says. Each that was asked before goes on, and may be asked
    /// again if it refused us.
    pub(super) fn follow(&mut self, upstreams: &Registry, config: &Config, view: View, wakes: u64) {
        self.reloads += 1;
        let listeners: Arc<[SocketAddr]> = config.listeners.iter().map(|one| one.address).collect();
        self.running.retain(|id, _| upstreams.contains(*id));
        for upstream in upstreams.iter() {
            let orders = Orders {
                upstream: upstream.settings.clone(),
                policy: config.clock,
                view,
                listeners: Arc::clone(&listeners),
                reloads: self.reloads,
                wakes,
            };
            if let Some(running) = self.running.get(&upstream.id) {
                running.send_replace(orders);
            } else {
                self.start(upstream.id, orders);
            }
        }
    }

    fn start(&mut self, id: UpstreamId, orders: Orders) {
        let (orders, receiver) = watch::channel(orders);
        let poller = Poller::new(id, receiver, self.names.clone(), self.scale, self.precision);
        tokio::spawn(poller.run(self.reports.clone()));
        self.running.insert(id, orders);
    }

    /// Tells all of the last leap second, and whether new samples are wanted at once.
    pub(super) fn tell(&self, view: View, wakes: u64) {
        for orders in self.running.values() {
            orders.send_if_modified(|orders| {
                let news = (orders.view, orders.wakes) != (view, wakes);
                (orders.view, orders.wakes) = (view, wakes);
                news
            });
        }
    }
}
