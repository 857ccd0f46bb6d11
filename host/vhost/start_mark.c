// SPDX-License-Identifier: GPL-2.0-or-later
/* A file that is there until a QEMU has connected; see start_mark.h. */
#include "start_mark.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../base/cleanup.h"
#include "../base/log.h"
#include "../base/terms.h"

char *start_mark_path(const char *socket_path)
{
	size_t len = strlen(socket_path), tail = strlen(ML_VHOST_SOCKET_TAIL);
	char *mark;

	if (len > tail && !strcmp(socket_path + len - tail, ML_VHOST_SOCKET_TAIL))
		len -= tail;
	return asprintf(&mark, "%.*s" ML_UNSTARTED_TAIL, (int)len, socket_path) < 0 ? NULL : mark;
}

int start_mark_set(const char *mark)
{
	ml_autoclose int fd = -1;

	if (unlink(mark) < 0 && errno != ENOENT)
		return -errno;
	fd = open(mark, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0400);
	if (fd < 0)
		return -errno;
	/* There is nothing in it, and any QEMU may be another user's. */
	return fchmod(fd, 0444) < 0 ? -errno : 0;
}

void start_mark_clear(const char *mark)
{
	if (unlink(mark) < 0 && errno != ENOENT)
		ml_warn("%s cannot be removed: %s; its QEMU could be started twice", mark,
			strerror(errno));
}
