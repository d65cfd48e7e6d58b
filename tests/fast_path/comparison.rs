//! The program's answer to a request beside that of the sockets.

use std::net::IpAddr;

use ntpfront::server::interleaved::{receive_mark, transmit_mark};
use ntpfront::server::policy::Ruling;
use ntpfront::server::{ReplyBuffer, Request, Verdict, respond};
use ntpfront::time::NtpDuration;
use ntpfront::wire::{HEADER_LEN, Header};

use crate::desk::{Action, Desk, MINE4, MINE6};
use crate::frames::{OURS, THEIRS, Way};

pub(crate) fn way(source: &str, source_port: u16, tags: &'static [u16]) -> Way {
    let source: IpAddr = source.parse().unwrap();
    Way {
        source,
        asked: if source.is_ipv4() {
            MINE4.into()
        } else {
            MINE6.into()
        },
        source_port,
        port: 123,
        tags,
    }
}

pub(crate) fn payload(version: u8, mode: u8) -> [u8; HEADER_LEN] {
    let mut payload: [u8; HEADER_LEN] = std::array::from_fn(|index| u8::try_from(index).unwrap() ^ 0x5a);
    payload[0] = 3 << 6 | version << 3 | mode;
    payload[31] &= !1; // Without the mark of a candidate for interleaved mode.
    payload
}

/// The answer that sockets would give, with the times that the program said.
fn expected(desk: &Desk, way: Way, payload: &[u8], said: &Header, ruling: Ruling) -> (Verdict, Vec<u8>) {
    let mut reply = [0; HEADER_LEN];
    let request = Request {
        payload,
        source: way.source,
        source_port: way.source_port,
        unicast: true,
        received_at: said.receive_timestamp,
    };
    let verdict = respond(
        &request,
        said.transmit_timestamp,
        || ruling,
        &desk.variables_in(said),
        &mut ReplyBuffer::new(&mut reply),
    );
    (verdict, way.back().frame(THEIRS, OURS, &reply))
}

/// Asks the program, and proves that it did what sockets would have done.
pub(crate) fn same_as_sockets(desk: &mut Desk, way: Way, payload: &[u8], ruling: Ruling) -> Verdict {
    let frame = way.frame(OURS, THEIRS, payload);
    let counted = desk.counted();
    let before = desk.served_now();
    let (action, out) = desk.ask(&frame);
    let after = desk.served_now();
    let mut said = Header::parse(&out[out.len() - HEADER_LEN..]).unwrap();
    if action != Action::Send {
        said.stratum = 0; // These are the client's words.
    }
    let (verdict, reply) = expected(desk, way, payload, &said, ruling);
    let wanted = if verdict.has_reply() {
        Action::Send
    } else if [Verdict::RefusedDenied, Verdict::RefusedRate].contains(&verdict) {
        Action::Drop
    } else {
        Action::Pass
    };
    assert_eq!(action, wanted, "{way:?} {:?} {verdict:?}", &payload[..1]);
    let new = desk.counted().of(verdict) - counted.of(verdict);
    assert_eq!(new, u64::from(action != Action::Pass), "counted: {verdict:?}");
    if action == Action::Send {
        assert_eq!(out, reply, "{way:?}");
        // Readings of two clocks in user space are not exact either.
        let slack = NtpDuration::from_seconds(2e-6);
        assert!(!(before - slack).is_after(said.receive_timestamp), "{said:?}");
        let receive = said.receive_timestamp;
        let is_marked = receive == receive_mark(receive);
        assert!(
            is_marked && said.transmit_timestamp == transmit_mark(receive, receive),
            "one reading"
        );
        assert!(!said.transmit_timestamp.is_after(after + slack), "{said:?}");
    } else {
        assert_eq!(out, frame, "left as it was");
    }
    verdict
}
