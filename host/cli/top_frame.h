/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One frame of `memlease top`, as lines of text: a function of two snapshots of
 * the daemon and the size of the terminal.
 */
#ifndef ML_CLI_TOP_FRAME_H
#define ML_CLI_TOP_FRAME_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

enum top_sort {
	TOP_BY_RESIDENT, TOP_BY_COMMITTED, TOP_BY_LIMIT, TOP_BY_TOUCHES, TOP_BY_WAITS, TOP_BY_NAME,
	TOP_SORTS
};

extern const char *const top_sort_names[TOP_SORTS + 1];	/* ended by NULL */

/* Answers of query-pool and query-vms, and when they came. */
struct top_snapshot {
	json_t *pool, *vms;
	uint64_t boot_ns;
	int64_t wall_ms;
};

struct top_look {
	enum top_sort sort;
	bool utf8;		/* bars of block elements */
	bool keys;		/* a line that says what keys do */
	size_t width;		/* columns; lines are cut there */
	size_t height;		/* lines at most; 0: as many as there are VMs */
	size_t skip;		/* VMs scrolled away */
};

/*
 * Write the frame, each line ended by a newline. before gives the rates, and may
 * be NULL. Returns the number of VMs, or -ENOMEM.
 */
int top_frame(FILE *out, const struct top_snapshot *now, const struct top_snapshot *before,
	      const struct top_look *look);

#endif /* ML_CLI_TOP_FRAME_H */
