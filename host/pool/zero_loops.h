/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Store loops that fill memory with zeros, and the choice between them by measuring.
 * One binary has all of its architecture's; which of them the CPU can run is asked of
 * the CPU. Used by zero_cpu.c, by bench-zero and by tests.
 */
#ifndef ML_POOL_ZERO_LOOPS_H
#define ML_POOL_ZERO_LOOPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ZERO_ALIGN 16384	/* what loops may count on, for address and length */

struct zero_loop {
	const char *name;
	/* Can this CPU run it? Constant as long as the process lives. */
	bool (*usable)(void);
	/*
	 * bytes at data become zero; both multiples of ZERO_ALIGN. On return the stores are
	 * ordered before all that this thread stores later.
	 */
	void (*run)(void *data, size_t bytes);
};

/* All loops of this architecture; the first one, memset(), is usable everywhere. */
extern const struct zero_loop zero_loops[];
extern const unsigned int zero_loop_count;

#define ZERO_LOOPS_MAX 16

struct zero_choice {
	const struct zero_loop *best;
	/* By index in zero_loops; 0: not usable. In bytes per second, the best of the rounds. */
	uint64_t rate[ZERO_LOOPS_MAX];
	uint64_t took_ns;
};

/*
 * Measure each usable loop on a buffer larger than the caches, in rounds that alternate
 * between them, and name the fastest; between equals (to within 2 %) the first of the
 * table. Takes some tens of milliseconds. -ENOMEM: no buffer;
 * out->best is memset() then.
 */
int zero_choose(struct zero_choice *out);

/* The loop of this name if the CPU can run it, else NULL. */
const struct zero_loop *zero_loop_named(const char *name);

#endif /* ML_POOL_ZERO_LOOPS_H */
