//! Pure. Tests of the registry: reloads of all kinds, one by one and many in a row.

use std::collections::BTreeSet;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::upstream::interleaved::InterleavedQuestions;
use crate::upstream::{Host, Role};

/// The upstream of a name, with this `minpoll`.
fn named(name: &str, minpoll: i8) -> Upstream {
    Upstream {
        host: Host::Name(name.to_owned()),
        port: 123,
        iburst: true,
        minpoll,
        maxpoll: 10,
        role: Role::default(),
        interleaved: InterleavedQuestions::Auto,
        pooling: crate::upstream::Pooling::One,
        key: None,
        nts: None,
    }
}

fn all(names: &str) -> Vec<Upstream> {
    names.split_whitespace().map(|name| named(name, 6)).collect()
}

/// The names in the order of the configuration, each with its identity.
fn displayed(registry: &Registry) -> Vec<(String, UpstreamId)> {
    let name = |one: &Entry| (one.settings.host.to_string(), one.id);
    registry.in_configured_order().into_iter().map(name).collect()
}

/// The state of an upstream, identified by its number of samples.
fn heard(samples: u64) -> (Peer, Polling) {
    let peer = Peer {
        accepted: samples,
        ..Peer::default()
    };
    let mut polling = Polling::default();
    polling.rejected[0] = samples;
    (peer, polling)
}

#[test]
fn who_stays_who_comes_and_who_goes() {
    for (what, before, wanted, kept, started, stopped) in [
        ("the start", "", "a b", vec![], vec![0, 1], vec![]),
        (
            "nothing new",
            "a b c",
            "a b c",
            vec![(0, 0), (1, 1), (2, 2)],
            vec![],
            vec![],
        ),
        (
            "another order",
            "a b c",
            "c a b",
            vec![(2, 0), (0, 1), (1, 2)],
            vec![],
            vec![],
        ),
        ("one goes", "a b c", "a c", vec![(0, 0), (2, 1)], vec![], vec![1]),
        ("one comes", "a c", "a b c", vec![(0, 0), (1, 2)], vec![1], vec![]),
        ("one for another", "a b", "a c", vec![(0, 0)], vec![1], vec![1]),
        ("all others", "a b", "c d", vec![], vec![0, 1], vec![0, 1]),
        ("nobody", "a b", "", vec![], vec![], vec![0, 1]),
        (
            "another spelling",
            "a.example B",
            "b. A.Example.",
            vec![(1, 0), (0, 1)],
            vec![],
            vec![],
        ),
        (
            "a second one of a kind",
            "a b",
            "a b A",
            vec![(0, 0), (1, 1)],
            vec![2],
            vec![],
        ),
        (
            "one of a kind goes",
            "a b a",
            "b a",
            vec![(1, 0), (0, 1)],
            vec![],
            vec![2],
        ),
        (
            "of a kind, turned",
            "a b a",
            "a a b",
            vec![(0, 0), (2, 1), (1, 2)],
            vec![],
            vec![],
        ),
    ] {
        let registry = Registry::new(&all(before));
        let ids: Vec<_> = registry.iter().map(|one| one.id).collect();
        let running = registry.iter().map(|one| (one.id, one.settings.endpoint()));
        let wanted = all(wanted);
        let plan = plan(running, &wanted);
        let configured = |place: usize| Configured {
            place,
            settings: wanted[place].clone(),
        };
        let expected = Plan {
            keep: kept
                .iter()
                .map(|&(old, new)| (ids[old], configured(new)))
                .collect(),
            start: started.into_iter().map(configured).collect(),
            stop: stopped.into_iter().map(|old: usize| ids[old]).collect(),
        };
        assert_eq!(plan, expected, "{what}");
    }
}

#[test]
fn other_settings_hold_at_once_and_what_is_known_stays() {
    let mut registry = Registry::new(&all("a b"));
    let ids: Vec<_> = registry.iter().map(|one| one.id).collect();
    let (peer, polling) = heard(7);
    registry.update(ids[0], peer, polling);
    registry.reconfigure(&[named("b", 6), named("A.", 8)]);
    assert_eq!(
        displayed(&registry),
        [("b".to_owned(), ids[1]), ("A.".to_owned(), ids[0])]
    );
    let one = registry.get(ids[0]).unwrap();
    assert_eq!(
        (one.peer.accepted, one.polling, one.settings.minpoll),
        (7, polling, 8)
    );
}

#[test]
fn late_reports_of_a_poller_that_has_ended_are_dropped() {
    let mut registry = Registry::new(&all("a b"));
    let gone = displayed(&registry)[0].1;
    registry.reconfigure(&all("b"));
    assert!(!registry.contains(gone));
    registry.reconfigure(&all("b a"));
    let (peer, polling) = heard(7);
    registry.update(gone, peer, polling);
    assert!(
        registry
            .iter()
            .all(|one| one.id != gone && one.peer.accepted == 0)
    );
    assert_eq!(registry.len(), 2);
}

/// A configuration: some of six servers, in any order, written in one of two ways, and perhaps more than once.
fn configuration() -> impl Strategy<Value = Vec<Upstream>> {
    let one = (0..6_u8, any::<bool>(), 4..8_i8).prop_map(|(number, is_upper, minpoll)| {
        let name = format!("n{number}.example");
        let spelled = if is_upper { name.to_uppercase() + "." } else { name };
        named(&spelled, minpoll)
    });
    vec(one, 0..8)
}

/// The number of these that are the same server.
fn count(all: &[Upstream], endpoint: &Endpoint) -> usize {
    all.iter().filter(|one| one.endpoint() == *endpoint).count()
}

proptest! {
    /// For any sequence of configurations: each upstream that stays keeps its state, and no other one gets it.
    ///
    /// No identity is used again, and the display has the order of the configuration.
    #[test]
    fn nothing_is_mixed_up_by_any_reloads(configurations in vec(configuration(), 1..8)) {
        let mut registry = Registry::default();
        let mut before: Vec<Upstream> = Vec::new();
        let mut known: BTreeMap<UpstreamId, (Endpoint, u64)> = BTreeMap::new();
        let mut ever: BTreeSet<UpstreamId> = BTreeSet::new();
        let mut samples = 0;
        for wanted in configurations {
            registry.reconfigure(&wanted);
            let shown: Vec<_> = registry.in_configured_order().iter().map(|one| one.settings.clone()).collect();
            prop_assert_eq!(&shown, &wanted);
            for endpoint in wanted.iter().chain(&before).map(Upstream::endpoint) {
                let stayed = registry.iter().filter(|one| one.settings.endpoint() == endpoint && known.contains_key(&one.id));
                prop_assert_eq!(stayed.count(), count(&before, &endpoint).min(count(&wanted, &endpoint)));
            }
            let mut now = BTreeMap::new();
            let entries: Vec<Entry> = registry.iter().cloned().collect();
            for one in entries {
                let endpoint = one.settings.endpoint();
                match known.get(&one.id) {
                    Some(was) => prop_assert_eq!(&(endpoint.clone(), one.peer.accepted), was),
                    None => prop_assert!(ever.insert(one.id) && one.peer.accepted == 0 && one.polling == Polling::default()),
                }
                samples += 1;
                let (peer, polling) = heard(samples);
                registry.update(one.id, peer, polling);
                now.insert(one.id, (endpoint, samples));
            }
            (known, before) = (now, wanted);
        }
    }

    /// A plan contains each upstream exactly once.
    #[test]
    fn a_plan_is_whole(running in configuration(), wanted in configuration()) {
        let registry = Registry::new(&running);
        let plan = plan(registry.iter().map(|one| (one.id, one.settings.endpoint())), &wanted);
        let mut ids: Vec<_> = plan.keep.iter().map(|(id, _)| *id).chain(plan.stop.iter().copied()).collect();
        ids.sort_unstable();
        prop_assert!(ids.into_iter().eq(registry.iter().map(|one| one.id)));
        let mut places: Vec<_> = plan.keep.iter().map(|(_, one)| one).chain(&plan.start).collect();
        places.sort_by_key(|one| one.place);
        prop_assert!(places.iter().map(|one| one.place).eq(0..wanted.len()));
        prop_assert!(places.iter().all(|one| one.settings == wanted[one.place]));
        for (id, configured) in &plan.keep {
            prop_assert_eq!(registry.get(*id).unwrap().settings.endpoint(), configured.settings.endpoint());
        }
    }
}
