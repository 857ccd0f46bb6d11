/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Small files: mapped ones that survive the daemon, and one-line ones of the
 * kernel's. Used by pool/, lend/ and daemon/.
 */
#ifndef ML_BASE_FILE_H
#define ML_BASE_FILE_H

#include <dirent.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A file mapped whole, shared, readable and writable. */
struct ml_map {
	void *data;		/* NULL: none */
	size_t size;
};

/* Create name (mode 0600, must not exist) of size zero bytes, its space allocated, and map it. */
int ml_map_create(int dirfd, const char *name, size_t size, struct ml_map *map);
/* Map an existing regular file whole. -EUCLEAN if it is shorter than least. */
int ml_map_open(int dirfd, const char *name, size_t least, struct ml_map *map);
/* The same to read only: a store into it is a fault. */
int ml_map_look(int dirfd, const char *name, size_t least, struct ml_map *map);
/* Unmap; does nothing on an empty one. The file stays. */
void ml_map_close(struct ml_map *map);

/*
 * Read a file of a few bytes (of /proc, say) as text without its last newline.
 * Returns its length; -EFBIG if it does not fit.
 */
int ml_read_line(int dirfd, const char *path, char *buf, size_t size);

#define ML_ASIDE_MAX 999
/*
 * Give a file that is of no use, and that may not be deleted, the first name of NAME.damaged-1
 * to -999 that is free. The new name comes back in `aside`. -EEXIST: none is.
 */
int ml_set_aside(int dirfd, const char *name, char *aside, size_t size);

/* The entries of a directory, by a descriptor of it that stays as it is. NULL and errno. */
DIR *ml_list_dir(int dirfd);

/*
 * Is fd an anonymous open file of this kind ("eventfd", "userfaultfd")? By the kernel's own
 * name for it, which cannot be forged: what has a path begins with '/'. Takes /proc.
 */
bool ml_fd_is_anon(int fd, const char *kind);

/* Wholly, through EINTR and short writes. */
int ml_write_all(int fd, const void *data, size_t size);

#define ML_BOOT_ID_BYTES 40
/* Which boot of the machine this is; "" if the kernel does not say. */
void ml_boot_id(char buf[ML_BOOT_ID_BYTES]);

/* A random version 4 UUID, lower case. */
#define ML_UUID_TEXT 37
int ml_uuid_make(char buf[ML_UUID_TEXT]);

#endif /* ML_BASE_FILE_H */
