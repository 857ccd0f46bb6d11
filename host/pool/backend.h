/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a pool backend does: keep the memory of regions and put blocks behind
 * their slots. The lender sees backends through this table of functions only.
 * All calls come from one thread; none may block on a peer. 0 or -errno.
 *
 * Two kinds of backend
 * --------------------
 * With `file` the daemon sees every touch first (userfaultfd): it takes a block
 * from the pool, and map() allocates memory. The kernel zeroes; block numbers
 * only count.
 *
 * With `reserved` the source serves touches by itself (serves_touches): a block
 * of its *supply*, which the daemon keeps filled, goes behind the slot, and
 * next_event() tells of it later. So between two looks at the events the source
 * knows more than the table. Three rules keep the two together:
 *   - A block of the supply is OFFERED in the table. It stays so until an event, or
 *     the answer of a call, says that it went behind a slot.
 *   - Code that takes blocks from slots goes by the blocks that unmap() and commit()
 *     return, not by the table, which may have one of them as of the supply still.
 *   - All events are read before anything is put into the supply. So an event that
 *     names a block that is not OFFERED any more is old, and is passed over. An event
 *     stays until the next one is asked for: if the daemon dies over it, its successor
 *     gets it again.
 * What is committed is kept by the source too (commit()), since a touch of a slot
 * that is not must fail without the daemon.
 *
 * Optional functions are NULL where a backend has no use for them; all those from
 * next_event() on stand together with serves_touches.
 */
#ifndef ML_POOL_BACKEND_H
#define ML_POOL_BACKEND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct backend;

#define BACKEND_NO_BLOCK UINT32_MAX
#define BACKEND_RUN_MAX 512	/* slots of one unmap() or commit() */
#define BACKEND_RANGES_MAX 64

/* A piece of the pool's physical memory. Blocks are numbered over all of them. */
struct backend_range {
	uint64_t base, bytes;		/* physical */
	uint32_t first_block, blocks;
	int node;			/* NUMA node, or -1 */
	uint32_t tier;			/* 0 is ordinary memory; slower kinds are higher */
};

/* One region of one VM, opened. The backend owns what it points to. */
struct backend_region {
	struct backend *backend;
	char *path;		/* what QEMU opens, absolute */
	int fd;			/* the daemon's own, or -1: open_memory() opens one */
	dev_t device;		/* of a character device; 0: path is a regular file */
	uint64_t blocks;
	void *priv;
	void *owner;		/* the lender's: whose region an event is of */
};

/* What is behind a slot, by the source's own word. */
enum backend_slot {
	BACKEND_VACANT,		/* not committed */
	BACKEND_COMMITTED,
	BACKEND_LOST,		/* its block had a memory error */
	BACKEND_RESIDENT,
};

struct backend_slot_word {
	enum backend_slot state;
	uint32_t block;		/* of RESIDENT */
};

/* What a block is. */
enum backend_block {
	BACKEND_UNUSED,		/* behind no slot; of the supply, perhaps */
	BACKEND_BEHIND,		/* a slot */
	BACKEND_RETIRED,	/* after a memory error; never to be lent */
	BACKEND_OWN,		/* the source needs it for itself; never to be lent */
};

enum backend_event_type {
	BACKEND_TAKEN = 1,	/* block, of the supply, went behind slot */
	BACKEND_WAITING,	/* the supply is empty: pid waits for a block of slot; map() serves it */
	BACKEND_VIOLATION,	/* pid wrote to slot, which is not committed */
	BACKEND_TIMEOUT,	/* pid waited too long; its access failed */
	BACKEND_CLOSED,		/* nobody has the region open any more */
	BACKEND_ERROR,		/* block has a memory error; slot, if region is not NULL, is LOST */
};

struct backend_event {
	enum backend_event_type type;
	struct backend_region *region;	/* NULL: none that is open here */
	uint64_t slot;
	uint32_t block;
	uint64_t boot_ns;		/* when it happened */
	pid_t pid;
};

#define BACKEND_NAME_BYTES 64	/* of a region's name, with the NUL; no longer one is made */

/* A region that lend/ has not opened. */
struct backend_left {
	uint64_t slots;
	uint64_t blocks;	/* behind its slots, rounded up */
	bool open;		/* somebody has it open or mapped, or nobody can tell */
};

/* For people. */
struct backend_figures {
	uint32_t supply, supply_most;	/* blocks in it now; places */
	uint32_t waiting;		/* tasks that wait for a block now */
	uint32_t resident, retired;	/* by the source's own count */
	uint64_t waits, wait_ns;	/* since the source was set up */
	uint64_t overflows;		/* events that were lost */
	uint64_t refused;		/* blocks of the supply that were no good */
	uint64_t metadata_bytes;	/* what the source has allocated for itself */
};

struct backend_ops {
	/* Make a region of so many slots, all VACANT. -EEXIST. */
	int (*create)(struct backend *b, const char *name, uint64_t blocks);
	/* -ENOENT; -EUCLEAN if its size is another. The region stays where it is until close(). */
	int (*open)(struct backend *b, const char *name, uint64_t blocks,
		    struct backend_region *region);
	void (*close)(struct backend_region *region);
	/* Its memory is given back once QEMU has closed it too. */
	int (*remove)(struct backend *b, const char *name);
	/* The names of all regions that the source has, in no order. 0, or what one() returned first. */
	int (*each)(struct backend *b, int (*one)(void *ctx, const char *name), void *ctx);
	/* What is there of a region that is not opened. -ENOENT. */
	int (*left)(struct backend *b, const char *name, struct backend_left *left);
	/*
	 * Take such a region away that nobody has open, with what is behind it. gone() hears of
	 * each block that was; not where numbers of blocks only count.
	 */
	int (*discard)(struct backend *b, const char *name,
		       void (*gone)(void *ctx, uint32_t block), void *ctx);
	/* A descriptor to map the region by, the caller's to close; or -errno. */
	int (*open_memory)(struct backend_region *region);

	/*
	 * Put a block behind a slot, and wake what waits for it; contents of a slot
	 * that has one stay. The block is zeroed before, unless zeroes_itself. -ENOSPC,
	 * -ENOMEM: the source has none, whatever the table says; the slot is as it was.
	 * Where touches are served by the source: -EEXIST, the slot has a block already
	 * (an event says which); -EPERM, it is VACANT or LOST; -EBUSY, this block stands
	 * elsewhere, or is retired.
	 */
	int (*map)(struct backend_region *region, uint64_t slot, uint32_t block);
	/*
	 * Take what is behind the slots, at most BACKEND_RUN_MAX, out of all mappings of
	 * them. blocks[0..*taken-1] are those that were there; a backend for which
	 * numbers only count leaves *taken at 0.
	 */
	int (*unmap)(struct backend_region *region, uint64_t first, uint64_t count,
		     uint32_t *blocks, uint32_t *taken);
	/*
	 * Optional. Slots VACANT to COMMITTED (on; any number of them), or all to VACANT, as
	 * unmap() then. unmap() makes LOST ones COMMITTED again.
	 */
	int (*commit)(struct backend_region *region, uint64_t first, uint64_t count, bool on,
		      uint32_t *blocks, uint32_t *taken);

	/* Resident blocks by the source's own count, in bytes, unrounded. */
	int (*resident_bytes)(struct backend_region *region, uint64_t *bytes);
	/*
	 * present[i]: is anything behind slot first + i? -EOPNOTSUPP if the source
	 * cannot say. If not scan_sees_all, absence is no proof.
	 */
	int (*scan)(struct backend_region *region, uint64_t first, uint64_t count,
		    uint8_t *present);

	/* --- a source that serves touches itself --- */

	/* The next event: 1, 0 for none, or -EOVERFLOW: some were lost, read all slots. */
	int (*next_event)(struct backend *b, struct backend_event *out);
	int (*slots)(struct backend_region *region, uint64_t first, uint64_t count,
		     struct backend_slot_word *words);
	/* Is the region open or mapped anywhere? A descriptor of open_memory() counts. */
	int (*is_open)(struct backend_region *region, bool *open);
	/* How many blocks the supply holds now. */
	uint32_t (*supply_level)(struct backend *b);
	/* Put n zeroed blocks into it, and wake what waits for one. -ENOSPC: no room; then none went in. */
	int (*supply)(struct backend *b, const uint32_t *blocks, uint32_t n);
	/* Take back up to n that nobody has taken, the last ones first: how many. */
	uint32_t (*unsupply)(struct backend *b, uint32_t *blocks, uint32_t n);
	/* What a predecessor left in it: up to n; how many. Before anything else is asked of it. */
	uint32_t (*read_supply)(struct backend *b, uint32_t *blocks, uint32_t n);
	/* Exchange the block behind a RESIDENT slot for *block, with its contents. -EAGAIN: not RESIDENT; -ETIME: not now. */
	int (*move)(struct backend_region *region, uint64_t slot, uint32_t *block);
	/* As if the hardware had reported a memory error; an event follows. */
	int (*retire)(struct backend *b, uint32_t block);
	/* What blocks are, by the source's own word: states[i] is an enum backend_block. */
	int (*blocks)(struct backend *b, uint32_t first, uint32_t count, uint8_t *states);
	/* Once a second: finish what others kept from being finished. */
	void (*tick)(struct backend *b);
	void (*figures)(struct backend *b, struct backend_figures *out);

	/* Give up the backend; regions are closed before. */
	void (*free)(struct backend *b);
};

struct backend {
	const struct backend_ops *ops;
	const char *name;	/* for people: "file: tmpfs" */
	bool zeroes_itself;
	bool scan_sees_all;
	bool serves_touches;	/* the source does, from its supply */
	int event_fd;		/* readable while there are events; -1: none ever */
	uint32_t supply_most;	/* places of the supply */
	unsigned long long *mark;	/* a word of ours, 0 at first, that goes when what the source knows goes; or NULL */
	void *memory;		/* the pool as mapped here, block b at b * 2 MiB; NULL: no business of ours */
	uint64_t blocks;	/* of all ranges; 0: as many as the pool is configured to have */
	struct backend_range ranges[BACKEND_RANGES_MAX];
	unsigned int range_count;
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
