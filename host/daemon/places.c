// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Directories, lock and mount. Called by main.c, once, as root or not; never
 * from the event loop.
 */
#include "places.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "../../proto/memlease_abi.h"
#include "../base/cleanup.h"
#include "../base/size.h"

#define HOST_KEEPS_BYTES (256ULL << 20)	/* what a host needs besides the pool, at the very least */
#define POOL_INODES 20000		/* two files per VM, and some */
#define POOL_MOUNT_FLAGS (MS_NOSUID | MS_NODEV | MS_NOEXEC)

/* mkdir -p; what is made belongs to the daemon's user. The last part gets mode. */
static int make_dir(const struct config *config, const char *dir, mode_t mode)
{
	char part[PATH_MAX];
	size_t i, len = strlen(dir);
	struct stat st;

	for (i = 1; i <= len; i++) {
		if (dir[i] != '/' && dir[i] != '\0')
			continue;
		memcpy(part, dir, i);
		part[i] = '\0';
		if (!mkdir(part, i == len ? mode : 0755)) {
			if (i == len && (chmod(part, mode) ||
					 (config->has_user && chown(part, config->uid, config->gid))))
				return -errno;
		} else if (errno != EEXIST) {
			return -errno;
		}
	}
	if (stat(dir, &st))
		return -errno;
	return S_ISDIR(st.st_mode) ? 0 : -ENOTDIR;
}

static int make_logged(const struct config *config, const char *option, const char *dir, mode_t mode)
{
	int ret = make_dir(config, dir, mode);

	if (ret)
		ml_err("%s: cannot make the directory: %s; give another %s", dir, strerror(-ret), option);
	return ret;
}

int places_make(const struct config *config)
{
	char dir[PATH_MAX + 8];
	char *slash;
	int ret;

	ret = make_logged(config, "--run-dir", config->run_dir, 0755);
	snprintf(dir, sizeof(dir), "%s/vm", config->run_dir);
	if (!ret)
		ret = make_logged(config, "--run-dir", dir, 0700);
	if (!ret)
		ret = make_logged(config, "--state-dir", config->state_dir, 0700);
	if (!ret && config->own_pool)
		ret = make_logged(config, "--pool-dir", config->pool_dir, 0700);
	if (ret)
		return ret;
	snprintf(dir, sizeof(dir), "%s", config->ledger);
	slash = strrchr(dir, '/');
	if (!slash || slash == dir)
		return 0;
	*slash = '\0';
	return make_logged(config, "--ledger", dir, 0750);
}

int places_lock(const struct config *config, int *fd)
{
	char path[PATH_MAX + 32];
	ml_autoclose int lock = -1;

	snprintf(path, sizeof(path), "%s/memleased.lock", config->run_dir);
	lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (lock < 0) {
		ml_err("%s: %m; give another --run-dir", path);
		return -errno;
	}
	if (config->has_user && fchown(lock, config->uid, config->gid))
		return -errno;
	if (flock(lock, LOCK_EX | LOCK_NB)) {
		if (errno != EWOULDBLOCK)
			return -errno;
		ml_err("%s: another memleased serves this directory; end it, or give another --run-dir",
		       config->run_dir);
		return -EBUSY;
	}
	*fd = ml_steal_fd(&lock);
	return 0;
}

static uint64_t meminfo_bytes(const char *key)
{
	ml_autofclose FILE *f = fopen("/proc/meminfo", "re");
	unsigned long long kib;
	char line[128];

	while (f && fgets(line, sizeof(line), f)) {
		if (!strncmp(line, key, strlen(key)) && sscanf(line + strlen(key), ": %llu", &kib) == 1)
			return kib << 10;
	}
	return 0;
}

int places_check_memory(const struct config *config)
{
	uint64_t pool = config->pool_blocks * MEMLEASE_BLOCK_BYTES;
	uint64_t total = meminfo_bytes("MemTotal"), available = meminfo_bytes("MemAvailable");
	char have[ML_SIZE_TEXT], want[ML_SIZE_TEXT];
	struct statfs fs;

	if (!statfs(config->pool_dir, &fs) && fs.f_type == HUGETLBFS_MAGIC)
		return 0;
	if (total && pool + HOST_KEEPS_BYTES > total) {
		ml_err("--pool %s does not fit: the host has %s, and needs 256M of it itself; make the pool smaller",
		       ml_size_exact(pool, want), ml_size_human(total, have));
		return -ENOSPC;
	}
	/* At a restart the pool itself is what is not available. */
	if (!statfs(config->pool_dir, &fs) && fs.f_type == TMPFS_MAGIC)
		available += (uint64_t)(fs.f_blocks - fs.f_bfree) * (uint64_t)fs.f_bsize;
	if (available && pool > available)
		ml_warn("--pool %s is more than the %s available now; other processes may be starved when it fills up",
			ml_size_exact(pool, want), ml_size_human(available, have));
	return 0;
}

/* Is dir the root of a file system of its own? */
static bool is_mount_point(const char *dir)
{
	char parent[PATH_MAX + 8];
	struct stat here, above;

	snprintf(parent, sizeof(parent), "%s/..", dir);
	return !stat(dir, &here) && !stat(parent, &above) && here.st_dev != above.st_dev;
}

static int mount_tmpfs(const struct config *config, bool again, bool noswap)
{
	char opts[256];

	/* Owner and huge pages stay as first mounted; noswap must be said again, or else is refused. */
	if (again)
		snprintf(opts, sizeof(opts), "size=%lluk%s",
			 (unsigned long long)(config->pool_blocks * MEMLEASE_BLOCK_BYTES >> 10),
			 noswap ? ",noswap" : "");
	else
		snprintf(opts, sizeof(opts),
			 "size=%lluk,huge=always,mode=0700,nr_inodes=%d,uid=%u,gid=%u%s",
			 (unsigned long long)(config->pool_blocks * MEMLEASE_BLOCK_BYTES >> 10),
			 POOL_INODES, config->uid, config->gid, noswap ? ",noswap" : "");
	return mount("memlease-pool", config->pool_dir, "tmpfs",
		     POOL_MOUNT_FLAGS | (again ? MS_REMOUNT : 0), opts) ? -errno : 0;
}

/* Without swap where the kernel can (Linux 6.4): what a VM is billed for shall be memory. */
static int mount_best(const struct config *config, bool again)
{
	int ret = mount_tmpfs(config, again, true);

	return ret == -EINVAL ? mount_tmpfs(config, again, false) : ret;
}

static int remount(const struct config *config)
{
	char want[ML_SIZE_TEXT];
	struct statfs fs;
	int ret;

	if (statfs(config->pool_dir, &fs))
		return -errno;
	if ((uint64_t)fs.f_blocks * (uint64_t)fs.f_bsize ==
	    config->pool_blocks * MEMLEASE_BLOCK_BYTES)
		return 0;
	if (geteuid() != 0) {
		ml_err("%s: mounted with another size than --pool; give the same --pool as before, or remount as root",
		       config->pool_dir);
		return -EPERM;
	}
	ret = mount_best(config, true);
	if (ret)
		ml_err("%s: cannot be brought to --pool %s: %s; make the pool larger than what is lent, or end VMs first",
		       config->pool_dir,
		       ml_size_exact(config->pool_blocks * MEMLEASE_BLOCK_BYTES, want),
		       ret == -EINVAL ? "more than that is in use" : strerror(-ret));
	return ret == -EINVAL ? -ENOSPC : ret;
}

int places_mount_pool(const struct config *config)
{
	int ret;

	if (is_mount_point(config->pool_dir))
		return remount(config);
	if (geteuid() != 0) {
		ml_err("only root can mount the pool's tmpfs; start as root, or mount one yourself and name it by --pool-dir");
		return -EPERM;
	}
	ret = mount_best(config, false);
	if (ret)
		ml_err("%s: cannot mount a tmpfs: %s; mount one yourself and name it by --pool-dir",
		       config->pool_dir, strerror(-ret));
	return ret;
}
