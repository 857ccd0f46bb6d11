// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Makes the control socket, and knows the paths of the others; see sockets.h. Keeps no state.
 */
#include "sockets.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "../base/cleanup.h"
#include "../base/terms.h"
#include "../base/log.h"
#include "../base/walk.h"

#define LISTEN_BACKLOG 256
#ifndef SO_PASSRIGHTS
#define SO_PASSRIGHTS 83	/* <asm-generic/socket.h> of Linux 6.16 */
#endif

/* The socket's address through a descriptor of its directory, which links cannot lead astray. */
static int address_in(int dir, const char *name, struct sockaddr_un *addr)
{
	char proc[ML_WALK_PROC];

	*addr = (struct sockaddr_un){ .sun_family = AF_UNIX };
	return snprintf(addr->sun_path, sizeof(addr->sun_path), "%s/%s", ml_walk_proc(dir, proc), name) >=
	       (int)sizeof(addr->sun_path) ? -ENAMETOOLONG : 0;
}

/* Is anybody behind the socket at this address? */
static bool served(const struct sockaddr_un *addr)
{
	ml_autoclose int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return true;
	return !connect(fd, (const struct sockaddr *)addr, sizeof(*addr)) || errno == EAGAIN;
}

static int clear_way(int dir, const char *name, const char *path, const struct sockaddr_un *addr)
{
	struct stat st;

	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW))
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISSOCK(st.st_mode)) {
		ml_err("%s: there is something that is no socket; move it away", path);
		return -EEXIST;
	}
	if (served(addr)) {
		ml_err("%s: another process serves this socket; end it, or give another --run-dir", path);
		return -EADDRINUSE;
	}
	return unlinkat(dir, name, 0) ? -errno : 0;
}

/* Give away what bind() made, and nothing that somebody put in its place. */
static int give(int dir, const char *name, uid_t uid, gid_t gid)
{
	ml_autoclose int fd = openat(dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st))
		return -errno;
	if (!S_ISSOCK(st.st_mode) || st.st_nlink != 1 || st.st_uid != geteuid())
		return -EEXIST;
	return fchownat(fd, "", uid, gid, AT_EMPTY_PATH) ? -errno : 0;
}

static int listen_in(int dir, const char *name, const char *path, uid_t uid, gid_t gid)
{
	struct sockaddr_un addr;
	ml_autoclose int fd = -1;
	const int off = 0;
	mode_t mask;
	int ret = address_in(dir, name, &addr);

	if (!ret)
		ret = clear_way(dir, name, path, &addr);
	if (ret)
		return ret;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	/* Nobody sends descriptors here; from Linux 6.16 on the kernel sees to it. */
	if (fd >= 0)
		(void)setsockopt(fd, SOL_SOCKET, SO_PASSRIGHTS, &off, sizeof(off));
	/* bind() makes the file with the socket's own mode: there is no moment with another. */
	if (fd < 0 || fchmod(fd, 0660))
		return -errno;
	mask = umask(0);
	ret = bind(fd, (struct sockaddr *)&addr, sizeof(addr)) ? -errno : 0;
	umask(mask);
	if (!ret)
		ret = give(dir, name, uid, gid);
	if (!ret && listen(fd, LISTEN_BACKLOG))
		ret = -errno;
	return ret ? ret : ml_steal_fd(&fd);
}

int ctl_listen(const char *path, uid_t uid, gid_t gid)
{
	struct ml_why why = { "" };
	const char *name;
	ml_autoclose int dir = -1;
	int ret;

	if (strlen(path) >= sizeof(((struct sockaddr_un *)NULL)->sun_path)) {
		ml_err("%s: a socket's path has at most %zu bytes; give a shorter --run-dir", path,
		       sizeof(((struct sockaddr_un *)NULL)->sun_path) - 1);
		return -ENAMETOOLONG;
	}
	dir = ml_walk_parent(path, &name, &why);
	if (dir < 0) {
		ml_err("%s", why.text);
		return dir;
	}
	ret = listen_in(dir, name, path, uid, gid);
	if (ret < 0)
		ml_err("%s: cannot listen: %s", path, strerror(-ret));
	return ret;
}

int ctl_vhost_path(const char *vm_dir, const char *vm, char *path, size_t size)
{
	struct sockaddr_un addr;
	int len = snprintf(path, size, "%s/%s" ML_VHOST_SOCKET_TAIL, vm_dir, vm);

	return len < 0 || (size_t)len >= size || (size_t)len >= sizeof(addr.sun_path) ?
		-ENAMETOOLONG : 0;
}
