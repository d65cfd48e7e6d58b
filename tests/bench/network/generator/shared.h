// What both halves of the generator know: generator.c (user space) and generator.bpf.c (kernel).
#ifndef SHARED_H
#define SHARED_H

#include <linux/types.h>

// Gaps between two requests of an open loop are drawn from so many.
#define GAPS 1024
// A histogram's buckets: 32 for each doubling, so a value is known to 3 %; the last one is about 17 s.
#define BUCKETS 1024
#define FINE 5
#define FRAME_MAX 128
// Clients in interleaved mode, at most.
#define INTERLEAVED_MAX 65536

// EARLY: of replies that were heard before they say that they left, by how much. RETURN has only the others.
enum histogram { ROUND_TRIP, OFFSET, OUTBOUND, RETURN, EARLY, HISTOGRAMS };

// Said before the start.
struct plan {
	__u32 interface; // where requests leave
	__u32 ipv6;
	__u32 clients;   // different source addresses
	__u32 window;    // closed loop: so many unanswered requests at most; 0: open loop
	__u32 interleaved; // clients ask for the time when the last reply left (RFC 9769)
	__u32 synchronized; // count replies as good only if they tell a time
	__u32 checksum;  // sum of what never changes in the UDP packet and its pseudo header
	__u32 ip_checksum; // the same of the IPv4 header
	__u32 length;    // of the frame in bytes
	__u64 tai_offset; // CLOCK_TAI - CLOCK_REALTIME in ns
	__u32 gaps[GAPS]; // ns
	__u8 frame[FRAME_MAX];
};

// Counted on the way. All but `written_off` only grow, and only the kernel's half writes them.
struct tally {
	__u64 asked;
	__u64 late;          // how often a request was due for 0.25 ms before it was sent
	__u64 due;           // when the next one is, in ns of the realtime clock
	__u64 padding[5];
	__u64 heard;         // replies, good or not
	__u64 good;
	__u64 malformed;     // not what a server answers to a client
	__u64 strange;       // the origin is no request of the client that it was sent to
	__u64 unsynchronized;
	__u64 interleaved;   // good replies that say when the one before left
	__u64 mixed_up;      // those of them that say a time at which that one can't have left
	__u64 negative;      // receive stamps before we asked
	__s64 offsets;       // sum of the offsets, in ns
	__u64 written_off;   // by user space: they won't be answered any more
};

#endif
