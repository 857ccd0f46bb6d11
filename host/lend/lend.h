/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Lending: the only code that moves a block between the pool and a VM.
 *
 * A lender owns the pool, the VMs and their leases. vhost/ brings it what guests
 * ask for and touch, ctl/ what operators ask for; both call from one thread, the
 * event loop's, and nothing here blocks on a peer. Everything that must survive
 * the daemon stands in files: the block table, and one record per VM with its
 * slots and its meter; lender_open() reads them, repairs half-done moves, and
 * goes on where the last daemon stopped.
 *
 * Slots are named by region and index inside the region's *file*: for the window
 * that is the slot of the protocol; for boot memory vhost/ translates, because
 * guest-physical boot memory has holes and its file has none.
 *
 * States of a slot (slots.h has the table of legal moves and the one setter):
 * VACANT, COMMITTED, RESIDENT. Boot slots are never VACANT.
 */
#ifndef ML_LEND_LEND_H
#define ML_LEND_LEND_H

#include "types.h"

/*
 * Open the pool and whatever VMs the last daemon left in state_dir; repair; go on.
 * -EINVAL (config), -EBUSY (another daemon holds state_dir), -ENOSPC, -EUCLEAN
 * (files not ours or of another version), or the system's. The reason is logged.
 */
int lender_open(struct lender **out, const struct lender_config *config,
		const struct lend_hooks *hooks);

/* What is wrong with a file, or NULL. */
typedef void lend_say_fn(void *ctx, const char *file, const char *why);
/*
 * Which files of a state directory would a lender set aside? say() hears of each it looks at.
 * How many, or -errno. Changes nothing; a daemon may run on them.
 */
int lender_examine(const char *state_dir, lend_say_fn *say, void *ctx);

/* Stop without ending any VM: as if killed, but the ledger is written. */
void lender_close(struct lender *l);

/*
 * To be called about once a second, and at lender_next_tick(): closes metering
 * periods, posts the ledger, compares with the file system, asks guests for
 * memory while touches wait.
 */
void lender_tick(struct lender *l);
uint64_t lender_next_tick_boot_ns(const struct lender *l);

/*
 * Where the source of memory serves touches by itself: what it has to tell, and blocks that
 * have become clean. Call lender_events() when one of the descriptors is readable. Returns
 * how many there are, 0 to 2; they stay the lender's.
 */
int lender_event_fds(const struct lender *l, int fds[2]);
void lender_events(struct lender *l);

/*
 * What would take longer than about a millisecond is done in slices: the end and
 * the reset of a large VM, the serving of many touches. While there is such work,
 * lender_work() is to be called, once per turn of the event loop; each call does a
 * slice. lender_tick() does one too.
 */
bool lender_has_work(const struct lender *l);
void lender_work(struct lender *l);

void lender_status(const struct lender *l, struct pool_status *out);
/* The i-th piece, from 0 up to the status's ranges - 1. */
void lender_range(const struct lender *l, unsigned int i, struct pool_range_status *out);

/*
 * Create a VM: record, two files, guarantee. -EINVAL, -EEXIST (name in use),
 * -ENOSPC (sum of guarantees would exceed the pool, or too many VMs); *why gets a
 * static or VM-independent sentence naming the value and the way out.
 */
int lend_vm_create(struct lender *l, const struct vm_spec *spec, struct lend_vm **out, struct ml_why *why);

/* Forget a VM that never started. -EBUSY if it has a QEMU. */
int lend_vm_delete(struct lend_vm *vm);

struct lend_vm *lend_vm_find(struct lender *l, const char *name);
/* Iterate: NULL gives the first; NULL at the end. Order of creation. */
struct lend_vm *lend_vm_next(struct lender *l, struct lend_vm *after);
const char *lend_vm_name(const struct lend_vm *vm);
void lend_vm_status(struct lend_vm *vm, struct vm_status *out);

/* A pointer for the layers above; the lender does not look at it. */
void lend_vm_set_user(struct lend_vm *vm, void *user);
void *lend_vm_user(const struct lend_vm *vm);

/* Absolute path of a region's file, and its size in blocks. */
const char *lend_region_path(const struct lend_vm *vm, enum memlease_region region);
uint64_t lend_region_blocks(const struct lend_vm *vm, enum memlease_region region);
/*
 * What QEMU opens: a file, of which the daemon has a descriptor of its own (borrowed, do
 * not close); or, where that is -1, a character device of this number.
 */
int lend_region_fd(const struct lend_vm *vm, enum memlease_region region);
dev_t lend_region_device(const struct lend_vm *vm, enum memlease_region region);
/* A descriptor to map a region by, the caller's to close at once; or -errno. */
int lend_region_open(const struct lend_vm *vm, enum memlease_region region);

/*
 * Where QEMU maps the regions: kept in the VM's record, so that a new daemon that
 * finds the userfaultfd in its descriptor store can serve before QEMU reconnects.
 */
void lend_vm_set_layout(struct lend_vm *vm, const uint64_t hva[MEMLEASE_REGION_COUNT],
			uint64_t window_gpa);
/* false if none was set. */
bool lend_vm_layout(const struct lend_vm *vm, uint64_t hva[MEMLEASE_REGION_COUNT],
		    uint64_t *window_gpa);

/*
 * QEMU connected: its pid from the socket's credentials, and its pidfd, where the kernel
 * gives one with them (taken over in every case), or -1. Without it the lender opens
 * one by the pid. It remembers pid and start time in the record. -ESRCH if the process
 * is gone, -EBUSY if another live process already is this VM's QEMU, -ENOSPC if it comes so
 * late that there is no room for the VM any more: lend_vm_refused() says of what.
 */
int lend_vm_attach(struct lend_vm *vm, pid_t pid, int pidfd);
const char *lend_vm_refused(const struct lend_vm *vm);
/* The connection went down; the VM goes on unless its process is gone. */
void lend_vm_detach(struct lend_vm *vm);
/* Readable when QEMU's process ends; -1 without one. Borrowed. */
int lend_vm_pidfd(const struct lend_vm *vm);
/*
 * The process ended. vm is gone for the caller, and its name is free. Both files are
 * emptied, which can take further slices of lender_work(); when they are, the meter is
 * closed, the files are removed, and LEND_EV_VM_ENDED comes.
 */
void lend_vm_end(struct lend_vm *vm, const char *why);

/* --- what guests ask; arguments are checked by vhost/, asserted here --- */

/*
 * Each works on count slots from first, handles a prefix of *done slots, and says
 * in *reason why not all. Return 0; -EUCLEAN on an internal error (logged).
 * Carried out twice, each has the effect of once.
 */
int lend_borrow(struct lend_vm *vm, uint64_t first, uint64_t count, uint64_t *done,
		enum memlease_reason *reason);
int lend_return(struct lend_vm *vm, uint64_t first, uint64_t count, uint64_t *done,
		enum memlease_reason *reason);
int lend_report(struct lend_vm *vm, enum memlease_region region, uint64_t first, uint64_t count,
		uint64_t *done, enum memlease_reason *reason);

/* The lender's clock, in nanoseconds since boot: for who limits what a VM may take at a time. */
uint64_t lend_clock_ns(const struct lend_vm *vm);

/* Are all slots committed (COMMITTED or RESIDENT)? */
bool lend_committed(const struct lend_vm *vm, enum memlease_region region, uint64_t first,
		    uint64_t count);
bool lend_resident(const struct lend_vm *vm, enum memlease_region region, uint64_t slot);

/*
 * A slot was touched. 0: it is resident now (or was), wake the toucher. -EAGAIN:
 * the pool is short, hooks.served() comes later. -EACCES: the slot is vacant; the
 * lender breaks the device and kills QEMU. -EIO: its memory was lost to an error.
 */
int lend_touch(struct lend_vm *vm, enum memlease_region region, uint64_t slot);

/*
 * Device reset: the target is cleared, a broken device mended, the window emptied.
 * The last can take further slices of lender_work(): until hooks.config_changed() has
 * come and lend_resetting() is false, nothing may be asked for the guest but touches.
 * It goes on in the next daemon, too.
 */
void lend_reset(struct lend_vm *vm);
bool lend_resetting(const struct lend_vm *vm);

/* The device broke: remembered, logged and evented once with text. */
void lend_break(struct lend_vm *vm, enum memlease_broken reason, const char *text);

/* The config space as the guest shall see it; window_addr 0 (QEMU fills it in). */
void lend_vm_config(const struct lend_vm *vm, struct memlease_config *out);

/* Statistics that the guest sent. */
void lend_vm_stat(struct lend_vm *vm, uint16_t tag, uint64_t value);

/* --- what operators ask --- */

/* limit_blocks: boot included, from boot_blocks to boot_blocks + window_blocks. -EINVAL, -ENOSPC with *why. */
int lend_set_limit(struct lend_vm *vm, uint64_t limit_blocks, struct ml_why *why);
/* guarantee_blocks: at most the limit. Of a VM whose claim has lapsed: what its QEMU will ask for. */
int lend_set_guarantee(struct lend_vm *vm, uint64_t guarantee_blocks, struct ml_why *why);
/* target_blocks: boot included, or MEMLEASE_NO_TARGET; deadline_ms 100..3600000. */
int lend_set_target(struct lend_vm *vm, uint64_t target_blocks, uint32_t deadline_ms, struct ml_why *why);
/* Ask the guest to report its free blocks at once. */
void lend_report_now(struct lend_vm *vm);

/*
 * Move blocks of VMs together, so that so many more whole GiBs of the pool are free, as
 * far as that can be: lender_work() does it, in the background. -EOPNOTSUPP: this pool
 * cannot move blocks; *why says so.
 */
int lender_compact(struct lender *l, uint32_t gib, struct ml_why *why);

#endif /* ML_LEND_LEND_H */
