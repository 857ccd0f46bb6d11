// SPDX-License-Identifier: GPL-2.0-or-later
/* The record of one VM; see record.h. */
#include "record.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "../base/cleanup.h"
#include "../base/name.h"
#include "../base/step.h"
#include "../base/terms.h"
#include "../pool/table.h"
#include "slots.h"

#define RECORD_MAGIC 0x6d76206573616c6dULL	/* "mlase vm" */
#define RECORD_VERSION 3
#define RECORD_VERSION_FIRST 1	/* the same without `resetting`, whose place was 0 */
#define RECORD_VERSION_WAITING 3	/* before, a meter's `waiting` was padding, of any value */

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

static bool texts_sane(const struct record *r)
{
	const struct vm_spec *s = &r->spec;

	return TERMINATED(r->uuid) && TERMINATED(r->boot_id) && TERMINATED(s->name) &&
	       TERMINATED(s->tenant) && TERMINATED(s->plan) && TERMINATED(r->broken_text) &&
	       ml_name_ok(s->name, LEND_NAME_MAX) && ml_name_ok(s->tenant, LEND_NAME_MAX) &&
	       ml_name_ok(s->plan, LEND_NAME_MAX);
}

static bool sizes_sane(const struct record *r, size_t size)
{
	const struct vm_spec *s = &r->spec;

	return r->bytes == size && s->boot_blocks && s->boot_blocks <= TABLE_SLOT_MAX &&
	       r->window_blocks <= TABLE_SLOT_MAX &&
	       record_bytes(s->boot_blocks, r->window_blocks) == size &&
	       s->limit_blocks >= s->boot_blocks &&
	       s->limit_blocks <= s->boot_blocks + r->window_blocks &&
	       s->guarantee_blocks <= s->limit_blocks;
}

static bool intent_sane(const struct record *r)
{
	const struct record_intent *in = &r->intent;
	uint64_t blocks = in->region == MEMLEASE_REGION_BOOT ? r->spec.boot_blocks
							     : r->window_blocks;

	return !in->active ||
	       (in->region < MEMLEASE_REGION_COUNT && in->first < blocks &&
		in->count <= blocks - in->first &&
		slot_move_legal(SLOT_RESIDENT, (enum slot_state)in->to,
				in->region == MEMLEASE_REGION_BOOT));
}

/* Is this the record that its file's name says it is? */
static int check(const struct record *r, size_t size, const char *file, struct ml_why *why)
{
	char name[64];

	if (r->magic != RECORD_MAGIC)
		return ml_refuse(why, -EUCLEAN, "does not begin as a VM record does");
	if (r->version < RECORD_VERSION_FIRST || r->version > RECORD_VERSION)
		return ml_refuse(why, -EUCLEAN,
				 "is of version %u; this memleased reads versions %d to %d",
				 r->version, RECORD_VERSION_FIRST, RECORD_VERSION);
	if (r->bytes != size)
		return ml_refuse(why, -EUCLEAN, "has %zu bytes, and should have %llu", size,
				 (unsigned long long)r->bytes);
	if (!texts_sane(r) || !sizes_sane(r, size) || !intent_sane(r) ||
	    r->spec.weight < 1 || r->spec.weight > ML_WEIGHT_MAX || r->pid < 0 ||
	    r->ending > 1 || r->resetting > 1)
		return ml_refuse(why, -EUCLEAN, "holds values that cannot be");
	snprintf(name, sizeof(name), "%.36s" RECORD_SUFFIX, r->uuid);
	if (strcmp(name, file) != 0)
		return ml_refuse(why, -EUCLEAN, "is the record of %.36s", r->uuid);
	if (!meter_plausible(&r->meter))
		return ml_refuse(why, -EUCLEAN, "has a meter that cannot be");
	return 0;
}

/* The machine lost power while the file had its name, and nothing of it was on the disk yet. */
static bool never_written(const struct record *r)
{
	const char *bytes = (const char *)r;

	return !bytes[0] && memcmp(bytes, bytes + 1, sizeof(*r) - 1) == 0;
}

/* What came of mapping it: is it a record? */
static int judge(int ret, const char *file, struct ml_map *map, struct ml_why *why)
{
	if (ret < 0)
		return ret == -EUCLEAN ? ml_refuse(why, ret, "is too short, or is no file") :
					 ml_refuse(why, ret, "cannot be opened: %s", strerror(-ret));
	ret = check(record_of(map), map->size, file, why);
	if (ret < 0) {
		if (never_written(record_of(map)))
			ret = ml_refuse(why, -ENODATA, "was never written");
		ml_map_close(map);
	}
	return ret;
}

int record_open(int state_fd, const char *file, struct ml_map *map, struct ml_why *why)
{
	int ret = ml_map_open(state_fd, file, sizeof(struct record), map);

	ret = judge(ret, file, map, why);
	if (ret < 0)
		return ret;
	if (record_of(map)->version < RECORD_VERSION_WAITING) {
		record_of(map)->meter.copy[0].waiting = 0;
		record_of(map)->meter.copy[1].waiting = 0;
	}
	record_of(map)->version = RECORD_VERSION;
	return 0;
}

int record_look(int state_fd, const char *file, struct ml_why *why)
{
	struct ml_map map = { 0 };
	int ret = ml_map_look(state_fd, file, sizeof(struct record), &map);

	ret = judge(ret, file, &map, why);
	ml_map_close(&map);
	return ret;
}

void record_guess_name(int state_fd, const char *file, char name[LEND_NAME_MAX + 1])
{
	ml_autoclose int fd = openat(state_fd, file,
				     O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	struct record r = { 0 };
	char own[64];

	name[0] = '\0';
	if (fd < 0 || read(fd, &r, sizeof(r)) < (ssize_t)offsetof(struct record, window_blocks))
		return;
	snprintf(own, sizeof(own), "%.36s" RECORD_SUFFIX, r.uuid);
	if (r.magic == RECORD_MAGIC && strcmp(own, file) == 0 && TERMINATED(r.spec.name) &&
	    ml_name_ok(r.spec.name, LEND_NAME_MAX))
		memcpy(name, r.spec.name, sizeof(r.spec.name));
}

int record_delete(int state_fd, const struct record *rec)
{
	char name[64];

	snprintf(name, sizeof(name), "%s" RECORD_SUFFIX, rec->uuid);
	ml_step("record deletion");
	return unlinkat(state_fd, name, 0) < 0 ? -errno : 0;
}
