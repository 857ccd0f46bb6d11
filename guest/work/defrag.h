/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Defragmenting: empties blocks of 2 MiB whose pages can all be moved into the
 * holes of others, so that they can be reported. A thread does it in the
 * background within a budget, and whoever needs memory back can ask for it. Woken as
 * ML_DEFRAG it looks at its settings again.
 */
#ifndef MEMLEASE_DEFRAG_H
#define MEMLEASE_DEFRAG_H

#include <linux/atomic.h>

struct ml_defrag;
struct ml_turn;

/* Since the driver was loaded. */
struct ml_defrag_counts {
	atomic64_t moved_pages;
	atomic64_t cleared_blocks;
	atomic64_t failures;		/* of the kernel to empty what was asked */
	atomic64_t rounds;
	atomic64_t work_us;		/* spent on all that */
};

/* After reporting, without which it is off. 0 or -errno. Exit with all held. */
int ml_defrag_init(struct ml_turn *t, struct ml_defrag **out);
void ml_defrag_exit(struct ml_defrag *d);

/* Not in the background? */
bool ml_defrag_off(const struct ml_defrag *d);
void ml_defrag_set_off(struct ml_defrag *d, bool off);

/* How blocks are chosen: index of ml_choosers (think/choose.h), which must be one. */
u32 ml_defrag_policy(const struct ml_defrag *d);
void ml_defrag_set_policy(struct ml_defrag *d, u32 policy);

/*
 * Empty up to `blocks` blocks now, for at most max_ms, without pauses; dear ones
 * too, if `hard`. They are reported right after. Returns how many became free.
 * Sleeps; ends early on a signal, or when memory is to be removed. With none of the
 * locks of turn/turn.h.
 */
u32 ml_defrag_now(struct ml_defrag *d, u32 blocks, u32 max_ms, bool hard);

/* Bytes that are free in pieces of less than 2 MiB. */
u64 ml_defrag_strewn(void);

const struct ml_defrag_counts *ml_defrag_counts(const struct ml_defrag *d);

#endif /* MEMLEASE_DEFRAG_H */
