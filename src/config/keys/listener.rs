//! Pure. The rows of `[[listener]]`.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use super::policy::{AccessKeys, LimitKeys, RawAccess, RawLimit};
use crate::config::address;
use crate::config::effective::quoted;
use crate::config::kind::{Bool, Parsed, parsed, seconds, whole, word};
use crate::config::row::table;
use crate::leap::{LeapMode, Smear};
use crate::server::policy::access::Access;
use crate::server::policy::limit::RateLimit;
use crate::server::policy::{Announced, AuthenticationMode, NtsMode, Policy, RuleMode};
use crate::server::{InterleavedMode, Listener, Steering, Tuning};
use crate::symmetric::KeyTable;
use crate::wire::NTP_PORT;

/// The largest number of workers of one listener.
pub(in crate::config) const MOST_WORKERS: u16 = 1024;

table! {
    /// The addresses where clients are answered, one table each.
    ///
    /// If there is at least one, the two default listeners below no longer apply. Flag -a replaces those of IPv4, -b
    /// those of IPv6; -4 and -6 set the workers.
    "[[listener]]": Reload, RawListener
    #[derive(Clone, Debug)]
    pub(in crate::config) struct ListenerKeys {
        /// The address and the port.
        ///
        /// A wildcard address ("0.0.0.0", "[::]") means every address of that family, and replies leave from the
        /// address that was asked. With a single address, a response takes 4 to 6 % less CPU time. A link-local
        /// address needs the number of its interface: "[fe80::1%2]:123".
        address: SocketAddr = SocketAddr::from((Ipv4Addr::UNSPECIFIED, NTP_PORT)), address();
        /// The number of threads that answer, each with its own socket: {range}.
        ///
        /// Raise it to the number of CPUs on a busy host.
        workers: u16 = 1, whole(1..=MOST_WORKERS);
        /// The way in which packets are spread over the workers.
        ///
        /// "source": one client always meets the same worker. "cpu": by the CPU that received the packet, for
        /// network cards with one queue per CPU; it needs pin = true, because workers that move between CPUs are
        /// slower. "kernel": by the kernel's own hash.
        steering: Steering = Steering::Source, word();
        /// Whether the server must not start without this listener.
        ///
        /// If false, a missing address (added later, in duplicate address detection, or on a missing interface) is
        /// an error in the log. The listener starts when the address appears, and the others serve meanwhile.
        /// `ntpfront status` and the metric ntpfront_listener_serving show it. If no listener can be opened, or if a
        /// port is in use or not permitted, the start fails anyway. If true, the start fails, a reload is refused,
        /// and `ntpfront health` and /readyz fail while the address is missing.
        required: bool = false, Bool;
        /// The maximum number of requests that a worker takes at once: {range}.
        ///
        /// A larger number lowers the cost per request, up to about 32. A request that comes alone is taken alone in
        /// any case. This key and the next four are for busy hosts; measure before and after.
        batch: u16 = Tuning::default().batch, whole(1..=Tuning::LARGEST_BATCH);
        /// The maximum time in the queue, in seconds: {range}.
        ///
        /// A request that waited longer is counted (refused-late) and not answered. Other requests are answered with
        /// the time at which they came. Lower it if the server is overloaded, so that it answers clients that still
        /// wait.
        max_wait: f64 = Tuning::default().max_wait.as_secs_f64(), seconds(0.001..=1.0);
        /// The bytes of packets that the queue of each worker can hold: {range}.
        ///
        /// A request counts 400 to 2200, depending on the network card. Raise it if `ntpfront status` shows lost
        /// packets in bursts. In lasting overload a longer queue loses the same number, and each request waits
        /// longer. Without root, net.core.rmem_max (sysctl) is the limit, and the log says so.
        receive_buffer: u32 = Tuning::default().receive_buffer, whole(65_536..=536_870_912);
        /// The time that the kernel polls the network card before a worker sleeps, in microseconds: {range}.
        ///
        /// 0: as net.core.busy_read says. About 50 lowers the response time if a core is idle, and keeps that core
        /// busy even without requests. It needs a start as root, and a card that supports NAPI.
        busy_poll: u16 = Tuning::default().busy_poll, whole(0..=10_000);
        /// Whether each worker stays on one CPU.
        ///
        /// The first worker is on the first CPU that the service may use (CPUAffinity= of the unit), and so on. Turn
        /// it on with steering = "cpu", if the card has one queue per CPU and the host has little else to do. The
        /// unit needs the drop-in 30-pin.conf for it.
        pin: bool = Tuning::default().pin, Bool;
        /// The answer: "time" or "unsynchronized".
        ///
        /// With "unsynchronized" clients move to other servers of their own accord; set it some time before you stop
        /// this server.
        answer: Announced = Announced::Time, word();
        /// The maximum stratum: {range}. If the server's is higher, the answer is "unsynchronized".
        max_stratum: u8 = 15, whole(1..=15);
        /// The treatment of requests with NTS (RFC 8915): "accept", "require" or "off".
        ///
        /// "accept": they get authenticated responses, and plain requests get plain ones. "require": plain requests get
        /// no response (refused-nts-required); it needs the keys of [nts]. "off": the fields of NTS are ignored, and all
        /// responses are plain, as they are without keys.
        nts: NtsMode = NtsMode::Accept, word();
        /// The treatment of leap seconds: "utc" or "smear".
        ///
        /// "utc": they are announced and made, as RFC 5905 has it. "smear": they are never announced, and the time
        /// differs from UTC for some hours, as [smear] says. A smear needs a current list of leap seconds
        /// (clock.leap-seconds); without one, the listener serves UTC, `ntpfront check` fails, and the log and
        /// `ntpfront status` say so. No client may ask a listener with "smear" and other servers with UTC; the NTP
        /// Pool does not allow it.
        leap: LeapMode = LeapMode::Utc, word();
        /// The treatment of requests with a MAC of a symmetric key: "accept", "require" or "off".
        ///
        /// It needs symmetric-keys.file. "accept": they get responses with a MAC of the same key, those with a wrong MAC
        /// get none (refused-mac, refused-mac-key), and plain requests get plain responses. "require": requests that
        /// are authenticated neither by a MAC nor by NTS get no response (refused-mac-required). "off", and without
        /// keys: a MAC is ignored, and all responses are plain.
        authentication: AuthenticationMode = AuthenticationMode::Accept, word();
        /// Interleaved mode (RFC 9769): "auto" or "off".
        ///
        /// "auto": responses to clients that ask for it (chronyd with "xleave") say exactly when the previous response left,
        /// so that these clients measure ten times better. "off": all responses are in basic mode.
        /// It is off, too, where sockets of a systemd socket unit are shared by several workers, and with a kernel that
        /// has no transmit timestamps.
        interleaved: InterleavedMode = InterleavedMode::Auto, word();
    }
    tables {
        access: RawAccess, AccessKeys;
        limit: RawLimit, LimitKeys;
    }
}

fn address() -> Parsed<SocketAddr> {
    // A value that is no text is refused as the empty text is: with what is expected.
    parsed(
        |text| address::listener(text.unwrap_or_default()),
        |address| Some(quoted(&address.to_string())),
    )
    .required()
}

impl ListenerKeys {
    /// Returns the listener, with its `policy`; `saved_timestamps` is the size of its table for interleaved mode.
    pub(in crate::config) fn listener(&self, policy: Arc<Policy>, saved_timestamps: u32) -> Listener {
        Listener {
            address: self.address,
            workers: self.workers,
            steering: self.steering,
            required: self.required,
            tuning: self.tuning(saved_timestamps),
            policy,
        }
    }

    /// Returns the policy: the rules of other tables, with the answer and the stratum limit of this one.
    ///
    /// MACs are checked by `keys`, unless they are ignored here.
    pub(in crate::config) fn policy(
        &self,
        access: Access,
        limit: RateLimit,
        budget: RuleMode,
        smear: Smear,
        keys: Option<Arc<KeyTable>>,
    ) -> Policy {
        Policy {
            access,
            limit,
            budget,
            answer: self.answer,
            max_stratum: self.max_stratum,
            nts: self.nts,
            smear: (self.leap == LeapMode::Smear).then_some(smear),
            authentication: self.authentication,
            keys: keys.filter(|_| self.authentication != AuthenticationMode::Off),
        }
    }

    fn tuning(&self, saved_timestamps: u32) -> Tuning {
        Tuning {
            batch: self.batch,
            max_wait: Duration::from_secs_f64(self.max_wait),
            receive_buffer: self.receive_buffer,
            busy_poll: self.busy_poll,
            pin: self.pin,
            saved_timestamps: (self.interleaved == InterleavedMode::Auto).then_some(saved_timestamps),
        }
    }
}
