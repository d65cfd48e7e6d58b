// A load for an NTP server that costs next to nothing beside it: requests are made, and replies counted, in the kernel
// (generator.bpf.c), at the clients' end of a veth pair.
//
//   generator -i INTERFACE (-w WINDOW | -r RATE) [-b BURST] [-6] [-c CLIENTS] [-W WARM] [-t SECONDS] [-T CPU[,CPU...]]
//             [-p PID[,PID...]] [-u] [-I]
//
// -w: a closed loop of so many unanswered requests; -r: an open loop of so many a second, with exponential gaps.
// -b: frames that leave together. -c: different source addresses. -T: a sender on each of these CPUs.
// -p: tell the CPU time of these processes, too. -u: replies that tell no time are good ones as well.
// -I: clients in interleaved mode; times are those of replies in basic mode alone.
// Prints one JSON object. Times are in nanoseconds.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <net/if.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/timex.h>
#include <time.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/if_link.h>

#include "shared.h"

#define SECOND 1000000000LL
#define SENDERS_MAX 64
#define PROCESSES_MAX 64
// A closed loop that hears nothing for so long writes off what it waits for.
#define PATIENCE (SECOND / 5)
#define LOOK_EVERY 5000
#define DRAIN 100000

static const unsigned char CLIENT_MAC[6] = {2, 0x6e, 0x74, 0x70, 0, 2}, SERVER_MAC[6] = {2, 0x6e, 0x74, 0x70, 0, 1};

struct options {
	const char *interface;
	int window, burst, ipv6, clients, any, interleaved, senders, processes;
	double rate, warm, seconds;
	int cpus[SENDERS_MAX], pids[PROCESSES_MAX];
};

static struct {
	struct plan *plan;
	volatile struct tally *tally;
	int histograms, ask, hear;
} kernel;

static volatile sig_atomic_t ending;
static volatile int ended;

static void die(const char *what, int error)
{
	fprintf(stderr, "generator: %s: %s\n", what, strerror(error < 0 ? -error : error));
	exit(1);
}

static long long nanoseconds(clockid_t clock)
{
	struct timespec now;
	clock_gettime(clock, &now);
	return now.tv_sec * SECOND + now.tv_nsec;
}

static int numbers(char *list, int *to, int most)
{
	int count = 0;
	for (char *word = strtok(list, ","); word && count < most; word = strtok(NULL, ","))
		to[count++] = atoi(word);
	return count;
}

static struct options parse(int argc, char **argv)
{
	struct options said = {.burst = 1, .clients = 50000, .warm = 0.3, .seconds = 1, .senders = 1, .cpus = {-1}};
	int option;
	while ((option = getopt(argc, argv, "i:w:r:b:6c:W:t:T:p:uI")) != -1)
		switch (option) {
		case 'i': said.interface = optarg; break;
		case 'w': said.window = atoi(optarg); break;
		case 'r': said.rate = atof(optarg); break;
		case 'b': said.burst = atoi(optarg); break;
		case '6': said.ipv6 = 1; break;
		case 'c': said.clients = atoi(optarg); break;
		case 'W': said.warm = atof(optarg); break;
		case 't': said.seconds = atof(optarg); break;
		case 'T': said.senders = numbers(optarg, said.cpus, SENDERS_MAX); break;
		case 'p': said.processes = numbers(optarg, said.pids, PROCESSES_MAX); break;
		case 'u': said.any = 1; break;
		case 'I': said.interleaved = 1; break;
		default: exit(2);
		}
	if (!said.interface || (said.window > 0) == (said.rate > 0) || said.burst < 1 || said.burst > 256 ||
	    said.clients < 1 || said.clients > (said.interleaved ? INTERLEAVED_MAX : 0x7fffff)) {
		fprintf(stderr, "generator: -i, and one of -w and -r, are needed; -b is 1 to 256, -c 1 to 8388607 (with -I to 65536)\n");
		exit(2);
	}
	return said;
}

static void *mapped(struct bpf_object *object, const char *name, size_t size)
{
	int map = bpf_object__find_map_fd_by_name(object, name);
	void *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, map, 0);
	if (at == MAP_FAILED)
		die(name, errno);
	return at;
}

static void load(const char *beside)
{
	char path[4096];
	snprintf(path, sizeof path, "%s.bpf.o", beside);
	struct bpf_object *object = bpf_object__open_file(path, NULL);
	if (!object)
		die(path, errno);
	int error = bpf_object__load(object);
	if (error)
		die("the kernel refuses the generator's programs", error);
	kernel.plan = mapped(object, "plans", sizeof *kernel.plan);
	kernel.tally = mapped(object, "tallies", sizeof *kernel.tally);
	kernel.histograms = bpf_object__find_map_fd_by_name(object, "histograms");
	kernel.ask = bpf_program__fd(bpf_object__find_program_by_name(object, "ask"));
	kernel.hear = bpf_program__fd(bpf_object__find_program_by_name(object, "hear"));
}

static uint32_t summed(const unsigned char *bytes, int count)
{
	uint32_t sum = 0;
	for (int at = 0; at < count; at += 2) {
		uint16_t word;
		memcpy(&word, bytes + at, 2);
		sum += word;
	}
	return sum;
}

// The frame as it always is; `ask` fills in source address and port, transmit timestamp and checksums.
static void make_frame(struct plan *plan)
{
	unsigned char *frame = plan->frame, *ip = frame + 14, *udp;
	uint32_t pseudo_header;
	memcpy(frame, SERVER_MAC, 6);
	memcpy(frame + 6, CLIENT_MAC, 6);
	if (plan->ipv6) {
		memcpy(frame + 12, "\x86\xdd", 2);
		memcpy(ip, "\x60\0\0\0\0\x38\x11\x40", 8);
		inet_pton(AF_INET6, "fd00:6e74::1", ip + 8);
		inet_pton(AF_INET6, "fd00:6e75::1", ip + 24);
		udp = ip + 40;
		pseudo_header = summed(ip + 8, 32);
	} else {
		memcpy(frame + 12, "\x08\0", 2);
		memcpy(ip, "\x45\0\0\x4c\0\0\x40\0\x40\x11\0\0", 12);
		inet_pton(AF_INET, "10.128.0.0", ip + 12);
		inet_pton(AF_INET, "10.0.0.1", ip + 16);
		udp = ip + 20;
		// `ask` adds the source address, which depends on the client.
		pseudo_header = summed(ip + 16, 4);
		plan->ip_checksum = summed(ip, 12) + summed(ip + 16, 4);
	}
	memcpy(udp, "\0\0\0\x7b\0\x38\0\0", 8);
	memcpy(udp + 8, "\x23\0\x06\xec", 4);
	plan->length = udp + 8 + 48 - frame;
	plan->checksum = pseudo_header + htons(56) + htons(17) + summed(udp, 56);
}

static void make_plan(const struct options *said)
{
	struct plan *plan = kernel.plan;
	plan->interface = if_nametoindex(said->interface);
	if (!plan->interface)
		die(said->interface, errno);
	plan->ipv6 = said->ipv6;
	plan->clients = said->clients;
	plan->window = said->window;
	plan->interleaved = said->interleaved;
	plan->synchronized = !said->any;
	struct timex state = {0};
	if (adjtimex(&state) < 0)
		die("adjtimex", errno);
	plan->tai_offset = state.tai * SECOND;
	// Quantiles of the exponential distribution: drawn evenly, their mean is the wanted one.
	for (int at = 0; at < GAPS && said->rate > 0; at++)
		plan->gaps[at] = SECOND / said->rate * -log(1 - (at + 0.5) / GAPS);
	make_frame(plan);
}

static void wake(int signal) { (void)signal; }
static void end(int signal) { ending = signal; }

struct sender {
	pthread_t thread;
	int cpu, burst;
};

// Has the kernel run `ask` on one frame after another, until a signal ends the call.
static void *send_all(void *argument)
{
	struct sender *sender = argument;
	struct xdp_md context = {.data_end = kernel.plan->length};
	LIBBPF_OPTS(bpf_test_run_opts, run, .data_in = kernel.plan->frame, .data_size_in = kernel.plan->length,
		    .ctx_in = &context, .ctx_size_in = sizeof context, .flags = BPF_F_TEST_XDP_LIVE_FRAMES,
		    .repeat = 0x7fffffff, .batch_size = sender->burst);
	cpu_set_t cpus;
	CPU_ZERO(&cpus);
	if (sender->cpu >= 0) {
		CPU_SET(sender->cpu, &cpus);
		sched_setaffinity(0, sizeof cpus, &cpus);
	}
	int result = 0;
	while (!ending && result == 0)
		result = bpf_prog_test_run_opts(kernel.ask, &run);
	if (result && result != -EINTR)
		die("the kernel sends no frames", result);
	__sync_fetch_and_add(&ended, 1);
	return NULL;
}

// The time that all threads of a process were on a CPU; 0 if it is gone.
static long long cpu_time(int pid)
{
	char path[300];
	long long sum = 0, one;
	snprintf(path, sizeof path, "/proc/%d/task", pid);
	DIR *threads = opendir(path);
	for (struct dirent *thread; threads && (thread = readdir(threads));) {
		snprintf(path, sizeof path, "/proc/%d/task/%s/schedstat", pid, thread->d_name);
		FILE *file = thread->d_name[0] == '.' ? NULL : fopen(path, "r");
		if (file && fscanf(file, "%lld", &one) == 1)
			sum += one;
		if (file)
			fclose(file);
	}
	if (threads)
		closedir(threads);
	return sum;
}

static long long counted[HISTOGRAMS][BUCKETS];

// Adds what was counted since the last call with -1.
static void read_histograms(int sign)
{
	int cpus = libbpf_num_possible_cpus();
	unsigned long long values[cpus];
	for (uint32_t key = 0; key < HISTOGRAMS * BUCKETS; key++) {
		bpf_map_lookup_elem(kernel.histograms, &key, values);
		for (int cpu = 0; cpu < cpus; cpu++)
			counted[key / BUCKETS][key % BUCKETS] += sign * (long long)values[cpu];
	}
}

static double middle(int bucket)
{
	int fine = 1 << FINE;
	if (bucket < fine)
		return bucket;
	return (double)(1ULL << (bucket / fine - 1)) * (fine + bucket % fine + 0.5);
}

// `negative`: of the sizes of values below 0, if there are such.
static double quantile(const long long *histogram, const long long *negative, double part)
{
	long long all = 0, below = 0;
	for (int bucket = 0; bucket < BUCKETS; bucket++)
		all += histogram[bucket] + (negative ? negative[bucket] : 0);
	for (int bucket = BUCKETS - 1; all && negative && bucket >= 0; bucket--) {
		below += negative[bucket];
		if (below >= part * all)
			return -middle(bucket);
	}
	for (int bucket = 0; all && bucket < BUCKETS; bucket++) {
		below += histogram[bucket];
		if (below >= part * all)
			return middle(bucket);
	}
	return 0;
}

struct moment {
	long long at;
	struct tally tally;
	long long cpu[PROCESSES_MAX];
};

// As one moment: before all others on this CPU, for which the senders and the server would be reasons to wait.
static struct moment look(const struct options *said)
{
	sched_setscheduler(0, SCHED_FIFO, &(struct sched_param){.sched_priority = 99});
	struct moment moment = {.at = nanoseconds(CLOCK_MONOTONIC)};
	memcpy(&moment.tally, (void *)kernel.tally, sizeof moment.tally);
	for (int at = 0; at < said->processes; at++)
		moment.cpu[at] = cpu_time(said->pids[at]);
	sched_setscheduler(0, SCHED_OTHER, &(struct sched_param){0});
	return moment;
}

// Waits, and has a closed loop go on when its requests or their replies were lost.
static void wait_until(const struct options *said, long long until)
{
	unsigned long long before = kernel.tally->heard;
	long long since = nanoseconds(CLOCK_MONOTONIC), now;
	while (!ending && (now = nanoseconds(CLOCK_MONOTONIC)) < until) {
		usleep(LOOK_EVERY);
		if (kernel.tally->heard != before) {
			before = kernel.tally->heard;
			since = now;
		} else if (said->window && now - since > PATIENCE) {
			kernel.tally->written_off = kernel.tally->asked - before;
			since = now;
		}
	}
}

static void report(const struct options *said, const struct moment *from, const struct moment *to)
{
	static const char *const NAMES[] = {"round_trip", "offset", "outbound", "return"};
	const struct tally *a = &from->tally, *b = &to->tally;
	unsigned long long good = b->good - a->good;
	const volatile struct tally *all = kernel.tally;
	printf("{\"seconds\":%.6f,\"asked\":%llu,\"good\":%llu,\"malformed\":%llu,\"strange\":%llu,"
	       "\"unsynchronized\":%llu,\"negative\":%llu,\"late\":%llu,\"lost\":%lld,\"interleaved\":%llu,\"mixed_up\":%llu,\"mean_offset\":%.1f,",
	       (to->at - from->at) / 1e9, b->asked - a->asked, good, b->malformed - a->malformed,
	       b->strange - a->strange, b->unsynchronized - a->unsynchronized, b->negative - a->negative,
	       b->late - a->late, (long long)(all->asked - all->heard), b->interleaved - a->interleaved, b->mixed_up - a->mixed_up,
	       good ? (double)(b->offsets - a->offsets) / good : 0.0);
	for (int at = 0; at < EARLY; at++) {
		const long long *negative = at == RETURN ? counted[EARLY] : NULL;
		printf("\"%s\":{\"p50\":%.0f,\"p99\":%.0f,\"p999\":%.0f},", NAMES[at], quantile(counted[at], negative, 0.5),
		       quantile(counted[at], negative, 0.99), quantile(counted[at], negative, 0.999));
	}
	printf("\"cpu\":{");
	for (int at = 0; at < said->processes; at++)
		printf("%s\"%d\":%lld", at ? "," : "", said->pids[at], to->cpu[at] - from->cpu[at]);
	printf("}}\n");
}

int main(int argc, char **argv)
{
	struct options said = parse(argc, argv);
	struct sender senders[SENDERS_MAX];
	libbpf_set_strict_mode(LIBBPF_STRICT_ALL);
	load(argv[0]);
	make_plan(&said);
	signal(SIGINT, end);
	signal(SIGTERM, end);
	// Without SA_RESTART: it shall end the senders' calls.
	sigaction(SIGUSR1, &(struct sigaction){.sa_handler = wake}, NULL);
	int error = bpf_xdp_attach(kernel.plan->interface, kernel.hear, XDP_FLAGS_DRV_MODE, NULL);
	if (error)
		die("no XDP program can be attached to the clients' interface", error);
	for (int at = 0; at < said.senders; at++) {
		senders[at] = (struct sender){.cpu = said.cpus[at], .burst = said.burst};
		pthread_create(&senders[at].thread, NULL, send_all, &senders[at]);
	}
	wait_until(&said, nanoseconds(CLOCK_MONOTONIC) + said.warm * SECOND);
	read_histograms(-1);
	struct moment from = look(&said);
	wait_until(&said, from.at + said.seconds * SECOND);
	struct moment to = look(&said);
	read_histograms(1);
	ending = 1;
	while (ended < said.senders) {
		for (int at = 0; at < said.senders; at++)
			pthread_kill(senders[at].thread, SIGUSR1);
		usleep(1000);
	}
	for (int at = 0; at < said.senders; at++)
		pthread_join(senders[at].thread, NULL);
	usleep(DRAIN);
	bpf_xdp_detach(kernel.plan->interface, XDP_FLAGS_DRV_MODE, NULL);
	report(&said, &from, &to);
	return 0;
}
