// SPDX-License-Identifier: GPL-2.0-or-later
/* The record of one VM; see record.h. */
#include "record.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "../base/name.h"
#include "../base/step.h"
#include "../pool/table.h"
#include "slots.h"

#define RECORD_MAGIC 0x6d76206573616c6dULL	/* "mlase vm" */
#define RECORD_VERSION 2
#define RECORD_VERSION_FIRST 1	/* the same without `resetting`, whose place was 0 */

static size_t record_bytes(uint64_t boot_blocks, uint64_t window_blocks)
{
	return sizeof(struct record) + (boot_blocks + window_blocks) * sizeof(uint32_t);
}

static void fill(struct record *r, const struct vm_spec *spec, const char *uuid, uint64_t now_ns,
		 int64_t wall_ms)
{
	struct meter_counts counts = { .committed = spec->boot_blocks,
				       .guarantee = spec->guarantee_blocks };

	r->magic = RECORD_MAGIC;
	r->version = RECORD_VERSION;
	snprintf(r->uuid, sizeof(r->uuid), "%s", uuid);
	r->spec = *spec;
	r->window_blocks = spec->limit_blocks - spec->boot_blocks;
	r->bytes = record_bytes(spec->boot_blocks, r->window_blocks);
	r->created_ms = wall_ms;
	r->ended_ms = -1;
	r->target_blocks = MEMLEASE_NO_TARGET;
	meter_init(&r->meter, now_ns, wall_ms);
	meter_change(&r->meter, now_ns, &counts, NULL);
	for (uint64_t i = 0; i < spec->boot_blocks; i++)
		r->slots[i] = (uint32_t)SLOT_COMMITTED << 30;
}

int record_create(int state_fd, const struct vm_spec *spec, const char *uuid,
		  const char *boot_id, uint32_t id, uint64_t serial, uint64_t now_ns,
		  int64_t wall_ms, struct ml_map *map)
{
	size_t bytes = record_bytes(spec->boot_blocks, spec->limit_blocks - spec->boot_blocks);
	char temp[64], name[64];
	struct record *r;
	int ret;

	snprintf(temp, sizeof(temp), "%s.new", uuid);
	snprintf(name, sizeof(name), "%s" RECORD_SUFFIX, uuid);
	ret = ml_map_create(state_fd, temp, bytes, map);
	if (ret < 0)
		return ret;
	r = record_of(map);
	fill(r, spec, uuid, now_ns, wall_ms);
	snprintf(r->boot_id, sizeof(r->boot_id), "%s", boot_id);
	r->id = id;
	r->serial = serial;
	ml_step("record");
	if (renameat(state_fd, temp, state_fd, name) < 0) {
		ret = -errno;
		unlinkat(state_fd, temp, 0);
		ml_map_close(map);
	}
	return ret;
}

/* Text of a fixed field: terminated within it. */
#define TERMINATED(field) (memchr((field), '\0', sizeof(field)) != NULL)

static bool sane(const struct record *r, size_t size)
{
	const struct vm_spec *s = &r->spec;

	if (r->magic != RECORD_MAGIC || r->version < RECORD_VERSION_FIRST ||
	    r->version > RECORD_VERSION || r->bytes != size)
		return false;
	if (!TERMINATED(r->uuid) || !TERMINATED(r->boot_id) || !TERMINATED(s->name) ||
	    !TERMINATED(s->tenant) || !TERMINATED(s->plan) || !TERMINATED(r->broken_text))
		return false;
	if (s->boot_blocks > TABLE_SLOT_MAX || r->window_blocks > TABLE_SLOT_MAX ||
	    record_bytes(s->boot_blocks, r->window_blocks) != size)
		return false;
	if (r->intent.active &&
	    (r->intent.region >= MEMLEASE_REGION_COUNT ||
	     r->intent.first > TABLE_SLOT_MAX || r->intent.count > TABLE_SLOT_MAX))
		return false;
	return ml_name_ok(s->name, LEND_NAME_MAX) && meter_plausible(&r->meter);
}

/* The machine lost power while the file had its name, and nothing of it was on the disk yet. */
static bool never_written(const struct record *r)
{
	const char *bytes = (const char *)r;

	return !bytes[0] && memcmp(bytes, bytes + 1, sizeof(*r) - 1) == 0;
}

int record_open(int state_fd, const char *file, struct ml_map *map)
{
	int ret = ml_map_open(state_fd, file, sizeof(struct record), map);

	if (ret < 0)
		return ret;
	if (!sane(record_of(map), map->size)) {
		ret = never_written(record_of(map)) ? -ENODATA : -EUCLEAN;
		ml_map_close(map);
		return ret;
	}
	record_of(map)->version = RECORD_VERSION;
	return 0;
}

int record_delete(int state_fd, const struct record *rec)
{
	char name[64];

	snprintf(name, sizeof(name), "%s" RECORD_SUFFIX, rec->uuid);
	ml_step("record deletion");
	return unlinkat(state_fd, name, 0) < 0 ? -errno : 0;
}
