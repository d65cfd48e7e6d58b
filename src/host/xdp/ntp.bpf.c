// SPDX-License-Identifier: GPL-2.0-or-later
//
// Plain NTP requests are answered here, before the network stack sees them (XDP). What is not plain, and every request
// while nobody says what time it is, passes on to the sockets, untouched. A reply is what serve/respond.rs would have given.
//
// User space writes `state`, `rules`, `turns4` and `turns6` (src/fast/ makes the words) and reads `counters`; all of them
// are memory that both sides have mapped. Only this program looks at `clients`.
//
// Build: src/host/xdp/build (Debian's clang). The object is kept beside this file.

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/udp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define inlined static __always_inline

// The layout, word by word as in src/fast/layout.rs.
enum {
	SLOTS = 64,
	DOORS = 1024,
	PROBES = 8,
	LISTENERS = 32,
	DEVICES = 16,
	TURNS4 = 65536,
	TURNS6 = 32768,
	WAYS = 4,
	VERDICTS = 32,
	KINDS = 64,
	BUCKETS = 22,
	REMARKS = 8,
};

// What is served: a slot is written long before anybody is told to read it, and again only after all the others.
struct slot {
	__u64 number;		// of this publication
	__u64 start;		// by the monotonic clock, ns
	__u64 length;		// how long it holds from then on, ns; less than 2^32
	__u64 tai_ahead;	// TAI less the monotonic clock, ns: it changes when the host's clock is stepped, or sleeps
	__u64 time;		// served at the start, as an NTP timestamp
	__u64 rate;		// units of 2^-32 s in a nanosecond, times 2^29
	__u32 copy;		// of the rules
	__u32 answering;	// a bit for each listener where the time is told
	__u8 first[8];		// leap, stratum, -, precision, root delay: as in a reply
	__u8 second[8];		// root dispersion, reference ID: as in a reply
	__u64 reference_time;
	__u64 unused[6];
};

struct state {
	__u64 current;		// number of the newest publication
	__u64 unused[15];
	struct slot slots[SLOTS];
};

// An address of ours with a port where somebody listens.
struct door {
	__u64 high, low;	// the address as it is on the wire; IPv4 as ::ffff:a.b.c.d
	__u16 port;		// as it is on the wire
	__u16 tagged;		// only for frames with a VLAN tag
	__u32 unused;
	__u64 listener;		// its number and 1; 0 if there is none
};

struct device {
	__u64 index;
	__u64 address;		// hardware address, as it is on the wire, in the first six bytes
};

enum mode { OFF, DRY_RUN, ON };

struct policy {
	__u8 access, limit, deny_kiss, has_wide, first4, first6, prefix4, prefix6;
	__u8 wide4, wide6, kiss_poll, unused[5];
	__u32 turns4_at, turns4_top, turns6_at, turns6_top;
	__u64 interval, most, wide_interval, wide_most;	// ns
	__u32 leak, kiss;	// shares of 2^32
	__u64 more[7];
};

struct rules {
	struct door doors[DOORS];
	struct policy policies[LISTENERS];
	struct device devices[DEVICES];
	__u64 secret[2];
	__u64 places;
	__u64 unused[13];
};

struct both_rules {
	struct rules copies[2];
};

struct turns4 {
	__u64 starts[2 * TURNS4];
};

struct turns6 {
	struct { __u64 high, low; } starts[2 * TURNS6];
};

// serve/limit.rs says what each of these is for.
struct client {
	__u64 hash, full_at;
	__u32 asked_at;
	__u16 after_answer, after_silence;
	__u8 silences, requests, unanswered, unused[5];
};

struct place {
	struct client clients[WAYS];
};

struct cells {
	__u64 verdicts[VERDICTS], kinds[KINDS], residence[BUCKETS], residence_sum, remarks[REMARKS];
	__u64 unused;
};

#define MAP(name, value_type, entries, how) \
	struct { \
		__uint(type, BPF_MAP_TYPE_ARRAY); \
		__uint(max_entries, entries); \
		__uint(map_flags, how); \
		__type(key, __u32); \
		__type(value, value_type); \
	} name SEC(".maps")

MAP(state, struct state, 1, BPF_F_MMAPABLE);
MAP(rules, struct both_rules, 1, BPF_F_MMAPABLE);
MAP(turns4, struct turns4, 1, BPF_F_MMAPABLE);
MAP(turns6, struct turns6, 1, BPF_F_MMAPABLE);
MAP(counters, struct cells, LISTENERS, BPF_F_MMAPABLE);	// for each CPU that there may be: set when it is loaded
MAP(clients, struct place, 1, 0);			// as many as are wanted: set when it is loaded

char LICENSE[] SEC("license") = "GPL";

// Linux 6.1; older headers don't have it (bpf.h: 208).
static __u64 (*const ktime_get_tai_ns)(void) = (void *)208;

// Some of serve/respond.rs, by their numbers there; there is room for more.
enum verdict {
	ANSWERED_CLIENT,
	ANSWERED_SYMMETRIC,
	ANSWERED_VERSION_1,
	KISSED_RATE,
	KISSED_DENIED,
	REFUSED_DENIED = 15,
	REFUSED_RATE = 16,
};

enum remark { LEAKED, IMPATIENT, WOULD_DENY, WOULD_LIMIT };

enum limited { WITHIN, IS_LEAKED, IS_IMPATIENT, IS_KISSED, IS_REFUSED };

struct ntp {
	__u8 first, stratum;
	__s8 poll, precision;
	__u8 root_delay[4], root_dispersion[4], reference_id[4];
	__u64 reference, origin, receive, transmit;
};

// A request, and where its parts are.
struct request {
	struct ethhdr *ethernet;
	struct iphdr *ip4;
	struct ipv6hdr *ip6;
	struct udphdr *udp;
	struct ntp *ntp;
	__u64 source_high, source_low, high, low;	// as in struct door
	__u64 pseudo;		// sum of the pseudo header
	__u64 key_high, key_low;	// the source as a number, which can be compared
	__u8 tagged;		// has it a VLAN tag?
};

// What is said and counted.
struct ruling {
	__u32 verdict, remarks;
};

// A sum of 32-bit words, folded and complemented (RFC 1071).
inlined __u16 folded(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}

inlined __u64 sum_of(const void *from, int words)
{
	const __u32 *word = from;
	__u64 sum = 0;
#pragma unroll
	for (int i = 0; i < words; i++)
		sum += word[i];
	return sum;
}

inlined __u64 sum_of_udp(const struct request *request)
{
	return request->pseudo + bpf_htons(IPPROTO_UDP) + bpf_htons(56) + sum_of(request->udp, 14);
}

// Are there so many bytes, and no more? (Two comparisons that the compiler can't make one of: the verifier wants the first.)
inlined int is_whole(void *at, __u32 length, void *end)
{
	if (at + length > end)
		return 0;
	asm volatile("" : "+r"(at));
	return at + length + 1 > end;
}

// Without options, fragments and trailing bytes, with a good checksum, from an address that one can answer.
inlined int is_plain4(struct request *request, void *at, void *end)
{
	struct iphdr *ip = at;
	struct udphdr *udp = at + 20;
	if (!is_whole(at, 76, end))
		return 0;
	if (*(__u8 *)at != 0x45 || ip->protocol != IPPROTO_UDP || ip->tot_len != bpf_htons(76))
		return 0;
	if (ip->frag_off & bpf_htons(0xbfff) || folded(sum_of(ip, 5)) != 0)
		return 0;
	__u32 source = bpf_ntohl(ip->saddr);
	__u8 top = source >> 24;
	if (top == 0 || top == 127 || top >= 224 || ip->saddr == ip->daddr)
		return 0;
	request->ip4 = ip;
	request->udp = udp;
	request->ntp = at + 28;
	request->source_low = (__u64)ip->saddr << 32 | 0xffff0000;
	request->low = (__u64)ip->daddr << 32 | 0xffff0000;
	request->key_low = source;
	request->pseudo = (__u64)ip->saddr + ip->daddr;
	if (udp->len != bpf_htons(56))
		return 0;
	return udp->check == 0 || folded(sum_of_udp(request)) == 0;
}

// The same without extension headers.
inlined int is_plain6(struct request *request, void *at, void *end)
{
	struct ipv6hdr *ip = at;
	struct udphdr *udp = at + 40;
	if (!is_whole(at, 96, end))
		return 0;
	if (ip->version != 6 || ip->nexthdr != IPPROTO_UDP || ip->payload_len != bpf_htons(56))
		return 0;
	__u32 *source = (void *)&ip->saddr, *asked = (void *)&ip->daddr;
	request->source_high = (__u64)source[1] << 32 | source[0];
	request->source_low = (__u64)source[3] << 32 | source[2];
	request->high = (__u64)asked[1] << 32 | asked[0];
	request->low = (__u64)asked[3] << 32 | asked[2];
	request->key_high = bpf_be64_to_cpu(request->source_high);
	request->key_low = bpf_be64_to_cpu(request->source_low);
	// Multicast; and ::/64 with all that is special in it, as ::, ::1 and ::ffff:0:0/96.
	if (request->key_high >> 56 == 0xff || request->key_high == 0)
		return 0;
	if (request->source_high == request->high && request->source_low == request->low)
		return 0;
	request->ip6 = ip;
	request->udp = udp;
	request->ntp = at + 48;
	request->pseudo = sum_of(&ip->saddr, 8);
	if (udp->len != bpf_htons(56) || udp->check == 0)
		return 0;
	return folded(sum_of_udp(request)) == 0;
}

// Behind up to two VLAN tags.
inlined int is_plain(struct request *request, void *at, void *end)
{
	struct ethhdr *ethernet = at;
	at += sizeof(*ethernet);
	if (at > end)
		return 0;
	request->ethernet = ethernet;
	__be16 type = ethernet->h_proto;
#pragma unroll
	for (int tag = 0; tag < 2; tag++)
		if (type == bpf_htons(ETH_P_8021Q) || type == bpf_htons(ETH_P_8021AD)) {
			if (at + 4 > end)
				return 0;
			type = *(__be16 *)(at + 2);
			request->tagged = 1;
			at += 4;
		}
	if (type == bpf_htons(ETH_P_IP))
		return is_plain4(request, at, end);
	if (type == bpf_htons(ETH_P_IPV6))
		return is_plain6(request, at, end);
	return 0;
}

// Was it sent to the hardware address of the device that it came to?
inlined int is_for_us(const struct rules *rules, const struct ethhdr *ethernet, __u32 index)
{
	const __u8 *to = ethernet->h_dest;
	__u64 address = (__u64)*(__u16 *)(to + 4) << 32 | (__u64)*(__u16 *)(to + 2) << 16 | *(__u16 *)to;
	for (int i = 0; i < DEVICES; i++)
		if (rules->devices[i].index == index)
			return rules->devices[i].address == address;
	return 0;
}

// The number of the listener that was asked and 1, or 0.
inlined __u64 listener_of(const struct rules *rules, const struct request *request)
{
	__u64 port = request->udp->dest;
	__u64 at = ((request->high ^ (request->low + port)) * 0x9e3779b97f4a7c15ULL) >> 54;
	for (int i = 0; i < PROBES; i++) {
		const struct door *door = &rules->doors[(at + i) & (DOORS - 1)];
		if (door->listener == 0)
			return 0;
		if (door->low == request->low && door->high == request->high && door->port == port)
			return door->tagged && !request->tagged ? 0 : door->listener;
	}
	return 0;
}

// The version's and mode's verdict, or -1. `respond::answer_mode` has the reasons.
inlined int verdict_of(const struct request *request)
{
	__u8 version = request->ntp->first >> 3 & 7, mode = request->ntp->first & 7;
	if (request->udp->source == 0 || version < 1 || version > 4)
		return -1;
	if (mode == 3)
		return ANSWERED_CLIENT;
	if (mode == 1)
		return ANSWERED_SYMMETRIC;
	if (mode == 0 && version == 1 && request->udp->source != bpf_htons(123))
		return ANSWERED_VERSION_1;
	return -1;
}

// The policy of a listener, by the rules that are in force.
inlined const struct policy *policy_of(__u32 copy, __u32 listener)
{
	__u32 zero = 0;
	const struct both_rules *both = bpf_map_lookup_elem(&rules, &zero);
	return both ? &both->copies[copy & 1].policies[listener & (LISTENERS - 1)] : 0;
}

// All ones if one number is less than the other, or else 0. Without a branch: the verifier would follow both ways of each.
inlined __u64 less(__u64 one, __u64 other)
{
	__u64 borrow = (~one & other) | ((~one | other) & (one - other));
	return (__u64)((__s64)borrow >> 63);
}

// How many turns there are up to an address: their number is one less than a power of two, and `top` half of that power.
inlined __u32 turns_to4(const struct turns4 *turns, __u32 from, __u32 top, __u64 address)
{
	__u32 passed = 0;
	for (int i = 0; i < 16; i++) {
		__u32 step = top >> i;
		if (step == 0)
			break;
		__u64 start = turns->starts[(from + passed + step - 1) & (2 * TURNS4 - 1)];
		passed += step & ~(__u32)less(address, start);
	}
	return passed;
}

inlined __u32 turns_to6(const struct turns6 *turns, __u32 from, __u32 top, __u64 high, __u64 low)
{
	__u32 passed = 0;
	for (int i = 0; i < 15; i++) {
		__u32 step = top >> i;
		if (step == 0)
			break;
		__u32 at = (from + passed + step - 1) & (2 * TURNS6 - 1);
		__u64 start = turns->starts[at].high, differ = high ^ start;
		__u64 same = ~(__u64)((__s64)(differ | -differ) >> 63);
		__u64 before = less(high, start) | (same & less(low, turns->starts[at].low));
		passed += step & ~(__u32)before;
	}
	return passed;
}

// Is an address allowed? An even number of turns up to it leaves that as the first one is. (Functions that are not static
// are verified once, for all arguments. IPv4 has 0 as the high half.)
__noinline int allows(__u32 copy, __u32 listener, __u64 high, __u64 low)
{
	__u32 zero = 0;
	const struct policy *policy = policy_of(copy, listener);
	const struct turns4 *list4 = bpf_map_lookup_elem(&turns4, &zero);
	const struct turns6 *list6 = bpf_map_lookup_elem(&turns6, &zero);
	if (!policy || !list4 || !list6)
		return 0;
	copy &= 1;
	if (high == 0)
		return policy->first4 ^ (turns_to4(list4, copy * TURNS4 + policy->turns4_at, policy->turns4_top, low) & 1);
	return policy->first6 ^ (turns_to6(list6, copy * TURNS6 + policy->turns6_at, policy->turns6_top, high, low) & 1);
}

#define ROTATED(word, bits) ((word) << (bits) | (word) >> (64 - (bits)))

struct sip {
	__u64 a, b, c, d;
};

inlined void sip_round(struct sip *sip)
{
	sip->a += sip->b; sip->b = ROTATED(sip->b, 13) ^ sip->a; sip->a = ROTATED(sip->a, 32);
	sip->c += sip->d; sip->d = ROTATED(sip->d, 16) ^ sip->c;
	sip->a += sip->d; sip->d = ROTATED(sip->d, 21) ^ sip->a;
	sip->c += sip->b; sip->b = ROTATED(sip->b, 17) ^ sip->c; sip->c = ROTATED(sip->c, 32);
}

inlined void sip_take(struct sip *sip, __u64 word)
{
	sip->d ^= word;
	sip_round(sip);
	sip->a ^= word;
}

// SipHash-1-3 (Aumasson and Bernstein, 2012) of three words: who knows the secret alone can make clients meet.
inlined __u64 hash_of(const __u64 *secret, __u64 one, __u64 two, __u64 three)
{
	struct sip sip = {
		.a = secret[0] ^ 0x736f6d6570736575ULL, .b = secret[1] ^ 0x646f72616e646f6dULL,
		.c = secret[0] ^ 0x6c7967656e657261ULL, .d = secret[1] ^ 0x7465646279746573ULL,
	};
	sip_take(&sip, one);
	sip_take(&sip, two);
	sip_take(&sip, three);
	sip_take(&sip, (__u64)24 << 56);
	sip.c ^= 0xff;
	sip_round(&sip);
	sip_round(&sip);
	sip_round(&sip);
	return sip.a ^ sip.b ^ sip.c ^ sip.d;
}

#define TICK 20

inlined __u64 mask_of(__u32 bits)
{
	return bits == 0 ? 0 : bits >= 64 ? ~0ULL : ~0ULL << (64 - bits);
}

// Whom a bucket is for, as one number.
inlined __u64 who(const __u64 *secret, __u64 high, __u64 low, __u64 kind, __u32 prefix4, __u32 prefix6)
{
	if (high == 0) {
		low &= mask_of(prefix4 + 32);
	} else {
		low &= prefix6 > 64 ? mask_of(prefix6 - 64) : 0;
		high &= mask_of(prefix6);
	}
	// Never 0, which is nobody.
	return hash_of(secret, high, low, kind) | 1;
}

// The client; if it is a new one, in the place of the one whose bucket is full first.
inlined struct client *known(__u64 hash, __u64 places, __u64 now)
{
	__u32 at = (hash >> 32) * places >> 32;
	struct place *place = bpf_map_lookup_elem(&clients, &at);
	if (!place)
		return 0;
	struct client *lightest = &place->clients[0];
	for (int i = 0; i < WAYS; i++) {
		struct client *client = &place->clients[i];
		if (client->hash == hash)
			return client;
		if (client->full_at < lightest->full_at)
			lightest = client;
	}
	lightest->hash = hash;
	lightest->full_at = now;
	lightest->asked_at = now >> TICK;
	lightest->after_answer = 0;
	lightest->after_silence = 0;
	lightest->silences = 0;
	lightest->requests = 0;
	lightest->unanswered = 0;
	return lightest;
}

inlined int has_token(const struct client *client, __u64 most, __u64 now)
{
	return client->full_at <= now || client->full_at - now <= most;
}

inlined void take_token(struct client *client, __u64 interval, __u64 now)
{
	client->full_at = (client->full_at > now ? client->full_at : now) + interval;
}

inlined __u16 average(__u16 so_far, __u16 new, int is_first)
{
	return is_first ? new : so_far - so_far / 8 + new / 8;
}

inlined void note(struct client *client, __u64 now)
{
	__u32 gap = (__u32)(now >> TICK) - client->asked_at;
	__u16 capped = gap > 0xffff ? 0xffff : gap;
	if (client->requests > 0) {
		if (client->unanswered) {
			client->after_silence = average(client->after_silence, capped, client->silences == 0);
			if (client->silences < 255)
				client->silences++;
		} else {
			client->after_answer = average(client->after_answer, capped, client->requests == 1);
		}
	}
	client->asked_at = now >> TICK;
	if (client->requests < 255)
		client->requests++;
}

inlined int hits(__u32 share)
{
	return share != 0 && bpf_get_prandom_u32() <= share;
}

inlined enum limited beyond(const struct client *client, const struct policy *policy)
{
	__u32 harder = (__u32)client->after_silence * 2;
	__u64 seldom = (__u64)client->after_answer << TICK;
	if (harder > 0xffff)
		harder = 0xffff;
	if (client->silences >= 4 && client->after_answer >= harder && seldom * 8 >= policy->interval)
		return IS_IMPATIENT;
	if (hits(policy->leak))
		return IS_LEAKED;
	return hits(policy->kiss) ? IS_KISSED : IS_REFUSED;
}

// `Clients::judge` of serve/limit.rs, without the budget.
__noinline int judge(__u32 copy, __u32 listener, __u64 high, __u64 low, __u64 now)
{
	__u32 zero = 0;
	const struct both_rules *both = bpf_map_lookup_elem(&rules, &zero);
	const struct policy *policy = policy_of(copy, listener);
	struct client *all = 0;
	if (!both || !policy)
		return WITHIN;
	const struct rules *ours = &both->copies[copy & 1];
	if (policy->has_wide)
		all = known(who(ours->secret, high, low, listener << 2 | 2, policy->wide4, policy->wide6), ours->places, now);
	struct client *client =
		known(who(ours->secret, high, low, listener << 2 | 1, policy->prefix4, policy->prefix6), ours->places, now);
	if (!client)
		return WITHIN;
	note(client, now);
	if (!has_token(client, policy->most, now) || (all && !has_token(all, policy->wide_most, now))) {
		enum limited limited = beyond(client, policy);
		client->unanswered = policy->limit == ON && (limited == IS_KISSED || limited == IS_REFUSED);
		return limited;
	}
	client->unanswered = 0;
	take_token(client, policy->interval, now);
	// (Where both share a place and one took that of the other, this token is the other's.)
	if (all)
		take_token(all, policy->wide_interval, now);
	return WITHIN;
}

// `Policy::rule` of serve/policy.rs.
inlined void rule(struct ruling *ruling, const struct policy *policy, const struct request *request, __u32 copy,
		  __u32 listener, __u64 now)
{
	int allowed = policy->access == OFF || allows(copy, listener, request->key_high, request->key_low);
	if (!allowed && policy->access == ON) {
		ruling->verdict = policy->deny_kiss ? KISSED_DENIED : REFUSED_DENIED;
		return;
	}
	if (!allowed)
		ruling->remarks |= 1 << WOULD_DENY;
	if (policy->limit == OFF)
		return;
	int limited = judge(copy, listener, request->key_high, request->key_low, now);
	if (policy->limit == DRY_RUN) {
		if (limited == IS_REFUSED || limited == IS_KISSED)
			ruling->remarks |= 1 << WOULD_LIMIT;
	} else if (limited == IS_LEAKED) {
		ruling->remarks |= 1 << LEAKED;
	} else if (limited == IS_IMPATIENT) {
		ruling->remarks |= 1 << IMPATIENT;
	} else if (limited == IS_KISSED) {
		ruling->verdict = KISSED_RATE;
	} else if (limited == IS_REFUSED) {
		ruling->verdict = REFUSED_RATE;
	}
}

inlined __u64 served(const struct slot *slot, __u64 monotonic)
{
	return slot->time + ((monotonic - slot->start) * slot->rate >> 29);
}

// The header of a kiss: no time, and a word in the place of the source.
inlined void kiss(struct ntp *reply, const struct slot *slot, int verdict, __s8 poll, __u8 leap_and_version)
{
	reply->first = leap_and_version | 3 << 6;
	reply->stratum = 0;
	reply->precision = slot->first[3];
	__builtin_memset(reply->root_delay, 0, 4);
	__builtin_memcpy(reply->root_dispersion, "\0\020\0", 4);
	__builtin_memcpy(reply->reference_id, verdict == KISSED_RATE ? "RATE" : "DENY", 4);
	reply->reference = 0;
	if (verdict == KISSED_RATE && reply->poll < poll)
		reply->poll = poll;
}

inlined void answer(struct ntp *reply, const struct slot *slot, __u8 version, __u64 received)
{
	__s8 poll = reply->poll;
	__u64 reference = slot->reference_time;
	__builtin_memcpy(&reply->first, slot->first, 8);
	__builtin_memcpy(reply->root_dispersion, slot->second, 8);
	reply->first |= version;
	reply->poll = poll;
	// It must not seem to come from the future.
	if ((__s64)(reference - received) > 0)
		reference = received;
	reply->reference = bpf_cpu_to_be64(reference);
}

inlined void swap_ethernet(struct ethhdr *ethernet)
{
	__u8 asked[ETH_ALEN];
	__builtin_memcpy(asked, ethernet->h_dest, ETH_ALEN);
	__builtin_memcpy(ethernet->h_dest, ethernet->h_source, ETH_ALEN);
	__builtin_memcpy(ethernet->h_source, asked, ETH_ALEN);
}

inlined void turn_around(const struct request *request)
{
	swap_ethernet(request->ethernet);
	struct udphdr *udp = request->udp;
	__be16 asked = udp->dest;
	udp->dest = udp->source;
	udp->source = asked;
	if (request->ip4) {
		struct iphdr *ip = request->ip4;
		__be32 us = ip->daddr;
		ip->daddr = ip->saddr;
		ip->saddr = us;
		ip->tos = 0;
		ip->id = 0;
		ip->frag_off = bpf_htons(0x4000);
		ip->ttl = 64;
		ip->check = 0;
		ip->check = folded(sum_of(ip, 5));
	} else if (request->ip6) {
		struct ipv6hdr *ip = request->ip6;
		struct in6_addr us = ip->daddr;
		ip->daddr = ip->saddr;
		ip->saddr = us;
		*(__u32 *)ip = bpf_htonl(6 << 28);
		ip->hop_limit = 64;
	}
	udp->check = 0;
	__u16 check = folded(sum_of_udp(request));
	udp->check = check == 0 ? 0xffff : check;
}

// As `Residence` of serve/residence.rs counts it.
inlined __u32 bucket_of(__u64 units)
{
	__u32 bucket = 0;
	for (int i = 0; i < BUCKETS - 1 && units > 4096; i++) {
		units = (units + 1) >> 1;
		bucket++;
	}
	return bucket;
}

// The program runs to its end on one CPU, so that these cells have one writer.
inlined void count(__u64 listener, const struct ruling *ruling, __u8 kind, __u64 residence)
{
	__u32 at = bpf_get_smp_processor_id() * LISTENERS + listener;
	struct cells *cells = bpf_map_lookup_elem(&counters, &at);
	if (!cells || ruling->verdict >= VERDICTS)
		return;
	cells->verdicts[ruling->verdict]++;
	cells->kinds[kind & (KINDS - 1)]++;
	if (ruling->verdict <= ANSWERED_VERSION_1) {
		__u32 bucket = bucket_of(residence);
		if (bucket < BUCKETS)
			cells->residence[bucket]++;
		cells->residence_sum += residence;
	}
	if (ruling->remarks)
#pragma unroll
		for (int i = 0; i <= WOULD_LIMIT; i++)
			cells->remarks[i] += ruling->remarks >> i & 1;
}

// What two readings of the clocks can be apart: a longer way means that the host's clock was stepped, or that the
// reply would be late. And so exact is the published distance between both clocks.
#define LONGEST_WAY 100000
#define READING_ERROR 1000

SEC("xdp")
int ntp(struct xdp_md *context)
{
	struct request request = {};
	__u32 zero = 0;
	if (!is_plain(&request, (void *)(long)context->data, (void *)(long)context->data_end))
		return XDP_PASS;
	int answered = verdict_of(&request);
	struct state *published = bpf_map_lookup_elem(&state, &zero);
	struct both_rules *both = bpf_map_lookup_elem(&rules, &zero);
	if (answered < 0 || !published || !both)
		return XDP_PASS;
	__u64 number = *(volatile __u64 *)&published->current;
	// A copy, so that all of it is of one publication.
	struct slot slot = published->slots[number & (SLOTS - 1)];
	__u64 arrived = ktime_get_tai_ns() - slot.tai_ahead;
	if (slot.number != number || arrived - slot.start > slot.length)
		return XDP_PASS;
	const struct rules *rules = &both->copies[slot.copy & 1];
	__u64 listener = listener_of(rules, &request) - 1;
	if (listener >= LISTENERS || !(slot.answering >> listener & 1))
		return XDP_PASS;
	if (!is_for_us(rules, request.ethernet, context->ingress_ifindex))
		return XDP_PASS;
	const struct policy *policy = &rules->policies[listener];
	struct ruling ruling = { .verdict = answered };
	rule(&ruling, policy, &request, slot.copy, listener, arrived);
	__u64 leaving = bpf_ktime_get_ns();
	if (leaving - arrived + READING_ERROR > LONGEST_WAY ||
	    *(volatile __u64 *)&published->slots[number & (SLOTS - 1)].number != number)
		return XDP_PASS;
	if (leaving < arrived)
		leaving = arrived;
	struct ntp *reply = request.ntp;
	__u8 kind = reply->first & 0x3f;
	__u64 received = served(&slot, arrived), transmit = served(&slot, leaving);
	count(listener, &ruling, kind, transmit - received);
	if (ruling.verdict > KISSED_DENIED)
		return XDP_DROP;
	__u8 version = (kind & 0x38) | (answered == ANSWERED_SYMMETRIC ? 2 : 4);
	if (ruling.verdict > ANSWERED_VERSION_1)
		kiss(reply, &slot, ruling.verdict, policy->kiss_poll, version);
	else
		answer(reply, &slot, version, received);
	reply->origin = reply->transmit;
	reply->receive = bpf_cpu_to_be64(received);
	reply->transmit = bpf_cpu_to_be64(transmit);
	turn_around(&request);
	return XDP_TX;
}
