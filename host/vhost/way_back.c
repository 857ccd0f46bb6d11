// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * An access control list of five entries, in the form in which Linux takes it; see way_back.h.
 * Runs on the event loop's thread; touches /proc and a file system in memory.
 */
#include "way_back.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/posix_acl.h>
#include <linux/posix_acl_xattr.h>
#include <stdio.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "../base/file.h"

#define ACL_NAME "system.posix_acl_access"

struct acl {
	struct posix_acl_xattr_header head;
	struct posix_acl_xattr_entry entries[5];
};

/* The real user: /proc/PID itself belongs to root as soon as a process has changed users. */
static int uid_of(pid_t pid, uid_t *uid)
{
	char path[32], text[8192];
	const char *line;
	int ret;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	ret = ml_read_line(AT_FDCWD, path, text, sizeof(text));
	if (ret < 0)
		return ret;
	line = strstr(text, "\nUid:\t");
	return line && sscanf(line, "\nUid:\t%u", uid) == 1 ? 0 : -EIO;
}

static struct posix_acl_xattr_entry entry(unsigned int tag, unsigned int perm, unsigned int id)
{
	return (struct posix_acl_xattr_entry){
		.e_tag = htole16((uint16_t)tag), .e_perm = htole16((uint16_t)perm), .e_id = htole32(id),
	};
}

int way_back_open(const char *path, pid_t pid)
{
	const unsigned int both = ACL_READ | ACL_WRITE;
	uid_t uid;
	int ret = uid_of(pid, &uid);
	struct acl acl;

	if (ret < 0 || uid == 0 || uid == geteuid())
		return ret;
	acl.head.a_version = htole32(POSIX_ACL_XATTR_VERSION);
	acl.entries[0] = entry(ACL_USER_OBJ, both, ACL_UNDEFINED_ID);
	acl.entries[1] = entry(ACL_USER, both, uid);
	acl.entries[2] = entry(ACL_GROUP_OBJ, 0, ACL_UNDEFINED_ID);
	acl.entries[3] = entry(ACL_MASK, both, ACL_UNDEFINED_ID);
	acl.entries[4] = entry(ACL_OTHER, 0, ACL_UNDEFINED_ID);
	return lsetxattr(path, ACL_NAME, &acl, sizeof(acl), 0) ? -errno : 0;
}
