// SPDX-License-Identifier: GPL-2.0-or-later
//
// The maps: what the program and user space share, as layout.h says, and the table of clients, which is the program's own.
#pragma once

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "layout.h"

#define inlined static __always_inline

// server/policy/limit.rs says what each of these is for.
struct client {
	__u64 hash, full_at;
	__u32 asked_at;
	__u16 after_answer, after_silence;
	__u8 silences, requests, unanswered, unused[5];
};

struct place {
	struct client clients[CLIENTS_PER_PLACE];
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
MAP(boundaries4, struct boundaries4, 1, BPF_F_MMAPABLE);
MAP(boundaries6, struct boundaries6, 1, BPF_F_MMAPABLE);
MAP(counters, struct cells, LISTENERS, BPF_F_MMAPABLE);	// for each CPU that there may be: set when it is loaded
MAP(cpus, struct cpu, 1, BPF_F_MMAPABLE);		// the same
MAP(clients, struct place, 1, 0);			// as many as are wanted: set when it is loaded
