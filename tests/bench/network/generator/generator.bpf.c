// The kernel's half of the generator. `ask` makes a request of each frame that user space has the kernel run it on, and
// sends it out of the clients' end of a veth pair; `hear` takes the replies there, checks and counts them.
//
// Clients are known by their request's transmit timestamp alone: it holds the time when it was made, and address and
// port of the sender are a hash of it. So a reply shows by itself whether it is one to a request of ours. Its lowest bit
// is 0 in the transmit timestamp, and 1 in the receive timestamp of a request in interleaved mode: the reply has the one or
// the other as its origin, and so shows its mode (RFC 9769 section 2).
#include <linux/bpf.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "shared.h"

#define ETHERNET 14
#define NTP_LEN 48
#define ETHERTYPE_IPV4 0x0800
#define ETHERTYPE_IPV6 0x86dd
#define UDP 17
#define NTP_PORT 123
#define NTP_TO_UNIX 2208988800ULL
#define SECOND 1000000000ULL
#define LATE (SECOND / 4000)

char LICENSE[] SEC("license") = "GPL";

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct plan);
} plans SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct tally);
} tallies SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, HISTOGRAMS * BUCKETS);
	__type(key, __u32);
	__type(value, __u64);
} histograms SEC(".maps");

// The last reply to a client, and the one before, which its request in interleaved mode named.
struct association {
	__u64 receive; // the receive timestamp; 0 if it was used
	__u64 heard;   // when the reply came, in ns
	__u64 named_receive, named_heard;
	__u64 request; // the receive timestamp of that request
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, INTERLEAVED_MAX);
	__type(key, __u32);
	__type(value, struct association);
} associations SEC(".maps");

struct client {
	__u32 number;
	__u16 port;
};

static __always_inline struct client client_of(__u64 transmit, __u32 clients)
{
	__u64 hash = transmit * 0x9e3779b97f4a7c15ULL;
	struct client client = {
		.number = (hash >> 32) * clients >> 32,
		.port = 0x8000 | ((hash >> 16) & 0x3fff),
	};
	return client;
}

static __always_inline __u64 realtime(const struct plan *plan)
{
	return bpf_ktime_get_tai_ns() - plan->tai_offset;
}

static __always_inline __u16 folded(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return sum + (sum >> 16);
}

static __always_inline __u64 words(__u64 value)
{
	return (value & 0xffffffff) + (value >> 32);
}

// Is it time for a request? In a closed loop: is there room for one more unanswered; in an open loop: is one due?
static __always_inline int is_time(const struct plan *plan, struct tally *tally, __u64 now)
{
	if (plan->window)
		return (__s64)(tally->asked - *(volatile __u64 *)&tally->heard - tally->written_off) <
		       (__s64)plan->window;
	if (!tally->due)
		tally->due = now;
	if (now < tally->due)
		return 0;
	// What is late is not made up for: the burst would be of our own making, or of whoever took the CPU from us.
	if (now - tally->due > LATE) {
		tally->late++;
		tally->due = now;
	}
	tally->due += plan->gaps[bpf_get_prandom_u32() & (GAPS - 1)];
	return 1;
}

SEC("xdp")
int ask(struct xdp_md *context)
{
	__u8 *data = (void *)(long)context->data, *end = (void *)(long)context->data_end;
	__u32 zero = 0;
	struct plan *plan = bpf_map_lookup_elem(&plans, &zero);
	struct tally *tally = bpf_map_lookup_elem(&tallies, &zero);
	if (!plan || !tally)
		return XDP_ABORTED;
	__u64 now = realtime(plan) & ~1ULL;
	if (!is_time(plan, tally, now))
		return XDP_DROP;
	struct client client = client_of(now, plan->clients);
	__u32 number = bpf_htonl(client.number);
	__u16 port = bpf_htons(client.port), sum;
	__u8 *udp;
	if (plan->ipv6) {
		if (data + ETHERNET + 40 + 8 + NTP_LEN > end)
			return XDP_ABORTED;
		__builtin_memcpy(data, plan->frame, ETHERNET + 40 + 8 + NTP_LEN);
		udp = data + ETHERNET + 40;
		// Each client has a /64 of its own.
		*(__u32 *)(data + ETHERNET + 8 + 4) = number;
	} else {
		if (data + ETHERNET + 20 + 8 + NTP_LEN > end)
			return XDP_ABORTED;
		__builtin_memcpy(data, plan->frame, ETHERNET + 20 + 8 + NTP_LEN);
		udp = data + ETHERNET + 20;
		number |= *(__u32 *)(data + ETHERNET + 12);
		*(__u32 *)(data + ETHERNET + 12) = number;
		*(__u16 *)(data + ETHERNET + 10) = ~folded((__u64)plan->ip_checksum + number);
	}
	*(__u16 *)udp = port;
	*(__u64 *)(udp + 8 + 40) = now;
	__u64 all = (__u64)plan->checksum + number + port + words(now);
	struct association *last = plan->interleaved ? bpf_map_lookup_elem(&associations, &client.number) : 0;
	if (last && last->receive) {
		*(__u64 *)(udp + 8 + 24) = last->receive;
		*(__u64 *)(udp + 8 + 32) = now | 1;
		all += words(last->receive) + words(now | 1);
		last->named_receive = last->receive;
		last->named_heard = last->heard;
		last->request = now | 1;
		last->receive = 0;
	}
	sum = ~folded(all);
	*(__u16 *)(udp + 6) = sum ? sum : 0xffff;
	__sync_fetch_and_add(&tally->asked, 1);
	return bpf_redirect(plan->interface, 0);
}

static __always_inline __u32 bucket_of(__u64 value)
{
	__u32 log = 0;
	__u64 rest = value;
	if (value < (1 << FINE))
		return value;
	for (int step = 32; step; step >>= 1)
		if (rest >> step) {
			rest >>= step;
			log += step;
		}
	__u32 bucket = ((log - FINE + 1) << FINE) + ((value >> (log - FINE)) & ((1 << FINE) - 1));
	return bucket < BUCKETS ? bucket : BUCKETS - 1;
}

static __always_inline void note(enum histogram which, __s64 value, struct tally *tally)
{
	if (value < 0) {
		__sync_fetch_and_add(&tally->negative, 1);
		value = 0;
	}
	__u32 key = which * BUCKETS + bucket_of(value);
	__u64 *count = bpf_map_lookup_elem(&histograms, &key);
	if (count)
		*count += 1;
}

static __always_inline __s64 unix_ns(__u64 timestamp)
{
	__u64 bits = bpf_be64_to_cpu(timestamp);
	return ((bits >> 32) - NTP_TO_UNIX) * SECOND + (((bits & 0xffffffff) * SECOND) >> 32);
}

// The four times of RFC 5905 section 8; all clocks are the same one, so the true offset is 0.
static __always_inline void note_times(__s64 t1, __u8 *ntp, __s64 t4, struct tally *tally)
{
	__s64 t2 = unix_ns(*(__u64 *)(ntp + 32)), t3 = unix_ns(*(__u64 *)(ntp + 40));
	// BPF has no signed division before its fourth version; the shift rounds down instead.
	__s64 offset = ((t2 - t1) + (t3 - t4)) >> 1;
	note(ROUND_TRIP, t4 - t1, tally);
	note(OFFSET, offset < 0 ? -offset : offset, tally);
	note(OUTBOUND, t2 - t1, tally);
	if (t4 < t3)
		note(EARLY, t3 - t4, tally);
	else
		note(RETURN, t4 - t3, tally);
	__sync_fetch_and_add(&tally->offsets, offset);
}

// The reply that the request named left after that one's receive timestamp, and before it was heard.
static __always_inline void note_interleaved(const struct association *last, __u64 origin, __u64 transmit, struct tally *tally)
{
	__s64 left = unix_ns(transmit);
	__sync_fetch_and_add(&tally->interleaved, 1);
	// If it asked again meanwhile, nothing is known of this request.
	if (last->request == origin && (left < unix_ns(last->named_receive) || left > (__s64)last->named_heard))
		__sync_fetch_and_add(&tally->mixed_up, 1);
}

SEC("xdp")
int hear(struct xdp_md *context)
{
	__u8 *data = (void *)(long)context->data, *end = (void *)(long)context->data_end;
	__u32 zero = 0, number;
	struct plan *plan = bpf_map_lookup_elem(&plans, &zero);
	struct tally *tally = bpf_map_lookup_elem(&tallies, &zero);
	if (!plan || !tally || data + ETHERNET + 20 + 8 + NTP_LEN > end)
		return XDP_PASS;
	__u8 *udp;
	if (*(__u16 *)(data + 12) == bpf_htons(ETHERTYPE_IPV4)) {
		if (data[ETHERNET] != 0x45 || data[ETHERNET + 9] != UDP)
			return XDP_PASS;
		udp = data + ETHERNET + 20;
		number = bpf_ntohl(*(__u32 *)(data + ETHERNET + 16)) & 0x7fffff;
	} else if (*(__u16 *)(data + 12) == bpf_htons(ETHERTYPE_IPV6)) {
		if (data + ETHERNET + 40 + 8 + NTP_LEN > end || data[ETHERNET + 6] != UDP)
			return XDP_PASS;
		udp = data + ETHERNET + 40;
		number = bpf_ntohl(*(__u32 *)(data + ETHERNET + 24 + 4));
	} else {
		return XDP_PASS;
	}
	if (udp + 8 + NTP_LEN > end || *(__u16 *)udp != bpf_htons(NTP_PORT))
		return XDP_PASS;
	__u8 *ntp = udp + 8;
	__u64 now = realtime(plan), origin = *(__u64 *)(ntp + 24);
	struct client client = client_of(origin & ~1ULL, plan->clients);
	__u8 leap = ntp[0] >> 6;
	__sync_fetch_and_add(&tally->heard, 1);
	if ((ntp[0] & 0x3f) != (4 << 3 | 4) || *(__u16 *)(udp + 4) != bpf_htons(8 + NTP_LEN) || ntp[1] > 15) {
		__sync_fetch_and_add(&tally->malformed, 1);
		return XDP_DROP;
	}
	if (client.number != number || bpf_htons(client.port) != *(__u16 *)(udp + 2) || now - origin > 5 * SECOND) {
		__sync_fetch_and_add(&tally->strange, 1);
		return XDP_DROP;
	}
	if (plan->synchronized && (leap == 3 || ntp[1] == 0)) {
		__sync_fetch_and_add(&tally->unsynchronized, 1);
		return XDP_DROP;
	}
	__sync_fetch_and_add(&tally->good, 1);
	struct association *last = plan->interleaved ? bpf_map_lookup_elem(&associations, &number) : 0;
	if (!(origin & 1))
		note_times(origin, ntp, now, tally);
	else if (last)
		note_interleaved(last, origin, *(__u64 *)(ntp + 40), tally);
	if (last) {
		last->receive = *(__u64 *)(ntp + 32);
		last->heard = now;
	}
	return XDP_DROP;
}
