/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What growing is for beside available memory, as pure functions of numbers: a
 * stock of large free pages, the working set in the page cache, memory that the
 * kernel can use. Called by growing and by the split, and by
 * tests/unit/test_guest_need.c in user space.
 */
#ifndef MEMLEASE_NEED_H
#define MEMLEASE_NEED_H

#include "pure.h"

/* What memory blocks were borrowed for. */
enum ml_reason_grow {
	ML_FOR_AVAILABLE,	/* available memory was under its mark */
	ML_FOR_STOCK,		/* few free pages of 2 MiB were left */
	ML_FOR_CACHE,		/* what was read again and again did not fit */
	ML_FOR_KERNEL,		/* kernel allocations could not use what was free */
	ML_FOR_OOM,		/* a process would have been killed */
	ML_FOR_COUNT,
};

/* In a word; never NULL. */
const char *ml_for_text(enum ml_reason_grow what);

/*
 * Marks for so many CPUs: each may take memory while we are on our way. What must
 * stay when the guest shrinks does not depend on them.
 */
struct ml_marks ml_marks_on(struct ml_marks marks, u64 total_bytes, u32 cpus, u64 mb_bytes);

/*
 * Of available memory, what programs may have: some of what the kernel can use is
 * left to it, so that movable memory is borrowed before programs fill boot memory,
 * out of which nothing moves them.
 */
u64 ml_for_programs(const struct ml_marks *marks, u64 available, u64 kernel_available);

/*
 * The stock: free memory in pages of 2 MiB and more. A guest whose free memory is
 * strewn in small pieces has plenty available and none of these, and who asks for
 * one waits for the kernel to make one. So it is kept at a mark, with what `rate`
 * will use meanwhile. Page cache takes large pages too, which is no reason to borrow:
 * what the cache has more than at its least counts as if it were in stock, until
 * somebody had to wait for a large page.
 */
struct ml_stock {
	u64 large;		/* bytes, at the last look */
	u64 cache;		/* bytes of page cache, at the last look */
	u64 least;		/* bytes of page cache: the least since somebody waited */
	u64 rate;		/* bytes per second, at which it is used */
};

/* Bytes that count as being in stock: large free memory, and what page cache took of it. */
u64 ml_stock_have(const struct ml_stock *stock);

/* The mark of the stock, bytes. */
u64 ml_stock_mark(const struct ml_marks *marks);

/*
 * Take note of a look: `large` bytes are in stock now and `cache` in the page cache, after
 * `added` bytes were added since the last look, elapsed_us ago.
 */
void ml_stock_look(struct ml_stock *stock, u64 large, u64 cache, u64 added, u64 elapsed_us);

/*
 * Somebody waited for memory in one piece: what the page cache took is missed, if
 * it took the stock, and if it was not the cache that waited: file systems try for
 * large pages when they read and write (`moved` bytes lately, or by so much the cache
 * changed), and do as well without. Returns whether that makes a difference.
 */
bool ml_stock_missed(struct ml_stock *stock, u64 mark, u64 moved);

/* How many memory blocks more it takes; 0 while the mark is kept. */
u32 ml_stock_want(const struct ml_stock *stock, u64 mark, u64 mb_bytes, u32 most);

/*
 * Was borrowing `added` bytes for the stock in vain? They are available, and yet the
 * stock has hardly grown: something of this guest keeps them from being large pages.
 */
bool ml_stock_vain(u64 added, u64 available_before, u64 available, u64 have_before, u64 have);

/*
 * The credit of the page cache, bytes: what was read again after it had been given
 * up for want of memory, less a rate that is borne. A scan reads nothing again. Of
 * no account while there is free memory: that is filled first; and no more than was
 * given up lately by the machine: what a container has read again that gave it up at
 * its own limit, more memory would not keep. `stolen` has those bytes, and is used up.
 */
u64 ml_cache_credit(u64 credit, u64 again, u64 *stolen, u64 free, u64 elapsed_us, u64 mb_bytes);

/* Is there credit for a memory block? The caller takes mb_bytes off. */
bool ml_cache_wants(u64 credit, u64 mb_bytes);

/* What kernel allocations have, bytes. */
struct ml_kernel_have {
	u64 available;
	u64 lack;		/* so far it is under the marks that the kernel keeps */
	u64 rate;		/* bytes per second, at which it is used */
	u64 movable_free;	/* that only others can use */
};

/*
 * How many memory blocks kernel allocations want; 0 while they have what they need. They
 * are short when they are under the mark with what `rate` will use while there is
 * movable memory, which they cannot use; or when a process would be killed for want of
 * it (`tight`): whatever movable memory there is then, a block of theirs serves both.
 */
u32 ml_kernel_want(const struct ml_marks *marks, const struct ml_kernel_have *have, bool tight,
		   u64 mb_bytes, u32 most);

/*
 * What is missing where a process would be killed. Nothing: it may use only some of the
 * memory, because it is bound to a node, say. More memory is no help then.
 */
enum ml_lack {
	ML_LACKS_NOTHING,
	ML_LACKS_MOVABLE,
	ML_LACKS_KERNEL,	/* perhaps movable memory, too */
};

enum ml_lack ml_lack_of(bool kernel_tight, u64 movable_free);

/* What memory that is, for a message; never NULL. */
const char *ml_lack_text(enum ml_lack lack);

/* Kernel allocations would have plenty without a memory block of theirs. */
bool ml_kernel_plenty(const struct ml_marks *marks, u64 kernel_available, u64 mb_bytes);

/* May a memory block that holds used bytes go over from movable memory to the kernel? */
bool ml_may_convert(u64 movable_available, u64 used, u64 mb_bytes, u64 reserve);

/*
 * May used bytes be moved out of a memory block? What other movable memory has no room
 * for goes to kernel zones, where the kernel's own allocations must still find some.
 */
bool ml_may_move(u64 used, u64 movable_free, u64 kernel_available, const struct ml_marks *marks);

/* A block that the kernel gives up: do programs need it, or may it go to the host? */
bool ml_needs_movable(u64 available, u64 large, u64 mb_bytes, const struct ml_marks *marks);

/* What a cgroup is promised by memory.min, in pages, as the kernel counts it. */
struct ml_promise {
	u64 usage;
	u64 min;		/* its own memory.min */
	u64 children;		/* that it and others have used of theirs, in it */
	u64 kept;		/* the promise that holds */
};

/*
 * The promise that holds of a cgroup in another: its own, but no more than its part of what
 * holds of the parent. Recursive (a mount option): what the parent is promised and no child
 * claims is shared out by what they use beyond their own.
 */
u64 ml_promise_kept(const struct ml_promise *own, const struct ml_promise *parent, bool recursive);

#endif /* MEMLEASE_NEED_H */
