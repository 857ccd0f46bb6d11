// SPDX-License-Identifier: GPL-2.0-or-later
/* Looking at the files of a state directory, see lend.h. Opens no lender, changes nothing. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "../pool/pool.h"
#include "lend.h"
#include "record.h"

static bool is_record(const char *name)
{
	size_t n = strlen(name), s = strlen(RECORD_SUFFIX);

	return n > s && strcmp(name + n - s, RECORD_SUFFIX) == 0;
}

int lender_examine(const char *state_dir, lend_say_fn *say, void *ctx)
{
	DIR *dir = opendir(state_dir);
	struct dirent *e;
	int bad = 0;

	/* The first daemon makes it. */
	if (!dir)
		return errno == ENOENT ? 0 : -errno;
	while ((e = readdir(dir))) {
		struct ml_why why = { "" };
		int ret;

		if (strcmp(e->d_name, POOL_TABLE_FILE) == 0)
			ret = table_look(dirfd(dir), e->d_name, &why);
		else if (is_record(e->d_name))
			ret = record_look(dirfd(dir), e->d_name, &why);
		else
			continue;
		/* Of a machine that lost power: a daemon passes it over. */
		ret = ret == -ENODATA ? 0 : ret;
		say(ctx, e->d_name, ret < 0 ? why.text : NULL);
		bad += ret < 0;
	}
	closedir(dir);
	return bad;
}
