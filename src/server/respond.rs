//! Pure. The serving rules, each a small function: a request in, a verdict out.

use std::net::IpAddr;

use crate::clock::SystemVariables;
use crate::server::policy::Ruling;
use crate::server::{ReplyBuffer, Verdict};
use crate::time::NtpTimestamp;
use crate::wire::{HEADER_LEN, Header, Mode, NTP_PORT};

/// A packet as it came to a listener.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// All that was received of the UDP payload.
    pub payload: &'a [u8],
    /// The sender's address, as the packet says.
    pub source: IpAddr,
    /// The sender's UDP port.
    pub source_port: u16,
    /// Whether it was sent to an address of this host alone, not to a broadcast or multicast group.
    pub unicast: bool,
    /// The moment of its arrival.
    pub received_at: NtpTimestamp,
}

/// The verdict about `request`; where that has a reply, `reply` holds it, to be sent back as it is.
///
/// `transmit_at` is when the reply will leave (t3); should it be before the arrival (the host's clock was
/// stepped in between), the arrival is said twice. `rule` is asked about good requests only, once, whether this client
/// is answered. Never panics, whatever the bytes.
pub fn respond(
    request: &Request<'_>,
    transmit_at: NtpTimestamp,
    rule: impl FnOnce() -> Ruling,
    variables: &SystemVariables,
    reply: &mut ReplyBuffer<'_>,
) -> Verdict {
    let header = match parse(request) {
        Ok(_) if reply.capacity() < HEADER_LEN => return Verdict::RefusedTooShort,
        Ok(header) => header,
        Err(refused) => return refused,
    };
    let (mode, verdict) = match answer_mode(&header, request.source_port) {
        Ok(answer) => answer,
        Err(refused) => return refused,
    };
    let answer = |variables| answer(&header, mode, request.received_at, transmit_at, variables);
    match rule() {
        Ruling::Answer => {
            reply.begin(&answer(variables));
            verdict
        }
        //= RFC 5905 §7.4 sent
        Ruling::Kiss { verdict, code, poll } => {
            reply.begin(&kiss(answer(&variables.unusable(code)), poll));
            verdict
        }
        Ruling::Refuse(verdict) => verdict,
    }
}

/// Returns a kiss: an answer without a time, whose poll interval is `poll` at least.
pub(super) fn kiss(answer: Header, poll: i8) -> Header {
    Header {
        poll: answer.poll.max(poll),
        ..answer
    }
}

/// Reads the header, or refuses for a reason that holds in each mode.
///
/// It is inlined, as are the next ones, in spite of two callers: no header is copied (*measured*: 60 instructions less).
//= RFC 5905 §9.2 format
//= RFC 5905 §9.2 fxmit-unicast
#[inline]
pub(super) fn parse(request: &Request<'_>) -> Result<Header, Verdict> {
    if request.source_port == 0 {
        return Err(Verdict::RefusedPortZero);
    }
    if !request.unicast {
        return Err(Verdict::RefusedNotUnicast);
    }
    if !can_be_a_host(request.source) {
        return Err(Verdict::RefusedSource);
    }
    let header = Header::parse(request.payload).map_err(|_| Verdict::RefusedTooShort)?;
    if !header.version.is_known() {
        return Err(Verdict::RefusedVersion);
    }
    Ok(header)
}

/// Returns whether one host can have this address.
///
/// None has one of 0.0.0.0/8, 224.0.0.0/4 or 240.0.0.0/4 (RFC 6890), `::`, or of ff00::/8. Those of the loopback
/// interface come from this host alone: from elsewhere the kernel takes none.
fn can_be_a_host(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            let [top, ..] = v4.octets();
            (1..224).contains(&top)
        }
        IpAddr::V6(v6) => !v6.is_unspecified() && !v6.is_multicast(),
    }
}

/// Returns the mode of the answer, by the dispatch table of RFC 5905 §9.2 without an association with the sender.
///
/// RFC 1059 (version 1) had no mode field: there mode 0 from any port but 123 is a client.
//= RFC 5905 §7.3 mode-zero
//= RFC 5905 §9.2 discard
//= RFC 5905 §9.2 newps
#[inline]
pub(super) fn answer_mode(header: &Header, source_port: u16) -> Result<(Mode, Verdict), Verdict> {
    match header.mode {
        Mode::Client => Ok((Mode::Server, Verdict::AnsweredClient)),
        Mode::SymmetricActive => Ok((Mode::SymmetricPassive, Verdict::AnsweredSymmetric)),
        Mode::Reserved if header.version.number() == 1 && source_port != NTP_PORT => {
            Ok((Mode::Server, Verdict::AnsweredVersion1))
        }
        Mode::Reserved => Err(Verdict::RefusedReserved),
        Mode::SymmetricPassive | Mode::Server => Err(Verdict::RefusedAnswer),
        Mode::Broadcast => Err(Verdict::RefusedBroadcast),
        Mode::Control => Err(Verdict::RefusedControl),
        Mode::Private => Err(Verdict::RefusedPrivate),
    }
}

/// Returns the header of the answer (RFC 5905 §9.2, FXMIT; §14, figure 31).
///
/// Its origin is the client's transmit timestamp bit for bit; version and poll are the client's.
//= RFC 5905 §8 copy
//= RFC 5905 §9.2 fxmit
//= RFC 5905 §14 reply
//= RFC 9769 §2 basic
#[inline]
pub(super) fn answer(
    request: &Header,
    mode: Mode,
    received_at: NtpTimestamp,
    transmit_at: NtpTimestamp,
    variables: &SystemVariables,
) -> Header {
    // At the end of an era an instant is zero, which would be no time at all.
    let (received_at, transmit_at) = (received_at.nonzero(), transmit_at.nonzero());
    Header {
        leap: variables.leap,
        version: request.version,
        mode,
        stratum: variables.stratum,
        poll: request.poll,
        precision: variables.precision,
        root_delay: variables.root_delay,
        root_dispersion: variables.root_dispersion,
        reference_id: variables.reference_id,
        // A state may be newer than a request that waited in the queue; it must not seem to come from the future.
        reference_timestamp: variables.reference_timestamp.at_most(received_at),
        origin_timestamp: request.transmit_timestamp,
        receive_timestamp: received_at,
        transmit_timestamp: if received_at.is_after(transmit_at) {
            received_at
        } else {
            transmit_at
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::{NtpDuration, NtpShort};
    use crate::wire::{Leap, ReferenceId};
    use proptest::prelude::*;

    const VARIABLES: SystemVariables = SystemVariables {
        leap: Leap::AddSecond,
        stratum: 2,
        precision: -24,
        root_delay: NtpShort::from_bits(7),
        root_dispersion: NtpShort::from_bits(8),
        reference_id: ReferenceId::from_bytes([192, 0, 2, 9]),
        reference_timestamp: NtpTimestamp::from_bits(9),
    };
    const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7));
    const T2: NtpTimestamp = NtpTimestamp::from_bits(1000);
    const T3: NtpTimestamp = NtpTimestamp::from_bits(2000);

    /// A request with this payload, as a client sends it.
    fn request(payload: &[u8]) -> Request<'_> {
        Request {
            payload,
            source: CLIENT,
            source_port: 1,
            unicast: true,
            received_at: T2,
        }
    }

    /// As [`super::respond`], into as many bytes as a header has.
    fn respond(
        request: &Request<'_>,
        transmit_at: NtpTimestamp,
        rule: impl FnOnce() -> Ruling,
        variables: &SystemVariables,
        reply: &mut [u8; HEADER_LEN],
    ) -> Verdict {
        let mut reply = ReplyBuffer::new(reply);
        let verdict = super::respond(request, transmit_at, rule, variables, &mut reply);
        assert_eq!(reply.length() > 0, verdict.has_reply());
        verdict
    }

    fn ask(payload: &[u8], source_port: u16) -> (Verdict, [u8; HEADER_LEN]) {
        let mut reply = [0xAA; HEADER_LEN];
        let request = Request {
            payload,
            source: CLIENT,
            source_port,
            unicast: true,
            received_at: T2,
        };
        let verdict = respond(&request, T3, || Ruling::Answer, &VARIABLES, &mut reply);
        (verdict, reply)
    }

    fn packet(version: u8, mode: u8) -> [u8; HEADER_LEN] {
        let mut bytes = [0x55; HEADER_LEN];
        bytes[0] = 3 << 6 | version << 3 | mode;
        bytes
    }

    #[test]
    fn who_can_be_no_host_is_not_answered() {
        for (source, is_host) in [
            ("192.0.2.7", true),
            ("1.0.0.0", true),
            ("127.0.0.1", true),
            ("223.255.255.255", true),
            ("0.0.0.0", false),
            ("0.255.255.255", false),
            ("224.0.0.1", false),
            ("239.255.255.255", false),
            ("240.0.0.1", false),
            ("255.255.255.255", false),
            ("2001:db8::7", true),
            ("fe80::1", true),
            ("::1", true),
            ("::ffff:192.0.2.7", true),
            ("::", false),
            ("ff02::1", false),
            ("ff0e::101", false),
            ("::ffff:255.255.255.255", false),
            ("::ffff:0.0.0.0", false),
        ] {
            let mut reply = [0; HEADER_LEN];
            let request = Request {
                payload: &packet(4, 3),
                source: source.parse().unwrap(),
                source_port: 9,
                unicast: true,
                received_at: T2,
            };
            let verdict = respond(&request, T3, || Ruling::Answer, &VARIABLES, &mut reply);
            let expected = if is_host {
                Verdict::AnsweredClient
            } else {
                Verdict::RefusedSource
            };
            assert_eq!(verdict, expected, "{source}");
        }
    }

    /// The whole table of versions and modes, by hand.
    fn expected(version: u8, mode: u8, port: u16) -> Verdict {
        match (version, mode) {
            (0 | 5..=7, _) => Verdict::RefusedVersion,
            (1, 0) if port != 123 => Verdict::AnsweredVersion1,
            (_, 0) => Verdict::RefusedReserved,
            (_, 1) => Verdict::AnsweredSymmetric,
            (_, 3) => Verdict::AnsweredClient,
            (_, 2 | 4) => Verdict::RefusedAnswer,
            (_, 5) => Verdict::RefusedBroadcast,
            (_, 6) => Verdict::RefusedControl,
            _ => Verdict::RefusedPrivate,
        }
    }

    //= RFC 5905 §9.2 discard
    //= RFC 5905 §9.2 format
    //= RFC 5905 §9.2 fxmit
    //= RFC 5905 §14 reply
    #[test]
    fn every_version_and_mode() {
        for version in 0..8 {
            for mode in 0..8 {
                for port in [123, 40_000] {
                    let (verdict, reply) = ask(&packet(version, mode), port);
                    assert_eq!(
                        verdict,
                        expected(version, mode, port),
                        "version {version} mode {mode} port {port}"
                    );
                    let answer_mode = if mode == 1 { 2 } else { 4 };
                    let first = if verdict.is_answered() {
                        1 << 6 | version << 3 | answer_mode
                    } else {
                        0xAA
                    };
                    assert_eq!(reply[0], first, "version {version} mode {mode} port {port}");
                }
            }
        }
    }

    //= RFC 5905 §8 copy
    //= RFC 5905 §9.2 fxmit
    //= RFC 5905 §14 reply
    //= RFC 9769 §2 basic
    #[test]
    fn the_answer_field_by_field() {
        let mut request = packet(4, 3);
        request[2] = 6;
        request[40..].copy_from_slice(&[1, 2, 3, 4, 5, 6, 7, 8]);
        let (_, reply) = ask(&request, 40_000);
        let reply = Header::parse(&reply).unwrap();
        assert_eq!(
            (reply.leap, reply.stratum, reply.poll, reply.precision),
            (Leap::AddSecond, 2, 6, -24)
        );
        assert_eq!(
            (reply.root_delay.to_bits(), reply.root_dispersion.to_bits()),
            (7, 8)
        );
        assert_eq!(reply.reference_id.to_bytes(), [192, 0, 2, 9]);
        assert_eq!(reply.reference_timestamp.to_bits(), 9);
        assert_eq!(reply.origin_timestamp.to_bits(), 0x0102_0304_0506_0708);
        assert_eq!((reply.receive_timestamp, reply.transmit_timestamp), (T2, T3));
    }

    //= RFC 5905 §9.2 fxmit-unicast
    #[test]
    fn never_before_the_mode_matters() {
        assert_eq!(ask(&packet(4, 3), 0).0, Verdict::RefusedPortZero);
        assert_eq!(ask(&packet(4, 3)[..47], 1).0, Verdict::RefusedTooShort);
        let good = packet(4, 3);
        let group = Request {
            unicast: false,
            ..request(&good)
        };
        assert_eq!(
            respond(&group, T3, || Ruling::Answer, &VARIABLES, &mut [0; HEADER_LEN]),
            Verdict::RefusedNotUnicast
        );
    }

    #[test]
    fn nothing_is_answered_without_room_for_a_header() {
        let payload = packet(4, 3);
        let request = request(&payload);
        let rule = || panic!("a token would be taken");
        let mut room = [0; HEADER_LEN - 1];
        let mut reply = ReplyBuffer::new(&mut room);
        let verdict = super::respond(&request, T3, rule, &VARIABLES, &mut reply);
        assert_eq!((verdict, reply.length()), (Verdict::RefusedTooShort, 0));
    }

    #[test]
    fn a_state_newer_than_the_request_is_not_said_to_be() {
        let variables = SystemVariables {
            reference_timestamp: T3,
            ..VARIABLES
        };
        let mut reply = [0; HEADER_LEN];
        let payload = packet(4, 3);
        let request = request(&payload);
        respond(&request, T3, || Ruling::Answer, &variables, &mut reply);
        assert_eq!(Header::parse(&reply).unwrap().reference_timestamp, T2);
    }

    //= RFC 5905 §7.4 sent
    #[test]
    fn a_ruling_is_obeyed() {
        let mut payload = packet(4, 3);
        payload[2] = 3;
        let request = request(&payload);
        let obey = |ruling| {
            let mut reply = [0; HEADER_LEN];
            (respond(&request, T3, || ruling, &VARIABLES, &mut reply), reply)
        };
        let (verdict, reply) = obey(Ruling::Refuse(Verdict::RefusedDisputed));
        assert_eq!((verdict, reply), (Verdict::RefusedDisputed, [0; HEADER_LEN]));
        for (poll, said) in [(6, 6), (0, 3), (i8::MIN, 3)] {
            let (verdict, reply) = obey(Ruling::Kiss {
                verdict: Verdict::KissedRate,
                code: ReferenceId::RATE,
                poll,
            });
            assert_eq!(verdict, Verdict::KissedRate);
            let kiss = Header::parse(&reply).unwrap();
            assert_eq!(
                (kiss.leap, kiss.stratum, kiss.mode),
                (Leap::Unsynchronized, 0, Mode::Server)
            );
            assert_eq!((kiss.reference_id, kiss.poll), (ReferenceId::RATE, said));
            assert_eq!(
                kiss.origin_timestamp,
                Header::parse(&payload).unwrap().transmit_timestamp
            );
        }
    }

    #[test]
    fn policies_apply_only_to_good_requests() {
        let payload = packet(4, 4);
        let request = request(&payload);
        let rule = || panic!("a token would be taken");
        let verdict = respond(&request, T3, rule, &VARIABLES, &mut [0; HEADER_LEN]);
        assert_eq!(verdict, Verdict::RefusedAnswer);
    }

    #[test]
    fn a_clock_that_was_stepped_back_in_between_is_not_said() {
        let mut reply = [0; HEADER_LEN];
        let good = packet(4, 3);
        let request = Request {
            received_at: T3,
            ..request(&good)
        };
        respond(&request, T2, || Ruling::Answer, &VARIABLES, &mut reply);
        let reply = Header::parse(&reply).unwrap();
        assert_eq!((reply.receive_timestamp, reply.transmit_timestamp), (T3, T3));
    }

    /// A time around 2036-02-07 06:28:16 UTC, when the seconds start again at zero.
    fn around_the_eras_end() -> impl Strategy<Value = NtpTimestamp> {
        prop_oneof![
            (-500_i64 << 32..700 << 32).prop_map(|units| NtpTimestamp::from_bits(units.cast_unsigned())),
            (-3_i64..4).prop_map(|units| NtpTimestamp::from_bits(units.cast_unsigned())),
        ]
    }

    proptest! {
        #[test]
        fn the_end_of_an_era_is_an_instant_like_others(received in around_the_eras_end(), passed in prop_oneof![0..4_i64, 0..1_i64 << 33], checked in around_the_eras_end(), is_known: bool) {
            let transmit_at = received + NtpDuration::from_units(passed);
            let reference_timestamp = if is_known { checked.nonzero() } else { NtpTimestamp::ZERO };
            let variables = SystemVariables { reference_timestamp, ..VARIABLES };
            let request = Request { payload: &packet(4, 3), source: CLIENT, source_port: 1, unicast: true, received_at: received };
            let mut reply = [0; HEADER_LEN];
            respond(&request, transmit_at, || Ruling::Answer, &variables, &mut reply);
            let reply = Header::parse(&reply).unwrap();
            prop_assert!(!reply.receive_timestamp.is_zero() && !reply.transmit_timestamp.is_zero());
            prop_assert!(!reply.receive_timestamp.is_after(reply.transmit_timestamp));
            for (said, meant) in [(reply.receive_timestamp, received), (reply.transmit_timestamp, transmit_at)] {
                prop_assert!((0..=1).contains(&(said - meant).to_units()), "{said:?} {meant:?}");
            }
            prop_assert_eq!(reply.reference_timestamp.is_zero(), !is_known);
            prop_assert!(!is_known || !reply.reference_timestamp.is_after(reply.receive_timestamp));
        }
    }

    #[test]
    fn counters_have_a_place_for_each_verdict() {
        for (at, verdict) in Verdict::all().enumerate() {
            assert_eq!(verdict.index(), at);
            assert_eq!(verdict.is_answered(), verdict.name().starts_with("answered"));
            assert_eq!(verdict.has_reply(), !verdict.name().starts_with("refused"));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_have_a_verdict_and_only_whole_requests_are_answered(
            payload in prop::collection::vec(any::<u8>(), 0..600),
            source: IpAddr,
            source_port: u16,
            unicast: bool,
            t2: u64,
            t3: u64,
        ) {
            let mut reply = [0; HEADER_LEN];
            let received_at = NtpTimestamp::from_bits(t2);
            let request = Request { payload: &payload, source, source_port, unicast, received_at };
            let verdict = respond(&request, NtpTimestamp::from_bits(t3), || Ruling::Answer, &VARIABLES, &mut reply);
            if verdict.is_answered() {
                prop_assert!(payload.len() >= reply.len() && unicast && source_port != 0);
                prop_assert!(can_be_a_host(source));
                prop_assert_eq!(&reply[24..32], &payload[40..48]);
                let reply = Header::parse(&reply).unwrap();
                prop_assert!(!reply.receive_timestamp.is_after(reply.transmit_timestamp));
            } else {
                prop_assert_eq!(reply, [0; HEADER_LEN]);
            }
        }
    }
}
