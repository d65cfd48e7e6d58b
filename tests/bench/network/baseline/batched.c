// The floor: the least that a right server does on the kernel's sockets, so nobody's policy, counter or setting is in it.
// A thread for each worker and family receives and sends up to 32 packets a call, tells when the kernel got each, and
// replies from the address that was asked. The clock is read once a call.
//
//   batched [WORKERS [cpu]]
//
// cpu: a packet goes to the worker with the number of the CPU that received it, and the worker keeps to that CPU.
#define _GNU_SOURCE
#include <linux/filter.h>
#include <sched.h>

#include "baseline.h"

#define BATCH 32
// After so many requests that came alone only one is received at a time: room for more costs to offer.
#define CUSTOM 4
#define RECEIVE_BUFFER (1 << 20)

// A request becomes its reply where it is, and is sent with the packet info that came with it.
struct batch {
	struct mmsghdr in[BATCH], out[BATCH];
	struct iovec vectors[BATCH];
	struct sockaddr_in6 clients[BATCH];
	unsigned char packets[BATCH][NTP_LEN];
	_Alignas(struct cmsghdr) unsigned char control[BATCH][96];
};

static int workers = 1, by_cpu;

static void set(int descriptor, int level, int name, int value)
{
	if (setsockopt(descriptor, level, name, &value, sizeof value))
		die("batched: setsockopt");
}

// Of those that the process may use.
static cpu_set_t nth_cpu(int wanted)
{
	cpu_set_t all, one;
	CPU_ZERO(&one);
	sched_getaffinity(getpid(), sizeof all, &all);
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
		if (CPU_ISSET(cpu, &all) && wanted-- == 0)
			CPU_SET(cpu, &one);
	return one;
}

static void keep_to_cpu(const struct worker *worker)
{
	struct sock_filter code[] = {
		{BPF_LD | BPF_W | BPF_ABS, 0, 0, SKF_AD_OFF + SKF_AD_CPU},
		{BPF_ALU | BPF_MOD | BPF_K, 0, 0, workers},
		{BPF_RET | BPF_A, 0, 0, 0},
	};
	struct sock_fprog program = {3, code};
	cpu_set_t cpu = nth_cpu(worker->number);
	if (pthread_setaffinity_np(pthread_self(), sizeof cpu, &cpu) ||
	    setsockopt(worker->descriptor, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &program, sizeof program))
		die("batched: no steering by CPU");
}

static void prepare(const struct worker *worker)
{
	int ipv6 = worker->family == AF_INET6;
	set(worker->descriptor, SOL_SOCKET, SO_TIMESTAMPNS, 1);
	set(worker->descriptor, SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER);
	if (ipv6) {
		set(worker->descriptor, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1);
		set(worker->descriptor, IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_PROBE);
	} else {
		set(worker->descriptor, IPPROTO_IP, IP_PKTINFO, 1);
		set(worker->descriptor, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_PROBE);
	}
	if (by_cpu)
		keep_to_cpu(worker);
}

static void make_room(struct batch *batch)
{
	for (int at = 0; at < BATCH; at++) {
		batch->vectors[at] = (struct iovec){batch->packets[at], NTP_LEN};
		batch->in[at].msg_hdr = (struct msghdr){
			.msg_name = &batch->clients[at],
			.msg_namelen = sizeof batch->clients[at],
			.msg_iov = &batch->vectors[at],
			.msg_iovlen = 1,
			.msg_control = batch->control[at],
			.msg_controllen = sizeof batch->control[at],
		};
	}
}

static int receive(const struct worker *worker, struct batch *batch, int most)
{
	if (most > 1)
		return recvmmsg(worker->descriptor, batch->in, most, MSG_WAITFORONE, NULL);
	ssize_t length = recvmsg(worker->descriptor, &batch->in[0].msg_hdr, 0);
	batch->in[0].msg_len = length;
	return length < 0 ? -1 : 1;
}

// When the packet came; puts its packet info, which then says only from where to reply, into `reply`.
static uint64_t read_control(struct msghdr *request, struct msghdr *reply)
{
	uint64_t arrived = 0;
	for (struct cmsghdr *told = CMSG_FIRSTHDR(request); told; told = CMSG_NXTHDR(request, told)) {
		if (told->cmsg_level == SOL_SOCKET) {
			arrived = ntp((struct timespec *)CMSG_DATA(told));
			continue;
		}
		if (told->cmsg_level == IPPROTO_IP)
			((struct in_pktinfo *)CMSG_DATA(told))->ipi_ifindex = 0;
		else
			((struct in6_pktinfo *)CMSG_DATA(told))->ipi6_ifindex = 0;
		reply->msg_control = told;
		reply->msg_controllen = told->cmsg_len;
	}
	return arrived;
}

static void send_all(const struct worker *worker, struct mmsghdr *replies, int count)
{
	if (count == 1) {
		sendmsg(worker->descriptor, &replies[0].msg_hdr, 0);
		return;
	}
	for (int done = 0; done < count;) {
		int sent = sendmmsg(worker->descriptor, replies + done, count - done, 0);
		// What the kernel refuses is left out.
		done += sent > 0 ? sent : 1;
	}
}

static void *serve(void *argument)
{
	const struct worker *worker = argument;
	struct batch batch = {0};
	uint64_t before, at = 0, arrived = 0;
	int alone = 0;
	prepare(worker);
	make_room(&batch);
	for (;;) {
		int replies = 0, received = receive(worker, &batch, alone < CUSTOM ? BATCH : 1);
		before = at;
		at = now();
		for (int index = 0; index < received; index++) {
			struct msghdr *request = &batch.in[index].msg_hdr, *reply = &batch.out[replies].msg_hdr;
			*reply = (struct msghdr){request->msg_name, request->msg_namelen, request->msg_iov, 1, NULL, 0, 0};
			arrived = read_control(request, reply);
			request->msg_controllen = sizeof batch.control[index];
			if (!answer(batch.packets[index], batch.in[index].msg_len, arrived))
				continue;
			leave(batch.packets[index], at);
			replies++;
		}
		send_all(worker, batch.out, replies);
		// One that came before the last reply left did not come alone.
		alone = received != 1 || arrived < before ? 0 : alone < CUSTOM ? alone + 1 : CUSTOM;
	}
	return NULL;
}

int main(int argc, char **argv)
{
	workers = argc > 1 ? atoi(argv[1]) : 1;
	by_cpu = argc > 2;
	run(workers, serve);
	return 0;
}
