// SPDX-License-Identifier: GPL-2.0-or-later
/* Small files; see file.h. */
#include "file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"

static int map_fd(int fd, size_t size, int protection, struct ml_map *map)
{
	void *p = mmap(NULL, size, protection, MAP_SHARED, fd, 0);

	if (p == MAP_FAILED)
		return -errno;
	map->data = p;
	map->size = size;
	return 0;
}

int ml_map_create(int dirfd, const char *name, size_t size, struct ml_map *map)
{
	ml_autoclose int fd = -1;
	int ret;

	fd = openat(dirfd, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	/* Allocated now: a store into a hole of a full file system is a SIGBUS. */
	do {
		ret = posix_fallocate(fd, 0, (off_t)size);
	} while (ret == EINTR);
	ret = ret ? -ret : map_fd(fd, size, PROT_READ | PROT_WRITE, map);
	if (ret < 0)
		unlinkat(dirfd, name, 0);
	return ret;
}

static int open_and_map(int dirfd, const char *name, size_t least, bool writable,
			struct ml_map *map)
{
	ml_autoclose int fd = -1;
	struct stat st;

	fd = openat(dirfd, name,
		    (writable ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || st.st_size <= 0 || (uint64_t)st.st_size < least)
		return -EUCLEAN;
	return map_fd(fd, (size_t)st.st_size, writable ? PROT_READ | PROT_WRITE : PROT_READ, map);
}

int ml_map_open(int dirfd, const char *name, size_t least, struct ml_map *map)
{
	return open_and_map(dirfd, name, least, true, map);
}

int ml_map_look(int dirfd, const char *name, size_t least, struct ml_map *map)
{
	return open_and_map(dirfd, name, least, false, map);
}

void ml_map_close(struct ml_map *map)
{
	if (map->data)
		munmap(map->data, map->size);
	map->data = NULL;
	map->size = 0;
}

int ml_read_line(int dirfd, const char *path, char *buf, size_t size)
{
	ml_autoclose int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC);
	size_t used = 0;

	if (fd < 0)
		return -errno;
	for (;;) {
		ssize_t n = read(fd, buf + used, size - used);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		used += (size_t)n;
		if (used == size)
			return -EFBIG;
	}
	if (used && buf[used - 1] == '\n')
		used--;
	buf[used] = '\0';
	return (int)used;
}

/* Never onto a file that is there. Not every file system can promise that by itself. */
static int rename_new(int dirfd, const char *from, const char *to)
{
	if (renameat2(dirfd, from, dirfd, to, RENAME_NOREPLACE) == 0)
		return 0;
	if (errno != EINVAL && errno != ENOSYS)
		return -errno;
	if (faccessat(dirfd, to, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
		return -EEXIST;
	return renameat(dirfd, from, dirfd, to) < 0 ? -errno : 0;
}

int ml_set_aside(int dirfd, const char *name, char *aside, size_t size)
{
	int ret = -EEXIST;

	for (int i = 1; ret == -EEXIST && i <= ML_ASIDE_MAX; i++) {
		if ((size_t)snprintf(aside, size, "%s.damaged-%d", name, i) >= size)
			return -ENAMETOOLONG;
		ret = rename_new(dirfd, name, aside);
	}
	return ret;
}

int ml_write_all(int fd, const void *data, size_t size)
{
	const char *p = data;

	while (size) {
		ssize_t n = write(fd, p, size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		p += n;
		size -= (size_t)n;
	}
	return 0;
}

void ml_boot_id(char buf[ML_BOOT_ID_BYTES])
{
	if (ml_read_line(AT_FDCWD, "/proc/sys/kernel/random/boot_id", buf, ML_BOOT_ID_BYTES) < 0)
		buf[0] = '\0';
}

DIR *ml_list_dir(int dirfd)
{
	ml_autoclose int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;

	if (dir)
		ml_steal_fd(&fd);
	return dir;
}

bool ml_fd_is_anon(int fd, const char *kind)
{
	char path[40], link[64], want[64];
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	n = readlink(path, link, sizeof(link) - 1);
	if (n < 0)
		return false;
	link[n] = '\0';
	snprintf(want, sizeof(want), "anon_inode:[%s]", kind);
	return strcmp(link, want) == 0;
}

int ml_uuid_make(char buf[ML_UUID_TEXT])
{
	unsigned char r[16];
	ssize_t n;

	do {
		n = getrandom(r, sizeof(r), 0);
	} while (n < 0 && errno == EINTR);
	if (n != (ssize_t)sizeof(r))
		return n < 0 ? -errno : -EIO;
	r[6] = (r[6] & 0x0f) | 0x40;
	r[8] = (r[8] & 0x3f) | 0x80;
	snprintf(buf, ML_UUID_TEXT,
		 "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x",
		 r[0], r[1], r[2], r[3], r[4], r[5], r[6], r[7], r[8], r[9], r[10], r[11], r[12],
		 r[13], r[14], r[15]);
	return 0;
}
