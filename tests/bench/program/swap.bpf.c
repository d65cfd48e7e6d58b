// SPDX-License-Identifier: GPL-2.0-or-later
//
// The least that an answer can cost: addresses and ports change places, and nothing is looked at but the lengths. What
// makes it a reply is written as well, so that clients count it; it tells no time, and its checksum is wrong.
// With CLOCK, it reads the clock that the fast path reads, and writes that: the least that an answer with a time can cost.
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";

static __always_inline void swap(void *one, void *other, int words)
{
	__u16 *a = one, *b = other;
#pragma unroll
	for (int i = 0; i < words; i++) {
		__u16 kept = a[i];
		a[i] = b[i];
		b[i] = kept;
	}
}

static __always_inline void mark(void *ntp)
{
	// Leap 0, version 4, mode 4; stratum 1.
	*(__u16 *)ntp = bpf_htons(0x2401);
	*(__u64 *)(ntp + 24) = *(__u64 *)(ntp + 40);
#ifdef CLOCK
	*(__u64 *)(ntp + 32) = *(__u64 *)(ntp + 40) = bpf_cpu_to_be64(bpf_ktime_get_boot_ns());
#endif
}

SEC("xdp")
int ntp(struct xdp_md *context)
{
	void *at = (void *)(long)context->data, *end = (void *)(long)context->data_end;
	struct ethhdr *ethernet = at;
	if (at + 90 > end)
		return XDP_PASS;
	if (ethernet->h_proto == bpf_htons(ETH_P_IP)) {
		swap(at + 26, at + 30, 2);
		swap(at + 34, at + 36, 1);
		mark(at + 42);
	} else {
		if (at + 110 > end)
			return XDP_PASS;
		swap(at + 22, at + 38, 8);
		swap(at + 54, at + 56, 1);
		mark(at + 62);
	}
	swap(ethernet->h_dest, ethernet->h_source, 3);
	return XDP_TX;
}
