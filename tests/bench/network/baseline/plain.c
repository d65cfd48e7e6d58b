// The baseline: an NTP server as one writes it first. A thread for each worker and family receives one request, answers
// it, and receives the next; times are read in user space.
//
//   plain [WORKERS]
#define _GNU_SOURCE
#include "baseline.h"

static void *serve(void *argument)
{
	const struct worker *worker = argument;
	unsigned char packet[512];
	for (;;) {
		struct sockaddr_storage client;
		socklen_t size = sizeof client;
		ssize_t length = recvfrom(worker->descriptor, packet, sizeof packet, 0, (struct sockaddr *)&client, &size);
		if (!answer(packet, length, now()))
			continue;
		leave(packet, now());
		sendto(worker->descriptor, packet, NTP_LEN, 0, (struct sockaddr *)&client, size);
	}
	return NULL;
}

int main(int argc, char **argv)
{
	run(argc > 1 ? atoi(argv[1]) : 1, serve);
	return 0;
}
