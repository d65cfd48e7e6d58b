// The baseline: an NTP server as one writes it first. A thread for each worker and family receives one request, answers
// it, and receives the next; times are read in user space. It tells the host's clock, as of stratum 2.
//
//   plain [WORKERS]
#define _GNU_SOURCE
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

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static uint64_t timestamp(void)
{
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	return htobe64(((now.tv_sec + NTP_TO_UNIX) << 32) | (((uint64_t)now.tv_nsec << 32) / 1000000000));
}

static int listener(int family)
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
		die("plain: bind");
	return descriptor;
}

static void *serve(void *argument)
{
	int descriptor = (int)(intptr_t)argument;
	unsigned char request[512], reply[NTP_LEN] = {[1] = 2, [3] = (unsigned char)-23, [12] = 127, 127, 1, 1};
	for (;;) {
		struct sockaddr_storage client;
		socklen_t length = sizeof client;
		ssize_t received = recvfrom(descriptor, request, sizeof request, 0, (struct sockaddr *)&client, &length);
		uint64_t arrived = timestamp();
		int version = request[0] >> 3 & 7;
		if (received < NTP_LEN || (request[0] & 7) != 3 || version < 1 || version > 4)
			continue;
		reply[0] = version << 3 | 4;
		reply[2] = request[2];
		memcpy(reply + 16, &arrived, 8);
		memcpy(reply + 24, request + 40, 8);
		memcpy(reply + 32, &arrived, 8);
		uint64_t leaves = timestamp();
		memcpy(reply + 40, &leaves, 8);
		sendto(descriptor, reply, sizeof reply, 0, (struct sockaddr *)&client, length);
	}
	return NULL;
}

int main(int argc, char **argv)
{
	int workers = argc > 1 ? atoi(argv[1]) : 1;
	for (int at = 0; at < workers; at++)
		for (int family = 0; family < 2; family++) {
			pthread_t thread;
			int descriptor = listener(family ? AF_INET6 : AF_INET);
			if (pthread_create(&thread, NULL, serve, (void *)(intptr_t)descriptor))
				die("plain: pthread_create");
		}
	pause();
	return 0;
}
