// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The keeper's loop: one socket for the daemon's notifications, one descriptor
 * for signals, one child. Called by main.c for --keep; never returns while there
 * is a daemon to keep.
 */
#include "keep.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../base/cleanup.h"
#include "../base/log.h"
#include "keep_store.h"

#define MESSAGE_MAX_BYTES 4096
#define FDS_PER_MESSAGE_MAX 253		/* SCM_MAX_FD */
#define FIRST_FD 3			/* SD_LISTEN_FDS_START */
#define EXIT_BY_SIGNAL 128

struct keeper {
	struct keep_store store;
	char **argv;			/* the daemon's */
	char exe[PATH_MAX];
	char notify_name[64];		/* value of NOTIFY_SOCKET */
	int notify_fd, signal_fd;
	sigset_t old_mask;
	pid_t child;			/* 0: none now */
	uint64_t started_ms, heard_ms;	/* of the child */
	uint64_t died_ms, delay_ms;	/* of the last one; when to start the next */
	bool was_ready;			/* any daemon, ever */
	bool ending, restarting, killed;
	bool done;
	int status;			/* ours, once done */
};

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

uint64_t keep_delay_ms(uint64_t lived_ms, uint64_t delay_ms)
{
	if (lived_ms >= KEEP_SHORT_LIFE_MS)
		return 0;
	if (!delay_ms)
		return KEEP_DELAY_MIN_MS;
	return delay_ms * 2 < KEEP_DELAY_MAX_MS ? delay_ms * 2 : KEEP_DELAY_MAX_MS;
}

/* --- the child's side, between fork and exec --------------------------------- */

/* The stored descriptors become 3, 4, ...; first out of the way, because they may stand there. */
static int line_up(const struct keep_store *store, size_t count)
{
	int high = FIRST_FD + (int)count;
	ml_autofree int *moved = calloc(count + 1, sizeof(*moved));
	size_t i;

	if (!moved)
		return -ENOMEM;
	for (i = 0; i < count; i++) {
		moved[i] = fcntl(store->fds[i].fd, F_DUPFD_CLOEXEC, high);
		if (moved[i] < 0)
			return -errno;
	}
	for (i = 0; i < count; i++) {
		if (dup2(moved[i], FIRST_FD + (int)i) < 0)
			return -errno;
	}
	return 0;
}

static void set_number(const char *key, unsigned long long value)
{
	char text[32];

	snprintf(text, sizeof(text), "%llu", value);
	setenv(key, text, 1);
}

static void become_daemon(struct keeper *k)
{
	size_t count = 0;
	char *names = keep_store_names(&k->store, &count);

	if (!names || line_up(&k->store, count))
		count = 0;
	if (count) {
		set_number("LISTEN_FDS", count);
		set_number("LISTEN_PID", (unsigned long long)getpid());
		setenv("LISTEN_FDNAMES", names, 1);
	}
	setenv("NOTIFY_SOCKET", k->notify_name, 1);
	set_number("WATCHDOG_USEC", KEEP_WATCHDOG_MS * 1000ULL);
	set_number("WATCHDOG_PID", (unsigned long long)getpid());
	sigprocmask(SIG_SETMASK, &k->old_mask, NULL);
	execv(k->exe, k->argv);
	ml_err("keeper: %s: %m", k->exe);
	_exit(EXIT_FAILURE);
}

/* --- the keeper's side ------------------------------------------------------- */

static void start(struct keeper *k)
{
	pid_t pid = fork();

	k->started_ms = k->heard_ms = now_ms();
	k->restarting = k->killed = false;
	if (pid == 0)
		become_daemon(k);
	if (pid > 0) {
		k->child = pid;
		return;
	}
	ml_err("keeper: cannot start the daemon: %m; trying again");
	k->died_ms = k->started_ms;
	k->delay_ms = KEEP_DELAY_MAX_MS;
}

/* One message, if there is one. Only the child's are heeded. */
static bool hear(struct keeper *k)
{
	char text[MESSAGE_MAX_BYTES];
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(sizeof(struct ucred)) +
			   CMSG_SPACE(FDS_PER_MESSAGE_MAX * sizeof(int))];
	} control;
	struct iovec iov = { .iov_base = text, .iov_len = sizeof(text) };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = &control, .msg_controllen = sizeof(control),
	};
	int fds[FDS_PER_MESSAGE_MAX];
	size_t fd_count = 0, i;
	struct cmsghdr *c;
	unsigned int said;
	pid_t from = 0;
	ssize_t n = recvmsg(k->notify_fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

	if (n < 0)
		return errno == EINTR;
	for (c = CMSG_FIRSTHDR(&msg); c; c = CMSG_NXTHDR(&msg, c)) {
		if (c->cmsg_level != SOL_SOCKET)
			continue;
		if (c->cmsg_type == SCM_RIGHTS) {
			fd_count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
			memcpy(fds, CMSG_DATA(c), fd_count * sizeof(int));
		} else if (c->cmsg_type == SCM_CREDENTIALS) {
			struct ucred cred;

			memcpy(&cred, CMSG_DATA(c), sizeof(cred));
			from = cred.pid;
		}
	}
	if (from != k->child || msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) {
		for (i = 0; i < fd_count; i++)
			close(fds[i]);
		return true;
	}
	said = keep_store_message(&k->store, text, (size_t)n, fds, fd_count);
	k->heard_ms = now_ms();
	if (said & KEEP_READY)
		k->was_ready = true;
	return true;
}

static void finish(struct keeper *k, int wait_status)
{
	k->done = true;
	k->status = WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) :
		EXIT_BY_SIGNAL + WTERMSIG(wait_status);
}

static void on_child(struct keeper *k)
{
	int status;

	/* What it said before it died counts. */
	while (k->child && hear(k))
		;
	if (!k->child || waitpid(k->child, &status, WNOHANG) != k->child)
		return;
	k->child = 0;
	k->died_ms = now_ms();
	if (k->restarting && !k->ending) {
		k->delay_ms = 0;
		return;
	}
	if (k->ending || !k->was_ready || (WIFEXITED(status) && !WEXITSTATUS(status))) {
		finish(k, status);
		return;
	}
	k->delay_ms = keep_delay_ms(k->died_ms - k->started_ms, k->delay_ms);
	if (WIFSIGNALED(status))
		ml_err("keeper: the daemon died of signal %d (%s); starting it again, VMs go on",
		       WTERMSIG(status), strsignal(WTERMSIG(status)));
	else
		ml_err("keeper: the daemon ended with status %d; starting it again, VMs go on",
		       WEXITSTATUS(status));
}

static void on_signal(struct keeper *k)
{
	struct signalfd_siginfo info;

	if (read(k->signal_fd, &info, sizeof(info)) != sizeof(info))
		return;
	switch (info.ssi_signo) {
	case SIGCHLD:
		on_child(k);
		break;
	case SIGHUP:
		k->restarting = true;
		if (k->child)
			kill(k->child, SIGTERM);
		break;
	default:
		k->ending = true;
		if (k->child)
			kill(k->child, (int)info.ssi_signo);
		else
			finish(k, 0);
	}
}

/* Milliseconds until something is due, or -1; starts or kills what is due. */
static int due(struct keeper *k)
{
	uint64_t now = now_ms(), at;

	if (!k->child) {
		at = k->died_ms + k->delay_ms;
		if (k->delay_ms && now < at)
			return (int)(at - now);
		start(k);
		return k->child ? KEEP_WATCHDOG_MS : KEEP_DELAY_MAX_MS;
	}
	at = k->heard_ms + KEEP_WATCHDOG_MS;
	if (now < at)
		return (int)(at - now);
	if (!k->killed) {
		ml_err("keeper: the daemon has been silent for %d s: killing it", KEEP_WATCHDOG_MS / 1000);
		kill(k->child, SIGKILL);
		k->killed = true;
	}
	return -1;
}

static int open_notify(struct keeper *k)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	socklen_t len = sizeof(addr);
	int on = 1;

	k->notify_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	/* No address beyond the family: the kernel chooses an abstract name. */
	if (k->notify_fd < 0 ||
	    setsockopt(k->notify_fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)) ||
	    bind(k->notify_fd, (struct sockaddr *)&addr, sizeof(addr.sun_family)) ||
	    getsockname(k->notify_fd, (struct sockaddr *)&addr, &len))
		return -errno;
	snprintf(k->notify_name, sizeof(k->notify_name), "@%.*s",
		 (int)(len - offsetof(struct sockaddr_un, sun_path) - 1), addr.sun_path + 1);
	return 0;
}

static int open_signals(struct keeper *k)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, &k->old_mask);
	k->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return k->signal_fd < 0 ? -errno : 0;
}

static int set_up(struct keeper *k, int argc, char **argv, int keep_index)
{
	struct rlimit limit;
	ssize_t len = readlink("/proc/self/exe", k->exe, sizeof(k->exe) - 1);
	int i, n = 0, ret;

	if (len <= 0)
		return -errno;
	k->argv = calloc((size_t)argc + 1, sizeof(*k->argv));
	if (!k->argv)
		return -ENOMEM;
	for (i = 0; i < argc; i++) {
		if (i != keep_index)
			k->argv[n++] = argv[i];
	}
	if (!getrlimit(RLIMIT_NOFILE, &limit)) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
	ret = open_notify(k);
	return ret ? ret : open_signals(k);
}

int keep_run(int argc, char **argv, int keep_index)
{
	struct keeper *k = calloc(1, sizeof(*k));
	int status, ret;

	if (!k)
		return EXIT_FAILURE;
	k->notify_fd = k->signal_fd = -1;
	ret = set_up(k, argc, argv, keep_index);
	if (ret) {
		ml_err("keeper: %s", strerror(-ret));
		k->done = true;
		k->status = EXIT_FAILURE;
	}
	while (!k->done) {
		struct pollfd fds[] = {
			{ .fd = k->notify_fd, .events = POLLIN },
			{ .fd = k->signal_fd, .events = POLLIN },
		};

		if (poll(fds, 2, due(k)) <= 0)
			continue;
		if (fds[0].revents & POLLIN)
			hear(k);
		if (fds[1].revents & POLLIN)
			on_signal(k);
	}
	status = k->status;
	keep_store_clear(&k->store);
	free(k->argv);
	if (k->notify_fd >= 0)
		close(k->notify_fd);
	if (k->signal_fd >= 0)
		close(k->signal_fd);
	free(k);
	return status;
}
