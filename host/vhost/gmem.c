// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Guest memory, seen by the daemon: see gmem.h. The memory table with its
 * checks, translation, and copies that survive a bus error. Called by the rings
 * and the device of this folder, on the event loop's thread.
 */
#include "gmem.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>

#include "../base/bus.h"
#include "../base/cleanup.h"
#include "peerfd.h"

#define PAGE_BYTES 4096	/* of the smallest host; what is aligned in QEMU is so in the file, for rings */

void gmem_init(struct gmem *g, struct lend_vm *vm)
{
	memset(g, 0, sizeof(*g));
	g->vm = vm;
}

void gmem_close(struct gmem *g)
{
	if (g->map)
		munmap(g->map, g->map_bytes);
	g->map = NULL;
	g->count = 0;
}

static int gmem_map(struct gmem *g)
{
	uint64_t bytes = lend_region_blocks(g->vm, MEMLEASE_REGION_BOOT) * MEMLEASE_BLOCK_BYTES;
	ml_autoclose int fd = -1;
	void *map;

	if (g->map)
		return 0;
	fd = lend_region_open(g->vm, MEMLEASE_REGION_BOOT);
	if (fd < 0)
		return fd;
	map = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
	if (map == MAP_FAILED)
		return -errno;
	/* A core dump of the daemon shall not hold tenants' memory. */
	madvise(map, bytes, MADV_DONTDUMP);
	g->map = map;
	g->map_bytes = bytes;
	return 0;
}

/* Which of the VM's files is it? MEMLEASE_REGION_COUNT: none. */
static enum memlease_region gmem_identify(const struct gmem *g, const struct porter_fd *fd)
{
	for (int r = 0; r < MEMLEASE_REGION_COUNT; r++)
		if (lend_region_fd(g->vm, r) >= 0 ?
		    peerfd_same_file(fd, lend_region_fd(g->vm, r)) :
		    peerfd_is_device(fd, lend_region_device(g->vm, r)))
			return r;
	return MEMLEASE_REGION_COUNT;
}

static int gmem_check_entry(const struct gmem *g, const struct gmem_table_entry *e,
			    enum memlease_region region, struct ml_why *why)
{
	uint64_t file = lend_region_blocks(g->vm, region) * MEMLEASE_BLOCK_BYTES;
	uint64_t end;

	if (e->bytes == 0 || __builtin_add_overflow(e->off, e->bytes, &end) || end > file)
		return ml_refuse(why, -EINVAL,
				 "0x%" PRIx64 " bytes at offset 0x%" PRIx64 " lie outside the file, which has 0x%" PRIx64,
				 e->bytes, e->off, file);
	if (__builtin_add_overflow(e->gpa, e->bytes, &end) ||
	    __builtin_add_overflow(e->user, e->bytes, &end))
		return ml_refuse(why, -EINVAL,
				 "0x%" PRIx64 " bytes at 0x%" PRIx64 " (0x%" PRIx64 " in QEMU) wrap around",
				 e->bytes, e->gpa, e->user);
	if ((e->user ^ e->off) & (PAGE_BYTES - 1))
		return ml_refuse(why, -EINVAL,
				 "0x%" PRIx64 " in QEMU cannot be offset 0x%" PRIx64 " of a file: not the same place in a page",
				 e->user, e->off);
	if ((e->gpa ^ e->off) & (MEMLEASE_BLOCK_BYTES - 1))
		return ml_refuse(why, -EINVAL,
				 "guest-physical 0x%" PRIx64 " is offset 0x%" PRIx64 " of its file: not the same place in a 2 MiB block",
				 e->gpa, e->off);
	return 0;
}

static int gmem_add_region(struct gmem *g, const struct gmem_table_entry *e,
			   enum memlease_region region, struct ml_why *why)
{
	for (unsigned int i = 0; i < g->count; i++) {
		const struct gmem_region *r = &g->regions[i];

		if ((e->gpa < r->gpa + r->bytes && r->gpa < e->gpa + e->bytes) ||
		    (e->user < r->user + r->bytes && r->user < e->user + e->bytes) ||
		    (region == r->region && e->off < r->off + r->bytes &&
		     r->off < e->off + e->bytes))
			return ml_refuse(why, -EINVAL,
					 "memory at 0x%" PRIx64 " overlaps memory at 0x%" PRIx64,
					 e->gpa, r->gpa);
	}
	g->regions[g->count++] = (struct gmem_region){
		.gpa = e->gpa, .bytes = e->bytes, .user = e->user, .off = e->off, .region = region,
	};
	return 0;
}

int gmem_set_table(struct gmem *g, const struct gmem_table_entry *entries,
		   const struct porter_fd *fds, unsigned int count, struct ml_why *why)
{
	bool boot = false;
	int r;

	assert(count <= GMEM_REGIONS_MAX);
	g->count = 0;
	for (unsigned int i = 0; i < count; i++) {
		enum memlease_region region = gmem_identify(g, &fds[i]);

		if (region == MEMLEASE_REGION_COUNT)
			continue;
		boot |= region == MEMLEASE_REGION_BOOT;
		r = gmem_check_entry(g, &entries[i], region, why);
		if (r == 0)
			r = gmem_add_region(g, &entries[i], region, why);
		if (r < 0)
			goto fail;
	}
	if (!boot) {
		r = ml_refuse(why, -EINVAL, "none of %u regions is this VM's boot memory, %s",
			      count, lend_region_path(g->vm, MEMLEASE_REGION_BOOT));
		goto fail;
	}
	r = gmem_map(g);
	if (r < 0) {
		ml_refuse(why, r, "boot memory cannot be mapped: %s", strerror(-r));
		goto fail;
	}
	return 0;
fail:
	g->count = 0;
	return r;
}

/* Is [addr, addr + len) inside [base, base + bytes)? No sum here can overflow. */
static bool inside(uint64_t addr, uint64_t len, uint64_t base, uint64_t bytes)
{
	return addr >= base && addr - base <= bytes && len <= bytes - (addr - base);
}

int gmem_span(const struct gmem *g, gpa_t gpa, uint64_t len, struct gmem_span *out)
{
	for (unsigned int i = 0; i < g->count; i++) {
		const struct gmem_region *r = &g->regions[i];

		if (r->region == MEMLEASE_REGION_BOOT && len > 0 &&
		    inside(gpa.raw, len, r->gpa, r->bytes)) {
			*out = (struct gmem_span){ r->off + (gpa.raw - r->gpa), len };
			return 0;
		}
	}
	return -EFAULT;
}

int gmem_span_user(const struct gmem *g, uint64_t user, uint64_t len, struct gmem_span *out)
{
	for (unsigned int i = 0; i < g->count; i++) {
		const struct gmem_region *r = &g->regions[i];

		if (r->region == MEMLEASE_REGION_BOOT && len > 0 &&
		    inside(user, len, r->user, r->bytes)) {
			*out = (struct gmem_span){ r->off + (user - r->user), len };
			return 0;
		}
	}
	return -EFAULT;
}

int gmem_boot_run(const struct gmem *g, uint64_t first, uint64_t count, struct gmem_run *out)
{
	struct gmem_span span;
	uint64_t left;

	if (first > UINT64_MAX / MEMLEASE_BLOCK_BYTES)
		return -ERANGE;
	for (unsigned int i = 0; i < g->count; i++) {
		const struct gmem_region *r = &g->regions[i];
		gpa_t gpa = { first * MEMLEASE_BLOCK_BYTES };

		if (r->region != MEMLEASE_REGION_BOOT ||
		    !inside(gpa.raw, MEMLEASE_BLOCK_BYTES, r->gpa, r->bytes))
			continue;
		span.off = r->off + (gpa.raw - r->gpa);
		left = (r->bytes - (gpa.raw - r->gpa)) / MEMLEASE_BLOCK_BYTES;
		*out = (struct gmem_run){
			.region = MEMLEASE_REGION_BOOT,
			.first = span.off / MEMLEASE_BLOCK_BYTES,
			.count = count < left ? count : left,
		};
		return 0;
	}
	return -ERANGE;
}

int gmem_boot_slot(const struct gmem *g, uint64_t file_slot, uint64_t *out)
{
	uint64_t off = file_slot * MEMLEASE_BLOCK_BYTES;

	for (unsigned int i = 0; i < g->count; i++) {
		const struct gmem_region *r = &g->regions[i];

		if (r->region == MEMLEASE_REGION_BOOT &&
		    inside(off, MEMLEASE_BLOCK_BYTES, r->off, r->bytes)) {
			*out = (r->gpa + (off - r->off)) / MEMLEASE_BLOCK_BYTES;
			return 0;
		}
	}
	return -ERANGE;
}

int gmem_ready(struct gmem *g, struct gmem_span span)
{
	uint64_t last = (span.off + span.len - 1) / MEMLEASE_BLOCK_BYTES;
	int r;

	for (uint64_t slot = span.off / MEMLEASE_BLOCK_BYTES; slot <= last; slot++) {
		if (lend_resident(g->vm, MEMLEASE_REGION_BOOT, slot))
			continue;
		r = lend_touch(g->vm, MEMLEASE_REGION_BOOT, slot);
		if (r < 0)
			return r;
	}
	return 0;
}

/* The address of len bytes of a span, made resident first; at + len must lie inside the span. */
static int gmem_at(struct gmem *g, struct gmem_span span, uint64_t at, size_t len, uint8_t **out)
{
	int r;

	assert(at <= span.len && len <= span.len - at);
	if (!g->map || !inside(span.off, span.len, 0, g->map_bytes))
		return -EFAULT;
	r = gmem_ready(g, (struct gmem_span){ span.off + at, len });
	if (r < 0)
		return r;
	*out = g->map + span.off + at;
	return 0;
}

static int guarded_copy(void *to, const void *from, size_t len)
{
	sigjmp_buf here;

	if (sigsetjmp(here, 0))
		return -EFAULT;
	ml_bus_guard(&here);
	/* The compiler must not move the copy out from between setting and clearing the guard. */
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	memcpy(to, from, len);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	ml_bus_guard(NULL);
	return 0;
}

static int guarded_load16(const uint16_t *from, uint16_t *to)
{
	sigjmp_buf here;

	if (sigsetjmp(here, 0))
		return -EFAULT;
	ml_bus_guard(&here);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	*to = __atomic_load_n(from, __ATOMIC_ACQUIRE);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	ml_bus_guard(NULL);
	return 0;
}

static int guarded_store16(uint16_t *to, uint16_t value)
{
	sigjmp_buf here;

	if (sigsetjmp(here, 0))
		return -EFAULT;
	ml_bus_guard(&here);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	__atomic_store_n(to, value, __ATOMIC_RELEASE);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	ml_bus_guard(NULL);
	return 0;
}

static int guarded_swap32(uint32_t *word, uint32_t *from, uint32_t to)
{
	sigjmp_buf here;

	if (sigsetjmp(here, 0))
		return -EFAULT;
	ml_bus_guard(&here);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	__atomic_compare_exchange_n(word, from, to, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	ml_bus_guard(NULL);
	return 0;
}

int gmem_read(struct gmem *g, struct gmem_span span, uint64_t at, void *to, size_t len)
{
	uint8_t *p;
	int r = gmem_at(g, span, at, len, &p);

	return r < 0 ? r : guarded_copy(to, p, len);
}

int gmem_write(struct gmem *g, struct gmem_span span, uint64_t at, const void *from, size_t len)
{
	uint8_t *p;
	int r = gmem_at(g, span, at, len, &p);

	return r < 0 ? r : guarded_copy(p, from, len);
}

int gmem_load16(struct gmem *g, struct gmem_span span, uint64_t at, uint16_t *to)
{
	uint16_t le;
	uint8_t *p;
	int r = gmem_at(g, span, at, sizeof(le), &p);

	if (r == 0)
		r = guarded_load16((const uint16_t *)(void *)p, &le);
	if (r == 0)
		*to = le16toh(le);
	return r;
}

int gmem_store16(struct gmem *g, struct gmem_span span, uint64_t at, uint16_t value)
{
	uint8_t *p;
	int r = gmem_at(g, span, at, sizeof(value), &p);

	return r < 0 ? r : guarded_store16((uint16_t *)(void *)p, htole16(value));
}

int gmem_swap32(struct gmem *g, struct gmem_span span, uint64_t at, uint32_t from, uint32_t to,
		uint32_t *was)
{
	uint32_t le = htole32(from);
	uint8_t *p;
	int r = gmem_at(g, span, at, sizeof(le), &p);

	assert((span.off + at) % sizeof(le) == 0);
	if (r == 0)
		r = guarded_swap32((uint32_t *)(void *)p, &le, htole32(to));
	/* Where it was swapped the word that was expected is the one that was there. */
	if (r == 0)
		*was = le32toh(le);
	return r;
}
