//! Impure. The answer to `client`: what a request of some clients would get, from the files, the workers and the census.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::Supervisor;
use super::listeners::{FoundClients, KnownClient};
use super::reading::{LookedUp, PendingClients};
use crate::config::DecidingRule;
use crate::control::protocol::{ControlAnswer, ControlFailure};
use crate::control::server::Reply;
use crate::fast_path::driver::Driver;
use crate::host::clock;
use crate::observe::client_status::{
    AccessRule, ClientAccess, ClientAtListener, ClientBudget, ClientLimit, ClientStatus, JudgementWords,
    MOST_CLIENTS,
};
use crate::observe::health::{ListenerHealth, ListenerName};
use crate::observe::snapshot::ListenerStatus;
use crate::server::Policy;

/// A question, and all that was found for it.
struct ClientKnowledge<'a> {
    asked: &'a PendingClients,
    looked_up: &'a LookedUp,
    workers: FoundClients,
    now: Duration,
}

impl Supervisor {
    /// Begins to look up these clients; `listener` is the only one that is asked about.
    pub(super) fn look_up_clients(
        &mut self,
        addresses: Vec<IpAddr>,
        listener: Option<ListenerName>,
        reply: Reply,
    ) {
        let failure = if !(1..=MOST_CLIENTS).contains(&addresses.len()) {
            Some(ControlFailure::ClientCount)
        } else {
            listener.and_then(|name| self.no_listener(name))
        };
        if let Some(failure) = failure {
            return reply.send(ControlAnswer::Failed(failure));
        }
        let pending = PendingClients {
            // A list has the addresses of IPv4 in their own family.
            addresses: addresses.iter().map(IpAddr::to_canonical).collect(),
            listener,
            served: self.listeners.tables(),
            reply,
        };
        if let Err(clients) = self.reading.want_clients(pending) {
            let failure = ControlAnswer::Failed(ControlFailure::TooManyChecks);
            clients.reply.send(failure);
        }
    }

    fn no_listener(&self, name: ListenerName) -> Option<ControlFailure> {
        let all = self.listener_healths();
        let named = name.choose(&all);
        let addresses: Vec<String> = all.iter().map(|one| one.address.to_string()).collect();
        let reason = || {
            format!(
                "there is no listener for {name}: there are {}",
                addresses.join(", ")
            )
        };
        named.is_empty().then(|| ControlFailure::NoListener(reason()))
    }

    fn listener_healths(&self) -> Vec<ListenerHealth> {
        let stratum = self.clock_manager.clock_status().reference.stratum;
        self.listeners.health(stratum)
    }

    /// Answers a question about clients, once their lists were read.
    pub(super) async fn answer_clients(&mut self, asked: PendingClients, looked_up: &LookedUp) {
        if asked.reply.is_closed() {
            return;
        }
        let workers = self.listeners.find(&asked.addresses).await;
        let found = ClientKnowledge {
            asked: &asked,
            looked_up,
            workers,
            now: clock::raw(),
        };
        let statuses = self.client_statuses(&found);
        asked.reply.send(ControlAnswer::Client(statuses));
    }

    fn client_statuses(&self, found: &ClientKnowledge<'_>) -> Vec<ClientStatus> {
        let stratum = self.clock_manager.clock_status().reference.stratum;
        let chosen = found
            .asked
            .listener
            .map(|name| name.choose(&self.listener_healths()));
        let is_chosen = |one: &ListenerStatus| {
            let mut chosen = chosen.iter().flatten();
            found.asked.listener.is_none() || chosen.any(|health| health.address == one.address)
        };
        let listeners: Vec<_> = self.listeners.statuses(stratum);
        let listeners: Vec<_> = listeners.into_iter().filter(is_chosen).collect();
        let addresses = &found.asked.addresses;
        let last = |(place, address): (usize, &IpAddr)| {
            let fast = self.fast.as_ref();
            let fast = fast.and_then(|fast| fast.last_request(*address, found.now));
            let last = found.workers.last_request(place).into_iter().chain(fast).min();
            (*address, last)
        };
        let with_last: Vec<_> = addresses.iter().enumerate().map(last).collect();
        let fast = self.fast.as_ref().and_then(Driver::census);
        let census = self.listeners.census_of(&with_last, fast);
        let status = |(place, address): (usize, &IpAddr)| {
            let mine = listeners
                .iter()
                .filter(|one| one.address.is_ipv4() == address.is_ipv4());
            let at: Vec<_> = mine
                .filter_map(|one| self.at_listener(one, found, place, *address))
                .collect();
            ClientStatus {
                address: *address,
                answered: at.iter().any(ClientAtListener::is_answered),
                listeners: at,
                census: census.as_ref().and_then(|census| census.get(place).cloned()),
            }
        };
        addresses.iter().enumerate().map(status).collect()
    }

    /// The client of this `address`, at this `place` of the question, at a listener; `None` if that is gone.
    fn at_listener(
        &self,
        listener: &ListenerStatus,
        found: &ClientKnowledge<'_>,
        place: usize,
        address: IpAddr,
    ) -> Option<ClientAtListener> {
        let (at, now) = (listener.address, found.now);
        let policy = self.listeners.policy(at)?;
        let KnownClient {
            worker,
            state,
            silent,
        } = found.workers.known(at, place, now);
        let judged = self.listeners.judge(at, address, &state);
        let judged = judged.filter(|_| listener.serving);
        let words = judged
            .as_ref()
            .map_or_else(JudgementWords::default, JudgementWords::from);
        let is_drained = listener.is_drained();
        let drain = listener.drain.filter(|_| is_drained);
        let saved = found.looked_up.saved.iter().find(|(one, _)| *one == at);
        Some(ClientAtListener {
            listener: at,
            serving: listener.serving,
            fault: listener.fault.map(str::to_owned),
            verdict: words.verdict,
            verdicts: words.verdicts,
            remarks: words.remarks,
            announces_time: judged.is_some_and(|judged| judged.announces_time),
            drained: drain.map(|drain| drain.by.to_owned()),
            access: found.looked_up.access(at, address, policy),
            limit: ClientLimit::of(policy, address, worker, &state, now),
            budget: ClientBudget::of(policy, &state, self.listeners.light(), now),
            interleaved: saved
                .and_then(|(_, counts)| counts.get(place))
                .map(|counts| (*counts).into()),
            fast_path: self.fast.as_ref().is_some_and(|fast| fast.answers_for(at)),
            silent_workers: silent,
        })
    }
}

impl LookedUp {
    /// Returns the list of a listener with this `policy`, and its rule for the client.
    fn access(&self, listener: SocketAddr, client: IpAddr, policy: &Policy) -> ClientAccess {
        let (rule, doubt) = match &self.rules {
            Err(why) => (None, Some(format!("the configuration cannot be read now: {why}"))),
            Ok(rules) => {
                let rule = rules.find(listener, client);
                let is_current = self.current.contains(&listener);
                let doubt = (!is_current || rule.is_none()).then(|| CHANGED.to_owned());
                (rule.map(access_rule), doubt)
            }
        };
        ClientAccess {
            mode: policy.access.mode.name().to_owned(),
            allowed: policy.access.allows(client),
            rule,
            rule_doubt: doubt,
        }
    }
}

/// The reason why a rule of the files may not be the one in use.
const CHANGED: &str = "the lists in the files are not those in use: `ntpfront reload` reads them";

fn access_rule(rule: &DecidingRule) -> AccessRule {
    AccessRule {
        prefix: rule.prefix.map(|prefix| prefix.to_string()),
        allows: rule.allowed,
        key: format!("access.{}", rule.key),
        place: rule.place.to_string(),
    }
}
