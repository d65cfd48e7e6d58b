// SPDX-License-Identifier: GPL-2.0-or-later
//
// The memory that the program and user space share. Generated from src/fast_path/layout.rs: change that, then
//   WRITE_LAYOUT=1 cargo test --lib layout_h
#pragma once

#include <linux/types.h>

#define PUBLICATIONS 64 // Publications that are kept before one is overwritten.
#define DESTINATIONS 1024 // Places for addresses of this host with a port.
#define PROBES 8 // The number of places, from its own on, where a destination may be.
#define SPREAD 0x9e3779b97f4a7c15ULL // The factor of a destination's hash: 2^64 divided by the golden ratio, so that near numbers come to lie far apart.
#define SPREAD_SHIFT 54 // The shift of a destination's hash: the highest of 64 bits number all places.
#define LISTENERS 32 // Listeners that the program knows at most.
#define INTERFACES 16 // Interfaces that the program is attached to at most.
#define DEVICES 32 // Hardware addresses of interfaces that the program knows at most.
#define BOUNDARIES4 65536 // Boundaries of all access lists together at most, for IPv4.
#define BOUNDARIES6 32768 // The same for IPv6.
#define CLIENTS_PER_PLACE 4 // Clients that may be in one place of the table of clients.
#define RATE_SHIFT 29 // The scale of a rate, as a power of two.
#define GROWTH_SHIFT 40 // The scale of the root dispersion's growth, as a power of two.
#define VERDICTS 32 // Room for verdicts.
#define KINDS 64 // Versions and modes together.
#define BUCKETS 22 // Buckets of the histogram of residence times.
#define ANNOTATIONS 8 // Room for annotations.
#define SAMPLES 1024 // Samples that a CPU keeps before one is overwritten.

enum verdict {
	ANSWERED_CLIENT = 0,
	ANSWERED_SYMMETRIC = 1,
	ANSWERED_VERSION_1 = 2,
	KISSED_RATE = 3,
	KISSED_DENIED = 4,
	REFUSED_DENIED = 15,
	REFUSED_RATE = 16,
	REFUSED_SOURCE_ADDRESS = 19,
};

enum annotation {
	LEAKED = 0,
	IMPATIENT = 1,
	WOULD_DENY = 2,
	WOULD_LIMIT = 3,
};

enum mode {
	OFF = 0,
	DRY_RUN = 1,
	ON = 2,
};

// The time to serve for a while.
//
// It is written long before `current` names it, and overwritten only after all the others.
struct publication {
	__u64 number; // Its number
	__u64 start; // Its start by the time since boot, ns
	__u64 length; // The time for which it holds from then on, ns; less than 2^32
	__u64 time; // The time that is served at the start, an NTP timestamp
	__u64 rate; // The rate of that time: units of 2^-32 s in a nanosecond, times 2^RATE_SHIFT
	__u32 copy; // The copy of the rules that is in force
	__u32 answering; // A bit for each listener that answers with the time
	__u8 header_start[8]; // Bytes 0 to 7 of a reply: leap, stratum, -, precision, root delay
	__u8 header_rest[8]; // Bytes 8 to 15 of a reply: root dispersion, reference ID
	__u64 reference_time; // The time of the served clock's last correction, an NTP timestamp
	__u64 growth; // Growth of the root dispersion in a nanosecond, units of 2^-16 s, times 2^GROWTH_SHIFT
	__u64 steps; // The number of steps of the host's clock before it: it holds until the next one
	__u64 header_sum; // The sum of the words of a reply that it alone decides: bytes 0 to 7 and 12 to 15
	__u32 budgeted; // A bit for each listener whose answers count against the budget
	__u32 allowance; // The answers that a CPU may give there in the time of this publication; requests beyond them pass
	__u32 interleaving; // A bit for each listener that answers in interleaved mode: candidates for it pass
	__u32 padding; // 0
	__u64 unused[2]; // 0
};
_Static_assert(sizeof(struct publication) == 128, "as in layout.rs");

// The map `state`: the publications.
struct state {
	__u64 current; // The number of the newest publication
	__u64 steps; // The number of steps of the host's clock since the start
	__u64 followed; // The census samples all packets of clients whose hash is no higher; 0: there is no census
	__u64 apart; // The bits that the number of a packet must not have for the census to sample it
	__u64 unused[12]; // 0
	struct publication publications[PUBLICATIONS]; // Each at its number modulo PUBLICATIONS
};
_Static_assert(sizeof(struct state) == 8320, "as in layout.rs");

// An address of this host with a port where requests are answered.
struct destination {
	__u64 high; // The first half of the address as it is on the wire; IPv4 as ::ffff:a.b.c.d
	__u64 low; // Its second half
	__u16 port; // As it is on the wire
	__u16 untagged; // A bit for each interface, by its number, where frames without a VLAN tag come here, too
	__u32 unused; // 0
	__u64 listener; // The listener's number and 1; 0: the place is free. LISTENERS and 1, with port 0: a broadcast address of one of this host's networks; no request comes from there
};
_Static_assert(sizeof(struct destination) == 32, "as in layout.rs");

// The policy of a listener.
struct policy {
	__u8 access; // The mode of the access list
	__u8 limit; // The mode of the limit
	__u8 deny_kiss; // Whether a denied request gets DENY
	__u8 has_wide; // Whether there is a second bucket, for a wide prefix
	__u8 first4; // Whether 0.0.0.0 is allowed
	__u8 first6; // Whether :: is allowed
	__u8 prefix4; // Bits of an IPv4 address that share a bucket
	__u8 prefix6; // The same for IPv6
	__u8 wide4; // Bits of an IPv4 address that share the wide bucket
	__u8 wide6; // The same for IPv6
	__u8 kiss_poll; // The lowest poll interval that RATE announces, log2 s, a signed number
	__u8 unused[5]; // 0
	__u32 boundaries4_at; // The list's first boundary, IPv4
	__u32 boundaries4_top; // Half of the power of two that is one more than the list's length; 0: it is empty
	__u32 boundaries6_at; // The same for IPv6
	__u32 boundaries6_top; // The same for IPv6
	__u64 interval; // Time between requests, ns
	__u64 most; // The time by which a bucket may be ahead of now and still have a token, ns
	__u64 wide_interval; // The same of the wide bucket
	__u64 wide_most; // The same of the wide bucket
	__u32 leak; // The share of requests beyond the limit that is answered, of 2^32
	__u32 kiss; // The share of the others that gets RATE, of 2^32
	__u64 more[7]; // 0
};
_Static_assert(sizeof(struct policy) == 128, "as in layout.rs");

// A hardware address at an interface where frames arrive for the program.
struct device {
	__u32 index; // Linux' number for the interface; 0: there are no more entries
	__u32 number; // Our number for the interface that the program is attached to
	__u64 address; // The hardware address as it is on the wire, in the first six bytes
};
_Static_assert(sizeof(struct device) == 16, "as in layout.rs");

// A copy of the rules by which requests are answered.
struct rules {
	struct destination destinations[DESTINATIONS]; // A hash table with open addressing
	struct policy policies[LISTENERS]; // Each at the number of its listener
	struct device devices[DEVICES]; // In any order
	__u64 secret[2]; // Random: the key of the hash of clients
	__u64 places; // The number of places in the table of clients
	__u64 unused[13]; // 0
};
_Static_assert(sizeof(struct rules) == 37504, "as in layout.rs");

// The map `rules`: one copy is in force while the other one is written.
struct both_rules {
	struct rules copies[2]; // Each by its number
};
_Static_assert(sizeof(struct both_rules) == 75008, "as in layout.rs");

// The map `boundaries4`: where access lists change between "allowed" and "denied". Both copies.
struct boundaries4 {
	__u64 starts[2 * BOUNDARIES4]; // Each the first address after a change
};
_Static_assert(sizeof(struct boundaries4) == 1048576, "as in layout.rs");

// A boundary of IPv6, as a number.
struct boundary6 {
	__u64 high; // Its first half
	__u64 low; // Its second half
};
_Static_assert(sizeof(struct boundary6) == 16, "as in layout.rs");

// The map `boundaries6`: the same for IPv6.
struct boundaries6 {
	struct boundary6 starts[2 * BOUNDARIES6]; // Each the first address after a change
};
_Static_assert(sizeof(struct boundaries6) == 1048576, "as in layout.rs");

// The counts of a listener on a CPU: an entry of the map `counters`.
struct cells {
	__u64 plain[8]; // The answered requests of mode 3 without annotations, by version: counted nowhere else
	__u64 verdicts[VERDICTS]; // The packets with each verdict, by its number
	__u64 kinds[KINDS]; // The requests of each version and mode: their first byte without the leap indicator
	__u64 residence[BUCKETS]; // A histogram of answered requests
	__u64 residence_sum; // All residence times together, in units of 2^-32 s
	__u64 annotations[ANNOTATIONS]; // The requests with each annotation, by its number
	__u64 unused; // 0
};
_Static_assert(sizeof(struct cells) == 1088, "as in layout.rs");

// A packet that the census samples.
struct sample {
	__u64 high; // The first half of the source's address, as a number; 0 for IPv4
	__u64 low; // Its second half
	__u64 why; // 1: for the number of the packet; 2: for its client; 3: for both
};
_Static_assert(sizeof(struct sample) == 24, "as in layout.rs");

// The counts and samples of a CPU beside those of the listeners: an entry of the map `cpus`.
struct cpu {
	__u64 ipv4[INTERFACES]; // The answers over IPv4, by the number of the interface
	__u64 ipv6[INTERFACES]; // The same over IPv6
	__u64 packets; // The packets that the census would have
	__u64 written; // The samples so far, each at its number modulo SAMPLES
	__u64 counted_in; // The number of the publication in which the next cell counts
	__u64 counted; // The requests of that publication's time to listeners with a budget
	__u64 unused[4]; // 0
	struct sample samples[SAMPLES]; // The newest samples
};
_Static_assert(sizeof(struct cpu) == 24896, "as in layout.rs");
