// SPDX-License-Identifier: GPL-2.0-or-later
/* Devices that a process has open; see assigned.h. Runs on the event loop's thread; bounded. */
#include "assigned.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "../base/cleanup.h"

#define FILES_MOST 4096		/* looked at; a QEMU has some hundred */

static bool pins(const char *target)
{
	static const char *const begins[] = {
		"/dev/vfio/", "/dev/iommu", "/dev/vhost-vdpa", "anon_inode:[vfio", "anon_inode:[iommufd",
	};

	for (size_t i = 0; i < sizeof(begins) / sizeof(begins[0]); i++)
		if (!strncmp(target, begins[i], strlen(begins[i])))
			return true;
	return false;
}

int assigned_check_links(int fd, struct ml_why *why)
{
	int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	DIR *dir = copy < 0 ? NULL : fdopendir(copy);
	char target[PATH_MAX];
	struct dirent *entry;
	int ret = 0;

	if (!dir) {
		if (copy >= 0)
			close(copy);
		return 0;
	}
	for (int i = 0; !ret && i < FILES_MOST && (entry = readdir(dir)); i++) {
		ssize_t n = readlinkat(fd, entry->d_name, target, sizeof(target) - 1);

		if (n <= 0)
			continue;
		target[n] = '\0';
		if (pins(target))
			ret = ml_refuse(why, -EPERM,
					"it has %.100s open: an assigned device would go on writing to blocks that the guest gave back; start this VM without",
					target);
	}
	closedir(dir);
	return ret;
}

int assigned_check(pid_t pid, struct ml_why *why)
{
	char path[32];
	ml_autoclose int dir = -1;

	snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return dir < 0 ? 0 : assigned_check_links(dir, why);
}
