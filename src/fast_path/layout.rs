//! Pure. The memory that the program (`program/ntp.bpf.c`) and user space share.
//!
//! Each constant, number and structure is declared once. `program/layout.h` is generated from this file
//! (`WRITE_LAYOUT=1 cargo test --lib layout_h`), and the program's object is built from that (`program/build`). Tests
//! fail where either was forgotten. The compiler checks the numbers by which the existing object counts: a verdict that
//! is put in front of others does not compile.

#[cfg(test)]
mod header;
mod structure;

pub(super) use structure::InMemory;
use structure::shared;

use crate::server::policy::{Annotation, RuleMode};
use crate::server::{Counts, Residence, Verdict};

/// The bytes of a word, the unit of all maps.
pub(super) const WORD: usize = size_of::<u64>();

/// Declares constants that both sides know.
macro_rules! constants {
    ($($(#[doc = $line:literal])+ $public:vis const $name:ident: $kind:ty = $value:expr;)+) => {
        $($(#[doc = $line])+ $public const $name: $kind = $value;)+

        #[cfg(test)]
        const CONSTANTS: &[(&str, u64, &str)] = &[$((stringify!($name), $name as u64, concat!($($line),+)),)+];
    };
}

constants! {
    /// Publications that are kept before one is overwritten.
    pub(super) const PUBLICATIONS: usize = 64;
    /// Places for addresses of this host with a port.
    pub(super) const DESTINATIONS: usize = 1024;
    /// The number of places, from its own on, where a destination may be.
    pub(super) const PROBES: usize = 8;
    /// The factor of a destination's hash: 2^64 divided by the golden ratio, so that near numbers come to lie far apart.
    pub(super) const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
    /// The shift of a destination's hash: the highest of 64 bits number all places.
    pub(super) const SPREAD_SHIFT: u32 = u64::BITS - DESTINATIONS.ilog2();
    /// Listeners that the program knows at most.
    pub const LISTENERS: usize = 32;
    /// Interfaces that the program is attached to at most.
    pub const INTERFACES: usize = 16;
    /// Hardware addresses of interfaces that the program knows at most.
    pub(super) const DEVICES: usize = 32;
    /// Boundaries of all access lists together at most, for IPv4.
    pub(super) const BOUNDARIES4: usize = 65_536;
    /// The same for IPv6.
    pub(super) const BOUNDARIES6: usize = 32_768;
    /// Clients that may be in one place of the table of clients.
    pub const CLIENTS_PER_PLACE: u32 = 4;
    /// The scale of a rate, as a power of two.
    pub(super) const RATE_SHIFT: u32 = 29;
    /// The scale of the root dispersion's growth, as a power of two.
    pub(super) const GROWTH_SHIFT: u32 = 40;
    /// Room for verdicts.
    pub(super) const VERDICTS: usize = 32;
    /// Versions and modes together.
    pub(super) const KINDS: usize = Counts::KINDS;
    /// Buckets of the histogram of residence times.
    pub(super) const BUCKETS: usize = Residence::BUCKETS;
    /// Room for annotations.
    pub(super) const ANNOTATIONS: usize = 8;
    /// Samples that a CPU keeps before one is overwritten.
    pub(super) const SAMPLES: usize = 1024;
}

shared! {
    /// The time to serve for a while.
    ///
    /// It is written long before `current` names it, and overwritten only after all the others.
    pub struct Publication as "publication" {
        /// Its number
        number: u64,
        /// Its start by the time since boot, ns
        start: u64,
        /// The time for which it holds from then on, ns; less than 2^32
        length: u64,
        /// The time that is served at the start, an NTP timestamp
        time: u64,
        /// The rate of that time: units of 2^-32 s in a nanosecond, times 2^RATE_SHIFT
        rate: u64,
        /// The copy of the rules that is in force
        copy: u32,
        /// A bit for each listener that answers with the time
        answering: u32,
        /// Bytes 0 to 7 of a reply: leap, stratum, -, precision, root delay
        header_start: [u8; 8],
        /// Bytes 8 to 15 of a reply: root dispersion, reference ID
        header_rest: [u8; 8],
        /// The time of the served clock's last correction, an NTP timestamp
        reference_time: u64,
        /// Growth of the root dispersion in a nanosecond, units of 2^-16 s, times 2^GROWTH_SHIFT
        growth: u64,
        /// The number of steps of the host's clock before it: it holds until the next one
        steps: u64,
        /// The sum of the words of a reply that it alone decides: bytes 0 to 7 and 12 to 15
        header_sum: u64,
        /// A bit for each listener whose answers count against the budget
        budgeted: u32,
        /// The answers that a CPU may give there in the time of this publication; requests beyond them pass
        allowance: u32,
        /// A bit for each listener that answers in interleaved mode: candidates for it pass
        interleaving: u32,
        /// 0
        padding: u32,
        /// 0
        unused: [u64; 2],
    }
}

shared! {
    /// The map `state`: the publications.
    pub(super) struct PublishedState as "state" {
        /// The number of the newest publication
        current: u64,
        /// The number of steps of the host's clock since the start
        steps: u64,
        /// The census samples all packets of clients whose hash is no higher; 0: there is no census
        followed: u64,
        /// The bits that the number of a packet must not have for the census to sample it
        apart: u64,
        /// 0
        unused: [u64; 12],
        /// Each at its number modulo PUBLICATIONS
        publications: [Publication; PUBLICATIONS],
    }
}

shared! {
    /// An address of this host with a port where requests are answered.
    pub(super) struct Destination as "destination" {
        /// The first half of the address as it is on the wire; IPv4 as ::ffff:a.b.c.d
        high: u64,
        /// Its second half
        low: u64,
        /// As it is on the wire
        port: u16,
        /// A bit for each interface, by its number, where frames without a VLAN tag come here, too
        untagged: u16,
        /// 0
        unused: u32,
        /// The listener's number and 1; 0: the place is free.
        ///
        /// LISTENERS and 1, with port 0: a broadcast address of one of this host's networks; no request comes from there
        listener: u64,
    }
}

shared! {
    /// The policy of a listener.
    pub(super) struct ListenerPolicy as "policy" {
        /// The mode of the access list
        access: u8,
        /// The mode of the limit
        limit: u8,
        /// Whether a denied request gets DENY
        deny_kiss: u8,
        /// Whether there is a second bucket, for a wide prefix
        has_wide: u8,
        /// Whether 0.0.0.0 is allowed
        first4: u8,
        /// Whether :: is allowed
        first6: u8,
        /// Bits of an IPv4 address that share a bucket
        prefix4: u8,
        /// The same for IPv6
        prefix6: u8,
        /// Bits of an IPv4 address that share the wide bucket
        wide4: u8,
        /// The same for IPv6
        wide6: u8,
        /// The lowest poll interval that RATE announces, log2 s, a signed number
        kiss_poll: u8,
        /// 0
        unused: [u8; 5],
        /// The list's first boundary, IPv4
        boundaries4_at: u32,
        /// Half of the power of two that is one more than the list's length; 0: it is empty
        boundaries4_top: u32,
        /// The same for IPv6
        boundaries6_at: u32,
        /// The same for IPv6
        boundaries6_top: u32,
        /// Time between requests, ns
        interval: u64,
        /// The time by which a bucket may be ahead of now and still have a token, ns
        most: u64,
        /// The same of the wide bucket
        wide_interval: u64,
        /// The same of the wide bucket
        wide_most: u64,
        /// The share of requests beyond the limit that is answered, of 2^32
        leak: u32,
        /// The share of the others that gets RATE, of 2^32
        kiss: u32,
        /// 0
        more: [u64; 7],
    }
}

shared! {
    /// A hardware address at an interface where frames arrive for the program.
    pub(super) struct DeviceEntry as "device" {
        /// Linux' number for the interface; 0: there are no more entries
        index: u32,
        /// Our number for the interface that the program is attached to
        number: u32,
        /// The hardware address as it is on the wire, in the first six bytes
        address: u64,
    }
}

shared! {
    /// A copy of the rules by which requests are answered.
    pub(super) struct RulesCopy as "rules" {
        /// A hash table with open addressing
        destinations: [Destination; DESTINATIONS],
        /// Each at the number of its listener
        policies: [ListenerPolicy; LISTENERS],
        /// In any order
        devices: [DeviceEntry; DEVICES],
        /// Random: the key of the hash of clients
        secret: [u64; 2],
        /// The number of places in the table of clients
        places: u64,
        /// 0
        unused: [u64; 13],
    }
}

shared! {
    /// The map `rules`: one copy is in force while the other one is written.
    pub(super) struct BothRules as "both_rules" {
        /// Each by its number
        copies: [RulesCopy; 2],
    }
}

shared! {
    /// The map `boundaries4`: where access lists change between "allowed" and "denied". Both copies.
    pub(super) struct AllBoundaries4 as "boundaries4" {
        /// Each the first address after a change
        starts: [u64; 2 * BOUNDARIES4],
    }
}

shared! {
    /// A boundary of IPv6, as a number.
    pub(super) struct Boundary6 as "boundary6" {
        /// Its first half
        high: u64,
        /// Its second half
        low: u64,
    }
}

shared! {
    /// The map `boundaries6`: the same for IPv6.
    pub(super) struct AllBoundaries6 as "boundaries6" {
        /// Each the first address after a change
        starts: [Boundary6; 2 * BOUNDARIES6],
    }
}

shared! {
    /// The counts of a listener on a CPU: an entry of the map `counters`.
    pub(super) struct Cells as "cells" {
        /// The answered requests of mode 3 without annotations, by version: counted nowhere else
        plain: [u64; 8],
        /// The packets with each verdict, by its number
        verdicts: [u64; VERDICTS],
        /// The requests of each version and mode: their first byte without the leap indicator
        kinds: [u64; KINDS],
        /// A histogram of answered requests
        residence: [u64; BUCKETS],
        /// All residence times together, in units of 2^-32 s
        residence_sum: u64,
        /// The requests with each annotation, by its number
        annotations: [u64; ANNOTATIONS],
        /// 0
        unused: u64,
    }
}

shared! {
    /// A packet that the census samples.
    pub(super) struct SampleEntry as "sample" {
        /// The first half of the source's address, as a number; 0 for IPv4
        high: u64,
        /// Its second half
        low: u64,
        /// 1: for the number of the packet; 2: for its client; 3: for both
        why: u64,
    }
}

shared! {
    /// The counts and samples of a CPU beside those of the listeners: an entry of the map `cpus`.
    pub(super) struct CpuCells as "cpu" {
        /// The answers over IPv4, by the number of the interface
        ipv4: [u64; INTERFACES],
        /// The same over IPv6
        ipv6: [u64; INTERFACES],
        /// The packets that the census would have
        packets: u64,
        /// The samples so far, each at its number modulo SAMPLES
        written: u64,
        /// The number of the publication in which the next cell counts
        counted_in: u64,
        /// The requests of that publication's time to listeners with a budget
        counted: u64,
        /// 0
        unused: [u64; 4],
        /// The newest samples
        samples: [SampleEntry; SAMPLES],
    }
}

// A destination has a bit for each interface.
const _: () = assert!(INTERFACES <= 16);

/// The verdicts that the program gives, with the numbers that its object counts them under.
const GIVEN: [(Verdict, usize); 8] = [
    (Verdict::AnsweredClient, 0),
    (Verdict::AnsweredSymmetric, 1),
    (Verdict::AnsweredVersion1, 2),
    (Verdict::KissedRate, 3),
    (Verdict::KissedDenied, 4),
    (Verdict::RefusedDenied, 15),
    (Verdict::RefusedRate, 16),
    (Verdict::RefusedSource, 19),
];

/// The annotations that the program makes, with their numbers there. It counts all up to the last one.
const MADE: [(Annotation, usize); 4] = [
    (Annotation::Leaked, 0),
    (Annotation::RetriesWhenDropped, 1),
    (Annotation::WouldDeny, 2),
    (Annotation::WouldLimit, 3),
];

// The program sends a reply up to `KissedDenied`, and takes those up to `AnsweredVersion1` for answers.
const _: () = {
    let mut rest: &[(Verdict, usize)] = &GIVEN;
    while let [(verdict, number), more @ ..] = rest {
        assert!(
            verdict.index() == *number,
            "give it its old number, or build the program again"
        );
        assert!(verdict.is_answered() == (*number <= 2) && verdict.has_reply() == (*number <= 4));
        rest = more;
    }
    assert!(Verdict::COUNT <= VERDICTS);
};
const _: () = {
    let mut rest: &[(Annotation, usize)] = &MADE;
    while let [(annotation, number), more @ ..] = rest {
        assert!(
            annotation.index() == *number,
            "give it its old number, or build the program again"
        );
        rest = more;
    }
    assert!(Annotation::COUNT <= ANNOTATIONS);
};
// It masks what it finds: these are powers of two.
const _: () = {
    let mut rest: &[usize] = &[
        PUBLICATIONS,
        DESTINATIONS,
        LISTENERS,
        INTERFACES,
        SAMPLES,
        BOUNDARIES4,
        BOUNDARIES6,
        KINDS,
    ];
    while let [size, more @ ..] = rest {
        assert!(size.is_power_of_two());
        rest = more;
    }
};

/// The number of a mode.
pub(super) const fn mode_number(mode: RuleMode) -> u8 {
    match mode {
        RuleMode::Off => 0,
        RuleMode::DryRun => 1,
        RuleMode::On => 2,
    }
}
