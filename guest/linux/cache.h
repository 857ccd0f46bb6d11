/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Page cache that nobody uses, and the kernel's own caches of names and files where they
 * have grown large: how much there is, and how to have Linux give it up.
 * Linux chooses what goes: what it would give up first in any case. Knows nothing of
 * the driver; called by work/trim.c and work/shrink.c, which say when and how much.
 */
#ifndef MEMLEASE_CACHE_H
#define MEMLEASE_CACHE_H

#include <linux/types.h>

/* Bytes of it that Linux would give up first. Never sleeps. */
u64 ml_cache_unused_bytes(void);

/* All of both kinds, bytes. Never sleeps. */
u64 ml_cache_held_bytes(void);

/*
 * Have Linux give up this much of it, clean, without writing or swapping.
 * Takes up to max_ms, and ends early when there is no more of it, when a signal
 * comes, or when *stop is set. Returns how many bytes it fell. Sleeps;
 * takes a mutex of its own, under which no other lock of the driver's is taken.
 */
u64 ml_cache_give_up(u64 bytes, u32 max_ms, const bool *stop);

#endif /* MEMLEASE_CACHE_H */
