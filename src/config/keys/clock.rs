//! Pure. The rows of `[clock]` and `[local]`.

use std::path::PathBuf;
use std::time::Duration;

use super::texts::path_or_none;
use crate::config::kind::{Bool, seconds, whole, word};
use crate::config::row::table;
use crate::time::NtpDuration;
use crate::upstream::clock_policy::{Authenticated, ClockPolicy, ClockSource, LocalReference, OnDispute};

/// The path where tzdata puts the list of leap seconds.
const LEAP_SECONDS: &str = "/usr/share/zoneinfo/leap-seconds.list";

table! {
    /// The conditions for believing and serving a time.
    "[clock]": Reload, RawClock
    #[derive(Clone, Debug)]
    pub(in crate::config) struct ClockKeys {
        /// The clock to serve.
        ///
        /// "system": the host's clock, which a daemon on this host keeps; ntpfront checks and mirrors it. "tracked":
        /// a clock of ntpfront's own, which follows the upstreams whatever happens to the host's. "auto": "system"
        /// if an upstream is on this host, otherwise "tracked". Only an address in this file (or "localhost") counts
        /// as an upstream on this host: what a name resolves to does not, so that a name server cannot choose the
        /// clock.
        source: ClockSource = ClockSource::Auto, word();
        /// The number of upstreams that must be available and agree: {range}, at most the number of upstreams.
        ///
        /// Not set: 1 with one or two upstreams, 2 with three or more, so that a single one cannot mislead the
        /// server.
        min_sources: u8 = 1, whole(1..=255);
        /// The maximum root distance, in seconds: {range}.
        ///
        /// Upstreams over it are not used. If the served time is over it, clients get "unsynchronized". Lower it if
        /// the clients need a better time.
        max_distance: f64 = 1.0, seconds(0.0001..=16.0);
        /// The maximum jitter of an upstream, in seconds: {range}. Lower it if all upstreams are near.
        max_jitter: f64 = 1.0, seconds(0.0001..=16.0);
        /// The reaction when, for three rounds, upstreams contradict each other or the daemon on this host.
        ///
        /// "unsynchronized": announce that there is no time. "track": follow the majority with a clock of ntpfront's
        /// own. "drop": do not answer. "serve": keep serving the time of the daemon on this host.
        on_dispute: OnDispute = OnDispute::Unsynchronized, word();
        /// The weight of plain upstreams, if there are authenticated ones (nts = true, or with a key).
        ///
        /// "require": only authenticated upstreams have a vote; the others are only monitored. "prefer": no majority
        /// without a majority of the authenticated ones that could answer, so that the others cannot outvote them.
        /// "mix": all are alike. Without an authenticated upstream, "prefer" and "mix" are the same.
        authenticated: Authenticated = Authenticated::Prefer, word();
        /// The list of leap seconds that comes with tzdata.
        ///
        /// It is read at the start, on reload and every day. While it is current, it alone decides when a leap
        /// second is announced. Without it, or with "", the majority of the upstreams decides, on the last day of a
        /// month.
        leap_seconds: Option<PathBuf> = Some(LEAP_SECONDS.into()), path_or_none();
    }
}

table! {
    /// The host's own clock as a last resort, announced as such.
    "[local]": Reload, RawLocal
    #[derive(Clone, Debug)]
    pub(in crate::config) struct LocalKeys {
        /// Whether to serve the host's clock when no upstream is usable.
        ///
        /// Turn it on for an isolated network whose clients need to agree with each other more than with the world.
        /// Elsewhere, no time is the better answer.
        enabled: bool = false, Bool;
        /// The stratum to announce then: {range}. Keep it high, so that clients prefer every better server.
        stratum: u8 = 10, whole(1..=15);
        /// The time without a usable upstream before the host's clock is served, in whole seconds: {range}.
        wait: u32 = 60, whole(0..=86_400);
        /// The maximum error of the host's clock, in seconds: {range}, at most clock.max-distance.
        ///
        /// It is announced as the root dispersion. Raise it for a host whose clock has not been set for a long time.
        distance: f64 = 0.5, seconds(0.0..=16.0);
    }
}

impl ClockKeys {
    /// Returns the conditions under which a time is believed and served.
    pub(in crate::config) fn policy(&self, local: &LocalKeys) -> ClockPolicy {
        ClockPolicy {
            source: self.source,
            min_sources: self.min_sources,
            max_distance: NtpDuration::from_seconds(self.max_distance),
            max_jitter: self.max_jitter,
            on_dispute: self.on_dispute,
            authenticated: self.authenticated,
            local: local.enabled.then(|| local.reference()),
        }
    }
}

/// The policy of a configuration without keys for it. Tests start from it, so that they do not name each key.
impl Default for ClockPolicy {
    fn default() -> Self {
        ClockKeys::default().policy(&LocalKeys::default())
    }
}

impl LocalKeys {
    fn reference(&self) -> LocalReference {
        LocalReference {
            stratum: self.stratum,
            wait: Duration::from_secs(self.wait.into()),
            distance: NtpDuration::from_seconds(self.distance),
        }
    }
}
