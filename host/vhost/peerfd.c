// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Descriptors that a peer handed over: see peerfd.h. Two means against waiting:
 * a timer whose signal interrupts a read or write that blocks, and a thread that
 * closes userfaultfds, and files whose file system the peer may itself serve (FUSE
 * asks the server at every close). Called on the event loop's thread only.
 */
#include "peerfd.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#include "../base/log.h"
#include "../base/priority.h"

#define UFFD_LINK "anon_inode:[userfaultfd]"
#define PATIENCE_MS 2
#define PATIENCE_SIGNAL (SIGRTMIN + 3)

static timer_t patience;
static bool patience_ready;
static int closer_pipe[2] = { -1, -1 };

static void patience_over(int sig)
{
	(void)sig;	/* to interrupt is all it does */
}

static void *closer_main(void *arg)
{
	int fd;

	(void)arg;
	ml_priority_ordinary();
	while (read(closer_pipe[0], &fd, sizeof(fd)) == (ssize_t)sizeof(fd))
		close(fd);
	return NULL;
}

static int closer_start(void)
{
	sigset_t all, before;
	pthread_t thread;
	int r;

	if (pipe2(closer_pipe, O_CLOEXEC) < 0)
		return -errno;
	if (fcntl(closer_pipe[1], F_SETFL, O_NONBLOCK) < 0)
		return -errno;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	r = pthread_create(&thread, NULL, closer_main, NULL);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (r)
		return -r;
	pthread_detach(thread);
	return 0;
}

int peerfd_init(void)
{
	struct sigaction action = { .sa_handler = patience_over };
	struct sigevent event = {
		.sigev_notify = SIGEV_THREAD_ID,
		.sigev_signo = PATIENCE_SIGNAL,
	};
	sigset_t mine;

	if (patience_ready)
		return 0;
	event._sigev_un._tid = (pid_t)syscall(SYS_gettid);
	sigemptyset(&action.sa_mask);
	if (sigaction(PATIENCE_SIGNAL, &action, NULL) < 0)
		return -errno;
	sigemptyset(&mine);
	sigaddset(&mine, PATIENCE_SIGNAL);
	pthread_sigmask(SIG_UNBLOCK, &mine, NULL);
	if (timer_create(CLOCK_MONOTONIC, &event, &patience) < 0)
		return -errno;
	patience_ready = true;
	return closer_start();
}

/* Repeats, because the first signal may come just before the call that blocks. */
static void patience_set(bool on)
{
	struct itimerspec spec = { 0 };

	if (on) {
		spec.it_value.tv_nsec = PATIENCE_MS * 1000000L;
		spec.it_interval = spec.it_value;
	}
	timer_settime(patience, 0, &spec, NULL);
}

static bool peerfd_link(int fd, char *link, size_t size)
{
	char path[40];
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	n = readlink(path, link, size - 1);
	if (n < 0)
		return false;
	link[n] = '\0';
	return true;
}

static bool peerfd_link_is(int fd, const char *want)
{
	char link[64];

	return peerfd_link(fd, link, sizeof(link)) && strcmp(link, want) == 0;
}

bool peerfd_is_eventfd(int fd)
{
	return peerfd_link_is(fd, "anon_inode:[eventfd]");
}

bool peerfd_is_uffd(int fd)
{
	return peerfd_link_is(fd, UFFD_LINK);
}

bool peerfd_is_unix_stream(int fd)
{
	int domain = 0, type = 0;
	socklen_t size = sizeof(int);

	if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) < 0)
		return false;
	size = sizeof(int);
	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) < 0)
		return false;
	return domain == AF_UNIX && type == SOCK_STREAM;
}

/* AT_STATX_DONT_SYNC: a FUSE server, which may be the peer, is not asked. */
static bool peerfd_stat(int fd, struct statx *sx)
{
	return statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_TYPE | STATX_INO, sx) == 0;
}

bool peerfd_same_file(int fd, int own)
{
	struct statx a, b;

	if (!peerfd_stat(fd, &a) || !peerfd_stat(own, &b))
		return false;
	return S_ISREG(a.stx_mode) && a.stx_ino == b.stx_ino &&
	       a.stx_dev_major == b.stx_dev_major && a.stx_dev_minor == b.stx_dev_minor;
}

bool peerfd_is_device(int fd, dev_t device)
{
	struct statx sx;

	return device && peerfd_stat(fd, &sx) && S_ISCHR(sx.stx_mode) &&
	       makedev(sx.stx_rdev_major, sx.stx_rdev_minor) == device;
}

ssize_t peerfd_read(int fd, void *buf, size_t size)
{
	ssize_t n;

	patience_set(true);
	n = read(fd, buf, size);
	if (n < 0)
		n = errno == EINTR ? -EDEADLK : -errno;
	patience_set(false);
	return n;
}

int peerfd_signal(int fd)
{
	const uint64_t one = 1;
	int r = 0;

	patience_set(true);
	if (write(fd, &one, sizeof(one)) < 0 && errno != EAGAIN)
		r = errno == EINTR ? -EDEADLK : -errno;
	patience_set(false);
	return r;
}

const char *peerfd_error(int r)
{
	return r == -EDEADLK ? "QEMU made it blocking" : strerror(-r);
}

/*
 * What has no path in a file system is the kernel's own, and closes at once. But
 * the last close of a userfaultfd takes the lock of its process's memory map, which
 * that can hold as long as it likes: a large one that forks, for seconds.
 */
static bool closing_waits(const char *link)
{
	return strcmp(link, UFFD_LINK) == 0 ||
	       (link[0] == '/' && strncmp(link, "/memfd:", 7) != 0);
}

void peerfd_close(int fd)
{
	char link[32];

	if (fd < 0)
		return;
	if (closer_pipe[1] >= 0 && peerfd_link(fd, link, sizeof(link)) && closing_waits(link)) {
		if (write(closer_pipe[1], &fd, sizeof(fd)) == (ssize_t)sizeof(fd))
			return;
		ml_warn("vhost: a descriptor of a peer's file stays open: closing earlier ones hangs");
		return;
	}
	close(fd);
}
