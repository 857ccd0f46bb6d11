// SPDX-License-Identifier: GPL-2.0-or-later
/* Walking paths with root's rights; see walk.h. Keeps no state. */
#include "walk.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"

#define LINKS_MAX 40	/* as Linux */

struct walk {
	const char *path;	/* as it was given, for the complaint */
	int fd;			/* where it is now */
	char left[PATH_MAX];	/* what is still to go */
	int links;		/* followed so far */
	bool make;
	mode_t mode;
	bool made;		/* the part that it came to last */
};

static bool ours(uid_t uid)
{
	return uid == 0 || uid == geteuid();
}

/* Could nobody but root, and who runs this, have put a link of this owner into the directory? */
static bool trusted(int dir, const struct stat *link)
{
	struct stat st;

	return ours(link->st_uid) && !fstat(dir, &st) && ours(st.st_uid) &&
	       (!(st.st_mode & 022) || st.st_mode & S_ISVTX);
}

static void go_to(struct walk *w, int fd)
{
	close(w->fd);
	w->fd = fd;
}

/* name is a link, link its descriptor: what it says comes before what is left. */
static int follow(struct walk *w, int link, const char *name, const struct stat *st, struct ml_why *why)
{
	char target[PATH_MAX], rest[PATH_MAX];
	ssize_t n;

	if (!trusted(w->fd, st))
		return ml_refuse(why, -ELOOP,
				 "'%s' on the way to %s is a symbolic link that user %u may have planted; take it away",
				 name, w->path, (unsigned int)st->st_uid);
	if (++w->links > LINKS_MAX)
		return ml_refuse(why, -ELOOP, "%s: too many symbolic links", w->path);
	n = readlinkat(link, "", target, sizeof(target) - 1);
	if (n < 0)
		return ml_refuse(why, -errno, "'%s' on the way to %s: %s", name, w->path, strerror(errno));
	target[n] = '\0';
	strcpy(rest, w->left);
	if (snprintf(w->left, sizeof(w->left), "%s/%s", target, rest) >= (int)sizeof(w->left))
		return ml_refuse(why, -ENAMETOOLONG, "%s: too long", w->path);
	if (target[0] == '/') {
		int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);

		if (root < 0)
			return -errno;
		go_to(w, root);
	}
	return 0;
}

static int open_part(struct walk *w, const char *name, bool last)
{
	int fd = openat(w->fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);

	w->made = false;
	if (fd >= 0 || errno != ENOENT || !w->make)
		return fd < 0 ? -errno : fd;
	if (mkdirat(w->fd, name, last ? w->mode : 0755))
		return -errno;
	w->made = true;
	fd = openat(w->fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/* One part of what is left. */
static int step(struct walk *w, struct ml_why *why)
{
	char *slash = strchr(w->left, '/'), name[NAME_MAX + 1];
	size_t len = slash ? (size_t)(slash - w->left) : strlen(w->left);
	ml_autoclose int fd = -1;
	struct stat st;

	if (len > NAME_MAX)
		return ml_refuse(why, -ENAMETOOLONG, "%s: a part of it is too long", w->path);
	memcpy(name, w->left, len);
	name[len] = '\0';
	while (w->left[len] == '/')
		len++;
	memmove(w->left, w->left + len, strlen(w->left + len) + 1);
	fd = open_part(w, name, !w->left[0]);
	if (fd < 0 || fstat(fd, &st))
		return ml_refuse(why, fd < 0 ? fd : -errno, "'%s' on the way to %s: %s", name, w->path,
				 strerror(fd < 0 ? -fd : errno));
	if (S_ISLNK(st.st_mode))
		return follow(w, fd, name, &st, why);
	if (!S_ISDIR(st.st_mode))
		return ml_refuse(why, -ENOTDIR, "'%s' on the way to %s is no directory", name, w->path);
	go_to(w, ml_steal_fd(&fd));
	return 0;
}

static int walk(struct walk *w, const char *path, struct ml_why *why)
{
	int ret = 0;

	w->path = path;
	if (strlen(path) >= sizeof(w->left))
		return ml_refuse(why, -ENAMETOOLONG, "%.60s...: too long", path);
	w->fd = open(path[0] == '/' ? "/" : ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (w->fd < 0)
		return ml_refuse(why, -errno, "%s: %s", path, strerror(errno));
	strcpy(w->left, path + strspn(path, "/"));
	while (!ret && w->left[0]) {
		/* A link may have left several. */
		size_t slashes = strspn(w->left, "/");

		memmove(w->left, w->left + slashes, strlen(w->left + slashes) + 1);
		if (w->left[0])
			ret = step(w, why);
	}
	if (!ret)
		return w->fd;
	close(w->fd);
	return ret;
}

int ml_walk_dir(const char *path, struct ml_why *why)
{
	struct walk w = { .make = false };

	return walk(&w, path, why);
}

int ml_walk_make(const char *path, mode_t mode, bool *made, struct ml_why *why)
{
	struct walk w = { .make = true, .mode = mode };
	int fd = walk(&w, path, why);

	*made = w.made;
	return fd;
}

int ml_walk_parent(const char *path, const char **last, struct ml_why *why)
{
	const char *slash = strrchr(path, '/');
	char dir[PATH_MAX];

	*last = slash ? slash + 1 : path;
	if (!slash)
		return ml_walk_dir(".", why);
	if ((size_t)snprintf(dir, sizeof(dir), "%.*s/", (int)(slash - path), path) >= sizeof(dir))
		return ml_refuse(why, -ENAMETOOLONG, "%.60s...: too long", path);
	return ml_walk_dir(dir, why);
}

int ml_walk_file(const char *path, int flags, struct ml_why *why)
{
	const char *last;
	ml_autoclose int dir = ml_walk_parent(path, &last, why), fd = -1;
	struct stat st;

	if (dir < 0)
		return dir;
	/* Not to wait, should it be a pipe. */
	fd = openat(dir, last, flags | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0600);
	if (fd < 0 && (errno == ELOOP || errno == ENXIO || errno == EISDIR))
		return ml_refuse(why, -EEXIST, "%s: there is something that is no file; take it away", path);
	if (fd < 0 || fstat(fd, &st))
		return ml_refuse(why, -errno, "%s: %s", path, strerror(errno));
	if (!S_ISREG(st.st_mode) || st.st_nlink != 1)
		return ml_refuse(why, -EEXIST, "%s: there is something that is no file, or a file with another name besides; take it away",
				 path);
	return ml_steal_fd(&fd);
}

const char *ml_walk_proc(int fd, char buf[ML_WALK_PROC])
{
	snprintf(buf, ML_WALK_PROC, "/proc/self/fd/%d", fd);
	return buf;
}
