/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A scratch directory on a tmpfs for tests of pool/ and lend/: one with huge
 * pages, mounted in a mount namespace of the test's own, where the test runs as
 * root; otherwise a directory under /dev/shm. Removed by scratch_remove().
 */
#ifndef ML_TESTS_UNIT_SCRATCH_H
#define ML_TESTS_UNIT_SCRATCH_H

#include <errno.h>
#include <ftw.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

struct scratch {
	char dir[64];		/* holds pool/ and state/ */
	char pool[80];
	char state[80];
	char ledger[80];
	bool huge, mounted;
};

static int scratch_rm(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static inline bool scratch_mount(struct scratch *s, unsigned int mib)
{
	char opts[64];

	if (geteuid() != 0 || unshare(CLONE_NEWNS) < 0)
		return false;
	/* Where the root is no mount, as in a chroot, what is mounted is taken away at the end. */
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 && errno != EINVAL)
		return false;
	snprintf(opts, sizeof(opts), "size=%uM,mode=0700,huge=always", mib);
	s->huge = mount("memlease-test", s->pool, "tmpfs", 0, opts) == 0;
	if (s->huge)
		return true;
	snprintf(opts, sizeof(opts), "size=%uM,mode=0700", mib);
	return mount("memlease-test", s->pool, "tmpfs", 0, opts) == 0;
}

/* 0, or -errno; says on standard output what it could not have. */
static inline int scratch_make(struct scratch *s, unsigned int mib)
{
	memset(s, 0, sizeof(*s));
	snprintf(s->dir, sizeof(s->dir), "/dev/shm/memlease-test.XXXXXX");
	if (!mkdtemp(s->dir)) {
		snprintf(s->dir, sizeof(s->dir), "/tmp/memlease-test.XXXXXX");
		if (!mkdtemp(s->dir))
			return -errno;
	}
	snprintf(s->pool, sizeof(s->pool), "%s/pool", s->dir);
	snprintf(s->state, sizeof(s->state), "%s/state", s->dir);
	snprintf(s->ledger, sizeof(s->ledger), "%s/ledger.db", s->dir);
	if (mkdir(s->pool, 0700) < 0)
		return -errno;
	s->mounted = scratch_mount(s, mib);
	if (!s->mounted)
		printf("note: not root, no tmpfs of our own: using %s\n", s->pool);
	return 0;
}

static inline void scratch_remove(struct scratch *s)
{
	if (s->mounted)
		umount2(s->pool, MNT_DETACH);
	nftw(s->dir, scratch_rm, 16, FTW_DEPTH | FTW_PHYS);
}

#endif /* ML_TESTS_UNIT_SCRATCH_H */
