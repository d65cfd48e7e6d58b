//! Impure. The packet path over real sockets: packets with a MAC among others.

use super::*;

#[test]
fn replies_with_a_mac_are_genuine_and_leave_after_they_came() {
    for together in [false, true] {
        let mut desk = Desk::new(with_keys(policy(None)), None);
        let packets: Vec<_> = (0..60)
            .map(|number| match (desk.header(), number % 3) {
                (plain, 0) => plain.to_vec(),
                (plain, _) => signed(&plain),
            })
            .collect();
        let before = clock::realtime();
        let replies = desk.ask(&packets, together);
        let after = clock::realtime();
        for packet in &packets {
            let origin = Header::parse(packet).unwrap().transmit_timestamp.to_bits();
            let reply = &replies[&origin];
            assert_eq!(reply.len(), packet.len());
            let (header, behind) = reply.split_at(HEADER_LEN);
            assert!(behind.is_empty() || behind == mac(header));
            let header = Header::parse(header).unwrap();
            let (t2, t3) = (header.receive_timestamp, header.transmit_timestamp);
            assert!(!t2.is_after(t3) && !before.is_after(t2));
            assert!((t3 - after).to_seconds() < 0.001, "{}", (t3 - after).to_seconds());
        }
        let counts = desk.looped.counters.snapshot();
        assert_eq!(
            (counts.of(Verdict::AnsweredMac), counts.residence.count()),
            (40, 60)
        );
        assert_eq!(counts.longer, 40 * 24);
    }
}

#[test]
fn a_flood_in_the_name_of_a_client_takes_nothing_from_its_requests_with_a_mac() {
    let mut desk = Desk::new(with_keys(policy(Some(8))), None);
    for _ in 0..4 {
        let plain: Vec<_> = (0..100).map(|_| desk.header().to_vec()).collect();
        let forged: Vec<_> = (0..100)
            .map(|_| [&desk.header()[..], &[0, 0, 0, 5], &[7; 20]].concat())
            .collect();
        desk.ask(&[plain, forged].concat(), true);
    }
    assert_eq!(desk.counted(Verdict::AnsweredClient), 8);
    assert_eq!(desk.counted(Verdict::RefusedMac), 400);
    let honest: Vec<_> = (0..8).map(|_| signed(&desk.header())).collect();
    assert_eq!(desk.ask(&honest, true).len(), 8);
    // It has a limit, too.
    let more = signed(&desk.header());
    assert_eq!(desk.one(more), None);
    assert_eq!(desk.counted(Verdict::AnsweredMac), 8);
}

#[test]
fn what_is_required_is_said_and_the_rest_is_refused() {
    let plain = |desk: &mut Desk| {
        let header = desk.header();
        desk.one(header.to_vec()).map(|reply| reply.len())
    };
    let with_mac = |desk: &mut Desk| {
        let packet = signed(&desk.header());
        desk.one(packet).map(|reply| reply.len())
    };
    let nts = |desk: &mut Desk| {
        let packet = desk.genuine(Algorithm::SivCmac256);
        desk.one(packet).map(|reply| reply.len() > HEADER_LEN)
    };
    use AuthenticationMode as Mac;
    let (bare, whole) = (Some(48), Some(72));
    let mut desk = Desk::new(policy(None), today());
    for (mode, nts_mode, has_keys, expected) in [
        (Mac::Accept, NtsMode::Accept, false, (bare, bare, Some(true))),
        (Mac::Accept, NtsMode::Accept, true, (bare, whole, Some(true))),
        (Mac::Require, NtsMode::Accept, true, (None, whole, Some(true))),
        (Mac::Require, NtsMode::Off, true, (None, whole, None)),
        (Mac::Accept, NtsMode::Require, true, (None, None, Some(true))),
        (Mac::Require, NtsMode::Require, true, (None, None, Some(true))),
        // As the configuration has it, a listener without MACs has no keys.
        (Mac::Off, NtsMode::Accept, false, (bare, bare, Some(true))),
    ] {
        let policy = Policy {
            nts: nts_mode,
            authentication: mode,
            ..policy(None)
        };
        desk.policy
            .set(&Arc::new(if has_keys { with_keys(policy) } else { policy }));
        let found = (plain(&mut desk), with_mac(&mut desk), nts(&mut desk));
        assert_eq!(found, expected, "{mode:?} {nts_mode:?} {has_keys}");
    }
    assert_eq!(desk.counted(Verdict::RefusedMacRequired), 3);
    assert_eq!(desk.counted(Verdict::RefusedNtsRequired), 4);
    // Only what could be answered counts as that.
    desk.policy.set(&Arc::new(Policy {
        authentication: Mac::Require,
        ..with_keys(policy(None))
    }));
    assert_eq!(desk.one(vec![4 << 3 | 4; HEADER_LEN]), None);
    assert_eq!(desk.counted(Verdict::RefusedAnswer), 1);
}

#[test]
fn access_and_disputes_count_before_a_mac_and_kisses_have_one() {
    let ask = |desk: &mut Desk| {
        let packet = signed(&desk.header());
        desk.one(packet)
    };
    let deny = |on_deny| Policy {
        access: Access::new(&[], false, on_deny, RuleMode::On),
        ..with_keys(policy(None))
    };
    let mut desk = Desk::new(deny(OnDeny::Drop), None);
    assert_eq!(ask(&mut desk), None);
    let forged = [&desk.header()[..], &[7; 20]].concat();
    assert_eq!(desk.one(forged), None);
    assert_eq!(desk.counted(Verdict::RefusedDenied), 2);

    let mut desk = Desk::new(deny(OnDeny::Kiss), None);
    let reply = ask(&mut desk).unwrap();
    let (header, behind) = reply.split_at(HEADER_LEN);
    assert_eq!(behind, mac(header));
    assert_eq!(Header::parse(header).unwrap().reference_id, ReferenceId::DENY);

    let mut desk = Desk::new(with_keys(policy(None)), None);
    desk.reference.publish(Reference {
        answers: false,
        ..reference()
    });
    assert_eq!(ask(&mut desk), None);
    assert_eq!(desk.counted(Verdict::RefusedDisputed), 1);
}
