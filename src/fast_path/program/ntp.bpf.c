// SPDX-License-Identifier: GPL-2.0-or-later
//
// Plain NTP requests are answered here, before the network stack sees them (XDP). Other packets, and all requests
// while no publication holds, pass on to the sockets, untouched. A reply is what server/respond.rs would have given.
//
// User space writes `state`, `rules`, `boundaries4` and `boundaries6` and reads `counters` and `cpus`; all of them are memory that both
// sides have mapped. Only this program looks at `clients`.
//
// Build: src/fast_path/program/build (Debian's clang). The object is kept beside this file.

#include "maps.h"
#include "packet.h"
#include "policy.h"

char LICENSE[] SEC("license") = "GPL";

// The number of the interface if it was sent to a hardware address of ours there, or -1.
inlined int interface_of(const struct rules *rules, const struct ethhdr *ethernet, __u32 index)
{
	const __u8 *to = ethernet->h_dest;
	__u64 address = (__u64)*(__u16 *)(to + 4) << 32 | (__u64)*(__u16 *)(to + 2) << 16 | *(__u16 *)to;
	for (int i = 0; i < DEVICES; i++) {
		const struct device *device = &rules->devices[i];
		if (device->index == 0)
			return -1;
		if (device->index == index && device->address == address)
			return device->number & (INTERFACES - 1);
	}
	return -1;
}

// All interfaces.
#define ALL (~0U)

// The number of the listener at this address and port and 1, or 0. `at_interface` has a bit for the interface, or for all.
inlined __u64 listener_at(const struct rules *rules, __u64 high, __u64 low, __u64 port, __u32 at_interface)
{
	__u64 at = ((high ^ (low + port)) * SPREAD) >> SPREAD_SHIFT;
	for (int i = 0; i < PROBES; i++) {
		const struct destination *found = &rules->destinations[(at + i) & (DESTINATIONS - 1)];
		if (found->listener == 0)
			return 0;
		if (found->low == low && found->high == high && found->port == port)
			return found->untagged & at_interface || at_interface == ALL ? found->listener : 0;
	}
	return 0;
}

// Does it come from one host, by its hardware address and its IP address? A reply to a group would be heard by many. (What no
// network has for a host, is_plain has left to the sockets.)
inlined int is_from_a_host(const struct rules *rules, const struct request *request)
{
	if (request->ethernet->h_source[0] & 1)
		return 0;
	return !listener_at(rules, request->source_high, request->source_low, 0, ALL);
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

// Can it be in interleaved mode (RFC 9769)? Only the sockets know when a reply left. (../../server/interleaved/request.rs)
inlined int is_candidate(const struct ntp *ntp)
{
	return (ntp->first & 0x3f) == (4 << 3 | 3) && ((const __u8 *)&ntp->origin)[7] & 1 && ntp->receive != ntp->transmit;
}

// The time, with the mark of a receive timestamp, by which a client in interleaved mode becomes a candidate.
inlined __u64 served(const struct publication *publication, __u64 boot)
{
	return (publication->time + ((boot - publication->start) * publication->rate >> RATE_SHIFT)) | 1;
}

// The header of a kiss: no time, and a word in the place of the source. The sum of its words.
inlined __u64 kiss(struct ntp *reply, const struct publication *publication, int verdict, __s8 poll,
		   __u8 leap_and_version)
{
	reply->first = leap_and_version | 3 << 6;
	reply->stratum = 0;
	reply->precision = publication->header_start[3];
	__builtin_memset(reply->root_delay, 0, 4);
	__builtin_memcpy(reply->root_dispersion, "\0\020\0", 4);
	__builtin_memcpy(reply->reference_id, verdict == KISSED_RATE ? "RATE" : "DENY", 4);
	reply->reference = 0;
	if (verdict == KISSED_RATE && reply->poll < poll)
		reply->poll = poll;
	return sum_of(reply, 6);
}

// The error grows: it is unknown here by how much the clocks have been slewed since the segment began.
inlined __be32 root_dispersion(const struct publication *publication, __u64 elapsed)
{
	__u32 first;
	__builtin_memcpy(&first, publication->header_rest, 4);
	first = bpf_ntohl(first);
	__u64 sum = first + (elapsed * publication->growth >> GROWTH_SHIFT) + 1;
	return bpf_htonl(sum > 0xffffffff ? 0xffffffff : sum);
}

// The header of an answer. The sum of its words.
inlined __u64 answer(struct ntp *reply, const struct publication *publication, __u8 version, __u64 received,
		     __u64 elapsed)
{
	__u8 poll = reply->poll;
	__u64 start, reference = publication->reference_time;
	__be32 dispersion = root_dispersion(publication, elapsed), id;
	__builtin_memcpy(&start, publication->header_start, 8);
	__builtin_memcpy(&id, publication->header_rest + 4, 4);
	// It must not seem to come from the future. (Zero is unknown.)
	if (reference && (__s64)(reference - received) > 0)
		reference = received;
	reference = bpf_cpu_to_be64(reference);
	// Little-endian: the first byte, and the third.
	__u32 clients = version | (__u32)poll << 16;
	*(__u64 *)&reply->first = start | clients;
	*(__u64 *)reply->root_dispersion = (__u64)id << 32 | dispersion;
	reply->reference = reference;
	return publication->header_sum + clients + dispersion + both_of(reference);
}

// The program runs to its end on one CPU, so that these cells have one writer.
inlined void count(__u32 cpu, __u64 listener, const struct ruling *ruling, __u8 kind)
{
	__u32 at = cpu * LISTENERS + listener;
	struct cells *cells = bpf_map_lookup_elem(&counters, &at);
	if (!cells || ruling->verdict >= VERDICTS)
		return;
	// Nearly all are counted in one cell, and on one cache line.
	if (ruling->verdict == ANSWERED_CLIENT && !ruling->annotations) {
		cells->plain[kind >> 3 & 7]++;
		return;
	}
	cells->verdicts[ruling->verdict]++;
	cells->kinds[kind & (KINDS - 1)]++;
	// A reply's transmit timestamp is the next one after its receive timestamp.
	if (ruling->verdict <= ANSWERED_VERSION_1)
		cells->residence[0]++;
	if (ruling->annotations)
#pragma unroll
		for (int i = 0; i <= WOULD_LIMIT; i++)
			cells->annotations[i] += ruling->annotations >> i & 1;
}

// Is there room in the budget? One publication's time after the other, by a count of this CPU.
inlined int has_allowance(struct cpu *cpu, const struct publication *publication)
{
	if (cpu->counted_in != publication->number) {
		cpu->counted_in = publication->number;
		cpu->counted = 0;
	}
	return cpu->counted++ < publication->allowance;
}

// A hash that is even and that nobody can foretell: it chooses the clients that the census follows (../census/sampled.rs).
inlined __u64 followed_hash(const __u64 *secret, const struct request *request)
{
	return ((request->key_high ^ secret[0]) * SPREAD ^ request->key_low) * (secret[1] | 1);
}

// Notes a packet for the census, if it is one of those that are sampled.
inlined void sample(struct cpu *cpu, const struct request *request, const struct rules *rules, __u64 followed, __u64 apart)
{
	__u64 why = (cpu->packets++ & apart) == 0;
	why |= followed_hash(rules->secret, request) <= followed ? 2 : 0;
	if (!why)
		return;
	struct sample *sample = &cpu->samples[cpu->written & (SAMPLES - 1)];
	sample->high = request->key_high;
	sample->low = request->key_low;
	sample->why = why;
	// Behind the sample: user space reads this first.
	asm volatile("" ::: "memory");
	cpu->written++;
}

// Packets of several pages are those of other protocols; before Linux 5.18 there are none (../loader.rs).
SEC("xdp.frags")
int ntp(struct xdp_md *context)
{
	struct request request;
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
	struct publication publication = published->publications[number & (PUBLICATIONS - 1)];
	// The only reading of a clock: the rest takes a tenth of a microsecond.
	__u64 now = bpf_ktime_get_boot_ns();
	if (publication.number != number || now - publication.start > publication.length ||
	    *(volatile __u64 *)&published->steps != publication.steps ||
	    *(volatile __u64 *)&published->publications[number & (PUBLICATIONS - 1)].number != number)
		return XDP_PASS;
	const struct rules *rules = &both->copies[publication.copy & 1];
	int interface = interface_of(rules, request.ethernet, context->ingress_ifindex);
	if (interface < 0)
		return XDP_PASS;
	__u32 at_interface = request.tagged ? ALL : 1U << interface;
	__u64 listener = listener_at(rules, request.high, request.low, request.udp->dest, at_interface) - 1;
	if (listener >= LISTENERS || !(publication.answering >> listener & 1) ||
	    (publication.interleaving >> listener & 1 && is_candidate(request.ntp)))
		return XDP_PASS;
	// Once more, in a way that the compiler keeps: Linux 6.1 forgets a bound if the register was spilled before.
	asm volatile("%0 &= %1" : "+r"(listener) : "i"(LISTENERS - 1));
	__u32 number_of_cpu = bpf_get_smp_processor_id();
	struct cpu *cpu = bpf_map_lookup_elem(&cpus, &number_of_cpu);
	if (!cpu || (publication.budgeted >> listener & 1 && !has_allowance(cpu, &publication)))
		return XDP_PASS;
	// From here on it is ours: nothing is taken from a client for a request that passes.
	const struct policy *policy = &rules->policies[listener];
	struct ruling ruling = { .verdict = answered };
	if (is_from_a_host(rules, &request))
		rule(&ruling, policy, &request, publication.copy, listener, now);
	else
		ruling.verdict = REFUSED_SOURCE_ADDRESS;
	struct ntp *reply = request.ntp;
	__u8 kind = reply->first & 0x3f;
	__u64 received = served(&publication, now), followed = *(volatile __u64 *)&published->followed;
	count(number_of_cpu, listener, &ruling, kind);
	if (followed)
		sample(cpu, &request, rules, followed, published->apart);
	if (ruling.verdict > KISSED_DENIED)
		return XDP_DROP;
	__u8 version = (kind & 0x38) | (answered == ANSWERED_SYMMETRIC ? 2 : 4);
	__u64 sum;
	if (ruling.verdict > ANSWERED_VERSION_1) {
		sum = kiss(reply, &publication, ruling.verdict, policy->kiss_poll, version);
	} else {
		sum = answer(reply, &publication, version, received, now - publication.start);
		if (request.ip4)
			cpu->ipv4[interface & (INTERFACES - 1)]++;
		else
			cpu->ipv6[interface & (INTERFACES - 1)]++;
	}
	// The next instant without the mark; zero means "unknown" on the wire.
	__u64 origin = reply->transmit, transmit = received + 1 ? received + 1 : 2;
	received = bpf_cpu_to_be64(received);
	transmit = bpf_cpu_to_be64(transmit);
	reply->origin = origin;
	reply->receive = received;
	reply->transmit = transmit;
	turn_around(&request, sum + both_of(origin) + both_of(received) + both_of(transmit));
	return XDP_TX;
}
