// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The backend `file`: each region is a sparse file of a private tmpfs or
 * hugetlbfs. Mapping a slot allocates 2 MiB of the file, which the kernel
 * zeroes; unmapping punches a hole, which takes it from every mapping.
 *
 * The file system is asked for the whole number of allocated bytes by fstat().
 * Which slots they are is harder: SEEK_DATA does not see pages that were
 * allocated and never touched, cachestat() (Linux 6.5) does, and hugetlbfs
 * answers neither. So what is mapped follows from the block table and is only
 * checked against this.
 */
#include "backend.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "../../proto/memlease_abi.h"
#include "../base/cleanup.h"
#include "../base/file.h"
#include "../base/log.h"

#define BLOCK MEMLEASE_BLOCK_BYTES
#define STAT_SECTOR_BYTES 512
#define NR_CACHESTAT 451	/* the same number on every architecture */
#define HUGE_POOL_FILE "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages"

struct file_backend {
	struct backend base;
	char *dir;
	int dirfd;
	bool cachestat;
	bool seek;
};

static struct file_backend *file_of(struct backend *b)
{
	return (struct file_backend *)b;
}

static int file_create(struct backend *b, const char *name, uint64_t blocks)
{
	ml_autoclose int fd = -1;
	int err;

	fd = openat(file_of(b)->dirfd, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	if (ftruncate(fd, (off_t)(blocks * BLOCK)) < 0) {
		err = errno;
		unlinkat(file_of(b)->dirfd, name, 0);
		return -err;
	}
	return 0;
}

static int file_open(struct backend *b, const char *name, uint64_t blocks,
		     struct backend_region *region)
{
	ml_autoclose int fd = -1;
	struct stat st;

	fd = openat(file_of(b)->dirfd, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EUCLEAN;
	/* QEMU can change the size of its files; put it right rather than serve less. */
	if ((uint64_t)st.st_size != blocks * BLOCK && ftruncate(fd, (off_t)(blocks * BLOCK)) < 0)
		return -EUCLEAN;
	if (asprintf(&region->path, "%s/%s", file_of(b)->dir, name) < 0) {
		region->path = NULL;
		return -ENOMEM;
	}
	region->backend = b;
	region->blocks = blocks;
	region->fd = ml_steal_fd(&fd);
	region->device = 0;
	region->priv = NULL;
	return 0;
}

static void file_close(struct backend_region *region)
{
	if (region->fd >= 0)
		close(region->fd);
	free(region->path);
	region->path = NULL;
	region->fd = -1;
}

static int file_open_memory(struct backend_region *region)
{
	int fd = fcntl(region->fd, F_DUPFD_CLOEXEC, 0);

	return fd < 0 ? -errno : fd;
}

static int file_remove(struct backend *b, const char *name)
{
	return unlinkat(file_of(b)->dirfd, name, 0) < 0 ? -errno : 0;
}

static int file_each(struct backend *b, int (*one)(void *ctx, const char *name), void *ctx)
{
	DIR *dir = ml_list_dir(file_of(b)->dirfd);
	struct dirent *e;
	int ret = 0;

	if (!dir)
		return -errno;
	while (ret == 0 && (e = readdir(dir))) {
		if (e->d_name[0] != '.')
			ret = one(ctx, e->d_name);
	}
	closedir(dir);
	return ret;
}

/*
 * Nobody has it open if we get a write lease of it: so the kernel says it, for mappings, too,
 * of which each holds the file open that it was made from. Where there are no leases the
 * answer is that it may be. Who opens it just then waits until the lease is given up again.
 */
static bool may_be_open(int fd)
{
	if (fcntl(fd, F_SETLEASE, F_WRLCK) < 0)
		return true;
	fcntl(fd, F_SETLEASE, F_UNLCK);
	return false;
}

static int file_left(struct backend *b, const char *name, struct backend_left *left)
{
	ml_autoclose int fd = openat(file_of(b)->dirfd, name,
				     O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EUCLEAN;
	left->slots = (uint64_t)st.st_size / BLOCK;
	left->blocks = ((uint64_t)st.st_blocks * STAT_SECTOR_BYTES + BLOCK - 1) / BLOCK;
	left->open = may_be_open(fd);
	return 0;
}

static int file_discard(struct backend *b, const char *name,
			void (*gone)(void *ctx, uint32_t block), void *ctx)
{
	(void)gone, (void)ctx;
	return file_remove(b, name);
}

/* A signal ends fallocate() early and undoes it, so it is simply tried again. */
static int allocate(int fd, int mode, uint64_t first, uint64_t count)
{
	int ret;

	do {
		ret = fallocate(fd, mode, (off_t)(first * BLOCK), (off_t)(count * BLOCK));
	} while (ret < 0 && errno == EINTR);
	return ret < 0 ? -errno : 0;
}

static int file_map(struct backend_region *region, uint64_t slot, uint32_t block)
{
	(void)block;	/* the file system chooses the memory; the number only counts */
	return allocate(region->fd, 0, slot, 1);
}

static int file_unmap(struct backend_region *region, uint64_t first, uint64_t count,
		      uint32_t *blocks, uint32_t *taken)
{
	(void)blocks;
	*taken = 0;
	return allocate(region->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, first, count);
}

static int file_resident_bytes(struct backend_region *region, uint64_t *bytes)
{
	struct stat st;

	if (fstat(region->fd, &st) < 0)
		return -errno;
	*bytes = (uint64_t)st.st_blocks * STAT_SECTOR_BYTES;
	return 0;
}

/* As in <linux/mman.h> of 6.5; the headers we build with may be older. */
struct cachestat_range_abi {
	uint64_t off, len;
};

struct cachestat_abi {
	uint64_t cache, dirty, writeback, evicted, recently_evicted;
};

/* Pages of a range that are in memory or in swap, touched or not. */
static int cached_pages(int fd, uint64_t first, uint64_t count, uint64_t *pages)
{
	struct cachestat_range_abi range = { first * BLOCK, count * BLOCK };
	struct cachestat_abi cs = { 0 };

	if (syscall(NR_CACHESTAT, fd, &range, &cs, 0) < 0)
		return -errno;
	*pages = cs.cache + cs.evicted;
	return 0;
}

/* Halves a range until it is empty or one slot: cheap where little is there. */
static int scan_cachestat(int fd, uint64_t first, uint64_t count, uint8_t *present)
{
	uint64_t pages, half;
	int ret = cached_pages(fd, first, count, &pages);

	if (ret < 0)
		return ret;
	if (!pages || count == 1) {
		memset(present, pages ? 1 : 0, count);
		return 0;
	}
	half = count / 2;
	ret = scan_cachestat(fd, first, half, present);
	return ret < 0 ? ret : scan_cachestat(fd, first + half, count - half, present + half);
}

static int scan_seek(int fd, uint64_t first, uint64_t count, uint8_t *present)
{
	off_t at = (off_t)(first * BLOCK), end = (off_t)((first + count) * BLOCK);

	memset(present, 0, count);
	while (at < end) {
		uint64_t slot;

		at = lseek(fd, at, SEEK_DATA);
		if (at < 0)
			return errno == ENXIO ? 0 : -errno;
		if (at >= end)
			break;
		slot = (uint64_t)at / BLOCK;
		present[slot - first] = 1;
		at = (off_t)((slot + 1) * BLOCK);
	}
	return 0;
}

static int file_scan(struct backend_region *region, uint64_t first, uint64_t count,
		     uint8_t *present)
{
	struct file_backend *f = file_of(region->backend);

	if (f->cachestat)
		return scan_cachestat(region->fd, first, count, present);
	if (f->seek)
		return scan_seek(region->fd, first, count, present);
	return -EOPNOTSUPP;
}

static void file_free(struct backend *b)
{
	close(file_of(b)->dirfd);
	free(file_of(b)->dir);
	free(b);
}

static const struct backend_ops file_ops = {
	.create = file_create,
	.open = file_open,
	.close = file_close,
	.remove = file_remove,
	.each = file_each,
	.left = file_left,
	.discard = file_discard,
	.open_memory = file_open_memory,
	.map = file_map,
	.unmap = file_unmap,
	.resident_bytes = file_resident_bytes,
	.scan = file_scan,
	.free = file_free,
};

bool backend_file_kernel_unsafe(const char *release)
{
	unsigned int major = 0, minor = 0, patch = 0;

	if (sscanf(release, "%u.%u.%u", &major, &minor, &patch) < 2)
		return false;
	return major == 7 && (minor == 0 || (minor == 1 && patch <= 8));
}

/* Without KVM no guest is mapped by the tables that are flushed wrongly. */
static int check_kernel(void)
{
	struct utsname u;

	if (uname(&u) < 0 || !backend_file_kernel_unsafe(u.release) || access("/dev/kvm", F_OK) < 0)
		return 0;
	ml_err("host kernel %s: kernels 7.0 to 7.1.8 flush wrongly when a block is discarded under KVM (CVE-2026-74674); boot 7.1.9 or later",
	       u.release);
	return -EINVAL;
}

static int check_hugetlbfs(const char *dir, const struct statfs *fs, uint64_t pool_blocks)
{
	unsigned long long have = 0;
	char text[32];

	if ((uint64_t)fs->f_bsize != BLOCK) {
		ml_err("pool directory %s: hugetlbfs with pages of %lld bytes; mount one with pagesize=2M",
		       dir, (long long)fs->f_bsize);
		return -EINVAL;
	}
	if (ml_read_line(AT_FDCWD, HUGE_POOL_FILE, text, sizeof(text)) > 0)
		have = strtoull(text, NULL, 10);
	if (fs->f_blocks && (uint64_t)fs->f_blocks < have)
		have = (uint64_t)fs->f_blocks;
	if (have < pool_blocks) {
		ml_err("pool directory %s: %llu huge pages for a pool of %llu blocks; write %llu to %s, or make the pool smaller",
		       dir, have, (unsigned long long)pool_blocks,
		       (unsigned long long)pool_blocks, HUGE_POOL_FILE);
		return -ENOSPC;
	}
	return 0;
}

static int check_tmpfs(struct file_backend *f, const struct statfs *fs, uint64_t pool_blocks)
{
	uint64_t bytes = (uint64_t)fs->f_blocks * (uint64_t)fs->f_bsize;
	ml_autoclose int fd = -1;
	struct stat st;

	if (fs->f_blocks && bytes / BLOCK < pool_blocks) {
		ml_err("pool directory %s: its tmpfs holds %llu blocks, the pool shall have %llu; remount it with size=%lluM, or make the pool smaller",
		       f->dir, (unsigned long long)(bytes / BLOCK),
		       (unsigned long long)pool_blocks, (unsigned long long)pool_blocks * 2);
		return -ENOSPC;
	}
	/* A tmpfs with huge pages shows itself in the preferred block size of a file. */
	fd = openat(f->dirfd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (fd >= 0 && fstat(fd, &st) == 0 && (uint64_t)st.st_blksize < BLOCK)
		ml_warn("pool directory %s: its tmpfs was mounted without huge=always; lending works, but giving a block back takes some fifty times as long",
			f->dir);
	return 0;
}

static int check_dir(struct file_backend *f, uint64_t pool_blocks)
{
	struct statfs fs;
	uint64_t pages;
	int ret;

	if (fstatfs(f->dirfd, &fs) < 0)
		return -errno;
	if (fs.f_type == HUGETLBFS_MAGIC) {
		f->base.name = "file: hugetlbfs";
		return check_hugetlbfs(f->dir, &fs, pool_blocks);
	}
	if (fs.f_type != TMPFS_MAGIC) {
		ml_err("pool directory %s: neither tmpfs nor hugetlbfs (type %#llx); mount one: mount -t tmpfs -o huge=always,size=%lluM,mode=0700 memlease %s",
		       f->dir, (unsigned long long)fs.f_type, (unsigned long long)pool_blocks * 2,
		       f->dir);
		return -EINVAL;
	}
	f->base.name = "file: tmpfs";
	ret = check_tmpfs(f, &fs, pool_blocks);
	if (ret == 0) {
		ml_autoclose int fd = openat(f->dirfd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

		f->seek = true;
		f->cachestat = fd >= 0 && cached_pages(fd, 0, 1, &pages) == 0;
		f->base.scan_sees_all = f->cachestat;
	}
	return ret;
}

int backend_file_open(struct backend **out, const char *dir, uint64_t pool_blocks)
{
	struct file_backend *f;
	int ret;

	ret = check_kernel();
	if (ret < 0)
		return ret;
	f = calloc(1, sizeof(*f));
	if (!f)
		return -ENOMEM;
	f->base.ops = &file_ops;
	f->base.zeroes_itself = true;
	f->base.event_fd = -1;
	f->dirfd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (f->dirfd < 0) {
		ret = -errno;
		ml_err("pool directory %s: %m", dir);
		free(f);
		return ret;
	}
	f->dir = realpath(dir, NULL);
	ret = f->dir ? check_dir(f, pool_blocks) : -errno;
	if (ret < 0) {
		file_free(&f->base);
		return ret;
	}
	*out = &f->base;
	return 0;
}
