//! Random frames, whole and damaged, at listeners with random policies: the program does what the sockets' code does.
//!
//! 60,000 in each run of the tests. With more: `FAST_PATH_FRAMES=10000000 cargo test --release --test fast_path differential`

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use ntpfront::leap::Smear;
use ntpfront::server::interleaved::InterleavedRequest;
use ntpfront::server::policy::access::{Access, OnDeny};
use ntpfront::server::policy::allowance::Allowance;
use ntpfront::server::policy::limit::{Bucket, Clients, RequestClass, RequestContext};
use ntpfront::server::policy::probability::{Probability, Random};
use ntpfront::server::policy::{Announced, NtsMode, Policy, RuleMode, Ruling};
use ntpfront::server::{ReplyBuffer, Request, Verdict, respond};
use ntpfront::wire::{HEADER_LEN, Header};

use crate::common::root;
use crate::comparison::way;
use crate::damage::mend;
use crate::desk::{Action, BROADCASTS, Desk, MINE4, MINE6, TAGGED, policy};
use crate::frames::{OURS, THEIRS, Way, take};

/// The most frames for one policy; less, so that there are a dozen policies in a short run.
const ROUND: u64 = 10_000;
const POLICIES: u64 = 12;

/// Numbers that seem random (Vigna's splitmix64).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, most: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(most).unwrap()).unwrap()
    }

    fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }

    fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[0]
    }
}

/// Hosts, and addresses of no host.
const SOURCES: [&str; 16] = [
    "198.51.100.7",
    "198.51.100.8",
    "198.51.101.9",
    "203.0.113.200",
    "8.8.8.8",
    "192.0.2.9",
    "192.0.2.255",
    "224.0.1.1",
    "127.0.0.1",
    "0.1.2.3",
    "2001:db8:1::7",
    "2001:db8:1:1::7",
    "2001:db8:2::9",
    "2a00::1",
    "ff0e::101",
    "::1",
];

fn random_policy(numbers: &mut Numbers) -> Policy {
    let mut policy = policy();
    let modes = [RuleMode::Off, RuleMode::DryRun, RuleMode::On, RuleMode::On];
    let nets = [
        "198.51.100.0/24",
        "198.51.100.8/32",
        "203.0.112.0/20",
        "2001:db8:1::/48",
        "2001:db8:1:1::/64",
        "2a00::/12",
    ];
    let rules: Vec<(IpNet, bool)> = nets
        .iter()
        .map(|net| (net.parse().unwrap(), numbers.one_in(2)))
        .collect();
    let on_deny = numbers.one_of(&[OnDeny::Drop, OnDeny::Kiss]);
    policy.access = Access::new(&rules, numbers.one_in(2), on_deny, numbers.one_of(&modes));
    policy.limit.mode = numbers.one_of(&modes);
    policy.limit.kiss = numbers.one_of(&[Probability::NONE, Probability::of(1.0)]);
    policy.limit.leak = numbers.one_of(&[Probability::NONE, Probability::NONE, Probability::of(1.0)]);
    let bucket = Bucket {
        interval: Duration::from_secs(64),
        burst: 8 + u32::from(numbers.byte()) * 4,
        ipv4_prefix: numbers.one_of(&[32, 24, 8]),
        ipv6_prefix: numbers.one_of(&[128, 64, 48]),
    };
    policy.limit.client = bucket;
    policy.limit.wide = numbers.one_in(3).then_some(Bucket {
        burst: bucket.burst * 2,
        ipv4_prefix: 8,
        ipv6_prefix: 32,
        ..bucket
    });
    match numbers.below(24) {
        0 => policy.answer = Announced::Unsynchronized,
        1 => policy.max_stratum = 2,
        2 => policy.budget = RuleMode::On,
        3 => policy.nts = NtsMode::Require,
        4 => policy.nts = NtsMode::Off,
        5 => policy.smear = Some(Smear::default()),
        _ => {}
    }
    policy
}

/// A listener of this kind is the sockets' alone, at least as things are.
fn is_left_to_the_sockets(policy: &Policy, desk: &Desk) -> bool {
    (policy.smear.is_some() && desk.is_leap_near)
        || (policy.budget != RuleMode::Off && desk.allowance == 0)
        || policy.answer != Announced::Time
        || policy.max_stratum < 3
        || policy.nts == NtsMode::Require
}

fn random_frame(numbers: &mut Numbers) -> Vec<u8> {
    let source = numbers.one_of(&SOURCES);
    let tags = numbers.one_of(&[&[][..], &[], &[], &[5], &[5, 6]]);
    let port = match numbers.below(8) {
        0 => 0,
        1 => 123,
        other => 40_000 + u16::try_from(other).unwrap(),
    };
    let mut way = Way {
        port: if numbers.one_in(32) { 124 } else { 123 },
        ..way(source, port, tags)
    };
    if numbers.one_in(16) {
        way.asked = match way.source.is_ipv4() {
            true => numbers.one_of(&[TAGGED.into(), BROADCASTS[0].into(), IpAddr::from([192, 0, 2, 2])]),
            false => "2001:db8::2".parse().unwrap(),
        };
    }
    let mut payload: [u8; HEADER_LEN] = std::array::from_fn(|_| numbers.byte());
    if !numbers.one_in(4) {
        payload[0] = numbers.one_of(&[0x23, 0xe3, 0x1b, 0x19, 0x13, 0x0b, 0x08, 0x21]);
    }
    // Candidates for interleaved mode, requests that lack one thing to be that, and all others.
    if numbers.one_in(2) {
        payload[31] &= !1;
    } else if numbers.one_in(4) {
        payload.copy_within(32..40, 40);
    }
    let (to, from) = (
        if numbers.one_in(32) { [0xff; 6] } else { OURS },
        if numbers.one_in(32) {
            [1, 0, 0x5e, 0, 1, 1]
        } else {
            THEIRS
        },
    );
    let mut frame = way.frame(to, from, &payload);
    if numbers.one_in(16) {
        let longer = [&payload[..], &[0; 20]].concat();
        frame = way.frame(to, from, &longer);
    }
    for _ in 0..numbers.one_of(&[0, 0, 0, 1, 2, 3]) {
        let at = numbers.below(frame.len());
        match numbers.below(4) {
            0 => frame[at] = numbers.byte(),
            1 => frame[at] ^= 1 << numbers.below(8),
            2 => frame.truncate(at.max(14)),
            _ => frame.extend((0..numbers.below(40)).map(|_| 0x5a)),
        }
    }
    if numbers.one_in(3) {
        mend(&mut frame);
    }
    frame
}

/// What the sockets' code would do, with the header that the program said.
struct Sockets {
    policy: Policy,
    interleaves: bool,
    clients: Clients,
    random: Random,
    allowance: Allowance,
}

impl Sockets {
    fn new(policy: Policy, interleaves: bool) -> Self {
        Self {
            policy,
            interleaves,
            clients: Clients::new(4096, [1, 2]),
            random: Random::new(1),
            allowance: Allowance::default(),
        }
    }

    /// The verdict and the reply, or none where the frame is not one for the program.
    fn judge(&mut self, frame: &[u8], desk: &Desk, said: &Header) -> Option<(Verdict, Vec<u8>)> {
        let request = take(frame)?;
        let is_tagged = frame.get(12..14) != Some(&[8, 0]) && frame.get(12..14) != Some(&[0x86, 0xdd]);
        let asked = request.asked;
        let is_ours = asked == IpAddr::from(MINE4)
            || asked == IpAddr::from(MINE6)
            || (asked == IpAddr::from(TAGGED) && is_tagged);
        if request.to != OURS || request.port != 123 || !is_ours || request.payload.len() != HEADER_LEN {
            return None;
        }
        if self.interleaves && InterleavedRequest::of_packet(request.payload).is_some() {
            return None;
        }
        let mut reply = [0; HEADER_LEN];
        let is_host = frame[6] & 1 == 0 && !BROADCASTS.iter().any(|one| IpAddr::from(*one) == request.source);
        let (policy, clients, random, allowance) =
            (&self.policy, &mut self.clients, &mut self.random, &self.allowance);
        let asks = RequestContext {
            source: request.source,
            class: RequestClass::Plain,
            now: Duration::from_secs(1),
            budget: RuleMode::Off,
            allowance,
        };
        let ruling = || match is_host {
            true => policy.rule(clients, &asks, random, |_| ()),
            false => Ruling::Refuse(Verdict::RefusedSource),
        };
        let verdict = respond(
            &Request {
                payload: request.payload,
                source: request.source,
                source_port: request.source_port,
                unicast: true,
                received_at: said.receive_timestamp,
            },
            said.transmit_timestamp,
            ruling,
            &desk.variables_in(said),
            &mut ReplyBuffer::new(&mut reply),
        );
        Some((verdict, reply.to_vec()))
    }
}

/// The program does with this frame what the sockets' code says.
fn is_the_same(desk: &mut Desk, sockets: &mut Sockets, frame: &[u8]) -> Option<Verdict> {
    let is_left = is_left_to_the_sockets(&sockets.policy, desk);
    let (action, out) = desk.ask(frame);
    let mut said = Header::parse(
        out.get(out.len().saturating_sub(HEADER_LEN)..)
            .unwrap_or_default(),
    );
    if let Ok(said) = &mut said
        && action != Action::Send
    {
        said.stratum = 0; // These are the client's words.
    }
    let judged = match said {
        Ok(said) if !is_left => sockets.judge(frame, desk, &said),
        _ => None,
    };
    let Some((verdict, reply)) = judged else {
        assert_eq!(
            (action, &out[..]),
            (Action::Pass, frame),
            "not one for the program: {frame:02x?}"
        );
        return None;
    };
    let refused = [
        Verdict::RefusedDenied,
        Verdict::RefusedRate,
        Verdict::RefusedSource,
    ];
    let wanted = match verdict {
        verdict if verdict.has_reply() => Action::Send,
        verdict if refused.contains(&verdict) => Action::Drop,
        _ => Action::Pass,
    };
    assert_eq!(action, wanted, "{verdict:?} {frame:02x?}");
    if action == Action::Send {
        let request = take(frame).unwrap();
        let back = take(&out).expect("whole, with good checksums");
        assert_eq!(back.payload, reply, "{verdict:?} {frame:02x?}");
        assert_eq!((back.source, back.asked), (request.asked, request.source));
        assert_eq!((back.source_port, back.port), (request.port, request.source_port));
        assert_eq!(
            (out.len(), &out[..6], &out[6..12]),
            (frame.len(), &frame[6..12], &frame[..6])
        );
    } else {
        assert_eq!(out, frame, "left as it was");
    }
    (action != Action::Pass).then_some(verdict)
}

#[test]
fn the_program_and_the_sockets_do_the_same() {
    if !root() {
        return;
    }
    let frames = std::env::var("FAST_PATH_FRAMES").map_or(60_000, |frames| frames.parse().unwrap());
    let seed = std::env::var("FAST_PATH_SEED").map_or(1, |seed| seed.parse().unwrap());
    let mut numbers = Numbers(seed);
    let mut counted = std::collections::BTreeMap::new();
    let round = (frames / POLICIES).clamp(1, ROUND);
    for _ in 0..u64::div_ceil(frames, round) {
        let policy = random_policy(&mut numbers);
        let interleaves = !numbers.one_in(4);
        let mut desk = Desk::interleaving(&policy, interleaves);
        desk.is_leap_near = numbers.one_in(2);
        desk.allowance = numbers.one_of(&[0, u32::MAX]);
        desk.publish();
        let mut sockets = Sockets::new(policy, interleaves);
        for _ in 0..round {
            let frame = random_frame(&mut numbers);
            if frame.len() < 14 {
                continue;
            }
            let verdict = is_the_same(&mut desk, &mut sockets, &frame);
            *counted
                .entry(verdict.map_or("passed", Verdict::name))
                .or_insert(0_u64) += 1;
        }
    }
    println!("{frames} frames, {counted:?}");
    for verdict in [Verdict::AnsweredClient, Verdict::RefusedSource] {
        assert!(
            counted.get(verdict.name()) > Some(&(frames / 100)),
            "{verdict:?}: {counted:?}"
        );
    }
}
