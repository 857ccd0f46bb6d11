/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a pool backend does: keep the memory of regions and put blocks behind
 * their slots. The lender sees backends through this table of functions only.
 * All calls come from one thread; none may block on a peer. 0 or -errno.
 */
#ifndef ML_POOL_BACKEND_H
#define ML_POOL_BACKEND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct backend;

/* One region of one VM, opened. The backend owns what it points to. */
struct backend_region {
	struct backend *backend;
	char *path;		/* what QEMU opens, absolute */
	int fd;			/* the daemon's own, or -1 */
	uint64_t blocks;
	void *priv;
};

struct backend_ops {
	/* Make a region of so many slots, none of them resident. -EEXIST. */
	int (*create)(struct backend *b, const char *name, uint64_t blocks);
	/* -ENOENT; -EUCLEAN if its size is another. */
	int (*open)(struct backend *b, const char *name, uint64_t blocks,
		    struct backend_region *region);
	void (*close)(struct backend_region *region);
	/* Its memory is given back once QEMU has closed it too. */
	int (*remove)(struct backend *b, const char *name);

	/*
	 * Put a block behind a slot; contents of a slot that has one stay. Zeroed
	 * if zeroes_itself. -ENOSPC, -ENOMEM: the source has none, whatever the
	 * table says; the slot is as it was.
	 */
	int (*map)(struct backend_region *region, uint64_t slot, uint32_t block);
	/* Take what is behind the slots, under everyone who has them mapped. */
	int (*unmap)(struct backend_region *region, uint64_t first, uint64_t count);

	/* Resident blocks by the source's own count, in bytes, unrounded. */
	int (*resident_bytes)(struct backend_region *region, uint64_t *bytes);
	/*
	 * present[i]: is anything behind slot first + i? -EOPNOTSUPP if the source
	 * cannot say. If not scan_sees_all, absence is no proof.
	 */
	int (*scan)(struct backend_region *region, uint64_t first, uint64_t count,
		    uint8_t *present);

	/* Give up the backend; regions are closed before. */
	void (*free)(struct backend *b);
};

struct backend {
	const struct backend_ops *ops;
	const char *name;	/* for people: "file: tmpfs" */
	bool zeroes_itself;
	bool scan_sees_all;
};

/*
 * The backend `file`: a directory of a tmpfs with huge pages or of hugetlbfs with
 * 2 MiB pages, for pool_blocks blocks. Logs what is wrong with it. -EINVAL (another
 * kind of file system, other page size, a host kernel whose discards are
 * unsafe), -ENOSPC (too small).
 */
int backend_file_open(struct backend **out, const char *dir, uint64_t pool_blocks);

/*
 * Is this kernel release (uname -r) one of 7.0 up to 7.1.8, where discarding a
 * 2 MiB range of shared memory under KVM flushes wrongly (CVE-2026-74674)?
 */
bool backend_file_kernel_unsafe(const char *release);

#endif /* ML_POOL_BACKEND_H */
