/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A descriptor whose last close waits, for tests of who waits for it. */
#ifndef ML_TESTS_UNIT_LINGERING_H
#define ML_TESTS_UNIT_LINGERING_H

#include <netinet/in.h>
#include <stdint.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define LINGER_S 30
#define SOON_MS (LINGER_S * 1000 / 3)

static inline uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/*
 * A TCP socket with unsent data: whoever drops the last reference waits for LINGER_S, or until
 * *other is closed, which does not read.
 */
static inline int lingering(int *other)
{
	struct sockaddr_in addr = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct linger linger = { .l_onoff = 1, .l_linger = LINGER_S };
	int server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), small = 4096;
	int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	static const char bytes[65536];
	socklen_t len = sizeof(addr);

	setsockopt(server, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
	assert_int_equal(bind(server, (struct sockaddr *)&addr, len), 0);
	assert_int_equal(listen(server, 1), 0);
	assert_int_equal(getsockname(server, (struct sockaddr *)&addr, &len), 0);
	assert_int_equal(connect(client, (struct sockaddr *)&addr, len), 0);
	*other = accept4(server, NULL, NULL, SOCK_CLOEXEC);
	assert_true(*other >= 0);
	close(server);
	setsockopt(client, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
	while (send(client, bytes, sizeof(bytes), MSG_DONTWAIT | MSG_NOSIGNAL) > 0)
		;
	return client;
}

#endif /* ML_TESTS_UNIT_LINGERING_H */
