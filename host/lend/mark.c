// SPDX-License-Identifier: GPL-2.0-or-later
/* Is the block table of this memory? See mark.h. */
#include "mark.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "../base/cleanup.h"
#include "../base/file.h"
#include "../base/log.h"
#include "../base/step.h"
#include "../pool/pool.h"

#define RANGES_NAME "ranges"
#define TEXT_MAX (BACKEND_RANGES_MAX * 40)

/* Of the file: the mark that was there before its writer came, and his own; then the ranges. */
struct ranges {
	uint64_t before, mark;
	char text[TEXT_MAX];
};

static void describe(const struct backend *b, char text[TEXT_MAX])
{
	size_t n = 0;

	text[0] = '\0';
	for (unsigned int i = 0; i < b->range_count; i++)
		n += (size_t)snprintf(text + n, TEXT_MAX - n, "%" PRIx64 " %" PRIx64 "\n",
				      b->ranges[i].base, b->ranges[i].bytes);
}

/* -ENOENT: there is no file, or not one of ours. */
static int recall(int state_fd, struct ranges *r)
{
	ml_autoclose int fd = openat(state_fd, RANGES_NAME, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	char file[TEXT_MAX + 64];
	int head = 0;
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = read(fd, file, sizeof(file) - 1);
	if (n < 0)
		return -errno;
	file[n] = '\0';
	if (sscanf(file, "marks %" SCNx64 " %" SCNx64 "\n%n", &r->before, &r->mark, &head) != 2 ||
	    !head || strlen(file + head) >= TEXT_MAX)
		return -ENOENT;
	snprintf(r->text, sizeof(r->text), "%s", file + head);
	return 0;
}

static int remember(int state_fd, const struct ranges *r)
{
	ml_autoclose int fd = openat(state_fd, RANGES_NAME ".new",
				     O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	char file[TEXT_MAX + 64];
	int n, ret;

	n = snprintf(file, sizeof(file), "marks %" PRIx64 " %" PRIx64 "\n%s", r->before, r->mark,
		     r->text);
	ret = fd < 0 ? -errno : ml_write_all(fd, file, (size_t)n);
	ml_step("ranges");
	if (ret == 0 && renameat(state_fd, RANGES_NAME ".new", state_fd, RANGES_NAME) < 0)
		ret = -errno;
	if (ret < 0)
		ml_err("state directory: the pool's ranges cannot be written down: %s",
		       strerror(-ret));
	return ret;
}

static int drop_table(int state_fd, const char *why)
{
	ml_step("table of others");
	if (unlinkat(state_fd, POOL_TABLE_FILE, 0) == 0)
		ml_info("%s: all of the pool is zeroed anew", why);
	else if (errno != ENOENT)
		return -errno;
	return 0;
}

/* What the table was for and the source is now; old is NULL: no table, or one of the other kind of pool. */
static const char *void_because(const struct ranges *old, const struct ranges *now)
{
	if (!old)
		return now->text[0] ? "the pool is made of other memory than before" : NULL;
	if (strncmp(old->text, now->text, strlen(old->text)) != 0)
		return "the pool is made of other memory than before";
	/* If a daemon died before its own was set, the one before still stands. */
	if (now->text[0] && (!now->before || (now->before != old->mark && now->before != old->before)))
		return "somebody else had the pool's memory, or the module was loaded anew";
	return NULL;
}

int mark_check(int state_fd, const struct backend *backend)
{
	struct ranges old = { 0 }, now = { .before = backend->mark ? *backend->mark : 0 };
	const char *why;
	int ret;

	describe(backend, now.text);
	ret = recall(state_fd, &old);
	if (ret < 0 && ret != -ENOENT)
		return ret;
	why = void_because(ret == 0 ? &old : NULL, &now);
	if (!why && !backend->mark)
		return 0;
	ret = why ? drop_table(state_fd, why) : 0;
	while (ret == 0 && !now.mark) {
		if (getrandom(&now.mark, sizeof(now.mark), 0) < 0 && errno != EINTR)
			ret = -errno;
	}
	if (ret == 0)
		ret = remember(state_fd, &now);
	if (ret == 0 && backend->mark) {
		ml_step("mark");
		__atomic_store_n(backend->mark, now.mark, __ATOMIC_RELEASE);
	}
	return ret;
}
