//! Pure. The knowledge about an upstream: RFC 5905's peer variables (§9.1), and its polling as displayed.

use std::net::SocketAddr;
use std::time::Duration;

use super::Upstream;
use super::fault::QueryFault;
use super::filter::{ClockFilter, Estimate, View};
use super::interleaved::InterleavedStatus;
use super::nts::certificate::UncheckedCertificate;
use super::nts::key_state::KeyStatus;
use super::packet::Reject;
use crate::wire::Header;

/// The part of an association that the system process uses: RFC 5905's peer variables.
#[derive(Clone, Debug, Default)]
pub struct Peer {
    /// The address that answers, if it is known.
    pub address: Option<SocketAddr>,
    /// Whether the configuration itself contains an address of this host.
    ///
    /// The address behind a name does not count: a name server must not decide which clock is served.
    pub on_this_host: bool,
    /// The reach register (RFC 5905 §9.2): one bit per question, the newest lowest, set if there was a good answer.
    //= RFC 5905 §9.2 reach
    pub reach: u8,
    /// The last good answer; none after the upstream announced that it is not synchronized.
    pub answer: Option<Header>,
    /// The last good answer, whatever came after it.
    pub last_good: Option<Header>,
    /// The last good samples.
    pub filter: ClockFilter,
    /// Number of good samples in all.
    pub accepted: u64,
    /// Whether its last answer was DENY or RSTR.
    pub stopped: bool,
    /// The reason why the last answer was refused, if it was.
    pub refused: Option<Reject>,
    /// The reason why it could not be polled the last time, if it could not.
    pub fault: Option<QueryFault>,
    /// The certificate behind its keys, if its dates are still to be checked.
    pub unchecked: Option<UncheckedCertificate>,
}

/// The polling of an upstream, as displayed to operators; no decision depends on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Polling {
    /// The present interval between two questions; none before the first one.
    pub interval: Option<Duration>,
    /// Numbers of refused answers, in the order of [`Reject::all`].
    pub rejected: [u64; Reject::COUNT],
    /// The keys of an upstream with NTS.
    pub keys: Option<KeyStatus>,
    /// Its replies in interleaved mode.
    pub interleaved: InterleavedStatus,
}

impl Peer {
    /// Returns the state of an `upstream` that was not polled yet; a loopback address is on this host.
    pub fn unknown(upstream: &Upstream) -> Self {
        Self {
            on_this_host: upstream.host.is_loopback(),
            ..Self::default()
        }
    }

    /// Returns the last header and the estimate of the filter, if the upstream is reachable and usable.
    pub fn known(&self, view: &View) -> Option<(Header, Estimate)> {
        if self.reach == 0 || self.stopped {
            return None;
        }
        self.answer.zip(self.filter.estimate(view))
    }
}
