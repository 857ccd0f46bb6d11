// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The windows of the backend `reserved`: one list of the module's, by id; a region is a
 * window that lend/ has opened. See reserved_window.h.
 */
#include "reserved_window.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "../base/log.h"
#include "../base/step.h"

struct reserved_window *reserved_window_by_id(struct reserved *r, uint32_t id)
{
	uint32_t low = 0, high = r->window_count;

	while (low < high) {
		uint32_t mid = low + (high - low) / 2;

		if (r->windows[mid].id < id)
			low = mid + 1;
		else
			high = mid;
	}
	return low < r->window_count && r->windows[low].id == id ? &r->windows[low] : NULL;
}

static struct reserved_window *window_by_name(struct reserved *r, const char *name)
{
	for (uint32_t i = 0; i < r->window_count; i++) {
		if (!r->windows[i].condemned && !strcmp(r->windows[i].name, name))
			return &r->windows[i];
	}
	return NULL;
}

static int by_id(const void *a, const void *b)
{
	const struct reserved_window *x = a, *y = b;

	return x->id < y->id ? -1 : x->id > y->id;
}

static int window_add(struct reserved *r, const struct memlease_pool_window *w)
{
	struct reserved_window *grown = realloc(r->windows, (r->window_count + 1) * sizeof(*grown));

	if (!grown)
		return -ENOMEM;
	r->windows = grown;
	grown[r->window_count] = (struct reserved_window){ .id = w->id, .slots = w->slots };
	snprintf(grown[r->window_count].name, sizeof(grown->name), "%.*s",
		 MEMLEASE_POOL_NAME_BYTES - 1, w->name);
	r->window_count++;
	/* The module gives ascending numbers, but need not for ever. */
	qsort(r->windows, r->window_count, sizeof(*r->windows), by_id);
	return 0;
}

static void window_drop(struct reserved *r, struct reserved_window *w)
{
	size_t at = (size_t)(w - r->windows);

	memmove(w, w + 1, (r->window_count - at - 1) * sizeof(*w));
	r->window_count--;
}

int reserved_read_windows(struct reserved *r)
{
	struct memlease_pool_window w = { 0 };
	int ret;

	for (;;) {
		ret = reserved_call(r, MEMLEASE_POOL_WINDOW, &w);
		if (ret < 0)
			return ret == -ENOENT ? 0 : ret;
		ret = window_add(r, &w);
		if (ret < 0)
			return ret;
	}
}

/* All its slots are vacant from here on. */
static int window_empty(struct reserved *r, const struct reserved_window *w,
			void (*gone)(void *ctx, uint32_t block), void *ctx)
{
	uint32_t blocks[BACKEND_RUN_MAX];
	int ret = 0;

	for (uint32_t at = 0; ret == 0 && at < w->slots; at += BACKEND_RUN_MAX) {
		uint32_t left = w->slots - at;
		struct memlease_pool_extent extent = {
			at, left < BACKEND_RUN_MAX ? left : BACKEND_RUN_MAX,
		};
		struct memlease_pool_slots_op op = {
			.window = w->id, .extents = 1, .extent_ptr = (uintptr_t)&extent,
			.blocks_ptr = (uintptr_t)blocks,
		};

		ret = reserved_call(r, MEMLEASE_POOL_COMMIT, &op);
		for (uint32_t i = 0; ret == 0 && i < op.taken; i++)
			gone(ctx, blocks[i]);
	}
	return ret;
}

/* Give a window up: at once, or as soon as nobody has it open. Its slots are vacant. */
static int window_destroy(struct reserved *r, struct reserved_window *w)
{
	uint32_t id = w->id;
	int ret;

	ml_step("window");
	ret = reserved_call(r, MEMLEASE_POOL_DESTROY, &id);
	if (ret == -EBUSY) {
		w->condemned = true;
		return 0;
	}
	if (ret == 0 || ret == -ENOENT)
		window_drop(r, w);
	return ret;
}

int reserved_create(struct backend *b, const char *name, uint64_t blocks)
{
	struct reserved *r = reserved_of(b);
	struct memlease_pool_window w = {
		.slots = (uint32_t)blocks, .uid = r->setup.uid, .gid = r->setup.gid,
		.mode = r->setup.mode,
	};
	int ret;

	if (!blocks || blocks > MEMLEASE_POOL_MAX_SLOTS || strlen(name) >= sizeof(w.name))
		return -EINVAL;
	snprintf(w.name, sizeof(w.name), "%s", name);
	ret = reserved_call(r, MEMLEASE_POOL_CREATE, &w);
	return ret < 0 ? ret : window_add(r, &w);
}

int reserved_open(struct backend *b, const char *name, uint64_t blocks,
		  struct backend_region *region)
{
	struct reserved_window *w = window_by_name(reserved_of(b), name);
	struct stat st;

	if (!w)
		return -ENOENT;
	if (w->slots != blocks)
		return -EUCLEAN;
	if (asprintf(&region->path, "%s%s", reserved_of(b)->device->windows, name) < 0) {
		region->path = NULL;
		return -ENOMEM;
	}
	region->backend = b;
	region->blocks = blocks;
	region->fd = -1;
	region->device = stat(region->path, &st) == 0 && S_ISCHR(st.st_mode) ? st.st_rdev : 0;
	region->priv = (void *)(uintptr_t)w->id;
	w->region = region;
	return 0;
}

void reserved_close(struct backend_region *region)
{
	struct reserved_window *w = reserved_window_by_id(reserved_of(region->backend), reserved_id(region));

	if (w)
		w->region = NULL;
	free(region->path);
	region->path = NULL;
}

int reserved_remove(struct backend *b, const char *name)
{
	struct reserved_window *w = window_by_name(reserved_of(b), name);

	return w ? window_destroy(reserved_of(b), w) : -ENOENT;
}

/* Opened for a while only: the module tells us when nobody has it open any more. */
int reserved_open_memory(struct backend_region *region)
{
	int fd = open(region->path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);

	return fd < 0 ? -errno : fd;
}

void reserved_tick(struct backend *b)
{
	struct reserved *r = reserved_of(b);

	for (uint32_t i = r->window_count; i-- > 0;) {
		if (r->windows[i].condemned)
			window_destroy(r, &r->windows[i]);
	}
}

int reserved_each(struct backend *b, int (*one)(void *ctx, const char *name), void *ctx)
{
	struct reserved *r = reserved_of(b);
	int ret = 0;

	for (uint32_t i = 0; ret == 0 && i < r->window_count; i++) {
		if (!r->windows[i].condemned)
			ret = one(ctx, r->windows[i].name);
	}
	return ret;
}

int reserved_left(struct backend *b, const char *name, struct backend_left *left)
{
	struct reserved_window *w = window_by_name(reserved_of(b), name);
	struct memlease_pool_window is = { .id = w ? w->id - 1 : 0 };
	int ret = w ? reserved_call(reserved_of(b), MEMLEASE_POOL_WINDOW, &is) : -ENOENT;

	if (ret < 0 || is.id != w->id)
		return ret < 0 ? ret : -ENOENT;
	*left = (struct backend_left){ .slots = is.slots, .blocks = is.resident, .open = is.opened };
	return 0;
}

int reserved_discard(struct backend *b, const char *name,
		     void (*gone)(void *ctx, uint32_t block), void *ctx)
{
	struct reserved *r = reserved_of(b);
	struct reserved_window *w = window_by_name(r, name);
	int ret = w ? window_empty(r, w, gone, ctx) : -ENOENT;

	return ret < 0 ? ret : window_destroy(r, w);
}
