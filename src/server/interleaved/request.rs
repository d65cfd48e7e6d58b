//! Pure. Requests that can be in interleaved mode, and their replies (RFC 9769 §2).

use crate::time::NtpTimestamp;
use crate::wire::{HEADER_LEN, Header, Mode, Version};

/// The bit that is set in each receive timestamp of a reply, and clear in each transmit timestamp: 233 ps.
const MARK: u64 = 1;
/// The first byte of a client's request of version 4, without its leap indicator.
const VERSION_4_CLIENT: u8 = Version::NEWEST.number() << 3 | Mode::Client.to_bits();

/// Returns the receive timestamp of a reply to a request that came at `received_at`: the lowest bit is set.
///
/// So it is never zero, and never a transmit timestamp.
pub const fn receive_mark(received_at: NtpTimestamp) -> NtpTimestamp {
    NtpTimestamp::from_bits(received_at.to_bits() | MARK)
}

/// Returns the transmit timestamp of a reply that leaves at `transmit_at`, after its `received` one: the lowest bit is clear.
///
/// It is later than `received` in any case: a clock may be stepped in between. At the end of an era it is not zero.
//= RFC 9769 §2 different
#[inline]
pub fn transmit_mark(transmit_at: NtpTimestamp, received: NtpTimestamp) -> NtpTimestamp {
    let bits = if transmit_at.is_after(received) {
        transmit_at.to_bits() & !MARK
    } else {
        received.to_bits().wrapping_add(MARK) & !MARK
    };
    NtpTimestamp::from_bits(if bits == 0 { 2 * MARK } else { bits })
}

/// A client's request that is in interleaved mode if its origin timestamp is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InterleavedRequest {
    /// The receive timestamp of the client's previous reply, if it is in this mode.
    pub origin: NtpTimestamp,
    /// The origin timestamp of an interleaved reply.
    receive: NtpTimestamp,
}

impl InterleavedRequest {
    /// Returns what matters of a `request`, if it can be in this mode.
    ///
    /// It is a client's, in version 4, with an origin timestamp that can be a receive timestamp of ours, and with different
    /// timestamps of its own.
    //= RFC 9769 §2 respond
    pub fn of(request: &Header) -> Option<Self> {
        let is_candidate = request.mode == Mode::Client
            && request.version == Version::NEWEST
            && request.origin_timestamp.to_bits() & MARK == MARK
            && request.receive_timestamp != request.transmit_timestamp;
        is_candidate.then_some(Self {
            origin: request.origin_timestamp,
            receive: request.receive_timestamp,
        })
    }

    /// The same of the bytes of a packet; most are in basic mode.
    #[inline]
    pub fn of_packet(packet: &[u8]) -> Option<Self> {
        let bytes: &[u8; HEADER_LEN] = packet.first_chunk()?;
        let is_possible = bytes[31] & 1 == 1 && bytes[0] & 0x3F == VERSION_4_CLIENT;
        if is_possible { Self::parse(bytes) } else { None }
    }

    #[cold]
    fn parse(packet: &[u8; HEADER_LEN]) -> Option<Self> {
        Header::parse(packet).ok().and_then(|header| Self::of(&header))
    }

    /// Returns the interleaved reply in the place of the `basic` one: the previous reply left at `transmitted`.
    //= RFC 9769 §2 transmit
    #[must_use]
    pub fn reply(&self, basic: Header, transmitted: NtpTimestamp) -> Header {
        Header {
            origin_timestamp: self.receive,
            transmit_timestamp: transmitted,
            ..basic
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::NtpDuration;
    use proptest::prelude::*;

    fn at(bits: u64) -> NtpTimestamp {
        NtpTimestamp::from_bits(bits)
    }

    fn request(origin: u64, receive: u64, transmit: u64) -> Header {
        Header {
            origin_timestamp: at(origin),
            receive_timestamp: at(receive),
            transmit_timestamp: at(transmit),
            ..Header::request(at(transmit))
        }
    }

    //= RFC 9769 §2 respond
    #[test]
    fn a_candidate_has_a_receive_timestamp_of_ours_and_two_different_ones() {
        for (origin, receive, transmit, expected) in [
            (0, 0, 9, false),
            (1, 5, 9, true),
            (1, 0, 9, true),
            (2, 5, 9, false),
            (u64::MAX, 5, 9, true),
            (u64::MAX - 1, 5, 9, false),
            (1, 9, 9, false),
        ] {
            let header = request(origin, receive, transmit);
            let found = InterleavedRequest::of(&header);
            assert_eq!(found.is_some(), expected, "{origin} {receive} {transmit}");
            assert_eq!(found, InterleavedRequest::of_packet(&header.to_bytes()));
            assert_eq!(InterleavedRequest::of_packet(&header.to_bytes()[..47]), None);
        }
    }

    #[test]
    fn no_other_mode_and_version_has_candidates() {
        for first in 0..=u8::MAX {
            let mut packet = request(1, 5, 9).to_bytes();
            packet[0] = first;
            let found = InterleavedRequest::of_packet(&packet);
            assert_eq!(found.is_some(), first & 0x3F == 4 << 3 | 3, "{first:#x}");
            assert_eq!(found, InterleavedRequest::of(&Header::parse(&packet).unwrap()));
        }
    }

    //= RFC 9769 §2 transmit
    #[test]
    fn the_reply_says_when_the_previous_one_left() {
        let basic = Header {
            origin_timestamp: at(9),
            receive_timestamp: at(1001),
            transmit_timestamp: at(2000),
            ..request(0, 0, 0)
        };
        let reply = InterleavedRequest::of(&request(701, 5, 9))
            .unwrap()
            .reply(basic, at(800));
        let expected = Header {
            origin_timestamp: at(5),
            transmit_timestamp: at(800),
            ..basic
        };
        assert_eq!(reply, expected);
    }

    proptest! {
        //= RFC 9769 §2 different
        #[test]
        fn both_timestamps_of_a_reply_are_marked_and_in_order(received: u64, later in -5_i64..5) {
            let receive = receive_mark(at(received));
            let transmit = transmit_mark(at(received) + NtpDuration::from_units(later), receive);
            prop_assert_eq!((receive.to_bits() & 1, transmit.to_bits() & 1), (1, 0));
            prop_assert!(transmit.is_after(receive) && !transmit.is_zero());
            prop_assert!((receive - at(received)).to_units() <= 1);
            prop_assert!((transmit - receive).to_units() <= 5);
        }

        #[test]
        fn a_later_transmit_timestamp_is_said_to_the_unit(received: u64, later in 3_i64..i64::MAX) {
            let sent = at(received) + NtpDuration::from_units(later);
            let transmit = transmit_mark(sent, receive_mark(at(received)));
            prop_assert!((transmit - sent).abs().to_units() <= 2);
        }
    }
}
