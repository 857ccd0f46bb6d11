// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The keeper's loop: one socket for the daemon's notifications, which has no name that
 * others could send to, one descriptor for signals, one child. Called by main.c for --keep;
 * never returns while there is a daemon to keep.
 */
#include "keep.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../base/cleanup.h"
#include "../base/fdmsg.h"
#include "../base/log.h"
#include "keep_store.h"
#include "notify.h"

#define MESSAGE_MAX_BYTES 4096
#define FIRST_FD 3			/* SD_LISTEN_FDS_START */
#define EXIT_BY_SIGNAL 128

struct keeper {
	struct keep_store store;
	char **argv;			/* the daemon's */
	char exe[PATH_MAX];
	int link;			/* to the child: it has the only other end */
	int signal_fd;
	sigset_t old_mask;
	pid_t child;			/* 0: none now */
	uint64_t started_ms, heard_ms;	/* of the child */
	uint64_t died_ms, delay_ms;	/* of the last one; when to start the next */
	bool was_ready;			/* any daemon, ever */
	bool ending, restarting, killed;
	bool done;
	int status;			/* ours, once done */
};

static uint64_t monotonic_ms(void)
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

/*
 * The stored descriptors get the numbers 3, 4, ... Some of them may have such a number
 * already, so all are moved to higher numbers first.
 */
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

static void become_daemon(struct keeper *k, int link)
{
	size_t count = 0;
	char *names = keep_store_names(&k->store, &count);

	/* Above those that are handed on, which are about to get the numbers from 3 on. */
	link = fcntl(link, F_DUPFD, FIRST_FD + (int)count);
	if (!names || line_up(&k->store, count))
		count = 0;
	if (count) {
		set_number("LISTEN_FDS", count);
		set_number("LISTEN_PID", (unsigned long long)getpid());
		setenv("LISTEN_FDNAMES", names, 1);
	}
	set_number(KEEP_LINK_ENV, (unsigned long long)link);
	/* The keeper's own service manager is none of the daemon's. */
	unsetenv("NOTIFY_SOCKET");
	set_number("WATCHDOG_USEC", KEEP_WATCHDOG_MS * 1000ULL);
	set_number("WATCHDOG_PID", (unsigned long long)getpid());
	sigprocmask(SIG_SETMASK, &k->old_mask, NULL);
	execv(k->exe, k->argv);
	ml_err("keeper: %s: %m", k->exe);
	_exit(EXIT_FAILURE);
}

/* --- the keeper's side ------------------------------------------------------- */

static void close_link(struct keeper *k)
{
	if (k->link >= 0)
		close(k->link);
	k->link = -1;
}

static void start_daemon(struct keeper *k)
{
	int pair[2] = { -1, -1 };
	pid_t pid = -1;

	close_link(k);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == 0)
		pid = fork();
	k->started_ms = k->heard_ms = monotonic_ms();
	k->restarting = k->killed = false;
	if (pid == 0)
		become_daemon(k, pair[1]);
	if (pair[1] >= 0)
		close(pair[1]);
	k->link = pair[0];
	if (pid > 0) {
		k->child = pid;
		return;
	}
	close_link(k);
	ml_err("keeper: cannot start the daemon: %m; trying again");
	k->died_ms = k->started_ms;
	k->delay_ms = KEEP_DELAY_MAX_MS;
}

/* Take in one message of the daemon's, if there is one. False: not now, or never again. */
static bool hear(struct keeper *k)
{
	char text[MESSAGE_MAX_BYTES];
	int fds[ML_FDMSG_MAX];
	size_t fd_count;
	unsigned int said;
	ssize_t n;

	if (k->link < 0)
		return false;
	n = ml_fdmsg_receive(k->link, text, sizeof(text), fds, &fd_count);
	if (n == -EAGAIN || n == -EINTR)
		return n == -EINTR;
	/* What was cut short, or is nothing, is not heeded, but its descriptors are. */
	said = keep_store_message(&k->store, text, n > 0 ? (size_t)n : 0, fds, fd_count);
	if (n <= 0 && n != -EMSGSIZE) {
		close_link(k);
		return false;
	}
	k->heard_ms = monotonic_ms();
	if (said & KEEP_READY)
		k->was_ready = true;
	return true;
}

static void end_keeping(struct keeper *k, int wait_status)
{
	k->done = true;
	k->status = WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) :
		EXIT_BY_SIGNAL + WTERMSIG(wait_status);
}

static void on_daemon_ended(struct keeper *k, int status)
{
	/* Messages that the daemon sent before it died still count. */
	while (hear(k))
		;
	k->child = 0;
	k->died_ms = monotonic_ms();
	if (k->restarting && !k->ending) {
		k->delay_ms = 0;
		return;
	}
	if (k->ending || !k->was_ready || (WIFEXITED(status) && !WEXITSTATUS(status))) {
		end_keeping(k, status);
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

static void on_children(struct keeper *k)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if (pid == k->child)
			on_daemon_ended(k, status);
		else
			keep_store_child_ended(&k->store);
	}
}

static void on_signal(struct keeper *k)
{
	struct signalfd_siginfo info;

	if (read(k->signal_fd, &info, sizeof(info)) != sizeof(info))
		return;
	switch (info.ssi_signo) {
	case SIGCHLD:
		on_children(k);
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
			end_keeping(k, 0);
	}
}

/* Milliseconds until something is due, or -1; starts or kills what is due. */
static int due(struct keeper *k)
{
	uint64_t now = monotonic_ms(), at;

	if (!k->child) {
		at = k->died_ms + k->delay_ms;
		if (k->delay_ms && now < at)
			return (int)(at - now);
		start_daemon(k);
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
	int i, n = 0;

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
	return open_signals(k);
}

int keep_run(int argc, char **argv, int keep_index)
{
	struct keeper *k = calloc(1, sizeof(*k));
	int status, ret;

	if (!k)
		return EXIT_FAILURE;
	k->link = k->signal_fd = -1;
	ret = set_up(k, argc, argv, keep_index);
	if (ret) {
		ml_err("keeper: %s", strerror(-ret));
		k->done = true;
		k->status = EXIT_FAILURE;
	}
	while (!k->done) {
		struct pollfd fds[] = {
			{ .fd = -1, .events = POLLIN },
			{ .fd = k->signal_fd, .events = POLLIN },
		};
		int timeout_ms = due(k);	/* may start a daemon */

		fds[0].fd = k->link;
		if (poll(fds, 2, timeout_ms) <= 0)
			continue;
		if (fds[0].revents)
			hear(k);
		if (fds[1].revents & POLLIN)
			on_signal(k);
	}
	status = k->status;
	keep_store_clear(&k->store);
	free(k->argv);
	close_link(k);
	if (k->signal_fd >= 0)
		close(k->signal_fd);
	free(k);
	return status;
}
