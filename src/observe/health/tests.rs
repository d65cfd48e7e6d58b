//! Pure. Tests of the health of the server.

use super::super::snapshot::{DrainStatus, example};
use super::*;
use crate::upstream::system_process::State;

const GOOD: &str = "synchronized, stratum 3, maximum error 0.000750 s";

fn line(snapshot: &Snapshot, criteria: &HealthCriteria) -> String {
    Health::of(&snapshot.health_view(), criteria).line()
}

fn any() -> HealthCriteria {
    HealthCriteria::default()
}

fn at(listener: &str) -> HealthCriteria {
    HealthCriteria {
        listener: Some(listener.parse().unwrap()),
        ..any()
    }
}

fn limited(limit: f64) -> HealthCriteria {
    HealthCriteria {
        max_distance: Some(limit),
        ..any()
    }
}

/// Two listeners that serve, and nothing to be warned of.
fn sound() -> Snapshot {
    let mut snapshot = example();
    snapshot.nts = None;
    snapshot.listeners.truncate(2);
    snapshot
}

#[test]
fn a_listener_without_its_address_is_named_and_counts_if_it_is_required() {
    let mut snapshot = example();
    snapshot.nts = None;
    assert_eq!(
        line(&snapshot, &any()),
        format!("healthy: {GOOD}; not served: 192.0.2.7:123\n")
    );
    snapshot.listeners[2].required = true;
    assert_eq!(
        line(&snapshot, &any()),
        format!("not healthy: {GOOD}; not served: 192.0.2.7:123, which is required\n")
    );
    snapshot.listeners[2].serving = true;
    assert_eq!(line(&snapshot, &any()), format!("healthy: {GOOD}\n"));
    snapshot.listeners[2].announces_time = false;
    assert_eq!(
        line(&snapshot, &any()),
        format!("not healthy: {GOOD}; \"unsynchronized\" at 192.0.2.7:123, which is required\n")
    );
}

/// Clients get the time from a listener that is to be drained, and should go elsewhere before that changes.
#[test]
fn a_listener_that_is_to_be_drained_is_left() {
    let mut snapshot = sound();
    let announced = Some(DrainStatus {
        by: "command",
        begins_in: Some(5.0),
        ends_in: None,
    });
    let [first, second] = [0, 1].map(|at| snapshot.listeners[at].address);
    snapshot.listeners[1].drain.clone_from(&announced);
    let one = format!("healthy: {GOOD}; to be drained: {second}\n");
    assert_eq!(line(&snapshot, &any()), one);
    assert!(!Health::of(&snapshot.health_view(), &at(&second.to_string())).healthy);
    snapshot.listeners[0].drain = announced;
    assert_eq!(
        line(&snapshot, &any()),
        format!(
            "not healthy: {GOOD}; each listener that announces the time is to be drained; to be drained: {first}; to be drained: {second}\n"
        )
    );
}

/// Clients are sent away by all of them: so must be what brings more of them.
#[test]
fn it_is_not_healthy_if_no_listener_announces_the_time() {
    let mut snapshot = sound();
    snapshot.listeners[1].announces_time = false;
    let [first, second] = [0, 1].map(|at| snapshot.listeners[at].address);
    assert_eq!(
        line(&snapshot, &any()),
        format!("healthy: {GOOD}; \"unsynchronized\" at {second}\n")
    );
    snapshot.listeners[0].announces_time = false;
    assert_eq!(
        line(&snapshot, &any()),
        format!(
            "not healthy: {GOOD}; no listener announces the time; \"unsynchronized\" at {first}; \"unsynchronized\" at {second}\n"
        )
    );
    // One that is not there announces none, either.
    snapshot.listeners[0].announces_time = true;
    snapshot.listeners[0].serving = false;
    assert!(!Health::of(&snapshot.health_view(), &any()).healthy);
    snapshot.listeners.clear();
    assert!(!Health::of(&snapshot.health_view(), &any()).healthy);
}

#[test]
fn one_listener_can_be_asked_about() {
    let mut snapshot = example();
    snapshot.nts = None;
    snapshot.listeners[1].announces_time = false;
    let ipv6 = snapshot.listeners[1].address;
    for (listener, healthy, words) in [
        ("0.0.0.0:123", true, ""),
        ("0.0.0.0", true, ""),
        // The kernel gives the packets of an address without a listener to the one of all addresses.
        ("198.51.100.123:123", true, ""),
        ("198.51.100.123", true, ""),
        (
            "198.51.100.123:124",
            false,
            "there is no listener for 198.51.100.123:124",
        ),
        ("[::1]:123", false, "there is no listener for [::1]:123"),
        (
            "192.0.2.7",
            false,
            "no listener announces the time; not served: 192.0.2.7:123",
        ),
        (
            &ipv6.to_string(),
            false,
            "no listener announces the time; \"unsynchronized\" at [2001",
        ),
        (
            &format!("[{}]", ipv6.ip()),
            false,
            "no listener announces the time",
        ),
    ] {
        let said = line(&snapshot, &at(listener));
        assert_eq!(said.starts_with("healthy: "), healthy, "{listener}: {said}");
        assert!(said.contains(words), "{listener}: {said}");
        assert_eq!(
            words.is_empty(),
            said == format!("healthy: {GOOD}\n"),
            "{listener}: {said}"
        );
    }
    // Another one that is required does not matter then.
    snapshot.listeners[2].required = true;
    assert!(Health::of(&snapshot.health_view(), &at("0.0.0.0:123")).healthy);
}

#[test]
fn names_of_listeners() {
    for text in [
        "192.0.2.1",
        "192.0.2.1:123",
        "2001:db8::1",
        "[2001:db8::1]:123",
        "[fe80::1%4]:123",
    ] {
        let name: ListenerName = text.parse().unwrap();
        assert_eq!(name.to_string(), text);
        let json = serde_json::to_string(&name).unwrap();
        assert_eq!(serde_json::from_str::<ListenerName>(&json).unwrap(), name);
    }
    for text in [
        "",
        "ntp.example",
        "192.0.2.1:",
        "192.0.2.1:65536",
        "[::1",
        "::1]",
        ":123",
        "192.0.2.1 ",
    ] {
        assert!(text.parse::<ListenerName>().is_err(), "{text}");
    }
}

/// The service is for all clients, so it stays healthy.
#[test]
fn a_certificate_that_ends_soon_is_named() {
    let mut snapshot = example();
    snapshot.listeners.truncate(2);
    assert_eq!(
        line(&snapshot, &any()),
        format!("healthy: {GOOD}; certificate for time.example, ntp.example: 9 days left\n")
    );
    let health = Health::of(&snapshot.health_view(), &any());
    assert_eq!(health.warnings.len(), 1);
    let nts = snapshot.nts.as_mut().unwrap();
    nts.key_establishment.as_mut().unwrap().certificates[0].trouble = None;
    assert_eq!(Health::of(&snapshot.health_view(), &any()).warnings, [""; 0]);
}

#[test]
fn a_good_time_is_healthy() {
    let mut snapshot = sound();
    assert_eq!(line(&snapshot, &limited(0.001)), format!("healthy: {GOOD}\n"));
    assert_eq!(
        line(&snapshot, &limited(0.0005)),
        format!("not healthy: {GOOD}, over the limit of 0.0005 s\n")
    );
    snapshot.clock_status.state = State::Holdover;
    assert!(Health::of(&snapshot.health_view(), &any()).healthy);
    snapshot.clock_status.state = State::Disputed;
    snapshot.clock_status.usable = false;
    snapshot.clock_status.reference.root_distance = None;
    let disputed = "not healthy: disputed: clients get no time\n";
    assert_eq!(line(&snapshot, &any()), disputed);
    // There is nothing that a listener could announce.
    for one in &mut snapshot.listeners {
        one.announces_time = false;
    }
    assert_eq!(line(&snapshot, &any()), disputed);
}
