// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Emptying; see empty.h.
 *
 * Of a range that is asked for as a contiguous allocation the kernel says nothing
 * if pages in it do not move, and it moves them a few dozen at a time. One page in
 * it is ours and stays, so that the range is not to be had in the end: nothing of
 * it is zeroed, which would have the host back it all (drain.h). A page that does
 * not move ends such a go early, so there are several, as long as they bring something.
 */
#include <linux/gfp.h>
#include <linux/memory_hotplug.h>
#include <linux/mm.h>
#include <linux/sched/signal.h>

#include "compat.h"
#include "drain.h"
#include "empty.h"
#include "meminfo.h"

#define ML_EMPTY_GOES	3	/* that bring nothing */
#define ML_HOLD_TRIES	4

unsigned long ml_empty_in_use(unsigned long pfn, unsigned long end)
{
	unsigned long used = 0;

	while (pfn < end) {
		struct page *page = pfn_to_online_page(pfn);

		if (page && PageBuddy(page)) {
			unsigned long order = READ_ONCE(page->private);

			pfn += order <= ML_MAX_PAGE_ORDER ? 1UL << order : 1;
			continue;
		}
		if (page && page_count(page) && !PageHWPoison(page))
			used++;
		pfn++;
	}
	return used;
}

/* Have one page of the range: a free one, or else one that can be moved. Or NULL. */
static struct page *ml_empty_hold(unsigned long start, unsigned long end)
{
	unsigned long pfn, step = (end - start) / ML_HOLD_TRIES;
	u32 i;

	for (i = 0; i < ML_HOLD_TRIES; i++) {
		for (pfn = start + i * step; pfn < start + (i + 1) * step; pfn++) {
			struct page *page = pfn_to_online_page(pfn);

			if (page && PageBuddy(page))
				break;
		}
		if (pfn == start + (i + 1) * step)
			pfn--;
		if (!ml_alloc_contig_range(pfn, pfn + 1, GFP_KERNEL | __GFP_NOWARN))
			return pfn_to_page(pfn);
		if (fatal_signal_pending(current))
			break;
	}
	return NULL;
}

/* Is there room outside the range for what is in use in it? */
static bool ml_empty_room(unsigned long used, unsigned long pages)
{
	unsigned long inside = pages - min(used, pages);
	unsigned long have = ml_room_bytes() >> PAGE_SHIFT;

	return have > inside && have - inside >= used;
}

int ml_empty_range(unsigned long pfn, unsigned long end)
{
	unsigned long used = ml_empty_in_use(pfn, end), left;
	u32 vain = 0;

	while (used && vain < ML_EMPTY_GOES) {
		struct page *page;

		if (signal_pending(current))
			return -EINTR;
		if (!ml_empty_room(used, end - pfn))
			return -ENOMEM;
		page = ml_empty_hold(pfn, end);
		if (!page)
			return signal_pending(current) ? -EINTR : -EBUSY;
		ml_drain_around(page, pfn, end);
		left = ml_empty_in_use(pfn, end);
		vain += left >= used;
		used = left;
	}
	return used ? -EBUSY : 0;
}
