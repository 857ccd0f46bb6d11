/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The watch: a timer on each processor that is not idle, which wakes growing when free
 * memory, or a kind of it, falls under a level on the board. It sees a burst of
 * allocations within 10 ms, and costs an idle machine nothing: deferrable timers do
 * not wake a processor, and one that sleeps allocates nothing.
 */
#ifndef MEMLEASE_WATCH_H
#define MEMLEASE_WATCH_H

struct ml_turn;
struct ml_watch;

/* Once for the module, around all devices. 0 or -errno. */
int ml_watch_module_init(void);
void ml_watch_module_exit(void);

/* Watches from init to exit. 0 or -errno. */
int ml_watch_init(struct ml_turn *t, struct ml_watch **out);
void ml_watch_exit(struct ml_watch *w);

#endif /* MEMLEASE_WATCH_H */
