//! Pure. Tests of pools, second by second, with servers and name servers of every kind.

use std::collections::{BTreeMap, BTreeSet};

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::upstream::Host;
use crate::upstream::candidate::SelectionStatus;
use crate::upstream::interleaved::InterleavedQuestions;
use crate::upstream::peer::{Peer, Polling};
use crate::upstream::registry::UpstreamId;

/// The conduct of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Server {
    Good,
    Silent,
    Denying,
    False,
    /// The same server as another one, by what it announces.
    Alias,
    Unreachable,
}

/// A configuration with pools, the servers behind all addresses, and the name servers.
struct World {
    configured: Vec<Upstream>,
    pools: Pools,
    registry: Registry,
    servers: BTreeMap<IpAddr, Server>,
    names: BTreeMap<String, Vec<IpAddr>>,
    has_majority: bool,
    now: u64,
    lookups: Vec<(u64, String)>,
    changes: Vec<(u64, PoolChange)>,
}

fn upstream(name: &str, pooling: Pooling) -> Upstream {
    Upstream {
        host: Host::Name(name.to_owned()),
        port: 123,
        iburst: true,
        minpoll: 6,
        maxpoll: 10,
        role: Role::default(),
        interleaved: InterleavedQuestions::Auto,
        pooling,
        key: None,
        nts: None,
    }
}

fn pool(count: u8) -> Upstream {
    upstream("pool.example", Pooling::Pool { count })
}

fn v4(number: u8) -> IpAddr {
    [192, 0, 2, number].into()
}

fn v6(number: u16) -> IpAddr {
    [0x2001, 0xdb8, 0, 0, 0, 0, 0, number].into()
}

fn at(second: u64) -> Duration {
    Duration::from_secs(second)
}

impl World {
    /// A world in which all `addresses` are of `pool.example`, and good.
    fn new(configured: Vec<Upstream>, addresses: &[IpAddr]) -> Self {
        let mut world = Self {
            configured,
            pools: Pools::default(),
            registry: Registry::default(),
            servers: addresses.iter().map(|one| (*one, Server::Good)).collect(),
            names: BTreeMap::from([("pool.example".to_owned(), addresses.to_vec())]),
            has_majority: true,
            now: 0,
            lookups: Vec::new(),
            changes: Vec::new(),
        };
        world.configure();
        world
    }

    fn configure(&mut self) {
        self.pools.configure(&self.configured, at(self.now));
        self.registry.reconfigure(&self.pools.upstreams(&self.configured));
    }

    fn set(&mut self, address: IpAddr, server: Server) {
        self.servers.insert(address, server);
    }

    /// Runs this many seconds, and checks what always holds.
    fn run(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.now += 1;
            self.poll();
            for due in self.pools.due_lookups(at(self.now)) {
                let name = due.host.to_string();
                self.lookups.push((self.now, name.clone()));
                let found = self.names.get(&name).map(Vec::as_slice);
                self.pools
                    .found(&due.endpoint(), found.ok_or(QueryFault::Unresolved), at(self.now));
            }
            let (servers, has_majority) = (&self.servers, self.has_majority);
            let changes = self.pools.step(at(self.now), &self.registry, |entry| {
                let server = entry.settings.member_address().and_then(|ip| servers.get(&ip));
                MemberJudgement {
                    standing: match server {
                        _ if entry.settings.role.noselect => SelectionStatus::NoSelect,
                        Some(Server::False) => SelectionStatus::Falseticker,
                        Some(Server::Alias) => SelectionStatus::Duplicate,
                        _ => SelectionStatus::Agrees,
                    },
                    has_majority,
                    agrees: Some(server != Some(&Server::False)),
                }
            });
            self.registry.reconfigure(&self.pools.upstreams(&self.configured));
            self.changes
                .extend(changes.into_iter().map(|(_, change)| (self.now, change)));
            self.check();
        }
    }

    /// Each second each server is asked: the reach register is that of eight seconds.
    fn poll(&mut self) {
        let all: Vec<(UpstreamId, Peer, Option<IpAddr>)> = self
            .registry
            .iter()
            .map(|one| (one.id, one.peer.clone(), one.settings.member_address()))
            .collect();
        for (id, mut peer, address) in all {
            let Some(address) = address else {
                continue;
            };
            peer.address = Some(SocketAddr::new(address, 123));
            peer.reach <<= 1;
            (peer.fault, peer.stopped) = (None, false);
            match self.servers.get(&address) {
                Some(Server::Good | Server::False | Server::Alias) => {
                    peer.reach |= 1;
                    peer.accepted += 1;
                }
                Some(Server::Denying) => peer.stopped = true,
                Some(Server::Unreachable) => peer.fault = Some(QueryFault::NoRoute),
                Some(Server::Silent) | None => {}
            }
            self.registry.update(id, peer, Polling::default());
        }
    }

    fn check(&self) {
        let mut seen = BTreeSet::new();
        for state in self.pools.states() {
            assert!(state.members <= state.upstream.votes(), "{state:?}");
            assert!(state.on_trial <= state.members, "{state:?}");
        }
        for one in self
            .registry
            .iter()
            .filter_map(|one| one.settings.member_address())
        {
            assert!(seen.insert(one), "{one} twice");
        }
    }

    /// The members with a vote, sorted.
    fn voters(&self) -> Vec<IpAddr> {
        let voters = self.registry.iter().filter(|one| !one.settings.is_on_trial());
        let mut voters: Vec<_> = voters.filter_map(|one| one.settings.member_address()).collect();
        voters.sort();
        voters
    }

    fn trials(&self) -> Vec<&Entry> {
        self.registry
            .iter()
            .filter(|one| one.settings.is_on_trial())
            .collect()
    }

    fn id(&self, address: IpAddr) -> Option<UpstreamId> {
        let mut all = self.registry.iter();
        Some(all.find(|one| one.settings.member_address() == Some(address))?.id)
    }
}

#[test]
fn a_pool_is_itself_until_its_name_is_resolved() {
    let mut world = World::new(vec![pool(4)], &[v4(1), v4(2)]);
    world.names.clear();
    world.run(20);
    assert_eq!((world.registry.len(), world.voters().len()), (1, 0));
    assert!(world.registry.iter().all(|one| one.settings == pool(4)));
    assert_eq!(world.pools.states()[0].fault, Some(QueryFault::Unresolved));
    assert_eq!(
        world.lookups.iter().map(|one| one.0).collect::<Vec<_>>(),
        [1, 3, 7, 15]
    );
    world.names.insert("pool.example".to_owned(), vec![v4(1), v4(2)]);
    world.run(20);
    assert_eq!(world.voters(), [v4(1), v4(2)]);
    assert_eq!(world.pools.states()[0].fault, None);
}

#[test]
fn of_many_addresses_as_many_are_polled_as_are_wanted_of_both_families() {
    let all: Vec<IpAddr> = (1..9).map(v4).chain((1..9).map(v6)).collect();
    let mut world = World::new(vec![pool(4)], &all);
    world.run(3600);
    assert_eq!(world.voters(), [v4(1), v4(2), v6(1), v6(2)]);
    assert_eq!(world.lookups.len(), 1, "all is well");
    assert!(world.trials().is_empty());
    assert_eq!(world.pools.states()[0].spares, 12);
}

/// The case of the issue: of eight addresses six are dead.
#[test]
fn dead_addresses_make_room_at_once() {
    let all: Vec<IpAddr> = (1..9).map(v4).collect();
    let mut world = World::new(vec![pool(4)], &all);
    (1..7).for_each(|dead| world.set(v4(dead), Server::Silent));
    world.run(20);
    assert_eq!(world.voters()[2..], [v4(7), v4(8)]);
    world.run(60);
    let voters = world.voters();
    assert!(
        voters.contains(&v4(7)) && voters.contains(&v4(8)) && voters.len() == 4,
        "{voters:?}"
    );
    // Each was tried once, and then no more for an hour: what is left stays, as nothing is better.
    let replaced = world.pools.states()[0].replaced;
    assert_eq!(replaced, 4);
    world.run(1800);
    assert_eq!(world.pools.states()[0].replaced, replaced);
    let lookups: Vec<u64> = world.lookups.iter().map(|one| one.0).collect();
    assert!(
        lookups.windows(2).all(|two| two[1] - two[0] >= 64) && lookups.len() < 8,
        "{lookups:?}"
    );
}

#[test]
fn a_family_without_a_route_takes_no_place_until_it_has_one() {
    let all: Vec<IpAddr> = (1..5).map(v6).chain((1..5).map(v4)).collect();
    let mut world = World::new(vec![pool(4)], &all);
    (1..5).for_each(|number| world.set(v6(number), Server::Unreachable));
    world.run(3);
    assert_eq!(world.voters(), [v4(1), v4(2), v4(3), v4(4)]);
    let tried = world
        .changes
        .iter()
        .filter(|(_, change)| matches!(change, PoolChange::Added(one) if one.is_ipv6()));
    assert_eq!(tried.count(), 2, "not each by itself");
    // Alone it keeps its places.
    let six: Vec<IpAddr> = (1..9).map(v6).collect();
    let mut world = World::new(vec![pool(4)], &six);
    six.iter().for_each(|one| world.set(*one, Server::Unreachable));
    world.run(100);
    let before = world.voters();
    assert!(!before.is_empty());
    six.iter().for_each(|one| world.set(*one, Server::Good));
    world.run(5);
    assert_eq!(world.voters().len(), 4);
    assert!(before.iter().all(|one| world.voters().contains(one)));
}

#[test]
fn one_that_was_good_stays_until_another_one_has_proven_itself() {
    for (bad, why, after) in [
        (Server::Denying, Defect::Denied, 1),
        (Server::Silent, Defect::Silent, 8),
        (Server::False, Defect::Falseticker, 480),
        (Server::Alias, Defect::SameServer, 120),
    ] {
        let mut world = World::new(vec![pool(2)], &[v4(1), v4(2), v4(3)]);
        world.run(10);
        let (kept, id) = (world.id(v4(2)), world.id(v4(1)));
        world.set(v4(1), bad);
        world.run(after - 1);
        assert_eq!(world.trials().len(), 0, "{bad:?}");
        world.run(2);
        assert_eq!(world.id(v4(1)), id, "{bad:?}: it still has its vote");
        let trials = world.trials();
        assert_eq!(trials.len(), 1, "{bad:?}");
        assert!(trials[0].settings.role.noselect && trials[0].settings.member_address() == Some(v4(3)));
        let trial = trials[0].id;
        world.run(5);
        assert_eq!(world.voters(), [v4(2), v4(3)], "{bad:?}");
        assert_eq!(
            (world.id(v4(2)), world.id(v4(3))),
            (kept, Some(trial)),
            "identities stay"
        );
        assert!(!world.registry.get(trial).unwrap().settings.role.noselect);
        let replaced = PoolChange::Replaced {
            old: v4(1),
            why,
            new: v4(3),
        };
        assert!(
            world.changes.iter().any(|(_, one)| *one == replaced),
            "{:?}",
            world.changes
        );
    }
}

#[test]
fn without_a_majority_it_is_not_known_which_one_is_false() {
    let mut world = World::new(vec![pool(2)], &[v4(1), v4(2), v4(3)]);
    world.run(10);
    world.has_majority = false;
    world.set(v4(1), Server::False);
    world.run(3000);
    assert_eq!(world.voters(), [v4(1), v4(2)]);
    world.has_majority = true;
    world.run(490);
    assert_eq!(world.voters(), [v4(2), v4(3)]);
}

#[test]
fn an_address_on_trial_that_disagrees_gets_no_vote() {
    let mut world = World::new(vec![pool(2)], &[v4(1), v4(2), v4(3), v4(4)]);
    world.run(10);
    world.set(v4(3), Server::False);
    world.set(v4(4), Server::Silent);
    world.set(v4(1), Server::Silent);
    world.run(60);
    assert_eq!(
        world.voters(),
        [v4(1), v4(2)],
        "neither is better than what is there"
    );
    let dismissed = |address, why| {
        world
            .changes
            .iter()
            .any(|(_, one)| *one == PoolChange::Dismissed(address, Some(why)))
    };
    assert!(
        dismissed(v4(3), Defect::Disagrees) && dismissed(v4(4), Defect::NoAnswer),
        "{:?}",
        world.changes
    );
    // It is back, and nobody is needed any more.
    world.set(v4(1), Server::Good);
    world.run(5000);
    assert_eq!((world.voters(), world.trials().len()), (vec![v4(1), v4(2)], 0));
}

#[test]
fn whatever_name_servers_answer_good_members_stay() {
    let honest: Vec<IpAddr> = (1..5).map(v4).collect();
    let mut world = World::new(vec![pool(4)], &honest);
    world.run(10);
    let ids: Vec<_> = honest.iter().map(|one| world.id(*one)).collect();
    let hostile: Vec<IpAddr> = (100..200).map(v4).collect();
    hostile.iter().for_each(|one| world.set(*one, Server::Good));
    world.names.insert("pool.example".to_owned(), hostile);
    for _ in 0..100 {
        world.pools.refresh();
        world.run(60);
    }
    assert_eq!(honest.iter().map(|one| world.id(*one)).collect::<Vec<_>>(), ids);
    assert_eq!((world.voters().len(), world.trials().len()), (4, 0));
    assert!(world.pools.states()[0].spares <= SPARES_MAX);
    // A network that fails for hours makes all silent; all are there when it is back.
    let everybody: Vec<IpAddr> = world.servers.keys().copied().collect();
    everybody.iter().for_each(|one| world.set(*one, Server::Silent));
    world.run(10_000);
    assert_eq!(world.voters(), honest);
}

#[test]
fn addresses_that_no_name_may_have_are_left_out() {
    let bad = [
        "127.0.0.1",
        "::1",
        "0.0.0.0",
        "224.0.1.1",
        "fe80::1",
        "::ffff:127.0.0.1",
    ];
    let mut all: Vec<IpAddr> = bad.iter().map(|one| one.parse().unwrap()).collect();
    all.extend([v4(1), "::ffff:192.0.2.1".parse().unwrap()]);
    let mut world = World::new(vec![pool(4)], &all);
    world.run(10);
    assert_eq!(world.voters(), [v4(1)], "the same one in two spellings is one");
}

#[test]
fn no_address_is_polled_twice_whoever_names_it() {
    let literal = Upstream {
        host: Host::Address(v4(1)),
        ..upstream("", Pooling::One)
    };
    let other = upstream("other.example", Pooling::Pool { count: 3 });
    let mut world = World::new(vec![literal, pool(3), other], &[v4(1), v4(2), v4(3), v4(4)]);
    world.names.insert(
        "other.example".to_owned(),
        vec![v4(4), v4(3), v4(2), v4(1), v4(5)],
    );
    world.set(v4(5), Server::Good);
    world.run(100);
    assert_eq!(world.voters(), [v4(2), v4(3), v4(4), v4(5)]);
    // A name of which one address is polled turns to one that is a member already: the member gives way.
    let named = upstream("named.example", Pooling::One);
    world.configured.push(named);
    world.configure();
    let id = world.registry.iter().last().unwrap().id;
    let peer = Peer {
        address: Some(SocketAddr::new(v4(2), 123)),
        accepted: 1,
        reach: 1,
        ..Peer::default()
    };
    world.registry.update(id, peer, Polling::default());
    world.names.get_mut("pool.example").unwrap().push(v4(6));
    world.set(v4(6), Server::Good);
    world.run(100);
    assert!(
        !world.voters().contains(&v4(2)) && world.voters().contains(&v4(6)),
        "{:?}",
        world.voters()
    );
}

#[test]
fn a_reload_keeps_what_is_good() {
    let all: Vec<IpAddr> = (1..9).map(v4).collect();
    let mut world = World::new(vec![pool(4)], &all);
    world.run(10);
    let ids: Vec<_> = (1..5).map(|one| world.id(v4(one))).collect();
    world.set(v4(1), Server::Denying);
    (5..9).for_each(|one| world.set(v4(one), Server::Silent));
    world.run(5);
    world.configured = vec![
        upstream("new.example", Pooling::One),
        Upstream {
            minpoll: 4,
            ..pool(4)
        },
    ];
    world.configure();
    assert_eq!((1..5).map(|one| world.id(v4(one))).collect::<Vec<_>>(), ids);
    assert!(
        world
            .registry
            .iter()
            .filter(|one| one.settings.host == pool(1).host)
            .all(|one| one.settings.minpoll == 4)
    );
    world.configured = vec![pool(3)];
    world.configure();
    assert_eq!(world.voters(), [v4(2), v4(3), v4(4)], "the bad one goes first");
    world.configured = vec![pool(5)];
    world.configure();
    world.run(3);
    assert_eq!(world.voters().len(), 5);
    // One server of that name is another upstream.
    world.configured = vec![upstream("pool.example", Pooling::One)];
    world.configure();
    assert_eq!((world.registry.len(), world.voters().len()), (1, 0));
}

fn server() -> impl Strategy<Value = Server> {
    prop_oneof![
        4 => Just(Server::Good),
        1 => Just(Server::Silent),
        1 => Just(Server::Denying),
        1 => Just(Server::False),
        1 => Just(Server::Alias),
        1 => Just(Server::Unreachable),
    ]
}

proptest! {
    /// Servers and name servers change at will.
    ///
    /// `World::check` holds in each second, what is good always stays, and look-ups are bounded.
    #[test]
    fn what_is_good_stays_whatever_happens(
        count in 1_u8..6,
        steps in vec((vec((0_u8..20, server()), 0..4), vec(0_u8..20, 0..12), 1_u64..400), 1..12),
    ) {
        let mut world = World::new(vec![pool(count)], &(0..4).map(v4).collect::<Vec<_>>());
        for (changes, names, seconds) in steps {
            changes.into_iter().for_each(|(one, server)| world.set(v4(one), server));
            world.names.insert("pool.example".to_owned(), names.into_iter().map(v4).collect());
            let good = |world: &World| -> Vec<IpAddr> {
                let is_good = |one: &IpAddr| world.servers.get(one) == Some(&Server::Good);
                world.voters().into_iter().filter(is_good).collect()
            };
            // Those that are not on their way out: silent before, they may be replaced in the next second.
            world.run(10);
            let before = good(&world);
            world.run(seconds);
            let after = good(&world);
            prop_assert!(before.iter().all(|one| after.contains(one)), "{before:?} {after:?}");
        }
        prop_assert!(world.lookups.len() as u64 <= 1 + world.now / 64);
    }
}
