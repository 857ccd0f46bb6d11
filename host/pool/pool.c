// SPDX-License-Identifier: GPL-2.0-or-later
/* The pool; see pool.h. The stack is last in, first out: a warm block goes out first. */
#include "pool.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../base/log.h"

#define TABLE_NAME "blocks"

static void must_move(struct pool *p, uint32_t block, enum block_state to)
{
	if (table_move(&p->table, block, table_raw(&p->table, block), to, 0, 0, 0) < 0) {
		ml_err("block %u changed under its only user", block);
		abort();
	}
}

int pool_open(struct pool *p, int dirfd, uint32_t blocks, bool zeroed_on_map,
	      const char *boot_id, bool *old_boot, uint32_t *need)
{
	int ret;

	memset(p, 0, sizeof(*p));
	p->zeroed_on_map = zeroed_on_map;
	ret = table_open(&p->table, dirfd, TABLE_NAME, blocks, boot_id, old_boot, need);
	if (ret < 0)
		return ret;
	p->stack = malloc((size_t)blocks * sizeof(*p->stack));
	if (!p->stack) {
		table_close(&p->table);
		return -ENOMEM;
	}
	/* From the last down, so that the first block is the first to go. */
	for (uint32_t b = blocks; b-- > 0;) {
		enum block_state s = table_word(&p->table, b).state;

		if (zeroed_on_map && s == BLOCK_ZEROING) {
			must_move(p, b, BLOCK_DIRTY);
			s = BLOCK_DIRTY;
		}
		if (zeroed_on_map && s == BLOCK_DIRTY) {
			must_move(p, b, BLOCK_CLEAN);
			s = BLOCK_CLEAN;
		}
		if (s == BLOCK_CLEAN)
			p->stack[p->free++] = b;
	}
	return 0;
}

void pool_close(struct pool *p)
{
	free(p->stack);
	p->stack = NULL;
	p->free = 0;
	table_close(&p->table);
}

uint32_t pool_get(struct pool *p, uint16_t vm, uint8_t region, uint32_t slot)
{
	uint32_t block;

	if (!p->free)
		return POOL_NO_BLOCK;
	block = p->stack[p->free - 1];
	if (table_move(&p->table, block, table_raw(&p->table, block), BLOCK_LENT, vm, region,
		       slot) < 0) {
		ml_err("block %u changed under its only user", block);
		abort();
	}
	p->free--;
	return block;
}

void pool_put(struct pool *p, uint32_t block)
{
	must_move(p, block, BLOCK_DIRTY);
	if (!p->zeroed_on_map)
		return;		/* a zeroing worker brings it back */
	must_move(p, block, BLOCK_CLEAN);
	p->stack[p->free++] = block;
}

void pool_validate(const struct pool *p)
{
	table_validate(&p->table);
	if (p->free != table_count(&p->table, BLOCK_CLEAN)) {
		ml_err("pool: %u blocks on the free stack, %u are clean", p->free,
		       table_count(&p->table, BLOCK_CLEAN));
		abort();
	}
	for (uint32_t i = 0; i < p->free; i++) {
		if (table_word(&p->table, p->stack[i]).state != BLOCK_CLEAN) {
			ml_err("pool: block %u is on the free stack and not clean", p->stack[i]);
			abort();
		}
	}
}
