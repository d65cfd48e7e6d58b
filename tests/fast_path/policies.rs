//! Access lists and limits: the program decides as the sockets do.

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;

use ntpfront::server::policy::access::{Access, OnDeny};
use ntpfront::server::policy::limit::{Bucket, Clients, RequestClass, RequestContext};
use ntpfront::server::policy::probability::{Probability, Random};
use ntpfront::server::policy::{Annotation, RuleMode, Ruling};
use ntpfront::server::{Allowance, Verdict};
use ntpfront::wire::ReferenceId;

use crate::common::root;
use crate::comparison::{payload, same_as_sockets, way};
use crate::desk::{Action, Desk, policy};
use crate::frames::{OURS, THEIRS, take};

/// A denied client and an allowed one on each side of each boundary, and the program's search finds the same.
#[test]
fn access_lists_say_the_same() {
    if !root() {
        return;
    }
    let mut random = Random::new(7);
    let mut bits = move || {
        (0..128).fold(0_u128, |all, _| {
            all << 1 | u128::from(random.sample(Probability::of(0.5)))
        })
    };
    for count in [0, 1, 2, 3, 50, 1000] {
        for default in [true, false] {
            let rules: Vec<(IpNet, bool)> = (0..count)
                .flat_map(|_| {
                    let (address, length) = (bits(), bits());
                    let v4 = IpAddr::from(u32::try_from(address >> 96).unwrap().to_be_bytes());
                    let v6 = IpAddr::from((address | 1 << 125).to_be_bytes());
                    let (short, long) = (8 + (length % 25) as u8, 16 + (length % 100) as u8);
                    [
                        (v4, short, length & 1 << 40 == 0),
                        (v6, long, length & 1 << 41 == 0),
                    ]
                })
                .map(|(address, length, allowed)| (IpNet::new(address, length).unwrap().trunc(), allowed))
                .collect();
            let mut policy = policy();
            policy.access = Access::new(&rules, default, OnDeny::Drop, RuleMode::On);
            let mut desk = Desk::new(&policy);
            let near = rules.iter().flat_map(|(net, _)| [net.network(), net.broadcast()]);
            let far = ["1.0.0.1", "223.255.255.255", "2001:db8:1::7"].map(|far| far.parse().unwrap());
            for source in near.chain(far).take(400) {
                ask_by_access(&mut desk, &policy.access, source);
            }
        }
    }
}

fn ask_by_access(desk: &mut Desk, access: &Access, source: IpAddr) {
    let way = way(&source.to_string(), 9, &[]);
    let frame = way.frame(OURS, THEIRS, &payload(4, 3));
    if take(&frame).is_none() {
        return; // An address that nobody can answer passes.
    }
    let ruling = match access.allows(source) {
        true => Ruling::Answer,
        false => Ruling::Refuse(Verdict::RefusedDenied),
    };
    same_as_sockets(desk, way, &payload(4, 3), ruling);
}

#[test]
fn a_denial_is_told_or_only_counted() {
    if !root() {
        return;
    }
    let deny = [("198.51.100.0/24".parse().unwrap(), false)];
    let mut policy = policy();
    policy.access = Access::new(&deny, true, OnDeny::Kiss, RuleMode::On);
    let mut desk = Desk::new(&policy);
    let kiss = Ruling::Kiss {
        verdict: Verdict::KissedDenied,
        code: ReferenceId::DENY,
        poll: i8::MIN,
    };
    assert_eq!(
        same_as_sockets(&mut desk, way("198.51.100.7", 9, &[]), &payload(3, 1), kiss),
        Verdict::KissedDenied
    );
    policy.access = Access::new(&deny, true, OnDeny::Drop, RuleMode::DryRun);
    let mut desk = Desk::new(&policy);
    same_as_sockets(
        &mut desk,
        way("198.51.100.7", 9, &[]),
        &payload(3, 1),
        Ruling::Answer,
    );
    assert_eq!(desk.counted().annotated(Annotation::WouldDeny), 1);
}

/// As many answers as tokens, and then what the socket path does with clients that ask too often.
#[test]
fn limits_say_the_same() {
    if !root() {
        return;
    }
    for (kiss, leak, mode, wide) in [
        (Probability::NONE, Probability::NONE, RuleMode::On, false),
        (Probability::of(1.0), Probability::NONE, RuleMode::On, false),
        (Probability::NONE, Probability::of(1.0), RuleMode::On, false),
        (Probability::NONE, Probability::NONE, RuleMode::DryRun, false),
        (Probability::NONE, Probability::NONE, RuleMode::On, true),
    ] {
        let mut policy = policy();
        policy.limit.mode = mode;
        (policy.limit.kiss, policy.limit.leak) = (kiss, leak);
        let bucket = Bucket {
            interval: Duration::from_secs(64),
            burst: 20,
            ipv4_prefix: 24,
            ipv6_prefix: 56,
        };
        policy.limit.client = bucket;
        policy.limit.wide = wide.then_some(Bucket {
            burst: 11,
            ipv4_prefix: 8,
            ipv6_prefix: 32,
            ..bucket
        });
        let mut desk = Desk::new(&policy);
        let mut clients = Clients::new(1024, [1, 2]);
        let mut random = Random::new(1);
        for round in 0..60_u8 {
            for source in [format!("198.51.100.{round}"), format!("2001:db8:1:{round:x}::7")] {
                let asked = RequestContext {
                    source: source.parse().unwrap(),
                    class: RequestClass::Plain,
                    now: Duration::from_secs(1),
                    budget: RuleMode::Off,
                    allowance: &Allowance::default(),
                };
                let mut remarks = Vec::new();
                let ruling = policy.rule(&mut clients, &asked, &mut random, |remark| remarks.push(remark));
                let before = desk.counted();
                same_as_sockets(&mut desk, way(&source, 9, &[]), &payload(4, 3), ruling);
                let after = desk.counted();
                for remark in Annotation::all() {
                    let new = after.annotated(remark) - before.annotated(remark);
                    assert_eq!(
                        new,
                        u64::from(remarks.contains(&remark)),
                        "{remark:?} {round} {source}"
                    );
                }
            }
        }
        let limited = desk.counted().answered() < 120;
        assert_eq!(limited, mode == RuleMode::On && leak == Probability::NONE);
    }
}

/// A client that asks the more the less it is answered is answered, at the sockets and here.
#[test]
fn an_impatient_client_is_answered() {
    if !root() {
        return;
    }
    let mut policy = policy();
    policy.limit.mode = RuleMode::On;
    (policy.limit.kiss, policy.limit.leak) = (Probability::NONE, Probability::NONE);
    policy.limit.client.interval = Duration::from_millis(200);
    policy.limit.client.burst = 8;
    let mut desk = Desk::new(&policy);
    let frame = way("198.51.100.7", 9, &[]).frame(OURS, THEIRS, &payload(4, 3));
    // An answer keeps it quiet for 60 ms, silence for 4.
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    while desk.counted().annotated(Annotation::RetriesWhenDropped) == 0 {
        desk.publish();
        let (action, _) = desk.ask(&frame);
        let quiet = if action == Action::Send { 60 } else { 4 };
        std::thread::sleep(Duration::from_millis(quiet));
        assert!(std::time::Instant::now() < deadline, "{:?}", desk.counted());
    }
}

/// More clients than there is room for: the heavy one stays known.
#[test]
fn a_full_table_forgets_who_is_quiet() {
    if !root() {
        return;
    }
    let mut policy = policy();
    policy.limit.mode = RuleMode::On;
    (policy.limit.kiss, policy.limit.leak) = (Probability::NONE, Probability::NONE);
    policy.limit.clients = 1024;
    policy.limit.client.interval = Duration::from_secs(64);
    let mut desk = Desk::new(&policy);
    let heavy = way("198.51.100.7", 9, &[]).frame(OURS, THEIRS, &payload(4, 3));
    for _ in 0..200 {
        desk.ask(&heavy);
    }
    assert_eq!(desk.ask(&heavy).0, Action::Drop);
    for number in 0..20_000_u32 {
        let [_, a, b, c] = number.to_be_bytes();
        let light = way(&format!("203.{a}.{b}.{c}"), 9, &[]).frame(OURS, THEIRS, &payload(4, 3));
        assert_eq!(desk.ask(&light).0, Action::Send, "{number}");
        if number % 1000 == 0 {
            desk.publish();
        }
    }
    assert_eq!(desk.ask(&heavy).0, Action::Drop);
}
