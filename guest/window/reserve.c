// SPDX-License-Identifier: GPL-2.0-or-later
/* The reserve for page arrays; see reserve.h. */
#include <linux/gfp.h>
#include <linux/jiffies.h>
#include <linux/mm.h>

#include "../../proto/memlease_abi.h"
#include "../linux/meminfo.h"
#include "reserve.h"

#define ML_RESERVE_ORDER	(MEMLEASE_BLOCK_SHIFT - PAGE_SHIFT)
#define ML_RESERVE_PAUSE_MS	2000
#define ML_SPARE_BYTES		(256ULL << 10)	/* what a memory block takes beside its page array */

/* Give one page to the kernel, if there is one left. */
static bool ml_reserve_give(struct ml_reserve *r)
{
	u32 i;

	for (i = 0; i < ML_RESERVE_PAGES; i++) {
		if (!r->page[i])
			continue;
		__free_pages(r->page[i], ML_RESERVE_ORDER);
		r->page[i] = NULL;
		return true;
	}
	return false;
}

int ml_reserve_use(struct ml_reserve *r, u64 mb_bytes)
{
	u64 need = mb_bytes / PAGE_SIZE * sizeof(struct page) + ML_SPARE_BYTES;

	/* The kernel warns if it has to make do with small pages. */
	while (ml_kernel_free_bytes() < need || !ml_kernel_has_page(ML_RESERVE_ORDER))
		if (!ml_reserve_give(r))
			break;
	return ml_kernel_free_bytes() < need ? -ENOMEM : 0;
}

void ml_reserve_keep(struct ml_reserve *r)
{
	u32 i;

	if (time_before(jiffies, r->next))
		return;
	for (i = 0; i < ML_RESERVE_PAGES; i++) {
		if (!r->page[i])
			r->page[i] = alloc_pages(GFP_NOWAIT | __GFP_NOWARN | __GFP_NOMEMALLOC,
						 ML_RESERVE_ORDER);
	}
	r->next = jiffies + msecs_to_jiffies(ML_RESERVE_PAUSE_MS);
}

void ml_reserve_init(struct ml_reserve *r)
{
	r->next = jiffies;
}

void ml_reserve_exit(struct ml_reserve *r)
{
	while (ml_reserve_give(r))
		;
}
