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
#include "../base/walk.h"

#define HOST_KEEPS_BYTES (256ULL << 20)	/* what a host needs besides the pool, at the very least */
#define POOL_INODES 20000		/* two files per VM, and some */
#define POOL_MOUNT_FLAGS (MS_NOSUID | MS_NODEV | MS_NOEXEC)

/*
 * mkdir -p; what is made belongs to the daemon's user. The last part gets mode. What was there
 * stays as it is: root changes nothing that it has not just made.
 */
static int make_dir(const struct config *config, const char *dir, mode_t mode, struct ml_why *why)
{
	bool made = false;
	ml_autoclose int at = ml_walk_make(dir, mode, &made, why), fd = -1;

	if (at < 0)
		return at;
	if (!made)
		return 0;
	fd = openat(at, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fchmod(fd, mode) || (config->has_user && fchown(fd, config->uid, config->gid)))
		return ml_refuse(why, -errno, "%s", strerror(errno));
	return 0;
}

static int make_logged(const struct config *config, const char *option, const char *dir, mode_t mode)
{
	struct ml_why why = { "" };
	int ret = make_dir(config, dir, mode, &why);

	if (ret)
		ml_err("%s: cannot make the directory: %s; give another %s", dir, why.text, option);
	return ret;
}

int places_make(const struct config *config)
{
	char dir[PATH_MAX + 8];
	char *slash;
	int ret;

	ret = make_logged(config, "--run-dir", config->run_dir, 0755);
	snprintf(dir, sizeof(dir), "%s/vm", config->run_dir);
	/* QEMUs that became users of their own pass through it; what is in it is not theirs to list. */
	if (!ret)
		ret = make_logged(config, "--run-dir", dir, 0711);
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
	struct ml_why why = { "" };
	char path[PATH_MAX + 32];
	ml_autoclose int lock = -1;

	snprintf(path, sizeof(path), "%s/memleased.lock", config->run_dir);
	lock = ml_walk_file(path, O_RDWR, &why);
	if (lock < 0) {
		ml_err("%s; give another --run-dir", why.text);
		return lock;
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
	/* At a restart blocks of the pool are in use already; they are there for the pool, too. */
	if (!statfs(config->pool_dir, &fs) && fs.f_type == TMPFS_MAGIC)
		available += (uint64_t)(fs.f_blocks - fs.f_bfree) * (uint64_t)fs.f_bsize;
	if (available && pool > available)
		ml_warn("--pool %s is more than the %s available now; other processes may be starved when it fills up",
			ml_size_exact(pool, want), ml_size_human(available, have));
	return 0;
}

/* Is it the root of a file system of its own? */
static bool is_mount_point(int dir)
{
	struct stat here, above;

	return !fstat(dir, &here) && !fstatat(dir, "..", &above, 0) && here.st_dev != above.st_dev;
}

/* On the directory itself, whatever its path leads to by now. */
static int mount_tmpfs(const struct config *config, int dir, bool again, bool noswap)
{
	char opts[256], path[ML_WALK_PROC];

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
	return mount("memlease-pool", ml_walk_proc(dir, path), "tmpfs",
		     POOL_MOUNT_FLAGS | (again ? MS_REMOUNT : 0), opts) ? -errno : 0;
}

/* Without swap where the kernel can (Linux 6.4): what a VM is billed for shall be memory. */
static int mount_best(const struct config *config, int dir, bool again)
{
	int ret = mount_tmpfs(config, dir, again, true);

	return ret == -EINVAL ? mount_tmpfs(config, dir, again, false) : ret;
}

/*
 * A smaller one only while it is empty: which blocks of it are lent, and whether the pool can
 * be as small as that, is not known before the block table is read, and then there is no way back.
 */
static int remount(const struct config *config, int dir)
{
	char want[ML_SIZE_TEXT];
	struct statfs fs;
	int ret;

	if (fstatfs(dir, &fs))
		return -errno;
	if (fs.f_type != TMPFS_MAGIC) {
		ml_err("%s: something else than the pool's tmpfs is mounted there; unmount it, or give another --run-dir",
		       config->pool_dir);
		return -EEXIST;
	}
	if ((uint64_t)fs.f_blocks * (uint64_t)fs.f_bsize ==
	    config->pool_blocks * MEMLEASE_BLOCK_BYTES)
		return 0;
	if ((uint64_t)fs.f_blocks * (uint64_t)fs.f_bsize >
	    config->pool_blocks * MEMLEASE_BLOCK_BYTES && fs.f_bfree != fs.f_blocks) {
		ml_warn("%s: is in use, so it stays larger than --pool %s until a start without VMs",
			config->pool_dir,
			ml_size_exact(config->pool_blocks * MEMLEASE_BLOCK_BYTES, want));
		return 0;
	}
	if (geteuid() != 0) {
		ml_err("%s: mounted with another size than --pool; give the same --pool as before, or remount as root",
		       config->pool_dir);
		return -EPERM;
	}
	ret = mount_best(config, dir, true);
	if (ret)
		ml_err("%s: cannot be brought to --pool %s: %s; make the pool larger than what is lent, or end VMs first",
		       config->pool_dir,
		       ml_size_exact(config->pool_blocks * MEMLEASE_BLOCK_BYTES, want),
		       ret == -EINVAL ? "more than that is in use" : strerror(-ret));
	return ret == -EINVAL ? -ENOSPC : ret;
}

int places_mount_pool(const struct config *config)
{
	struct ml_why why = { "" };
	ml_autoclose int dir = ml_walk_dir(config->pool_dir, &why);
	int ret;

	if (dir < 0) {
		ml_err("the pool: %s", why.text);
		return dir;
	}
	if (is_mount_point(dir))
		return remount(config, dir);
	if (geteuid() != 0) {
		ml_err("only root can mount the pool's tmpfs; start as root, or mount one yourself and name it by --pool-dir");
		return -EPERM;
	}
	ret = mount_best(config, dir, false);
	if (ret)
		ml_err("%s: cannot mount a tmpfs: %s; mount one yourself and name it by --pool-dir",
		       config->pool_dir, strerror(-ret));
	return ret;
}
