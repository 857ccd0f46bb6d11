/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where zeroing takes dirty blocks from and where the clean ones go: functions of the
 * pool's owner. zero.h says what they must be like.
 */
#ifndef ML_POOL_ZERO_SOURCE_H
#define ML_POOL_ZERO_SOURCE_H

#include <stdint.h>

#define ZERO_NO_BLOCK UINT32_MAX

struct zero_counts {
	uint32_t clean;		/* ready to be handed out */
	uint32_t dirty;
};

/* Called by any worker, several at a time, without any lock of zero.c held. */
struct zero_source {
	uint32_t (*take)(void *ctx);			/* DIRTY to ZEROING, or ZERO_NO_BLOCK */
	void (*clean)(void *ctx, uint32_t block);	/* it holds zeros: ZEROING to CLEAN */
	void (*undo)(void *ctx, uint32_t block);	/* it may hold anything: ZEROING to DIRTY */
	/* It cannot be written (error: -EHWPOISON, -EFAULT): the owner sees why; it is not taken again. */
	void (*bad)(void *ctx, uint32_t block, int error);
	void *(*address)(void *ctx, uint32_t block);	/* mapped for writing until the block is back */
	void (*counts)(void *ctx, struct zero_counts *out);	/* also by zero_kick()'s callers */
	void *ctx;
};

#endif /* ML_POOL_ZERO_SOURCE_H */
