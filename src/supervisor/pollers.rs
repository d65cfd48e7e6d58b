//! Impure. The pollers' handles: a task for each upstream, and the orders that it is given.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::{mpsc, watch};

use crate::config::Config;
use crate::host::names::Names;
use crate::time::Timescale;
use crate::upstream::Upstream;
use crate::upstream::association::Orders;
use crate::upstream::filter::View;
use crate::upstream::identity;
use crate::upstream::poller::{Poller, Report};

/// All pollers, in the order of the configuration.
pub(super) struct Pollers {
    names: Names,
    scale: Timescale,
    precision: i8,
    reports: mpsc::Sender<Report>,
    /// How many were started so far, which is the next one's id.
    started: u64,
    reloads: u64,
    running: Vec<Running>,
}

/// A task and how it is given orders; it ends when this is dropped.
struct Running {
    id: u64,
    orders: watch::Sender<Orders>,
}

impl Pollers {
    /// Nobody is asked yet.
    pub(super) fn new(names: Names, scale: Timescale, precision: i8, reports: mpsc::Sender<Report>) -> Self {
        Self {
            names,
            scale,
            precision,
            reports,
            started: 0,
            reloads: 0,
            running: Vec::new(),
        }
    }

    /// From now on those of `config` are asked. Who was asked before goes on, and may be asked again if he refused us.
    /// Returns for each which one it was before, if it was there.
    pub(super) fn reconfigure(&mut self, config: &Config, view: View, wakes: u64) -> Vec<Option<usize>> {
        self.reloads += 1;
        let upstreams = &config.upstreams;
        let listeners: Arc<[SocketAddr]> = config.listeners.iter().map(|one| one.address).collect();
        let before: Vec<_> = self
            .running
            .iter()
            .map(|one| one.orders.borrow().upstream.id())
            .collect();
        let wanted: Vec<_> = upstreams.iter().map(Upstream::id).collect();
        let kept = identity::pair(&before, &wanted);
        let mut before: Vec<Option<Running>> = self.running.drain(..).map(Some).collect();
        for (upstream, place) in upstreams.iter().zip(&kept) {
            let orders = Orders {
                upstream: upstream.clone(),
                policy: config.clock,
                view,
                listeners: Arc::clone(&listeners),
                reloads: self.reloads,
                wakes,
            };
            let running = match place.and_then(|place| before.get_mut(place)?.take()) {
                Some(running) => {
                    running.orders.send_replace(orders);
                    running
                }
                None => self.start(orders),
            };
            self.running.push(running);
        }
        kept
    }

    fn start(&mut self, orders: Orders) -> Running {
        let id = self.started;
        self.started += 1;
        let (orders, receiver) = watch::channel(orders);
        let poller = Poller::new(id, receiver, self.names.clone(), self.scale, self.precision);
        tokio::spawn(poller.run(self.reports.clone()));
        Running { id, orders }
    }

    /// Tells all of the last leap second, and whether new samples are wanted at once.
    pub(super) fn tell(&self, view: View, wakes: u64) {
        for running in &self.running {
            running.orders.send_if_modified(|orders| {
                let news = (orders.view, orders.wakes) != (view, wakes);
                (orders.view, orders.wakes) = (view, wakes);
                news
            });
        }
    }

    /// Where the poller with this `id` is in the configuration, if it still is.
    pub(super) fn place(&self, id: u64) -> Option<usize> {
        self.running.iter().position(|running| running.id == id)
    }
}
