// SPDX-License-Identifier: GPL-2.0-or-later
/* QEMU's process; see process.h. */
#include "process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../base/cleanup.h"
#include "../base/file.h"

#define STAT_START_FIELD 22	/* proc(5): starttime; counted from 1 */

static int start_time(pid_t pid, uint64_t *start)
{
	char path[32], text[1024], *p;
	int ret;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	ret = ml_read_line(AT_FDCWD, path, text, sizeof(text));
	if (ret < 0)
		return ret == -ENOENT ? -ESRCH : ret;
	/* The second field is the command in brackets and may hold anything. */
	p = strrchr(text, ')');
	for (int field = 2; p && field < STAT_START_FIELD; field++)
		p = strchr(p + 1, ' ');
	if (!p)
		return -EIO;
	*start = strtoull(p + 1, NULL, 10);
	return 0;
}

int process_started(int pidfd, pid_t pid, uint64_t *start)
{
	/* Read with the pidfd in hand: if it is alive afterwards, this was its start time. */
	int ret = start_time(pid, start);

	if (ret < 0)
		return ret;
	return process_alive(pidfd) ? 0 : -ESRCH;
}

int process_open(pid_t pid, uint64_t start, uint64_t *found)
{
	ml_autoclose int fd = (int)syscall(SYS_pidfd_open, pid, 0);
	int ret;

	if (fd < 0)
		return -errno;
	ret = process_started(fd, pid, found);
	if (ret < 0)
		return ret;
	if (start && *found != start)
		return -ESRCH;
	return ml_steal_fd(&fd);
}

bool process_alive(int pidfd)
{
	struct pollfd p = { .fd = pidfd, .events = POLLIN };

	return pidfd >= 0 && poll(&p, 1, 0) == 0;
}

void process_kill(int pidfd)
{
	if (pidfd >= 0)
		syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0);
}
