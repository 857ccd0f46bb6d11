/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Guest memory, seen by the daemon: boot memory only. The memory table, which
 * comes from QEMU, says where the VM's files lie in guest-physical space and in
 * QEMU's; the mapping is of the daemon's own descriptor. Addresses from outside
 * become offsets into the boot file here and nowhere else, and everything is
 * copied: nobody gets a pointer into guest memory.
 *
 * Two dangers are met here. QEMU can truncate the file under the mapping: the
 * bus error is caught. And a slot that is not resident must not become so behind
 * the meter's back: it is touched through the lender first.
 */
#ifndef ML_VHOST_GMEM_H
#define ML_VHOST_GMEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../base/porter_receipt.h"
#include "../base/why.h"
#include "../lend/lend.h"

#define GMEM_REGIONS_MAX 8	/* of the memory table, as the protocol says */

/* A guest-physical address, as the guest gave it. */
typedef struct {
	uint64_t raw;
} gpa_t;

/* A checked range of the boot file; len > 0 and inside the file as it was made. */
struct gmem_span {
	uint64_t off;
	uint64_t len;
};

/* A run of slots of one region's file. */
struct gmem_run {
	enum memlease_region region;
	uint64_t first;
	uint64_t count;
};

struct gmem_region {
	uint64_t gpa;
	uint64_t bytes;
	uint64_t user;		/* address in QEMU */
	uint64_t off;		/* in the file */
	enum memlease_region region;
};

struct gmem {
	struct lend_vm *vm;
	uint8_t *map;		/* the boot file, whole; NULL until the first table */
	uint64_t map_bytes;
	unsigned int count;
	struct gmem_region regions[GMEM_REGIONS_MAX];
};

void gmem_init(struct gmem *g, struct lend_vm *vm);
void gmem_close(struct gmem *g);

/*
 * Replace the memory table. What came as each region's descriptor must be the VM's own boot
 * or window file (others are memory we have no business with: left out).
 * -EINVAL: a region outside its file, overlapping another, or in another place
 * than its file, modulo 2 MiB for the guest and a page in QEMU; or boot memory is missing; why says which. The old
 * table is gone then.
 */
struct gmem_table_entry {	/* as on the wire */
	uint64_t gpa;
	uint64_t bytes;
	uint64_t user;
	uint64_t off;
};
int gmem_set_table(struct gmem *g, const struct gmem_table_entry *entries,
		   const struct porter_fd *fds,
		   unsigned int count, struct ml_why *why);

/* len bytes at gpa, or at QEMU's address. -EFAULT: not wholly inside one piece of boot memory. */
int gmem_span(const struct gmem *g, gpa_t gpa, uint64_t len, struct gmem_span *out);
int gmem_span_user(const struct gmem *g, uint64_t user, uint64_t len, struct gmem_span *out);

/*
 * Boot slots first..first+count-1, by guest-physical number, as a run of the
 * boot file: the longest from first on. -ERANGE: slot first is not wholly boot memory.
 */
int gmem_boot_run(const struct gmem *g, uint64_t first, uint64_t count, struct gmem_run *out);
/* The other way: the guest-physical number of a slot of the boot file, or -ERANGE. */
int gmem_boot_slot(const struct gmem *g, uint64_t file_slot, uint64_t *out);

/*
 * Make the span resident. -EAGAIN: a block is being waited for, hooks.served()
 * comes later. Other errors: as lend_touch().
 */
int gmem_ready(struct gmem *g, struct gmem_span span);

/* Copy between a span (from byte at on) and ours. Does gmem_ready(). -EFAULT: the file is shorter than it was. */
int gmem_read(struct gmem *g, struct gmem_span span, uint64_t at, void *to, size_t len);
int gmem_write(struct gmem *g, struct gmem_span span, uint64_t at, const void *from, size_t len);
/* 16 bits, little-endian, ordered: acquire and release. The same errors. */
int gmem_load16(struct gmem *g, struct gmem_span span, uint64_t at, uint16_t *to);
int gmem_store16(struct gmem *g, struct gmem_span span, uint64_t at, uint16_t value);
/*
 * 32 bits, little-endian: what was there, and if that was `from`, now `to`, in one step. span.off + at is a
 * multiple of 4. The same errors.
 */
int gmem_swap32(struct gmem *g, struct gmem_span span, uint64_t at, uint32_t from, uint32_t to,
		uint32_t *was);

#endif /* ML_VHOST_GMEM_H */
