//! Pure. Messages of netlink: requests for lists, and the entries of the answers (rtnetlink(7), linux/if_link.h).

/// The flags of a request for a list (linux/netlink.h, `NLM_F_REQUEST` and `NLM_F_DUMP`).
const LIST: u16 = 0x301;
/// The bytes of a message's header, and those of an attribute's.
const HEADER: usize = 16;
const ATTRIBUTE: usize = 4;
/// The kinds of message that end a list.
const ERROR: u16 = 2;
const DONE: u16 = 3;
/// `NFNL_SUBSYS_NFTABLES`, as the high byte of a kind.
const NF_TABLES: u16 = 10 << 8;

/// A request for a list.
#[derive(Clone, Copy, Debug)]
pub struct ListRequest<'a> {
    kind: u16,
    payload: &'a [u8],
}

impl ListRequest<'static> {
    /// The network interfaces (`RTM_GETLINK`).
    pub const LINKS: Self = Self {
        kind: 18,
        payload: &[0; 16],
    };
    /// The rules of policy routing, for IPv4 (`RTM_GETRULE`).
    pub const RULES4: Self = Self {
        kind: 34,
        payload: &[2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    };
    /// The same for IPv6.
    pub const RULES6: Self = Self {
        kind: 34,
        payload: &[10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    };
    /// The rules of nf_tables, of all families (`NFT_MSG_GETRULE`).
    pub const FILTER_RULES: Self = Self {
        kind: NF_TABLES | 7,
        payload: &[0; 4],
    };
}

impl ListRequest<'_> {
    /// Returns whether it is for the packet filter, not for routes and links.
    pub(super) const fn is_of_filter(&self) -> bool {
        self.kind & 0xff00 == NF_TABLES
    }

    /// Returns the message.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let length = u32::try_from(HEADER + self.payload.len()).unwrap_or(0);
        let mut bytes = length.to_ne_bytes().to_vec();
        bytes.extend(self.kind.to_ne_bytes());
        bytes.extend(LIST.to_ne_bytes());
        // Sequence number and port: there is one question, and the kernel is asked.
        bytes.extend([0; 8]);
        bytes.extend(self.payload);
        bytes
    }
}

/// The end of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// All entries have been told.
    Done,
    /// There are none, by this error number.
    Refused(i32),
}

/// Returns the payloads of messages that arrived together, up to one that ends the list.
pub fn messages(bytes: &[u8]) -> impl Iterator<Item = Result<&[u8], End>> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let length = usize::try_from(u32_at(rest, 0)?).ok()?;
        let kind = u16_at(rest, 4)?;
        let payload = rest.get(HEADER..length)?;
        rest = rest.get(aligned(length)..).unwrap_or_default();
        Some(match kind {
            DONE => Err(End::Done),
            ERROR => Err(End::Refused(
                u32_at(payload, 0).unwrap_or(0).cast_signed().wrapping_neg(),
            )),
            _ => Ok(payload),
        })
    })
}

/// Returns the attributes in `bytes`: kind and value.
fn attributes(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    /// `NLA_TYPE_MASK`: without the flags "nested" and "in network byte order".
    const KIND: u16 = 0x3fff;
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let length = usize::from(u16_at(rest, 0)?);
        let kind = u16_at(rest, 2)? & KIND;
        let value = rest.get(ATTRIBUTE..length)?;
        rest = rest.get(aligned(length)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// A network interface's place among the others, as `RTM_NEWLINK` tells it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NetworkLink {
    /// Linux' number for it.
    pub index: u32,
    /// The bridge or bond that it is a port of.
    pub master: Option<u32>,
    /// The interface of this network namespace that it is on top of: that of a VLAN, or of a macvlan.
    pub lower: Option<u32>,
    /// The kind of a virtual interface: `vlan`, `bridge`, `bond`, `macvlan`, `veth`.
    pub kind: Option<String>,
    /// The XDP program that is attached.
    pub program: Option<u32>,
}

/// Returns the link that an entry of [`ListRequest::LINKS`] tells of.
pub fn link(entry: &[u8]) -> Option<NetworkLink> {
    const BODY: usize = 16;
    const LINK: u16 = 5;
    const MASTER: u16 = 10;
    const LINK_INFO: u16 = 18;
    const INFO_KIND: u16 = 1;
    const LINK_NAMESPACE: u16 = 37;
    const XDP: u16 = 43;
    const XDP_PROGRAM: u16 = 4;
    let mut link = NetworkLink {
        index: u32_at(entry, 4)?,
        ..NetworkLink::default()
    };
    let mut is_elsewhere = false;
    let inside = |value, wanted| attributes(value).find(|(kind, _)| *kind == wanted);
    for (kind, value) in attributes(entry.get(BODY..)?) {
        match kind {
            LINK => link.lower = u32_at(value, 0),
            MASTER => link.master = u32_at(value, 0),
            LINK_NAMESPACE => is_elsewhere = true,
            LINK_INFO => link.kind = inside(value, INFO_KIND).map(|(_, name)| text(name)),
            XDP => link.program = inside(value, XDP_PROGRAM).and_then(|(_, id)| u32_at(id, 0)),
            _ => {}
        }
    }
    // Others have another number there: that of the other end of a pair, or that of the tunnel's interface.
    let is_on_top = matches!(link.kind.as_deref(), Some("vlan" | "macvlan" | "ipvlan"));
    link.lower = link.lower.filter(|_| is_on_top && !is_elsewhere);
    Some(link)
}

/// Returns the priority of a rule of policy routing (`FRA_PRIORITY`); 0 has none.
pub fn priority(entry: &[u8]) -> u32 {
    const BODY: usize = 12;
    const PRIORITY: u16 = 6;
    let mut all = attributes(entry.get(BODY..).unwrap_or_default());
    let found = all.find(|(kind, _)| *kind == PRIORITY);
    found.and_then(|(_, value)| u32_at(value, 0)).unwrap_or(0)
}

/// A text that ends with a zero.
fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(bytes.get(..end).unwrap_or_default()).into_owned()
}

/// Returns the length with what fills it up to a multiple of four.
const fn aligned(length: usize) -> usize {
    length.next_multiple_of(4)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let length = u16::try_from(ATTRIBUTE + value.len()).unwrap();
        let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
        bytes.extend(value);
        bytes.resize(aligned(bytes.len()), 0);
        bytes
    }

    fn message(kind: u16, payload: &[u8]) -> Vec<u8> {
        let mut bytes = ListRequest { kind, payload }.bytes();
        bytes.resize(aligned(bytes.len()), 0);
        bytes
    }

    fn body(index: u32) -> Vec<u8> {
        let mut body = vec![0; 16];
        body[4..8].copy_from_slice(&index.to_ne_bytes());
        body
    }

    #[test]
    fn a_link_tells_its_place() {
        let port = [
            body(3),
            attribute(3, b"s0\0"),
            attribute(10, &7_u32.to_ne_bytes()),
            attribute(43 | 0x8000, &attribute(4, &55_u32.to_ne_bytes())),
        ]
        .concat();
        let vlan = [
            body(4),
            attribute(5, &3_u32.to_ne_bytes()),
            attribute(18, &attribute(1, b"vlan\0")),
        ]
        .concat();
        let kind = |name: &[u8]| attribute(18, &attribute(1, name));
        let cable = [body(5), attribute(5, &3_u32.to_ne_bytes()), kind(b"veth\0")].concat();
        let moved = [
            body(6),
            attribute(5, &3_u32.to_ne_bytes()),
            attribute(37, &[0; 4]),
            kind(b"macvlan\0"),
        ]
        .concat();
        let expected = [
            NetworkLink {
                index: 3,
                master: Some(7),
                program: Some(55),
                ..NetworkLink::default()
            },
            NetworkLink {
                index: 4,
                lower: Some(3),
                kind: Some("vlan".to_owned()),
                ..NetworkLink::default()
            },
            NetworkLink {
                index: 5,
                kind: Some("veth".to_owned()),
                ..NetworkLink::default()
            },
            NetworkLink {
                index: 6,
                kind: Some("macvlan".to_owned()),
                ..NetworkLink::default()
            },
        ];
        for (entry, expected) in [port, vlan, cable, moved].iter().zip(expected) {
            assert_eq!(link(entry), Some(expected));
        }
        assert_eq!(link(&[0; 15]), None);
    }

    #[test]
    fn a_list_ends_where_the_kernel_says() {
        let refused = message(ERROR, &(-1_i32).to_ne_bytes());
        for (bytes, expected) in [
            (vec![], vec![]),
            (message(16, &[1, 2, 3]), vec![Ok(&[1, 2, 3][..])]),
            (
                [message(16, &[9]), message(DONE, &[0; 4])].concat(),
                vec![Ok(&[9][..]), Err(End::Done)],
            ),
            (refused, vec![Err(End::Refused(1))]),
        ] {
            assert_eq!(messages(&bytes).collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn a_rule_has_a_priority() {
        let rule = [vec![0; 12], attribute(6, &32_766_u32.to_ne_bytes())].concat();
        assert_eq!((priority(&rule), priority(&[0; 12])), (32_766, 0));
    }

    proptest! {
        /// Whatever comes, reading it ends.
        #[test]
        fn any_bytes_are_read(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut entries = 0;
            for entry in messages(&bytes).filter_map(Result::ok) {
                let _read = (link(entry), priority(entry));
                entries += 1;
            }
            prop_assert!(entries <= bytes.len() / 16);
        }
    }
}
