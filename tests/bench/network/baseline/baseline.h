// What both baselines share: their sockets and threads, and a reply. They tell the host's clock, as of stratum 2.
#ifndef BASELINE_H
#define BASELINE_H

#include <arpa/inet.h>
#include <endian.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define NTP_PORT 123
#define NTP_LEN 48
#define NTP_TO_UNIX 2208988800ULL

// A thread and its socket.
struct worker {
	int number, family, descriptor;
};

static inline void die(const char *what)
{
	perror(what);
	exit(1);
}

// Seconds since 1900 with 32 bits behind the point.
static inline uint64_t ntp(const struct timespec *time)
{
	return ((time->tv_sec + NTP_TO_UNIX) << 32) | (((uint64_t)time->tv_nsec << 32) / 1000000000);
}

static inline uint64_t now(void)
{
	struct timespec time;
	clock_gettime(CLOCK_REALTIME, &time);
	return ntp(&time);
}

static inline void put(unsigned char *to, uint64_t timestamp)
{
	uint64_t sent = htobe64(timestamp);
	memcpy(to, &sent, sizeof sent);
}

// Makes a request a reply that still lacks its transmit timestamp. 0: it is none that is answered.
static inline int answer(unsigned char *packet, ssize_t length, uint64_t arrived)
{
	static const unsigned char ALWAYS[16] = {[1] = 2, [3] = (unsigned char)-23, [12] = 127, 127, 1, 1};
	int version = packet[0] >> 3 & 7;
	unsigned char poll = packet[2];
	if (length < NTP_LEN || (packet[0] & 7) != 3 || version < 1 || version > 4)
		return 0;
	memcpy(packet, ALWAYS, sizeof ALWAYS);
	packet[0] = version << 3 | 4;
	packet[2] = poll;
	put(packet + 16, arrived);
	memcpy(packet + 24, packet + 40, 8);
	put(packet + 32, arrived);
	return 1;
}

static inline void leave(unsigned char *packet, uint64_t at)
{
	put(packet + 40, at);
}

static inline int listener(int family)
{
	int on = 1, descriptor = socket(family, SOCK_DGRAM, 0);
	struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons(NTP_PORT)};
	struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons(NTP_PORT)};
	setsockopt(descriptor, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
	if (family == AF_INET6)
		setsockopt(descriptor, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
	int failed = family == AF_INET6 ? bind(descriptor, (struct sockaddr *)&six, sizeof six)
					: bind(descriptor, (struct sockaddr *)&four, sizeof four);
	if (failed)
		die("baseline: bind");
	return descriptor;
}

// So many workers for each family; it does not return.
static inline void run(int workers, void *(*serve)(void *))
{
	static const int FAMILIES[] = {AF_INET, AF_INET6};
	for (int at = 0; at < 2 * workers; at++) {
		pthread_t thread;
		struct worker *worker = malloc(sizeof *worker);
		if (!worker)
			die("baseline: malloc");
		*worker = (struct worker){at / 2, FAMILIES[at % 2], listener(FAMILIES[at % 2])};
		if (pthread_create(&thread, NULL, serve, worker))
			die("baseline: pthread_create");
	}
	pause();
}

#endif
