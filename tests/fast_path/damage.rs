//! Damaged frames: the program never gives a wrong reply.

use std::net::IpAddr;

use proptest::prelude::*;

use ntpfront::server::policy::Ruling;
use ntpfront::server::{ReplyBuffer, Request, respond};
use ntpfront::wire::{HEADER_LEN, Header};

use crate::common::root;
use crate::comparison::way;
use crate::desk::{Action, Desk, MINE4, MINE6, policy};
use crate::frames::{OURS, THEIRS, sum, take};

/// What a random change makes of a good request: nothing, mostly.
#[derive(Clone, Debug)]
enum Damage {
    Byte(usize, u8),
    Bit(usize, u8),
    Cut(usize),
    More(Vec<u8>),
}

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        (0..118_usize, any::<u8>()).prop_map(|(at, byte)| Damage::Byte(at, byte)),
        (0..118_usize, 0..8_u8).prop_map(|(at, bit)| Damage::Bit(at, bit)),
        (0..118_usize).prop_map(Damage::Cut),
        proptest::collection::vec(any::<u8>(), 1..40).prop_map(Damage::More),
    ]
}

fn damaged(mut frame: Vec<u8>, all: &[Damage]) -> Vec<u8> {
    for damage in all {
        match damage {
            Damage::Byte(at, byte) => frame.get_mut(*at).into_iter().for_each(|old| *old = *byte),
            Damage::Bit(at, bit) => frame.get_mut(*at).into_iter().for_each(|old| *old ^= 1 << bit),
            Damage::Cut(length) => frame.truncate((*length).max(14)),
            Damage::More(bytes) => frame.extend(bytes),
        }
    }
    frame
}

/// Whatever comes: no reply that the socket path would not have given, none that is longer, none with a bad checksum.
fn is_sound(desk: &mut Desk, frame: &[u8]) {
    let (action, out) = desk.ask(frame);
    if action == Action::Pass {
        assert_eq!(out, frame, "left as it was");
        return;
    }
    if action == Action::Drop {
        assert_eq!(
            (frame[6] & 1, &out[..]),
            (1, frame),
            "only what comes from a group"
        );
        return;
    }
    assert_eq!(action, Action::Send);
    let request = take(frame).expect("a socket would have got it");
    assert_eq!((request.to, request.port), (OURS, 123));
    assert!(request.asked == IpAddr::from(MINE4) || request.asked == IpAddr::from(MINE6));
    assert_eq!(out.len(), frame.len(), "as long as the request");
    let reply = take(&out).expect("whole, with good checksums");
    assert_eq!((reply.source, reply.asked), (request.asked, request.source));
    assert_eq!(
        (reply.source_port, reply.port),
        (request.port, request.source_port)
    );
    let said = Header::parse(reply.payload).unwrap();
    let mut wanted = [0; HEADER_LEN];
    let request = Request {
        payload: request.payload,
        source: request.source,
        source_port: request.source_port,
        unicast: true,
        received_at: said.receive_timestamp,
    };
    let verdict = respond(
        &request,
        said.transmit_timestamp,
        || Ruling::Answer,
        &desk.variables_in(&said),
        &mut ReplyBuffer::new(&mut wanted),
    );
    assert!(verdict.is_answered(), "{verdict:?}");
    assert_eq!(reply.payload, wanted);
}

#[test]
fn random_frames_never_get_a_wrong_reply() {
    if !root() {
        return;
    }
    let mut desk = Desk::new(&policy());
    let cases = std::env::var("FAST_PATH_CASES")
        .ok()
        .and_then(|cases| cases.parse().ok());
    let config = ProptestConfig {
        cases: cases.unwrap_or(20_000),
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let strategy = (
        any::<bool>(),
        0..3_usize,
        any::<[u8; HEADER_LEN]>(),
        any::<bool>(),
        proptest::collection::vec(damage(), 0..4),
        any::<bool>(),
    );
    let mut runner = proptest::test_runner::TestRunner::new(config);
    let desk = std::cell::RefCell::new(&mut desk);
    runner
        .run(&strategy, |(ipv4, tags, mut bytes, plain, damage, again)| {
            let source = if ipv4 { "198.51.100.7" } else { "2001:db8:1::7" };
            let tags = [&[][..], &[5], &[5, 6]][tags];
            if plain {
                bytes[0] = 4 << 3 | 3;
            }
            let mut frame = damaged(way(source, 9, tags).frame(OURS, THEIRS, &bytes), &damage);
            if again {
                mend(&mut frame);
            }
            let mut desk = desk.borrow_mut();
            desk.publish();
            is_sound(&mut desk, &frame);
            Ok(())
        })
        .unwrap();
    let answered = desk.borrow_mut().counted().answered();
    assert!(answered > 1000, "of all cases only {answered} were good");
}

/// Checksums that fit a damaged frame again, so that it is not turned away for them alone.
pub(crate) fn mend(frame: &mut [u8]) {
    let at = match frame.get(12..14) {
        Some([0x81, 0]) => 18,
        Some([0x88, 0xa8]) => 22,
        _ => 14,
    };
    let Some(header) = frame.get_mut(at..at + 20) else {
        return;
    };
    if header[0] == 0x45 {
        header[10..12].fill(0);
        let check = !sum(header);
        header[10..12].copy_from_slice(&check.to_be_bytes());
        if let Some(udp) = frame.get_mut(at + 26..at + 28) {
            udp.fill(0);
        }
    }
}
