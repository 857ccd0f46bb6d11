/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The record of one VM: all of it that must survive the daemon, in a mapped file
 * state_dir/UUID.vm. It gets its name when complete and loses it when the ledger
 * has its last row. Fields change by single stores; what needs more than one
 * is ordered so that a crash in between is harmless (see direct_settle.h and told_settle.h).
 *
 * Called by lend/ only.
 */
#ifndef ML_LEND_RECORD_H
#define ML_LEND_RECORD_H

#include "../base/file.h"
#include "../meter/meter.h"
#include "types.h"

#define RECORD_SUFFIX ".vm"

/* A run of slots on its way out: recovery finishes it. Set and cleared by direct_out.c. */
struct record_intent {
	uint32_t active;
	uint32_t region;
	uint32_t to;		/* enum slot_state */
	uint32_t reserved;
	uint64_t first, count;
};

struct record {
	uint64_t magic;
	uint32_t version;
	uint32_t id;			/* the VM's, in the block table */
	uint64_t bytes;			/* of the file */
	uint64_t serial;		/* order of creation */
	char uuid[40];
	char boot_id[ML_BOOT_ID_BYTES];
	struct vm_spec spec;
	uint64_t window_blocks;
	int64_t created_ms;
	int64_t ended_ms;		/* -1 while the VM exists */
	uint32_t ending;		/* on its way out: recovery ends it */

	int32_t pid;			/* QEMU's, or 0 */
	uint64_t pid_start;		/* its start time, in the kernel's ticks since boot */
	uint32_t layout_set;
	uint32_t broken;		/* enum memlease_broken */
	uint64_t hva[MEMLEASE_REGION_COUNT];
	uint64_t window_gpa;
	char broken_text[160];

	uint64_t target_blocks;		/* window slots, or MEMLEASE_NO_TARGET */
	uint32_t target_seq, target_deadline_ms;
	uint64_t reported_blocks, longest_wait_ns;
	uint64_t guest_stat[MEMLEASE_MAX_STATS];
	int64_t guest_stat_wall_ms;
	uint32_t guest_stat_valid;
	uint32_t resetting;		/* the window is being emptied: recovery goes on with it; from version 2 on */

	struct record_intent intent;
	struct meter meter;
	uint32_t slots[];		/* boot memory, then the window */
};

/* Where version 1 had nothing but padding, which was 0. */
_Static_assert(offsetof(struct record, resetting) + 4 == offsetof(struct record, intent),
	       "records of version 1 are laid out alike");

/*
 * Make the record of a new VM: nothing resident, boot memory committed, the meter
 * running from now.
 */
int record_create(int state_fd, const struct vm_spec *spec, const char *uuid,
		  const char *boot_id, uint32_t id, uint64_t serial, uint64_t now_ns,
		  int64_t wall_ms, struct ml_map *map);
/*
 * -EUCLEAN: not ours, of another version, damaged, or under another VM's name. -ENODATA: power
 * was lost before it was written. *why goes on behind the name of the file.
 */
int record_open(int state_fd, const char *file, struct ml_map *map, struct ml_why *why);
/* Would record_open() open it? Changes nothing. */
int record_look(int state_fd, const char *file, struct ml_why *why);
/* For people: the name that a record may be of which record_open() would have none; or "". */
void record_guess_name(int state_fd, const char *file, char name[LEND_NAME_MAX + 1]);
int record_delete(int state_fd, const struct record *rec);

static inline struct record *record_of(const struct ml_map *map)
{
	return map->data;
}

#endif /* ML_LEND_RECORD_H */
