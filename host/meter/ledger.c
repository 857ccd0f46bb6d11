// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The ledger's queue and its writer thread; see ledger.h. The mutex is held for
 * copying only, never while SQLite works.
 */
#include "ledger.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../base/log.h"
#include "ledger_aside.h"
#include "ledger_db.h"

#define BUCKETS 4096

struct batch {
	struct ledger_entry *entries;
	uint32_t *next;			/* chain of entries of one bucket, 1-based */
	size_t count, room;
	uint32_t bucket[BUCKETS];	/* 1-based index of the first, 0: none */
};

struct ledger {
	char *path;
	struct ledger_db *db;		/* the writer's own; NULL: to be opened */
	bool threaded;
	pthread_t thread;

	pthread_mutex_t lock;		/* over all below */
	pthread_cond_t work, idle;
	struct batch *queued, *writing;
	bool kicked, busy, stop, failed;
	char error[LEDGER_ERROR_BYTES];
	char aside[ML_WHY_BYTES];
	bool was_aside;			/* nobody has fetched that yet */
	struct ledger_ack *acks;
	size_t ack_count, ack_room;
};

static uint32_t bucket_of(const struct ledger_entry *e)
{
	uint64_t h = ((uint64_t)e->vm_key << 32) ^ (uint64_t)e->row.start_ms;

	return (uint32_t)((h * 0x9e3779b97f4a7c15ULL) >> 52) % BUCKETS;
}

static int batch_reserve(struct batch *b)
{
	size_t room = b->room ? b->room * 2 : 64;
	struct ledger_entry *entries;
	uint32_t *next;

	if (b->count < b->room)
		return 0;
	entries = realloc(b->entries, room * sizeof(*entries));
	if (!entries)
		return -EAGAIN;
	b->entries = entries;
	next = realloc(b->next, room * sizeof(*next));
	if (!next)
		return -EAGAIN;
	b->next = next;
	b->room = room;
	return 0;
}

static int batch_put(struct batch *b, const struct ledger_entry *e)
{
	uint32_t k = bucket_of(e), i;
	int ret;

	for (i = b->bucket[k]; i; i = b->next[i - 1]) {
		struct ledger_entry *old = &b->entries[i - 1];

		if (old->vm_key == e->vm_key && old->row.start_ms == e->row.start_ms &&
		    strcmp(old->vm.uuid, e->vm.uuid) == 0) {
			*old = *e;
			return 0;
		}
	}
	if (b->count >= LEDGER_QUEUE_MAX)
		return -EAGAIN;
	ret = batch_reserve(b);
	if (ret < 0)
		return ret;
	b->entries[b->count] = *e;
	b->next[b->count] = b->bucket[k];
	b->bucket[k] = (uint32_t)++b->count;
	return 0;
}

static void batch_clear(struct batch *b)
{
	b->count = 0;
	memset(b->bucket, 0, sizeof(b->bucket));
}

static void batch_free(struct batch *b)
{
	if (!b)
		return;
	free(b->entries);
	free(b->next);
	free(b);
}

/* Room for the acknowledgements of a batch, before it is written: without it nothing is. */
static int acks_reserve(struct ledger *l, size_t more)
{
	struct ledger_ack *acks;
	size_t room = l->ack_count + more;

	if (room <= l->ack_room)
		return 0;
	acks = realloc(l->acks, room * sizeof(*acks));
	if (!acks)
		return -ENOMEM;
	l->acks = acks;
	l->ack_room = room;
	return 0;
}

static void keep_aside(struct ledger *l, const char *text)
{
	pthread_mutex_lock(&l->lock);
	snprintf(l->aside, sizeof(l->aside), "%s", text);
	l->was_aside = true;
	pthread_mutex_unlock(&l->lock);
}

/* Open l->db, also where that takes setting aside what is there. */
static int open_db(struct ledger *l, struct ml_why *why)
{
	int ret = ledger_db_open(&l->db, l->path, why);

	if (ret != -EUCLEAN)
		return ret;
	ret = ledger_aside(&l->db, l->path, why->text, why);
	if (ret == 0)
		keep_aside(l, why->text);
	return ret;
}

/* Write l->writing. Called without the lock, by the only thread that uses db and writing. */
static int write_batch(struct ledger *l, struct ml_why *why)
{
	int ret = 0;

	if (!l->db)
		ret = open_db(l, why);
	if (ret == 0)
		ret = ledger_db_write(l->db, l->writing->entries, l->writing->count, why);
	/* Damage that was not seen when it was opened. */
	if (ret == -EUCLEAN && l->db) {
		ledger_db_close(l->db);
		ret = ledger_aside(&l->db, l->path, why->text, why);
		if (ret == 0) {
			keep_aside(l, why->text);
			ret = ledger_db_write(l->db, l->writing->entries, l->writing->count, why);
		}
	}
	/* After an error start afresh: the file may have been replaced, or its disk. */
	if (ret < 0 && ret != -EBUSY) {
		ledger_db_close(l->db);
		l->db = NULL;
	}
	return ret;
}

static void keep_error(struct ledger *l, const char *text)
{
	snprintf(l->error, sizeof(l->error), "%.*s", (int)sizeof(l->error) - 1, text);
}

/* One round: take what is queued, write it, acknowledge or drop. Lock held on entry and exit. */
static void round_locked(struct ledger *l)
{
	struct batch *b = l->queued;
	struct ml_why why = { "out of memory" };
	int ret;

	l->kicked = false;
	if (!b->count) {
		pthread_cond_broadcast(&l->idle);
		return;
	}
	l->queued = l->writing;
	l->writing = b;
	l->busy = true;
	ret = acks_reserve(l, b->count);
	if (ret == 0) {
		pthread_mutex_unlock(&l->lock);
		ret = write_batch(l, &why);
		pthread_mutex_lock(&l->lock);
	}
	for (size_t i = 0; ret == 0 && i < b->count; i++)
		l->acks[l->ack_count++] = (struct ledger_ack){ b->entries[i].vm_key,
							       b->entries[i].tag };
	l->failed = ret < 0;
	keep_error(l, ret < 0 ? why.text : "");
	batch_clear(b);
	l->busy = false;
	pthread_cond_broadcast(&l->idle);
}

static void *writer(void *arg)
{
	struct ledger *l = arg;

	pthread_mutex_lock(&l->lock);
	for (;;) {
		while (!l->kicked && !l->stop)
			pthread_cond_wait(&l->work, &l->lock);
		round_locked(l);
		if (l->stop)
			break;
	}
	pthread_mutex_unlock(&l->lock);
	return NULL;
}

static void ledger_free(struct ledger *l)
{
	ledger_db_close(l->db);
	batch_free(l->queued);
	batch_free(l->writing);
	pthread_mutex_destroy(&l->lock);
	pthread_cond_destroy(&l->work);
	pthread_cond_destroy(&l->idle);
	free(l->acks);
	free(l->path);
	free(l);
}

/* The writer takes no signals: they are the event loop's. */
static int start_writer(struct ledger *l)
{
	sigset_t all, old;
	int ret;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	ret = pthread_create(&l->thread, NULL, writer, l);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return -ret;
}

int ledger_open(struct ledger **out, const char *path, bool threaded, struct ml_why *why)
{
	struct ledger *l = calloc(1, sizeof(*l));
	int ret;

	*out = NULL;
	ml_refuse(why, 0, "out of memory");
	if (!l)
		return -ENOMEM;
	pthread_mutex_init(&l->lock, NULL);
	pthread_cond_init(&l->work, NULL);
	pthread_cond_init(&l->idle, NULL);
	l->path = strdup(path);
	l->queued = calloc(1, sizeof(*l->queued));
	l->writing = calloc(1, sizeof(*l->writing));
	ret = l->path && l->queued && l->writing ? 0 : -ENOMEM;
	if (ret == 0)
		ret = open_db(l, why);
	if (ret < 0 && ret != -ENOMEM) {
		ml_warn("ledger %s: %s; usage is kept in the VM records until it can be written",
			path, why->text);
		l->failed = true;
		keep_error(l, why->text);
		ret = 0;
	}
	if (ret == 0 && threaded)
		ret = start_writer(l);
	if (ret < 0) {
		ledger_free(l);
		return ret;
	}
	l->threaded = threaded;
	*out = l;
	return 0;
}

int ledger_look(const char *path, struct ml_why *why)
{
	return ledger_db_look(path, why);
}

void ledger_close(struct ledger *l)
{
	if (!l)
		return;
	pthread_mutex_lock(&l->lock);
	l->stop = true;
	if (!l->threaded)
		round_locked(l);
	pthread_cond_signal(&l->work);
	pthread_mutex_unlock(&l->lock);
	if (l->threaded)
		pthread_join(l->thread, NULL);
	ledger_free(l);
}

int ledger_post(struct ledger *l, const struct ledger_entry *entry)
{
	int ret;

	pthread_mutex_lock(&l->lock);
	ret = batch_put(l->queued, entry);
	pthread_mutex_unlock(&l->lock);
	return ret;
}

void ledger_kick(struct ledger *l)
{
	pthread_mutex_lock(&l->lock);
	if (l->threaded) {
		l->kicked = true;
		pthread_cond_signal(&l->work);
	} else {
		round_locked(l);
	}
	pthread_mutex_unlock(&l->lock);
}

size_t ledger_acks(struct ledger *l, struct ledger_ack *acks, size_t max)
{
	size_t n;

	pthread_mutex_lock(&l->lock);
	n = l->ack_count < max ? l->ack_count : max;
	if (n) {
		memcpy(acks, l->acks, n * sizeof(*acks));
		memmove(l->acks, l->acks + n, (l->ack_count - n) * sizeof(*acks));
		l->ack_count -= n;
	}
	pthread_mutex_unlock(&l->lock);
	return n;
}

bool ledger_behind(struct ledger *l, char text[LEDGER_ERROR_BYTES])
{
	bool behind;

	pthread_mutex_lock(&l->lock);
	behind = l->failed;
	memcpy(text, l->error, LEDGER_ERROR_BYTES);
	pthread_mutex_unlock(&l->lock);
	return behind;
}

bool ledger_was_aside(struct ledger *l, char text[ML_WHY_BYTES])
{
	bool was;

	pthread_mutex_lock(&l->lock);
	was = l->was_aside;
	l->was_aside = false;
	memcpy(text, l->aside, ML_WHY_BYTES);
	pthread_mutex_unlock(&l->lock);
	return was;
}

void ledger_drain(struct ledger *l)
{
	pthread_mutex_lock(&l->lock);
	while (l->threaded && (l->busy || l->kicked))
		pthread_cond_wait(&l->idle, &l->lock);
	pthread_mutex_unlock(&l->lock);
}
