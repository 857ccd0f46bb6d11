// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Descriptors that a peer handed over: see peerfd.h. Against waiting there is a timer, whose
 * signal interrupts a read or write that blocks. Called on the event loop's thread only.
 */
#include "peerfd.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#include "../base/porter.h"

#define PATIENCE_MS 2
#define PATIENCE_SIGNAL (SIGRTMIN + 3)

static timer_t patience;
static bool patience_ready;

static void patience_over(int sig)
{
	(void)sig;	/* to interrupt is all it does */
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
	return ml_porter_start();
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

static bool peerfd_stat(int fd, struct statx *sx)
{
	return statx(fd, "", AT_EMPTY_PATH, STATX_TYPE | STATX_INO, sx) == 0;
}

bool peerfd_same_file(const struct porter_fd *f, int own)
{
	struct statx sx;

	return f->kind == PORTER_FILE && peerfd_stat(own, &sx) && S_ISREG(sx.stx_mode) &&
	       f->inode == sx.stx_ino && f->device == makedev(sx.stx_dev_major, sx.stx_dev_minor);
}

bool peerfd_is_device(const struct porter_fd *f, dev_t device)
{
	return device && f->kind == PORTER_CHARDEV && f->device == device;
}

static bool peerfd_blocks(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	return flags < 0 || !(flags & O_NONBLOCK);
}

/*
 * A signal also interrupts a read that would not have blocked, if there was nothing to read and
 * the timer ran out because this thread did not get the processor.
 */
ssize_t peerfd_read(int fd, void *buf, size_t size)
{
	ssize_t n;

	patience_set(true);
	n = read(fd, buf, size);
	if (n < 0)
		n = errno == EINTR && peerfd_blocks(fd) ? -EDEADLK : -errno;
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
