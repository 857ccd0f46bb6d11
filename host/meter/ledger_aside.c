// SPDX-License-Identifier: GPL-2.0-or-later
/* Setting a ledger aside; see ledger_aside.h. */
#include "ledger_aside.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "../base/clock.h"
#include "../base/file.h"

#define PATH_BYTES (PATH_MAX + 32)

/* SQLite finds what belongs to a database by its name. */
static const char *const companions[] = { "-wal", "-shm" };

#define COMPANIONS (sizeof(companions) / sizeof(companions[0]))

/*
 * The companions go first, to the name that their database will get: if we are killed in
 * between, it is the same name again that is free for it.
 */
static int rename_all(const char *path, char aside[PATH_BYTES])
{
	char from[PATH_BYTES], to[PATH_BYTES + 8];
	int ret = 0;

	for (int i = 1; ; i++) {
		if (i > ML_ASIDE_MAX ||
		    snprintf(aside, PATH_BYTES, "%s.damaged-%d", path, i) >= PATH_BYTES)
			return -ENAMETOOLONG;
		if (faccessat(AT_FDCWD, aside, F_OK, AT_SYMLINK_NOFOLLOW) < 0)
			break;
	}
	for (size_t i = 0; ret == 0 && i < COMPANIONS; i++) {
		snprintf(from, sizeof(from), "%s%s", path, companions[i]);
		snprintf(to, sizeof(to), "%s%s", aside, companions[i]);
		ret = rename(from, to) < 0 && errno != ENOENT ? -errno : 0;
	}
	return ret < 0 ? ret : ml_set_aside(AT_FDCWD, path, aside, PATH_BYTES);
}

int ledger_aside(struct ledger_db **out, const char *path, const char *reason, struct ml_why *why)
{
	char aside[PATH_BYTES] = "";
	struct ml_why told = { "" }, failed = { "" };
	int ret;

	*out = NULL;
	ml_refuse(&told, 0, "%s", reason);	/* it may be why's own */
	ret = rename_all(path, aside);
	if (ret < 0)
		return ml_refuse(why, ret, "%s cannot be used: %s; nor renamed: %s; move it away", path,
				 told.text, strerror(-ret));
	ret = ledger_db_open(out, path, &failed);
	if (ret == 0)
		ret = ledger_db_gap(*out, ml_wall_ms(&ml_clock_real), aside, told.text, &failed);
	if (ret < 0) {
		ledger_db_close(*out);
		*out = NULL;
		return ml_refuse(why, ret, "%s", failed.text);
	}
	return ml_refuse(why, 0,
			 "the ledger %s cannot be used: %s. It was renamed to %s, and a new one began: what was used before is in the old one only, and bills say so",
			 path, told.text, aside);
}
