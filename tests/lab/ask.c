// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A program of the lab that speaks QMP's wire format, to memleased or to a QEMU:
 * ask [-t] SOCKET COMMAND [ARGUMENTS] sends one command, with a JSON object as its
 * arguments, and prints the answer, a line of JSON. With -t a line comes before it: the
 * time at which the command was sent, CLOCK_MONOTONIC in ns. Exits 0 also if the answer
 * is an error: tests/lab/lib/lab.py reads it. Knows nothing of JSON but where a line ends.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define ANSWER_MAX_BYTES (1 << 20)
#define TIMEOUT_S 20

static void die(const char *what)
{
	fprintf(stderr, "ask: %s: %s\n", what, strerror(errno));
	exit(1);
}

static int open_socket(const char *path)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	struct timeval limit = { .tv_sec = TIMEOUT_S };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (strlen(path) >= sizeof(a.sun_path)) {
		errno = ENAMETOOLONG;
		die(path);
	}
	strcpy(a.sun_path, path);
	if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof(a)) ||
	    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)))
		die(path);
	return fd;
}

/* Send a command marked with id; the line that answers it. */
static const char *call(FILE *from, const char *command, const char *arguments, const char *id)
{
	static char line[ANSWER_MAX_BYTES];

	dprintf(fileno(from), "{\"execute\": \"%s\", \"arguments\": %s, \"id\": \"%s\"}\n", command, arguments, id);
	while (fgets(line, sizeof(line), from))
		if (strstr(line, id))
			return line;
	if (feof(from))
		errno = EPIPE;
	die(command);
	return NULL;
}

int main(int argc, char **argv)
{
	bool timed = argc > 1 && !strcmp(argv[1], "-t");
	struct timespec t;
	FILE *f;

	argc -= timed;
	argv += timed;
	if (argc < 3 || argc > 4) {
		fputs("usage: ask [-t] SOCKET COMMAND [ARGUMENTS]\n", stderr);
		return 2;
	}
	f = fdopen(open_socket(argv[1]), "r");
	if (!f)
		die(argv[1]);
	call(f, "qmp_capabilities", "{}", "ask-begin");
	clock_gettime(CLOCK_MONOTONIC, &t);
	if (timed)
		printf("%lld\n", t.tv_sec * 1000000000LL + t.tv_nsec);
	fputs(call(f, argv[2], argc > 3 ? argv[3] : "{}", "ask-this"), stdout);
	return 0;
}
