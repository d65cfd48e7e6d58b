//! Proves, with real sockets, that a poller does as its settings say while it asks, waits or was told to stop.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ntpfront::host::clock;
use ntpfront::host::names::Names;
use ntpfront::time::{ClockReadings, NtpDuration, Timescale};
use ntpfront::upstream::association::PollerSettings;
use ntpfront::upstream::clock_policy::ClockPolicy;
use ntpfront::upstream::filter::View;
use ntpfront::upstream::interleaved::InterleavedQuestions;
use ntpfront::upstream::poller::{Poller, PollerReport};
use ntpfront::upstream::registry::{Registry, UpstreamId};
use ntpfront::upstream::{Host, Role, Upstream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::common::scripted::{Scripted, honest, kiss, silent};
use crate::common::{SOON, now, wait_until};

/// Longer than a test: log2 seconds.
const NEVER: i8 = 10;

/// A running poller of a scripted upstream.
struct Running {
    /// Its reports must bear it.
    id: UpstreamId,
    runtime: Runtime,
    settings: watch::Sender<PollerSettings>,
    reports: mpsc::Receiver<PollerReport>,
    task: JoinHandle<()>,
}

impl Running {
    /// Asks `upstream` once, and then as good as never.
    fn of(upstream: &Scripted) -> Self {
        let upstream = Upstream {
            host: Host::Address(upstream.address().ip()),
            port: upstream.address().port(),
            iburst: false,
            minpoll: NEVER,
            maxpoll: NEVER,
            role: Role::default(),
            interleaved: InterleavedQuestions::Auto,
            pooling: ntpfront::upstream::Pooling::One,
            key: None,
            nts: None,
        };
        // One of several, so that its identity is not just the first.
        let several = Registry::new(&[upstream.clone(), upstream.clone(), upstream.clone()]);
        let id = several.iter().last().unwrap().id;
        let (settings, receiver) = watch::channel(PollerSettings {
            upstream,
            policy: ClockPolicy::default(),
            view: View::default(),
            listeners: Arc::from([]),
            reloads: 0,
            refreshes: 0,
            key_rules: ntpfront::upstream::nts::key_state::KeyRules {
                certificate_time: ntpfront::upstream::nts::certificate::CertificateTime::AgreeFirst,
                refresh: Duration::from_secs(28 * 86_400),
            },
            vouched: None,
            cast_out: None,
            resample_requests: 0,
        });
        let scale = Timescale::new(ClockReadings {
            realtime: now(),
            raw: clock::raw(),
            boot: Duration::ZERO,
        });
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let poller = Poller::new(id, receiver, Names::from_system(), scale, -20);
        let (sender, reports) = mpsc::channel(1);
        let task = runtime.spawn(poller.run(sender));
        Self {
            id,
            runtime,
            settings,
            reports,
            task,
        }
    }

    fn report(&mut self) -> PollerReport {
        let report = async { timeout(SOON, self.reports.recv()).await };
        let report = self.runtime.block_on(report).expect("a report in time");
        let report = report.expect("the poller is there");
        assert_eq!(report.id, self.id);
        report
    }

    fn is_quiet(&mut self) -> bool {
        let wait = async { timeout(Duration::from_millis(300), self.reports.recv()).await };
        self.runtime.block_on(wait).is_err()
    }

    fn tell(&self, change: impl FnOnce(&mut PollerSettings)) {
        self.settings.send_modify(change);
    }

    fn ends(self) {
        drop(self.settings);
        let ended = async { timeout(SOON, self.task).await };
        self.runtime.block_on(ended).expect("it ends").unwrap();
    }
}

#[test]
fn it_asks_at_once_when_it_is_woken_and_goes_on_as_it_was_told() {
    let upstream = Scripted::start(honest);
    let started = Instant::now();
    let mut poller = Running::of(&upstream);
    assert_eq!(poller.report().peer.accepted, 1);
    poller.tell(|settings| settings.resample_requests += 1);
    assert_eq!(poller.report().peer.accepted, 2);
    // At once, but not within a second of the question before: that is what a daemon on this host must bear.
    assert!(
        started.elapsed() >= Duration::from_secs(1),
        "{:?}",
        started.elapsed()
    );
    // The same settings again are no reason to ask.
    poller.tell(|settings| settings.view = View::default());
    assert!(poller.is_quiet());
    poller.tell(|settings| (settings.upstream.minpoll, settings.upstream.maxpoll) = (0, 0));
    assert_eq!(poller.report().peer.accepted, 3);
    assert_eq!(poller.report().peer.accepted, 4);
    poller.ends();
}

#[test]
fn who_told_it_to_stop_is_asked_again_after_a_reload() {
    let upstream = Scripted::start(kiss(*b"DENY"));
    let mut poller = Running::of(&upstream);
    let report = poller.report();
    assert!(report.peer.stopped);
    assert!(report.polling.interval >= Some(Duration::from_secs(3590)));
    poller.tell(|settings| settings.resample_requests += 1);
    assert!(poller.is_quiet());
    assert_eq!(upstream.asked(), 1);
    upstream.turn_to(honest);
    poller.tell(|settings| settings.reloads += 1);
    let peer = poller.report().peer;
    assert_eq!((peer.stopped, peer.accepted), (false, 1));
    poller.ends();
}

#[test]
fn a_new_policy_counts_for_the_next_answer() {
    let upstream = Scripted::start(honest);
    let mut poller = Running::of(&upstream);
    assert!(poller.report().peer.answer.is_some());
    poller.tell(|settings| {
        settings.policy.max_distance = NtpDuration::from_units(1);
        settings.resample_requests += 1;
    });
    assert!(poller.report().peer.answer.is_none());
    poller.ends();
}

#[test]
fn it_ends_with_its_orders_whatever_it_waits_for() {
    // In the pause, …
    let upstream = Scripted::start(honest);
    let mut poller = Running::of(&upstream);
    poller.report();
    poller.ends();
    // … for an answer, …
    let upstream = Scripted::start(silent);
    let poller = Running::of(&upstream);
    wait_until("the question", SOON, || (upstream.asked() > 0).then_some(()));
    poller.ends();
    // … and for an hour.
    let upstream = Scripted::start(kiss(*b"RSTR"));
    let mut poller = Running::of(&upstream);
    poller.report();
    poller.ends();
}
