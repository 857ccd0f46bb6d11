// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The remote shell of a test VM. The guest's init starts it on a serial port of
 * its own, where tests/vm/lib/remote.py speaks to it: a request is "LENGTH\n" and
 * so many bytes of shell script; the answer is "STATUS LENGTH\n" and so many
 * bytes of output, standard error included. One request at a time; what shall
 * run on is put into the background by the script itself.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#define REQUEST_MAX_BYTES (64 * 1024)
#define ANSWER_MAX_BYTES (1024 * 1024)

static int port;

static void die(const char *what)
{
	fprintf(stderr, "remote: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void read_all(char *to, size_t n)
{
	while (n) {
		ssize_t got = read(port, to, n);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			die("read");
		to += got;
		n -= got;
	}
}

static void write_all(const char *from, size_t n)
{
	while (n) {
		ssize_t put = write(port, from, n);

		if (put < 0 && errno == EINTR)
			continue;
		if (put <= 0)
			die("write");
		from += put;
		n -= put;
	}
}

/* The length of the next request. */
static size_t read_length(void)
{
	char line[16];
	size_t n = 0;

	for (;;) {
		read_all(&line[n], 1);
		if (line[n] == '\n')
			break;
		if (++n == sizeof(line)) {
			errno = EPROTO;
			die("request");
		}
	}
	line[n] = '\0';
	return strtoul(line, NULL, 10);
}

/* This shell must live when memory runs out, but not what it starts. */
static void may_be_killed(bool may)
{
	int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, may ? "0" : "-1000", may ? 1 : 5) < 0)
		perror("remote: oom_score_adj");
	if (fd >= 0)
		close(fd);
}

/* Run a script; fills out, returns its length, and the shell's exit status. */
static size_t run(const char *script, char *out, int *status)
{
	size_t n = 0;
	int fds[2];
	pid_t pid;

	if (pipe(fds) < 0)
		die("pipe");
	pid = fork();
	if (pid < 0)
		die("fork");
	if (!pid) {
		int null = open("/dev/null", O_RDONLY);

		dup2(null, 0);
		dup2(fds[1], 1);
		dup2(fds[1], 2);
		close(null);
		close(fds[0]);
		close(fds[1]);
		close(port);
		may_be_killed(true);
		execl("/bin/sh", "sh", "-c", script, (char *)NULL);
		_exit(127);
	}
	close(fds[1]);
	for (;;) {
		ssize_t got = read(fds[0], out + n, ANSWER_MAX_BYTES - n);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			break;
		n += got;
	}
	close(fds[0]);
	if (waitpid(pid, status, 0) < 0)
		die("waitpid");
	*status = WIFEXITED(*status) ? WEXITSTATUS(*status) : 128 + WTERMSIG(*status);
	return n;
}

static void open_port(const char *path)
{
	struct termios t;

	port = open(path, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (port < 0 || tcgetattr(port, &t) < 0)
		die(path);
	cfmakeraw(&t);
	cfsetspeed(&t, B115200);
	if (tcsetattr(port, TCSANOW, &t) < 0)
		die(path);
	tcflush(port, TCIOFLUSH);
}

int main(int argc, char **argv)
{
	static char script[REQUEST_MAX_BYTES + 1], out[ANSWER_MAX_BYTES];

	if (argc != 2) {
		fputs("usage: remote PORT\n", stderr);
		return 2;
	}
	may_be_killed(false);
	open_port(argv[1]);
	write_all("ready\n", 6);
	for (;;) {
		size_t n = read_length();
		char head[48];
		int status;

		if (n > REQUEST_MAX_BYTES) {
			errno = EMSGSIZE;
			die("request");
		}
		read_all(script, n);
		script[n] = '\0';
		n = run(script, out, &status);
		snprintf(head, sizeof(head), "%d %zu\n", status, n);
		write_all(head, strlen(head));
		write_all(out, n);
	}
}
