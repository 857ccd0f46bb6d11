/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The backend `reserved`: physical memory that Linux does not manage, kept and
 * mapped by memlease_pool.ko. proto/memlease_ioctl.h says what the module does;
 * this is the daemon's end of it.
 *
 * Opened by daemon/ while it may still do what root may; used by lend/ through
 * backend.h. Tests put a device of their own in the module's place.
 */
#ifndef ML_POOL_RESERVED_H
#define ML_POOL_RESERVED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "../../proto/memlease_ioctl.h"
#include "../base/clock.h"
#include "backend.h"

/* A range that the pool shall have. */
struct reserved_want {
	uint64_t base, bytes;	/* physical; multiples of 2 MiB */
	int node;		/* NUMA node by the device tree; -1: the module asks Linux */
	uint32_t tier;
};

struct reserved_setup {
	struct reserved_want want[BACKEND_RANGES_MAX];
	unsigned int wants;
	/* Of the devices that QEMU opens. */
	uid_t uid;
	gid_t gid;
	mode_t mode;
	const struct ml_clock *clock;
};

/* The module, or what stands for it. All functions return 0 or -errno. */
struct reserved_device {
	int fd;				/* to poll, or -1 */
	struct memlease_rings *rings;
	const char *windows;		/* where the windows' devices are, with its '/' */
	int (*ioctl)(struct reserved_device *d, unsigned long request, void *arg);
	/* The pool, so many bytes of it; NULL: it cannot be mapped. */
	void *(*map_pool)(struct reserved_device *d, uint64_t bytes);
	void (*close)(struct reserved_device *d);
};

/*
 * The module's control device. Logs what is wrong with it. -ENOENT: the module is not
 * loaded; -EBUSY: another daemon has it; -EPERM, -EACCES: not root.
 */
int reserved_device_open(struct reserved_device **out);

/*
 * Take the device over, in every case, claim what is wanted and not claimed yet, and find
 * what a predecessor has left. Logs what is wrong. -EPROTO: the module is of another
 * version; -EINVAL, -EEXIST, -EBUSY, -ENOSPC: a range cannot be claimed.
 */
int backend_reserved_open(struct backend **out, const struct reserved_setup *setup,
			  struct reserved_device *device);

/* --- reserved_ring.c: the daemon's ends of both rings; see the protocol's header --- */

struct reserved_ring {
	struct memlease_rings *rings;
	struct reserved_device *device;
	bool holding;			/* the record at the tail has been handed out */
	uint64_t overflow_seen;
};

void reserved_ring_init(struct reserved_ring *r, struct reserved_device *device);
/* 1: a record, which stays until the next call; 0: none; -EOVERFLOW: once for all that were lost. */
int reserved_ring_next(struct reserved_ring *r, struct memlease_touch *out);
uint32_t reserved_ring_level(const struct reserved_ring *r);
int reserved_ring_put(struct reserved_ring *r, const uint32_t *blocks, uint32_t n);
uint32_t reserved_ring_take_back(struct reserved_ring *r, uint32_t *blocks, uint32_t n);
uint32_t reserved_ring_read(struct reserved_ring *r, uint32_t *blocks, uint32_t n);

/* --- reserved_ranges.c: which ranges, and are they fit to be claimed? --- */

#define RESERVED_WHY_BYTES 320

/*
 * "BASE,SIZE[/TIER][,BASE,SIZE[/TIER]]...", as in "0x140000000,512M". -EINVAL with a
 * sentence in why.
 */
int reserved_ranges_parse(const char *text, struct reserved_want want[BACKEND_RANGES_MAX],
			  unsigned int *wants, char why[RESERVED_WHY_BYTES]);

/*
 * Does Linux leave these ranges alone? iomem: the text of /proc/iomem, as root sees it. Each
 * range must lie in one reserved entry that nothing else is in, or in none at all. -EEXIST
 * (Linux uses it), -EACCES (the addresses are hidden from us), with a sentence in why.
 */
int reserved_ranges_check(const char *iomem, const struct reserved_want *want,
			  unsigned int wants, char why[RESERVED_WHY_BYTES]);

/* What could be named: reserved entries of 2 MiB and more, for a message. Returns buf. */
const char *reserved_ranges_candidates(const char *iomem, char *buf, size_t size);

/*
 * --- reserved_fdt.c ---
 * The ranges of a flattened device tree: all of each node under /reserved-memory that is
 * compatible with "memlease,pool". The blob is not trusted. -ENOENT: there is none;
 * -EINVAL: the blob is damaged, or a node is not as it must be; a sentence in why.
 */
int reserved_ranges_of_tree(const void *blob, size_t size,
			    struct reserved_want want[BACKEND_RANGES_MAX], unsigned int *wants,
			    char why[RESERVED_WHY_BYTES]);

/*
 * All of the above, for the daemon: text is what stood behind "reserved:", or NULL, and
 * then the device tree is asked. Reads /proc/iomem and /sys/firmware/fdt; logs what is
 * wrong.
 */
int reserved_ranges_find(const char *text, struct reserved_setup *setup);

/*
 * --- reserved_host.c ---
 * May blocks be lent on this host? sys: where sysfs is; release: uname -r. -EPERM, with
 * the reason logged: its KVM would use blocks that were taken from a VM. What is only slow,
 * or unsafe for some kinds of guests, is warned of.
 */
int reserved_host_check(const char *sys, const char *release);

#endif /* ML_POOL_RESERVED_H */
