//! Frames as they are on a wire, made and judged without the program that is tested.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A request's way: who asks whom, behind these VLAN tags.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Way {
    pub(crate) source: IpAddr,
    pub(crate) asked: IpAddr,
    pub(crate) source_port: u16,
    pub(crate) port: u16,
    pub(crate) tags: &'static [u16],
}

pub(crate) const OURS: [u8; 6] = [2, 0, 0, 0, 0, 1];
pub(crate) const THEIRS: [u8; 6] = [2, 0, 0, 0, 0, 2];

impl Way {
    pub(crate) fn back(self) -> Self {
        Self {
            source: self.asked,
            asked: self.source,
            source_port: self.port,
            port: self.source_port,
            ..self
        }
    }

    /// The bytes in front of the IP header.
    pub(crate) fn link(self, to: [u8; 6], from: [u8; 6]) -> Vec<u8> {
        let mut frame = [to, from].concat();
        for (index, tag) in self.tags.iter().enumerate() {
            let kind: u16 = if index + 1 < self.tags.len() {
                0x88a8
            } else {
                0x8100
            };
            frame.extend(kind.to_be_bytes());
            frame.extend(tag.to_be_bytes());
        }
        let kind: u16 = if self.asked.is_ipv4() { 0x0800 } else { 0x86dd };
        frame.extend(kind.to_be_bytes());
        frame
    }

    /// A whole frame with this payload, all checksums in it.
    pub(crate) fn frame(self, to: [u8; 6], from: [u8; 6], payload: &[u8]) -> Vec<u8> {
        let mut frame = self.link(to, from);
        let length = u16::try_from(payload.len() + 8).unwrap();
        let mut udp = Vec::new();
        for word in [self.source_port, self.port, length, 0] {
            udp.extend(word.to_be_bytes());
        }
        udp.extend(payload);
        let mut pseudo = Vec::new();
        match (self.source, self.asked) {
            (IpAddr::V4(source), IpAddr::V4(asked)) => {
                frame.extend(ipv4(source, asked, length));
                pseudo.extend([source.octets(), asked.octets()].concat());
            }
            (IpAddr::V6(source), IpAddr::V6(asked)) => {
                frame.extend(ipv6(source, asked, length));
                pseudo.extend([source.octets(), asked.octets()].concat());
            }
            _ => panic!("two families: {self:?}"),
        }
        pseudo.extend([0, 17]);
        pseudo.extend(length.to_be_bytes());
        let check = match !sum(&[&pseudo[..], &udp].concat()) {
            0 => 0xffff,
            check => check,
        };
        udp[6..8].copy_from_slice(&check.to_be_bytes());
        frame.extend(udp);
        frame
    }
}

/// As the kernel sends them: TTL 64, not to be fragmented.
fn ipv4(source: Ipv4Addr, asked: Ipv4Addr, length: u16) -> Vec<u8> {
    let mut header = vec![0x45, 0];
    header.extend((length + 20).to_be_bytes());
    header.extend([0, 0, 0x40, 0, 64, 17, 0, 0]);
    header.extend([source.octets(), asked.octets()].concat());
    let check = !sum(&header);
    header[10..12].copy_from_slice(&check.to_be_bytes());
    header
}

fn ipv6(source: Ipv6Addr, asked: Ipv6Addr, length: u16) -> Vec<u8> {
    let mut header = vec![0x60, 0, 0, 0];
    header.extend(length.to_be_bytes());
    header.extend([17, 64]);
    header.extend([source.octets(), asked.octets()].concat());
    header
}

/// The Internet checksum's sum (RFC 1071).
pub(crate) fn sum(bytes: &[u8]) -> u16 {
    let words = bytes
        .chunks(2)
        .map(|word| u32::from(u16::from_be_bytes([word[0], *word.get(1).unwrap_or(&0)])));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    u16::try_from(sum).unwrap()
}

/// A frame taken apart as the kernel would before it gives the payload to a socket; `None` if it never would, or if
/// it is not plain.
pub(crate) struct Taken<'a> {
    pub(crate) to: [u8; 6],
    pub(crate) source: IpAddr,
    pub(crate) asked: IpAddr,
    pub(crate) source_port: u16,
    pub(crate) port: u16,
    pub(crate) payload: &'a [u8],
}

pub(crate) fn take(frame: &[u8]) -> Option<Taken<'_>> {
    let mut rest = frame.get(14..)?;
    let mut kind = word(frame, 12);
    for _ in 0..2 {
        if matches!(kind, 0x8100 | 0x88a8) {
            kind = word(rest.get(..4)?, 2);
            rest = &rest[4..];
        }
    }
    let to = *frame.first_chunk()?;
    let (source, asked, udp): (IpAddr, IpAddr, _) = match kind {
        0x0800 => take_ipv4(rest)?,
        0x86dd => take_ipv6(rest)?,
        _ => return None,
    };
    let mut pseudo = match (source, asked) {
        (IpAddr::V4(source), IpAddr::V4(asked)) => [source.octets(), asked.octets()].concat(),
        (IpAddr::V6(source), IpAddr::V6(asked)) => [source.octets(), asked.octets()].concat(),
        _ => unreachable!(),
    };
    pseudo.extend([0, 17]);
    pseudo.extend(u16::try_from(udp.len()).ok()?.to_be_bytes());
    let has_none = udp.get(6..8)? == [0, 0] && asked.is_ipv4();
    if usize::from(word(udp, 4)) != udp.len() || udp.get(6..8)? == [0, 0] && !has_none {
        return None;
    }
    if !has_none && sum(&[&pseudo[..], udp].concat()) != 0xffff {
        return None;
    }
    Some(Taken {
        to,
        source,
        asked,
        source_port: word(udp, 0),
        port: word(udp, 2),
        payload: udp.get(8..)?,
    })
}

fn take_ipv4(packet: &[u8]) -> Option<(IpAddr, IpAddr, &[u8])> {
    let header = packet.get(..20)?;
    let whole = usize::from(word(header, 2)) == packet.len() && header[0] == 0x45 && header[9] == 17;
    let fragment = word(header, 6) & 0xbfff != 0;
    if !whole || fragment || sum(header) != 0xffff {
        return None;
    }
    let address = |at: usize| Ipv4Addr::from(<[u8; 4]>::try_from(&header[at..at + 4]).unwrap());
    let (source, asked) = (address(12), address(16));
    let odd = source.octets()[0] == 0 || source.is_loopback() || source.octets()[0] >= 224;
    (!odd && source != asked).then_some((source.into(), asked.into(), &packet[20..]))
}

fn take_ipv6(packet: &[u8]) -> Option<(IpAddr, IpAddr, &[u8])> {
    let header = packet.get(..40)?;
    let whole = usize::from(word(header, 4)) + 40 == packet.len() && header[0] >> 4 == 6 && header[6] == 17;
    let address = |at: usize| Ipv6Addr::from(<[u8; 16]>::try_from(&header[at..at + 16]).unwrap());
    let (source, asked) = (address(8), address(24));
    let odd = source.is_multicast() || source.segments()[..4] == [0; 4];
    (whole && !odd && source != asked).then_some((source.into(), asked.into(), &packet[40..]))
}

fn word(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}
