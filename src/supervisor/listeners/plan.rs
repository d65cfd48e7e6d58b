//! Pure. The steps from the running groups of listeners to those of a new configuration.
//!
//! What can fail is prepared first, beside what is served: no client notices it. The steps that follow can't
//! fail. New workers get packets before old ones lose theirs, and sockets are closed last.

use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;

use crate::config::ListDifference;
use crate::server::Listener;
use crate::server::policy::Policy;
use crate::supervisor::sockets::overlap;

/// A running group, as far as a plan depends on it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct GroupState {
    /// The listener as it is served.
    pub(super) listener: Listener,
    pub(super) workers: usize,
    /// Whether it has any socket.
    pub(super) is_open: bool,
}

/// A change of the listeners.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in super::super) struct ListenerPlan {
    /// Listeners that get a group, in this order.
    pub(super) openings: Vec<Opening>,
    /// Groups that get workers, in this order, after all openings.
    pub(super) growths: Vec<Growth>,
    /// The steps after all that, which can't fail.
    pub(super) steps: Vec<Step>,
    /// Whether any open group stays.
    pub(super) keeps_an_open_group: bool,
}

/// A group for a listener that has none.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Opening {
    pub(super) listener: Listener,
    pub(super) port: Port,
}

/// More workers, with their sockets, for an existing group; its first ones, if it has waited for its address.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Growth {
    pub(super) listener: Listener,
    /// The numbers of the new workers.
    pub(super) workers: Range<usize>,
    pub(super) port: Port,
}

/// The state of an address's port before a socket is bound there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Port {
    /// The port must not be another program's.
    MustBeFree,
    /// Sockets of this process have it: they can't be told from another program's.
    Ours,
}

/// A step that can't fail.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Step {
    /// The workers at this address apply another policy.
    SetPolicy(SocketAddr, Arc<Policy>),
    /// A group serves as its listener says: it is tuned and steered, and has no more workers than that.
    Serve(Service),
    /// A group ends.
    Close(SocketAddr),
}

/// The service of a group from now on.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Service {
    pub(super) listener: Listener,
    /// Whether its sockets get the listener's tuning. (Its workers do in any case.)
    pub(super) tunes_sockets: bool,
}

impl ListenerPlan {
    /// Plans a change of `groups` by `difference`.
    ///
    /// A configured listener has no group if the host lacked its address family: it is opened when it
    /// changes.
    pub(super) fn new(groups: &[GroupState], difference: &ListDifference<Listener>) -> Self {
        let changed = difference.changed.iter();
        let has_group = |address: SocketAddr| group_of(groups, address).is_some();
        let policies = changed
            .clone()
            .filter(|change| has_group(change.to.address) && change.from.policy != change.to.policy);
        let served = changed.filter(|change| change.to.is_served_differently(&change.from));
        let served: Vec<&Listener> = served.map(|change| &change.to).collect();
        let missing = served.iter().filter(|listener| !has_group(listener.address));
        let opened = difference.added.iter().chain(missing.copied());
        let removed = difference.removed.iter().map(|gone| gone.address);
        let closed: Vec<SocketAddr> = removed.filter(|address| has_group(*address)).collect();

        let set_policy = |to: &Listener| Step::SetPolicy(to.address, Arc::clone(&to.policy));
        let policies = policies.map(|change| set_policy(&change.to));
        let services = served.iter().filter_map(|listener| Service::of(groups, listener));
        let closings = closed.iter().copied().map(Step::Close);
        Self {
            openings: opened.map(|listener| Opening::new(groups, listener)).collect(),
            growths: served
                .iter()
                .filter_map(|listener| Growth::of(groups, listener))
                .collect(),
            steps: policies
                .chain(services.map(Step::Serve))
                .chain(closings)
                .collect(),
            keeps_an_open_group: groups
                .iter()
                .any(|group| group.is_open && !closed.contains(&group.listener.address)),
        }
    }

    /// Plans to open what is missing of the group of `listener`, and nothing else.
    pub(super) fn completing(groups: &[GroupState], listener: &Listener) -> Self {
        Self {
            growths: Growth::of(groups, listener).into_iter().collect(),
            ..Self::settling(group_of(groups, listener.address))
        }
    }

    /// Plans to leave each of `groups` as many workers and sockets as its listener wants.
    ///
    /// At the start there may be sockets for more.
    pub(super) fn settling<'a>(groups: impl IntoIterator<Item = &'a GroupState>) -> Self {
        let serve = |group: &GroupState| {
            Step::Serve(Service {
                listener: group.listener.clone(),
                tunes_sockets: false,
            })
        };
        Self {
            steps: groups.into_iter().map(serve).collect(),
            ..Self::default()
        }
    }
}

impl Opening {
    fn new(groups: &[GroupState], listener: &Listener) -> Self {
        Self {
            listener: listener.clone(),
            port: Port::of(groups, listener.address),
        }
    }
}

impl Growth {
    /// The missing workers; `None` if there is no group, or none is missing.
    fn of(groups: &[GroupState], listener: &Listener) -> Option<Self> {
        let group = group_of(groups, listener.address)?;
        let workers = group.workers..usize::from(listener.workers);
        (!workers.is_empty()).then(|| Self {
            listener: listener.clone(),
            workers,
            port: Port::of(groups, listener.address),
        })
    }
}

impl Service {
    /// The change of the service; `None` if there is no group: it is opened with the new settings.
    fn of(groups: &[GroupState], listener: &Listener) -> Option<Self> {
        let group = group_of(groups, listener.address)?;
        Some(Self {
            listener: listener.clone(),
            tunes_sockets: group.listener.tuning != listener.tuning,
        })
    }
}

impl Port {
    /// Returns the state of the port of `address`, with the sockets of `groups`.
    fn of(groups: &[GroupState], address: SocketAddr) -> Self {
        let mut open = groups.iter().filter(|group| group.is_open);
        match open.any(|group| overlap(group.listener.address, address)) {
            true => Self::Ours,
            false => Self::MustBeFree,
        }
    }
}

fn group_of(groups: &[GroupState], address: SocketAddr) -> Option<&GroupState> {
    groups.iter().find(|group| group.listener.address == address)
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::sync::LazyLock;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use crate::cli::Flags;
    use crate::config::{self, Config, Difference};
    use crate::server::Steering;

    /// The configuration without a file.
    static DEFAULT: LazyLock<Config> =
        LazyLock::new(|| config::load(&Flags::default(), None).unwrap().config);

    /// A listener at `address`, whose policy has this number.
    fn listener(address: &str, workers: u16, policy: u8) -> Listener {
        let default = DEFAULT.listeners[0].clone();
        Listener {
            address: address.parse().unwrap(),
            workers,
            policy: Arc::new(Policy {
                max_stratum: policy,
                ..Policy::clone(&default.policy)
            }),
            ..default
        }
    }

    fn group(listener: Listener, workers: usize) -> GroupState {
        GroupState {
            listener,
            workers,
            is_open: workers > 0,
        }
    }

    fn difference(running: &[Listener], wanted: &[Listener]) -> ListDifference<Listener> {
        let config = |listeners: &[Listener]| Config {
            listeners: listeners.to_vec(),
            ..DEFAULT.clone()
        };
        Difference::between(&config(running), &config(wanted), false).listeners
    }

    /// A plan as a line.
    fn text(plan: &ListenerPlan) -> String {
        let port = |port| match port {
            Port::MustBeFree => " if free",
            Port::Ours => "",
        };
        let openings = plan.openings.iter().map(|one| {
            let Opening { listener, port: of } = one;
            format!("open {}*{}{}", listener.address, listener.workers, port(*of))
        });
        let growths = plan.growths.iter().map(|one| {
            format!(
                "grow {} {:?}{}",
                one.listener.address,
                one.workers,
                port(one.port)
            )
        });
        let steps = plan.steps.iter().map(|step| match step {
            Step::SetPolicy(address, policy) => format!("policy {address} {}", policy.max_stratum),
            Step::Serve(service) => {
                let tuned = if service.tunes_sockets { " tuned" } else { "" };
                format!(
                    "serve {}*{}{tuned}",
                    service.listener.address, service.listener.workers
                )
            }
            Step::Close(address) => format!("close {address}"),
        });
        openings
            .chain(growths)
            .chain(steps)
            .collect::<Vec<_>>()
            .join(", ")
    }

    const A: &str = "127.0.0.1:1";
    const B: &str = "127.0.0.2:1";
    const ALL: &str = "0.0.0.0:1";

    /// A listener, served by this many workers (`None`: it has no group), is changed to another one.
    #[test]
    fn a_change_of_one_listener_is_done_by_these_steps() {
        let tuned = |mut listener: Listener| {
            listener.tuning.batch += 1;
            listener
        };
        let steered = |mut listener: Listener| {
            listener.steering = Steering::Kernel;
            listener
        };
        let one = |workers| listener(A, workers, 1);
        for (workers, running, wanted, expected) in [
            (Some(2), one(2), one(2), ""),
            (
                Some(1),
                one(1),
                one(4),
                "grow 127.0.0.1:1 1..4, serve 127.0.0.1:1*4",
            ),
            (Some(4), one(4), one(1), "serve 127.0.0.1:1*1"),
            (Some(2), one(2), listener(A, 2, 7), "policy 127.0.0.1:1 7"),
            (
                Some(1),
                one(1),
                listener(A, 2, 7),
                "grow 127.0.0.1:1 1..2, policy 127.0.0.1:1 7, serve 127.0.0.1:1*2",
            ),
            (Some(2), one(2), tuned(one(2)), "serve 127.0.0.1:1*2 tuned"),
            (Some(2), one(2), steered(one(2)), "serve 127.0.0.1:1*2"),
            // A socket unit has bound more than was configured.
            (Some(3), one(1), one(2), "serve 127.0.0.1:1*2"),
            // Its address is absent.
            (Some(0), one(2), one(2), ""),
            (Some(0), one(2), listener(A, 2, 7), "policy 127.0.0.1:1 7"),
            (
                Some(0),
                one(2),
                one(3),
                "grow 127.0.0.1:1 0..3 if free, serve 127.0.0.1:1*3",
            ),
            (
                Some(0),
                one(2),
                steered(one(2)),
                "grow 127.0.0.1:1 0..2 if free, serve 127.0.0.1:1*2",
            ),
            // Some of its workers could not be started.
            (
                Some(2),
                one(4),
                steered(one(4)),
                "grow 127.0.0.1:1 2..4, serve 127.0.0.1:1*4",
            ),
            // Its address family was missing.
            (None, one(2), one(2), ""),
            (None, one(2), one(3), "open 127.0.0.1:1*3 if free"),
            (None, one(2), listener(A, 2, 7), ""),
        ] {
            let (running, wanted) = ([running], [wanted]);
            let groups = running
                .clone()
                .map(|one| workers.map(|workers| group(one, workers)));
            let groups: Vec<_> = groups.into_iter().flatten().collect();
            let plan = ListenerPlan::new(&groups, &difference(&running, &wanted));
            assert_eq!(text(&plan), expected, "{workers:?} {running:?} {wanted:?}");
            assert_eq!(
                plan.keeps_an_open_group,
                workers.is_some_and(|workers| workers > 0)
            );
        }
    }

    #[test]
    fn what_is_new_comes_first_and_what_is_closed_last() {
        let groups = [group(listener(A, 1, 1), 1), group(listener(B, 2, 1), 2)];
        let running = groups.clone().map(|group| group.listener);
        for (wanted, expected, keeps_one) in [
            (vec![], "close 127.0.0.1:1, close 127.0.0.2:1", false),
            (
                vec![listener(B, 4, 7), listener("[::1]:1", 1, 1)],
                "open [::1]:1*1 if free, grow 127.0.0.2:1 2..4, policy 127.0.0.2:1 7, serve 127.0.0.2:1*4, close 127.0.0.1:1",
                true,
            ),
            // The process's own sockets would be in the way of the trial.
            (
                vec![listener(ALL, 1, 1)],
                "open 0.0.0.0:1*1, close 127.0.0.1:1, close 127.0.0.2:1",
                false,
            ),
        ] {
            let plan = ListenerPlan::new(&groups, &difference(&running, &wanted));
            assert_eq!(
                (text(&plan).as_str(), plan.keeps_an_open_group),
                (expected, keeps_one)
            );
        }
        // There is no group of it to close.
        let plan = ListenerPlan::new(&[], &difference(&running, &[]));
        assert_eq!(plan, ListenerPlan::default());
    }

    #[test]
    fn a_group_is_completed_and_settled_as_its_listener_says() {
        let groups = [group(listener(A, 4, 1), 2), group(listener(B, 2, 1), 0)];
        for (group, expected) in groups.iter().zip([
            "grow 127.0.0.1:1 2..4, serve 127.0.0.1:1*4",
            "grow 127.0.0.2:1 0..2 if free, serve 127.0.0.2:1*2",
        ]) {
            assert_eq!(
                text(&ListenerPlan::completing(&groups, &group.listener)),
                expected
            );
        }
        let settled = "serve 127.0.0.1:1*4, serve 127.0.0.2:1*2";
        assert_eq!(text(&ListenerPlan::settling(&groups)), settled);
    }

    fn listeners() -> impl Strategy<Value = Vec<Listener>> {
        let address = prop_oneof![Just(A), Just(B), Just(ALL), Just("[::1]:1"), Just("[::]:2")];
        let one = (address, 1..5_u16, 1..3_u8, any::<bool>()).prop_map(|(address, workers, policy, pin)| {
            let mut listener = listener(address, workers, policy);
            listener.tuning.pin = pin;
            listener
        });
        vec(one, 1..6).prop_map(|mut all| {
            all.sort_by_key(|one| one.address);
            all.dedup_by_key(|one| one.address);
            all
        })
    }

    /// Does what `apply` does, if nothing fails, and checks at each step that no client is left without a server.
    fn done(groups: &[GroupState], plan: &ListenerPlan) -> Vec<GroupState> {
        let mut now = groups.to_vec();
        for Opening { listener, .. } in &plan.openings {
            assert_eq!(group_of(&now, listener.address), None);
            now.push(group(listener.clone(), listener.workers.into()));
        }
        let mut is_closing = false;
        let of = |now: &[GroupState], address| {
            now.iter()
                .position(|group| group.listener.address == address)
                .unwrap()
        };
        for growth in &plan.growths {
            let index = of(&now, growth.listener.address);
            assert_eq!(now[index].workers, growth.workers.start);
            now[index].workers = growth.workers.end;
            now[index].is_open = true;
        }
        for step in &plan.steps {
            assert!(!is_closing || matches!(step, Step::Close(_)));
            match step {
                Step::SetPolicy(address, policy) => {
                    let index = of(&now, *address);
                    now[index].listener.policy = Arc::clone(policy);
                }
                Step::Serve(Service {
                    listener,
                    tunes_sockets,
                }) => {
                    let index = of(&now, listener.address);
                    let group = &mut now[index];
                    assert_eq!(*tunes_sockets, group.listener.tuning != listener.tuning);
                    assert!(group.workers >= usize::from(listener.workers));
                    group.listener = listener.clone();
                    group.workers = listener.workers.into();
                }
                Step::Close(address) => {
                    is_closing = true;
                    now.remove(of(&now, *address));
                }
            }
        }
        now
    }

    proptest! {
        #[test]
        fn a_plan_leads_to_what_is_wanted_and_touches_nothing_else(
            running in listeners(),
            wanted in listeners(),
            workers in vec(proptest::option::of(0..6_usize), 6),
        ) {
            let with_workers = running.iter().zip(workers);
            let groups: Vec<GroupState> =
                with_workers.filter_map(|(one, workers)| Some(group(one.clone(), workers?))).collect();
            let plan = ListenerPlan::new(&groups, &difference(&running, &wanted));
            let after = done(&groups, &plan);
            for one in &wanted {
                let old = running.iter().find(|old| old.address == one.address);
                let (before, after) = (group_of(&groups, one.address), group_of(&after, one.address));
                match old {
                    Some(old) if !one.is_served_differently(old) => {
                        // It serves or waits as before, perhaps for other clients.
                        prop_assert_eq!(after.map(|group| group.workers), before.map(|group| group.workers));
                        prop_assert!(after.is_none_or(|after| after.listener == *one));
                    }
                    Some(_) | None => {
                        let expected = group(one.clone(), one.workers.into());
                        prop_assert_eq!(after, Some(&expected));
                    }
                }
            }
            prop_assert!(after.iter().all(|group| wanted.contains(&group.listener)));
            let stays = |group: &GroupState| group.is_open && group_of(&after, group.listener.address).is_some();
            prop_assert_eq!(plan.keeps_an_open_group, groups.iter().any(stays));
            // Nothing is left to do.
            let again = ListenerPlan::new(&after, &difference(&wanted, &wanted));
            prop_assert_eq!((again.openings.len(), again.growths.len(), again.steps.len()), (0, 0, 0));
        }
    }
}
