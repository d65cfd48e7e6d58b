//! Stands in for `upstream/poller.rs`: a question goes to a server, packets come back, settings are applied.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ntpfront::nts::AssociationKeys;
use ntpfront::time::NtpTimestamp;
use ntpfront::upstream::Upstream;
use ntpfront::upstream::addresses::Next;
use ntpfront::upstream::association::{Association, PollerSettings};
use ntpfront::upstream::fault::QueryFault;
use ntpfront::upstream::nts::certificate::{CheckedAt, UncheckedCertificate};
use ntpfront::upstream::nts::key_state::{KeyState, NegotiatedServer};
use ntpfront::upstream::nts::session::EstablishedKeys;
use ntpfront::upstream::packet::{self, Exchange, Reject, UNSOLICITED_MAX};
use ntpfront::upstream::registry::UpstreamId;
use ntpfront::upstream::system_process::{Decision, SystemProcess};
use ntpfront::wire::Header;

use super::{Event, Network, OWN, PRECISION, SPREAD};
use crate::liar::Asked;

/// An upstream that may be configured.
pub(super) struct Known {
    pub(super) settings: Upstream,
    /// The servers that its name stands for.
    pub(super) servers: Vec<usize>,
}

/// A running poller: what it is told, and the state of asking.
pub(super) struct Poller {
    /// The number of its upstream.
    pub(super) upstream: usize,
    pub(super) settings: PollerSettings,
    /// The servers that its name stands for.
    pub(super) servers: Vec<usize>,
    pub(super) association: Association,
    pub(super) keys: KeyState,
    pub(super) question: Option<Question>,
    /// When it asked each server last, and when that said DENY.
    pub(super) asked: BTreeMap<usize, f64>,
    pub(super) denied: BTreeMap<usize, f64>,
    /// When the pause after a round began, and its random part.
    pub(super) pause: (Duration, u64),
}

impl Poller {
    /// Knows nothing yet.
    pub(super) fn new(settings: PollerSettings, upstream: usize, servers: Vec<usize>) -> Self {
        Self {
            upstream,
            association: Association::new(settings.clone()),
            settings,
            servers,
            keys: KeyState::default(),
            question: None,
            asked: BTreeMap::new(),
            denied: BTreeMap::new(),
            pause: (Duration::ZERO, 0),
        }
    }
}

/// A question that waits for its answer.
pub(super) struct Question {
    pub(super) server: usize,
    pub(super) number: u64,
    pub(super) nonce: NtpTimestamp,
    pub(super) sent: Duration,
    pub(super) unsolicited: u32,
    /// [`crate::host::Host::disturbed`] then.
    pub(super) disturbed: u64,
}

impl Network {
    /// As the beginning of `Poller::round`.
    pub(super) fn ask(&mut self, id: UpstreamId) {
        let Some(poller) = self.pollers.get_mut(&id) else {
            return;
        };
        poller.association.begin();
        if let Err(fault) = self.renew_keys(id) {
            let raw = self.host.raw();
            let Some(poller) = self.pollers.get_mut(&id) else {
                return;
            };
            poller.association.cannot_ask(fault);
            poller.association.end(raw);
            return self.report(id);
        }
        self.go_on(id);
    }

    /// As `Poller::renew_keys`, with a server that establishes keys at once.
    fn renew_keys(&mut self, id: UpstreamId) -> Result<(), QueryFault> {
        let (raw, realtime) = (self.host.raw(), self.host.moment().realtime);
        let scale = self.system.as_ref().map(SystemProcess::scale);
        let Some((poller, scale)) = self.pollers.get_mut(&id).zip(scale) else {
            return Ok(());
        };
        if poller.association.upstream().nts.is_none() {
            return Ok(());
        }
        if poller.keys.is_due(raw) {
            let server = &self.servers[poller.servers[0]];
            let validity = server.certificate.unwrap();
            let vouched = poller.settings.vouched.map(|offset| scale.at(raw) + offset);
            let checked_at = CheckedAt::now(vouched, realtime, poller.settings.key_rules.certificate_time);
            poller.keys.begin(raw);
            match checked_at.check(validity) {
                Ok(()) => {
                    let unchecked = (checked_at == CheckedAt::Later).then_some(UncheckedCertificate {
                        validity,
                        established: raw,
                    });
                    let keys = EstablishedKeys {
                        keys: AssociationKeys::of(&[1; 64]).unwrap(),
                        other: None,
                        cookies: vec![vec![1; 100]; 8],
                        unchecked,
                        not_after: validity.not_after,
                    };
                    let ntp = NegotiatedServer::new(server.address, None, server.address.port()).unwrap();
                    let is_other =
                        poller
                            .keys
                            .establish(keys, ntp, raw, poller.settings.key_rules.refresh, 0);
                    poller.association.rekeyed(is_other, false, unchecked);
                }
                Err(fault) => poller.keys.fail(raw, fault, 512),
            }
        }
        poller
            .keys
            .fault()
            .map_or(Ok(()), |fault| Err(QueryFault::NoKeys(fault)))
    }

    /// As the rest of `Poller::round`, up to the next question or the end.
    fn go_on(&mut self, id: UpstreamId) {
        let raw = self.host.raw();
        let own = [IpAddr::from(OWN)];
        loop {
            let Some(poller) = self.pollers.get_mut(&id) else {
                return;
            };
            poller.question = None;
            match poller.association.next(raw) {
                Next::Resolve => {
                    let servers = poller.servers.iter();
                    let found: Vec<_> = servers.map(|&one| self.servers[one].address).collect();
                    assert_eq!(poller.association.found(&found, &own), []);
                }
                Next::Ask(address, within) => return self.question(id, address, within),
                Next::End => {
                    poller.association.end(raw);
                    return self.report(id);
                }
            }
        }
    }

    /// As the first half of `poller::question`.
    fn question(&mut self, id: UpstreamId, address: SocketAddr, within: Duration) {
        let now = self.host.now();
        let Some(poller) = self.pollers.get_mut(&id) else {
            return;
        };
        let mut servers = poller.servers.iter().copied();
        let server = servers.find(|&one| self.servers[one].address == address).unwrap();
        let to = &self.servers[server];
        // 500 ppm: the host's oscillator counts the pause.
        let before = poller.asked.insert(server, now);
        let too_soon = before.is_some_and(|before| now - before < 2.0 * (1.0 - 500e-6));
        if too_soon && !to.on_this_host {
            self.record.fault(now, "asked again within 2 s");
        }
        let denied = poller.denied.get(&server);
        if denied.is_some_and(|denied| now - denied < 3600.0 * (1.0 - 500e-6)) {
            self.record.fault(now, "asked within an hour of DENY");
        }
        self.questions += 1;
        let number = self.questions;
        let stream = self.streams.get_mut(server).unwrap_or(&mut self.random);
        let nonce = NtpTimestamp::from_bits(stream.bits());
        let way = self.servers[server].way_out(now, stream);
        poller.question = Some(Question {
            server,
            number,
            nonce,
            sent: self.host.raw(),
            unsolicited: 0,
            disturbed: self.host.disturbed,
        });
        self.events
            .push((now + within.as_secs_f64(), Event::GiveUp { poller: id, number }));
        if let Some(out) = way {
            let bytes = Header::request(nonce).to_bytes().to_vec();
            let arrival = Event::AtServer {
                poller: id,
                server,
                number,
                bytes,
            };
            self.events.push((now + out, arrival));
        }
    }

    /// Nobody answered in time.
    pub(super) fn give_up(&mut self, id: UpstreamId) {
        let Some(poller) = self.pollers.get_mut(&id) else {
            return;
        };
        if let Some(question) = &poller.question {
            let address = self.servers[question.server].address;
            poller.association.silent(address, &[IpAddr::from(OWN)]);
        }
        self.go_on(id);
    }

    pub(super) fn at_server(&mut self, poller: UpstreamId, server: usize, number: u64, bytes: &[u8]) {
        if self.is_cut_off {
            return;
        }
        let words: Vec<_> = match &self.servers[server].liar {
            Some(_) => self.servers.iter().map(|one| one.words(&self.host)).collect(),
            None => Vec::new(),
        };
        let asked = Asked {
            sent: self
                .pollers
                .get(&poller)
                .and_then(|poller| poller.asked.get(&server).copied())
                .unwrap_or_default(),
            host: &self.host,
            words: &words,
        };
        let stream = self.streams.get_mut(server).unwrap_or(&mut self.random);
        let packets = self.servers[server].answer_anyhow(bytes, &asked, stream);
        if self.record.watch.is_some() && self.servers[server].liar.is_none() {
            packets.iter().for_each(|(_, bytes)| self.is_honest(bytes));
        }
        for (after, bytes) in packets {
            let packet = Event::Packet {
                poller,
                number,
                bytes,
            };
            self.events.push((self.host.now() + after, packet));
        }
    }

    /// The error of an honest answer is within what it announces, or the simulation itself is wrong.
    fn is_honest(&self, bytes: &[u8]) {
        let Ok(header) = Header::parse(bytes) else { return };
        let error = (header.receive_timestamp - self.host.utc()).abs();
        let announced = header.root_delay.to_duration().half() + header.root_dispersion.to_duration();
        assert!(error <= announced, "an honest upstream lies: {header:?}");
    }

    /// As the second half of `poller::question`.
    pub(super) fn packet(&mut self, id: UpstreamId, number: u64, bytes: &[u8]) {
        if !self.waits_for(id, number) {
            return;
        }
        let arrived = self.host.raw();
        let Some(poller) = self.pollers.get_mut(&id) else {
            return;
        };
        let Some(question) = &mut poller.question else {
            return;
        };
        match packet::authentic(bytes, question.nonce) {
            // The host slept meanwhile.
            Ok(_) if question.disturbed != self.host.disturbed => self.report(id),
            Ok(header) => {
                let exchange = Exchange {
                    nonce: question.nonce,
                    sent: question.sent,
                    arrived,
                };
                let server = question.server;
                self.judge(id, server, header, &exchange);
                self.go_on(id);
            }
            Err(reject) => {
                question.unsolicited += 1;
                let given_up = question.unsolicited >= UNSOLICITED_MAX;
                poller.association.refuse(reject);
                if given_up {
                    self.give_up(id);
                }
            }
        }
    }

    /// As `Poller::hear`.
    pub(super) fn judge(&mut self, id: UpstreamId, server: usize, header: Header, exchange: &Exchange) {
        let Some(system) = &self.system else { return };
        let scale = system.scale();
        let Some(poller) = self.pollers.get_mut(&id) else {
            return;
        };
        let own = [IpAddr::from(OWN)];
        poller.association.answered(self.servers[server].address, &own);
        poller.association.apply(&poller.settings);
        let heard = poller
            .association
            .process_answer(header, exchange, &scale, PRECISION, &own);
        if heard == Err(Reject::KissDeny) {
            poller.denied.insert(server, self.host.now());
        }
    }

    /// The end of a turn of `Poller::ask_on`, and how the supervisor takes the report.
    pub(super) fn report(&mut self, id: UpstreamId) {
        let Some(poller) = self.pollers.get_mut(&id) else {
            return;
        };
        poller.question = None;
        poller.pause = (
            self.host.raw(),
            self.streams
                .get_mut(poller.servers[0])
                .unwrap_or(&mut self.random)
                .bits(),
        );
        let (peer, polling) = (poller.association.peer().clone(), poller.association.polling());
        self.registry.update(id, peer, polling);
        self.apply(id);
        self.counts.reports += 1;
        self.decide();
        self.hurry(self.pace.news);
    }

    /// As a round of `Poller::pause`; a poller that waits for an answer looks at its settings later.
    pub(super) fn apply(&mut self, id: UpstreamId) {
        let Some(poller) = self.pollers.get_mut(&id) else {
            return;
        };
        if poller.question.is_some() {
            return;
        }
        if let Some(established) = poller.settings.cast_out
            && poller.keys.cast_out(established, self.host.raw(), 512)
        {
            poller.association.forget_answers();
        }
        poller.association.apply(&poller.settings);
        self.events.retain(|(_, event)| !event.is_ask_of(id));
        let (began, random) = poller.pause;
        let waited = self.host.raw().saturating_sub(began);
        let keys = match poller.association.peer().fault {
            Some(QueryFault::NoKeys(_)) => poller.keys.due_in(self.host.raw()),
            Some(_) | None => Duration::ZERO,
        };
        let left = poller.association.pause(random).max(keys).saturating_sub(waited);
        let stream = self.streams.get_mut(poller.servers[0]);
        let spread = stream.map_or(0.0, |stream| SPREAD * stream.unit());
        self.events
            .push((self.host.now() + left.as_secs_f64() + spread, Event::Ask(id)));
    }

    pub(super) fn waits_for(&self, id: UpstreamId, number: u64) -> bool {
        let question = self.pollers.get(&id).and_then(|poller| poller.question.as_ref());
        question.is_some_and(|question| question.number == number)
    }

    /// As `Pollers::update`.
    pub(super) fn tell_pollers(&mut self, decision: &Decision) {
        let now = self.host.moment();
        let vouched = self
            .system
            .as_ref()
            .and_then(|system| decision.vouched(now, &system.scale()));
        let ids: Vec<_> = self.pollers.keys().copied().collect();
        for id in ids {
            let Some(Poller { settings, .. }) = self.pollers.get_mut(&id) else {
                continue;
            };
            settings.vouched = vouched;
            let cast_out = decision.cast_out.get(&id).copied().or(settings.cast_out);
            let wanted = (decision.view, decision.resample_requests, cast_out);
            if (settings.view, settings.resample_requests, settings.cast_out) != wanted {
                (settings.view, settings.resample_requests, settings.cast_out) = wanted;
                self.apply(id);
            }
        }
    }
}
