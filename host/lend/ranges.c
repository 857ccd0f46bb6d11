// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Whose blocks does the table speak of? Blocks are numbered over the ranges that the
 * source has, in their order. If the source is set up anew with others, what was clean
 * by number may be other memory now. So the ranges are remembered beside the table, and
 * where they differ the table goes: all is dirty then, and what is lent the source knows.
 * Called by lender.c at start, before the table is opened.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "../base/cleanup.h"
#include "../base/file.h"
#include "../base/log.h"
#include "../base/step.h"
#include "lender.h"

#define RANGES_NAME "ranges"
#define TEXT_MAX (BACKEND_RANGES_MAX * 40)

static size_t describe(const struct backend *b, char text[TEXT_MAX])
{
	size_t n = 0;

	text[0] = '\0';
	for (unsigned int i = 0; i < b->range_count; i++)
		n += (size_t)snprintf(text + n, TEXT_MAX - n, "%" PRIx64 " %" PRIx64 "\n",
				      b->ranges[i].base, b->ranges[i].bytes);
	return n;
}

static int remember(int state_fd, const char *text, size_t n)
{
	ml_autoclose int fd = openat(state_fd, RANGES_NAME ".new",
				     O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	int ret = fd < 0 ? -errno : ml_write_all(fd, text, n);

	ml_step("ranges");
	if (ret == 0 && renameat(state_fd, RANGES_NAME ".new", state_fd, RANGES_NAME) < 0)
		ret = -errno;
	return ret;
}

int ranges_check(int state_fd, const struct backend *backend)
{
	ml_autoclose int fd = openat(state_fd, RANGES_NAME, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	char text[TEXT_MAX], old[TEXT_MAX];
	size_t n = describe(backend, text);
	ssize_t had = 0;
	int ret;

	if (fd < 0 && errno != ENOENT)
		return -errno;
	if (fd >= 0)
		had = read(fd, old, sizeof(old));
	if (had < 0)
		return -errno;
	if ((size_t)had == n && !memcmp(old, text, n) && (fd >= 0 || !n))
		return 0;
	/* Without the file, a table is from a pool of the other kind, or there is none. */
	if ((size_t)had > n || memcmp(old, text, (size_t)had) || (fd < 0 && n)) {
		ml_step("table of others");
		if (unlinkat(state_fd, "blocks", 0) == 0)
			ml_info("the pool is made of other memory than before: all of it is zeroed anew");
		else if (errno != ENOENT)
			return -errno;
	}
	ret = remember(state_fd, text, n);
	if (ret < 0)
		ml_err("state directory: the pool's ranges cannot be written down: %s",
		       strerror(-ret));
	return ret;
}
