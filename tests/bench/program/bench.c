// SPDX-License-Identifier: GPL-2.0-or-later
//
// The CPU time of programs on one frame: bench NAME=OBJECT... See ./run.
//
// Each frame is a run of its own (BPF_PROG_TEST_RUN), measured by the kernel (BPF_ENABLE_STATS), whose own share is in all
// figures. Variants take turns, each turn in the same order: a ratio is the median of the ratios turn by turn.
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "../../../src/fast_path/program/layout.h"

enum { TURNS = 31, RUNS = 3000, CPUS = 1024 };
typedef unsigned char bytes;

// As commit 38f9671 had it: a program that reads the monotonic clock and TAI.
struct old_slot {
	__u64 number, start, length, tai_ahead, time, rate;
	__u32 copy, answering;
	__u8 first[8], second[8];
	__u64 reference_time, unused[6];
};
struct old_state {
	__u64 current, unused[15];
	struct old_slot slots[64];
};
struct old_device {
	__u64 index, address;
};
struct old_rules {
	struct destination doors[DESTINATIONS];
	struct policy policies[LISTENERS];
	struct old_device devices[16];
	__u64 secret[2], places, unused[13];
};

struct variant {
	char name[64];
	const char *object;
	int policies, census, ipv6;
	int program;
	struct bpf_object *kernel;
	double times[TURNS];
};

static __u64 now(clockid_t clock)
{
	struct timespec time;
	clock_gettime(clock, &time);
	return time.tv_sec * 1000000000ULL + time.tv_nsec;
}

static __u16 folded(const void *from, int length, __u32 sum)
{
	const __u16 *word = from;
	for (int i = 0; i < length / 2; i++)
		sum += word[i];
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}

// A plain request: its length, and where the addresses are that were asked.
static int frame_of(bytes *frame, int ipv6)
{
	static const bytes link[] = { 2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2 };
	int ip = 14, udp = ipv6 ? 54 : 34, addresses = ipv6 ? 22 : 26, size = ipv6 ? 16 : 4;
	memset(frame, 0, 128);
	memcpy(frame, link, sizeof(link));
	*(__u16 *)(frame + 12) = htons(ipv6 ? 0x86dd : 0x0800);
	if (ipv6) {
		frame[ip] = 0x60;
		frame[ip + 5] = 56;
		frame[ip + 6] = 17;
		frame[ip + 7] = 64;
		inet_pton(AF_INET6, "2001:db8:7::7", frame + 22);
		inet_pton(AF_INET6, "2001:db8::1", frame + 38);
	} else {
		static const bytes header[] = { 0x45, 0, 0, 76, 0, 0, 0x40, 0, 64, 17 };
		memcpy(frame + ip, header, sizeof(header));
		inet_pton(AF_INET, "198.51.100.7", frame + 26);
		inet_pton(AF_INET, "192.0.2.1", frame + 30);
		*(__u16 *)(frame + 24) = folded(frame + ip, 20, 0);
	}
	static const bytes ports[] = { 0x9c, 0x40, 0, 123, 0, 56 };
	memcpy(frame + udp, ports, sizeof(ports));
	frame[udp + 8] = 0x23;
	frame[udp + 10] = 6;
	for (int i = udp + 48; i < udp + 56; i++)
		frame[i] = i * 37;
	__u16 check = folded(frame + udp, 56, (__u16)~folded(frame + addresses, 2 * size, 0) + htons(17) + htons(56));
	*(__u16 *)(frame + udp + 6) = check ? check : 0xffff;
	return udp + 56;
}

static void *mapped(struct bpf_object *object, const char *name)
{
	struct bpf_map *map = bpf_object__find_map_by_name(object, name);
	if (!map)
		return 0;
	size_t size = ((size_t)bpf_map__value_size(map) * bpf_map__max_entries(map) + 4095) & ~4095UL;
	void *at = mmap(0, size, PROT_READ | PROT_WRITE, MAP_SHARED, bpf_map__fd(map), 0);
	return at == MAP_FAILED ? 0 : at;
}

static void fill_destinations(struct destination *all, const bytes *frame, int ipv6)
{
	__u64 high = 0, low, port = htons(123);
	if (ipv6) {
		memcpy(&high, frame + 38, 8);
		memcpy(&low, frame + 46, 8);
	} else {
		__u32 asked;
		memcpy(&asked, frame + 30, 4);
		low = (__u64)asked << 32 | 0xffff0000;
	}
	struct destination *one = &all[((high ^ (low + port)) * SPREAD) >> SPREAD_SHIFT];
	*one = (struct destination){ .high = high, .low = low, .port = port, .listener = 1 };
}

// A limit that nobody reaches, and a list of 1,000 prefixes that allows the client.
static void fill_policy(struct policy *policy)
{
	*policy = (struct policy){ .access = ON, .limit = ON, .first4 = 1, .first6 = 1, .prefix4 = 32, .prefix6 = 64,
				   .boundaries4_top = 1024, .boundaries6_top = 1024, .interval = 1000, .most = 1ULL << 50 };
}

static void fill_lists(struct bpf_object *object, const char *name4, const char *name6)
{
	__u64 *list4 = mapped(object, name4), *list6 = mapped(object, name6);
	for (int i = 0; i < 2000; i++) {
		list4[i] = (10ULL << 24) + i * 256;
		list6[2 * i] = (0x20010db9ULL << 32) + i;
	}
	memset(list4 + 2000, 0xff, 47 * 8);
	memset(list6 + 4000, 0xff, 47 * 16);
}

static void publish_old(struct variant *one, const bytes *frame)
{
	struct old_state *state = mapped(one->kernel, "state");
	struct old_rules *rules = mapped(one->kernel, "rules");
	fill_destinations(rules->doors, frame, one->ipv6);
	memcpy(&rules->devices[0].address, frame, 6);
	rules->devices[0].index = 1;
	rules->secret[0] = 1;
	rules->secret[1] = 2;
	rules->places = 16384;
	if (one->policies) {
		fill_policy(&rules->policies[0]);
		fill_lists(one->kernel, "turns4", "turns6");
	}
	struct old_slot *slot = &state->slots[5];
	__u64 monotonic = now(CLOCK_MONOTONIC), tai = now(CLOCK_TAI);
	*slot = (struct old_slot){ .number = 5, .start = monotonic - 1000000, .length = 4200000000ULL, .tai_ahead = tai - monotonic,
				   .time = 0xe8000000ULL << 32, .rate = 4.294967296 * (1 << RATE_SHIFT), .answering = 1,
				   .reference_time = 0xe7000000ULL << 32 };
	state->current = 5;
}

static void publish_new(struct variant *one, const bytes *frame)
{
	struct state *state = mapped(one->kernel, "state");
	struct both_rules *both = mapped(one->kernel, "rules");
	struct rules *rules = &both->copies[0];
	fill_destinations(rules->destinations, frame, one->ipv6);
	for (int i = 0; i < DESTINATIONS; i++)
		rules->destinations[i].untagged = 1;
	memcpy(&rules->devices[0].address, frame, 6);
	rules->devices[0].index = 1;
	rules->secret[0] = 0x9876543210abcdefULL;
	rules->secret[1] = 0x123456789abcdef1ULL;
	rules->places = 16384;
	if (one->policies) {
		fill_policy(&rules->policies[0]);
		fill_lists(one->kernel, "boundaries4", "boundaries6");
	}
	// As under load: one packet in 16, and no client that is followed.
	state->followed = one->census ? 1 : 0;
	state->apart = 15;
	struct publication *publication = &state->publications[5];
	*publication = (struct publication){ .number = 5, .start = now(CLOCK_BOOTTIME) - 1000000, .length = 4200000000ULL,
					     .time = 0xe8000000ULL << 32, .rate = 4.294967296 * (1 << RATE_SHIFT), .answering = 1,
					     .reference_time = 0xe7000000ULL << 32, .growth = 1 << 23 };
	state->current = 5;
}

static int is_old(const struct variant *one) { return bpf_object__find_map_by_name(one->kernel, "turns4") != 0; }
static int is_whole(const struct variant *one) { return bpf_object__find_map_by_name(one->kernel, "state") != 0; }

static void size(struct bpf_object *object, const char *name, __u32 entries)
{
	struct bpf_map *map = bpf_object__find_map_by_name(object, name);
	if (map)
		bpf_map__set_max_entries(map, entries);
}

static void load(struct variant *one)
{
	one->kernel = bpf_object__open(one->object);
	if (!one->kernel) {
		fprintf(stderr, "bench: %s: no object\n", one->object);
		exit(1);
	}
	size(one->kernel, "counters", CPUS * LISTENERS);
	size(one->kernel, "cpus", CPUS);
	size(one->kernel, "clients", 16384);
	if (bpf_object__load(one->kernel)) {
		fprintf(stderr, "bench: %s: the kernel does not take it\n", one->object);
		exit(1);
	}
	one->program = bpf_program__fd(bpf_object__find_program_by_name(one->kernel, "ntp"));
}

static void figures(const struct variant *one, __u64 *time, __u64 *runs)
{
	struct bpf_prog_info info = {};
	__u32 length = sizeof(info);
	bpf_obj_get_info_by_fd(one->program, &info, &length);
	*time = info.run_time_ns;
	*runs = info.run_cnt;
}

static double turn(struct variant *one)
{
	bytes frame[128], out[128];
	int length = frame_of(frame, one->ipv6);
	if (is_whole(one))
		is_old(one) ? publish_old(one, frame) : publish_new(one, frame);
	__u64 time[2], runs[2];
	int sent = 0;
	figures(one, &time[0], &runs[0]);
	for (int i = 0; i < RUNS; i++) {
		LIBBPF_OPTS(bpf_test_run_opts, run, .data_in = frame, .data_size_in = length, .data_out = out,
			    .data_size_out = sizeof(out), .repeat = 1);
		if (bpf_prog_test_run_opts(one->program, &run))
			break;
		sent += run.retval == 3;
	}
	// The older program passes a request if it was kept from running between its two clocks.
	if (sent < RUNS - RUNS / 100) {
		fprintf(stderr, "bench: %s: %d of %d answered: %s\n", one->name, sent, RUNS, strerror(errno));
		exit(1);
	}
	figures(one, &time[1], &runs[1]);
	return (double)(time[1] - time[0]) / (runs[1] - runs[0]);
}

static int by_size(const void *one, const void *other)
{
	double a = *(const double *)one, b = *(const double *)other;
	return (a > b) - (a < b);
}

// The median, and the quartiles around it.
static void spread(double *values, double *low, double *median, double *high)
{
	qsort(values, TURNS, sizeof(*values), by_size);
	*low = values[TURNS / 4];
	*median = values[TURNS / 2];
	*high = values[TURNS - 1 - TURNS / 4];
}

static void ratio(const struct variant *one, const struct variant *other)
{
	double values[TURNS], low, median, high;
	for (int i = 0; i < TURNS; i++)
		values[i] = one->times[i] / other->times[i];
	spread(values, &low, &median, &high);
	printf("%-34s / %-34s %.2f (%.2f to %.2f)\n", one->name, other->name, median, low, high);
}

int main(int count, char **arguments)
{
	if (count != 5) {
		fprintf(stderr, "usage: bench SWAP.o CLOCK.o BEFORE.o AFTER.o\n");
		return 2;
	}
	libbpf_set_print(0);
	enum { SWAP, BEFORE, AFTER, CENSUS, BEFORE_ALL, AFTER_ALL, CLOCK, ALL };
	static struct variant all[2 * ALL];
	int variants = 0;
	for (int ipv6 = 0; ipv6 < 2; ipv6++) {
		static const struct { const char *name; int object, policies, census; } kinds[ALL] = {
			{ "swap", 1, 0, 0 }, { "before", 3, 0, 0 }, { "after", 4, 0, 0 }, { "after, census", 4, 0, 1 },
			{ "before, policies", 3, 1, 0 }, { "after, policies and census", 4, 1, 1 }, { "swap and a clock", 2, 0, 0 },
		};
		for (int i = 0; i < ALL; i++) {
			struct variant *one = &all[variants++];
			snprintf(one->name, sizeof(one->name), "%s, IPv%c", kinds[i].name, ipv6 ? '6' : '4');
			one->object = arguments[kinds[i].object];
			one->policies = kinds[i].policies;
			one->census = kinds[i].census;
			one->ipv6 = ipv6;
			load(one);
		}
	}
	if (bpf_enable_stats(BPF_STATS_RUN_TIME) < 0) {
		fprintf(stderr, "bench: no statistics: %s\n", strerror(errno));
		return 1;
	}
	for (int i = 0; i < variants; i++)
		turn(&all[i]);
	for (int t = 0; t < TURNS; t++)
		for (int i = 0; i < variants; i++)
			all[i].times[t] = turn(&all[i]);
	for (int i = 0; i < variants; i++) {
		double values[TURNS], low, median, high;
		memcpy(values, all[i].times, sizeof(values));
		spread(values, &low, &median, &high);
		printf("%-34s %6.1f ns (%.1f to %.1f)\n", all[i].name, median, low, high);
	}
	for (struct variant *base = all; base < all + variants; base += ALL) {
		ratio(base + CLOCK, base + SWAP);
		ratio(base + AFTER, base + SWAP);
		ratio(base + CENSUS, base + SWAP);
		ratio(base + BEFORE, base + SWAP);
		ratio(base + AFTER, base + CLOCK);
		ratio(base + BEFORE, base + AFTER);
		ratio(base + BEFORE, base + CENSUS);
		ratio(base + AFTER_ALL, base + BEFORE_ALL);
	}
	return 0;
}
