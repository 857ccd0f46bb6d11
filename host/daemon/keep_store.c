// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Descriptors by name. Called by keep.c only, which knows who sent a message.
 */
#include "keep_store.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "../base/leave.h"
#include "../base/log.h"

static bool name_ok(const char *name)
{
	size_t len = strlen(name), i;

	if (!len || len > KEEP_NAME_MAX)
		return false;
	for (i = 0; i < len; i++) {
		if (name[i] == ':' || (unsigned char)name[i] < 0x20 || name[i] == 0x7f)
			return false;
	}
	return true;
}

/* To be closed, and by somebody else. */
static void let_go(struct keep_store *store, int fd)
{
	if (store->gone_count < KEEP_FDS_MAX)
		store->gone[store->gone_count++] = fd;
	else
		ml_warn("keeper: descriptor %d stays open: closing earlier ones hangs", fd);
}

static void sweep(struct keep_store *store)
{
	if (!store->gone_count || store->leavers >= KEEP_LEAVERS_MAX)
		return;
	if (ml_leave_to_child(store->gone, store->gone_count) < 0)
		return;
	store->gone_count = 0;
	store->leavers++;
}

void keep_store_child_ended(struct keep_store *store)
{
	if (store->leavers)
		store->leavers--;
	sweep(store);
}

static void drop(struct keep_store *store, const char *name)
{
	size_t i, kept = 0;

	for (i = 0; i < store->count; i++) {
		if (strcmp(store->fds[i].name, name)) {
			store->fds[kept++] = store->fds[i];
			continue;
		}
		let_go(store, store->fds[i].fd);
		free(store->fds[i].name);
	}
	store->count = kept;
}

/* Takes fd. */
static void add_descriptor(struct keep_store *store, const char *name, int fd)
{
	char *copy = store->count < KEEP_FDS_MAX ? strdup(name) : NULL;

	if (!copy) {
		ml_warn("keeper: %s is not kept: %s", name,
			store->count < KEEP_FDS_MAX ? "out of memory" : "too many descriptors");
		let_go(store, fd);
		return;
	}
	store->fds[store->count].name = copy;
	store->fds[store->count++].fd = fd;
}

struct notice {
	bool put, drop;
	unsigned int said;
	char name[KEEP_NAME_MAX + 1];
};

static void take_line(struct notice *m, const char *line, size_t len)
{
	static const char name[] = "FDNAME=";

	if (len == 9 && !memcmp(line, "FDSTORE=1", 9))
		m->put = true;
	else if (len == 15 && !memcmp(line, "FDSTOREREMOVE=1", 15))
		m->drop = true;
	else if (len == 7 && !memcmp(line, "READY=1", 7))
		m->said |= KEEP_READY;
	else if (len == 10 && !memcmp(line, "WATCHDOG=1", 10))
		m->said |= KEEP_WATCHDOG;
	else if (len > strlen(name) && len - strlen(name) <= KEEP_NAME_MAX &&
		 !memcmp(line, name, strlen(name)))
		memcpy(m->name, line + strlen(name), len - strlen(name));
}

unsigned int keep_store_message(struct keep_store *store, const char *text, size_t len,
				const int *fds, size_t fd_count)
{
	struct notice m = { 0 };
	size_t at = 0, end, i;
	bool named;

	while (at < len) {
		const char *newline = memchr(text + at, '\n', len - at);

		end = newline ? (size_t)(newline - text) : len;
		take_line(&m, text + at, end - at);
		at = end + 1;
	}
	named = name_ok(m.name);
	if (m.drop && named)
		drop(store, m.name);
	for (i = 0; i < fd_count; i++) {
		if (m.put && named && !m.drop)
			add_descriptor(store, m.name, fds[i]);
		else
			let_go(store, fds[i]);
	}
	sweep(store);
	return m.said;
}

char *keep_store_names(const struct keep_store *store, size_t *count)
{
	char *names = malloc(KEEP_ENV_MAX);
	size_t used = 0, i;

	if (!names)
		return NULL;
	names[0] = '\0';
	for (i = 0; i < store->count; i++) {
		size_t len = strlen(store->fds[i].name);

		if (used + len + 2 > KEEP_ENV_MAX) {
			ml_warn("keeper: only %zu of %zu descriptors can be handed on", i, store->count);
			break;
		}
		if (i)
			names[used++] = ':';
		memcpy(names + used, store->fds[i].name, len + 1);
		used += len;
	}
	*count = i;
	return names;
}

void keep_store_clear(struct keep_store *store)
{
	while (store->count) {
		store->count--;
		let_go(store, store->fds[store->count].fd);
		free(store->fds[store->count].name);
	}
	sweep(store);
}
